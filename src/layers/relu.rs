//! y = max(0, x)     (thesis 3.7, eq. 6)
//! x [N, …]  →  y [N, …]
//!
//! NaN stays NaN. ReLU′(0) = 0.

use super::elementwise::{Elementwise, elementwise_layer};
use crate::element::Element;
use serde::{Deserialize, Serialize};

/// The rectified linear unit (thesis 3.7, equation 6; Nair and Hinton, 2010).
///
/// ```
/// use tapetum::prelude::*;
/// let y = ReLU.forward(ndarray::array![[-1.0, 0.0, 2.0]].into_dyn().view())?;
/// assert_eq!(y, ndarray::array![[0.0, 0.0, 2.0]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct ReLU;

impl Elementwise for ReLU {
    // `x < 0` is false for NaN, so NaN passes; max(x, 0) would hide it.
    fn value<E: Element>(&self, x: E) -> E {
        if x < E::zero() { E::zero() } else { x }
    }

    fn slope<E: Element>(&self, x: E, _y: E) -> E {
        if x <= E::zero() { E::zero() } else { E::one() }
    }
}

elementwise_layer!(ReLU, "relu");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Layer;
    use crate::random::Key;
    use ndarray::array;

    #[test]
    fn by_hand_with_nan_and_the_slope_at_0() {
        let x = array![[-2.0, 0.0, 3.0, f64::NAN, f64::INFINITY]].into_dyn();
        let (y, saved) = ReLU.forward_train(x.view(), Key::new(0)).unwrap();
        assert_eq!(y.as_slice().unwrap()[..3], [0.0, 0.0, 3.0]);
        assert!(y[[0, 3]].is_nan() && y[[0, 4]] == f64::INFINITY);
        let dx = ReLU.backward(saved, array![[5.0, 5.0, 5.0, 5.0, 5.0]].into_dyn().view()).unwrap().dx;
        assert_eq!(dx, array![[0.0, 0.0, 5.0, 5.0, 5.0]].into_dyn());
    }

    #[test]
    fn the_gradient_must_have_the_outputs_shape() {
        let (_, saved) = ReLU.forward_train(array![[1.0, 2.0]].into_dyn().view(), Key::new(0)).unwrap();
        let error = ReLU.backward(saved, array![[1.0]].into_dyn().view()).unwrap_err();
        assert_eq!(error.to_string(), "relu: expected gradient [1, 2], got [1, 1]");
    }
}
