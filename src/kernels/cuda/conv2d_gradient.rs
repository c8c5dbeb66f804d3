//! The way back through a convolution, and through the pooling behind it: `kernels/conv2d_gradient.cu`.
//!
//! 0·∞ and 0·NaN are NaN, here also where the 0 stands for a pixel that did not win, or beyond the border.

use super::call::{THREADS as LINES, as_it_is};
use super::columns::Columns;
use super::conv2d::{Convolution, sizes};
use super::tile::{Cut, Plan, THREADS};
use super::windows::Windows;
use super::{Gpu, Span, reduce};
use crate::error::Result;
use crate::kernels::cpu::activation::Activation;
use crate::kernels::cpu::conv2d::Conv2DShape;
use crate::kernels::cpu::tail::Tail;
use crate::shape::Geometry2D;

/// The gradient dz [N,OH,OW,F] of what a convolution gives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gradient<'a> {
    /// dz itself, or the gradient [N,PH,PW,F] of what a pooling makes of it.
    pub dy: Span<'a, f32>,
    /// The pooling, and which tap won each window, or `NO_TAP`.
    pub pool: Option<(Geometry2D, Span<'a, u8>)>,
}

/// `struct Backward` of `conv2d_gradient.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backward {
    cut: Cut,
    convolution: Convolution,
    pool: Windows,
    dy_quads: i32,
    quads: i32,
}

as_it_is!(Backward);

impl Backward {
    /// `multiples`: the number of which four are read at once from `factor`.
    fn new(cut: Cut, shape: &Conv2DShape, gradient: &Gradient<'_>, factor: Span<'_, f32>, multiples: usize) -> Self {
        let pool = gradient.pool.as_ref().map(|(pool, _)| Windows::new(pool, shape.c_out));
        let filters = shape.c_out / shape.groups;
        let dy_quads = gradient.dy.holds_quads() && gradient.winners().holds_quads() && filters.is_multiple_of(4);
        Self {
            cut,
            convolution: Convolution::new(shape),
            pool: pool.unwrap_or(Windows::none()),
            dy_quads: i32::from(dy_quads),
            quads: i32::from(factor.holds_quads() && multiples.is_multiple_of(4)),
        }
    }
}

impl<'a> Gradient<'a> {
    fn winners(&self) -> Span<'a, u8> {
        self.pool.map_or(Span::none(), |(_, winners)| winners)
    }

    fn check(&self, shape: &Conv2DShape) {
        let Some((pool, winners)) = self.pool else { return assert_eq!(self.dy.len(), sizes(shape)[2]) };
        assert!(pool.input == shape.geometry.output && Tail::takes(&pool));
        assert_eq!([self.dy.len(), winners.len()], [shape.batch * pool.pixels() * shape.c_out; 2]);
    }
}

/// dw[u,v,c,f] = Σ_{n,i,j} dz[n,i,j,f] · x[n, i·s+u·d−p, j·s+v·d−p, c]. Overwrites `dw`.
pub(crate) fn weight(
    gpu: &Gpu,
    shape: &Conv2DShape,
    gradient: &Gradient<'_>,
    x: Span<'_, f32>,
    dw: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    weight_cut(gpu, weight_plan(shape), shape, gradient, x, dw, scratch)
}

/// dx[n,h,w,c] = Σ over the (i,u), (j,v) that meet h and w, and f, of w[u,v,c,f] · dz[n,i,j,f]. Overwrites `dx`.
pub(crate) fn input(
    gpu: &Gpu,
    shape: &Conv2DShape,
    gradient: &Gradient<'_>,
    w: Span<'_, f32>,
    dx: Span<'_, f32>,
) -> Result<()> {
    input_cut(gpu, Plan::new(input_product(shape), shape.groups, false), shape, gradient, w, dx)
}

