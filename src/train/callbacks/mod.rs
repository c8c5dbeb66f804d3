//! What runs during `fit` beside it: callbacks like Keras', and the trait for the user's own.

mod csv_log;
mod early_stopping;
mod metric;
mod reduce_lr_on_plateau;
mod tensorboard;

pub use csv_log::CsvLog;
pub use early_stopping::EarlyStopping;
pub use metric::Metric;
#[cfg(feature = "bundle")]
pub(crate) use metric::{Best, restored};
pub use reduce_lr_on_plateau::ReduceLROnPlateau;
pub use tensorboard::TensorBoard;

use super::{EpochReport, History, StepReport, Trainer};
use crate::error::Result;
use crate::model::Sequential;
use std::cell::Cell;
use std::ops::ControlFlow;

/// What a callback sees when training begins.
///
/// See [`Callback`] for an example.
#[derive(Debug, Clone, Copy)]
pub struct TrainContext<'a> {
    /// Epochs that were asked for.
    pub epochs: usize,
    /// Training steps in each.
    pub steps: usize,
    /// Epochs of this training that are already done: none, unless it goes on after a stop.
    pub history: &'a History,
}

/// What a callback sees at the end of an epoch.
///
/// See [`Callback`] for an example.
#[derive(Debug, Clone, Copy)]
pub struct EpochContext<'a> {
    /// The epoch that ended.
    pub report: &'a EpochReport,
    /// All epochs, this one included.
    pub history: &'a History,
    /// What the schedule's learning rate is multiplied by; whoever sets it changes the steps that follow.
    pub learning_rate_factor: &'a Cell<f64>,
    pub(super) trainer: &'a Trainer,
}

impl EpochContext<'_> {
    /// The network as the last step left it.
    pub fn model(&self) -> &Sequential {
        self.trainer.model()
    }

    /// The network that was validated: with averaged weights, where there are any.
    pub fn averaged_model(&self) -> Sequential {
        self.trainer.averaged_model()
    }
}

/// Is told how training goes, and may end it.
///
/// ```
/// use std::ops::ControlFlow;
/// use tapetum::prelude::*;
///
/// /// Ends training when nine of ten pictures are recognised.
/// struct GoodEnough;
/// impl Callback for GoodEnough {
///     fn on_epoch_end(&mut self, epoch: EpochContext<'_>) -> Result<ControlFlow<()>> {
///         Ok(match epoch.report.val_acc {
///             Some(acc) if acc >= 0.9 => ControlFlow::Break(()),
///             _ => ControlFlow::Continue(()),
///         })
///     }
/// }
/// ```
pub trait Callback: Send {
    /// Training begins, or goes on after a stop.
    fn on_train_begin(&mut self, train: TrainContext<'_>) -> Result<()> {
        let _ = train;
        Ok(())
    }

    /// Epoch number `epoch` begins, counted from 1.
    fn on_epoch_begin(&mut self, epoch: usize) -> Result<()> {
        let _ = epoch;
        Ok(())
    }

    /// A step was done.
    fn on_step_end(&mut self, step: &StepReport) -> Result<ControlFlow<()>> {
        let _ = step;
        Ok(ControlFlow::Continue(()))
    }

    /// An epoch and its validation are done.
    fn on_epoch_end(&mut self, epoch: EpochContext<'_>) -> Result<ControlFlow<()>> {
        let _ = epoch;
        Ok(ControlFlow::Continue(()))
    }

    /// Training ended, in whatever way but an error.
    fn on_train_end(&mut self, history: &History) -> Result<()> {
        let _ = history;
        Ok(())
    }

    /// What a checkpoint must keep so that this callback goes on after a stop as if there had been none.
    fn state(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Takes over what [`state`](Self::state) gave, before [`on_train_begin`](Self::on_train_begin).
    ///
    /// # Errors
    /// Where it is not a state of such a callback.
    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::layers::Dense;
    use crate::losses::MeanSquaredError;
    use crate::optimizers::SGD;

    /// An epoch in which nothing was validated.
    pub fn epoch(epoch: usize) -> EpochReport {
        EpochReport {
            epoch,
            steps: 10,
            loss: 1.0,
            acc: None,
            val_loss: None,
            val_acc: None,
            learning_rate: 1e-3,
            seconds: 1.5,
            ms_per_step: 100.0,
        }
    }

    /// Tells a callback that training begins, after the epochs `done`.
    pub fn begin(callback: &mut dyn Callback, done: &[EpochReport]) -> Result<()> {
        callback.on_train_begin(TrainContext { epochs: 9, steps: 10, history: &History { epochs: done.to_vec() } })
    }

    /// Tells a callback of an epoch; what it wants, and what it makes of the factor.
    pub fn end_of(callback: &mut dyn Callback, report: &EpochReport, factor: f64) -> Result<(ControlFlow<()>, f64)> {
        let model = Sequential::builder([1]).add(Dense::new(1)).build(1)?;
        let trainer = &Trainer::new(model, MeanSquaredError, SGD::new(0.1));
        let (history, factor) = (&History { epochs: vec![report.clone()] }, Cell::new(factor));
        let found = callback.on_epoch_end(EpochContext { report, history, learning_rate_factor: &factor, trainer })?;
        Ok((found, factor.get()))
    }
}
