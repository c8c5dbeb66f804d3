//! Smaller steps where larger ones no longer help.

use super::metric::{Best, restored};
use super::{Callback, EpochContext, Metric, TrainContext};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

const AT: &str = "reduce_lr_on_plateau";

/// Lowers the learning rate when a metric has not become better for some epochs, as Keras' `ReduceLROnPlateau`.
///
/// What it lowers is the factor that the schedule's learning rate is multiplied by: the two work together.
///
/// ```
/// use tapetum::prelude::*;
/// # let data = ArraySet::new(ndarray::array![[-1.0], [1.0], [2.0]].into_dyn(), vec![0, 1, 0])?;
/// # let model = Sequential::builder([1]).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// # let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), SGD::new(1e-9)); // learns next to nothing
/// let mut plateau = ReduceLROnPlateau::new(Metric::Loss).factor(0.5).patience(2);
/// let history = trainer.fit(&data, Fit::epochs(4).callback(&mut plateau).verbosity(Verbosity::Silent))?;
/// let rates: Vec<f64> = history.epochs.iter().map(|epoch| epoch.learning_rate).collect();
/// assert_eq!(rates, [1e-9, 1e-9, 1e-9, 0.5e-9]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ReduceLROnPlateau {
    best: Best,
    factor: f64,
    patience: usize,
    cooldown: usize,
    min_lr: f64,
    /// Epochs since the best one, or since the last reduction.
    wait: usize,
    /// Epochs until they are counted again.
    rest: usize,
}

/// What a checkpoint keeps.
#[derive(Serialize, Deserialize)]
struct State {
    best: Option<f64>,
    wait: usize,
    rest: usize,
}

impl ReduceLROnPlateau {
    /// With Keras' settings: a tenth of the learning rate after 10 epochs that were not better by more than 10⁻⁴.
    pub fn new(metric: Metric) -> Self {
        let best = Best::new(AT, metric, 1e-4);
        Self { best, factor: 0.1, patience: 10, cooldown: 0, min_lr: 0.0, wait: 0, rest: 0 }
    }

    /// What the learning rate is multiplied by, between 0 and 1.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// So many epochs in a row have to be no better (0 means the same as 1).
    pub fn patience(mut self, epochs: usize) -> Self {
        self.patience = epochs;
        self
    }

    /// What is better by no more than this is not better.
    pub fn min_delta(mut self, delta: f64) -> Self {
        self.best.min_delta = delta;
        self
    }

    /// So many epochs are not counted after a reduction.
    pub fn cooldown(mut self, epochs: usize) -> Self {
        self.cooldown = epochs;
        self
    }

    /// The learning rate is not lowered below this one.
    pub fn min_lr(mut self, learning_rate: f64) -> Self {
        self.min_lr = learning_rate;
        self
    }

    /// `learning_rate` is the schedule's times `factor`; what the factor becomes.
    fn reduced(&self, learning_rate: f64, factor: f64) -> f64 {
        match learning_rate * self.factor {
            _ if learning_rate <= self.min_lr => factor,
            lower if lower < self.min_lr => factor * (self.min_lr / learning_rate),
            _ => factor * self.factor,
        }
    }
}

impl Callback for ReduceLROnPlateau {
    fn on_train_begin(&mut self, train: TrainContext<'_>) -> Result<()> {
        if !(self.factor > 0.0 && self.factor < 1.0) {
            return Err(Error::argument(AT, "factor", "between 0 and 1", self.factor));
        }
        if !(0.0..f64::INFINITY).contains(&self.min_lr) {
            return Err(Error::argument(AT, "min_lr", "at least 0", self.min_lr));
        }
        let goes_on = !train.history.epochs.is_empty();
        (self.wait, self.rest) = if goes_on { (self.wait, self.rest) } else { (0, 0) };
        self.best.reset(self.best.value.filter(|_| goes_on))
    }