/// db[f] = Σ_{n,i,j} dz[n,i,j,f]. Overwrites `db`.
pub(crate) fn bias(
    gpu: &Gpu,
    shape: &Conv2DShape,
    gradient: &Gradient<'_>,
    db: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    gradient.check(shape);
    assert_eq!(db.len(), shape.c_out);
    let Some((pool, winners)) = gradient.pool else {
        return reduce::sum_rows(gpu, bias_rows(shape), gradient.dy, db, scratch);
    };
    // In the chunks of all pixels, for which the scratch is enough.
    let of = Columns::parts(bias_rows(shape)).first(shape.batch * pool.pixels());
    let sums = if of.blocks() == 1 { db } else { scratch.part(..of.blocks() * shape.c_out) };
    let call = gpu.call("conv2d_gradient", "sum_winners")?.with(gradient.dy).with(winners).with(of).with(sums);
    // SAFETY: `of` is cut out of the rows and columns of dy, and each of its blocks writes its row of sums.
    unsafe { call.launch(of.grid(), LINES)? };
    match of.blocks() {
        1 => Ok(()),
        blocks => reduce::sum_blocks(gpu, Columns::of_parts([blocks, shape.c_out]), sums, db),
    }
}

/// The scratch that `weight` and `bias` need, with a pooling or without.
pub(crate) fn scratch(shape: &Conv2DShape) -> usize {
    weight_plan(shape).scratch(sizes(shape)[1]).max(reduce::scratch(bias_rows(shape)))
}

fn bias_rows(shape: &Conv2DShape) -> [usize; 2] {
    [shape.batch * shape.geometry.pixels(), shape.c_out]
}

fn weight_plan(shape: &Conv2DShape) -> Plan {
    Plan::new(weight_product(shape), shape.groups, true)
}

fn weight_product(shape: &Conv2DShape) -> [usize; 3] {
    let Conv2DShape { batch, geometry, c_in, c_out, groups, .. } = *shape;
    [geometry.taps() * (c_in / groups), c_out / groups, batch * geometry.pixels()]
}

fn input_product(shape: &Conv2DShape) -> [usize; 3] {
    let Conv2DShape { batch, geometry, c_in, c_out, groups, .. } = *shape;
    [batch * geometry.input[0] * geometry.input[1], c_in / groups, geometry.taps() * (c_out / groups)]
}

fn weight_cut(
    gpu: &Gpu,
    plan: Plan,
    shape: &Conv2DShape,
    gradient: &Gradient<'_>,
    x: Span<'_, f32>,
    dw: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    gradient.check(shape);
    assert_eq!([x.len(), dw.len()], [sizes(shape)[0], sizes(shape)[1]]);
    let target = plan.target(dw, scratch);
    let of = Backward::new(plan.cut, shape, gradient, x, shape.c_in / shape.groups);
    let names = ["weight_gradient_small", "weight_gradient_narrow", "weight_gradient_wide"];
    let call = gpu.call("conv2d_gradient", plan.variant(names))?;
    let call = call.with(of).with(x).with(gradient.dy).with(gradient.winners()).with(target);
    // SAFETY: the spans have the lengths that the sizes tell; a tap that lies outside x is not read.
    unsafe { call.launch(plan.blocks, THREADS)? };
    plan.sum(gpu, target, None, Activation::Linear, dw)
}

fn input_cut(
    gpu: &Gpu,
    plan: Plan,
    shape: &Conv2DShape,
    gradient: &Gradient<'_>,
    w: Span<'_, f32>,
    dx: Span<'_, f32>,
) -> Result<()> {
    gradient.check(shape);
    assert_eq!([dx.len(), w.len()], [sizes(shape)[0], sizes(shape)[1]]);
    let of = Backward::new(plan.cut, shape, gradient, w, shape.c_out / shape.groups);
    let names = ["input_gradient_small", "input_gradient_narrow", "input_gradient_wide"];
    let call = gpu.call("conv2d_gradient", plan.variant(names))?;
    let call = call.with(of).with(gradient.dy).with(gradient.winners()).with(w).with(dx);
    // SAFETY: as above; pixels of dz that no window of the pooling sees are not read.
    unsafe { call.launch(plan.blocks, THREADS) }
}

