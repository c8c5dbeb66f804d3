//! y[n,i,j,f] = b[f] + Σ_{u,v,c} w[u,v,c,f] · x[n, i·s+u·d−p, j·s+v·d−p, c]
//! x [N,H,W,C]  w [KH,KW,C/groups,F]  b [F]  →  y [N,OH,OW,F]

use super::activation::Activation;
use super::axis::Axis;
use super::panels::Factor;
use super::slide::Slide;
use super::tail::Tail;
use super::weight_gradient::WeightGradient;
use crate::element::Element;
use crate::shape::Geometry2D;

/// The sizes of one convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conv2DShape {
    /// N
    pub batch: usize,
    pub geometry: Geometry2D,
    /// C
    pub c_in: usize,
    /// F
    pub c_out: usize,
    /// Input channels g·C/groups … and output channels g·F/groups … belong together.
    pub groups: usize,
    /// Whether Winograd's algorithm may be used.
    pub winograd: bool,
}

/// Overwrites `y` [N,OH,OW,F].
pub(crate) fn forward<E: Element>(shape: &Conv2DShape, x: &[E], w: &[E], bias: Option<&[E]>, y: &mut [E]) {
    forward_fused(shape, x, w, bias, &Tail { activation: Activation::Linear, pool: None }, y, None);
}

/// Convolution, then pooling and activation. Overwrites `y`, which is what the tail makes of [N,OH,OW,F], and `argmax`
/// with the taps that its pooling took.
pub(crate) fn forward_fused<E: Element>(
    shape: &Conv2DShape,
    x: &[E],
    w: &[E],
    bias: Option<&[E]>,
    tail: &Tail,
    y: &mut [E],
    argmax: Option<&mut [u8]>,
) {
    let Conv2DShape { batch, geometry, c_in, c_out, groups, winograd } = *shape;
    let [height, width] = tail.output(geometry.output);
    shape.check(x, w, y.len(), batch * height * width * c_out);
    assert!(tail.pool.is_none_or(|pool| pool.input == geometry.output && Tail::takes(&pool)));
    assert!(argmax.as_ref().is_none_or(|argmax| tail.pool.is_some() && argmax.len() == y.len()));
    assert!(bias.is_none_or(|bias| bias.len() == c_out));
    let (c, f) = (c_in / groups, c_out / groups);
    let weights = Factor { data: w, shape: [groups, geometry.taps(), c, f], strides: [f, c * c_out, c_out, 1] };
    let axes = [0, 1].map(|axis| Axis::forward(&geometry, axis));
    let (channels, tail) = ([c_in, c_out], *tail);
    E::dispatch(Slide { batch, axes, channels, weights, reversed: false, winograd, bias, tail, x, y, argmax });
}

/// dx[n,h,w,c] = Σ over the (i,u), (j,v) that meet h and w, and f, of w[u,v,c,f] · dy[n,i,j,f]. Overwrites `dx`.
pub(crate) fn input_gradient<E: Element>(shape: &Conv2DShape, dy: &[E], w: &[E], dx: &mut [E]) {
    let Conv2DShape { batch, geometry, c_in, c_out, groups, winograd } = *shape;
    shape.check(dx, w, dy.len(), batch * geometry.pixels() * c_out);
    let (c, f) = (c_in / groups, c_out / groups);
    let weights = Factor { data: w, shape: [groups, geometry.taps(), f, c], strides: [f, c * c_out, 1, c_out] };
    let axes = [0, 1].map(|axis| Axis::backward(&geometry, axis));
    let (channels, tail) = ([c_out, c_in], Tail { activation: Activation::Linear, pool: None });
    let (x, y, bias, argmax) = (dy, dx, None, None);
    E::dispatch(Slide { batch, axes, channels, weights, reversed: true, winograd, bias, tail, x, y, argmax });
}

/// dw[u,v,c,f] = Σ_{n,i,j} dy[n,i,j,f] · x[n, i·s+u·d−p, j·s+v·d−p, c]. Overwrites `dw`.
pub(crate) fn weight_gradient<E: Element>(shape: &Conv2DShape, x: &[E], dy: &[E], dw: &mut [E]) {
    shape.check(x, dw, dy.len(), shape.batch * shape.geometry.pixels() * shape.c_out);
    if !dw.is_empty() {
        E::dispatch(WeightGradient { shape, x, dy, dw });
    }
}

