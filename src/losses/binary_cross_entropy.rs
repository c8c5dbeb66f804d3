//! l = Σ_k c[y_k]·b(p_k, y_k) / K
//! b(p, y) = −y·ln p − (1 − y)·ln(1 − p)             from probabilities
//! b(z, y) = max(z, 0) − z·y + ln(1 + e^−|z|)         from logits: p = σ(z)
//! p [N, …]  y [N, …], K outputs a sample             (thesis 3.11, eq. 16, for two classes)

use super::batch::{self, Batch, Terms, Truth};
use super::rows::{Formula, Rows};
use super::settings::{Settings, builder};
use super::{EPSILON, Loss, LossValue, is_clipped};
use crate::element::Element;
use crate::error::Result;
use crate::layers::{Layer, Sigmoid};
use crate::target::Target;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};
use serde::{Deserialize, Serialize};

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
pub struct BinaryCrossEntropy(Settings);

builder! {
    BinaryCrossEntropy behind "sigmoid",
    class_weights:
        "Two factors c, of outputs whose target is class 0 (y ≤ ½) and class 1; none for 1 and 1.",
    label_smoothing:
        "Moves targets towards ½: y·(1 − s) + s/2, with s in [0, 1).",
}

impl<E: Element> Terms<E> for BinaryCrossEntropy {
    fn check(&self, _: &[usize], target: &Target<E>) -> Result<()> {
        self.0.check(NAME, 2, target)
    }

    fn truth(&self, label: usize, outputs: usize) -> Result<Truth<'static, E>, String> {
        match (label, outputs) {
            (0 | 1, 1) => Ok(Truth::Number(label as f64)),
            _ => Err("0 or 1, for a prediction [N, 1]".into()),
        }
    }

    fn terms(&self, p: &[E], _: Truth<'_, E>) -> (f64, impl Fn(f64, f64) -> (f64, f64)) {
        let term = |p: f64, y: f64| {
            let (c, y) = (self.0.class_weight(usize::from(y > 0.5)), self.0.smoothed(y, 2));
            let (b, slope) = if self.0.from_logits { of_logit(p, y) } else { of_probability(p, y) };
            (c * b, c * slope)
        };
        (1.0 / p.len() as f64, term)
    }
}

// ∂b/∂p = (p − y) / (p·(1 − p)) inside the clip
fn of_probability(p: f64, y: f64) -> (f64, f64) {
    let inside = p.clamp(EPSILON, 1.0 - EPSILON);
    let slope = if is_clipped(p) { 0.0 } else { (p - y) / (p * (1.0 - p)) };
    (-(y * inside.ln() + (1.0 - y) * (1.0 - inside).ln()), slope)
}

// ∂b/∂z = σ(z) − y, where σ(z) = 1/(1 + e^−z) = e^z/(1 + e^z): the one whose power is small
fn of_logit(z: f64, y: f64) -> (f64, f64) {
    let power = (-z.abs()).exp();
    let p = if z < 0.0 { power } else { 1.0 } / (1.0 + power);
    // z·y keeps a NaN that max would drop.
    (z.max(0.0) - z * y + power.ln_1p(), p - y)
}

impl<E: Element> Loss<E> for BinaryCrossEntropy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn value(&self, prediction: ArrayViewD<'_, E>, target: &Target<E>, weights: Option<&[f64]>) -> Result<LossValue> {
        Ok(Batch::new(self, &prediction, target, weights)?.value())
    }

    fn gradient(
        &self,
        prediction: ArrayViewD<'_, E>,
        target: &Target<E>,
        weights: Option<&[f64]>,
    ) -> Result<(LossValue, ArrayD<E>)> {
        batch::gradient(self, prediction, target, weights)
    }

    fn gradient_into(
        &self,
        prediction: ArrayViewD<'_, E>,
        target: &Target<E>,
        weights: Option<&[f64]>,
        gradient: ArrayViewMutD<'_, E>,
    ) -> Result<LossValue> {
        Batch::new(self, &prediction, target, weights)?.gradient_into(gradient)
    }

    fn rows(&self, shape: &[usize], target: &Target<E>, weights: Option<&[f64]>) -> Result<Option<Rows>> {
        // With several outputs each has a weight of its own, which rows have no room for.
        if !self.0.class_weights.is_empty() && shape[1..].iter().product::<usize>() > 1 {
            return Ok(None);
        }
        let formula = Formula::Binary { from_logits: self.0.from_logits };
        let weight = |y: &[f64]| self.0.class_weight(usize::from(y[0] > 0.5));
        Rows::new(self, formula, shape, target, weights, |y, _| self.0.smoothed(y, 2), weight).map(Some)
    }

    fn counts(&self, label: usize) -> bool {
        self.0.counts(label)
    }

    fn fused_with(&self, last: &dyn Layer<E>) -> Option<Box<dyn Loss<E>>> {
        self.0.fused_with::<E, Sigmoid>(last).map(|settings| Box::new(Self(settings)) as _)
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
