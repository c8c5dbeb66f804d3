//! l = −c · Σ_k y_k·ln p_k                            from probabilities (thesis eq. 16, with its minus sign)
//! ln p_k = z_k − m − ln Σ_j e^(z_j − m), m = max z    from logits: p = softmax(z) (eq. 9–10)
//! p [N, K]  y [N, K], one-hot for labels; c is the weight of the sample's class

use super::batch::{self, Batch, Terms, Truth};
use super::rows::{Formula, Rows};
use super::settings::{Settings, builder};
use super::{EPSILON, Loss, LossValue, is_clipped};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::layers::{Layer, Softmax};
use crate::target::Target;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};
use serde::{Deserialize, Serialize};

const NAME: &str = "crossentropy";

/// Cross-entropy of one class out of K (thesis 3.11, equations 16–19).
///
/// The prediction is [N, K]; the target gives labels below K, or values [N, K]: one-hot rows or probabilities.
/// Keras calls the first sparse categorical, the second categorical cross-entropy.
///
/// From probabilities (the default), p is clipped to [10⁻⁷, 1 − 10⁻⁷] as in Keras, so that no loss is infinite;
/// beyond the clip the loss is flat and its gradient 0. Rows are taken to sum to 1 and not scaled again.
/// From logits there is no clip and the gradient is p − y (equation 19).
///
/// ```
/// use tapetum::prelude::*;
/// let z = ndarray::array![[0.0, 3_f64.ln()]].into_dyn(); // softmax: ¼, ¾
/// let (loss, dz) = CrossEntropy::from_logits().gradient(z.view(), &Target::Labels(vec![0]), None)?;
/// assert!((loss.mean - 4_f64.ln()).abs() < 1e-12);
/// assert!((dz[[0, 0]] + 0.75).abs() < 1e-12 && (dz[[0, 1]] - 0.75).abs() < 1e-12);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CrossEntropy(Settings);

builder! {
    CrossEntropy behind "softmax",
    class_weights:
        "A factor c for each of the K classes; none for all 1. The class of a row of values is its largest.",
    label_smoothing:
        "Moves targets towards 1/K: y·(1 − s) + s/K, with s in [0, 1) (Szegedy et al., arXiv:1512.00567).",
}

impl<E: Element> Terms<E> for CrossEntropy {
    fn check(&self, prediction: &[usize], target: &Target<E>) -> Result<()> {
        match *prediction {
            [_, classes] => self.0.check(NAME, classes, target),
            _ => Err(Error::shape(NAME, "prediction [N, K]", prediction)),
        }
    }

    fn truth(&self, label: usize, outputs: usize) -> Result<Truth<'static, E>, String> {
        if label < outputs { Ok(Truth::OneHot(label)) } else { Err(format!("below {outputs}, the number of classes")) }
    }

    // Every p_k is read, also where y_k is 0: 0·NaN keeps the NaN.
    fn terms(&self, p: &[E], y: Truth<'_, E>) -> (f64, impl Fn(f64, f64) -> (f64, f64)) {
        let (settings, classes) = (&self.0, p.len());
        let total = || (0..classes).map(|k| settings.smoothed(y.at(k), classes)).sum::<f64>();
        let logits = settings.from_logits.then(|| (log_sum_exp(p), total()));
        let term = move |p: f64, y: f64| {
            let y = settings.smoothed(y, classes);
            match logits {
                Some(((max, ln_total), sum)) => of_logit(p - max - ln_total, y, sum),
                None => of_probability(p, y),
            }
        };
        (self.class_weight(|k| y.at(k), classes), term)
    }
}

// ∂l/∂p_k = −c·y_k/p_k inside the clip
fn of_probability(p: f64, y: f64) -> (f64, f64) {
    (-y * p.clamp(EPSILON, 1.0 - EPSILON).ln(), if is_clipped(p) { 0.0 } else { -y / p })
}

// ∂l/∂z_k = c·(p_k·Σ_j y_j − y_k)     (eq. 17–19, where Σ y is 1)
fn of_logit(ln_p: f64, y: f64, sum: f64) -> (f64, f64) {
    (-y * ln_p, ln_p.exp() * sum - y)
}

impl CrossEntropy {
    /// That of the likeliest of K classes.
    fn class_weight(&self, y: impl Fn(usize) -> f64, classes: usize) -> f64 {
        if self.0.class_weights.is_empty() {
            return 1.0;
        }
        self.0.class_weight((1..classes).fold(0, |best, k| if y(k) > y(best) { k } else { best }))
    }
}

/// max z and ln Σ e^(z − max z). NaN in z comes out: max skips it, the sum does not.
fn log_sum_exp<E: Element>(z: &[E]) -> (f64, f64) {
    let max = z.iter().fold(f64::NEG_INFINITY, |max, z| max.max(z.as_f64()));
    (max, z.iter().map(|z| (z.as_f64() - max).exp()).sum::<f64>().ln())
}

