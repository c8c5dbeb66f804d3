//! Convolutional networks from scratch: train, understand and ship a small image classifier.
//!
//! Every layer has a forward and a backward pass, written by hand over `ndarray` tensors, and you can read both on
//! one screen. The mathematics follows a bachelor's thesis (A. Bukatoi, *Data classification using Convolutional
//! Neural Network*, 2019), whose network this crate trains and goes beyond.
//!
//! ```
//! use tapetum::prelude::*;
//!
//! let model = Sequential::builder([16, 16, 3]) // height, width, channels
//!     .add(Conv2D::new(8, 3))
//!     .add(ReLU)
//!     .add(MaxPool2D::new(2))
//!     .add(Flatten)
//!     .add(Dense::new(1))
//!     .add(Sigmoid)
//!     .build(1)?; // every shape is checked here; 1 is the seed of the weights
//! println!("{}", model.summary());
//!
//! let trainer = Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(1e-3));
//! # let _ = trainer;
//! # Ok::<(), Error>(())
//! ```
//!
//! - [`layers`], [`losses`], [`optimizers`]: to be used alone, in a loop of your own, over `f32` or `f64`.
//! - [`metrics`]: how good a classifier is, with intervals.
//! - [`model`]: [`Sequential`], its summary, Dense ↔ Conv2D.
//! - [`data`]: folders of pictures, augmentation, batches.
//! - [`train`]: `fit`, `evaluate`, `predict` as Keras has them.
//! - [`bundle`]: one file that holds a model, its preprocessing and its class names.
//! - [`inspect`]: what a network sees in a picture; the gradient check, also for layers of your own; what the machine
//!   can do at most.
//!
//! # Features
//! - `images` (default): reading picture files.
//! - `bundle` (default): saving and loading models, checkpoints.
//! - `cuda`: training and prediction on an NVIDIA GPU; see [`Device`].

#[cfg(feature = "bundle")]
pub mod bundle;
pub mod data;
mod device;
mod element;
mod error;
mod files;
pub mod init;
pub mod inspect;
mod kernels;
pub mod layers;
pub mod losses;
pub mod metrics;
pub mod model;
pub mod optimizers;
mod plan;
mod random;
#[cfg(feature = "bundle")]
mod sealed;
mod shape;
mod simd;
mod target;
mod threads;
pub mod train;

pub use device::Device;
pub use element::Element;
pub use error::{Error, Result};
pub use model::Sequential;
pub use random::{Key, Random};
pub use shape::{Geometry2D, Padding, Pair, Window2D};
pub use target::Target;
pub use threads::with_threads;

/// What most programs use.
pub mod prelude {
    #[cfg(feature = "bundle")]
    pub use crate::bundle::{Bundle, ModelCheckpoint, Prediction, weights_sha256};
    #[cfg(feature = "images")]
    pub use crate::data::ImageFolder;
    pub use crate::data::{ArraySet, Augmentation, Dataset, ImageSet, Picture, Preprocessing};
    pub use crate::layers::*;
    pub use crate::losses::*;
    pub use crate::metrics::*;
    pub use crate::model::{Sequential, SequentialBuilder};
    pub use crate::optimizers::*;
    pub use crate::train::*;
    pub use crate::{Device, Element, Error, Key, Padding, Result, Target, Window2D};
}

/// The README's code compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
