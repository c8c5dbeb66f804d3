//! Labelled pictures at the network's size, kept in memory as bytes.

use super::{Augmentation, Dataset, Picture, Preprocessing, SampleTarget, expect_sample, split_places};
use crate::error::{Error, Result};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::augment::Row;
use crate::random::Key;
use rayon::prelude::*;
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A picture file that could not be used.
///
/// ```
/// use tapetum::data::Skipped;
/// use tapetum::prelude::*;
/// # let grey = Picture { height: 1, width: 1, rgb: vec![128; 3] };
/// let pictures = ImageSet::from_pictures(vec![grey], vec![0], vec!["grey".into()], Preprocessing::new(4, 4))?;
/// for Skipped { path, reason } in pictures.skipped() {
///     println!("{}: {reason}", path.display());
/// }
/// # assert!(pictures.skipped().is_empty());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// Pictures [H, W, 3] with a class each.
///
/// Clones, splits, subsets and augmented views share the same bytes.
///
/// ```
/// use tapetum::Key;
/// use tapetum::data::{Dataset, ImageSet, Picture, Preprocessing};
/// let grey = |value| Picture { height: 8, width: 8, rgb: vec![value; 8 * 8 * 3] };
/// let pictures = vec![grey(10), grey(20), grey(240), grey(250)];
/// let names = vec!["dark".to_string(), "light".to_string()];
/// let set = ImageSet::from_pictures(pictures, vec![0, 0, 1, 1], names, Preprocessing::new(4, 4))?;
/// let (train, validation) = set.split(0.5, Key::new(1))?;
/// assert_eq!((train.labels(), validation.labels()), (vec![0, 1], vec![0, 1]));
/// assert_eq!(train.sample_shape(), [4, 4, 3]);
/// # Ok::<(), tapetum::Error>(())
/// ```
#[derive(Clone)]
pub struct ImageSet {
    store: Arc<Store>,
    /// Which pictures of the store this set has, in its order.
    members: Vec<usize>,
    augmentation: Option<Augmentation>,
}

/// What all views of one set share.
pub(super) struct Store {
    pub preprocessing: Preprocessing,
    /// [H, W, 3]
    pub shape: [usize; 3],
    pub class_names: Vec<String>,
    pub labels: Vec<usize>,
    /// The pictures, or as many of the first as memory was granted for: n · H · W · 3 bytes.
    pub bytes: Vec<u8>,
    /// Where the pictures come from; empty where a program made them.
    pub paths: Vec<PathBuf>,
    pub skipped: Vec<Skipped>,
    #[cfg(feature = "images")]
    pub limits: super::DecodeLimits,
}

impl Store {
    /// A store for these classes, without pictures.
    ///
    /// # Errors
    /// Where samples would have no pixels.
    pub fn new(preprocessing: &Preprocessing, class_names: &[String]) -> Result<Self> {
        preprocessing.sample_volume()?;
        Ok(Self {
            preprocessing: preprocessing.clone(),
            shape: preprocessing.sample_shape(),
            class_names: class_names.to_vec(),
            labels: Vec::new(),
            bytes: Vec::new(),
            paths: Vec::new(),
            skipped: Vec::new(),
            #[cfg(feature = "images")]
            limits: super::DecodeLimits::default(),
        })
    }

    /// Adds a picture that is at the network's size, and its bytes where they keep below `memory` in all.
    pub fn add(&mut self, picture: Picture, label: usize, memory: usize) {
        if (self.labels.len() + 1).saturating_mul(self.volume()) <= memory {
            self.bytes.extend(picture.rgb);
        }
        self.labels.push(label);
    }

    /// H·W·3
    pub fn volume(&self) -> usize {
        self.shape.iter().product()
    }

    /// The bytes of one picture, from memory or else from its file.
    fn picture(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        match self.bytes.chunks_exact(self.volume()).nth(index) {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => self.picture_on_disk(index).map(Cow::Owned),
        }
    }

    #[cfg(feature = "images")]
    fn picture_on_disk(&self, index: usize) -> Result<Vec<u8>> {
        let decoded = super::decode::open(&self.paths[index], &self.limits)?;
        Ok(self.preprocessing.resize(&decoded.picture)?.rgb)
    }

    #[cfg(not(feature = "images"))]
    fn picture_on_disk(&self, index: usize) -> Result<Vec<u8>> {
        Err(Error::data(format!("picture {index} is not in memory")))
    }
}

