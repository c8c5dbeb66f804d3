//! Convolution, with all that follows it: `kernels/conv2d.cu`.
//!
//! 0·∞ and 0·NaN are NaN, here also where the 0 stands for a pixel beyond the border.

use super::call::as_it_is;
use super::parameters::Divisor;
use super::tile::{Cut, Plan, THREADS, whole};
use super::windows::Windows;
use super::{Gpu, Span, pool2d};
use crate::error::Result;
use crate::kernels::cpu::activation::Activation;
use crate::kernels::cpu::conv2d::Conv2DShape;
use crate::kernels::cpu::tail::Tail;
use crate::shape::Geometry2D;

/// `struct Convolution` of `patches.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolution {
    windows: Windows,
    across: Divisor,
    filters: Divisor,
    c_in: i32,
    c_out: i32,
}

impl Convolution {
    /// # Panics
    /// Where the kernels cannot count the numbers of a tensor, or the rows of a padded picture.
    pub fn new(shape: &Conv2DShape) -> Self {
        let Conv2DShape { geometry, c_in, c_out, groups, .. } = shape;
        let extent = |axis: usize| geometry.before[axis] + geometry.input[axis] + geometry.after[axis];
        assert!([0, 1].iter().all(|&axis| extent(axis) < 1 << 29), "kernels count rows in 29 bits");
        assert!(sizes(shape).iter().all(|&len| i32::try_from(len).is_ok()), "kernels count in 31 bits");
        Self {
            windows: Windows::new(geometry, c_in / groups),
            across: Divisor::new(geometry.kernel[1]),
            filters: Divisor::new(c_out / groups),
            c_in: whole(*c_in),
            c_out: whole(*c_out),
        }
    }
}

/// Numbers of x, w and y.
pub(super) fn sizes(shape: &Conv2DShape) -> [usize; 3] {
    let Conv2DShape { batch, geometry, c_in, c_out, groups, .. } = *shape;
    let [height, width] = geometry.input;
    [batch * height * width * c_in, geometry.taps() * (c_in / groups) * c_out, batch * geometry.pixels() * c_out]
}

/// `struct Forward` of `conv2d.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forward {
    cut: Cut,
    convolution: Convolution,
    height: Divisor,
    width: Divisor,
    x_quads: i32,
    w_quads: i32,
    pooled: i32,
}

as_it_is!(Forward);

/// Convolution, bias, pooling and activation. Overwrites `y`, which is what the tail makes of [N,OH,OW,F], and `winners`,
/// which go with a pooling, with the tap u·KW+v that won each window, or with `NO_TAP`.
#[expect(clippy::too_many_arguments, reason = "a convolution, and what follows it")]
pub(crate) fn forward(
    gpu: &Gpu,
    shape: &Conv2DShape,
    x: Span<'_, f32>,
    w: Span<'_, f32>,
    bias: Option<Span<'_, f32>>,
    tail: &Tail,
    y: Span<'_, f32>,
    winners: Option<Span<'_, u8>>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    let Conv2DShape { batch, geometry, c_out, .. } = *shape;
    if is_fused(tail) {
        return forward_cut(gpu, plan(shape, tail), shape, x, w, bias, tail, y, winners);
    }
    let ([height, width], bare) = (geometry.output, Tail { activation: Activation::Linear, pool: None });
    let z = scratch.part(..sizes(shape)[2]);
    forward_cut(gpu, plan(shape, &bare), shape, x, w, bias, &bare, z, None)?;
    pool2d::tail(gpu, tail, [batch, height, width, c_out], z, y, winners)
}

/// The scratch that `forward` needs.
pub(crate) fn scratch(shape: &Conv2DShape, tail: &Tail) -> usize {
    if is_fused(tail) { 0 } else { sizes(shape)[2] }
}

/// Whether one kernel does it all: without a pooling, or with one of 2×2 by steps of 2 that sees nothing outside.
fn is_fused(tail: &Tail) -> bool {
    let simple = |pool: Geometry2D| {
        [pool.kernel, pool.stride, pool.dilation, pool.before] == [[2, 2], [2, 2], [1, 1], [0, 0]]
            && (0..2).all(|axis| 2 * pool.output[axis] <= pool.input[axis])
    };
    tail.pool.is_none_or(simple)
}

fn plan(shape: &Conv2DShape, tail: &Tail) -> Plan {
    Plan::new(product(shape, tail), shape.groups, false)
}

/// Rows, columns and depth of the product: the pixels that the tail looks at, and a group's filters and taps.
fn product(shape: &Conv2DShape, tail: &Tail) -> [usize; 3] {
    let Conv2DShape { batch, geometry, c_in, c_out, groups, .. } = *shape;
    let pixels = tail.pool.map_or(geometry.pixels(), |pool| 4 * pool.pixels());
    [batch * pixels, c_out / groups, geometry.taps() * (c_in / groups)]
}

