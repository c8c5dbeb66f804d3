//! A line for each epoch, for spreadsheets and pandas: RFC 4180.

use super::{Callback, EpochContext, History, TrainContext};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::train::EpochReport;
use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

const HEADER: &str = "epoch,steps,loss,acc,val_loss,val_acc,learning_rate,seconds,ms_per_step\r\n";

/// Writes a row for each epoch into a CSV file, as Keras' `CSVLogger`: the fields of [`EpochReport`], by name.
///
/// Each row goes out whole as soon as there is something to say. An older file is replaced; where training goes on after
/// a stop, by one with all rows so far. What was not measured is an empty field.
///
/// ```
/// use tapetum::prelude::*;
/// # let data = ArraySet::new(ndarray::array![[-1.0], [1.0], [2.0]].into_dyn(), vec![0, 1, 0])?;
/// # let model = Sequential::builder([1]).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// # let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(0.1));
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("history.csv");
/// let mut log = CsvLog::new(&path);
/// trainer.fit(&data, Fit::epochs(2).callback(&mut log).verbosity(Verbosity::Silent))?;
/// let text = std::fs::read_to_string(&path).unwrap();
/// assert!(text.starts_with("epoch,steps,loss,acc,val_loss,val_acc,learning_rate,"));
/// assert!(text.lines().nth(2).unwrap().starts_with("2,1,"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct CsvLog {
    path: PathBuf,
    /// Open at its end while training.
    file: Option<File>,
}

impl CsvLog {
    /// Into the file at `path`, whose folder has to be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), file: None }
    }
}

impl Callback for CsvLog {
    fn on_train_begin(&mut self, train: TrainContext<'_>) -> Result<()> {
        let rows: String = train.history.epochs.iter().map(row).collect();
        write_atomically(&self.path, format!("{HEADER}{rows}").as_bytes())?;
        let file = File::options().append(true).open(&self.path);
        self.file = Some(file.map_err(|error| Error::file(&self.path, error))?);
        Ok(())
    }

    fn on_epoch_end(&mut self, epoch: EpochContext<'_>) -> Result<ControlFlow<()>> {
        if let Some(file) = &mut self.file {
            // In one piece: what is killed leaves whole rows.
            let written = file.write_all(row(epoch.report).as_bytes()).and_then(|()| file.sync_data());
            written.map_err(|error| Error::file(&self.path, error))?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn on_train_end(&mut self, _: &History) -> Result<()> {
        self.file = None;
        Ok(())
    }
}

/// Numbers alone, so that nothing needs quotes; every number comes back to the bit.
fn row(epoch: &EpochReport) -> String {
    let measured = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:?}"));
    let EpochReport { epoch, steps, loss, acc, val_loss, val_acc, learning_rate, seconds, ms_per_step } = epoch;
    let [acc, val_loss, val_acc] = [acc, val_loss, val_acc].map(|value| measured(*value));
    format!("{epoch},{steps},{loss:?},{acc},{val_loss},{val_acc},{learning_rate:?},{seconds:?},{ms_per_step:?}\r\n")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{begin, end_of, epoch};
    use super::*;

    fn reports() -> Vec<EpochReport> {
        let report = |n| EpochReport {
            loss: 1.0 / n as f64,
            val_loss: (n > 1).then_some(1e-30),
            val_acc: (n == 3).then_some(f64::NAN),
            ..epoch(n)
        };
        (1..=3).map(report).collect()
    }

    #[test]
    fn rows_come_back_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a history.csv");
        let mut log = CsvLog::new(&path);
        begin(&mut log, &[]).unwrap();
        for (n, report) in reports().iter().enumerate() {
            let _ = end_of(&mut log, report, 1.0).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap().matches("\r\n").count(), n + 2);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let names: Vec<&str> = text.lines().next().unwrap().split(',').collect();
        for (line, report) in text.lines().skip(1).zip(reports()) {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(fields.len(), names.len());
            let field = |name| fields[names.iter().position(|other| *other == name).unwrap()];
            assert_eq!(field("epoch").parse(), Ok(report.epoch));
            assert_eq!(field("loss").parse(), Ok(report.loss));
            assert_eq!(field("acc"), "");
            assert_eq!(field("val_loss").parse().ok(), report.val_loss);
            assert_eq!(field("val_acc") == "NaN", report.val_acc.is_some());
        }
    }

    #[test]
    fn after_a_stop_the_file_is_the_one_without_a_stop() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.csv");
        let text = |done: usize, then: &[EpochReport]| {
            let mut log = CsvLog::new(&path);
            begin(&mut log, &reports()[..done]).unwrap();
            for report in then {
                let _ = end_of(&mut log, report, 1.0).unwrap();
            }
            std::fs::read_to_string(&path).unwrap()
        };
        let whole = text(0, &reports());
        // What came after the checkpoint, and half a row, are forgotten.
        text(0, &reports()[..2]);
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        assert_eq!(text(1, &reports()[1..]), whole);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = begin(&mut CsvLog::new(folder.path().join("missing").join("log.csv")), &[]).unwrap_err();
        assert!(error.to_string().contains("log.csv"), "{error}");
    }
}
