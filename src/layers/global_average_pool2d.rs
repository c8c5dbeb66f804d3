//! y[n,c] = Σ_{h,w} x[n,h,w,c] / (H·W)
//! x [N,H,W,C]  →  y [N,C]

use super::{Backward, Layer, Saved, entries, entries_mut, expect_gradient, pooling};
use crate::element::Element;
use crate::error::Result;
use crate::kernels::cpu::pool2d::{self, Pool2DShape};
use crate::random::Key;
use ndarray::{ArrayD, ArrayViewD};
use serde::{Deserialize, Serialize};

/// The mean of each channel over the whole picture (Lin et al., arXiv:1312.4400).
///
/// ```
/// use tapetum::prelude::*;
/// let x = ndarray::array![[[[1.0], [2.0]], [[4.0], [3.0]]]].into_dyn();
/// assert_eq!(GlobalAveragePool2D.forward(x.view())?, ndarray::array![[2.5]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct GlobalAveragePool2D;

impl GlobalAveragePool2D {
    /// The sizes for pictures [N, H, W, C]: one window as large as they are.
    pub(crate) fn shape(pictures: [usize; 4]) -> Result<Pool2DShape> {
        pooling::global_sizes("globalaveragepool2d", pictures)
    }
}

impl<E: Element> Layer<E> for GlobalAveragePool2D {
    fn kind(&self) -> &'static str {
        "GlobalAveragePool2D"
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let shape = Self::shape(pooling::picture("globalaveragepool2d", input)?)?;
        Ok(vec![shape.channels])
    }

    // One window as large as the picture.
    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        let shape = Self::shape(pooling::pictures("globalaveragepool2d", &x)?)?;
        let mut y = ArrayD::zeros(vec![shape.batch, shape.channels]);
        pool2d::average_forward(&shape, false, entries(&x.as_standard_layout()), entries_mut(&mut y));
        Ok(y)
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, _key: Key) -> Result<(ArrayD<E>, Saved)> {
        let shape = Self::shape(pooling::pictures("globalaveragepool2d", &x)?)?;
        Ok((self.forward(x)?, Saved::new(shape)))
    }

    // dx[n,h,w,c] = dy[n,c] / (H·W)
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let shape = saved.take::<Pool2DShape>("globalaveragepool2d")?;
        expect_gradient("globalaveragepool2d", &dy, &[shape.batch, shape.channels])?;
        let mut dx = ArrayD::zeros(pooling::input(&shape).to_vec());
        pool2d::average_backward(&shape, false, entries(&dy.as_standard_layout()), entries_mut(&mut dx));
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
        let (y, saved) = GlobalAveragePool2D.forward_train(x.view(), Key::new(0)).unwrap();
        assert_eq!(y, array![[2.5, 1.0]].into_dyn());
        assert_eq!(GlobalAveragePool2D.forward(x.view()).unwrap(), y);
        let dx = GlobalAveragePool2D.backward(saved, array![[8.0, 12.0]].into_dyn().view()).unwrap().dx;
        assert_eq!(dx, array![[[[2.0, 3.0], [2.0, 3.0]], [[2.0, 3.0], [2.0, 3.0]]]].into_dyn());
    }

    #[test]
    fn a_picture_without_pixels_is_an_error() {
        let error = GlobalAveragePool2D.forward(ArrayD::<f32>::zeros(vec![2, 0, 3, 4]).view()).unwrap_err();
        assert_eq!(error.to_string(), "globalaveragepool2d: expected pictures of at least one pixel, got [2, 0, 3, 4]");
        assert_eq!(GlobalAveragePool2D.forward(ArrayD::<f32>::zeros(vec![0, 2, 3, 4]).view()).unwrap().shape(), [0, 4]);
    }
}
