//! How a network does on data it does not learn from.

use super::history::Mean;
use super::trainer::{BATCH_SIZE, Trainer};
use crate::data::{Batches, Dataset, Order};
use crate::error::Result;
use crate::threads::with_threads;
use ndarray::{ArrayD, Axis};
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
        for step in 0..steps {
            let batch = batches.batch(step)?;
            let y = model.forward_with(batch.x.view(), self.fused.is_some())?;
            let loss = self.head().value(y.view(), &batch.target, batch.weights.as_deref())?;
            let hits = self.hits(y.view(), &batch.target)?;
            mean.add(loss.mean, loss.count, hits.as_deref().and_then(share));
            hits.into_iter().flatten().for_each(|(label, class)| confusion.add(label, class));
        }
        Ok(Evaluation { samples: mean.samples(), loss: mean.loss(), accuracy: mean.acc(), confusion: confusion.0 })
    }

    /// The network's outputs [N, …] for all of `data`, in its order.
    pub fn predict(&self, data: &dyn Dataset) -> Result<ArrayD<f32>> {
        self.expect_samples("prediction", data)?;
        with_threads(self.threads, || {
            let model = self.averaged_model();
            let batches = Batches::new(data, BATCH_SIZE, self.seed, Order::InOrder)?;
            let mut shape = vec![0];
            shape.extend(model.output_shape());
            let mut outputs = ArrayD::zeros(shape);
            for step in 0..batches.steps_per_pass() as u64 {
                let y = model.predict(batches.batch(step)?.x.view())?;
                outputs.append(Axis(0), y.view()).expect("every batch has the model's output shape");
            }
            Ok(outputs)
        })?
    }
}

/// The share of (label, predicted class) that agree; none of none.
pub(super) fn share(hits: &[(usize, usize)]) -> Option<f64> {
    let right = hits.iter().filter(|(label, class)| label == class).count();
    (!hits.is_empty()).then(|| right as f64 / hits.len() as f64)
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
