//! A model, its loss and its optimizer together: `fit`, `evaluate`, `predict`.

use super::evaluation::share;
use super::{History, StepReport};
use crate::data::{Batch, Dataset};
use crate::error::{Error, Result};
use crate::layers::{Backward, Layer};
use crate::losses::Loss;
use crate::model::{Sequential, classes_of};
use crate::optimizers::{Ema, Optimizer, clip_global_norm};
use crate::random::Key;
use crate::target::Target;
use ndarray::ArrayViewD;

/// Samples in a batch unless told, as in Keras.
pub(super) const BATCH_SIZE: usize = 32;

/// Trains a [`Sequential`] on a data set.
///
/// A Sigmoid or Softmax as last layer is joined with its cross-entropy to one stable step, whose gradient is
/// p − y (thesis, equation 19). The same seed gives the same bits, whatever the number of threads.
///
/// ```
/// use ndarray::Array;
/// use tapetum::prelude::*;
///
/// // Is the sum of two numbers positive?
/// let x = Array::from_shape_fn((64, 2), |(n, d)| ((7 * n + 3 * d) % 11) as f32 / 5.0 - 1.0);
/// let labels = x.rows().into_iter().map(|row| usize::from(row.sum() > 0.0)).collect();
/// let data = ArraySet::new(x.into_dyn(), Target::Labels(labels))?;
///
/// let model = Sequential::builder([2]).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// let mut trainer = Trainer::new(model, BinaryCrossEntropy::default(), Adam::new(0.1));
/// let history = trainer.fit(&data, Fit::epochs(20).verbosity(Verbosity::Silent))?;
/// assert!(history.epochs[19].acc.unwrap() > 0.9);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer {
    pub(super) model: Sequential,
    pub(super) loss: Box<dyn Loss<f32>>,
    /// The loss joined with the model's last layer, where the two are one step.
    pub(super) fused: Option<Box<dyn Loss<f32>>>,
    pub(super) optimizer: Box<dyn Optimizer<f32>>,
    pub(super) seed: u64,
    pub(super) threads: Option<usize>,
    pub(super) clip_norm: Option<f64>,
    pub(super) ema: Option<Ema<f32>>,
    /// Steps done, over all calls of `fit`.
    pub(super) step: u64,
    pub(super) history: History,
}

impl Trainer {
    /// Brings the three together.
    pub fn new(model: Sequential, loss: impl Loss<f32> + 'static, optimizer: impl Optimizer<f32>) -> Self {
        let fused = model.layers().next_back().and_then(|(_, last)| loss.fused_with(last));
        Self {
            model,
            loss: Box::new(loss),
            fused,
            optimizer: Box::new(optimizer),
            seed: 0,
            threads: None,
            clip_norm: None,
            ema: None,
            step: 0,
            history: History::default(),
        }
    }

    /// The seed of shuffling, augmentation and dropout (0 unless told).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many threads work (all processors unless told). It changes no result.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Scales the gradients down where their norm over all parameters is above `norm`.
    pub fn clip_norm(mut self, norm: f64) -> Self {
        self.clip_norm = Some(norm);
        self
    }

    /// Keeps an exponential moving average of the weights; `evaluate` and `predict` use it.
    pub fn ema(mut self, decay: f64) -> Self {
        self.ema = Some(Ema::new(decay));
        self
    }

    /// The network as the last step left it.
    pub fn model(&self) -> &Sequential {
        &self.model
    }

    /// The network with averaged weights, where [`ema`](Self::ema) was asked for; else the network as it is.
    pub fn averaged_model(&self) -> Sequential {
        let mut model = self.model.clone();
        if let Some(ema) = self.ema.as_ref().filter(|ema| ema.updates() > 0) {
            ema.copy_to(model.parameters_mut()).expect("the averages are of this network's parameters");
        }
        model
    }

    /// The network that was evaluated, the training being over: [`averaged_model`](Self::averaged_model).
    pub fn into_model(self) -> Sequential {
        self.averaged_model()
    }

    /// All epochs so far; also after an error.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// One step: forward, loss, backward, update.
    ///
    /// Random numbers come from `Key::new(seed).named("train").at(step)`, the step counted from 1.
    ///
    /// # Errors
    /// Where shapes or settings do not fit, or the loss or a gradient is not finite; nothing is changed then.
    pub fn train_on_batch(&mut self, batch: &Batch) -> Result<StepReport> {
        let step = self.step + 1;
        let key = Key::new(self.seed).named("train").at(step);
        let (y, saved) = self.model.forward_train_with(batch.x.view(), key, self.fused.is_some())?;
        let weights = batch.weights.as_deref();
        let (loss, dy) = self.head().gradient(y.view(), &batch.target, weights)?;
        if !loss.mean.is_finite() {
            return Err(Error::NotFinite { what: "the loss".into(), step, value: loss.mean });
        }
        let mut back = self.model.backward_first(saved, dy.view())?;
        self.expect_finite(step, &back)?;
        if let Some(norm) = self.clip_norm {
            clip_global_norm(&mut back.params, norm)?;
        }
        // What can fail comes before what changes anything.
        let hits = self.hits(y.view(), &batch.target)?;
        self.model.expect_state(&back.state)?;
        self.ema.as_ref().map_or(Ok(()), Ema::check)?;
        self.optimizer.step(self.model.parameters_mut(), &back.params)?;
        self.model.set_state(&back.state)?;
        if let Some(ema) = &mut self.ema {
            ema.update(&self.model.parameters())?;
        }
        self.step = step;
        Ok(StepReport { step, loss: loss.mean, acc: hits.as_deref().and_then(share), samples: loss.count })
    }

    /// A finite loss may have gradients that are not: they would spoil the weights.
    fn expect_finite(&self, step: u64, back: &Backward<f32>) -> Result<()> {
        let names = self.model.parameters().into_iter().chain(self.model.state()).map(|(name, _)| name);
        for (name, values) in names.zip(back.params.iter().chain(&back.state)) {
            if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
                return Err(Error::NotFinite { what: format!("the gradient of {name}"), step, value: value.into() });
            }
        }
        Ok(())
    }

    /// The loss that follows the layers which run.
    pub(super) fn head(&self) -> &dyn Loss<f32> {
        self.fused.as_ref().unwrap_or(&self.loss).as_ref()
    }

    /// (label, predicted class) of each sample whose label is a class of the network.
    pub(super) fn hits(&self, y: ArrayViewD<'_, f32>, target: &Target<f32>) -> Result<Option<Vec<(usize, usize)>>> {
        let (Target::Labels(labels), 2) = (target, y.ndim()) else { return Ok(None) };
        let classes = y.shape()[1].max(2);
        // Without its last layer, a network with a Sigmoid gives logits: ½ becomes 0.
        let threshold = if self.fused.is_some() { 0.0 } else { self.model.threshold() };
        let predicted = classes_of(y, threshold)?;
        let judged = labels.iter().copied().zip(predicted);
        let judged = judged.filter(|&(label, _)| label < classes && self.loss.counts(label));
        Ok(Some(judged.collect()))
    }

    pub(super) fn expect_samples(&self, what: &str, data: &dyn Dataset) -> Result<()> {
        if data.is_empty() {
            return Err(Error::data(format!("the {what} data has no samples")));
        }
        if data.sample_shape() != self.model.input_shape() {
            let expected = format!("{what} samples {:?}", self.model.input_shape());
            return Err(Error::shape("sequential", expected, data.sample_shape()));
        }
        Ok(())
    }
}
