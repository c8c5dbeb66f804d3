//! Code of the user's own that runs during `fit`.

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
