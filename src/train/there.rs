//! Steps on a GPU: the network, its moments and averages are there from the beginning of a `fit` on, and are fetched
//! whenever somebody may look at them.

use super::StepReport;
use super::feed::{Drawn, Feed};
use super::judge::Judge;
use super::trainer::{Done, Trainer};
use crate::data::{Batch, Dataset, Pictures};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::cuda::Gpu;
use crate::losses::Rows;
use crate::model::{Predictor, Sequential};
use crate::plan::cuda::{CudaTraining, GROUP, Input, Prepared, Setup};
use crate::random::Key;
use crate::target::Target;
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The trainer's GPU, and what is on it.
#[derive(Debug, Default)]
pub(super) struct There {
    /// Opened when it is used first; none where the processor computes.
    gpu: OnceLock<Option<Arc<Gpu>>>,
    remote: Option<Remote>,
}

/// A training that is on a device.
#[derive(Debug)]
struct Remote {
    training: CudaTraining,
    /// Steps done there since it was fetched last.
    ahead: u64,
}

impl Trainer {
    /// The GPU that this trainer uses, opened when it is asked for first.
    fn gpu(&self) -> Result<Option<Arc<Gpu>>> {
        if let Some(gpu) = self.there.gpu.get() {
            return Ok(gpu.clone());
        }
        let found = match self.device {
            Device::Cpu => None,
            Device::Cuda(ordinal) => Some(Gpu::open(ordinal, self.tf32)?),
            // Whatever is wrong: then the CPU it is.
            Device::Auto => Gpu::open(0, self.tf32).ok().filter(|gpu| self.is_known_to(gpu)),
        };
        Ok(self.there.gpu.get_or_init(|| found).clone())
    }

    fn is_known_to(&self, gpu: &Gpu) -> bool {
        self.setup(gpu).is_ok() && CudaTraining::expect_known(gpu, self.network()).is_ok()
    }

    fn network(&self) -> (&crate::layers::Chain<f32>, usize, &[usize]) {
        let count = self.model.layers().len() - usize::from(self.fused.is_some());
        (self.model.chain(), count, self.model.input_shape())
    }

    /// What the kernels must know of loss and optimizer.
    fn setup(&self, gpu: &Gpu) -> Result<Setup> {
        let refuse = |what: String| Error::device(gpu.name(), format!("{what} has no kernel for a GPU"));
        let outputs = [&[0], self.model.output_shape()].concat();
        let rows = self.head().rows(&outputs, &Target::Labels(Vec::new()), None)?;
        let rows = rows.ok_or_else(|| refuse(format!("the loss {}", self.loss.name())))?;
        let recipe = self.optimizer.recipe(0)?;
        let recipe = recipe.ok_or_else(|| refuse(format!("the optimizer {}", self.optimizer.kind())))?;
        let (rule, moments) = (recipe.on_gpu(), recipe.moments());
        let threshold = Judge::threshold(&self.model, self.fused.is_some()) as f32;
        let (clips, average) = (self.clip_norm.is_some(), self.ema.is_some());
        Ok(Setup { formula: rows.formula, threshold, rule, clips, moments, average })
    }

