//! y = 1 / (1 + e⁻ˣ),  y′ = y·(1 − y)     (thesis, appendix: the last layer)
//! x [N, …]  →  y [N, …]

use super::elementwise::{Elementwise, elementwise_layer};
use crate::element::Element;
use serde::{Deserialize, Serialize};

/// The logistic function: from any number to a probability.
///
/// As last layer before a binary cross-entropy it is fused with the loss.
///
/// ```
/// use tapetum::prelude::*;
/// let y = Sigmoid.forward(ndarray::array![[0.0, 1000.0, -1000.0]].into_dyn().view())?;
/// assert_eq!(y, ndarray::array![[0.5, 1.0, 0.0]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Sigmoid;

impl Elementwise for Sigmoid {
    // e^−|x| cannot overflow: 1 / (1 + e⁻ˣ) for x ≥ 0 is the same as eˣ / (1 + eˣ) for x < 0.
    fn value<E: Element>(&self, x: E) -> E {
        let e = (-x.abs()).exp();
        (if x < E::zero() { e } else { E::one() }) / (E::one() + e)
    }

    fn slope<E: Element>(&self, _x: E, y: E) -> E {
        y * (E::one() - y)
    }
}

elementwise_layer!(Sigmoid, "sigmoid");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Layer;
    use approx::assert_relative_eq;
    use ndarray::array;

    #[test]
    fn is_the_formula_where_that_is_finite() {
        for x in [-30.0f64, -2.0, -1e-9, 0.0, 0.5, 3.0, 30.0] {
            assert_relative_eq!(Sigmoid.value(x), 1.0 / (1.0 + (-x).exp()), max_relative = 1e-14);
        }
    }

    #[test]
    fn far_out_it_is_finite_and_nan_stays() {
        let y = Sigmoid.forward(array![[-1e4f32, 1e4, f32::NEG_INFINITY, f32::NAN]].into_dyn().view()).unwrap();
        assert_eq!(y.as_slice().unwrap()[..3], [0.0, 1.0, 0.0]);
        assert!(y[[0, 3]].is_nan());
    }
}
