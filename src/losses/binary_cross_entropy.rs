//! l = Σ_k c[y_k]·b(p_k, y_k) / K
//! b(p, y) = −y·ln p − (1 − y)·ln(1 − p)             from probabilities
//! b(z, y) = max(z, 0) − z·y + ln(1 + e^−|z|)         from logits: p = σ(z)
//! p [N, …]  y [N, …], K outputs a sample             (thesis 3.11, eq. 16, for two classes)

use super::batch::{Batch, check_class_weights, check_label_smoothing, check_probabilities};
use super::{EPSILON, Loss, LossValue, is_clipped};
use crate::element::Element;
use crate::error::Result;
use crate::layers::{Layer, Sigmoid};
use crate::target::Target;
use ndarray::{ArrayD, ArrayViewD};
use serde::{Deserialize, Serialize};
use std::any::Any;

const NAME: &str = "binary_crossentropy";

/// Cross-entropy of yes-or-no questions: one output for two classes, or K outputs of which any may be true.
///
/// The prediction is [N, 1] with labels 0 and 1, or of any shape [N, …] with values y in [0, 1] of the same
/// shape; a sample's loss is the mean over its outputs, as in Keras.
///
/// From probabilities (the default), p is clipped to [10⁻⁷, 1 − 10⁻⁷] as in Keras, so that no loss is infinite;
/// beyond the clip the loss is flat and its gradient 0. From logits there is no clip and the gradient is
/// σ(z) − y (equation 19).
///
/// ```
/// use tapetum::prelude::*;
/// let p = ndarray::array![[0.5], [0.25]].into_dyn();
/// let (loss, dp) = BinaryCrossEntropy::default().gradient(p.view(), &Target::Labels(vec![1, 0]), None)?;
/// assert!((loss.mean - (2_f64.ln() - 0.75_f64.ln()) / 2.0).abs() < 1e-12);
/// assert_eq!(dp[[0, 0]], -1.0); // −1/p, halved by the mean over two samples
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BinaryCrossEntropy {
    from_logits: bool,
    class_weights: Vec<f64>,
    label_smoothing: f64,
    ignore_index: Option<usize>,
}

impl BinaryCrossEntropy {
    /// For predictions p in [0, 1], as behind a sigmoid.
    pub fn from_probabilities() -> Self {
        Self::default()
    }

    /// For predictions z that a sigmoid would turn into probabilities.
    pub fn from_logits() -> Self {
        Self { from_logits: true, ..Self::default() }
    }

    /// Two factors c, of outputs whose target is class 0 (y ≤ ½) and class 1; none for 1 and 1.
    pub fn class_weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.class_weights = weights.into();
        self
    }

    /// Moves targets towards ½: y·(1 − s) + s/2, with s in [0, 1).
    pub fn label_smoothing(mut self, s: f64) -> Self {
        self.label_smoothing = s;
        self
    }

    /// The label of samples that do not count: neither in L, nor in N, nor in the gradient, whatever they predict.
    pub fn ignore_index(mut self, label: usize) -> Self {
        self.ignore_index = Some(label);
        self
    }

    fn batch<'a, E: Element>(
        &self,
        prediction: &'a ArrayViewD<'_, E>,
        target: &'a Target<E>,
        weights: Option<&'a [f64]>,
    ) -> Result<Batch<'a, E>> {
        check_class_weights(NAME, 2, &self.class_weights)?;
        check_label_smoothing(NAME, self.label_smoothing)?;
        check_probabilities(NAME, target)?;
        Batch::new(NAME, prediction, target, weights, |label, y| match (label, y) {
            _ if self.ignore_index == Some(label) => Ok(false),
            (0 | 1, [y]) => {
                *y = E::of(label as f64);
                Ok(true)
            }
            _ => Err("0 or 1, for a prediction [N, 1]".into()),
        })
    }

    /// l of one sample.
    fn loss<E: Element>(&self, p: &[E], y: &[E]) -> f64 {
        let b = |(p, y): (&E, &E)| {
            let (p, y, c) = (p.as_f64(), self.smoothed(y.as_f64()), self.class_weight(y.as_f64()));
            if self.from_logits {
                // ln(1 + e^z) − z·y, with e^z taken out where it is large; z·y keeps a NaN that max would drop.
                return c * (p.max(0.0) - p * y + (-p.abs()).exp().ln_1p());
            }
            let p = p.clamp(EPSILON, 1.0 - EPSILON);
            -c * (y * p.ln() + (1.0 - y) * (1.0 - p).ln())
        };
        p.iter().zip(y).map(b).sum::<f64>() / p.len() as f64
    }

    // ∂b/∂p = (p − y) / (p·(1 − p)) inside the clip     ∂b/∂z = σ(z) − y
    fn slope<E: Element>(&self, p: &[E], y: &[E], dp: &mut [E], scale: f64) {
        let scale = scale / p.len() as f64;
        for ((&p, &y), dp) in p.iter().zip(y).zip(dp) {
            let (p, y, c) = (p.as_f64(), self.smoothed(y.as_f64()), self.class_weight(y.as_f64()));
            let slope = match self.from_logits {
                true => 1.0 / (1.0 + (-p).exp()) - y,
                false if is_clipped(p) => 0.0,
                false => (p - y) / (p * (1.0 - p)),
            };
            *dp = E::of(scale * c * slope);
        }
    }

    fn smoothed(&self, y: f64) -> f64 {
        y * (1.0 - self.label_smoothing) + self.label_smoothing / 2.0
    }

    fn class_weight(&self, y: f64) -> f64 {
        self.class_weights.get(usize::from(y > 0.5)).copied().unwrap_or(1.0)
    }
}

