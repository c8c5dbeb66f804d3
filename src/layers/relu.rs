//! y = max(0, x)     (thesis 3.7, eq. 6)
//! x [N, …]  →  y [N, …]
//!
//! NaN stays NaN. ReLU′(0) = 0.

use super::{Backward, Layer, Saved, expect_gradient};
use crate::element::Element;
use crate::error::Result;
use crate::random::Key;
use ndarray::{ArrayD, ArrayViewD, Zip};

/// The rectified linear unit (thesis 3.7, equation 6; Nair and Hinton, 2010).
///
/// ```
/// use tapetum::prelude::*;
/// let y = ReLU.forward(ndarray::array![[-1.0, 0.0, 2.0]].into_dyn().view())?;
/// assert_eq!(y, ndarray::array![[0.0, 0.0, 2.0]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct ReLU;

impl<E: Element> Layer<E> for ReLU {
    fn kind(&self) -> &'static str {
        "ReLU"
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(input.to_vec())
    }

    // `x < 0` is false for NaN, so NaN passes; max(x, 0) would hide it.
    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        Ok(x.mapv(|x| if x < E::zero() { E::zero() } else { x }))
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, _key: Key) -> Result<(ArrayD<E>, Saved)> {
        let y = self.forward(x)?;
        Ok((y.clone(), Saved::new(y)))
    }

    // dx = dy where y > 0, else 0
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let mut dx = saved.take::<ArrayD<E>>("relu")?;
        expect_gradient("relu", &dy, dx.shape())?;
        Zip::from(&mut dx).and(&dy).for_each(|y, &dy| *y = if *y <= E::zero() { E::zero() } else { dy });
        Ok(Backward::input_only(dx))
    }

    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(*self)
    }
}
