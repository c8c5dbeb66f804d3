//! Max pooling and average pooling, channels last (thesis 3.8).

use super::call::THREADS;
use super::columns::Columns;
use super::windows::{Windows, sizes};
use super::{Call, Gpu, Span};
use crate::error::Result;
use crate::kernels::cpu::pool2d::Pool2DShape;
use crate::kernels::cpu::tail::Tail;

/// y = max over the window's taps inside the picture; ties go to the first, NaN wins. Overwrites `y`, and `taps` with
/// the tap u·KW+v. A window that sees nothing of the picture gives −∞ and tap 0.
pub(crate) fn max_forward(
    gpu: &Gpu,
    shape: &Pool2DShape,
    x: Span<'_, f32>,
    y: Span<'_, f32>,
    taps: Option<Span<'_, u32>>,
) -> Result<()> {
    check(shape, x, y);
    assert!(taps.is_none_or(|taps| taps.len() == y.len()));
    let taps = taps.unwrap_or(Span::none());
    if let Some(of) = global(shape) {
        let call = gpu.call("pool2d", "pool2d_global_max")?.with(of).with(x).with(y).with(taps);
        // SAFETY: see `launch_global`; there are as many taps as outputs, or none.
        return unsafe { launch_global(call, shape, of) };
    }
    let call = gpu.call("pool2d", "pool2d_max")?.with(Windows::from(shape)).with(x).with(y).with(taps).size(y.len());
    // SAFETY: a thread writes one number, and reads those of its window that lie in the picture.
    unsafe { call.for_each(y.len()) }
}

/// Overwrites `dx` with dy at the taps that won; windows that overlap add up.
pub(crate) fn max_backward(
    gpu: &Gpu,
    shape: &Pool2DShape,
    taps: Span<'_, u32>,
    dy: Span<'_, f32>,
    dx: Span<'_, f32>,
) -> Result<()> {
    check(shape, dx, dy);
    assert_eq!(taps.len(), dy.len());
    let call = gpu.call("pool2d", "pool2d_max_gradient")?.with(Windows::from(shape));
    let call = call.with(taps).with(dy).with(dx).size(dx.len());
    // SAFETY: a thread writes one number, and reads the outputs whose windows it lies in.
    unsafe { call.for_each(dx.len()) }
}

/// y = mean over the window's taps inside the picture, or, with `count_pad`, over all but those that hang over the padded
/// border. Overwrites `y`. A window that sees nothing gives 0.
pub(crate) fn average_forward(
    gpu: &Gpu,
    shape: &Pool2DShape,
    count_pad: bool,
    x: Span<'_, f32>,
    y: Span<'_, f32>,
) -> Result<()> {
    check(shape, x, y);
    if let Some(of) = global(shape) {
        let call = gpu.call("pool2d", "pool2d_global_average")?.with(of).with(x).with(y);
        // SAFETY: see `launch_global`.
        return unsafe { launch_global(call, shape, of) };
    }
    let call = gpu.call("pool2d", "pool2d_average")?.with(Windows::from(shape)).with(i32::from(count_pad));
    let call = call.with(x).with(y).size(y.len());
    // SAFETY: as in `max_forward`.
    unsafe { call.for_each(y.len()) }
}

/// Overwrites `dx`: each tap inside the picture gets its share of dy; windows that overlap add up.
pub(crate) fn average_backward(
    gpu: &Gpu,
    shape: &Pool2DShape,
    count_pad: bool,
    dy: Span<'_, f32>,
    dx: Span<'_, f32>,
) -> Result<()> {
    check(shape, dx, dy);
    let call = gpu.call("pool2d", "pool2d_average_gradient")?.with(Windows::from(shape)).with(i32::from(count_pad));
    let call = call.with(dy).with(dx).size(dx.len());
    // SAFETY: as in `max_backward`.
    unsafe { call.for_each(dx.len()) }
}

/// y = f(max over the window), or f(x) without a pooling: what follows a convolution. Overwrites `y` [N, PH, PW, C], and
/// `winners`, which go with a pooling, with the tap u·KW+v, or `NO_TAP` where nobody won.
pub(crate) fn tail(
    gpu: &Gpu,
    tail: &Tail,
    [n, h, w, c]: [usize; 4],
    x: Span<'_, f32>,
    y: Span<'_, f32>,
    winners: Option<Span<'_, u8>>,
) -> Result<()> {
    let Some(geometry) = tail.pool else {
        assert!(x.len() == n * h * w * c && winners.is_none());
        return super::activation::apply(gpu, tail.activation, x, y);
    };
    let shape = Pool2DShape { batch: n, geometry, channels: c };
    check(&shape, x, y);
    assert!(geometry.input == [h, w] && Tail::takes(&geometry));
    assert!(winners.is_none_or(|winners| winners.len() == y.len()));
    let call = gpu.call("pool2d", "pool2d_tail")?.with(Windows::from(&shape)).with(tail.activation);
    let call = call.with(x).with(y).with(winners.unwrap_or(Span::none())).size(y.len());
    // SAFETY: as in `max_forward`; there are as many winners as outputs, or none.
    unsafe { call.for_each(y.len()) }
}

fn check(shape: &Pool2DShape, x: Span<'_, f32>, y: Span<'_, f32>) {
    assert_eq!([x.len(), y.len()], sizes(shape));
    assert!(x.len() <= i32::MAX as usize, "kernels count in 31 bits");
}

/// A picture as a matrix [H·W, C], where there is one window for all of it.
fn global(shape: &Pool2DShape) -> Option<Columns> {
    shape.is_global().then(|| Columns::whole([shape.geometry.taps(), shape.channels]))
}

/// Launches blocks for each picture.
///
/// # Safety
/// `call` is a kernel that reads a picture `of` of x, and writes its row of y.
unsafe fn launch_global(call: Call<'_>, shape: &Pool2DShape, of: Columns) -> Result<()> {
    // SAFETY: handed on to the caller; x and y have so many pictures.
    unsafe { call.launch([shape.batch, of.tiles(), 1], THREADS) }
}