#[cfg(test)]
mod tests {
    use super::super::Buffer;
    use super::super::testing::{self, gpu, gpu_tf32, poisoned};
    use super::super::tile::Tile;
    use super::*;
    use crate::kernels::cpu::conv2d::tests::{draw_kind, draw_tail};
    use crate::kernels::cpu::naive;
    use crate::kernels::cpu::pool2d::Pool2DShape;
    use crate::kernels::cpu::testing as drawn;
    use crate::random::{Key, Random};
    use crate::shape::Window2D;
    use crate::simd::largest::NO_TAP;

    /// A convolution with its numbers, and the gradient behind a pooling, or without one.
    struct Case {
        shape: Conv2DShape,
        pool: Option<(Geometry2D, Vec<u8>)>,
        x: Vec<f64>,
        w: Vec<f64>,
        dy: Vec<f64>,
        /// As the launchers cut it, where it is none.
        cut: Option<(Tile, usize)>,
        /// Numbers before all others, so that they do not begin where four can be read at once.
        before: usize,
    }

    impl Case {
        fn draw(round: usize, random: &mut Random) -> Self {
            let shape = draw_kind(round, random);
            let plain = Window2D { stride: [2, 2], ..Window2D::new(2) }.over("tail", shape.geometry.output).ok();
            let pool = if random.chance(0.5) { draw_tail(shape.geometry.output, random).pool } else { plain };
            let pool = pool.filter(|_| random.chance(0.7));
            let [x_len, w_len, z_len] = sizes(&shape);
            let dy_len = pool.map_or(z_len, |pool| shape.batch * pool.pixels() * shape.c_out);
            let [x, w, dy] = [x_len, w_len, dy_len].map(|len| drawn::draw(len, random));
            let pool = pool.map(|pool| (pool, draw_winners(&shape, pool, random)));
            let cut = random.chance(0.8).then(|| (Tile::ALL[random.below(3)], 1 + random.below(5)));
            Self { shape, pool, x, w, dy, cut, before: random.below(4) * usize::from(random.chance(0.2)) }
        }

        /// dw, dx and db, as the formulas have them.
        fn formulas(&self, [x, w, dy]: [&[f64]; 3]) -> [Vec<f64>; 3] {
            let shape = &self.shape;
            let dz = self.pool.as_ref().map(|(geometry, winners)| {
                let over = Pool2DShape { batch: shape.batch, geometry: *geometry, channels: shape.c_out };
                let taps: Vec<_> = winners.iter().map(|&tap| u32::from(tap)).collect();
                naive::max_backward(&over, &taps, dy)
            });
            let dz = dz.as_deref().unwrap_or(dy);
            let mut db = vec![0.0; shape.c_out];
            dz.iter().enumerate().for_each(|(at, dz)| db[at % shape.c_out] += dz);
            [naive::conv2d_weight_gradient(shape, x, dz), naive::conv2d_input_gradient(shape, dz, w), db]
        }

        fn check(&self, gpu: &Gpu, tolerance: f64) {
            let expected = self.formulas([&self.x, &self.w, &self.dy]).concat();
            let [x, w, dy] = [&self.x, &self.w, &self.dy].map(|numbers| drawn::magnitudes(numbers));
            let bounds = self.formulas([&x, &w, &dy]).concat();
            let found = testing::same_bits(|| self.run(gpu));
            let what = format!("{:?} {:?} {:?}", self.shape, self.pool.as_ref().map(|(pool, _)| pool), self.cut);
            testing::close(&found, &expected, &bounds, tolerance, &what);
        }

