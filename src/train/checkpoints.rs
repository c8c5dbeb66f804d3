//! A folder of checkpoints: when one is written, which are kept, and which one a training goes on from.

use super::{Checkpoint, History, Trainer};
use crate::error::{Error, Result};
use crate::files::{create_folder, temporary_beside};
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::ptr;

/// Holds the lock; stays in the folder.
const LOCK: &str = "lock";

/// The checkpoints of one training, in a folder of their own that no other training can use at the same time.
///
/// Unless told otherwise one is written after each epoch, and the last three are kept, and that of the best epoch. One
/// more is written when a [`StopSignal`](super::StopSignal) stops the training, and at its end.
///
/// ```
/// use tapetum::prelude::*;
/// # let data = ArraySet::new(ndarray::array![[-1.0], [1.0], [2.0]].into_dyn(), vec![0, 1, 0])?;
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path().join("checkpoints");
/// fn train(data: &ArraySet, folder: &std::path::Path) -> Result<Trainer> {
///     let model = Sequential::builder([1]).add(Dense::new(1)).add(Sigmoid).build(1)?;
///     let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(0.1));
///     let mut checkpoints = Checkpoints::open(folder)?.every_steps(100).keep(2);
///     trainer.resume(&mut checkpoints)?; // does nothing the first time
///     trainer.fit(data, Fit::epochs(3).checkpoints(&mut checkpoints).verbosity(Verbosity::Silent))?;
///     Ok(trainer)
/// }
/// let hash = weights_sha256(train(&data, &folder)?.model());
/// assert_eq!(weights_sha256(train(&data, &folder)?.model()), hash); // all is done already
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    every_steps: Option<u64>,
    every_epochs: Option<usize>,
    keep: usize,
    /// A training goes on from here: what is newer than where it goes on from is damaged.
    resumed: bool,
    lock: File,
}

/// What [`Checkpoints::newest`] finds.
///
/// See [`Checkpoints`] for an example.
#[derive(Debug)]
pub struct Newest {
    /// The newest checkpoint that is whole.
    pub checkpoint: Checkpoint,
    /// Its file.
    pub path: PathBuf,
    /// Why newer ones cannot be used.
    pub damaged: Vec<Error>,
}

