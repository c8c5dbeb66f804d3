//! Pictures that lie on the device as bytes, each a little changed: `src/data/augment` on a GPU.

use super::call::{Parameter, THREADS};
use super::parameters::Divisor;
use super::{Gpu, Span};
use crate::error::Result;
use cudarc::driver::{DeviceRepr, ValidAsZeroBits};

/// What one picture undergoes; `struct Row` of augment.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    /// From a place of the result to that of the source, both (row, column, 1).
    pub matrix: [[f64; 3]; 2],
    /// Which one.
    pub picture: u32,
    /// 1: left and right are exchanged afterwards; 2: top and bottom.
    pub flips: u32,
    /// The factor of the values; 1 leaves them.
    pub brightness: f32,
    pub reserved: u32,
}

// SAFETY: numbers alone, without a gap, the same in CUDA.
unsafe impl DeviceRepr for Row {}
// SAFETY: all zeros are a row.
unsafe impl ValidAsZeroBits for Row {}

/// What is seen beyond the edges of a picture; see `FillMode`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fill {
    Nearest,
    Constant(f32),
    Reflect,
    Wrap,
}

/// `struct Fill` of augment.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct PassedFill {
    mode: i32,
    value: f32,
}

// SAFETY: `PassedFill` is laid out as there.
unsafe impl Parameter for Fill {
    type Passed = PassedFill;

    fn passed(self) -> PassedFill {
        let (mode, value) = match self {
            Self::Nearest => (0, 0.0),
            Self::Constant(value) => (1, value),
            Self::Reflect => (2, 0.0),
            Self::Wrap => (3, 0.0),
        };
        PassedFill { mode, value }
    }
}

/// `struct Source` of augment.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Source {
    pictures: u64,
    count: u32,
    height: i32,
    width: Divisor,
    channels: i32,
}

// SAFETY: laid out as there.
unsafe impl Parameter for Source {
    type Passed = Self;

    fn passed(self) -> Self {
        self
    }
}

/// Pictures, at most, of a launch.
const PICTURES: usize = 65_535;

/// Overwrites `x` [N, H, W, C] with the pictures that the step's row of `rows` [steps, N] names, as it says, on the scale
/// 0 to 255 times `rescale`. Of a picture number beyond the last one, the last one is taken.
#[expect(clippy::too_many_arguments, reason = "where pictures come from, what happens to them, and where they go")]
pub(crate) fn augment(
    gpu: &Gpu,
    pictures: Span<'_, u8>,
    rows: Span<'_, Row>,
    control: Span<'_, u32>,
    [n, h, w, c]: [usize; 4],
    fill: Fill,
    rescale: f32,
    x: Span<'_, f32>,
) -> Result<()> {
    let picture = h * w * c;
    assert!(x.len() == n * picture && x.len() <= i32::MAX as usize && n <= PICTURES && control.len() == 4);
    if x.len() == 0 {
        return Ok(());
    }
    // With zooms up to 1000, every place then fits in 2³¹ pixels.
    assert!(h.max(w) <= 1 << 16 && h * w <= i32::MAX as usize - THREADS);
    assert!(pictures.len() >= picture && pictures.len().is_multiple_of(picture));
    assert!(rows.len() >= n && rows.len().is_multiple_of(n) && rows.len() <= i32::MAX as usize);
    let count = u32::try_from(pictures.len() / picture).expect("fewer than 2³² pictures");
    let [height, channels] = [h, c].map(|size| size as i32);
    let source = Source { pictures: pictures.passed(), count, height, width: Divisor::new(w), channels };
    let call = gpu.call("augment", "augment")?.with(source).with(rows).with(control).size(rows.len() / n);
    let call = call.with(fill).with(rescale).with(x);
    // SAFETY: a thread writes one pixel of x; the kernel takes no row behind the last step's, no picture behind the last,
    // and of that only pixels inside.
    unsafe { call.launch([(h * w).div_ceil(THREADS), n, 1], THREADS) }
}