impl ImageSet {
    /// Pictures made by a program, each resized to the network's size.
    ///
    /// # Errors
    /// Where there is no picture or not one label for each, a label has no name, or a picture has no pixels.
    pub fn from_pictures(
        pictures: Vec<Picture>,
        labels: Vec<usize>,
        class_names: Vec<String>,
        preprocessing: Preprocessing,
    ) -> Result<Self> {
        if pictures.is_empty() || pictures.len() != labels.len() {
            let (pictures, labels) = (pictures.len(), labels.len());
            return Err(Error::data(format!("{pictures} pictures with {labels} labels: each needs one")));
        }
        expect_labels(&labels, &class_names)?;
        let mut store = Store::new(&preprocessing, &class_names)?;
        let resized: Vec<_> = pictures.par_iter().map(|picture| preprocessing.resize(picture)).collect();
        for (picture, label) in resized.into_iter().zip(labels) {
            store.add(picture?, label, usize::MAX);
        }
        Ok(Self::from_store(store))
    }

    /// All pictures of a store, as they are.
    pub(super) fn from_store(store: Store) -> Self {
        Self { members: (0..store.labels.len()).collect(), store: Arc::new(store), augmentation: None }
    }

    /// The same pictures, each changed at random whenever it is read. Split first: a validation set stays as it is.
    pub fn augmented(&self, augmentation: Augmentation) -> Self {
        Self { augmentation: Some(augmentation), ..self.clone() }
    }

    /// The pictures at these places, in this order.
    ///
    /// # Errors
    /// Where there is no such place.
    pub fn subset(&self, indices: &[usize]) -> Result<Self> {
        let member = |&index: &usize| {
            self.members
                .get(index)
                .copied()
                .ok_or_else(|| Error::argument("image set", "indices", format!("below {}", self.members.len()), index))
        };
        Ok(Self { members: indices.iter().map(member).collect::<Result<_>>()?, ..self.clone() })
    }

    /// Training and validation pictures: of every class, `fraction` at random (rounded) goes to the second.
    ///
    /// # Errors
    /// Where `fraction` is not between 0 and 1, or one of the two would be empty.
    pub fn split(&self, fraction: f64, key: Key) -> Result<(Self, Self)> {
        let [train, validation] = split_places("image set", &self.labels(), fraction, key)?;
        Ok((self.subset(&train)?, self.subset(&validation)?))
    }

    /// The class of each picture.
    pub fn labels(&self) -> Vec<usize> {
        self.members.iter().map(|&member| self.store.labels[member]).collect()
    }

    /// How pictures became samples: what a model has to store.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.store.preprocessing
    }

    /// The file of a picture; none where a program made it.
    pub fn path(&self, index: usize) -> Option<&Path> {
        self.store.paths.get(*self.members.get(index)?).map(PathBuf::as_path)
    }

    /// A picture at the network's size, without augmentation.
    ///
    /// # Errors
    /// Where there is no such picture, or it has to be read again from its file and cannot.
    pub fn picture(&self, index: usize) -> Result<Picture> {
        expect_sample("image set", index, self.len())?;
        let rgb = self.store.picture(self.members[index])?.into_owned();
        let [height, width, _] = self.store.shape;
        Ok(Picture { height, width, rgb })
    }

    /// The files that were left out when the set was loaded.
    pub fn skipped(&self) -> &[Skipped] {
        &self.store.skipped
    }
}

/// The bytes behind a set of pictures, for a device that keeps them itself and makes samples of them.
#[cfg(feature = "cuda")]
pub(crate) struct Pictures<'a> {
    /// [count, H, W, C]
    pub bytes: &'a [u8],
    /// [H, W, C]
    pub shape: [usize; 3],
    pub rescale: f32,
    /// For each sample the picture that it is.
    pub members: &'a [usize],
    pub augmentation: Augmentation,
}

#[cfg(feature = "cuda")]
impl Pictures<'_> {
    /// How sample `index` is made with this key.
    pub fn row(&self, index: usize, key: Key) -> Row {
        let picture = u32::try_from(self.members[index]).expect("fewer than 2³² pictures");
        self.augmentation.row(self.shape, key, picture)
    }
}

#[cfg(feature = "cuda")]
impl ImageSet {
    /// The pictures, where all of them are in memory and a GPU can do what is to be done to them.
    pub(crate) fn pictures(&self) -> Option<Pictures<'_>> {
        let Store { preprocessing, shape, labels, bytes, .. } = &*self.store;
        let augmentation = self.augmentation.clone().unwrap_or_default();
        let fits = bytes.len() == labels.len() * self.store.volume() && u32::try_from(labels.len()).is_ok();
        (fits && augmentation.is_affine() && augmentation.validate().is_ok()).then_some(Pictures {
            bytes,
            shape: *shape,
            rescale: preprocessing.rescale,
            members: &self.members,
            augmentation,
        })
    }
}

impl fmt::Debug for ImageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageSet of {} pictures {:?} in {:?}", self.len(), self.sample_shape(), self.class_names())
    }
}

impl Dataset for ImageSet {
    fn len(&self) -> usize {
        self.members.len()
    }

    fn sample_shape(&self) -> &[usize] {
        &self.store.shape
    }

    fn class_names(&self) -> &[String] {
        &self.store.class_names
    }

