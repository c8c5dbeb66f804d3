//! The loop of `fit`: epochs of steps, validation, callbacks.

use super::feed::Feed;
use super::position::{Fingerprint, Position, Settings, Unfinished};
use super::progress::Progress;
use super::trainer::{BATCH_SIZE, Done, Trainer};
use super::{Callback, EpochContext, EpochReport, Fit, History, TrainContext};
use crate::data::{Dataset, Order};
use crate::error::{Error, Result};
use crate::threads::with_threads;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Instant;

impl Trainer {
    /// Trains.
    ///
    /// Batches are prepared in parallel with the network, one ahead. Returns the epochs of this call; where it goes on
    /// with a `fit` that was stopped, those of the whole.
    ///
    /// # Errors
    /// Where data and network do not fit each other, a sample cannot be read, a checkpoint cannot be written, a setting
    /// is another than before the stop, or the loss is not finite (weights are then as they were before that step).
    /// [`history`](Self::history) and [`model`](Self::model) keep what was reached.
    pub fn fit(&mut self, data: &dyn Dataset, fit: Fit<'_>) -> Result<History> {
        let threads = self.threads;
        with_threads(threads, || self.run(data, fit))?
    }

    fn run(&mut self, data: &dyn Dataset, fit: Fit<'_>) -> Result<History> {
        self.expect_samples("training", data)?;
        if let Some(validation) = fit.validation {
            self.expect_samples("validation", validation)?;
            expect_classes(data.class_names(), validation.class_names())?;
        }
        let mut run = Run::new(data, fit, self.seed)?;
        let mut position = self.take_up(&mut run)?;
        self.settle(data, run.batch_size.min(data.len()), &mut run.feed)?;
        let ran = self.epochs(&mut run, &mut position);
        self.leave();
        ran
    }

    fn epochs(&mut self, run: &mut Run<'_, '_>, position: &mut Position) -> Result<History> {
        let earlier = position.earlier;
        let before = History { epochs: self.history.epochs[earlier..].to_vec() };
        let train = TrainContext { epochs: run.fit.epochs, steps: run.steps, history: &before };
        run.callbacks.each(|callback| callback.on_train_begin(train))?;
        let mut stopped = false;
        while !stopped && !position.is_over(run.fit.epochs) {
            run.callbacks.begin_epoch(position)?;
            stopped = match self.train_epoch(run, position)? {
                Some(report) => self.end_epoch(run, position, report)?,
                None => true,
            };
        }
        let history = History { epochs: self.history.epochs[earlier..].to_vec() };
        run.callbacks.each(|callback| callback.on_train_end(&history))?;
        Ok(history)
    }

    /// Where this fit begins: where the last one was stopped, if it was.
    fn take_up(&mut self, run: &mut Run<'_, '_>) -> Result<Position> {
        #[cfg(feature = "bundle")]
        if let Some(checkpoints) = &run.fit.checkpoints {
            checkpoints.check(self.step)?;
        }
        let Some(unfinished) = &self.unfinished else { return Ok(Position::new(self.history.epochs.len())) };
        unfinished.settings.expect("fit", run.settings()?)?;
        run.callbacks.restore(&unfinished.callbacks)?;
        let position = unfinished.position;
        self.unfinished = None;
        Ok(position)
    }

    /// The steps of one epoch from `position` on; none where it was stopped before its last.
    fn train_epoch(&mut self, run: &mut Run<'_, '_>, position: &mut Position) -> Result<Option<EpochReport>> {
        let (begun, before) = (Instant::now(), position.seconds);
        let mut next = Some(run.feed.group(self.step, run.at_once(self.step, position.done))?);
        loop {
            let group = next.take().expect("the next one is read before each group but the last");
            let (following, done) = (self.step + group.len() as u64, position.done + group.len());
            let (feed, most) = (&run.feed, run.at_once(following, done));
            // The other threads read the next batches while these are learned from.
            let (trained, prefetched) = rayon::join(
                || self.train_on_group(&group),
                || (most > 0).then(|| feed.group(following, most)).transpose(),
            );
            let Done { reports, learning_rate, failed } = trained?;
            for report in &reports {
                position.done += 1;
                position.mean.add(report.loss, report.samples, report.acc);
                position.ended |= run.callbacks.any_breaks(|callback| callback.on_step_end(report))?;
            }
            position.seconds = before + begun.elapsed().as_secs_f64();
            if let Some(error) = failed {
                self.fetch()?;
                return Err(error);
            }
            if position.ended || position.done == run.steps {
                self.fetch()?;
                return Ok(Some(report_of(position, learning_rate)));
            }
            next = prefetched?;
            if self.pause(run, position)? {
                return Ok(None);
            }
        }
    }

