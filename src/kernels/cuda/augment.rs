//! Pictures that lie on the device as bytes, each a little changed: `src/data/augment` on a GPU.

use super::call::{Parameter, THREADS, as_it_is};
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

as_it_is!(Source);

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

#[cfg(test)]
mod tests {
    use super::super::Buffer;
    use super::super::testing::{gpu, poisoned, same_bits};
    use super::*;
    use crate::data::{Augmentation, FillMode};
    use crate::random::Key;

    /// Five drawn pictures, for a batch in the second of two steps.
    struct Case {
        augmentation: Augmentation,
        shape: [usize; 3],
        rescale: f32,
        pictures: Vec<u8>,
        /// The picture of each row, and its key.
        drawn: Vec<(u32, Key)>,
    }

    impl Case {
        fn new(seed: u64, augmentation: Augmentation, shape: [usize; 3], n: usize, rescale: f32) -> Self {
            let key = Key::new(seed).named("augment");
            let mut random = key.stream();
            let pictures = (0..5 * shape.iter().product::<usize>()).map(|_| random.below(256) as u8).collect();
            let drawn = (0..n).map(|at| (random.below(5) as u32, key.at(at as u64))).collect();
            Self { augmentation, shape, rescale, pictures, drawn }
        }

        fn found(&self) -> Vec<f32> {
            let (gpu, n, [h, w, c]) = (gpu(), self.drawn.len(), self.shape);
            let rows = self.drawn.iter().map(|&(picture, key)| self.augmentation.row(self.shape, key, picture));
            let nothing = Row { matrix: [[0.0; 3]; 2], picture: 0, flips: 0, brightness: 0.0, reserved: 0 };
            let rows: Vec<_> = vec![nothing; n].into_iter().chain(rows).collect();
            let (rows, pictures) = (Buffer::of(&gpu, &rows).unwrap(), Buffer::of(&gpu, &self.pictures).unwrap());
            let control = Buffer::of(&gpu, &[1u32, 0, 0, 0]).unwrap();
            same_bits(|| {
                let x = poisoned(&gpu, n * h * w * c);
                let (fill, rescale) = (self.augmentation.fill(), self.rescale);
                augment(&gpu, pictures.span(), rows.span(), control.span(), [n, h, w, c], fill, rescale, x.span())
                    .unwrap();
                x.read(&gpu).unwrap()
            })
        }

        /// The same by `Augmentation::apply`.
        fn expected(&self) -> Vec<f32> {
            let size = self.shape.iter().product::<usize>();
            let picture = |&(picture, key): &(u32, Key)| {
                let mut out = vec![f32::NAN; size];
                let source = &self.pictures[picture as usize * size..][..size];
                self.augmentation.apply(source, self.shape, key, &mut out).unwrap();
                out
            };
            self.drawn.iter().flat_map(picture).map(|value| value * self.rescale).collect()
        }
    }

    #[test]
    fn pictures_are_those_of_the_cpu() {
        let modes = [FillMode::Nearest, FillMode::Constant(7.0), FillMode::Reflect, FillMode::Wrap];
        let shapes =
            [[12, 17, 3], [16, 16, 3], [9, 9, 1], [6, 7, 4], [1, 1, 3], [1, 8, 3], [7, 1, 2], [300, 1, 1], [2, 300, 3]];
        for (seed, shape) in (0..4).flat_map(|seed| shapes.map(|shape| (seed, shape))) {
            for mode in modes {
                let drawn = Augmentation::default().rotation(90.0).shear(20.0).zoom_between(0.3, 2.0);
                let drawn = drawn.width_shift(0.5).height_shift(0.5).horizontal_flip(true).vertical_flip(true);
                let drawn = if seed % 2 == 0 { drawn } else { drawn.brightness(0.5, 2.0) };
                let case = Case::new(seed, drawn.fill_mode(mode), shape, 3, 1.0);
                for (at, (found, expected)) in case.found().into_iter().zip(case.expected()).enumerate() {
                    // A few units in the last place of 255.
                    assert!((found - expected).abs() <= 1e-4, "{mode:?} {shape:?}: {found}, not {expected}, at {at}");
                }
            }
        }
    }

    #[test]
    fn what_is_only_flipped_is_exact() {
        for (n, shape) in [(40, [5, 6, 3]), (1, [64, 64, 3]), (3, [1, 1, 1]), (0, [4, 4, 3])] {
            for flips in [false, true] {
                let augmentation = Augmentation::default().horizontal_flip(flips).vertical_flip(flips);
                let case = Case::new(9, augmentation, shape, n, 1.0 / 255.0);
                assert_eq!(case.found(), case.expected());
            }
        }
    }

    #[test]
    fn beyond_the_last_picture_there_is_the_last() {
        let mut case = Case::new(3, Augmentation::default(), [4, 5, 3], 2, 1.0);
        case.drawn[0].0 = 4;
        let expected = case.expected();
        for beyond in [5, u32::MAX] {
            case.drawn[0].0 = beyond;
            assert_eq!(case.found(), expected);
        }
    }

    #[test]
    fn a_picture_that_wraps_around_is_the_same_one_picture_further() {
        let (gpu, pictures) = (gpu(), [1u8, 2, 3, 4, 5, 6]);
        let rows = [(2.0, 0.0), (-2.0, 3.0), (4.0, -6.0)].map(|(down, right)| {
            let matrix = [[1.0, 0.0, down], [0.0, 1.0, right]];
            Row { matrix, picture: 0, flips: 0, brightness: 1.0, reserved: 0 }
        });
        let (rows, bytes) = (Buffer::of(&gpu, &rows).unwrap(), Buffer::of(&gpu, &pictures).unwrap());
        let (control, x) = (Buffer::of(&gpu, &[0u32; 4]).unwrap(), poisoned(&gpu, 18));
        let fill = Augmentation::default().fill_mode(FillMode::Wrap).fill();
        augment(&gpu, bytes.span(), rows.span(), control.span(), [3, 2, 3, 1], fill, 1.0, x.span()).unwrap();
        assert_eq!(x.read(&gpu).unwrap(), pictures.repeat(3).iter().map(|&byte| f32::from(byte)).collect::<Vec<_>>());
    }

    // Whole shifts end exactly at the edges, where the constant begins.
    #[test]
    fn places_are_the_same_to_the_last_bit() {
        for seed in 0..40 {
            let shifted = Augmentation::default().zoom_between(0.5, 0.5).width_shift(1.0).height_shift(1.0);
            let mut case = Case::new(seed, shifted.fill_mode(FillMode::Constant(-1e6)), [8, 8, 1], 4, 1.0);
            case.drawn.iter_mut().for_each(|(_, key)| *key = key.at(seed));
            let outside = |values: Vec<f32>| values.iter().map(|&value| value == -1e6).collect::<Vec<_>>();
            let found = outside(case.found());
            assert!(found.contains(&true) && found == outside(case.expected()));
        }
    }
}
