//! p_i = e^(a_i − m) / Σ_k e^(a_k − m),  m = max_k a_k     (thesis 3.11.1, eq. 9–10)
//! x [N, …, K]  →  y [N, …, K], over the last axis
//!
//! ∂p_i/∂a_j = p_i·(δ_ij − p_j)     (thesis 3.11.2, eq. 11–15; eq. 14 has its two cases exchanged in print)

use super::{Backward, Layer, Saved, expect_gradient};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::random::Key;
use ndarray::{ArrayD, ArrayViewD, Axis, Zip};
use serde::{Deserialize, Serialize};

/// From numbers to probabilities that sum to 1, along the last axis (thesis 3.11.1, equations 9 and 10).
///
/// As last layer before a cross-entropy it is fused with the loss.
///
/// ```
/// use tapetum::prelude::*;
/// let p = Softmax.forward(ndarray::array![[1000.0, 1000.0, 1000.0, 1000.0]].into_dyn().view())?;
/// assert_eq!(p, ndarray::array![[0.25, 0.25, 0.25, 0.25]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Softmax;

impl<E: Element> Layer<E> for Softmax {
    fn kind(&self) -> &'static str {
        "Softmax"
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        if input.is_empty() {
            return Err(Error::shape("softmax", "input [.., K]", input));
        }
        Ok(input.to_vec())
    }

    // The shift by m is the log C of equation 10: no exponent is above 0, and one is 0.
    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        if x.ndim() < 2 {
            return Err(Error::shape("softmax", "input [N, .., K]", x.shape()));
        }
        let mut p = x.to_owned();
        for mut p in p.lanes_mut(Axis(x.ndim() - 1)) {
            let m = p.fold(E::neg_infinity(), |m, &a| m.max(a));
            p.mapv_inplace(|a| (a - m).exp());
            let sum = p.sum();
            p.mapv_inplace(|e| e / sum);
        }
        Ok(p)
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, _key: Key) -> Result<(ArrayD<E>, Saved)> {
        let p = self.forward(x)?;
        Ok((p.clone(), Saved::new(p)))
    }

    // dx_j = Σ_i dy_i · p_i·(δ_ij − p_j) = p_j · (dy_j − Σ_i dy_i·p_i)
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let mut p = saved.take::<ArrayD<E>>("softmax")?;
        expect_gradient("softmax", &dy, p.shape())?;
        let last = Axis(p.ndim() - 1);
        Zip::from(p.lanes_mut(last)).and(dy.lanes(last)).for_each(|mut p, dy| {
            let mean = p.dot(&dy);
            Zip::from(&mut p).and(&dy).for_each(|p, &dy| *p *= dy - mean);
        });
        Ok(Backward::input_only(p))
    }

    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(*self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    #[test]
    fn is_equation_9_and_its_gradient_equation_15() {
        let a = [0.5f64, -1.0, 2.0];
        let sum: f64 = a.iter().map(|a| a.exp()).sum();
        let p = a.map(|a| a.exp() / sum);
        let (y, saved) = Softmax.forward_train(array![a].into_dyn().view(), Key::new(0)).unwrap();
        assert_abs_diff_eq!(y.as_slice().unwrap(), p.as_slice(), epsilon = 1e-15);
        // dy picks p_1, so that dx is the row ∂p_1/∂a_j.
        let dx = Softmax.backward(saved, array![[0.0, 1.0, 0.0]].into_dyn().view()).unwrap().dx;
        let row = [-p[1] * p[0], p[1] * (1.0 - p[1]), -p[1] * p[2]];
        assert_abs_diff_eq!(dx.as_slice().unwrap(), row.as_slice(), epsilon = 1e-15);
    }

    #[test]
    fn far_out_it_is_finite_and_nan_stays() {
        let y = Softmax.forward(array![[1e4f32, -1e4], [f32::NAN, 0.0]].into_dyn().view()).unwrap();
        assert_eq!(y.as_slice().unwrap()[..2], [1.0, 0.0]);
        assert!(y[[1, 0]].is_nan() && y[[1, 1]].is_nan());
    }

    #[test]
    fn a_row_needs_an_axis() {
        let error = Softmax.forward(array![1.0, 2.0].into_dyn().view()).unwrap_err();
        assert_eq!(error.to_string(), "softmax: expected input [N, .., K], got [2]");
        assert_eq!(Softmax.forward(ArrayD::<f32>::zeros(vec![0, 3]).view()).unwrap().shape(), [0, 3]);
    }
}