    fn read(&self, index: usize, key: Key, out: &mut [f32]) -> Result<()> {
        expect_sample("image set", index, self.len())?;
        let Store { preprocessing, shape, .. } = &*self.store;
        if out.len() != self.store.volume() {
            return Err(Error::shape("image set", format!("room for a sample {shape:?}"), &[out.len()]));
        }
        let bytes = self.store.picture(self.members[index])?;
        match &self.augmentation {
            None => preprocessing.convert(&bytes, out),
            Some(augmentation) => {
                augmentation.apply(&bytes, *shape, key, out)?;
                out.iter_mut().for_each(|value| *value *= preprocessing.rescale);
            }
        }
        Ok(())
    }

    fn target(&self, index: usize) -> SampleTarget<'_> {
        SampleTarget::Label(self.store.labels[self.members[index]])
    }
}

/// Checks that every label has a name.
pub(super) fn expect_labels(labels: &[usize], class_names: &[String]) -> Result<()> {
    let count = class_names.len();
    match labels.iter().find(|&&label| label >= count) {
        Some(label) => Err(Error::data(format!("label {label} with {count} class names: labels count from 0"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures of one pixel, whose red byte is their number.
    fn numbered(labels: &[usize]) -> ImageSet {
        let picture = |number: usize| Picture { height: 1, width: 1, rgb: vec![number as u8, 0, 0] };
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let pictures = (0..labels.len()).map(picture).collect();
        ImageSet::from_pictures(pictures, labels.to_vec(), names, Preprocessing::new(1, 1).rescale(1.0)).unwrap()
    }

    fn numbers(set: &ImageSet) -> Vec<usize> {
        let mut sample = [0.0; 3];
        let number = |index| {
            set.read(index, Key::new(0), &mut sample).unwrap();
            sample[0] as usize
        };
        (0..set.len()).map(number).collect()
    }

    #[test]
    fn a_split_takes_its_share_of_every_class_and_shares_no_picture() {
        let labels: Vec<usize> = (0..100).map(|index| if index % 5 == 0 { 1 } else { 0 }).collect();
        let set = numbered(&labels);
        let (train, validation) = set.split(0.3, Key::new(1)).unwrap();
        let count = |set: &ImageSet, class| set.labels().iter().filter(|&&label| label == class).count();
        assert_eq!([count(&train, 0), count(&train, 1), count(&validation, 0), count(&validation, 1)], [56, 14, 24, 6]);
        let mut both = [numbers(&train), numbers(&validation)].concat();
        both.sort_unstable();
        assert_eq!(both, (0..100).collect::<Vec<_>>());
        assert!(numbers(&validation).iter().enumerate().all(|(at, &n)| validation.labels()[at] == labels[n]));

        assert_eq!(numbers(&set.split(0.3, Key::new(1)).unwrap().1), numbers(&validation));
        assert_ne!(numbers(&set.split(0.3, Key::new(2)).unwrap().1), numbers(&validation));
        assert!([0.0, 1.0, -0.5, f64::NAN, 1e-9].iter().all(|&fraction| set.split(fraction, Key::new(1)).is_err()));
    }

    #[test]
    fn subsets_of_subsets_find_their_pictures() {
        let set = numbered(&[0, 1, 2, 0]).subset(&[3, 2, 1]).unwrap();
        let set = set.subset(&[2, 0, 0]).unwrap();
        assert_eq!((numbers(&set), set.labels()), (vec![1, 3, 3], vec![1, 0, 0]));
        assert_eq!(set.picture(1).unwrap().rgb, [3, 0, 0]);
        assert!(set.subset(&[3]).is_err());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let picture = Picture { height: 1, width: 1, rgb: vec![1, 2, 3] };
        let build = |count: usize, labels: &[usize], size| {
            let pictures = vec![picture.clone(); count];
            ImageSet::from_pictures(pictures, labels.to_vec(), vec!["a".into()], Preprocessing::new(size, 1)).err()
        };
        assert!(build(1, &[0], 1).is_none());
        assert!(build(0, &[], 1).is_some() && build(2, &[0], 1).is_some() && build(1, &[0], 0).is_some());
        let message = build(1, &[1], 1).unwrap().to_string();
        assert_eq!(message, "label 1 with 1 class names: labels count from 0");
        let set = numbered(&[0]);
        assert!(set.read(1, Key::new(0), &mut [0.0; 3]).is_err());
        assert!(set.read(0, Key::new(0), &mut [0.0; 4]).is_err());
        assert!(set.picture(1).is_err() && set.path(1).is_none());
    }

    #[test]
    fn an_augmented_view_leaves_the_set_as_it_is() {
        let set = numbered(&[0, 1]);
        let same = set.augmented(Augmentation::default());
        assert_eq!(numbers(&same), [0, 1]);
        assert_eq!(numbers(&set), [0, 1]);
        assert!(Arc::ptr_eq(&set.store, &same.store));
    }
}
