//! y[n,i,j,c] = max_{u,v} x[n, i·s+u−p, j·s+v−p, c]
//! x [N,H,W,C]  →  y [N,OH,OW,C]     (thesis 3.8)
//!
//! Padding never wins. Ties go to the first, row by row. NaN wins.

use super::{Backward, Layer, Saved, entries, entries_mut, expect_gradient, pooling};
use crate::element::Element;
use crate::error::Result;
use crate::kernels::cpu::pool2d::{self, Pool2DShape};
use crate::random::Key;
use crate::shape::{Padding, Pair, Window2D};
use ndarray::{ArrayD, ArrayViewD};
use serde::{Deserialize, Serialize};

/// The largest number of each window, channel by channel (thesis 3.8).
///
/// The stride is the window's size and there is no padding, unless set otherwise, as in Keras.
///
/// ```
/// use tapetum::prelude::*;
/// let x = ndarray::array![[1.0, 2.0, 5.0, 0.0], [4.0, 3.0, 0.0, 6.0]];
/// let y = MaxPool2D::new(2).forward(x.to_shape([1, 2, 4, 1]).unwrap().into_dyn().view())?;
/// assert_eq!(y, ndarray::array![[[[4.0], [6.0]]]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct MaxPool2D {
    #[serde(flatten)]
    window: Window2D,
}

impl MaxPool2D {
    /// With a window of `window` pixels.
    pub fn new(window: impl Into<Pair>) -> Self {
        Self { window: pooling::window(window) }
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

    /// The sizes for pictures [N, H, W, C].
    pub(crate) fn shape(&self, pictures: [usize; 4]) -> Result<Pool2DShape> {
        pooling::sizes("maxpool2d", &self.window, pictures)
    }
}

impl<E: Element> Layer<E> for MaxPool2D {
    fn kind(&self) -> &'static str {
        "MaxPool2D"
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let shape = self.shape(pooling::picture("maxpool2d", input)?)?;
        Ok(pooling::output(&shape)[1..].to_vec())
    }

    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        let shape = self.shape(pooling::pictures("maxpool2d", &x)?)?;
        let mut y = ArrayD::zeros(pooling::output(&shape).to_vec());
        pool2d::max_forward(&shape, entries(&x.as_standard_layout()), entries_mut(&mut y), None);
        Ok(y)
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, _key: Key) -> Result<(ArrayD<E>, Saved)> {
        let shape = self.shape(pooling::pictures("maxpool2d", &x)?)?;
        let mut y = ArrayD::zeros(pooling::output(&shape).to_vec());
        let mut argmax = vec![0; y.len()];
        pool2d::max_forward(&shape, entries(&x.as_standard_layout()), entries_mut(&mut y), Some(&mut argmax));
        Ok((y, Saved::new((shape, argmax))))
    }

    // dx is dy where x won, and 0 elsewhere; where windows overlap, their shares add up.
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let (shape, argmax) = saved.take::<(Pool2DShape, Vec<u32>)>("maxpool2d")?;
        expect_gradient("maxpool2d", &dy, &pooling::output(&shape))?;
        let mut dx = ArrayD::zeros(pooling::input(&shape).to_vec());
        pool2d::max_backward(&shape, &argmax, entries(&dy.as_standard_layout()), entries_mut(&mut dx));
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
    use ndarray::{Array, array};

    /// Rows of one picture with one channel.
    fn picture<const H: usize, const W: usize>(rows: [[f64; W]; H]) -> ArrayD<f64> {
        Array::from_shape_fn([1, H, W, 1], |(_, h, w, _)| rows[h][w]).into_dyn()
    }

    fn gradient(pool: MaxPool2D, x: ArrayD<f64>, dy: ArrayD<f64>) -> ArrayD<f64> {
        let (_, saved) = pool.forward_train(x.view(), Key::new(0)).unwrap();
        pool.backward(saved, dy.view()).unwrap().dx
    }

    #[test]
    fn overlapping_windows_add_up() {
        let x = picture([[1.0, 9.0, 2.0], [3.0, 4.0, 5.0]]);
        let pool = MaxPool2D::new((1, 2)).stride(1);
        assert_eq!(pool.forward(x.view()).unwrap(), picture([[9.0, 9.0], [4.0, 5.0]]));
        assert_eq!(
            gradient(pool, x, picture([[1.0, 10.0], [2.0, 20.0]])),
            picture([[0.0, 11.0, 0.0], [0.0, 2.0, 20.0]])
        );
    }

    #[test]
    fn ties_go_to_the_first_and_nan_wins() {
        let x = picture([[7.0, 7.0], [7.0, 7.0]]);
        assert_eq!(gradient(MaxPool2D::new(2), x, picture([[5.0]])), picture([[5.0, 0.0], [0.0, 0.0]]));
        let x = picture([[1.0, f64::NAN], [f64::INFINITY, 2.0]]);
        assert!(MaxPool2D::new(2).forward(x.view()).unwrap()[[0, 0, 0, 0]].is_nan());
        assert_eq!(gradient(MaxPool2D::new(2), x, picture([[5.0]])), picture([[0.0, 5.0], [0.0, 0.0]]));
    }

    #[test]
    fn padding_never_wins_and_ceil_mode_keeps_the_rest() {
        let x = picture([[-1.0, -2.0, -3.0]]);
        let same = MaxPool2D::new(2).padding(Padding::Same);
        assert_eq!(same.forward(x.view()).unwrap(), picture([[-1.0, -3.0]]));
        let row = MaxPool2D::new((1, 2));
        assert_eq!(row.forward(x.view()).unwrap(), picture([[-1.0]]));
        assert_eq!(row.ceil_mode(true).forward(x.view()).unwrap(), picture([[-1.0, -3.0]]));
    }

    #[test]
    fn an_empty_batch_passes() {
        let pool = MaxPool2D::new(2);
        let (y, saved) = pool.forward_train(ArrayD::<f32>::zeros(vec![0, 4, 4, 3]).view(), Key::new(0)).unwrap();
        assert_eq!(y.shape(), [0, 2, 2, 3]);
        assert_eq!(pool.backward(saved, y.view()).unwrap().dx.shape(), [0, 4, 4, 3]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let message =
            |pool: MaxPool2D, input: &[usize]| Layer::<f64>::output_shape(&pool, input).unwrap_err().to_string();
        let large = "maxpool2d: kernel must be at most the padded input's height, 2, got 3";
        assert_eq!(message(MaxPool2D::new(3), &[2, 5, 1]), large);
        assert_eq!(message(MaxPool2D::new(2), &[6]), "maxpool2d: expected input [H, W, C], got [6]");
        assert!(
            message(MaxPool2D::new(2).padding(Padding::all(2)), &[6, 6, 1]).contains("smaller than the window, 2×2")
        );
        assert!(message(MaxPool2D::new(0), &[6, 6, 1]).contains("at least 1, got 0"));
        let error = MaxPool2D::new(2).backward(Saved::new(()), picture([[1.0]]).view()).unwrap_err();
        assert!(error.to_string().starts_with("maxpool2d: saved must be"));
        assert!(MaxPool2D::new(2).forward(array![[1.0]].into_dyn().view()).is_err());
    }
}