impl<E: Element> Loss<E> for CrossEntropy {
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
        let formula = Formula::Cross { from_logits: self.0.from_logits };
        let smoothed = |y, classes| self.0.smoothed(y, classes);
        Rows::new(self, formula, shape, target, weights, smoothed, |y| self.class_weight(|k| y[k], y.len())).map(Some)
    }

    fn counts(&self, label: usize) -> bool {
        self.0.counts(label)
    }

    // A prediction [N, K] has one axis that a softmax can run over, the last.
    fn fused_with(&self, last: &dyn Layer<E>) -> Option<Box<dyn Loss<E>>> {
        self.0.fused_with::<E, Softmax>(last).map(|settings| Box::new(Self(settings)) as _)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_gradient, draw, extremes};
    use super::*;
    use ndarray::array;

    /// Equations 9 and 10, row by row.
    fn softmax(z: &ArrayD<f64>) -> ArrayD<f64> {
        let mut p = z.mapv(f64::exp);
        p.rows_mut().into_iter().for_each(|mut row| row /= row.sum());
        p
    }

    /// Σₙ wₙ·c/N · Σ_k −t_k·ln p_k over samples that count, with t the smoothed target.
    fn naive(p: &ArrayD<f64>, y: &ArrayD<f64>, w: &[f64], c: &[f64], s: f64, count: f64) -> f64 {
        let mut loss = 0.0;
        for ((p, y), w) in p.rows().into_iter().zip(y.rows()).zip(w) {
            let class = (0..y.len()).max_by(|&a, &b| y[a].total_cmp(&y[b])).unwrap();
            for k in 0..y.len() {
                loss -= w * c[class] / count * (y[k] * (1.0 - s) + s / y.len() as f64) * p[k].ln();
            }
        }
        loss
    }

    #[test]
    fn value_is_the_formula_and_gradient_its_difference_quotient() {
        // Rows of y that do not sum to 1: the gradient's Σ y counts.
        let (z, y) = (draw(&[5, 4], -3.0, 3.0), draw(&[5, 4], 0.0, 1.0));
        let p = softmax(&z);
        let (w, c, s) = ([0.5, 1.0, 0.0, 2.0, 1.5], [0.7, 1.9, 1.0, 0.2], 0.2);
        let expected = naive(&p, &y, &w, &c, s, 5.0);
        let set = |loss: CrossEntropy| loss.class_weights(c).label_smoothing(s);
        let values = Target::Values(y);
        check_gradient(&set(CrossEntropy::from_probabilities()), &p, &values, Some(&w), expected);
        check_gradient(&set(CrossEntropy::from_logits()), &z, &values, Some(&w), expected);
    }

    #[test]
    fn ignored_samples_do_not_count() {
        let (z, w) = (draw(&[4, 3], -3.0, 3.0), [1.0, 3.0, 2.0, 0.5]);
        let y = array![[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]].into_dyn();
        let labels = Target::Labels(vec![2, 255, 0, 1]);
        let expected = naive(&softmax(&z), &y, &[1.0, 0.0, 2.0, 0.5], &[1.0; 3], 0.0, 3.0);
        let loss = CrossEntropy::from_logits().ignore_index(255);
        check_gradient(&loss, &z, &labels, Some(&w), expected);
        let (value, dz) = loss.gradient(z.view(), &labels, Some(&w)).unwrap();
        assert_eq!((value.count, dz.index_axis(ndarray::Axis(0), 1).mapv(f64::abs).sum()), (3, 0.0));
        let (value, dz) = loss.gradient(z.view(), &Target::Labels(vec![255; 4]), None).unwrap();
        assert_eq!((value, dz), (LossValue { mean: 0.0, count: 0 }, ArrayD::zeros(vec![4, 3])));
    }

    // Equation 19, with nothing else around it.
    #[test]
    fn from_logits_the_gradient_is_p_minus_y() {
        let z = draw(&[1, 5], -2.0, 2.0);
        let (_, dz) = CrossEntropy::from_logits().gradient(z.view(), &Target::Labels(vec![3]), None).unwrap();
        let expected = softmax(&z) - array![[0.0, 0.0, 0.0, 1.0, 0.0]];
        assert!((dz - expected).iter().all(|difference| difference.abs() < 1e-15));
    }

    #[test]
    fn large_logits_and_sure_probabilities_stay_finite() {
        extremes(&CrossEntropy::from_logits(), &[&[1e4, -1e4], &[-1e4, 0.0]], &[0, 1], 0.0);
        extremes(&CrossEntropy::from_logits(), &[&[1e4, -1e4], &[1e4, -1e4]], &[1, 1], 2e4);
        extremes(&CrossEntropy::default(), &[&[1.0, 0.0]], &[1], -(1e-7_f64.ln()));
    }

    #[test]
    fn nan_stays_nan() {
        for loss in [CrossEntropy::from_probabilities(), CrossEntropy::from_logits()] {
            for p in [array![[f64::NAN, 0.5]], array![[0.5, f64::NAN]]] {
                let (value, dp) = loss.gradient(p.into_dyn().view(), &Target::Labels(vec![1]), None).unwrap();
                assert!(value.mean.is_nan() && dp.iter().any(|dp| dp.is_nan()));
            }
        }
    }

    #[test]
    fn mistakes_are_named() {
        let p = ArrayD::<f64>::zeros(vec![2, 3]);
        let message = |loss: CrossEntropy, target: Target<f64>, weights: Option<&[f64]>| {
            loss.value(p.view(), &target, weights).unwrap_err().to_string()
        };
        let (loss, labels) = (CrossEntropy::default(), Target::Labels(vec![0, 1]));
        assert_eq!(
            message(loss.clone(), Target::Labels(vec![0, 3]), None),
            "crossentropy: label must be below 3, the number of classes, got 3 for sample 1 of [2, 3]"
        );
        assert_eq!(message(loss.clone(), Target::Labels(vec![0]), None), "crossentropy: expected labels [2], got [1]");
        assert_eq!(
            message(loss.clone(), labels.clone(), Some(&[1.0])),
            "crossentropy: expected sample weights [2], got [1]"
        );
        assert!(message(loss.clone(), labels.clone(), Some(&[1.0, -1.0])).contains("got -1 at 1"));
        assert!(message(loss.class_weights([1.0, 2.0]), labels, None).contains("class weights [3]"));
        assert!(
            CrossEntropy::default()
                .value(ArrayD::<f64>::zeros(vec![2]).view(), &Target::Labels(vec![0, 0]), None)
                .is_err()
        );
    }
}