impl Checkpoints {
    /// Makes the folder where there is none, locks it as long as this value lives, and removes what a killed training
    /// left half written.
    ///
    /// # Errors
    /// Where another training uses the folder, or it cannot be written to.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        create_folder(&folder)?;
        let path = folder.join(LOCK);
        let lock = File::create(&path).map_err(|error| Error::file(&path, error))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Error::file(&folder, "another training is writing its checkpoints here"),
            TryLockError::Error(error) => Error::file(&path, error),
        })?;
        let checkpoints = Self { folder, every_steps: None, every_epochs: None, keep: 3, resumed: false, lock };
        checkpoints.remove_half_written()?;
        Ok(checkpoints)
    }

    /// Writes one after every `steps` steps, counted over the whole training, and no longer after every epoch.
    pub fn every_steps(mut self, steps: u64) -> Self {
        self.every_steps = Some(steps);
        self
    }

    /// Writes one after every `epochs` epochs.
    pub fn every_epochs(mut self, epochs: usize) -> Self {
        self.every_epochs = Some(epochs);
        self
    }

    /// Keeps the last `count`; that of the epoch with the best `val_acc` stays too.
    pub fn keep(mut self, count: usize) -> Self {
        self.keep = count;
        self
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Their files, the newest first.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        Ok(self.numbered()?.into_iter().map(|(_, path)| path).collect())
    }

    /// The newest checkpoint that is whole; none where there is no checkpoint.
    ///
    /// # Errors
    /// Where there are some, but none is whole; each is named with what is wrong.
    pub fn newest(&self) -> Result<Option<Newest>> {
        let mut damaged = Vec::new();
        for path in self.files()? {
            match Checkpoint::load(&path) {
                Ok(checkpoint) => return Ok(Some(Newest { checkpoint, path, damaged })),
                Err(error) => damaged.push(error),
            }
        }
        if damaged.is_empty() {
            return Ok(None);
        }
        let all: Vec<String> = damaged.iter().map(Error::to_string).collect();
        let folder = self.folder.display();
        Err(Error::data(format!("no checkpoint in {folder} can be used, begin anew elsewhere: {}", all.join("; "))))
    }

    /// The error of settings without sense, and of a folder with checkpoints that training would not go on from.
    pub(super) fn check(&self, step: u64) -> Result<()> {
        for (argument, value) in [
            ("every_steps", self.every_steps),
            ("every_epochs", self.every_epochs.map(|epochs| epochs as u64)),
            ("keep", Some(self.keep as u64)),
        ] {
            if value == Some(0) {
                return Err(Error::argument("checkpoints", argument, "at least 1", 0));
            }
        }
        match self.numbered()?.first() {
            Some((newest, path)) if *newest > step && !self.resumed => {
                let why = format!("this training is at step {step} only: resume it, or take another folder");
                Err(Error::file(path, why))
            }
            _ => Ok(()),
        }
    }

    /// The steps from `step` on until the next checkpoint that is due after a step.
    pub(super) fn steps_left(&self, step: u64) -> usize {
        self.every_steps.map_or(usize::MAX, |every| usize::try_from(every - step % every).unwrap_or(usize::MAX))
    }

    pub(super) fn is_due_after_step(&self, step: u64) -> bool {
        self.every_steps.is_some_and(|every| step.is_multiple_of(every))
    }

    /// Whether one is due after the last epoch of `history`: also where it is the best so far.
    pub(super) fn is_due_after_epoch(&self, step: u64, history: &History) -> bool {
        let every = self.every_epochs.or(self.every_steps.is_none().then_some(1));
        let is_best = history.best().is_some_and(|best| history.epochs.last().is_some_and(|last| ptr::eq(best, last)));
        is_best
            || self.is_due_after_step(step)
            || every.is_some_and(|every| history.epochs.last().is_some_and(|last| last.epoch.is_multiple_of(every)))
    }

    /// Writes a checkpoint, `done` steps into its epoch, and then removes those that need not be kept.
    pub(super) fn save(&mut self, checkpoint: &Checkpoint, done: usize) -> Result<()> {
        checkpoint.save(self.folder.join(name(checkpoint.step()))).map_err(|error| match error {
            Error::File { path, source } => {
                let what_now = "the checkpoints before this one are whole; make room, then go on from the last";
                Error::file(path, format!("{source} ({what_now})"))
            }
            other => other,
        })?;
        let best = best_step(checkpoint, done);
        let (newer, older): (Vec<_>, Vec<_>) =
            self.numbered()?.into_iter().partition(|(step, _)| *step > checkpoint.step());
        let spare = older.into_iter().skip(self.keep).filter(|(step, _)| Some(*step) != best);
        newer.into_iter().chain(spare).try_for_each(|(_, path)| remove(&path))
    }

    /// The steps and files of all checkpoints, the newest first.
    fn numbered(&self) -> Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|error| Error::file(&self.folder, error))? {
            let entry = entry.map_err(|error| Error::file(&self.folder, error))?;
            found.extend(step_of(&entry.file_name()).map(|step| (step, entry.path())));
        }
        found.sort_by(|a, b| b.cmp(a));
        Ok(found)
    }

    fn remove_half_written(&self) -> Result<()> {
        for entry in fs::read_dir(&self.folder).map_err(|error| Error::file(&self.folder, error))? {
            let path = entry.map_err(|error| Error::file(&self.folder, error))?.path();
            let file = path.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_prefix('.'));
            let file = file.and_then(|name| name.strip_suffix(".tmp")).filter(|name| step_of(name.as_ref()).is_some());
            if file.is_some_and(|name| temporary_beside(&self.folder.join(name)) == Some(path.clone())) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Said, since a program that was started meanwhile may still share the file.
impl Drop for Checkpoints {
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

fn name(step: u64) -> String {
    format!("checkpoint-{step:010}.safetensors")
}

/// The step of a file that bears such a name.
fn step_of(file: &OsStr) -> Option<u64> {
    let step = file.to_str()?.strip_prefix("checkpoint-")?.strip_suffix(".safetensors")?.parse().ok()?;
    (file == OsStr::new(&name(step))).then_some(step)
}

/// The step behind the best epoch: the epochs since then tell how far back it lies.
fn best_step(checkpoint: &Checkpoint, done: usize) -> Option<u64> {
    let epochs = &checkpoint.history().epochs;
    let best = checkpoint.history().best()?;
    let since = epochs.iter().rev().take_while(|epoch| !ptr::eq(*epoch, best)).map(|epoch| epoch.steps as u64);
    checkpoint.step().checked_sub(done as u64 + since.sum::<u64>())
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|error| Error::file(path, error))
}

impl Trainer {
    /// Goes on from the newest checkpoint that is whole, as [`restore`](Self::restore) does; none where there is no
    /// checkpoint yet.
    ///
    /// # Errors
    /// As [`Checkpoints::newest`] and [`restore`](Self::restore).
    pub fn resume(&mut self, checkpoints: &mut Checkpoints) -> Result<Option<Newest>> {
        let newest = checkpoints.newest()?;
        if let Some(newest) = &newest {
            self.restore(&newest.checkpoint)?;
            checkpoints.resumed = true;
        }
        Ok(newest)
    }
}