#[expect(clippy::too_many_arguments, reason = "what `forward` takes, and how it is cut")]
fn forward_cut(
    gpu: &Gpu,
    plan: Plan,
    shape: &Conv2DShape,
    x: Span<'_, f32>,
    w: Span<'_, f32>,
    bias: Option<Span<'_, f32>>,
    tail: &Tail,
    y: Span<'_, f32>,
    winners: Option<Span<'_, u8>>,
) -> Result<()> {
    let Conv2DShape { batch, geometry, c_in, c_out, groups, .. } = *shape;
    let [height, width] = tail.output(geometry.output);
    assert_eq!([x.len(), w.len(), y.len()], [sizes(shape)[0], sizes(shape)[1], batch * height * width * c_out]);
    assert!(is_fused(tail) && tail.pool.is_none_or(|pool| pool.input == geometry.output));
    assert!(bias.is_none_or(|bias| bias.len() == c_out));
    assert!(winners.is_none_or(|winners| tail.pool.is_some() && winners.len() == y.len()));
    let of = Forward {
        cut: plan.cut,
        convolution: Convolution::new(shape),
        height: Divisor::new(height),
        width: Divisor::new(width),
        x_quads: i32::from(x.holds_quads() && (c_in / groups).is_multiple_of(4)),
        w_quads: i32::from(w.holds_quads() && (c_out / groups).is_multiple_of(4)),
        pooled: i32::from(tail.pool.is_some()),
    };
    let call = gpu.call("conv2d", plan.variant(["forward_small", "forward_narrow", "forward_wide"]))?;
    let call = call.with(of).with(x).with(w).with(bias.unwrap_or(Span::none())).with(tail.activation);
    let call = call.with(y).with(winners.unwrap_or(Span::none()));
    // SAFETY: the spans have the lengths that the sizes tell; a tap that lies outside x is not read.
    unsafe { call.launch(plan.blocks, THREADS) }
}

#[cfg(test)]
mod tests {
    use super::super::Buffer;
    use super::super::testing::{self, gpu, gpu_tf32, poisoned};
    use super::super::tile::Tile;
    use super::*;
    use crate::kernels::cpu::conv2d::tests::{draw_kind, draw_tail, draw_whole};
    use crate::kernels::cpu::naive;
    use crate::kernels::cpu::pool2d::Pool2DShape;
    use crate::kernels::cpu::testing as drawn;
    use crate::random::{Key, Random};
    use crate::shape::Window2D;

    /// A convolution, its tail and its numbers.
    struct Case {
        shape: Conv2DShape,
        tail: Tail,
        x: Vec<f64>,
        w: Vec<f64>,
        bias: Option<Vec<f64>>,
        /// As the launcher cuts it, where it is none.
        tile: Option<Tile>,
        /// Numbers before x and w, so that they do not begin where four can be read at once.
        before: usize,
    }

    impl Case {
        fn draw(round: usize, draw: fn(usize, &mut Random) -> Vec<f64>, random: &mut Random) -> Self {
            let shape = draw_kind(round, random);
            let [x, w, _] = sizes(&shape).map(|len| draw(len, random));
            Self {
                shape,
                tail: draw_some_tail(shape.geometry.output, random),
                x,
                w,
                bias: random.chance(0.7).then(|| draw(shape.c_out, random)),
                tile: random.chance(0.8).then(|| Tile::ALL[random.below(3)]),
                before: random.below(4) * usize::from(random.chance(0.2)),
            }
        }

        /// y, and what won as numbers, without the tail where there is a pooling.
        fn run(&self, gpu: &Gpu, keep: bool) -> Vec<f32> {
            let Self { shape, tail, before, .. } = self;
            let [x, w] = [&self.x, &self.w].map(|numbers| testing::behind(gpu, numbers, *before));
            let [x, w] = [&x, &w].map(|buffer| buffer.span().part(before..));
            let bias = self.bias.as_ref().map(|bias| testing::behind(gpu, bias, 0));
            let bias = bias.as_ref().map(Buffer::span);
            let [height, width] = tail.output(shape.geometry.output);
            let y = poisoned(gpu, shape.batch * height * width * shape.c_out);
            let room = poisoned(gpu, scratch(shape, tail));
            let winners = Buffer::of(gpu, &vec![99u8; y.span().len()]).unwrap();
            let kept = (keep && tail.pool.is_some()).then_some(winners.span());
            match self.tile.filter(|_| is_fused(tail)) {
                None => forward(gpu, shape, x, w, bias, tail, y.span(), kept, room.span()),
                Some(tile) => {
                    let plan = Plan::of(tile, product(shape, tail), shape.groups, 1);
                    forward_cut(gpu, plan, shape, x, w, bias, tail, y.span(), kept)
                }
            }
            .unwrap();
            let winners = winners.read(gpu).unwrap().into_iter().filter(|_| kept.is_some()).map(f32::from);
            y.read(gpu).unwrap().into_iter().chain(winners).collect()
        }

