//! l = Σ_k (p_k − y_k)² / K
//! p [N, …]  y [N, …], K outputs a sample

use super::batch::{self, Batch, Terms, Truth};
use super::rows::{Formula, Rows};
use super::{Loss, LossValue};
use crate::element::Element;
use crate::error::Result;
use crate::target::Target;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};
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

impl<E: Element> Terms<E> for MeanSquaredError {
    fn check(&self, _: &[usize], _: &Target<E>) -> Result<()> {
        Ok(())
    }

    fn truth(&self, label: usize, outputs: usize) -> Result<Truth<'static, E>, String> {
        match outputs {
            1 => Ok(Truth::Number(label as f64)),
            _ => Err("left out: only a prediction [N, 1] has labels".into()),
        }
    }

    // ∂l/∂p_k = 2·(p_k − y_k) / K
    fn terms(&self, p: &[E], _: Truth<'_, E>) -> (f64, impl Fn(f64, f64) -> (f64, f64)) {
        (1.0 / p.len() as f64, |p, y| ((p - y) * (p - y), 2.0 * (p - y)))
    }
}

impl<E: Element> Loss<E> for MeanSquaredError {
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
        Rows::new(self, Formula::Squared, shape, target, weights, |y, _| y, |_| 1.0).map(Some)
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
