//! Code of the user's own that runs during `fit`.

use super::{EpochReport, History, StepReport};
use crate::error::Result;
use crate::model::Sequential;
use std::ops::ControlFlow;

/// What a callback sees at the end of an epoch.
///
/// See [`Callback`] for an example.
#[derive(Debug, Clone, Copy)]
pub struct EpochContext<'a> {
    /// The epoch that ended.
    pub report: &'a EpochReport,
    /// All epochs, this one included.
    pub history: &'a History,
    /// The network as the last step left it; validation saw the averaged weights, where there are any.
    pub model: &'a Sequential,
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
    /// `epochs` of `steps` steps begin.
    fn on_train_begin(&mut self, epochs: usize, steps: usize) -> Result<()> {
        let _ = (epochs, steps);
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
}
