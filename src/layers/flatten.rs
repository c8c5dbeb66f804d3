//! y[n, (h·W + w)·C + c] = x[n, h, w, c]     (thesis 3.9)
//! x [N, …]  →  y [N, D]

use super::{Backward, Layer, Saved, expect_gradient};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::random::Key;
use crate::shape::volume;
use ndarray::{ArrayD, ArrayViewD};
use serde::{Deserialize, Serialize};

/// Every sample as one row of numbers (thesis 3.9).
///
/// ```
/// use tapetum::prelude::*;
/// let y = Flatten.forward(ndarray::Array4::<f32>::zeros([5, 14, 14, 32]).into_dyn().view())?;
/// assert_eq!(y.shape(), [5, 6272]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Flatten;

impl<E: Element> Layer<E> for Flatten {
    fn kind(&self) -> &'static str {
        "Flatten"
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(vec![volume("flatten", input)?])
    }

    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        let Some((&n, sample)) = x.shape().split_first() else {
            return Err(Error::shape("flatten", "input [N, …]", x.shape()));
        };
        let shape = vec![n, volume("flatten", sample)?];
        Ok(reshaped(x, shape))
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, _key: Key) -> Result<(ArrayD<E>, Saved)> {
        Ok((self.forward(x.view())?, Saved::new(x.shape().to_vec())))
    }

    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let shape = saved.take::<Vec<usize>>("flatten")?;
        expect_gradient("flatten", &dy, &[shape[0], shape[1..].iter().product()])?;
        Ok(Backward::input_only(reshaped(dy, shape)))
    }

    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(*self)
    }
}

fn reshaped<E: Element>(array: ArrayViewD<'_, E>, shape: Vec<usize>) -> ArrayD<E> {
    let entries = array.as_standard_layout().into_owned();
    entries.into_shape_with_order(shape).expect("the shape has as many entries as the array")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array;

    #[test]
    fn there_and_back() {
        let x = Array::from_shape_fn([2, 2, 3, 2], |(n, h, w, c)| (n * 100 + (h * 3 + w) * 2 + c) as f64).into_dyn();
        let (y, saved) = Flatten.forward_train(x.view(), Key::new(0)).unwrap();
        assert_eq!(y, Array::from_shape_fn([2, 12], |(n, d)| (n * 100 + d) as f64).into_dyn());
        assert_eq!(Flatten.backward(saved, y.view()).unwrap().dx, x);
    }

    #[test]
    fn turned_views_and_empty_batches() {
        let x = Array::from_shape_fn([2, 3, 4], |(n, h, w)| (n * 12 + h * 4 + w) as f64).into_dyn();
        let y = Flatten.forward(x.view().permuted_axes(vec![0, 2, 1])).unwrap();
        assert_eq!(y[[1, 1]], x[[1, 1, 0]]);
        assert_eq!(Flatten.forward(ArrayD::<f32>::zeros(vec![0, 3, 4]).view()).unwrap().shape(), [0, 12]);
    }

    #[test]
    fn a_single_number_is_no_batch() {
        let error = Flatten.forward(ArrayD::<f32>::zeros(vec![]).view()).unwrap_err();
        assert_eq!(error.to_string(), "flatten: expected input [N, …], got []");
    }
}
