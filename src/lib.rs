//! Convolutional networks from scratch.

pub mod data;
mod element;
mod error;
pub mod init;
pub mod inspect;
mod kernels;
pub mod layers;
pub mod losses;
pub mod model;
pub mod optimizers;
mod random;
mod shape;
mod simd;

pub use element::Element;
pub use error::{Error, Result};
pub use model::Sequential;
pub use random::{Key, Random};
pub use shape::{Geometry2D, Padding, Pair, Window2D};

/// What most programs use.
pub mod prelude {
    pub use crate::layers::*;
    pub use crate::losses::*;
    pub use crate::model::{Sequential, SequentialBuilder};
    pub use crate::optimizers::*;
    pub use crate::{Element, Error, Key, Padding, Result};
}
