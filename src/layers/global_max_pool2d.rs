//! y[n,c] = max_{h,w} x[n,h,w,c]
//! x [N,H,W,C]  →  y [N,C]
//!
//! Ties go to the first, row by row. NaN wins.

use super::{Backward, Layer, Saved, entries, entries_mut, expect_gradient, pooling};
use crate::element::Element;
use crate::error::Result;
use crate::kernels::cpu::pool2d::{self, Pool2DShape};
use crate::random::Key;
use ndarray::{ArrayD, ArrayViewD};
use serde::{Deserialize, Serialize};

/// The largest number of each channel over the whole picture.
///
/// ```
/// use tapetum::prelude::*;
/// let x = ndarray::array![[[[1.0], [2.0]], [[4.0], [3.0]]]].into_dyn();
/// assert_eq!(GlobalMaxPool2D.forward(x.view())?, ndarray::array![[4.0]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct GlobalMaxPool2D;

impl GlobalMaxPool2D {
    /// The sizes for pictures [N, H, W, C]: one window as large as they are.
    pub(crate) fn shape(pictures: [usize; 4]) -> Result<Pool2DShape> {
        pooling::global_sizes("globalmaxpool2d", pictures)
    }
}

impl<E: Element> Layer<E> for GlobalMaxPool2D {
    fn kind(&self) -> &'static str {
        "GlobalMaxPool2D"
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let shape = Self::shape(pooling::picture("globalmaxpool2d", input)?)?;
        Ok(vec![shape.channels])
    }

    // One window as large as the picture.
    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        let shape = Self::shape(pooling::pictures("globalmaxpool2d", &x)?)?;
        let mut y = ArrayD::zeros(vec![shape.batch, shape.channels]);
        pool2d::max_forward(&shape, entries(&x.as_standard_layout()), entries_mut(&mut y), None);
        Ok(y)
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, _key: Key) -> Result<(ArrayD<E>, Saved)> {
        let shape = Self::shape(pooling::pictures("globalmaxpool2d", &x)?)?;
        let mut y = ArrayD::zeros(vec![shape.batch, shape.channels]);
        let mut argmax = vec![0; y.len()];
        pool2d::max_forward(&shape, entries(&x.as_standard_layout()), entries_mut(&mut y), Some(&mut argmax));
        Ok((y, Saved::new((shape, argmax))))
    }

    // dx is dy where x won, and 0 elsewhere.
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let (shape, argmax) = saved.take::<(Pool2DShape, Vec<u32>)>("globalmaxpool2d")?;
        expect_gradient("globalmaxpool2d", &dy, &[shape.batch, shape.channels])?;
        let mut dx = ArrayD::zeros(pooling::input(&shape).to_vec());
        pool2d::max_backward(&shape, &argmax, entries(&dy.as_standard_layout()), entries_mut(&mut dx));
        Ok(Backward::input_only(dx))
    }

    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(*self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn by_hand() {
        let x = array![[[[1.0, 4.0], [2.0, 0.0]], [[3.0, 0.0], [4.0, 0.0]]]].into_dyn();
        let (y, saved) = GlobalMaxPool2D.forward_train(x.view(), Key::new(0)).unwrap();
        assert_eq!(y, array![[4.0, 4.0]].into_dyn());
        assert_eq!(GlobalMaxPool2D.forward(x.view()).unwrap(), y);
        let dx = GlobalMaxPool2D.backward(saved, array![[8.0, 12.0]].into_dyn().view()).unwrap().dx;
        assert_eq!(dx, array![[[[0.0, 12.0], [0.0, 0.0]], [[0.0, 0.0], [8.0, 0.0]]]].into_dyn());
    }

    #[test]
    fn a_picture_without_pixels_is_an_error() {
        let error = GlobalMaxPool2D.forward(ArrayD::<f32>::zeros(vec![2, 0, 3, 4]).view()).unwrap_err();
        assert_eq!(error.to_string(), "globalmaxpool2d: expected pictures of at least one pixel, got [2, 0, 3, 4]");
        assert_eq!(GlobalMaxPool2D.forward(ArrayD::<f32>::zeros(vec![0, 2, 3, 4]).view()).unwrap().shape(), [0, 4]);
    }
}
