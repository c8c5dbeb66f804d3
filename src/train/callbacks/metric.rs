//! What callbacks watch, and which of two values is the better one.

use crate::error::{Error, Result};
use crate::train::EpochReport;
use serde::de::DeserializeOwned;

/// A number of an epoch that callbacks watch.
///
/// ```
/// use tapetum::prelude::*;
/// assert_eq!(Metric::ValAcc.name(), "val_acc");
/// assert!(Metric::ValAcc.is_better(0.9, 0.8));
/// assert!(Metric::ValLoss.is_better(0.8, 0.9));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The mean loss on the training data; lower is better.
    Loss,
    /// The share of the training data classified correctly; higher is better.
    Acc,
    /// The mean loss on the validation data; lower is better.
    ValLoss,
    /// The share of the validation data classified correctly; higher is better.
    ValAcc,
}

impl Metric {
    /// As in [`EpochReport`] and in Keras.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Acc => "acc",
            Self::ValLoss => "val_loss",
            Self::ValAcc => "val_acc",
        }
    }

    /// Its value in an epoch; none where it was not measured.
    pub fn of(self, epoch: &EpochReport) -> Option<f64> {
        match self {
            Self::Loss => Some(epoch.loss),
            Self::Acc => epoch.acc,
            Self::ValLoss => epoch.val_loss,
            Self::ValAcc => epoch.val_acc,
        }
    }

    /// Whether `value` is strictly better than `other`. NaN is neither better than anything nor worse.
    pub fn is_better(self, value: f64, other: f64) -> bool {
        match self {
            Self::Loss | Self::ValLoss => value < other,
            Self::Acc | Self::ValAcc => value > other,
        }
    }

    /// The value that is as good as `value` can be and still be `delta` worse.
    fn worse_by(self, value: f64, delta: f64) -> f64 {
        match self {
            Self::Loss | Self::ValLoss => value + delta,
            Self::Acc | Self::ValAcc => value - delta,
        }
    }
}

/// The best value of a metric so far.
#[derive(Debug, Clone)]
pub(crate) struct Best {
    /// The callback, as errors name it.
    at: &'static str,
    metric: Metric,
    /// What is better by no more than this is not better.
    pub min_delta: f64,
    pub value: Option<f64>,
}

impl Best {
    pub fn new(at: &'static str, metric: Metric, min_delta: f64) -> Self {
        Self { at, metric, min_delta, value: None }
    }

    /// Begins anew, with what has to be surpassed, if there is something.
    ///
    /// # Errors
    /// Where `min_delta` is negative or not finite.
    pub fn reset(&mut self, value: Option<f64>) -> Result<()> {
        if !(0.0..f64::INFINITY).contains(&self.min_delta) {
            return Err(Error::argument(self.at, "min_delta", "at least 0", self.min_delta));
        }
        self.value = value;
        Ok(())
    }

    /// Whether an epoch is better than all before; what is not finite never is.
    ///
    /// # Errors
    /// Where the metric was not measured.
    pub fn improves(&mut self, epoch: &EpochReport) -> Result<bool> {
        let value = self.metric.of(epoch).ok_or_else(|| self.missing())?;
        let surpassed = |best| self.metric.is_better(self.metric.worse_by(value, self.min_delta), best);
        let better = value.is_finite() && self.value.is_none_or(surpassed);
        if better {
            self.value = Some(value);
        }
        Ok(better)
    }

    fn missing(&self) -> Error {
        let what_to_do = match self.metric {
            Metric::ValLoss | Metric::ValAcc => "give fit validation data, with validate, and labels for an accuracy",
            Metric::Loss | Metric::Acc => "the targets are not classes; watch the loss",
        };
        Error::data(format!("{}: there is no {} to watch: {what_to_do}", self.at, self.metric.name()))
    }
}

/// The state of a callback from a checkpoint.
pub(crate) fn restored<T: DeserializeOwned>(at: &str, state: &serde_json::Value) -> Result<T> {
    T::deserialize(state).map_err(|error| Error::data(format!("{at}: this is not its state: {error}")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::epoch;
    use super::*;

    #[test]
    fn better_means_by_more_than_the_least() {
        let mut best = Best::new("test", Metric::ValAcc, 0.1);
        let found = [0.5, 0.55, 0.6, 0.7, f64::NAN, f64::INFINITY, 0.75, 0.85].map(|acc| {
            let report = EpochReport { val_acc: Some(acc), ..epoch(1) };
            best.improves(&report).unwrap()
        });
        assert_eq!(found, [true, false, false, true, false, false, false, true]);
        let mut best = Best::new("test", Metric::Loss, 0.0);
        let found = [f64::NAN, 1.0, 1.0, 0.9].map(|loss| best.improves(&EpochReport { loss, ..epoch(1) }).unwrap());
        assert_eq!(found, [false, true, false, true]);
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = Best::new("early_stopping", Metric::ValLoss, 0.0).improves(&epoch(1)).unwrap_err();
        let expected = "early_stopping: there is no val_loss to watch: give fit validation data";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(Best::new("early_stopping", Metric::Acc, 0.0).improves(&epoch(1)).is_err());
        for min_delta in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(Best::new("early_stopping", Metric::Acc, min_delta).reset(None).is_err());
        }
    }
}