impl<E: Element> Loss<E> for BinaryCrossEntropy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn value(&self, prediction: ArrayViewD<'_, E>, target: &Target<E>, weights: Option<&[f64]>) -> Result<LossValue> {
        Ok(self.batch(&prediction, target, weights)?.mean(|p, y| self.loss(p, y)))
    }

    fn gradient(
        &self,
        prediction: ArrayViewD<'_, E>,
        target: &Target<E>,
        weights: Option<&[f64]>,
    ) -> Result<(LossValue, ArrayD<E>)> {
        let batch = self.batch(&prediction, target, weights)?;
        Ok((batch.mean(|p, y| self.loss(p, y)), batch.gradient(|p, y, dp, scale| self.slope(p, y, dp, scale))))
    }

    fn counts(&self, label: usize) -> bool {
        self.ignore_index != Some(label)
    }

    fn fused_with(&self, last: &dyn Layer<E>) -> Option<Box<dyn Loss<E>>> {
        let fits = !self.from_logits && (last as &dyn Any).is::<Sigmoid>();
        fits.then(|| Box::new(Self { from_logits: true, ..self.clone() }) as _)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_gradient, draw, extremes};
    use super::*;
    use ndarray::array;

    fn sigmoid(z: f64) -> f64 {
        1.0 / (1.0 + (-z).exp())
    }

    /// Σₙ wₙ/N · Σ_k −c·(t·ln p + (1 − t)·ln(1 − p))/K, with t the smoothed target.
    fn naive(p: &ArrayD<f64>, y: &ArrayD<f64>, w: &[f64], c: [f64; 2], s: f64) -> f64 {
        let (n, k) = (p.shape()[0], p.shape()[1]);
        let mut loss = 0.0;
        for ((i, p), y) in p.indexed_iter().zip(y) {
            let t = y * (1.0 - s) + 0.5 * s;
            let c = if *y > 0.5 { c[1] } else { c[0] };
            loss -= w[i[0]] * c * (t * p.ln() + (1.0 - t) * (1.0 - p).ln()) / (n * k) as f64;
        }
        loss
    }

    #[test]
    fn value_is_the_formula_and_gradient_its_difference_quotient() {
        for outputs in [1, 3] {
            let z = draw(&[5, outputs], -3.0, 3.0);
            let p = z.mapv(sigmoid);
            let values = Target::Values(draw(&[5, outputs], 0.0, 1.0));
            let (w, c, s) = ([0.5, 1.0, 0.0, 2.0, 1.5], [0.7, 1.9], 0.2);
            let Target::Values(y) = &values else { unreachable!() };
            let expected = naive(&p, y, &w, c, s);
            let set = |loss: BinaryCrossEntropy| loss.class_weights(c).label_smoothing(s);
            check_gradient(&set(BinaryCrossEntropy::from_probabilities()), &p, &values, Some(&w), expected);
            check_gradient(&set(BinaryCrossEntropy::from_logits()), &z, &values, Some(&w), expected);
        }
    }

    #[test]
    fn labels_are_the_values_0_and_1() {
        let p = draw(&[4, 1], 0.1, 0.9);
        let (labels, values) = (vec![1, 0, 0, 1], array![[1.0], [0.0], [0.0], [1.0]].into_dyn());
        let loss = BinaryCrossEntropy::default().class_weights([1.0, 3.0]);
        let by_label = loss.gradient(p.view(), &Target::Labels(labels), None).unwrap();
        assert_eq!(by_label, loss.gradient(p.view(), &Target::Values(values.clone()), None).unwrap());
        let expected = naive(&p, &values, &[1.0; 4], [1.0, 3.0], 0.0);
        check_gradient(&loss, &p, &Target::Values(values), None, expected);
    }

    #[test]
    fn ignored_samples_do_not_count() {
        let (p, w) = (draw(&[4, 1], 0.1, 0.9), [1.0, 3.0, 2.0, 0.5]);
        let y = array![[1.0], [0.0], [0.0], [1.0]].into_dyn();
        let labels = Target::Labels(vec![1, 255, 0, 1]);
        // `naive` divides by 4 samples, of which 3 count.
        let expected = naive(&p, &y, &[1.0, 0.0, 2.0, 0.5], [1.0; 2], 0.0) * 4.0 / 3.0;
        let loss = BinaryCrossEntropy::default().ignore_index(255);
        check_gradient(&loss, &p, &labels, Some(&w), expected);
        let (value, dp) = loss.gradient(p.view(), &labels, Some(&w)).unwrap();
        assert_eq!((value.count, dp[[1, 0]]), (3, 0.0));
        assert!(!Loss::<f64>::counts(&loss, 255) && Loss::<f64>::counts(&loss, 0));
    }

    #[test]
    fn large_logits_and_sure_probabilities_stay_finite() {
        extremes(&BinaryCrossEntropy::from_logits(), &[&[1e4], &[-1e4]], &[1, 0], 0.0);
        extremes(&BinaryCrossEntropy::from_logits(), &[&[1e4], &[-1e4]], &[0, 1], 1e4);
        extremes(&BinaryCrossEntropy::default(), &[&[1.0], &[0.0]], &[0, 1], -(1e-7_f64.ln()));
    }

    // 1 − 10⁻⁷ is no f32: what counts as clipped must not depend on the element.
    #[test]
    fn beyond_the_clip_the_gradient_is_0() {
        let target = Target::Labels(vec![0, 0, 0]);
        let p = array![[1.0_f32], [1.0 - f32::EPSILON], [0.0]].into_dyn();
        let (_, dp) = BinaryCrossEntropy::default().gradient(p.view(), &target, None).unwrap();
        assert_eq!([dp[[0, 0]], dp[[2, 0]]], [0.0, 0.0]);
        assert!(dp[[1, 0]] > 2e6 && dp[[1, 0]].is_finite());
    }

    #[test]
    fn nan_stays_nan() {
        for loss in [BinaryCrossEntropy::from_probabilities(), BinaryCrossEntropy::from_logits()] {
            for label in [0, 1] {
                let (value, dp) =
                    loss.gradient(array![[f64::NAN]].into_dyn().view(), &Target::Labels(vec![label]), None).unwrap();
                assert!(value.mean.is_nan() && dp[[0, 0]].is_nan());
            }
        }
    }

    #[test]
    fn mistakes_are_named() {
        let p = ArrayD::<f64>::zeros(vec![2, 1]);
        let message = |loss: BinaryCrossEntropy, p: &ArrayD<f64>, target: Target<f64>| {
            loss.value(p.view(), &target, None).unwrap_err().to_string()
        };
        let loss = BinaryCrossEntropy::default();
        assert_eq!(
            message(loss.clone(), &p, Target::Values(ArrayD::zeros(vec![2, 2]))),
            "binary_crossentropy: expected target [2, 1], got [2, 2]"
        );
        assert_eq!(
            message(loss.clone(), &p, Target::Labels(vec![0, 2])),
            "binary_crossentropy: label must be 0 or 1, for a prediction [N, 1], got 2 for sample 1 of [2, 1]"
        );
        assert!(loss.value(ArrayD::zeros(vec![1, 2]).view(), &Target::<f64>::Labels(vec![0]), None).is_err());
        assert_eq!(
            message(loss.clone(), &p, Target::Values(array![[1.0], [2.0]].into_dyn())),
            "binary_crossentropy: target must be in [0, 1], got 2 at [1, 0]"
        );
        assert!(
            message(loss.clone().class_weights([1.0]), &p, Target::Labels(vec![0, 1])).contains("class weights [2]")
        );
        assert!(message(loss.label_smoothing(f64::NAN), &p, Target::Labels(vec![0, 1])).contains("label_smoothing"));
    }
}
