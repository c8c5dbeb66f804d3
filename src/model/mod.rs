//! Networks: layers in sequence, checked as a whole.

mod classes;
mod sequential;
mod summary;

pub(crate) use classes::classes_of;
pub use sequential::{Sequential, SequentialBuilder};
pub use summary::{Summary, SummaryRow};
