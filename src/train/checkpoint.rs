//! All that a training needs to go on as if it had never been stopped, as a value and as a file.

use super::position::{Settings, Unfinished};
use super::{History, Trainer, exact};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::model::{Architecture, fill, tensors_of};
use crate::sealed::{Reason, Seal, Tensor};
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};
use std::path::Path;

const SEAL: Seal = Seal { what: "checkpoint", key: "tapetum checkpoint", format: 1 };

/// What the names of the tensors begin with.
const MODEL: &str = "model/";
const OPTIMIZER: &str = "optimizer/";
const EMA: &str = "ema/";

/// A training between two steps: weights, optimizer, averages, history, and how far its `fit` is.
///
/// Random numbers and batches follow from the seed and the step's number, so that nothing else is needed to go on to
/// the same bits. The data, the network's layers and the settings are not in it: they are compared.
///
/// ```
/// use tapetum::prelude::*;
/// # let data = ArraySet::new(ndarray::array![[-1.0], [1.0], [2.0]].into_dyn(), vec![0, 1, 0])?;
/// let trainer = || -> Result<Trainer> {
///     let model = Sequential::builder([1]).add(Dense::new(1)).add(Sigmoid).build(1)?;
///     Ok(Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(0.1)))
/// };
/// let fit = |epochs| Fit::epochs(epochs).verbosity(Verbosity::Silent);
/// let mut first = trainer()?;
/// first.fit(&data, fit(2))?;
/// let checkpoint = first.checkpoint();
/// assert_eq!((checkpoint.step(), checkpoint.history().epochs.len()), (2, 2));
///
/// let mut second = trainer()?;
/// second.restore(&checkpoint)?;
/// first.fit(&data, fit(1))?;
/// second.fit(&data, fit(1))?;
/// assert_eq!(weights_sha256(first.model()), weights_sha256(second.model()));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Checkpoint {
    header: Header,
    tensors: Vec<Tensor>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Header {
    format: u32,
    model: Architecture,
    /// The trainer's.
    settings: Settings,
    step: u64,
    optimizer_steps: u64,
    #[serde(with = "exact")]
    learning_rate_factor: f64,
    ema_updates: Option<u64>,
    history: History,
    /// None between two calls of `fit`.
    fit: Option<Unfinished>,
}

impl Checkpoint {
    /// Steps done.
    pub fn step(&self) -> u64 {
        self.header.step
    }

    /// All epochs done.
    pub fn history(&self) -> &History {
        &self.header.history
    }

    /// Whether its `fit` had come to its end.
    pub fn is_finished(&self) -> bool {
        self.header.fit.as_ref().is_none_or(Unfinished::is_over)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// Where it cannot be written. An older file at `path` is then as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let bytes = SEAL.write(&self.header, &self.tensors).map_err(|reason| Error::file(path, reason))?;
        write_atomically(path, &bytes)
    }

    /// Reads a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// Where the file cannot be read, is damaged, or was written by another version.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
        let (header, tensors) = SEAL.read(&bytes).map_err(|reason| Error::file(path, reason))?;
        Ok(Self { header, tensors })
    }

    /// The tensors whose names begin with `prefix`, without it.
    fn tensors(&self, prefix: &str) -> Vec<Tensor> {
        let own =
            |tensor: &Tensor| Some(Tensor { name: tensor.name.strip_prefix(prefix)?.to_string(), ..tensor.clone() });
        self.tensors.iter().filter_map(own).collect()
    }

    fn arrays(&self, prefix: &str) -> Result<Vec<(String, ArrayD<f32>)>> {
        let array = |tensor: Tensor| Ok((tensor.name.clone(), tensor.values().map_err(broken)?));
        self.tensors(prefix).into_iter().map(array).collect()
    }
}

fn broken(reason: Reason) -> Error {
    Error::data(format!("the checkpoint's tensors do not fit: {reason}"))
}

fn prefixed(prefix: &str, mut tensor: Tensor) -> Tensor {
    tensor.name.insert_str(0, prefix);
    tensor
}

impl Trainer {
    /// All that is needed to go on from here.
    pub fn checkpoint(&self) -> Checkpoint {
        self.snapshot(self.unfinished.as_ref())
    }

    /// The same in the middle of a `fit`.
    pub(super) fn snapshot(&self, fit: Option<&Unfinished>) -> Checkpoint {
        let array = |(name, values): (String, ArrayD<f32>)| Tensor::new(name, values.view());
        let model = tensors_of(&self.model).into_iter().map(|tensor| prefixed(MODEL, tensor));
        let optimizer = self.optimizer.state().into_iter().map(|state| prefixed(OPTIMIZER, array(state)));
        let averages = self.ema.iter().flat_map(|ema| ema.state()).map(|state| prefixed(EMA, array(state)));
        let mut tensors: Vec<Tensor> = model.chain(optimizer).chain(averages).collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        let header = Header {
            format: SEAL.format,
            model: Architecture::of(&self.model),
            settings: Settings::new(self.settings()),
            step: self.step,
            optimizer_steps: self.optimizer.steps(),
            learning_rate_factor: self.optimizer.learning_rate_factor(),
            ema_updates: self.ema.as_ref().map(|ema| ema.updates()),
            history: self.history.clone(),
            fit: fit.cloned(),
        };
        Checkpoint { header, tensors }
    }

    /// Goes back, or on, to where `checkpoint` was taken; the next `fit` with the settings of the one it was taken in
    /// goes on with that one. More epochs than before may be asked for.
    ///
    /// # Errors
    /// Where this trainer has another network, seed, loss, optimizer, clipping or averaging; both are named, and nothing
    /// is changed.
    pub fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let header = &checkpoint.header;
        let here = Architecture::of(&self.model);
        if let Some(difference) = header.model.difference(&here) {
            let expected = format!("{}, as in the checkpoint", header.model);
            return Err(Error::argument("trainer", "network", expected, format!("{here} ({difference})")));
        }
        header.settings.expect("trainer", self.settings())?;
        let mut model = self.model.clone();
        fill(&mut model, &checkpoint.tensors(MODEL)).map_err(broken)?;
        let mut ema = self.ema.clone();
        if let (Some(ema), Some(updates)) = (&mut ema, header.ema_updates) {
            ema.restore(updates, checkpoint.arrays(EMA)?)?;
        }
        // The last that can fail.
        self.optimizer.restore(header.optimizer_steps, checkpoint.arrays(OPTIMIZER)?)?;
        self.optimizer.set_learning_rate_factor(header.learning_rate_factor);
        (self.model, self.ema) = (model, ema);
        (self.step, self.history, self.unfinished) = (header.step, header.history.clone(), header.fit.clone());
        Ok(())
    }

    /// All that must be the same where this training goes on.
    fn settings(&self) -> [(&'static str, String); 5] {
        let nothing = || "none".to_string();
        [
            ("seed", self.seed.to_string()),
            ("loss", format!("{:?}", self.loss)),
            ("optimizer", format!("{} {}", self.optimizer.kind(), self.optimizer.config())),
            ("clip_norm", self.clip_norm.map_or_else(nothing, |norm| norm.to_string())),
            ("ema", self.ema.as_ref().map_or_else(nothing, |ema| ema.config().to_string())),
        ]
    }
}
