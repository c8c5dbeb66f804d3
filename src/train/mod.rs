//! Training: `fit`, `evaluate` and `predict` over data sets, as Keras has them.

mod callbacks;
mod evaluation;
mod fit;
mod history;
mod progress;
mod run;
mod trainer;

pub use callbacks::{Callback, EpochContext};
pub use evaluation::Evaluation;
pub use fit::{Fit, Verbosity};
pub use history::{EpochReport, History, StepReport};
pub use trainer::Trainer;
