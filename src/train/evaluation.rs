//! How a network does on data it does not learn from.

use super::history::Mean;
use super::judge::Judge;
use super::trainer::{BATCH_SIZE, Trainer};
use crate::data::{Batch, Batches, Dataset, Order};
use crate::error::Result;
use crate::model::{Predictor, Sequential};
use crate::threads::with_threads;
use ndarray::{ArrayD, ArrayViewD, Axis};
use serde::{Deserialize, Serialize};

/// What `evaluate` finds.
///
/// ```
/// use ndarray::array;
/// use tapetum::prelude::*;
/// let sign = Dense::from_weights(array![[1.0]], None)?; // class 1 where x > 0
/// let model = Sequential::from_layers([1], vec![Box::new(sign), Box::new(Sigmoid)])?;
/// let trainer = Trainer::new(model, BinaryCrossEntropy::default(), SGD::new(0.1));
/// let data = ArraySet::new(array![[-1.0], [1.0], [2.0], [3.0]].into_dyn(), vec![0, 1, 0, 1])?;
/// let evaluation = trainer.evaluate(&data)?;
/// assert_eq!((evaluation.samples, evaluation.accuracy), (4, Some(0.75)));
/// assert_eq!(evaluation.confusion, [[1, 1], [0, 2]]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Samples looked at.
    pub samples: usize,
    /// Mean loss.
    pub loss: f64,
    /// Share classified correctly; none where targets are not classes.
    pub accuracy: Option<f64>,
    /// `confusion[true class][predicted class]`: samples; empty where targets are not classes.
    pub confusion: Vec<Vec<usize>>,
}

impl Trainer {
    /// Loss, accuracy and confusion matrix on `data`, in batches of 32.
    pub fn evaluate(&self, data: &dyn Dataset) -> Result<Evaluation> {
        with_threads(self.threads, || self.evaluate_some(data, BATCH_SIZE, None))?
    }

    pub(super) fn evaluate_some(
        &self,
        data: &dyn Dataset,
        batch_size: usize,
        limit: Option<usize>,
    ) -> Result<Evaluation> {
        self.expect_samples("validation", data)?;
        let model = self.averaged_model();
        // Data often stands class by class: a part of it is the same random part each time.
        let order = if limit.is_some() { Order::Shuffled } else { Order::InOrder };
        let batches = Batches::new(data, batch_size, self.seed, order)?;
        let steps = limit.unwrap_or(usize::MAX).min(batches.steps_per_pass()) as u64;
        let (mut mean, mut confusion) = (Mean::default(), Confusion::default());
        let judge = Judge::new(&model, self.loss.as_ref(), self.fused.is_some());
        let mut outputs = self.outputs(&model, self.fused.is_some())?;
        read_ahead(&batches, steps, |batch| {
            let y = outputs.of(&model, batch.x.view())?;
            let loss = self.head().value(y.view(), &batch.target, batch.weights.as_deref())?;
            mean.add(loss.mean, loss.count, judge.accuracy(y.view(), &batch.target)?);
            judge.each(y, &batch.target, |label, class| confusion.add(label, class)).map(drop)
        })?;
        Ok(Evaluation { samples: mean.samples(), loss: mean.loss(), accuracy: mean.acc(), confusion: confusion.0 })
    }

    /// The network's outputs [N, …] for all of `data`, in its order.
    pub fn predict(&self, data: &dyn Dataset) -> Result<ArrayD<f32>> {
        self.expect_samples("prediction", data)?;
        with_threads(self.threads, || {
            let model = self.averaged_model();
            let batches = Batches::new(data, BATCH_SIZE, self.seed, Order::InOrder)?;
            let mut outputs = self.outputs(&model, false)?;
            let mut y = ArrayD::zeros([&[data.len()], model.output_shape()].concat());
            let mut rows = y.axis_chunks_iter_mut(Axis(0), BATCH_SIZE);
            read_ahead(&batches, batches.steps_per_pass() as u64, |batch| {
                rows.next().expect("rows for each batch").assign(&outputs.of(&model, batch.x.view())?);
                Ok(())
            })?;
            drop(rows);
            Ok(y)
        })?
    }

    /// The way forward of `model`, without its last layer where `skip_last`, where this trainer computes.
    pub(super) fn outputs(&self, model: &Sequential, skip_last: bool) -> Result<Outputs> {
        let count = model.layers().len() - usize::from(skip_last);
        Ok(Outputs { predictor: self.predictor(model, count)?, y: Vec::new() })
    }
}

/// What the layers that run make of one batch after the other: all layers, or all but the last one.
pub(super) struct Outputs {
    predictor: Predictor<f32>,
    y: Vec<f32>,
}

impl Outputs {
    pub fn of(&mut self, model: &Sequential, x: ArrayViewD<'_, f32>) -> Result<ArrayViewD<'_, f32>> {
        model.expect_input(&x)?;
        let shape = [&x.shape()[..1], self.predictor.output()].concat();
        self.y.resize(shape.iter().product(), 0.0);
        self.predictor.run(model, &x, &mut self.y)?;
        Ok(ArrayViewD::from_shape(shape, &self.y).expect("a number for each entry"))
    }
}

/// Gives the first `steps` batches to `work`, while other threads read the next one.
pub(super) fn read_ahead(
    batches: &Batches<'_>,
    steps: u64,
    mut work: impl FnMut(&Batch) -> Result<()> + Send,
) -> Result<()> {
    let mut next = if steps == 0 { None } else { Some(batches.batch(0)?) };
    let mut following = 1;
    while let Some(batch) = next.take() {
        let read = || (following < steps).then(|| batches.batch(following)).transpose();
        let (done, read) = rayon::join(|| work(&batch), read);
        done?;
        next = read?;
        following += 1;
    }
    Ok(())
}

/// Counts predictions against labels.
#[derive(Debug, Default)]
pub(super) struct Confusion(pub Vec<Vec<usize>>);

impl Confusion {
    pub fn add(&mut self, label: usize, prediction: usize) {
        let size = self.0.len().max(label + 1).max(prediction + 1);
        self.0.resize(size, Vec::new());
        self.0.iter_mut().for_each(|row| row.resize(size, 0));
        self.0[label][prediction] += 1;
    }
}
