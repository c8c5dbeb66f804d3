//! The settings of one `fit`, in Keras' words.

#[cfg(feature = "bundle")]
use super::Checkpoints;
use super::{Callback, StopSignal};
use crate::data::Dataset;
use std::fmt;

/// What `fit` prints on standard error.
///
/// ```
/// use tapetum::prelude::*;
/// assert_eq!(Verbosity::default(), Verbosity::Auto);
/// let fit = Fit::epochs(25).verbosity(Verbosity::Lines);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verbosity {
    /// A bar on a terminal, one line for each epoch elsewhere.
    #[default]
    Auto,
    /// Nothing.
    Silent,
    /// One line for each epoch.
    Lines,
}

/// The settings of one [`Trainer::fit`](super::Trainer::fit).
///
/// ```
/// use tapetum::prelude::*;
/// let fit = Fit::epochs(25).batch_size(32).steps_per_epoch(8000).validation_steps(2000);
/// ```
#[derive(Default)]
pub struct Fit<'a> {
    pub(super) epochs: usize,
    pub(super) batch_size: Option<usize>,
    pub(super) steps_per_epoch: Option<usize>,
    pub(super) validation: Option<&'a dyn Dataset>,
    pub(super) validation_steps: Option<usize>,
    pub(super) in_order: bool,
    pub(super) verbosity: Verbosity,
    pub(super) callbacks: Vec<&'a mut dyn Callback>,
    pub(super) stop: Option<StopSignal>,
    #[cfg(feature = "bundle")]
    pub(super) checkpoints: Option<&'a mut Checkpoints>,
}

impl<'a> Fit<'a> {
    /// So many epochs, with batches of 32, each epoch one pass over the data.
    pub fn epochs(epochs: usize) -> Self {
        Self { epochs, ..Self::default() }
    }

    /// Samples in a batch.
    pub fn batch_size(mut self, samples: usize) -> Self {
        self.batch_size = Some(samples);
        self
    }

    /// Batches in an epoch, whether or not that is one pass over the data: the next epoch goes on where this one ended.
    pub fn steps_per_epoch(mut self, steps: usize) -> Self {
        self.steps_per_epoch = Some(steps);
        self
    }

    /// Data to evaluate after each epoch.
    pub fn validate(mut self, data: &'a dyn Dataset) -> Self {
        self.validation = Some(data);
        self
    }

    /// Batches of the validation data to evaluate, the same random ones each time; never more than one pass.
    pub fn validation_steps(mut self, steps: usize) -> Self {
        self.validation_steps = Some(steps);
        self
    }

    /// Shuffles the data in each pass (the default), or not.
    pub fn shuffle(mut self, yes: bool) -> Self {
        self.in_order = !yes;
        self
    }

    /// What is printed.
    pub fn verbosity(mut self, verbosity: Verbosity) -> Self {
        self.verbosity = verbosity;
        self
    }

    /// Adds a callback; callbacks run in the order in which they were added.
    pub fn callback(mut self, callback: &'a mut dyn Callback) -> Self {
        self.callbacks.push(callback);
        self
    }

    /// Lets `signal` stop the training.
    pub fn stop(mut self, signal: &StopSignal) -> Self {
        self.stop = Some(signal.clone());
        self
    }

    /// Writes checkpoints, so that a training that was killed goes on, by [`Trainer::resume`](super::Trainer::resume)
    /// and the same `fit`, as if nothing had happened.
    #[cfg(feature = "bundle")]
    pub fn checkpoints(mut self, checkpoints: &'a mut Checkpoints) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }
}

impl fmt::Debug for Fit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fit")
            .field("epochs", &self.epochs)
            .field("batch_size", &self.batch_size)
            .field("steps_per_epoch", &self.steps_per_epoch)
            .field("validation_steps", &self.validation_steps)
            .field("verbosity", &self.verbosity)
            .field("callbacks", &self.callbacks.len())
            .finish_non_exhaustive()
    }
}
