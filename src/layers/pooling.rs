//! What the pooling layers share: the checks between a window and the kernels.

use super::{expect_axes, expect_shape};
use crate::error::{Error, Result};
use crate::kernels::cpu::pool2d::Pool2DShape;
use crate::shape::{Padding, Pair, Window2D, volume};
use ndarray::ArrayViewD;

/// The axes of a sample, of any length.
const AXES: [(&str, Option<usize>); 3] = [("H", None), ("W", None), ("C", None)];

/// A window that is moved by its own size, without padding: Keras' default.
pub(super) fn window(size: impl Into<Pair>) -> Window2D {
    let window = Window2D::new(size);
    Window2D { stride: window.kernel, ..window }
}

/// [N, H, W, C] of the pictures `x`.
pub(super) fn pictures<E>(at: &str, x: &ArrayViewD<'_, E>) -> Result<[usize; 4]> {
    expect_axes(at, x, &AXES)?;
    Ok([x.shape()[0], x.shape()[1], x.shape()[2], x.shape()[3]])
}

/// [1, H, W, C] of one picture.
pub(super) fn picture(at: &str, shape: &[usize]) -> Result<[usize; 4]> {
    expect_shape(at, shape, &AXES)?;
    Ok([1, shape[0], shape[1], shape[2]])
}

/// The sizes of a pooling of pictures [N, H, W, C]; all settings are checked here.
pub(super) fn sizes(at: &str, window: &Window2D, [batch, h, w, channels]: [usize; 4]) -> Result<Pool2DShape> {
    if window.dilation != [1, 1] {
        return Err(Error::argument(at, "dilation", "1", format!("{:?}", window.dilation)));
    }
    let [kh, kw] = window.kernel;
    // Then each window sees at least one pixel, and the largest or mean of it is a number.
    if let Padding::Explicit { top, bottom, left, right } = window.padding
        && (top.max(bottom) >= kh.max(1) || left.max(right) >= kw.max(1))
    {
        let expected = format!("smaller than the window, {kh}×{kw}");
        return Err(Error::argument(at, "padding", expected, format!("{:?}", window.padding)));
    }
    let geometry = window.over(at, [h, w])?;
    if u32::try_from(geometry.taps()).is_err() {
        return Err(Error::argument(at, "window", "of fewer than 2³² pixels", format!("{kh}×{kw}")));
    }
    volume(at, &[batch, geometry.output[0], geometry.output[1], channels])?;
    Ok(Pool2DShape { batch, geometry, channels })
}

/// The same for one window as large as the pictures.
pub(super) fn global_sizes(at: &str, pictures: [usize; 4]) -> Result<Pool2DShape> {
    let [_, h, w, _] = pictures;
    if h == 0 || w == 0 {
        return Err(Error::shape(at, "pictures of at least one pixel", &pictures));
    }
    sizes(at, &Window2D::new((h, w)), pictures)
}

/// The shape of the pictures [N, H, W, C].
pub(super) fn input(sizes: &Pool2DShape) -> [usize; 4] {
    let [h, w] = sizes.geometry.input;
    [sizes.batch, h, w, sizes.channels]
}

/// The shape of the output [N, OH, OW, C].
pub(super) fn output(sizes: &Pool2DShape) -> [usize; 4] {
    let [oh, ow] = sizes.geometry.output;
    [sizes.batch, oh, ow, sizes.channels]
}