impl Conv2DShape {
    fn check<E>(&self, x: &[E], w: &[E], y_len: usize, y_expected: usize) {
        let [height, width] = self.geometry.input;
        assert!(self.c_in.is_multiple_of(self.groups) && self.c_out.is_multiple_of(self.groups));
        assert_eq!(x.len(), self.batch * height * width * self.c_in);
        assert_eq!(w.len(), self.geometry.taps() * (self.c_in / self.groups) * self.c_out);
        assert_eq!(y_len, y_expected);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::naive;
    use super::super::pool2d::Pool2DShape;
    use super::super::testing::{self, Number};
    use super::*;
    use crate::random::{Key, Random};
    use crate::shape::{Padding, Window2D};

    /// All three passes, on each path and with 1, 2 and 8 threads.
    fn check<E: Number>(shape: &Conv2DShape, random: &mut Random) {
        let [x_len, w_len, y_len] = naive::conv2d_sizes(shape);
        let [x, w, dy, bias] = [x_len, w_len, y_len, shape.c_out].map(|len| testing::draw(len, random));
        let passes = |x: &[f64], w: &[f64], dy: &[f64], bias: &[f64]| {
            [
                naive::conv2d_forward(shape, x, w, Some(bias)),
                naive::conv2d_input_gradient(shape, dy, w),
                naive::conv2d_weight_gradient(shape, x, dy),
            ]
        };
        let expected = passes(&x, &w, &dy, &bias);
        let [x_abs, w_abs, dy_abs, bias_abs] = [&x, &w, &dy, &bias].map(|numbers| testing::magnitudes(numbers));
        let bounds = passes(&x_abs, &w_abs, &dy_abs, &bias_abs);
        let [x, w, dy, bias] = [x, w, dy, bias].map(|numbers| testing::cast::<E>(&numbers));
        testing::on_each_path_and_pool(|| {
            let mut found = [y_len, x_len, w_len].map(|len| vec![E::nan(); len]);
            forward(shape, &x, &w, Some(&bias), &mut found[0]);
            input_gradient(shape, &dy, &w, &mut found[1]);
            weight_gradient(shape, &x, &dy, &mut found[2]);
            for pass in 0..3 {
                testing::close(&found[pass], &expected[pass], &bounds[pass], &format!("pass {pass} of {shape:?}"));
            }
            found
        });
    }

    fn draw_shape(round: usize, random: &mut Random) -> Conv2DShape {
        let small = |random: &mut Random, most| [1 + random.below(most), 1 + random.below(most)];
        let paddings = [Padding::Valid, Padding::Same, Padding::all(1), Padding::all(3)];
        let window = Window2D {
            kernel: small(random, 4),
            stride: small(random, 3),
            dilation: small(random, 2),
            padding: paddings[random.below(4)],
            ceil_mode: false,
        };
        let geometry = window.over("conv2d", [7 + random.below(9), 7 + random.below(9)]).expect("4 taps at 2 cover 7");
        let groups = [1, 1, 2, 3][random.below(4)];
        let [c_in, c_out] = match round % 4 {
            0 => [1, 1].map(|one| groups * (one + random.below(40))),
            1 => [groups, groups],
            _ => [groups * (1 + random.below(5)), groups * (1 + random.below(17))],
        };
        Conv2DShape { batch: [1, 2, 3, 0][random.below(4)], geometry, c_in, c_out, groups, winograd: true }
    }

    #[test]
    fn every_pass_agrees_with_the_formula() {
        let mut random = Key::new(1).named("conv2d").stream();
        for round in 0..150 {
            let shape = draw_shape(round, &mut random);
            check::<f32>(&shape, &mut random);
            check::<f64>(&shape, &mut random);
        }
    }

    #[test]
    fn every_pass_agrees_where_it_is_worth_threads() {
        let mut random = Key::new(2).named("conv2d").stream();
        let same = Window2D { padding: Padding::Same, ..Window2D::new(3) };
        let shapes = [
            (33, same, [9, 8], 5, 33, 1),
            (3, Window2D { stride: [2, 2], ..same }, [31, 30], 12, 20, 2),
            (1, Window2D::new(3), [33, 33], 16, 48, 1),
            (17, Window2D::new(1), [16, 9], 40, 36, 1),
            (9, Window2D::new(3), [12, 13], 33, 47, 1),
            (3, same, [7, 30], 64, 100, 1),
            (2, Window2D { padding: Padding::all(3), ..Window2D::new(3) }, [9, 5], 150, 16, 1),
        ];
        for (batch, window, input, c_in, c_out, groups) in shapes {
            let geometry = window.over("conv2d", input).expect("the kernel fits");
            for winograd in [false, true] {
                let shape = Conv2DShape { batch, geometry, c_in, c_out, groups, winograd };
                check::<f32>(&shape, &mut random);
                check::<f64>(&shape, &mut random);
            }
        }
    }

    /// Whole numbers: every sum is exact, in any order and with any rounding, and there are ties.
    pub(crate) fn draw_whole(len: usize, random: &mut Random) -> Vec<f64> {
        (0..len).map(|_| random.below(7) as f64 - 3.0).collect()
    }

    /// A shape of many kinds: every remainder of every tile, sums in several pieces, more than one picture in a block.
    pub(crate) fn draw_kind(round: usize, random: &mut Random) -> Conv2DShape {
        let batch = [1, 1, 1, 2, 3, 3, 0, 33][random.below(8)];
        let (kernel, input, depth) = match round % 8 {
            // More channels than a piece of a sum has
            0 => ([1 + random.below(3), 1 + random.below(3)], [3, 3 + random.below(3)], 100 + random.below(330)),
            // More taps than a piece has
            1 => ([6 + random.below(4), 6 + random.below(4)], [9 + random.below(4), 10], 1 + random.below(2)),
            _ => {
                let [kernel, input] = [4, 9].map(|most| [(); 2].map(|()| 1 + random.below(most)));
                (kernel, input, 1 + random.below(9))
            }
        };
        let window = Window2D {
            stride: [(); 2].map(|()| 1 + random.below(3)),
            dilation: [(); 2].map(|()| 1 + usize::from(random.chance(0.2))),
            padding: [Padding::Valid, Padding::Same, Padding::all(1 + random.below(4))][random.below(3)],
            ..Window2D::new(kernel)
        };
        let groups = if depth > 9 { 1 } else { [1, 1, 1, 2, 3][random.below(5)] };
        let filters = if random.chance(0.2) { 1 } else { 1 + random.below(36) };
        let depth = if filters == 1 && random.chance(0.5) { 1 } else { depth };
        match window.over("conv2d", input) {
            Ok(geometry) => Conv2DShape {
                batch,
                geometry,
                c_in: groups * depth,
                c_out: groups * filters,
                groups,
                winograd: random.chance(0.8),
            },
            Err(_) => draw_kind(round, random),
        }
    }

    pub(crate) fn draw_tail(picture: [usize; 2], random: &mut Random) -> Tail {
        let activation = [Activation::Linear, Activation::Relu, Activation::LeakyRelu(0.25)][random.below(3)];
        let kernel = if random.chance(0.4) { [2, 2] } else { [(); 2].map(|()| 1 + random.below(3)) };
        let window = Window2D {
            stride: kernel.map(|size| size + usize::from(random.chance(0.2))),
            padding: [Padding::Valid, Padding::Same][random.below(2)],
            ceil_mode: random.chance(0.3),
            ..Window2D::new(kernel)
        };
        let pool = window.over("tail", picture).ok().filter(|pool| random.chance(0.6) && Tail::takes(pool));
        Tail { activation, pool }
    }

    fn check_exactly<E: Number>(shape: &Conv2DShape, tail: &Tail, random: &mut Random) {
        let [x_len, w_len, y_len] = naive::conv2d_sizes(shape);
        let [x, w, dy, bias] = [x_len, w_len, y_len, shape.c_out].map(|len| draw_whole(len, random));
        let (mut y, mut taps) = (naive::conv2d_forward(shape, &x, &w, Some(&bias)), Vec::new());
        if let Some(geometry) = tail.pool {
            (y, taps) = naive::max_forward(&Pool2DShape { batch: shape.batch, geometry, channels: shape.c_out }, &y);
        }
        let winners = testing::winners(tail.activation, &y, &taps);
        let y: Vec<E> = y.iter().map(|&y| tail.activation.value(E::of(y))).collect();
        let dx = testing::cast::<E>(&naive::conv2d_input_gradient(shape, &dy, &w));
        let dw = testing::cast::<E>(&naive::conv2d_weight_gradient(shape, &x, &dy));
        let [x, w, dy, bias] = [x, w, dy, bias].map(|numbers| testing::cast::<E>(&numbers));
        testing::on_each_path(x.len() + y.len(), || {
            let mut found = [y.len(), dx.len(), dw.len()].map(|len| vec![E::nan(); len]);
            let mut argmax = vec![99; taps.len()];
            let kept = tail.pool.map(|_| argmax.as_mut_slice());
            forward_fused(shape, &x, &w, Some(&bias), tail, &mut found[0], kept);
            input_gradient(shape, &dy, &w, &mut found[1]);
            weight_gradient(shape, &x, &dy, &mut found[2]);
            assert!(found[0] == y && found[1] == dx && found[2] == dw, "{shape:?} {tail:?}");
            assert_eq!(argmax, winners, "{shape:?} {tail:?}");
            forward_fused(shape, &x, &w, Some(&bias), tail, &mut found[0], None);
            assert!(found[0] == y, "{shape:?} {tail:?} without argmax");
            found
        });
    }

    #[test]
    fn whole_numbers_agree_exactly() {
        let mut random = Key::new(3).named("conv2d").stream();
        for round in 0..2400 {
            let shape = draw_kind(round, &mut random);
            let tail = draw_tail(shape.geometry.output, &mut random);
            match round % 3 {
                0 => check_exactly::<f64>(&shape, &tail, &mut random),
                _ => check_exactly::<f32>(&shape, &tail, &mut random),
            }
        }
    }

    // Squares of four outputs: every remainder of tiles and of squares, one run and several. Transforms of whole numbers
    // are exact, too.
    #[test]
    fn winograds_algorithm_agrees_exactly() {
        let mut random = Key::new(4).named("conv2d").stream();
        for round in 0..2000 {
            let padding = [Padding::Valid, Padding::Same, Padding::all(1 + random.below(3))][random.below(3)];
            let side = [6, 7, 8, if round % 100 == 3 { 40 } else { 12 }][round % 4];
            let input = [(); 2].map(|()| side + random.below(3));
            let geometry = Window2D { padding, ..Window2D::new(3) }.over("conv2d", input).expect("the kernel fits");
            let most = if round % 100 == 1 { 120 } else { 17 };
            let [c_in, c_out] = [16 + random.below(most), 32 + random.below(most)];
            // As many squares as make it worth while.
            let batch =
                32usize.div_ceil(geometry.output.map(|size| size.div_ceil(2)).iter().product()) + random.below(2);
            let shape = Conv2DShape { batch, geometry, c_in, c_out, groups: 1, winograd: true };
            let tail = draw_tail(shape.geometry.output, &mut random);
            match round % 3 {
                0 => check_exactly::<f64>(&shape, &tail, &mut random),
                _ => check_exactly::<f32>(&shape, &tail, &mut random),
            }
        }
    }

    // 1200 products of 2⁻⁴⁰ and 2⁻³⁵ are smaller than 2⁻⁶³, in one piece of a sum and in several.
    #[test]
    fn tiny_sums_are_0() {
        for (depth, padding) in [(1, Padding::Valid), (300, Padding::Same)] {
            let geometry = Window2D { padding, ..Window2D::new(2) }.over("conv2d", [5, 4]).expect("the kernel fits");
            let shape = Conv2DShape { batch: 2, geometry, c_in: depth, c_out: 35, groups: 1, winograd: true };
            let [x_len, w_len, y_len] = naive::conv2d_sizes(&shape);
            testing::on_each_path_and_pool(|| {
                let [x, dy] = [x_len, y_len].map(|len| vec![2f32.powi(-40); len]);
                let (w, mut y, mut dx) = (vec![-2f32.powi(-35); w_len], vec![1.0; y_len], vec![1.0; x_len]);
                forward(&shape, &x, &w, None, &mut y);
                input_gradient(&shape, &dy, &w, &mut dx);
                assert!(y.iter().chain(&dx).all(|&number| number == 0.0));
            });
        }
    }

    // A NaN in pixel (2, 3) is met by the outputs around it; squares of four outputs share it, and no others have it.
    #[test]
    fn nan_stays_nan_in_its_squares() {
        let geometry = Window2D::new(3).over("conv2d", [8, 8]).expect("the kernel fits");
        let shape = Conv2DShape { batch: 8, geometry, c_in: 16, c_out: 32, groups: 1, winograd: true };
        let (mut x, w, mut y) = (vec![1.0f32; 8 * 8 * 8 * 16], vec![0.0; 9 * 16 * 32], vec![0.0; 8 * 6 * 6 * 32]);
        x[(2 * 8 + 3) * 16] = f32::NAN;
        forward(&shape, &x, &w, None, &mut y);
        for (at, y) in y.iter().enumerate() {
            let (i, j) = (at / 32 / 6, at / 32 % 6);
            let (is_met, is_near) = (i <= 2 && (1..=3).contains(&j), i <= 3 && j <= 3);
            assert!(is_near || !y.is_nan(), "{i} {j}");
            assert!(!is_met || y.is_nan(), "{i} {j}");
        }
    }

    // A NaN in pixel (2, 3) is met by the outputs around it, and by no other.
    #[test]
    fn nan_stays_nan() {
        let geometry = Window2D::new(3).over("conv2d", [6, 6]).expect("the kernel fits");
        let shape = Conv2DShape { batch: 1, geometry, c_in: 2, c_out: 3, groups: 1, winograd: true };
        let (mut x, w, mut y) = ([1.0f32; 72], [0.0; 54], [0.0; 48]);
        x[(2 * 6 + 3) * 2] = f32::NAN;
        forward(&shape, &x, &w, None, &mut y);
        for (at, y) in y.iter().enumerate() {
            let (i, j) = (at / 12, at / 3 % 4);
            assert_eq!(y.is_nan(), i <= 2 && (1..=3).contains(&j), "{i} {j}");
        }
    }
}
