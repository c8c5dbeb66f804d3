//! Data sets: pictures in folders, pictures in memory, arrays. Knows no layers.

mod augment;
mod picture;

pub use augment::{Augmentation, FillMode};
pub use picture::Picture;

use crate::error::Result;
use crate::random::Key;
use std::any::Any;

/// Samples with an index: what `fit`, `evaluate` and `predict` read.
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
    fn target(&self, index: usize) -> SampleTarget<'_>;

    /// How much sample `index` counts.
    fn weight(&self, index: usize) -> f64 {
        let _ = index;
        1.0
    }
}

/// The target of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampleTarget<'a> {
    /// A class, counted from 0.
    Label(usize),
    /// Numbers.
    Values(&'a [f32]),
}
