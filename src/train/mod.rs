//! Training: `fit`, `evaluate` and `predict` over data sets, as Keras has them.

mod callbacks;
mod classify;
mod evaluation;
mod fit;
mod history;
mod judge;
mod progress;
mod run;
mod trainer;

pub use crate::plan::StepTime;
#[cfg(feature = "bundle")]
pub(crate) use callbacks::{Best, restored};
pub use callbacks::{
    Callback, CsvLog, EarlyStopping, EpochContext, Metric, ReduceLROnPlateau, TensorBoard, TrainContext,
};
pub use evaluation::Evaluation;
pub use fit::{Fit, Verbosity};
pub use history::{EpochReport, History, StepReport};
pub use trainer::Trainer;
