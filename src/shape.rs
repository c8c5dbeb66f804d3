//! The axis legend, and the arithmetic of windows that slide over a picture.
//!
//! N batch · H, W input height and width · C input channels · OH, OW output height and width ·
//! F output channels (filters) · KH, KW kernel height and width · D features. Tensors are channels last.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How many entries a tensor of this shape has; an error where that could not be held in memory.
pub(crate) fn volume(at: &str, shape: &[usize]) -> Result<usize> {
    shape
        .iter()
        .try_fold(1usize, |product, &axis| product.checked_mul(axis))
        .filter(|&entries| entries <= isize::MAX as usize / 8)
        .ok_or_else(|| Error::shape(at, "a shape that fits in memory", shape))
}

/// Zeros around a picture (the P of equations 4 and 5).
///
/// ```
/// use tapetum::prelude::*;
/// let output = |padding| Conv2D::<f32>::new(8, 3).padding(padding).output_shape(&[64, 64, 3]);
/// assert_eq!(output(Padding::Valid)?, [62, 62, 8]);
/// assert_eq!(output(Padding::Same)?, [64, 64, 8]);
/// assert_eq!(output(Padding::all(2))?, [66, 66, 8]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// None: only windows that lie inside the picture count.
    #[default]
    Valid,
    /// So much that the output is ⌈input / stride⌉; where it is odd, the extra row or column comes last (as in Keras).
    Same,
    /// Given for each side.
    Explicit {
        /// Rows above.
        top: usize,
        /// Rows below.
        bottom: usize,
        /// Columns to the left.
        left: usize,
        /// Columns to the right.
        right: usize,
    },
}

impl Padding {
    /// `p` rows and columns on every side (PyTorch's `padding=p`).
    pub fn all(p: usize) -> Self {
        Self::Explicit { top: p, bottom: p, left: p, right: p }
    }
}

/// One number for both axes, or height and width on their own.
///
/// ```
/// use tapetum::Pair;
/// use tapetum::prelude::*;
/// assert_eq!(Pair::from(3), Pair(3, 3));
/// assert_eq!(Window2D::new((2, 5)).kernel, [2, 5]); // whatever becomes a pair will do
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair(
    /// Along the height.
    pub usize,
    /// Along the width.
    pub usize,
);

impl From<usize> for Pair {
    fn from(both: usize) -> Self {
        Self(both, both)
    }
}

impl From<(usize, usize)> for Pair {
    fn from((height, width): (usize, usize)) -> Self {
        Self(height, width)
    }
}

impl From<[usize; 2]> for Pair {
    fn from([height, width]: [usize; 2]) -> Self {
        Self(height, width)
    }
}

impl From<Pair> for [usize; 2] {
    fn from(Pair(height, width): Pair) -> Self {
        [height, width]
    }
}

/// A window that slides over pictures: the settings of a convolution or pooling.
///
/// ```
/// use tapetum::prelude::*;
/// let pooling = Window2D { stride: [2, 2], ..Window2D::new(2) };
/// assert_eq!(pooling.over("pooling", [29, 29])?.output, [14, 14]);
/// assert_eq!(Window2D { ceil_mode: true, ..pooling }.over("pooling", [29, 29])?.output, [15, 15]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window2D {
    /// Height and width of the window, in taps.
    pub kernel: [usize; 2],
    /// Steps from one window to the next.
    pub stride: [usize; 2],
    /// Distance between neighbouring taps; 1 for a dense window.
    pub dilation: [usize; 2],
    /// Zeros around the picture.
    pub padding: Padding,
    /// Also keep a last window that hangs over the border (pooling only).
    pub ceil_mode: bool,
}

impl Window2D {
    /// A dense window with stride 1 and no padding.
    pub fn new(kernel: impl Into<Pair>) -> Self {
        Self {
            kernel: kernel.into().into(),
            stride: [1, 1],
            dilation: [1, 1],
            padding: Padding::Valid,
            ceil_mode: false,
        }
    }

    /// This window over pictures of one size: equations 4 and 5.
    pub fn over(&self, at: &str, input: [usize; 2]) -> Result<Geometry2D> {
        let [(oh, top, bottom), (ow, left, right)] = [self.axis(at, 0, input[0])?, self.axis(at, 1, input[1])?];
        Ok(Geometry2D {
            input,
            output: [oh, ow],
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            before: [top, left],
            after: [bottom, right],
        })
    }