    fn on_epoch_end(&mut self, epoch: EpochContext<'_>) -> Result<ControlFlow<()>> {
        let better = self.best.improves(epoch.report)?;
        // The last epoch of a rest counts, as in Keras.
        self.rest = self.rest.saturating_sub(1);
        self.wait = if better || self.rest > 0 { 0 } else { self.wait + 1 };
        if self.wait >= self.patience.max(1) {
            (self.wait, self.rest) = (0, self.cooldown);
            let factor = epoch.learning_rate_factor;
            factor.set(self.reduced(epoch.report.learning_rate, factor.get()));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn state(&self) -> serde_json::Value {
        serde_json::json!(State { best: self.best.value, wait: self.wait, rest: self.rest })
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        State { best: self.best.value, wait: self.wait, rest: self.rest } = restored(AT, state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{begin, end_of, epoch};
    use super::*;
    use crate::train::EpochReport;

    /// The learning rate of each epoch, the schedule's being 1.
    fn rates(plateau: &mut ReduceLROnPlateau, losses: &[f64], mut rate: f64) -> Vec<f64> {
        let mut told = |loss: &f64| {
            let report = EpochReport { loss: *loss, learning_rate: rate, ..epoch(1) };
            let (_, next) = end_of(plateau, &report, rate).unwrap();
            std::mem::replace(&mut rate, next)
        };
        let mut rates: Vec<f64> = losses.iter().map(&mut told).collect();
        rates.push(rate);
        rates
    }

    /// Keras 3's `ReduceLROnPlateau.on_epoch_end`, line by line, for a loss.
    fn keras(losses: &[f64], factor: f64, patience: usize, cooldown: usize, min_lr: f64) -> Vec<f64> {
        let (mut lr, mut best, mut wait, mut cooling) = (1.0, f64::INFINITY, 0, 0);
        let mut rates = vec![lr];
        for &loss in losses {
            if cooling > 0 {
                cooling -= 1;
                wait = 0;
            }
            if loss < best - 1e-4 {
                best = loss;
                wait = 0;
            } else if cooling == 0 {
                wait += 1;
                if wait >= patience && lr > min_lr {
                    lr = f64::max(lr * factor, min_lr);
                    cooling = cooldown;
                    wait = 0;
                }
            }
            rates.push(lr);
        }
        rates
    }

    #[test]
    fn the_learning_rate_falls_as_with_keras() {
        let losses = [1.0, 0.9, 0.9, 0.95, 0.9, 0.8, 0.8, 0.8, 0.79995, 0.8, 0.8, 0.9, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8];
        for patience in 1..4 {
            for cooldown in 0..4 {
                for min_lr in [0.0, 0.1] {
                    let mut plateau = ReduceLROnPlateau::new(Metric::Loss).factor(0.5).patience(patience);
                    plateau = plateau.cooldown(cooldown).min_lr(min_lr);
                    begin(&mut plateau, &[]).unwrap();
                    let expected = keras(&losses, 0.5, patience, cooldown, min_lr);
                    let found = rates(&mut plateau, &losses, 1.0);
                    assert_eq!(found, expected, "patience {patience}, cooldown {cooldown}, min_lr {min_lr}");
                }
            }
        }
    }

    #[test]
    fn after_a_stop_it_goes_on_as_if_there_had_been_none() {
        let losses = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5];
        let new = || ReduceLROnPlateau::new(Metric::Loss).factor(0.5).patience(2).cooldown(2);
        let expected = keras(&losses, 0.5, 2, 2, 0.0);
        for cut in 1..10 {
            let mut first = new();
            begin(&mut first, &[]).unwrap();
            let mut found = rates(&mut first, &losses[..cut], 1.0);
            let mut second = new();
            second.restore(&first.state()).unwrap();
            begin(&mut second, &vec![epoch(1); cut]).unwrap();
            let rate = found.pop().unwrap();
            found.extend(rates(&mut second, &losses[cut..], rate));
            assert_eq!(found, expected, "cut at {cut}");
        }
    }

    #[test]
    fn settings_without_sense_are_refused() {
        let refused = |mut plateau: ReduceLROnPlateau| begin(&mut plateau, &[]).unwrap_err().to_string();
        let new = || ReduceLROnPlateau::new(Metric::Loss);
        assert_eq!(refused(new().factor(1.0)), "reduce_lr_on_plateau: factor must be between 0 and 1, got 1");
        assert!(refused(new().factor(f64::NAN)).contains("factor"));
        assert!(refused(new().min_lr(-1.0)).contains("min_lr"));
        assert!(refused(new().min_delta(-1.0)).contains("min_delta"));
    }
}
