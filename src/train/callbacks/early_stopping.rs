//! Training ends when it no longer helps.

use super::metric::{Best, restored};
use super::{Callback, EpochContext, Metric, TrainContext};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

const AT: &str = "early_stopping";

/// Ends training when a metric has not become better for some epochs, as Keras' `EarlyStopping`.
///
/// The network is then the last epoch's. To keep the best one, use `ModelCheckpoint` (feature `bundle`).
///
/// ```
/// use tapetum::prelude::*;
/// # let data = ArraySet::new(ndarray::array![[-1.0], [1.0], [2.0]].into_dyn(), vec![0, 1, 0])?;
/// # let model = Sequential::builder([1]).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// # let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), SGD::new(0.0)); // learns nothing
/// let mut stopping = EarlyStopping::new(Metric::ValLoss).patience(3);
/// let fit = Fit::epochs(25).validate(&data).callback(&mut stopping);
/// let history = trainer.fit(&data, fit.verbosity(Verbosity::Silent))?;
/// assert_eq!((history.epochs.len(), stopping.stopped_epoch()), (4, Some(4)));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct EarlyStopping {
    best: Best,
    patience: usize,
    baseline: Option<f64>,
    /// Epochs since the best one.
    wait: usize,
    stopped: Option<usize>,
}

/// What a checkpoint keeps.
#[derive(Serialize, Deserialize)]
struct State {
    best: Option<f64>,
    wait: usize,
}

impl EarlyStopping {
    /// Ends training at the first epoch that is not better than all before.
    pub fn new(metric: Metric) -> Self {
        Self { best: Best::new(AT, metric, 0.0), patience: 0, baseline: None, wait: 0, stopped: None }
    }

    /// Ends it only after so many such epochs in a row (0 means the same as 1).
    pub fn patience(mut self, epochs: usize) -> Self {
        self.patience = epochs;
        self
    }

    /// What is better by no more than this is not better.
    pub fn min_delta(mut self, delta: f64) -> Self {
        self.best.min_delta = delta;
        self
    }

    /// An epoch has to be better than this, too.
    pub fn baseline(mut self, value: f64) -> Self {
        self.baseline = Some(value);
        self
    }

    /// The epoch after which training ended, where it was this callback that ended it.
    pub fn stopped_epoch(&self) -> Option<usize> {
        self.stopped
    }
}

impl Callback for EarlyStopping {
    fn on_train_begin(&mut self, train: TrainContext<'_>) -> Result<()> {
        if let Some(baseline) = self.baseline.filter(|baseline| !baseline.is_finite()) {
            return Err(Error::argument(AT, "baseline", "a finite number", baseline));
        }
        self.stopped = None;
        let goes_on = !train.history.epochs.is_empty();
        let best = if goes_on { self.best.value } else { self.baseline };
        self.wait = if goes_on { self.wait } else { 0 };
        self.best.reset(best)
    }

    fn on_epoch_end(&mut self, epoch: EpochContext<'_>) -> Result<ControlFlow<()>> {
        self.wait = if self.best.improves(epoch.report)? { 0 } else { self.wait + 1 };
        if self.wait < self.patience.max(1) {
            return Ok(ControlFlow::Continue(()));
        }
        self.stopped = Some(epoch.report.epoch);
        Ok(ControlFlow::Break(()))
    }

    fn state(&self) -> serde_json::Value {
        serde_json::json!(State { best: self.best.value, wait: self.wait })
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        State { best: self.best.value, wait: self.wait } = restored(AT, state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{begin, end_of, epoch};
    use super::*;
    use crate::train::EpochReport;

    fn ends(stopping: &mut EarlyStopping, losses: &[f64]) -> Vec<bool> {
        let told = |loss: &f64| end_of(stopping, &EpochReport { loss: *loss, ..epoch(1) }, 1.0).unwrap().0.is_break();
        losses.iter().map(told).collect()
    }

    #[test]
    fn it_waits_for_so_many_epochs_in_a_row() {
        let mut stopping = EarlyStopping::new(Metric::Loss).patience(2);
        begin(&mut stopping, &[]).unwrap();
        assert_eq!(ends(&mut stopping, &[1.0, 1.1, 0.9, 0.9, f64::NAN]), [false, false, false, false, true]);
        // A new training knows nothing of the one before.
        begin(&mut stopping, &[]).unwrap();
        assert_eq!(stopping.stopped_epoch(), None);
        assert_eq!(ends(&mut stopping, &[5.0, 5.0, 5.0]), [false, false, true]);
    }

    #[test]
    fn a_baseline_has_to_be_surpassed() {
        let mut stopping = EarlyStopping::new(Metric::Loss).patience(2).baseline(0.5).min_delta(0.1);
        begin(&mut stopping, &[]).unwrap();
        assert_eq!(ends(&mut stopping, &[0.45, 0.3, 0.25, 0.21]), [false, false, false, true]);
        assert!(begin(&mut EarlyStopping::new(Metric::Loss).baseline(f64::NAN), &[]).is_err());
    }

    #[test]
    fn after_a_stop_it_goes_on_as_if_there_had_been_none() {
        let losses = [1.0, 0.5, 0.7, 0.6, 0.55];
        let mut whole = EarlyStopping::new(Metric::Loss).patience(3);
        begin(&mut whole, &[]).unwrap();
        let expected = ends(&mut whole, &losses);
        for cut in 1..5 {
            let mut first = EarlyStopping::new(Metric::Loss).patience(3);
            begin(&mut first, &[]).unwrap();
            let mut found = ends(&mut first, &losses[..cut]);
            let mut second = EarlyStopping::new(Metric::Loss).patience(3);
            second.restore(&first.state()).unwrap();
            begin(&mut second, &vec![epoch(1); cut]).unwrap();
            found.extend(ends(&mut second, &losses[cut..]));
            assert_eq!(found, expected, "cut at {cut}");
        }
        let error = whole.restore(&serde_json::json!({"best": "low"})).unwrap_err();
        assert!(error.to_string().starts_with("early_stopping: this is not its state"), "{error}");
    }
}
