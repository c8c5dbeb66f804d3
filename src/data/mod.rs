//! Data sets: pictures in folders, pictures in memory, arrays. Knows no layers.

mod array_set;
mod augment;
mod batches;
#[cfg(feature = "images")]
mod decode;
#[cfg(feature = "images")]
mod doctor;
#[cfg(feature = "images")]
mod image_folder;
mod image_set;
#[cfg(feature = "images")]
mod jpeg;
#[cfg(feature = "images")]
mod jpeg_markers;
#[cfg(feature = "images")]
mod listing;
#[cfg(feature = "images")]
mod memory_share;
mod picture;
mod preprocessing;
mod resize;
mod synthetic;

pub use array_set::ArraySet;
pub use augment::{Augmentation, FillMode};
pub use batches::{Batch, Batches, Order};
#[cfg(feature = "images")]
pub use decode::DecodeLimits;
#[cfg(feature = "images")]
pub use doctor::{
    ClassReport, Diagnosis, DoctorOptions, Finding, FindingKind, SetReport, Severity, Sizes, Spread, examine,
};
#[cfg(feature = "images")]
pub use image_folder::{Damaged, ImageFolder, LoadOptions};
#[cfg(feature = "cuda")]
pub(crate) use image_set::Pictures;
pub use image_set::{ImageSet, Skipped};
pub use picture::Picture;
pub use preprocessing::Preprocessing;
pub use resize::ResizeFilter;
pub use synthetic::{Species, synthetic};

use crate::error::{Error, Result};
use crate::random::Key;
use std::any::Any;
use std::collections::BTreeMap;

/// Samples with an index: what `fit`, `evaluate` and `predict` read.
///
/// ```
/// use tapetum::data::{Batches, Order, SampleTarget};
/// use tapetum::prelude::*;
///
/// /// The numbers from 0 to 99, and whether they are odd.
/// struct Numbers;
/// impl Dataset for Numbers {
///     fn len(&self) -> usize {
///         100
///     }
///     fn sample_shape(&self) -> &[usize] {
///         &[1]
///     }
///     fn read(&self, index: usize, _key: Key, out: &mut [f32]) -> Result<()> {
///         out[0] = index as f32;
///         Ok(())
///     }
///     fn target(&self, index: usize) -> SampleTarget<'_> {
///         SampleTarget::Label(index % 2)
///     }
/// }
/// let batch = Batches::new(&Numbers, 3, 1, Order::InOrder)?.batch(1)?;
/// assert_eq!(batch.x, ndarray::array![[3.0], [4.0], [5.0]].into_dyn());
/// assert_eq!(batch.target, Target::Labels(vec![1, 0, 1]));
/// # Ok::<(), Error>(())
/// ```
pub trait Dataset: Any + Send + Sync {
    /// How many samples there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of one sample, as in `[64, 64, 3]`.
    fn sample_shape(&self) -> &[usize];

    /// The class names, in the order of the labels; empty where there are no classes.
    fn class_names(&self) -> &[String] {
        &[]
    }

    /// Writes sample `index` into `out`. Random numbers, as for augmentation, come from `key` alone.
    fn read(&self, index: usize, key: Key, out: &mut [f32]) -> Result<()>;

    /// What sample `index` should be recognised as.
    ///
    /// # Panics
    /// May panic where `index` is not below [`len`](Self::len).
    fn target(&self, index: usize) -> SampleTarget<'_>;

    /// The shape of one sample's values, as in `[1]`; none for labels, and for values that are just a row.
    fn target_shape(&self) -> Option<&[usize]> {
        None
    }

    /// How much sample `index` counts.
    fn weight(&self, index: usize) -> f64 {
        let _ = index;
        1.0
    }
}

/// The target of one sample.
///
/// ```
/// use ndarray::array;
/// use tapetum::data::SampleTarget;
/// use tapetum::prelude::*;
/// let x = array![[0.0], [1.0]].into_dyn();
/// let values = array![[0.5], [1.5]].into_dyn();
/// assert_eq!(ArraySet::new(x.clone(), vec![0, 1])?.target(1), SampleTarget::Label(1));
/// assert_eq!(ArraySet::new(x, values)?.target(1), SampleTarget::Values(&[1.5]));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampleTarget<'a> {
    /// A class, counted from 0.
    Label(usize),
    /// Numbers.
    Values(&'a [f32]),
}

/// The places 0..n in two parts, in their order: of every label, `fraction` at random (rounded) goes to the second.
fn split_places(at: &str, labels: &[usize], fraction: f64, key: Key) -> Result<[Vec<usize>; 2]> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::argument(at, "fraction", "between 0 and 1", fraction));
    }
    let mut classes = BTreeMap::<usize, Vec<usize>>::new();
    labels.iter().enumerate().for_each(|(place, &label)| classes.entry(label).or_default().push(place));
    let mut held_out = vec![false; labels.len()];
    for (class, mut places) in classes {
        key.at(class as u64).stream().shuffle(&mut places);
        let count = (places.len() as f64 * fraction).round() as usize;
        places[..count].iter().for_each(|&place| held_out[place] = true);
    }
    let parts = [false, true].map(|of| (0..labels.len()).filter(|&place| held_out[place] == of).collect::<Vec<_>>());
    match parts.iter().any(Vec::is_empty) {
        true => Err(Error::data(format!("{} samples are too few to split off {fraction}", labels.len()))),
        false => Ok(parts),
    }
}

/// Checks that a data set has the sample asked for.
fn expect_sample(at: &str, index: usize, len: usize) -> Result<()> {
    match index < len {
        true => Ok(()),
        false => Err(Error::argument(at, "index", format!("below {len}"), index)),
    }
}
