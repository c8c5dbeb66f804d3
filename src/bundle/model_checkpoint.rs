//! The best network of a training, kept in a file.

use super::Bundle;
use crate::data::Preprocessing;
use crate::error::Result;
use crate::train::{Best, Callback, EpochContext, Metric, TrainContext, restored};
use std::ops::ControlFlow;
use std::path::PathBuf;

const AT: &str = "model_checkpoint";

/// Saves the network, as a [`Bundle`], whenever a metric is better than in all epochs before, as Keras'
/// `ModelCheckpoint` with `save_best_only`.
///
/// What is saved is what was validated: averaged weights, where there are any. The file is there whole or not at all.
///
/// ```
/// use tapetum::prelude::*;
/// # let data = ArraySet::new(ndarray::array![[-1.0], [1.0], [2.0]].into_dyn(), vec![0, 1, 1])?;
/// # let model = Sequential::builder([1]).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// # let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(0.1));
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("best.safetensors");
/// let mut checkpoint = ModelCheckpoint::new(&path, Metric::ValLoss).class_names(["cat", "dog"]);
/// trainer.fit(&data, Fit::epochs(5).validate(&data).callback(&mut checkpoint).verbosity(Verbosity::Silent))?;
/// assert_eq!(Bundle::load(&path)?.class_names, ["cat", "dog"]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ModelCheckpoint {
    path: PathBuf,
    best: Best,
    preprocessing: Option<Preprocessing>,
    class_names: Vec<String>,
}

impl ModelCheckpoint {
    /// Saves to `path`.
    pub fn new(path: impl Into<PathBuf>, metric: Metric) -> Self {
        let best = Best::new(AT, metric, 0.0);
        Self { path: path.into(), best, preprocessing: None, class_names: Vec::new() }
    }

    /// With what turns a picture into the network's input.
    pub fn preprocessing(mut self, preprocessing: Preprocessing) -> Self {
        self.preprocessing = Some(preprocessing);
        self
    }

    /// With the names of its classes.
    pub fn class_names<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.class_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// The metric of the network in the file; none where nothing was saved yet.
    pub fn best(&self) -> Option<f64> {
        self.best.value
    }
}

impl Callback for ModelCheckpoint {
    fn on_train_begin(&mut self, train: TrainContext<'_>) -> Result<()> {
        let goes_on = !train.history.epochs.is_empty();
        self.best.reset(self.best.value.filter(|_| goes_on))
    }

    fn on_epoch_end(&mut self, epoch: EpochContext<'_>) -> Result<ControlFlow<()>> {
        if self.best.improves(epoch.report)? {
            let (preprocessing, class_names) = (self.preprocessing.clone(), self.class_names.clone());
            Bundle { model: epoch.averaged_model(), preprocessing, class_names }.save(&self.path)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn state(&self) -> serde_json::Value {
        self.best.value.into()
    }

    fn restore(&mut self, state: &serde_json::Value) -> Result<()> {
        self.best.value = restored(AT, state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::weights_sha256;
    use crate::data::ArraySet;
    use crate::layers::{Dense, Sigmoid};
    use crate::losses::BinaryCrossEntropy;
    use crate::model::Sequential;
    use crate::optimizers::SGD;
    use crate::train::{Fit, History, Trainer, Verbosity};
    use ndarray::array;

    /// What was validated after each epoch.
    #[derive(Default)]
    struct Networks(Vec<String>);

    impl Callback for Networks {
        fn on_epoch_end(&mut self, epoch: EpochContext<'_>) -> Result<ControlFlow<()>> {
            self.0.push(weights_sha256(&epoch.averaged_model()));
            Ok(ControlFlow::Continue(()))
        }
    }

    #[test]
    fn the_file_holds_the_best_network() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("best.safetensors");
        let data = ArraySet::new(array![[-1.0], [1.0], [2.0], [2.0]].into_dyn(), vec![0, 1, 1, 0]).unwrap();
        let model = Sequential::builder([1]).add(Dense::new(1)).add(Sigmoid).build(1).unwrap();
        // So large a step, on data that contradicts itself, that the loss jumps.
        let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), SGD::new(8.0)).ema(0.2);
        let mut checkpoint = ModelCheckpoint::new(&path, Metric::ValLoss).preprocessing(Preprocessing::new(4, 4));
        let mut networks = Networks::default();
        let fit = Fit::epochs(12).batch_size(1).validate(&data).verbosity(Verbosity::Silent);
        let History { epochs } = trainer.fit(&data, fit.callback(&mut checkpoint).callback(&mut networks)).unwrap();

        let losses: Vec<f64> = epochs.iter().map(|epoch| epoch.val_loss.unwrap()).collect();
        let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
        let best = losses.iter().position(|&loss| loss == least).unwrap();
        assert!(best > 0 && best < 11, "the best epoch is in between: {losses:?}");
        let saved = Bundle::load(&path).unwrap();
        assert_eq!(weights_sha256(&saved.model), networks.0[best]);
        assert_eq!((saved.preprocessing, checkpoint.best()), (Some(Preprocessing::new(4, 4)), Some(least)));

        let mut again = ModelCheckpoint::new(&path, Metric::ValLoss);
        again.restore(&checkpoint.state()).unwrap();
        assert_eq!(again.best(), Some(least));
        assert!(again.restore(&serde_json::json!("best")).is_err());
    }

    #[test]
    fn without_what_it_watches_it_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let data = ArraySet::new(array![[-1.0], [1.0]].into_dyn(), vec![0, 1]).unwrap();
        let model = Sequential::builder([1]).add(Dense::new(1)).add(Sigmoid).build(1).unwrap();
        let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), SGD::new(0.1));
        let mut checkpoint = ModelCheckpoint::new(folder.path().join("best.safetensors"), Metric::ValAcc);
        let fit = Fit::epochs(1).verbosity(Verbosity::Silent);
        let error = trainer.fit(&data, fit.callback(&mut checkpoint)).unwrap_err();
        assert!(error.to_string().starts_with("model_checkpoint: there is no val_acc to watch"), "{error}");
    }
}