    /// Output size, padding before and padding after, along one axis.
    fn axis(&self, at: &str, axis: usize, input: usize) -> Result<(usize, usize, usize)> {
        let (kernel, stride, dilation) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
        for (argument, value) in [("kernel", kernel), ("stride", stride), ("dilation", dilation)] {
            if value == 0 {
                return Err(Error::argument(at, argument, "at least 1", value));
            }
        }
        let too_large = |argument, value| Error::argument(at, argument, "a size that fits in memory", value);
        // A kernel of F taps at distance d covers (F − 1)·d + 1 rows.
        let extent = (kernel - 1).checked_mul(dilation).and_then(|last| last.checked_add(1));
        let extent = extent.ok_or_else(|| too_large("kernel", kernel))?;
        let (before, after) = match (self.padding, axis) {
            (Padding::Valid, _) => (0, 0),
            (Padding::Same, _) => {
                let steps = (input.div_ceil(stride)).saturating_sub(1);
                let total = (steps * stride).saturating_add(extent).saturating_sub(input);
                (total / 2, total - total / 2)
            }
            (Padding::Explicit { top, bottom, .. }, 0) => (top, bottom),
            (Padding::Explicit { left, right, .. }, _) => (left, right),
        };
        let padded = before
            .checked_add(after)
            .and_then(|padding| padding.checked_add(input))
            .filter(|&padded| padded <= u32::MAX as usize)
            .ok_or_else(|| too_large("padding", before.max(after)))?;
        if input == 0 || extent > padded {
            let axis = ["height", "width"][axis];
            return Err(Error::argument(at, "kernel", format!("at most the padded input's {axis}, {padded}"), extent));
        }
        // The thesis' (H − F + 2P)/S + 1; it says nothing of a remainder: the floor.
        let mut output = (padded - extent) / stride + 1;
        // A window that begins beyond the input and its leading padding would see nothing at all.
        if self.ceil_mode && (padded - extent) % stride != 0 && output * stride < input + before {
            output += 1;
        }
        Ok((output, before, after))
    }
}

/// A window over pictures of one size: which input pixel each tap of each output pixel meets.
///
/// ```
/// use tapetum::prelude::*;
/// let window = Window2D { padding: Padding::all(1), ..Window2D::new(3) };
/// let geometry = window.over("window", [4, 5])?;
/// assert_eq!((geometry.pixels(), geometry.taps()), (4 * 5, 3 * 3));
/// assert_eq!(geometry.meets(0, 0, 0), None); // the first tap of the first output lies above the picture
/// assert_eq!(geometry.meets(0, 0, 1), Some(0));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry2D {
    /// H, W
    pub input: [usize; 2],
    /// OH, OW
    pub output: [usize; 2],
    /// KH, KW
    pub kernel: [usize; 2],
    /// Steps from one window to the next.
    pub stride: [usize; 2],
    /// Distance between neighbouring taps.
    pub dilation: [usize; 2],
    /// Zeros above and to the left.
    pub before: [usize; 2],
    /// Zeros below and to the right.
    pub after: [usize; 2],
}

impl Geometry2D {
    /// The input index i·s + u·d − p that tap `tap` of output `out` meets along `axis`, if it is not padding.
    #[inline]
    pub fn meets(&self, axis: usize, out: usize, tap: usize) -> Option<usize> {
        (out * self.stride[axis] + tap * self.dilation[axis])
            .checked_sub(self.before[axis])
            .filter(|&index| index < self.input[axis])
    }

    /// Pixels of the output picture: OH·OW.
    pub fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Taps of the window: KH·KW.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(window: Window2D, input: [usize; 2]) -> [usize; 2] {
        window.over("window", input).unwrap().output
    }

    #[test]
    fn the_thesis_network() {
        assert_eq!(outputs(Window2D::new(3), [64, 64]), [62, 62]);
        let pool = Window2D { stride: [2, 2], ..Window2D::new(2) };
        assert_eq!(outputs(pool, [62, 62]), [31, 31]);
        assert_eq!(outputs(pool, [29, 29]), [14, 14]);
        assert_eq!(outputs(Window2D { ceil_mode: true, ..pool }, [29, 29]), [15, 15]);
    }

    #[test]
    fn same_keeps_the_size_and_pads_the_end_first() {
        let same = Window2D { padding: Padding::Same, stride: [2, 1], ..Window2D::new((2, 3)) };
        let geometry = same.over("window", [5, 4]).unwrap();
        assert_eq!((geometry.output, geometry.before, geometry.after), ([3, 4], [0, 1], [1, 1]));
    }

    #[test]
    fn meets_skips_the_padding() {
        let window = Window2D { padding: Padding::all(1), dilation: [2, 1], ..Window2D::new((2, 3)) };
        let geometry = window.over("window", [4, 4]).unwrap();
        assert_eq!([geometry.meets(0, 0, 0), geometry.meets(0, 0, 1)], [None, Some(1)]);
        assert_eq!([geometry.meets(1, 3, 1), geometry.meets(1, 3, 2)], [Some(3), None]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let large = Window2D { dilation: [usize::MAX, 1], ..Window2D::new(3) };
        assert!(large.over("window", [4, 4]).is_err());
        assert!(Window2D { kernel: [2, 2], ..large }.over("window", [4, 4]).is_err());
        assert!(Window2D::new(5).over("window", [4, 9]).is_err());
        assert!(Window2D::new(0).over("window", [4, 9]).is_err());
        assert!(Window2D { stride: [0, 1], ..Window2D::new(1) }.over("window", [4, 4]).is_err());
        assert!(Window2D { padding: Padding::all(usize::MAX), ..Window2D::new(1) }.over("window", [4, 4]).is_err());
        let message = Window2D::new(5).over("conv2d_1", [4, 9]).unwrap_err().to_string();
        assert_eq!(message, "conv2d_1: kernel must be at most the padded input's height, 4, got 5");
    }
}
