//! Curves in TensorBoard.

mod event;
#[cfg(test)]
mod reader;
mod record;

use super::{Callback, EpochContext, History, TrainContext, metric::restored};
use crate::error::{Error, Result};
use crate::train::StepReport;
use record::framed;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::SystemTime;

const AT: &str = "tensorboard";

/// Writes event files that TensorBoard shows: `tensorboard --logdir FOLDER`.
///
/// After each epoch `train/loss`, `train/acc`, `val/loss`, `val/acc` and `learning_rate`, where they were measured, at
/// the epoch's last step, counted over the whole training; with [`every`](Self::every) also `batch/loss` and
/// `batch/acc`. Each training makes a file of its own. Where it goes on after a stop, TensorBoard forgets what older
/// files of the folder say of the steps that are done again.
///
/// ```
/// use tapetum::prelude::*;
/// # let data = ArraySet::new(ndarray::array![[-1.0], [1.0], [2.0]].into_dyn(), vec![0, 1, 0])?;
/// # let model = Sequential::builder([1]).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// # let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(0.1));
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let mut board = TensorBoard::new(folder).every(100);
/// trainer.fit(&data, Fit::epochs(2).callback(&mut board).verbosity(Verbosity::Silent))?;
/// let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap();
/// assert!(file.file_name().to_str().unwrap().starts_with("events.out.tfevents."));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    every: Option<u64>,
    /// The file while training, and its path.
    file: Option<(File, PathBuf)>,
    /// Whether the file says with which step it begins.
    started: bool,
    /// The latest step.
    step: u64,
}

impl TensorBoard {
    /// Into a new file in `folder`, which is made where there is none.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), every: None, file: None, started: false, step: 0 }
    }

    /// Also loss and accuracy of a batch, after every so many steps.
    pub fn every(mut self, steps: u64) -> Self {
        self.every = Some(steps);
        self
    }

    /// A new file, named by the time. What is written later has the later name: TensorBoard reads in this order.
    fn create(&mut self) -> Result<()> {
        let failed = |error| Error::file(&self.folder, error);
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        for second in wall_time() as u64.. {
            let path = self.folder.join(format!("events.out.tfevents.{second:010}.tapetum"));
            match File::create_new(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::file(&path, error)),
                Ok(file) => {
                    (self.file, self.started) = (Some((file, path)), false);
                    break;
                }
            }
        }
        self.write(&event::file_version(wall_time()))
    }

    fn write(&mut self, event: &[u8]) -> Result<()> {
        let Some((file, path)) = &mut self.file else { return Ok(()) };
        // In one piece: what is killed leaves whole events.
        file.write_all(&framed(event)).map_err(|error| Error::file(path, error))
    }

    /// Before the first numbers of a file.
    fn start(&mut self, step: u64) -> Result<()> {
        if !std::mem::replace(&mut self.started, true) {
            self.write(&event::start(wall_time(), step))?;
        }
        Ok(())
    }

    fn scalars(&mut self, values: &[(&str, Option<f64>)]) -> Result<()> {
        let measured: Vec<_> = values.iter().filter_map(|&(tag, value)| Some((tag, value?))).collect();
        self.write(&event::scalars(wall_time(), self.step, &measured))
    }
}

impl Callback for TensorBoard {
    fn on_train_begin(&mut self, _: TrainContext<'_>) -> Result<()> {
        if self.every == Some(0) {
            return Err(Error::argument(AT, "every", "at least 1", 0));
        }
        self.create()
    }

    fn on_step_end(&mut self, report: &StepReport) -> Result<ControlFlow<()>> {
        self.start(report.step)?;
        self.step = report.step;
        if self.every.is_some_and(|every| report.step.is_multiple_of(every)) {
            self.scalars(&[("batch/loss", Some(report.loss)), ("batch/acc", report.acc)])?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn on_epoch_end(&mut self, epoch: EpochContext<'_>) -> Result<ControlFlow<()>> {
        // The steps of this epoch were all done before a stop.
        self.start(self.step + 1)?;
        let report = epoch.report;
        self.scalars(&[
            ("train/loss", Some(report.loss)),
            ("train/acc", report.acc),
            ("val/loss", report.val_loss),
            ("val/acc", report.val_acc),
            ("learning_rate", Some(report.learning_rate)),
        ])?;
        Ok(ControlFlow::Continue(()))
    }

    fn on_train_end(&mut self, _: &History) -> Result<()> {
        match self.file.take() {
            Some((file, path)) => file.sync_all().map_err(|error| Error::file(path, error)),
            None => Ok(()),
        }
    }

    fn state(&self) -> serde_json::Value {
        self.step.into()
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        self.step = restored(AT, state)?;
        Ok(())
    }
}

/// Seconds since 1970.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{begin, end_of, epoch};
    use super::reader::{events, said};
    use super::*;
    use crate::train::EpochReport;
    use std::path::Path;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn steps(board: &mut TensorBoard, steps: std::ops::RangeInclusive<u64>) {
        for step in steps {
            let report = StepReport { step, loss: 0.5 * step as f64, acc: Some(0.25), samples: 8 };
            let _ = board.on_step_end(&report).unwrap();
        }
    }

    #[test]
    fn files_hold_what_they_should() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("new").join("runs");
        let mut board = TensorBoard::new(&runs).every(2);
        begin(&mut board, &[]).unwrap();
        steps(&mut board, 1..=300);
        let report = EpochReport { loss: 0.5, acc: Some(0.75), val_loss: Some(f64::NAN), ..epoch(1) };
        let _ = end_of(&mut board, &report, 1.0).unwrap();
        let found: Vec<String> = events(&files(&runs)[0]).iter().map(|event| said(event)).collect();
        assert_eq!(found.len(), 2 + 150 + 1);
        assert_eq!(found[..3], ["brain.Event:2", "1: START", "2: batch/loss 1 batch/acc 0.25"]);
        let last = "300: train/loss 0.5 train/acc 0.75 val/loss NaN learning_rate 0.001";
        assert_eq!(found[found.len() - 2..], ["300: batch/loss 150 batch/acc 0.25", last]);
    }

    #[test]
    fn after_a_stop_a_later_file_begins_with_the_next_step() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = TensorBoard::new(folder.path());
        begin(&mut first, &[]).unwrap();
        steps(&mut first, 1..=4);
        let state = first.state();
        steps(&mut first, 5..=7);
        for (next, start) in [(Some(5), "5: START"), (None, "5: START")] {
            let mut second = TensorBoard::new(folder.path());
            second.restore(&state).unwrap();
            begin(&mut second, &[epoch(1)]).unwrap();
            next.into_iter().for_each(|step| self::steps(&mut second, step..=step));
            let _ = end_of(&mut second, &epoch(2), 1.0).unwrap();
            let found = events(files(folder.path()).last().unwrap());
            assert_eq!(said(&found[1]), start);
            assert!(said(&found[2]).starts_with(&format!("{}: train/loss", next.unwrap_or(4))));
        }
        assert_eq!(files(folder.path()).len(), 3);
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let folder = tempfile::tempdir().unwrap();
        assert!(begin(&mut TensorBoard::new(folder.path()).every(0), &[]).is_err());
        let file = folder.path().join("a file");
        std::fs::write(&file, "").unwrap();
        let error = begin(&mut TensorBoard::new(&file), &[]).unwrap_err();
        assert!(error.to_string().contains("a file"), "{error}");
    }
}
