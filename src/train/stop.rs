//! How a training is asked to stop from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks a `fit` to stop, from another thread or a signal handler. Clones are the same signal.
///
/// The fit finishes its step, or its epoch where that was the last step; writes a checkpoint, where it was given
/// [`Checkpoints`](super::Checkpoints); and returns what it has. [`Trainer::stopped`](super::Trainer::stopped) says
/// that it did so, and the next `fit` with the same settings goes on.
///
/// ```
/// use tapetum::prelude::*;
/// # let data = ArraySet::new(ndarray::array![[-1.0], [1.0], [2.0]].into_dyn(), vec![0, 1, 0])?;
/// # let model = Sequential::builder([1]).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// # let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(0.1));
/// let stop = StopSignal::new();
/// stop.set(); // as a handler of Ctrl-C would
/// let fit = || Fit::epochs(3).verbosity(Verbosity::Silent);
/// assert_eq!(trainer.fit(&data, fit().stop(&stop))?.epochs.len(), 1);
/// assert!(trainer.stopped());
/// assert_eq!(trainer.fit(&data, fit())?.epochs.len(), 3);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// A signal that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
