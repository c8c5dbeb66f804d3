//! A model, its loss and its optimizer together: `fit`, `evaluate`, `predict`.

use super::feed::Drawn;
use super::judge::Judge;
use super::position::Unfinished;
use super::there::There;
use super::{History, StepReport};
use crate::data::{Batch, Dataset};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::layers::Layer;
use crate::losses::Loss;
use crate::model::Sequential;
use crate::optimizers::{Ema, Optimizer, clip_global_norm};
use crate::plan::{StepTime, TrainingPlan};
use crate::random::Key;
use ndarray::ArrayViewD;
use std::time::Instant;

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
    /// Made at the first step.
    plan: Option<TrainingPlan<f32>>,
    /// The time of the latest update, in milliseconds.
    update_ms: f64,
    pub(super) seed: u64,
    pub(super) threads: Option<usize>,
    pub(super) device: Device,
    pub(super) tf32: bool,
    pub(super) there: There,
    pub(super) clip_norm: Option<f64>,
    pub(super) ema: Option<Ema<f32>>,
    /// Steps done, over all calls of `fit`.
    pub(super) step: u64,
    pub(super) history: History,
    /// The `fit` that was stopped and is to go on.
    pub(super) unfinished: Option<Unfinished>,
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
            plan: None,
            update_ms: 0.0,
            seed: 0,
            threads: None,
            device: Device::Cpu,
            tf32: false,
            there: Default::default(),
            clip_norm: None,
            ema: None,
            step: 0,
            history: History::default(),
            unfinished: None,
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

    /// What computes: the processor unless told.
    ///
    /// On a GPU `fit` does up to 64 steps between two reports, so that a callback hears of several at once and a break is
    /// heeded after them. The same device gives the same bits from run to run; they are not those of the processor, from
    /// which single steps differ by rounding. Either continues what the other began.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self.there = Default::default();
        self
    }

    /// Lets a GPU's tensor cores multiply in TF32: factors are rounded to 10 bits behind the point, sums are not. Outputs
    /// and gradients then differ by some 10⁻³ of their terms. Needs compute capability 8.0; changes nothing elsewhere.
    pub fn tf32(mut self, yes: bool) -> Self {
        self.tf32 = yes;
        let device = self.device;
        self.device(device)
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

    /// Steps done, over all calls of [`fit`](Self::fit).
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Whether a [`StopSignal`](super::StopSignal) stopped `fit` before its end, here or before a checkpoint was
    /// restored: the next `fit` then goes on with it.
    pub fn stopped(&self) -> bool {
        self.unfinished.as_ref().is_some_and(|unfinished| !unfinished.is_over())
    }

    /// One step: forward, loss, backward, update, through fused steps over memory that is allocated once.
    ///
    /// Random numbers come from `Key::new(seed).named("train").at(step)`, the step counted from 1.
    ///
    /// # Errors
    /// Where shapes or settings do not fit, or the loss or a gradient is not finite; nothing is changed then.
    pub fn train_on_batch(&mut self, batch: &Batch) -> Result<StepReport> {
        if let Some(report) = self.batch_there(batch)? {
            return Ok(report);
        }
        let step = self.step + 1;
        let key = Key::new(self.seed).named("train").at(step);
        let x = batch.x.view();
        self.model.expect_input(&x)?;
        let plan = match &mut self.plan {
            Some(plan) => plan,
            None => self.plan.insert(plan(&self.model, self.fused.is_some())?),
        };
        plan.forward(self.model.chain(), &x, key)?;

        let (y, dy) = plan.head();
        let head = self.fused.as_ref().unwrap_or(&self.loss);
        let loss = head.gradient_into(y.view(), &batch.target, batch.weights.as_deref(), dy)?;
        if !loss.mean.is_finite() {
            return Err(Error::NotFinite { what: "the loss".into(), step, value: loss.mean });
        }
        let acc = Judge::new(&self.model, self.loss.as_ref(), self.fused.is_some()).accuracy(y, &batch.target)?;

        // A gradient that is not used as a whole need not be written down.
        let wait = self.clip_norm.is_none() && self.optimizer.recipe(0)?.is_some();
        plan.backward(self.model.chain(), &x, wait)?;
        if let Some((name, value)) = plan.not_finite() {
            return Err(Error::NotFinite { what: format!("the gradient of {name}"), step, value });
        }
        if let Some(norm) = self.clip_norm {
            clip_global_norm(plan.gradients_mut(), norm)?;
        }
        let begun = Instant::now();
        self.update(&x)?;
        self.update_ms = begun.elapsed().as_secs_f64() * 1e3;
        self.step = step;
        Ok(StepReport { step, loss: loss.mean, acc, samples: loss.count })
    }

    /// A group of steps, here or where the training is.
    pub(super) fn train_on_group(&mut self, group: &[Drawn]) -> Result<Done> {
        if let Some(done) = self.group_there(group)? {
            return Ok(done);
        }
        let mut done = Done { reports: Vec::new(), learning_rate: self.optimizer.learning_rate(), failed: None };
        for drawn in group {
            done.learning_rate = self.optimizer.learning_rate();
            match self.train_on_batch(&drawn.batch) {
                Ok(report) => done.reports.push(report),
                Err(error) => {
                    done.failed = Some(error);
                    break;
                }
            }
        }
        Ok(done)
    }

    /// A training step, and how long its parts took: the fused steps, and at last the optimizer, with the gradients of
    /// dense layers that are made while their weights move.
    ///
    /// # Errors
    /// As [`train_on_batch`](Self::train_on_batch).
    pub fn profile(&mut self, batch: &Batch) -> Result<Vec<StepTime>> {
        self.train_on_batch(batch)?;
        let plan = self.plan.as_ref().expect("a step has made one");
        let update = StepTime {
            name: self.optimizer.kind().into(),
            forward_ms: 0.0,
            backward_ms: self.update_ms,
            forward_flops: 0.0,
            backward_flops: plan.waiting_flops(),
        };
        Ok(plan.steps().chain([update]).collect())
    }

    /// What changes the network, after all that can fail.
    fn update(&mut self, x: &ArrayViewD<'_, f32>) -> Result<()> {
        let plan = self.plan.as_ref().expect("a step has made one");
        self.ema.as_ref().map_or(Ok(()), Ema::check)?;
        match self.optimizer.begin(plan.parameters())? {
            Some(mut update) => {
                let chain = self.model.chain_mut();
                plan.update(chain, x, &mut |index, values, gradient| update.apply(index, values, gradient));
            }
            None => self.optimizer.step(self.model.parameters_mut(), plan.gradients())?,
        }
        plan.set_state(self.model.chain_mut());
        if let Some(ema) = &mut self.ema {
            let mut averages = ema.begin(plan.parameters())?;
            plan.update(self.model.chain_mut(), x, &mut |index, values, _| averages.apply(index, values));
        }
        Ok(())
    }

    /// The loss that follows the layers which run.
    pub(super) fn head(&self) -> &dyn Loss<f32> {
        self.fused.as_ref().unwrap_or(&self.loss).as_ref()
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

/// What came of a group of steps.
pub(super) struct Done {
    pub reports: Vec<StepReport>,
    /// That of the last step.
    pub learning_rate: f64,
    /// What went wrong in the step after them.
    pub failed: Option<Error>,
}

/// The plan of a training step; without the last layer where the loss takes its place.
fn plan(model: &Sequential, skip_last: bool) -> Result<TrainingPlan<f32>> {
    let count = model.layers().len() - usize::from(skip_last);
    TrainingPlan::new(model.chain(), count, model.input_shape())
}
