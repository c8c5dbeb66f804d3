//! y[n,i,j,c] = mean_{u,v} x[n, i·s+u−p, j·s+v−p, c]
//! x [N,H,W,C]  →  y [N,OH,OW,C]     (thesis 3.8)

use super::{Backward, Layer, Saved, entries, entries_mut, expect_gradient, pooling};
use crate::element::Element;
use crate::error::Result;
use crate::kernels::cpu::pool2d::{self, Pool2DShape};
use crate::random::Key;
use crate::shape::{Padding, Pair, Window2D};
use ndarray::{ArrayD, ArrayViewD};
use serde::{Deserialize, Serialize};

/// The mean of each window, channel by channel (thesis 3.8).
///
/// The stride is the window's size and there is no padding, unless set otherwise, as in Keras.
///
/// ```
/// use tapetum::prelude::*;
/// let x = ndarray::array![[1.0, 2.0, 5.0, 0.0], [4.0, 3.0, 0.0, 7.0]];
/// let y = AveragePool2D::new(2).forward(x.to_shape([1, 2, 4, 1]).unwrap().into_dyn().view())?;
/// assert_eq!(y, ndarray::array![[[[2.5], [3.0]]]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct AveragePool2D {
    #[serde(flatten)]
    window: Window2D,
    count_include_pad: bool,
}

impl AveragePool2D {
    /// With a window of `window` pixels.
    pub fn new(window: impl Into<Pair>) -> Self {
        Self { window: pooling::window(window), count_include_pad: false }
    }

    /// Steps from one window to the next.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.window.stride = stride.into().into();
        self
    }

    /// A border around the picture, narrower than the window.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.window.padding = padding;
        self
    }

    /// Also keep a last window that hangs over the border, as PyTorch's `ceil_mode`.
    pub fn ceil_mode(mut self, yes: bool) -> Self {
        self.window.ceil_mode = yes;
        self
    }

    /// Whether padding counts as zeros in the mean. By default it does not, as in Keras; PyTorch's default is that
    /// it does. What hangs over the padded border (`ceil_mode`) never counts.
    pub fn count_include_pad(mut self, yes: bool) -> Self {
        self.count_include_pad = yes;
        self
    }

    pub(crate) fn counts_padding(&self) -> bool {
        self.count_include_pad
    }

    /// The sizes for pictures [N, H, W, C].
    pub(crate) fn shape(&self, pictures: [usize; 4]) -> Result<Pool2DShape> {
        pooling::sizes("averagepool2d", &self.window, pictures)
    }
}

impl<E: Element> Layer<E> for AveragePool2D {
    fn kind(&self) -> &'static str {
        "AveragePool2D"
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let shape = self.shape(pooling::picture("averagepool2d", input)?)?;
        Ok(pooling::output(&shape)[1..].to_vec())
    }

    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        let shape = self.shape(pooling::pictures("averagepool2d", &x)?)?;
        let mut y = ArrayD::zeros(pooling::output(&shape).to_vec());
        let x = x.as_standard_layout();
        pool2d::average_forward(&shape, self.count_include_pad, entries(&x), entries_mut(&mut y));
        Ok(y)
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, _key: Key) -> Result<(ArrayD<E>, Saved)> {
        let shape = self.shape(pooling::pictures("averagepool2d", &x)?)?;
        Ok((self.forward(x)?, Saved::new(shape)))
    }

    // Each of the window's m pixels gets dy / m; where windows overlap, their shares add up.
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let shape = saved.take::<Pool2DShape>("averagepool2d")?;
        expect_gradient("averagepool2d", &dy, &pooling::output(&shape))?;
        let mut dx = ArrayD::zeros(pooling::input(&shape).to_vec());
        let dy = dy.as_standard_layout();
        pool2d::average_backward(&shape, self.count_include_pad, entries(&dy), entries_mut(&mut dx));
        Ok(Backward::input_only(dx))
    }

    fn config(&self) -> serde_json::Value {
        super::config_of(self)
    }

    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(*self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array;

    /// One picture with one row and one channel.
    fn row<const W: usize>(row: [f64; W]) -> ArrayD<f64> {
        Array::from_shape_fn([1, 1, W, 1], |(_, _, w, _)| row[w]).into_dyn()
    }

    #[test]
    fn padding_counts_only_if_told_so() {
        let x = row([2.0, 4.0, 6.0]);
        let sides = Padding::Explicit { top: 0, bottom: 0, left: 1, right: 1 };
        let pool = AveragePool2D::new((1, 2)).padding(sides).ceil_mode(true);
        assert_eq!(pool.forward(x.view()).unwrap(), row([2.0, 5.0]));
        assert_eq!(pool.count_include_pad(true).forward(x.view()).unwrap(), row([1.0, 5.0]));
        // [4, 6, pad] counts its pad, and what hangs over the pad counts never.
        let wide = AveragePool2D::new((1, 3)).stride(2).padding(sides).ceil_mode(true).count_include_pad(true);
        assert_eq!(wide.forward(row([3.0, 6.0]).view()).unwrap(), row([3.0, 3.0]));
    }

    #[test]
    fn gradients_by_hand() {
        let pool = AveragePool2D::new((1, 2)).stride(1);
        let (y, saved) = pool.forward_train(row([1.0, 3.0, 7.0]).view(), Key::new(0)).unwrap();
        assert_eq!(y, row([2.0, 5.0]));
        assert_eq!(pool.backward(saved, row([2.0, 20.0]).view()).unwrap().dx, row([1.0, 11.0, 10.0]));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let error = AveragePool2D::new(2).forward(row([1.0, 2.0]).view()).unwrap_err();
        assert_eq!(error.to_string(), "averagepool2d: kernel must be at most the padded input's height, 1, got 2");
    }
}