    /// What follows the last step of an epoch, and whether the training is stopped then.
    fn end_epoch(&mut self, run: &mut Run<'_, '_>, position: &mut Position, mut report: EpochReport) -> Result<bool> {
        if let Some(data) = run.fit.validation {
            let begun = Instant::now();
            let found = self.evaluate_some(data, run.batch_size, run.fit.validation_steps)?;
            (report.val_loss, report.val_acc) = (Some(found.loss), found.accuracy);
            report.seconds += begun.elapsed().as_secs_f64();
        }
        self.history.epochs.push(report.clone());
        position.ended |= self.tell(&report, &mut run.callbacks)?;
        position.next_epoch();
        self.pause(run, position)
    }

    /// Tells the callbacks of an epoch, lets them change the learning rate, and whether one wants to stop.
    fn tell(&mut self, report: &EpochReport, callbacks: &mut Callbacks<'_>) -> Result<bool> {
        let factor = Cell::new(self.optimizer.learning_rate_factor());
        let context = EpochContext { report, history: &self.history, learning_rate_factor: &factor, trainer: self };
        let stop = callbacks.any_breaks(|callback| callback.on_epoch_end(context))?;
        self.optimizer.set_learning_rate_factor(factor.get());
        Ok(stop)
    }

    /// The moment for a checkpoint, if one is due, and whether the training is stopped here.
    fn pause(&mut self, run: &mut Run<'_, '_>, position: &Position) -> Result<bool> {
        let over = position.is_over(run.fit.epochs);
        let stopped = !over && run.fit.stop.as_ref().is_some_and(|stop| stop.is_set());
        if stopped || self.is_due(run, position, over) {
            self.fetch()?;
            let unfinished = run.unfinished(position)?;
            self.save(run, &unfinished)?;
            self.unfinished = stopped.then_some(unfinished);
        }
        Ok(stopped)
    }

    #[cfg(feature = "bundle")]
    fn is_due(&self, run: &Run<'_, '_>, position: &Position, over: bool) -> bool {
        let Some(checkpoints) = &run.fit.checkpoints else { return false };
        match position.done {
            0 => over || checkpoints.is_due_after_epoch(self.step, &self.history),
            _ => checkpoints.is_due_after_step(self.step),
        }
    }

    #[cfg(feature = "bundle")]
    fn save(&self, run: &mut Run<'_, '_>, unfinished: &Unfinished) -> Result<()> {
        match &mut run.fit.checkpoints {
            Some(checkpoints) => checkpoints.save(&self.snapshot(Some(unfinished)), unfinished.position.done),
            None => Ok(()),
        }
    }

    #[cfg(not(feature = "bundle"))]
    fn is_due(&self, _: &Run<'_, '_>, _: &Position, _: bool) -> bool {
        false
    }

    #[cfg(not(feature = "bundle"))]
    fn save(&self, _: &mut Run<'_, '_>, _: &Unfinished) -> Result<()> {
        Ok(())
    }
}

fn report_of(position: &Position, learning_rate: f64) -> EpochReport {
    let Position { epoch, done, mean, seconds, .. } = *position;
    EpochReport {
        epoch,
        steps: done,
        loss: mean.loss(),
        acc: mean.acc(),
        val_loss: None,
        val_acc: None,
        learning_rate,
        seconds,
        ms_per_step: seconds * 1e3 / done as f64,
    }
}

/// One call of `fit`.
struct Run<'d, 'a> {
    data: &'d dyn Dataset,
    feed: Feed<'d>,
    batch_size: usize,
    /// Training steps in an epoch.
    steps: usize,
    callbacks: Callbacks<'a>,
    /// Without the callbacks.
    fit: Fit<'a>,
    /// Looked at once: the data sets are as they are until the fit is over.
    fingerprints: Option<[String; 2]>,
}

