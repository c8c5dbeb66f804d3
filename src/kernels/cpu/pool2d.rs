//! Max pooling and average pooling, channels last (thesis 3.8).

use crate::element::Element;
use crate::shape::Geometry2D;

/// The sizes of one pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool2DShape {
    /// N
    pub batch: usize,
    pub geometry: Geometry2D,
    /// C
    pub channels: usize,
}

/// y = max over the window; ties go to the first tap, NaN wins. Overwrites `y`, and `argmax` with the tap u·KW+v.
pub(crate) fn max_forward<E: Element>(shape: &Pool2DShape, x: &[E], y: &mut [E], argmax: Option<&mut [u32]>) {
    todo!("{shape:?} {} {} {:?}", x.len(), y.len(), argmax.map(|a| a.len()))
}

/// Overwrites `dx` with dy at the taps that won; windows that overlap add up.
pub(crate) fn max_backward<E: Element>(shape: &Pool2DShape, argmax: &[u32], dy: &[E], dx: &mut [E]) {
    todo!("{shape:?} {} {} {}", argmax.len(), dy.len(), dx.len())
}

/// y = mean over the window's taps inside the picture, or, with `count_pad`, over all but those that
/// hang over the padded border (`ceil_mode`). Overwrites `y`.
pub(crate) fn average_forward<E: Element>(shape: &Pool2DShape, count_pad: bool, x: &[E], y: &mut [E]) {
    todo!("{shape:?} {count_pad} {} {}", x.len(), y.len())
}

/// Overwrites `dx`: each tap inside the picture gets its share of dy; windows that overlap add up.
pub(crate) fn average_backward<E: Element>(shape: &Pool2DShape, count_pad: bool, dy: &[E], dx: &mut [E]) {
    todo!("{shape:?} {count_pad} {} {}", dy.len(), dx.len())
}
