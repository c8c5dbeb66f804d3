//! How often the network names the right class.

use crate::error::Result;
use crate::losses::Loss;
use crate::model::{Classes, Sequential};
use crate::target::Target;
use ndarray::ArrayViewD;

/// What turns outputs into classes, and which labels count.
pub(super) struct Judge<'a> {
    loss: &'a dyn Loss<f32>,
    threshold: f64,
}

impl<'a> Judge<'a> {
    /// For the outputs of `model`; `logits` where its last layer is left out, since the loss takes its place.
    pub fn new(model: &Sequential, loss: &'a dyn Loss<f32>, logits: bool) -> Self {
        Self { loss, threshold: Self::threshold(model, logits) }
    }

    /// What a single output has to be above to be an answer for class 1.
    pub fn threshold(model: &Sequential, logits: bool) -> f64 {
        // Without its last layer, a network with a Sigmoid gives logits: ½ becomes 0.
        if logits { 0.0 } else { model.threshold() }
    }

    /// Tells `each` the label and the predicted class of every sample whose label is a class of the network; false
    /// where targets are not classes.
    pub fn each(
        &self,
        y: ArrayViewD<'_, f32>,
        target: &Target<f32>,
        mut each: impl FnMut(usize, usize),
    ) -> Result<bool> {
        let (Target::Labels(labels), 2) = (target, y.ndim()) else { return Ok(false) };
        let count = y.shape()[1].max(2);
        let classes = Classes::new(y, self.threshold)?;
        let judged = labels.iter().zip(classes.iter()).filter(|&(&label, _)| label < count && self.loss.counts(label));
        judged.for_each(|(&label, class)| each(label, class));
        Ok(true)
    }

    /// The share of samples classified correctly; none where there is none to judge.
    pub fn accuracy(&self, y: ArrayViewD<'_, f32>, target: &Target<f32>) -> Result<Option<f64>> {
        let (mut right, mut all) = (0, 0);
        self.each(y, target, |label, class| {
            right += usize::from(label == class);
            all += 1;
        })?;
        Ok((all > 0).then(|| right as f64 / all as f64))
    }
}