impl<'d, 'a> Run<'d, 'a> {
    fn new(data: &'d dyn Dataset, mut fit: Fit<'a>, seed: u64) -> Result<Self> {
        let order = if fit.in_order { Order::InOrder } else { Order::Shuffled };
        let batch_size = fit.batch_size.unwrap_or(BATCH_SIZE);
        let feed = Feed::new(data, batch_size, seed, order)?;
        let steps = fit.steps_per_epoch.unwrap_or(feed.steps_per_pass());
        for (argument, value) in [("steps_per_epoch", Some(steps)), ("validation_steps", fit.validation_steps)] {
            if value == Some(0) {
                return Err(Error::argument("fit", argument, "at least 1", 0));
            }
        }
        let callbacks = Callbacks { progress: Progress::new(fit.verbosity), users: fit.callbacks.drain(..).collect() };
        Ok(Self { data, feed, batch_size, steps, callbacks, fit, fingerprints: None })
    }

    /// How many steps may be done from `step` on, `done` steps into the epoch, before it ends or a checkpoint is due.
    fn at_once(&self, step: u64, done: usize) -> usize {
        let left = self.steps.saturating_sub(done);
        #[cfg(feature = "bundle")]
        let left = self.fit.checkpoints.as_ref().map_or(left, |checkpoints| left.min(checkpoints.steps_left(step)));
        #[cfg(not(feature = "bundle"))]
        let _ = step;
        left
    }

    /// All that must be the same where this fit goes on, but the number of epochs.
    fn settings(&mut self) -> Result<[(&'static str, String); 7]> {
        let [data, validation] = match &self.fingerprints {
            Some(found) => found.clone(),
            None => {
                let validation = self.fit.validation.map(Fingerprint::of).transpose()?;
                let validation = validation.map_or("nothing".into(), |data| data.to_string());
                self.fingerprints.insert([Fingerprint::of(self.data)?.to_string(), validation]).clone()
            }
        };
        Ok([
            ("data", data),
            ("validate", validation),
            ("validation_steps", self.fit.validation_steps.map_or("all".into(), |steps| steps.to_string())),
            ("batch_size", self.batch_size.to_string()),
            ("steps_per_epoch", self.steps.to_string()),
            ("shuffle", (!self.fit.in_order).to_string()),
            ("callbacks", self.callbacks.users.len().to_string()),
        ])
    }

    fn unfinished(&mut self, position: &Position) -> Result<Unfinished> {
        Ok(Unfinished {
            epochs: self.fit.epochs,
            settings: Settings::new(self.settings()?),
            position: *position,
            callbacks: self.callbacks.users.iter().map(|callback| callback.state()).collect(),
        })
    }
}

/// The user's callbacks behind the progress display.
struct Callbacks<'a> {
    progress: Option<Progress>,
    users: Vec<&'a mut dyn Callback>,
}

impl Callbacks<'_> {
    fn all(&mut self) -> impl Iterator<Item = &mut dyn Callback> {
        let progress = self.progress.iter_mut().map(|progress| progress as &mut dyn Callback);
        progress.chain(self.users.iter_mut().map(|callback| &mut **callback as &mut dyn Callback))
    }

    fn each(&mut self, tell: impl FnMut(&mut dyn Callback) -> Result<()>) -> Result<()> {
        self.all().try_for_each(tell)
    }

    /// Tells all of them, and whether one wants to stop.
    fn any_breaks(&mut self, mut tell: impl FnMut(&mut dyn Callback) -> Result<ControlFlow<()>>) -> Result<bool> {
        self.all().try_fold(false, |stop, callback| Ok(tell(callback)?.is_break() || stop))
    }

    /// The user's callbacks know of an epoch already that only goes on.
    fn begin_epoch(&mut self, position: &Position) -> Result<()> {
        match (position.done, &mut self.progress) {
            (0, _) => self.each(|callback| callback.on_epoch_begin(position.epoch)),
            (_, Some(progress)) => progress.go_on(position.epoch, position.done, &position.mean),
            (_, None) => Ok(()),
        }
    }

    fn restore(&mut self, states: &[serde_json::Value]) -> Result<()> {
        self.users.iter_mut().zip(states).try_for_each(|(callback, state)| callback.restore(state))
    }
}

/// Labels are numbers: they mean the same only where the names are the same.
fn expect_classes(training: &[String], validation: &[String]) -> Result<()> {
    if training.is_empty() || validation.is_empty() || training == validation {
        return Ok(());
    }
    Err(Error::data(format!("the validation data has the classes {validation:?}, the training data {training:?}")))
}