    /// Brings the training to its device, if that is a GPU, for batches of up to `batch` samples.
    pub(super) fn settle<'d>(&mut self, data: &'d dyn Dataset, batch: usize, feed: &mut Feed<'d>) -> Result<()> {
        self.leave();
        let Some(gpu) = self.gpu()? else { return Ok(()) };
        let pictures = feed.for_device(data, GROUP);
        self.there.remote = Some(self.brought(&gpu, batch, pictures)?);
        Ok(())
    }

    fn brought(&self, gpu: &Arc<Gpu>, batch: usize, pictures: Option<&Pictures<'_>>) -> Result<Remote> {
        self.ema.as_ref().map_or(Ok(()), crate::optimizers::Ema::check)?;
        let training = CudaTraining::new(gpu, self.network(), batch, self.setup(gpu)?, pictures)?;
        training.write_network(self.model.chain())?;
        training.write_moments(&self.optimizer.state())?;
        training.write_average(&self.ema.as_ref().map_or(Vec::new(), |ema| ema.state()))?;
        Ok(Remote { training, ahead: 0 })
    }

    /// What is there is given up, and steps of which nothing was fetched have not been done.
    pub(super) fn leave(&mut self) {
        self.step -= self.there.remote.take().map_or(0, |remote| remote.ahead);
    }

    /// One step on the GPU, if there is one, and all of it fetched.
    pub(super) fn batch_there(&mut self, batch: &Batch) -> Result<Option<StepReport>> {
        let Some(gpu) = self.gpu()? else { return Ok(None) };
        self.model.expect_input(&batch.x.view())?;
        let samples = batch.x.shape()[0];
        if samples == 0 {
            return Err(Error::argument("train_on_batch", "batch", "of at least one sample on a GPU", samples));
        }
        let mut remote = self.brought(&gpu, samples, None)?;
        let done = self.group_on(&mut remote, &[Drawn { batch: batch.clone(), pictures: None }])?;
        self.there.remote = Some(remote);
        let fetched = self.fetch();
        self.leave();
        match done.failed {
            Some(error) => fetched.and(Err(error)),
            None => fetched.map(|()| done.reports.first().copied()),
        }
    }

    /// A group of steps there, if the training is.
    pub(super) fn group_there(&mut self, group: &[Drawn]) -> Result<Option<Done>> {
        let Some(mut remote) = self.there.remote.take() else { return Ok(None) };
        let done = self.group_on(&mut remote, group);
        self.there.remote = Some(remote);
        done.map(Some)
    }

    /// The way forward of the first `count` layers of `model`, where this trainer computes.
    pub(super) fn predictor(&self, model: &Sequential, count: usize) -> Result<Predictor<f32>> {
        match self.gpu()? {
            Some(gpu) => Predictor::on_gpu(model, count, &gpu),
            None => Predictor::new(model, count),
        }
    }

    fn group_on<'a>(&mut self, remote: &mut Remote, group: &'a [Drawn]) -> Result<Done> {
        let (first, trainer) = (self.step + 1, &*self);
        let prepare = |(place, drawn): (usize, &'a Drawn)| {
            let (rate, recipe) = trainer.recipe(remote.ahead + place as u64)?;
            Ok((trainer.prepared(first + place as u64, drawn)?, (recipe, rate)))
        };
        let ahead: Vec<Result<_>> = group.par_iter().enumerate().map(prepare).collect();
        // The steps before the first that cannot be done are done.
        let mut failed = None;
        let ahead = ahead.into_iter().map_while(|step| step.map_err(|error| failed = Some(error)).ok());
        let (steps, (recipes, rates)): (Vec<_>, (Vec<_>, Vec<_>)) = ahead.unzip();
        remote.training.begin(&steps, &recipes)?;
        let logged = remote.training.finish(&steps)?;
        let done = logged.steps.len() as u64;
        let report = |((step, prepared), &[loss, right]): ((u64, &Prepared<'_>), &[f32; 2])| {
            let Rows { count, .. } = prepared.rows;
            let judged = prepared.rows.judged();
            let acc = (judged > 0).then(|| f64::from(right) / judged as f64);
            StepReport { step, loss: f64::from(loss), acc, samples: count }
        };
        let reports = (first..).zip(&steps).zip(&logged.steps).map(report).collect();
        self.step += done;
        remote.ahead += done;
        let not_finite = |(what, value)| Error::NotFinite { what, step: first + done, value };
        let learning_rate = rates[..done as usize].last().copied().unwrap_or_default();
        Ok(Done { reports, learning_rate, failed: logged.halted.map(not_finite).or(failed) })
    }

    /// The learning rate of the step that is `ahead` of the next one here, and its row in the tables there.
    fn recipe(&self, ahead: u64) -> Result<(f64, [f32; 8])> {
        let recipe = self.optimizer.recipe(ahead)?.expect("`setup` asked for one");
        let average = self.ema.as_ref().map_or(0.0, |ema| ema.newest(ahead));
        Ok((recipe.rate(), recipe.row(average, self.clip_norm)))
    }

    fn prepared<'a>(&self, step: u64, Drawn { batch, pictures }: &'a Drawn) -> Result<Prepared<'a>> {
        let (samples, input) = match pictures {
            Some(pictures) => (pictures.len(), Input::Pictures(pictures)),
            None => (batch.x.shape()[0], Input::Values(batch.x.as_standard_layout())),
        };
        let outputs = [&[samples], self.model.output_shape()].concat();
        let rows = self.head().rows(&outputs, &batch.target, batch.weights.as_deref())?;
        let key = Key::new(self.seed).named("train").at(step);
        Ok(Prepared { input, rows: rows.expect("`setup` asked for some"), key })
    }

    /// Fetches network, moments and averages, if they are on a device.
    pub(super) fn fetch(&mut self) -> Result<()> {
        let Some(Remote { training, ahead }) = &mut self.there.remote else { return Ok(()) };
        // All of it is here before any of it is changed.
        let (moments, averages) = (training.read_moments()?, training.read_average()?);
        training.read_network(self.model.chain_mut())?;
        self.optimizer.restore(self.optimizer.steps() + *ahead, moments)?;
        if let Some(ema) = self.ema.as_mut().filter(|ema| ema.updates() + *ahead > 0) {
            ema.restore(ema.updates() + *ahead, averages)?;
        }
        *ahead = 0;
        Ok(())
    }

    /// How long a training step on one batch takes on the GPU, in milliseconds: for each round the mean of 64 steps that
    /// are replayed between two moments of the device; rounds begin until `budget` is used up. Changes the network there,
    /// and not here.
    ///
    /// # Errors
    /// Where this trainer's device is not a GPU, or as [`train_on_batch`](Self::train_on_batch).
    #[doc(hidden)]
    pub fn time_on_gpu(&self, batch: &Batch, budget: Duration) -> Result<Vec<f64>> {
        let Some(gpu) = self.gpu()? else { return Err(Error::device(self.device, "there is no GPU to be timed")) };
        let mut training = self.brought(&gpu, batch.x.shape()[0], None)?.training;
        let drawn = Drawn { batch: batch.clone(), pictures: None };
        let step = self.prepared(1, &drawn)?;
        let recipe = self.recipe(0)?.1;
        let group: Vec<_> = (0..GROUP).map(|_| step.clone()).collect();
        training.begin(&group, &vec![recipe; GROUP])?;
        let begin = Instant::now();
        let mut rounds = vec![training.replay(batch.x.shape()[0])?];
        while begin.elapsed() < budget {
            rounds.push(training.replay(batch.x.shape()[0])?);
        }
        Ok(rounds)
    }

    /// The card that this trainer uses, as its driver names it; none where it is the processor.
    ///
    /// # Errors
    /// Where the device that was asked for is not there.
    pub fn card(&self) -> Result<Option<String>> {
        self.gpu()?.map(|gpu| gpu.card()).transpose()
    }
}
