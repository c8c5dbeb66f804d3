//! Training: `fit`, `evaluate` and `predict` over data sets, as Keras has them.

mod callbacks;
#[cfg(feature = "bundle")]
mod checkpoint;
#[cfg(feature = "bundle")]
mod checkpoints;
mod classify;
mod evaluation;
mod exact;
mod feed;
mod fit;
mod history;
mod judge;
mod position;
mod progress;
mod run;
mod stop;
#[cfg_attr(not(feature = "cuda"), path = "nowhere_else.rs")]
mod there;
mod trainer;

pub use crate::plan::StepTime;
#[cfg(feature = "bundle")]
pub(crate) use callbacks::{Best, restored};
pub use callbacks::{
    Callback, CsvLog, EarlyStopping, EpochContext, Metric, ReduceLROnPlateau, TensorBoard, TrainContext,
};
#[cfg(feature = "bundle")]
pub use checkpoint::Checkpoint;
#[cfg(feature = "bundle")]
pub use checkpoints::{Checkpoints, Newest};
pub use evaluation::Evaluation;
pub use fit::{Fit, Verbosity};
pub use history::{EpochReport, History, StepReport};
pub use stop::StopSignal;
pub use trainer::Trainer;