        /// dw, dx and db, one after the other.
        fn run(&self, gpu: &Gpu) -> Vec<f32> {
            let Self { shape, before, .. } = self;
            let [x, w, dy] = [&self.x, &self.w, &self.dy].map(|numbers| testing::behind(gpu, numbers, *before));
            let [x, w, dy] = [&x, &w, &dy].map(|buffer| buffer.span().part(before..));
            let winners = self
                .pool
                .as_ref()
                .map(|(_, winners)| Buffer::of(gpu, &[&vec![0; *before], winners.as_slice()].concat()).unwrap());
            let pool = self.pool.as_ref().zip(winners.as_ref());
            let gradient = Gradient { dy, pool: pool.map(|((pool, _), at)| (*pool, at.span().part(before..))) };
            let to = [w.len(), x.len(), shape.c_out].map(|len| poisoned(gpu, len));
            let [dw, dx, db] = to.each_ref().map(Buffer::span);
            match self.cut {
                None => {
                    let room = poisoned(gpu, scratch(shape));
                    weight(gpu, shape, &gradient, x, dw, room.span()).unwrap();
                    input(gpu, shape, &gradient, w, dx).unwrap();
                    bias(gpu, shape, &gradient, db, room.span()).unwrap();
                }
                Some((tile, splits)) => {
                    let plan = Plan::of(tile, weight_product(shape), shape.groups, splits);
                    let room = poisoned(gpu, plan.scratch(dw.len()).max(scratch(shape)));
                    weight_cut(gpu, plan, shape, &gradient, x, dw, room.span()).unwrap();
                    let plan = Plan::of(tile, input_product(shape), shape.groups, 1);
                    input_cut(gpu, plan, shape, &gradient, w, dx).unwrap();
                    bias(gpu, shape, &gradient, db, room.span()).unwrap();
                }
            }
            to.iter().flat_map(|to| to.read(gpu).unwrap()).collect()
        }
    }

    /// For each window a tap inside the picture, or none.
    fn draw_winners(shape: &Conv2DShape, geometry: Geometry2D, random: &mut Random) -> Vec<u8> {
        let over = Pool2DShape { batch: shape.batch, geometry, channels: shape.c_out };
        let (largest, taps) = naive::max_forward(&over, &drawn::draw(sizes(shape)[2], random));
        let nobody = |y: f64, random: &mut Random| y == f64::NEG_INFINITY || random.chance(0.3);
        largest.iter().zip(taps).map(|(&y, tap)| if nobody(y, random) { NO_TAP } else { tap as u8 }).collect()
    }

    #[test]
    fn gradients_agree_with_the_formulas() {
        let (gpu, mut random) = (gpu(), Key::new(1).named("conv2d gradient").stream());
        (0..100).for_each(|round| Case::draw(round, &mut random).check(&gpu, 2e-6));
    }

    #[test]
    fn gradients_on_tensor_cores_agree_with_the_formulas() {
        let (gpu, mut random) = (gpu_tf32(), Key::new(2).named("conv2d gradient").stream());
        (0..100).for_each(|round| Case::draw(round, &mut random).check(&gpu, 1e-3));
    }

    // Many pixels: sums in several blocks, of dw as of db.
    #[test]
    fn large_gradients_agree_with_the_formulas() {
        let (gpu, mut random) = (gpu(), Key::new(3).named("conv2d gradient").stream());
        let geometry = Window2D::new(3).over("conv2d", [62, 40]).expect("the kernel fits");
        let shape = Conv2DShape { batch: 2, geometry, c_in: 3, c_out: 8, groups: 1, winograd: true };
        assert!(weight_plan(&shape).splits > 30);
        let pool = Window2D { stride: [2, 2], ..Window2D::new(2) }.over("tail", geometry.output).expect("it fits");
        let [x_len, w_len, z_len] = sizes(&shape);
        for pool in [None, Some(pool)] {
            let dy_len = pool.map_or(z_len, |pool| shape.batch * pool.pixels() * shape.c_out);
            let [x, w, dy] = [x_len, w_len, dy_len].map(|len| drawn::draw(len, &mut random));
            let pool = pool.map(|pool| (pool, draw_winners(&shape, pool, &mut random)));
            Case { shape, pool, x, w, dy, cut: None, before: 0 }.check(&gpu, 2e-6);
        }
    }
}
