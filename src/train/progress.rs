//! What Keras shows during `fit` (thesis, figure 8), on standard error.

use super::history::Mean;
use super::{Callback, EpochContext, StepReport, TrainContext, Verbosity};
use crate::error::Result;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _, stderr};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

const BAR: usize = 30;
/// A terminal need not be written to more often.
const REDRAW: Duration = Duration::from_millis(100);

/// The bar with step, ETA, ms/step, loss and accuracy; one line for each epoch where nobody watches.
pub(super) struct Progress {
    bar: bool,
    epochs: usize,
    steps: usize,
    /// Steps of the epoch so far, and their mean.
    done: usize,
    mean: Mean,
    /// How many of them were done before a stop, and since when the others are.
    earlier: usize,
    begun: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    pub fn new(verbosity: Verbosity) -> Option<Self> {
        let bar = match verbosity {
            Verbosity::Silent => return None,
            Verbosity::Lines => false,
            Verbosity::Auto => stderr().is_terminal(),
        };
        let (mean, begun) = (Mean::default(), Instant::now());
        Some(Self { bar, epochs: 0, steps: 0, done: 0, mean, earlier: 0, begun, drawn: None })
    }

    /// An epoch of which so many steps are done, and what they add up to.
    pub fn go_on(&mut self, epoch: usize, done: usize, mean: &Mean) -> Result<()> {
        self.on_epoch_begin(epoch)?;
        (self.done, self.earlier, self.mean) = (done, done, *mean);
        Ok(())
    }

    fn line(&self) -> String {
        let step = self.done;
        let each = self.begun.elapsed().as_secs_f64() / (step - self.earlier).max(1) as f64;
        let filled = BAR * step / self.steps.max(1);
        let mut line = format!("{step}/{} [", self.steps);
        for place in 0..BAR {
            line.push(match place {
                _ if place < filled => '=',
                _ if place == filled => '>',
                _ => '.',
            });
        }
        let left = each * (self.steps - step.min(self.steps)) as f64;
        let loss = self.mean.loss();
        let _ = write!(line, "] - ETA: {} - {:.1} ms/step - loss: {loss:.4}", duration(left), each * 1e3);
        if let Some(acc) = self.mean.acc() {
            let _ = write!(line, " - acc: {acc:.4}");
        }
        line
    }
}

impl Callback for Progress {
    fn on_train_begin(&mut self, train: TrainContext<'_>) -> Result<()> {
        (self.epochs, self.steps) = (train.epochs, train.steps);
        Ok(())
    }

    fn on_epoch_begin(&mut self, epoch: usize) -> Result<()> {
        (self.done, self.earlier, self.mean) = (0, 0, Mean::default());
        self.begun = Instant::now();
        if self.bar {
            say(format_args!("Epoch {epoch}/{}\n", self.epochs));
        }
        Ok(())
    }

    fn on_step_end(&mut self, step: &StepReport) -> Result<ControlFlow<()>> {
        self.done += 1;
        self.mean.add(step.loss, step.samples, step.acc);
        if self.bar && self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW) {
            say(format_args!("\r{}\x1b[K", self.line()));
            self.drawn = Some(Instant::now());
        }
        Ok(ControlFlow::Continue(()))
    }

    fn on_epoch_end(&mut self, epoch: EpochContext<'_>) -> Result<ControlFlow<()>> {
        let report = epoch.report;
        let mut line = match self.bar {
            true => format!("\r{0}/{0} [{1}]", self.steps, "=".repeat(BAR)),
            false => format!("Epoch {}/{}", report.epoch, self.epochs),
        };
        let _ = write!(
            line,
            " - {} - {:.1} ms/step - loss: {:.4}",
            duration(report.seconds),
            report.ms_per_step,
            report.loss
        );
        for (name, value) in [("acc", report.acc), ("val_loss", report.val_loss), ("val_acc", report.val_acc)] {
            if let Some(value) = value {
                let _ = write!(line, " - {name}: {value:.4}");
            }
        }
        say(format_args!("{line}{}\n", if self.bar { "\x1b[K" } else { "" }));
        self.drawn = None;
        Ok(ControlFlow::Continue(()))
    }
}

/// After an error, what follows begins on a line of its own.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            say(format_args!("\n"));
        }
    }
}

/// A closed standard error is no reason to end a training.
fn say(text: std::fmt::Arguments<'_>) {
    let mut stderr = stderr().lock();
    let _ = stderr.write_fmt(text).and_then(|()| stderr.flush());
}

/// 75.2 seconds as "1:15".
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}:{:02}", whole / 60, whole % 60),
        _ => format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::History;

    #[test]
    fn durations_are_short() {
        assert_eq!([7.4, 75.2, 3785.0].map(duration), ["7s", "1:15", "1:03:05"]);
    }

    #[test]
    fn the_bar_grows_from_step_to_step() {
        let mut progress = Progress::new(Verbosity::Lines).unwrap();
        progress.on_train_begin(TrainContext { epochs: 2, steps: 4, history: &History::default() }).unwrap();
        progress.on_epoch_begin(1).unwrap();
        let report = StepReport { step: 1, loss: 0.5, acc: Some(0.25), samples: 32 };
        let _ = progress.on_step_end(&report).unwrap();
        assert!(progress.line().starts_with("1/4 [=======>......................] - ETA: "), "{}", progress.line());
        assert!(progress.line().ends_with("loss: 0.5000 - acc: 0.2500"));
        progress.go_on(1, 3, &progress.mean.clone()).unwrap();
        assert!(progress.line().starts_with("3/4 [======================>.......] - ETA: "), "{}", progress.line());
    }
}
