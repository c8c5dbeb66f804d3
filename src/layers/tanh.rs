//! y = tanh x,  y′ = 1 − y²
//! x [N, …]  →  y [N, …]

use super::elementwise::{Elementwise, elementwise_layer};
use crate::element::Element;
use serde::{Deserialize, Serialize};

/// The hyperbolic tangent: from any number to (−1, 1).
///
/// ```
/// use tapetum::prelude::*;
/// let y = Tanh.forward(ndarray::array![[0.0, 1000.0, -1000.0]].into_dyn().view())?;
/// assert_eq!(y, ndarray::array![[0.0, 1.0, -1.0]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Tanh;

impl Elementwise for Tanh {
    fn value<E: Element>(&self, x: E) -> E {
        x.tanh()
    }

    fn slope<E: Element>(&self, _x: E, y: E) -> E {
        E::one() - y * y
    }
}

elementwise_layer!(Tanh, "tanh");

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn is_the_formula() {
        for x in [-3.0f64, -0.25, 0.0, 1.0, 5.0] {
            let (e, inverse) = (x.exp(), (-x).exp());
            assert_relative_eq!(Tanh.value(x), (e - inverse) / (e + inverse), epsilon = 1e-15);
        }
        assert!(Tanh.value(f64::NAN).is_nan());
    }
}
