//! y = a·x for x < 0, x for x ≥ 0     (thesis 3.7.1, eq. 7)
//! x [N, …]  →  y [N, …]

use super::elementwise::{Elementwise, elementwise_layer};
use crate::element::Element;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A ReLU that lets through a part of what is negative (thesis 3.7.1, equation 7; Maas et al., 2013).
///
/// The default slope is 0.3, as in Keras; PyTorch's is 0.01. The slope at 0 is 1, as equation 7 says.
///
/// ```
/// use tapetum::prelude::*;
/// let y = LeakyReLU::new(0.1).forward(ndarray::array![[-10.0, 0.0, 2.0]].into_dyn().view())?;
/// assert_eq!(y, ndarray::array![[-1.0, 0.0, 2.0]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct LeakyReLU {
    slope: f64,
}

impl LeakyReLU {
    /// With slope `slope` (the a of equation 7) for x < 0.
    pub fn new(slope: f64) -> Self {
        Self { slope }
    }

    /// The slope for x < 0.
    pub(crate) fn alpha(&self) -> f64 {
        self.slope
    }
}

impl Default for LeakyReLU {
    fn default() -> Self {
        Self::new(0.3)
    }
}

impl Elementwise for LeakyReLU {
    fn value<E: Element>(&self, x: E) -> E {
        if x < E::zero() { E::of(self.slope) * x } else { x }
    }

    fn slope<E: Element>(&self, x: E, _y: E) -> E {
        if x < E::zero() { E::of(self.slope) } else { E::one() }
    }

    fn check(&self) -> Result<()> {
        if self.slope.is_finite() {
            return Ok(());
        }
        Err(Error::argument("leakyrelu", "slope", "a finite number", self.slope))
    }
}

elementwise_layer!(LeakyReLU, "leakyrelu");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Layer;
    use crate::random::Key;
    use ndarray::array;

    #[test]
    fn by_hand_with_slopes_of_any_sign() {
        for slope in [0.5, 0.0, -2.0] {
            let layer = LeakyReLU::new(slope);
            let (y, saved) = layer.forward_train(array![[-4.0, 0.0, 3.0]].into_dyn().view(), Key::new(0)).unwrap();
            assert_eq!(y, array![[-4.0 * slope, 0.0, 3.0]].into_dyn());
            let dx = layer.backward(saved, array![[1.0, 1.0, 1.0]].into_dyn().view()).unwrap().dx;
            assert_eq!(dx, array![[slope, 1.0, 1.0]].into_dyn());
        }
    }

    #[test]
    fn a_slope_must_be_a_number() {
        let error = Layer::<f32>::output_shape(&LeakyReLU::new(f64::NAN), &[3]).unwrap_err();
        assert_eq!(error.to_string(), "leakyrelu: slope must be a finite number, got NaN");
    }
}
