//! Losses: one file each, value directly above gradient.
//!
//! Every loss is a mean over the samples that count: L = Σₙ wₙ·lₙ / N, where wₙ is the product of the
//! sample's weight and its class's, and N the number of samples that are not ignored (Keras'
//! `sum_over_batch_size`; PyTorch divides by Σ wₙ instead where classes have weights).

use crate::element::Element;
use crate::error::Result;
use crate::layers::Layer;
use ndarray::{ArrayD, ArrayViewD};
use std::fmt::Debug;

/// What a prediction [N, …] is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Target<E> {
    /// A class for each sample, counted from 0.
    Labels(Vec<usize>),
    /// Numbers of the prediction's shape: one-hot rows, probabilities, measurements.
    Values(ArrayD<E>),
}

/// A mean over samples, kept so that means over batches of unequal size can be joined.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossValue {
    /// L, in f64 whatever the tensors are made of.
    pub mean: f64,
    /// N, the samples that count.
    pub count: usize,
}

/// A measure of how wrong a prediction is, with its gradient.
pub trait Loss<E: Element>: Debug + Send + Sync {
    /// The loss' name, as in `binary_crossentropy`.
    fn name(&self) -> &'static str;

    /// L for `prediction` [N, …]; `weights` [N] of the samples, 1 where there are none.
    fn value(&self, prediction: ArrayViewD<'_, E>, target: &Target<E>, weights: Option<&[f64]>) -> Result<LossValue>;

    /// L and ∂L/∂prediction.
    fn gradient(
        &self,
        prediction: ArrayViewD<'_, E>,
        target: &Target<E>,
        weights: Option<&[f64]>,
    ) -> Result<(LossValue, ArrayD<E>)>;

    /// This loss behind `last`, as one stable step from the inputs of `last` (its logits), where there is one:
    /// sigmoid or softmax and cross-entropy together have the gradient p − y (equation 19).
    fn fused_with(&self, last: &dyn Layer<E>) -> Option<Box<dyn Loss<E>>> {
        let _ = last;
        None
    }
}
