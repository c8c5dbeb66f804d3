//! What training reports.

use super::exact;
use serde::{Deserialize, Serialize};

/// One training step.
///
/// ```
/// use tapetum::data::{Batches, Order};
/// use tapetum::prelude::*;
/// # let data = ArraySet::new(ndarray::array![[-1.0], [1.0], [2.0]].into_dyn(), vec![0, 1, 0])?;
/// # let model = Sequential::builder([1]).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// # let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(0.1));
/// let batches = Batches::new(&data, 2, 1, Order::Shuffled)?;
/// trainer.train_on_batch(&batches.batch(0)?)?;
/// let report: StepReport = trainer.train_on_batch(&batches.batch(1)?)?;
/// assert_eq!((report.step, report.samples), (2, 1)); // of three samples the third
/// assert!(report.loss > 0.0);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Counted from 1 over the whole training.
    pub step: u64,
    /// Mean loss of the batch, before the update.
    pub loss: f64,
    /// Share of the batch that was classified correctly; none where targets are not classes.
    pub acc: Option<f64>,
    /// Samples that count.
    pub samples: usize,
}

/// One epoch. Means are over samples, not over batches.
///
/// See [`History`] for an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: usize,
    /// Training steps in it.
    pub steps: usize,
    /// Mean loss over the epoch, each batch before its update.
    #[serde(with = "exact")]
    pub loss: f64,
    /// Share classified correctly over the epoch.
    #[serde(with = "exact::option", default)]
    pub acc: Option<f64>,
    /// Mean loss on the validation data after the epoch.
    #[serde(with = "exact::option", default)]
    pub val_loss: Option<f64>,
    /// Share of the validation data classified correctly after the epoch.
    #[serde(with = "exact::option", default)]
    pub val_acc: Option<f64>,
    /// The learning rate of the epoch's last step.
    #[serde(with = "exact")]
    pub learning_rate: f64,
    /// Wall time of the epoch, validation included.
    #[serde(with = "exact")]
    pub seconds: f64,
    /// Wall time of a training step, in milliseconds, validation not included.
    #[serde(with = "exact")]
    pub ms_per_step: f64,
}

/// Every epoch of a training.
///
/// ```
/// use tapetum::prelude::*;
/// # let data = ArraySet::new(ndarray::array![[-1.0], [1.0], [2.0]].into_dyn(), vec![0, 1, 0])?;
/// # let model = Sequential::builder([1]).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// # let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(0.1));
/// let history = trainer.fit(&data, Fit::epochs(3).validate(&data).verbosity(Verbosity::Silent))?;
/// assert_eq!((history.epochs.len(), history.epochs[2].epoch), (3, 3));
/// let best: &EpochReport = history.best().unwrap();
/// assert!(history.epochs.iter().all(|epoch| epoch.val_acc <= best.val_acc));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// First to last.
    pub epochs: Vec<EpochReport>,
}

impl History {
    /// The epoch with the highest `val_acc`, the first of equal ones; none where nothing was validated.
    pub fn best(&self) -> Option<&EpochReport> {
        let better = |best: &EpochReport, epoch: &EpochReport| epoch.val_acc > best.val_acc;
        let validated = self.epochs.iter().filter(|epoch| epoch.val_acc.is_some());
        validated.reduce(|best, epoch| if better(best, epoch) { epoch } else { best })
    }
}

/// Joins the means of batches into one mean over samples, always in the order of the batches.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Mean {
    #[serde(with = "exact")]
    loss: f64,
    #[serde(with = "exact")]
    correct: f64,
    samples: usize,
    /// Samples whose class was judged.
    judged: usize,
}

impl Mean {
    pub fn add(&mut self, loss: f64, samples: usize, acc: Option<f64>) {
        // An ignored batch has no loss, and 0 · NaN would make one up.
        if samples > 0 {
            self.loss += loss * samples as f64;
            self.samples += samples;
        }
        if let Some(acc) = acc {
            self.correct += acc * samples as f64;
            self.judged += samples;
        }
    }

    pub fn samples(&self) -> usize {
        self.samples
    }

    pub fn loss(&self) -> f64 {
        self.loss / self.samples.max(1) as f64
    }

    pub fn acc(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.correct / self.judged as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_over_samples() {
        let mut mean = Mean::default();
        mean.add(1.0, 30, Some(0.5));
        mean.add(4.0, 10, Some(1.0));
        mean.add(f64::NAN, 0, None);
        assert_eq!((mean.loss(), mean.acc()), (1.75, Some(0.625)));
        assert_eq!(Mean::default().acc(), None);
    }
}
