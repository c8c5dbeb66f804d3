//! The loop of `fit`: epochs of steps, validation, callbacks.

use super::history::Mean;
use super::progress::Progress;
use super::trainer::{BATCH_SIZE, Trainer};
use super::{Callback, EpochContext, EpochReport, Fit, History, TrainContext};
use crate::data::{Batches, Dataset, Order};
use crate::error::{Error, Result};
use crate::threads::with_threads;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Instant;

impl Trainer {
    /// Trains.
    ///
    /// Batches are prepared in parallel with the network, one ahead. Returns the epochs of this call.
    ///
    /// # Errors
    /// Where data and network do not fit each other, a sample cannot be read, or the loss is not finite
    /// (weights are then as they were before that step). [`history`](Self::history) and
    /// [`model`](Self::model) keep what was reached.
    pub fn fit(&mut self, data: &dyn Dataset, fit: Fit<'_>) -> Result<History> {
        let threads = self.threads;
        with_threads(threads, || self.run(data, fit))?
    }

    fn run(&mut self, data: &dyn Dataset, mut fit: Fit<'_>) -> Result<History> {
        self.expect_samples("training", data)?;
        if let Some(validation) = fit.validation {
            self.expect_samples("validation", validation)?;
            expect_classes(data.class_names(), validation.class_names())?;
        }
        let order = if fit.in_order { Order::InOrder } else { Order::Shuffled };
        let batch_size = fit.batch_size.unwrap_or(BATCH_SIZE);
        let batches = Batches::new(data, batch_size, self.seed, order)?;
        let steps = fit.steps_per_epoch.unwrap_or(batches.steps_per_pass());
        for (argument, value) in [("steps_per_epoch", Some(steps)), ("validation_steps", fit.validation_steps)] {
            if value == Some(0) {
                return Err(Error::argument("fit", argument, "at least 1", 0));
            }
        }
        let mut progress = Progress::new(fit.verbosity);
        let mut callbacks: Vec<&mut dyn Callback> = Vec::new();
        callbacks.extend(progress.as_mut().map(|progress| progress as &mut dyn Callback));
        callbacks.extend(fit.callbacks.drain(..).map(|callback| callback as &mut dyn Callback));
        let mut callbacks = Callbacks(callbacks);

        let first = self.history.epochs.len();
        let train = TrainContext { epochs: fit.epochs, steps, history: &History::default() };
        callbacks.each(|callback| callback.on_train_begin(train))?;
        for epoch in 1..=fit.epochs {
            callbacks.each(|callback| callback.on_epoch_begin(epoch))?;
            let (mut report, stop) = self.train_epoch(&batches, epoch, steps, &mut callbacks)?;
            if let Some(data) = fit.validation {
                let begun = Instant::now();
                let found = self.evaluate_some(data, batch_size, fit.validation_steps)?;
                (report.val_loss, report.val_acc) = (Some(found.loss), found.accuracy);
                report.seconds += begun.elapsed().as_secs_f64();
            }
            self.history.epochs.push(report.clone());
            if self.tell(&report, &mut callbacks)? || stop {
                break;
            }
        }
        let history = History { epochs: self.history.epochs[first..].to_vec() };
        callbacks.each(|callback| callback.on_train_end(&history))?;
        Ok(history)
    }

    /// Tells the callbacks of an epoch, lets them change the learning rate, and whether one wants to stop.
    fn tell(&mut self, report: &EpochReport, callbacks: &mut Callbacks<'_>) -> Result<bool> {
        let factor = Cell::new(self.optimizer.learning_rate_factor());
        let context = EpochContext { report, history: &self.history, learning_rate_factor: &factor, trainer: self };
        let stop = callbacks.any_breaks(|callback| callback.on_epoch_end(context))?;
        self.optimizer.set_learning_rate_factor(factor.get());
        Ok(stop)
    }

    /// The steps of one epoch, and whether a callback wants to stop.
    fn train_epoch(
        &mut self,
        batches: &Batches<'_>,
        epoch: usize,
        steps: usize,
        callbacks: &mut Callbacks<'_>,
    ) -> Result<(EpochReport, bool)> {
        let begun = Instant::now();
        let (mut mean, mut done, mut stop) = (Mean::default(), 0, false);
        let mut learning_rate = 0.0;
        let mut next = Some(batches.batch(self.step)?);
        while let Some(batch) = next.take().filter(|_| !stop) {
            let following = self.step + 1;
            learning_rate = self.optimizer.learning_rate();
            // The other threads read the next batch while this one is learned from.
            let (report, prefetched) = rayon::join(
                || self.train_on_batch(&batch),
                || (done + 1 < steps).then(|| batches.batch(following)).transpose(),
            );
            let report = report?;
            done += 1;
            mean.add(report.loss, report.samples, report.acc);
            stop = callbacks.any_breaks(|callback| callback.on_step_end(&report))?;
            next = prefetched?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let report = EpochReport {
            epoch,
            steps: done,
            loss: mean.loss(),
            acc: mean.acc(),
            val_loss: None,
            val_acc: None,
            learning_rate,
            seconds,
            ms_per_step: seconds * 1e3 / done as f64,
        };
        Ok((report, stop))
    }
}

/// The user's callbacks behind the progress display.
struct Callbacks<'a>(Vec<&'a mut dyn Callback>);

impl Callbacks<'_> {
    fn each(&mut self, mut tell: impl FnMut(&mut dyn Callback) -> Result<()>) -> Result<()> {
        self.0.iter_mut().try_for_each(|callback| tell(*callback))
    }

    /// Tells all of them, and whether one wants to stop.
    fn any_breaks(&mut self, mut tell: impl FnMut(&mut dyn Callback) -> Result<ControlFlow<()>>) -> Result<bool> {
        self.0.iter_mut().try_fold(false, |stop, callback| Ok(tell(*callback)?.is_break() || stop))
    }
}

/// Labels are numbers: they mean the same only where the names are the same.
fn expect_classes(training: &[String], validation: &[String]) -> Result<()> {
    if training.is_empty() || validation.is_empty() || training == validation {
        return Ok(());
    }
    Err(Error::data(format!("the validation data has the classes {validation:?}, the training data {training:?}")))
}
