//! One file = architecture + weights + preprocessing + class names.

mod format;
mod model_checkpoint;
mod predict;

pub use format::weights_sha256;
pub use model_checkpoint::ModelCheckpoint;
pub use predict::Prediction;

use crate::data::Preprocessing;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::model::Sequential;
use std::path::Path;

/// A network with all that is needed to use it on pictures.
///
/// The file is [safetensors](https://huggingface.co/docs/safetensors): any reader of that format sees the
/// weights; what else belongs to the model stands in its metadata, with a format version and a checksum.
///
/// ```
/// use tapetum::prelude::*;
/// let model = Sequential::builder([8, 8, 3]).add(Flatten).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// let bundle = Bundle::new(model)
///     .preprocessing(Preprocessing::new(8, 8))
///     .class_names(["cat", "dog"]);
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("cats_vs_dogs.safetensors");
/// bundle.save(&path)?;
/// let again = Bundle::load(&path)?;
/// assert_eq!(again.class_names, ["cat", "dog"]);
/// assert_eq!(weights_sha256(&again.model), weights_sha256(&bundle.model));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The network.
    pub model: Sequential,
    /// From a picture to the network's input; none where the network does not take pictures.
    pub preprocessing: Option<Preprocessing>,
    /// In the order of the network's classes; empty where there are no classes.
    pub class_names: Vec<String>,
}

impl Bundle {
    /// A network alone.
    pub fn new(model: Sequential) -> Self {
        Self { model, preprocessing: None, class_names: Vec::new() }
    }

    /// With what turns a picture into its input.
    pub fn preprocessing(mut self, preprocessing: Preprocessing) -> Self {
        self.preprocessing = Some(preprocessing);
        self
    }

    /// With the names of its classes.
    pub fn class_names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.class_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// Where the file cannot be written, or the network has a layer of the user's own kind, which a file
    /// cannot describe. An older file at `path` is then as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        write_atomically(path, &format::to_bytes(self).map_err(|reason| Error::file(path, reason))?)
    }

    /// Reads a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// Where the file cannot be read, is damaged, or was written by a newer version.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
        format::from_bytes(&bytes).map_err(|reason| Error::file(path, reason))
    }
}