        fn name(&self) -> String {
            format!("{:?} {:?} {:?}", self.shape, self.tail, self.tile)
        }

        /// Whole numbers, of which every sum is exact: y and the winners are those of the formula.
        fn check_exactly(&self, gpu: &Gpu) {
            let (mut z, mut taps) =
                (naive::conv2d_forward(&self.shape, &self.x, &self.w, self.bias.as_deref()), Vec::new());
            if let Some(geometry) = self.tail.pool {
                let over = Pool2DShape { batch: self.shape.batch, geometry, channels: self.shape.c_out };
                (z, taps) = naive::max_forward(&over, &z);
            }
            let mut expected: Vec<f32> = z.iter().map(|&z| self.tail.activation.value(z as f32)).collect();
            let bare = testing::same_bits(|| self.run(gpu, false));
            assert!(bare == expected, "{} without winners", self.name());
            expected.extend(drawn::winners(self.tail.activation, &z, &taps).into_iter().map(f32::from));
            let found = testing::same_bits(|| self.run(gpu, true));
            assert!(found == expected, "{}", self.name());
        }

        /// Without a pooling.
        fn check_closely(&self, gpu: &Gpu, tolerance: f64) {
            let [x, w] = [&self.x, &self.w].map(|numbers| drawn::magnitudes(numbers));
            let bias = self.bias.as_ref().map(|numbers| drawn::magnitudes(numbers));
            // Sigmoid and tanh are rounded themselves.
            let rounded = f64::from(!self.tail.activation.passes_maxima());
            let bound = naive::conv2d_forward(&self.shape, &x, &w, bias.as_deref());
            let bound: Vec<_> = bound.iter().map(|&bound| bound + rounded).collect();
            let expected = naive::conv2d_forward(&self.shape, &self.x, &self.w, self.bias.as_deref());
            let expected: Vec<_> = expected.iter().map(|&z| self.tail.activation.value(z)).collect();
            testing::close(&self.run(gpu, false), &expected, &bound, tolerance, &self.name());
        }
    }

    /// Every second one that is known to the kernel itself.
    fn draw_some_tail(picture: [usize; 2], random: &mut Random) -> Tail {
        let tail = draw_tail(picture, random);
        let pool = Window2D { stride: [2, 2], ..Window2D::new(2) }.over("tail", picture);
        match pool {
            Ok(pool) if random.chance(0.5) => Tail { pool: Some(pool), ..tail },
            _ => tail,
        }
    }

    #[test]
    fn whole_numbers_agree_exactly() {
        let mut random = Key::new(1).named("conv2d").stream();
        for gpu in [gpu(), gpu_tf32()] {
            (0..100).for_each(|round| Case::draw(round, draw_whole, &mut random).check_exactly(&gpu));
        }
    }

    #[test]
    fn all_numbers_agree_closely() {
        let mut random = Key::new(2).named("conv2d").stream();
        let kinds = [Activation::Linear, Activation::Relu, Activation::Sigmoid, Activation::Tanh];
        for (gpu, tolerance) in [(gpu(), 2e-6), (gpu_tf32(), 1e-3)] {
            for round in 0..60 {
                let mut case = Case::draw(round, drawn::draw, &mut random);
                case.tail = Tail { activation: kinds[round % 4], pool: None };
                case.check_closely(&gpu, tolerance);
            }
        }
    }

    // A NaN in a pixel is met by the windows around it, and wins them as the first that is none.
    #[test]
    fn nan_stays_nan_and_wins() {
        let geometry = Window2D::new(1).over("conv2d", [4, 4]).expect("the kernel fits");
        let pool = Window2D { stride: [2, 2], ..Window2D::new(2) }.over("tail", [4, 4]).expect("the window fits");
        let shape = Conv2DShape { batch: 1, geometry, c_in: 1, c_out: 3, groups: 1, winograd: true };
        let tail = Tail { activation: Activation::Relu, pool: Some(pool) };
        let mut x: Vec<f64> = (0..16).map(f64::from).collect();
        [x[1], x[4], x[15]] = [f64::NAN; 3];
        for gpu in [gpu(), gpu_tf32()] {
            let (w, x) = (vec![1.0, -1.0, 2.0], x.clone());
            let found = Case { shape, tail, x, w, bias: None, tile: None, before: 0 }.run(&gpu, true);
            let is_nan: Vec<bool> = found[..12].iter().map(|y| y.is_nan()).collect();
            let [nan, number] = [[true; 3], [false; 3]];
            assert_eq!(is_nan, [nan, number, number, nan].concat());
            assert_eq!(found[12..], [[1.0; 3], [3.0, 255.0, 3.0], [3.0, 255.0, 3.0], [3.0; 3]].concat());
        }
    }
}
