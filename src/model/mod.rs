//! Networks: layers in sequence, checked as a whole.

#[cfg(feature = "bundle")]
mod architecture;
mod classes;
mod convert;
mod plans;
mod predictor;
mod probabilities;
mod sequential;
mod summary;
mod thesis;
mod tuned;
mod wide;

#[cfg(feature = "bundle")]
pub(crate) use architecture::{Architecture, fill, tensors_of};
pub(crate) use classes::Classes;
pub use convert::{conv2d_from_dense, dense_from_conv2d};
pub(crate) use predictor::Predictor;
pub(crate) use probabilities::Head;
pub use sequential::{Sequential, SequentialBuilder};
pub use summary::{Summary, SummaryRow};
pub use thesis::thesis_network;
pub use tuned::tuned_network;
pub use wide::wide_network;
