//! The targets of a batch as a device takes them: everything that a loss makes of them before it looks at a prediction.

use super::batch::{Batch, Terms};
use crate::element::Element;
use crate::error::Result;
use crate::target::Target;
use ndarray::ArrayD;

/// What a loss is: l(p, y) without its settings, which are in the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Formula {
    /// −y·ln p − (1 − y)·ln(1 − p), from a logit or a probability, and the mean over the outputs.
    Binary { from_logits: bool },
    /// −Σ_k y_k·ln p_k, from logits or probabilities.
    Cross { from_logits: bool },
    /// (p − y)², and the mean over the outputs.
    Squared,
}

/// N samples with K outputs each.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    pub(crate) formula: Formula,
    /// y [N, K], smoothed.
    pub(crate) values: Vec<f32>,
    /// [N]: the sample's weight times its class's; 0 for those that do not count.
    pub(crate) weights: Vec<f32>,
    /// [N]: the classes that an answer is compared with; −1 for none.
    pub(crate) labels: Vec<i32>,
    /// The samples that count.
    pub(crate) count: usize,
}

impl Rows {
    /// The samples whose answers are compared with a class.
    #[cfg(feature = "cuda")]
    pub(crate) fn judged(&self) -> usize {
        self.labels.iter().filter(|&&label| label >= 0).count()
    }

    /// The rows of `loss`, where its target of one sample is smoothed by `smoothed`, and weighs what `weight` says.
    pub(super) fn new<E: Element, L: Terms<E>>(
        loss: &L,
        formula: Formula,
        shape: &[usize],
        target: &Target<E>,
        weights: Option<&[f64]>,
        smoothed: impl Fn(f64, usize) -> f64,
        weight: impl Fn(&[f64]) -> f64,
    ) -> Result<Self> {
        let prediction = ArrayD::zeros(shape);
        let view = prediction.view();
        let batch = Batch::new(loss, &view, target, weights)?;
        let outputs = batch.outputs();
        let samples = shape[0];
        let mut rows = Self {
            formula,
            values: Vec::with_capacity(samples * outputs),
            weights: Vec::with_capacity(samples),
            labels: vec![-1; samples],
            count: batch.count(),
        };
        for n in 0..samples {
            let truth = batch.truth(n);
            let y: Vec<f64> = (0..outputs).map(|k| truth.map_or(0.0, |y| y.at(k))).collect();
            rows.weights.push(truth.map_or(0.0, |_| (batch.weight(n) * weight(&y)) as f32));
            rows.values.extend(y.iter().map(|&y| smoothed(y, outputs) as f32));
        }
        // As the judge of answers has it: a label beyond the network's classes is no class.
        if let (Target::Labels(labels), 2) = (target, shape.len()) {
            let counting = rows.labels.iter_mut().zip(labels).filter(|(_, label)| loss.counts(**label));
            counting.filter(|(_, label)| **label < outputs.max(2)).for_each(|(to, &label)| *to = label as i32);
        }
        Ok(rows)
    }
}
