//! l = −c · Σ_k y_k·ln p_k                            from probabilities (thesis eq. 16, with its minus sign)
//! ln p_k = z_k − m − ln Σ_j e^(z_j − m), m = max z    from logits: p = softmax(z) (eq. 9–10)
//! p [N, K]  y [N, K], one-hot for labels; c is the weight of the sample's class

use super::batch::{Batch, check_class_weights, check_label_smoothing, check_probabilities};
use super::{EPSILON, Loss, LossValue, is_clipped};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::layers::{Layer, Softmax};
use crate::target::Target;
use ndarray::{ArrayD, ArrayViewD};
use serde::{Deserialize, Serialize};
use std::any::Any;

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
pub struct CrossEntropy {
    from_logits: bool,
    class_weights: Vec<f64>,
    label_smoothing: f64,
    ignore_index: Option<usize>,
}

impl CrossEntropy {
    /// For predictions p in [0, 1], as behind a softmax.
    pub fn from_probabilities() -> Self {
        Self::default()
    }

    /// For predictions z that a softmax would turn into probabilities.
    pub fn from_logits() -> Self {
        Self { from_logits: true, ..Self::default() }
    }

    /// A factor c for each of the K classes; none for all 1. The class of a row of values is its largest.
    pub fn class_weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
        self.class_weights = weights.into();
        self
    }

    /// Moves targets towards 1/K: y·(1 − s) + s/K, with s in [0, 1) (Szegedy et al., arXiv:1512.00567).
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
        let &[_, classes] = prediction.shape() else {
            return Err(Error::shape(NAME, "prediction [N, K]", prediction.shape()));
        };
        check_class_weights(NAME, classes, &self.class_weights)?;
        check_label_smoothing(NAME, self.label_smoothing)?;
        check_probabilities(NAME, target)?;
        Batch::new(NAME, prediction, target, weights, |label, y| match y.get_mut(label) {
            _ if self.ignore_index == Some(label) => Ok(false),
            Some(y) => {
                *y = E::one();
                Ok(true)
            }
            None => Err(format!("below {classes}, the number of classes")),
        })
    }

    /// l of one sample. Every p_k is read, also where y_k is 0: 0·NaN keeps the NaN.
    fn loss<E: Element>(&self, p: &[E], y: &[E]) -> f64 {
        let shift = self.from_logits.then(|| log_sum_exp(p));
        let ln_p = |p: f64| match shift {
            Some((max, ln_total)) => p - max - ln_total,
            None => p.clamp(EPSILON, 1.0 - EPSILON).ln(),
        };
        -self.class_weight(y) * p.iter().zip(self.smoothed(y)).map(|(p, y)| y * ln_p(p.as_f64())).sum::<f64>()
    }

    // ∂l/∂p_k = −c·y_k/p_k inside the clip     ∂l/∂z_k = c·(p_k·Σ_j y_j − y_k)     (eq. 17–19, where Σ y is 1)
    fn slope<E: Element>(&self, p: &[E], y: &[E], dp: &mut [E], scale: f64) {
        let scale = scale * self.class_weight(y);
        let shift = self.from_logits.then(|| log_sum_exp(p));
        let total: f64 = self.smoothed(y).sum();
        for ((&p, y), dp) in p.iter().zip(self.smoothed(y)).zip(dp) {
            let p = p.as_f64();
            let slope = match shift {
                Some((max, ln_total)) => (p - max - ln_total).exp() * total - y,
                None if is_clipped(p) => 0.0,
                None => -y / p,
            };
            *dp = E::of(scale * slope);
        }
    }

    fn smoothed<E: Element>(&self, y: &[E]) -> impl Iterator<Item = f64> {
        let (s, classes) = (self.label_smoothing, y.len() as f64);
        y.iter().map(move |y| y.as_f64() * (1.0 - s) + s / classes)
    }

    fn class_weight<E: Element>(&self, y: &[E]) -> f64 {
        if self.class_weights.is_empty() {
            return 1.0;
        }
        let class = (1..y.len()).fold(0, |best, k| if y[k] > y[best] { k } else { best });
        self.class_weights[class]
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

    // A prediction [N, K] has one axis that a softmax can run over, the last.
    fn fused_with(&self, last: &dyn Layer<E>) -> Option<Box<dyn Loss<E>>> {
        let fits = !self.from_logits && (last as &dyn Any).is::<Softmax>();
        fits.then(|| Box::new(Self { from_logits: true, ..self.clone() }) as _)
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
