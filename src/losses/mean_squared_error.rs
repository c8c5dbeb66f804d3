//! l = Σ_k (p_k − y_k)² / K
//! p [N, …]  y [N, …], K outputs a sample

use super::batch::Batch;
use super::{Loss, LossValue};
use crate::element::Element;
use crate::error::Result;
use crate::target::Target;
use ndarray::{ArrayD, ArrayViewD};
use serde::{Deserialize, Serialize};

const NAME: &str = "mean_squared_error";

/// The mean of squared differences, over outputs and samples.
///
/// The target gives values of the prediction's shape [N, …]; for a prediction [N, 1] also labels, as numbers.
///
/// ```
/// use tapetum::prelude::*;
/// let p = ndarray::array![[1.0, 2.0]].into_dyn();
/// let target = Target::Values(ndarray::array![[1.0, 4.0]].into_dyn());
/// let (loss, dp) = MeanSquaredError.gradient(p.view(), &target, None)?;
/// assert_eq!((loss.mean, dp), (2.0, ndarray::array![[0.0, -2.0]].into_dyn()));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct MeanSquaredError;

fn batch<'a, E: Element>(
    prediction: &'a ArrayViewD<'_, E>,
    target: &'a Target<E>,
    weights: Option<&'a [f64]>,
) -> Result<Batch<'a, E>> {
    Batch::new(NAME, prediction, target, weights, |label, y| match y {
        [y] => {
            *y = E::of(label as f64);
            Ok(true)
        }
        _ => Err("left out: only a prediction [N, 1] has labels".into()),
    })
}

/// l of one sample.
fn loss<E: Element>(p: &[E], y: &[E]) -> f64 {
    let square = |(p, y): (&E, &E)| (p.as_f64() - y.as_f64()).powi(2);
    p.iter().zip(y).map(square).sum::<f64>() / p.len() as f64
}

// ∂l/∂p_k = 2·(p_k − y_k) / K
fn slope<E: Element>(p: &[E], y: &[E], dp: &mut [E], scale: f64) {
    let scale = 2.0 * scale / p.len() as f64;
    for ((&p, &y), dp) in p.iter().zip(y).zip(dp) {
        *dp = E::of(scale * (p.as_f64() - y.as_f64()));
    }
}

impl<E: Element> Loss<E> for MeanSquaredError {
    fn name(&self) -> &'static str {
        NAME
    }

    fn value(&self, prediction: ArrayViewD<'_, E>, target: &Target<E>, weights: Option<&[f64]>) -> Result<LossValue> {
        Ok(batch(&prediction, target, weights)?.mean(loss))
    }

    fn gradient(
        &self,
        prediction: ArrayViewD<'_, E>,
        target: &Target<E>,
        weights: Option<&[f64]>,
    ) -> Result<(LossValue, ArrayD<E>)> {
        let batch = batch(&prediction, target, weights)?;
        Ok((batch.mean(loss), batch.gradient(slope)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_gradient, draw};
    use super::*;

    #[test]
    fn value_is_the_formula_and_gradient_its_difference_quotient() {
        let (p, y, w) = (draw(&[3, 2, 2], -3.0, 3.0), draw(&[3, 2, 2], -1.0, 1.0), [0.5, 1.0, 2.0]);
        let expected = p.indexed_iter().zip(&y).map(|((i, p), y)| w[i[0]] * (p - y).powi(2) / 12.0).sum();
        check_gradient(&MeanSquaredError, &p, &Target::Values(y), Some(&w), expected);
        let p = draw(&[3, 1], -1.0, 4.0);
        let expected = p.iter().zip([7.0, 0.0, 2.0]).map(|(p, y)| (p - y).powi(2) / 3.0).sum();
        check_gradient(&MeanSquaredError, &p, &Target::Labels(vec![7, 0, 2]), None, expected);
    }

    #[test]
    fn labels_need_one_output() {
        let error = MeanSquaredError.value(draw(&[1, 2], 0.0, 1.0).view(), &Target::Labels(vec![1]), None).unwrap_err();
        let expected = "mean_squared_error: label must be left out: only a prediction [N, 1] has labels, \
                        got 1 for sample 0 of [1, 2]";
        assert_eq!(error.to_string(), expected);
    }
}
