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

#[cfg(test)]
mod tests {
    use super::super::Buffer;
    use super::super::testing::{gpu, poisoned, same_bits};
    use super::*;
    use crate::kernels::cpu::activation::Activation;
    use crate::kernels::cpu::naive;
    use crate::kernels::cpu::testing::{cast, close, draw, draw_size, magnitudes, pool_window, tail_window, winners};
    use crate::random::{Key, Random};
    use crate::shape::Window2D;
    use crate::simd::largest::NO_TAP;

    /// Few different values: ties.
    fn few(len: usize, random: &mut Random) -> Vec<f64> {
        (0..len).map(|_| random.below(7) as f64 - 3.0).collect()
    }

    /// All passes of both poolings.
    fn check_all(gpu: &Gpu, shape: &Pool2DShape, x: &[f64], dy: &[f64]) {
        let (y, taps) = naive::max_forward(shape, x);
        let sizes = [x.len(), y.len()];
        let [x_at, dy_at] = [x, dy].map(|numbers| Buffer::of(gpu, &cast::<f32>(numbers)).unwrap());
        let taps_at = Buffer::of(gpu, &vec![99u32; y.len()]).unwrap();
        let found = same_bits(|| {
            let [largest, without, dx] = [sizes[1], sizes[1], sizes[0]].map(|len| poisoned(gpu, len));
            max_forward(gpu, shape, x_at.span(), largest.span(), Some(taps_at.span())).unwrap();
            max_forward(gpu, shape, x_at.span(), without.span(), None).unwrap();
            max_backward(gpu, shape, taps_at.span(), dy_at.span(), dx.span()).unwrap();
            [largest, without, dx].map(|found| found.read(gpu).unwrap()).concat()
        });
        let (forward, dx) = found.split_at(2 * sizes[1]);
        assert_eq!(forward, cast::<f32>(&y).repeat(2), "{shape:?}");
        assert_eq!(taps_at.read(gpu).unwrap(), taps, "{shape:?}");
        let [expected, bound] = [dy.to_vec(), magnitudes(dy)].map(|dy| naive::max_backward(shape, &taps, &dy));
        close(dx, &expected, &bound, &format!("max backward {shape:?}"));

        for pad in [false, true] {
            let found = same_bits(|| {
                let [dx, y] = sizes.map(|len| poisoned(gpu, len));
                average_forward(gpu, shape, pad, x_at.span(), y.span()).unwrap();
                average_backward(gpu, shape, pad, dy_at.span(), dx.span()).unwrap();
                [y, dx].map(|found| found.read(gpu).unwrap()).concat()
            });
            let (y, dx) = found.split_at(sizes[1]);
            let [expected, bound] = [x.to_vec(), magnitudes(x)].map(|x| naive::average_forward(shape, pad, &x));
            close(y, &expected, &bound, &format!("average forward {shape:?}"));
            let [expected, bound] = [dy.to_vec(), magnitudes(dy)].map(|dy| naive::average_backward(shape, pad, &dy));
            close(dx, &expected, &bound, &format!("average backward {shape:?}"));
        }
    }

    #[test]
    fn every_pass_agrees_with_the_formula() {
        let (gpu, mut random) = (gpu(), Key::new(1).named("pool2d").stream());
        for round in 0..150 {
            let window = pool_window(&mut random);
            let picture = [5 + random.below(4), 5 + random.below(4)];
            let geometry = window.over("pool2d", picture).expect("the window fits");
            let shape = Pool2DShape { batch: round % 3, geometry, channels: draw_size(5, &mut random) };
            let [x, dy] = naive::pool2d_sizes(&shape).map(|len| few(len, &mut random));
            check_all(&gpu, &shape, &x, &dy);
        }
    }

    #[test]
    fn one_window_for_all_agrees_too() {
        let (gpu, mut random) = (gpu(), Key::new(2).named("pool2d").stream());
        let named = [([1, 1], 1), ([21, 13], 35), ([40, 30], 3), ([3, 2], 300), ([17, 16], 32)];
        for (round, (picture, channels)) in named.into_iter().enumerate() {
            let geometry = Window2D::new(picture).over("pool2d", picture).expect("the window fits");
            let shape = Pool2DShape { batch: round % 4, geometry, channels };
            let [x_len, y_len] = naive::pool2d_sizes(&shape);
            check_all(&gpu, &shape, &few(x_len, &mut random), &few(y_len, &mut random));
            check_all(&gpu, &shape, &draw(x_len, &mut random), &draw(y_len, &mut random));
        }
    }

    #[test]
    fn a_tail_is_a_pooling_and_an_activation() {
        let (gpu, mut random) = (gpu(), Key::new(3).named("pool2d").stream());
        for round in 0..100 {
            let window = tail_window(&mut random);
            let picture = [3 + random.below(6), 3 + random.below(6)];
            let pool = window.over("tail", picture).ok().filter(|_| round % 4 > 0);
            let (n, c) = (1 + random.below(3), 1 + random.below(40));
            let x = few(n * picture[0] * picture[1] * c, &mut random);
            let activation = [Activation::Linear, Activation::Relu, Activation::LeakyRelu(0.25)][round % 3];
            let shape = pool.map(|geometry| Pool2DShape { batch: n, geometry, channels: c });
            let (largest, taps) = shape.map_or((x.clone(), vec![]), |shape| naive::max_forward(&shape, &x));
            let (x, winners_at) =
                (Buffer::of(&gpu, &cast::<f32>(&x)).unwrap(), Buffer::of(&gpu, &vec![99u8; taps.len()]));
            let winners_at = winners_at.unwrap();
            let shape = [n, picture[0], picture[1], c];
            let found = same_bits(|| {
                let [y, without] = [(); 2].map(|()| poisoned(&gpu, largest.len()));
                let of = Tail { activation, pool };
                tail(&gpu, &of, shape, x.span(), y.span(), pool.map(|_| winners_at.span())).unwrap();
                tail(&gpu, &of, shape, x.span(), without.span(), None).unwrap();
                [y, without].map(|found| found.read(&gpu).unwrap()).concat()
            });
            let expected: Vec<f32> = largest.iter().map(|&y| activation.value(y) as f32).collect();
            assert_eq!(found, expected.repeat(2), "{pool:?} {activation:?}");
            assert_eq!(
                winners_at.read(&gpu).unwrap(),
                if pool.is_some() { winners(activation, &largest, &taps) } else { vec![] }
            );
        }
    }

    // The last two windows see −∞ alone.
    #[test]
    fn the_first_nan_wins_and_stays() {
        let (gpu, nan, infinity) = (gpu(), f32::NAN, f32::INFINITY);
        let pixels = [1.0, nan, 7.0, 7.0, 2.0, nan, -infinity, nan].into_iter().chain([-infinity; 8]);
        let halves = Window2D { stride: [2, 2], ..Window2D::new(2) }.over("pool2d", [2, 4]).expect("the window fits");
        let whole =
            Window2D { stride: [2, 4], ..Window2D::new([2, 4]) }.over("pool2d", [2, 4]).expect("the window fits");
        for (channels, geometry, expected) in
            [1, 40].into_iter().flat_map(|c| [(c, halves, vec![1, 3, 0, 0]), (c, whole, vec![1, 0])])
        {
            let each = |of: &[u8]| of.iter().flat_map(|&tap| vec![tap; channels]).collect::<Vec<_>>();
            let x: Vec<_> = pixels.clone().flat_map(|pixel| vec![pixel; channels]).collect();
            let (x, len) = (Buffer::of(&gpu, &x).unwrap(), expected.len() * channels);
            let is_right = |y: &[f32], seen: f32| {
                y[..len / 2].iter().all(|y| y.is_nan()) && y[len / 2..].iter().all(|&y| y == seen)
            };
            let (y, taps) = (poisoned(&gpu, len), Buffer::of(&gpu, &vec![9u32; len]).unwrap());
            let shape = Pool2DShape { batch: 2, geometry, channels };
            max_forward(&gpu, &shape, x.span(), y.span(), Some(taps.span())).unwrap();
            assert!(is_right(&y.read(&gpu).unwrap(), -infinity));
            assert!(taps.read(&gpu).unwrap().into_iter().eq(each(&expected).into_iter().map(u32::from)));

            for (activation, seen) in [(Activation::Linear, -infinity), (Activation::Relu, 0.0)] {
                let (of, winners) = (Tail { activation, pool: Some(geometry) }, Buffer::of(&gpu, &vec![9u8; len]));
                let winners = winners.unwrap();
                tail(&gpu, &of, [2, 2, 4, channels], x.span(), y.span(), Some(winners.span())).unwrap();
                assert!(is_right(&y.read(&gpu).unwrap(), seen), "{activation:?}");
                let lost = |tap: &u8| if seen == 0.0 && *tap == 0 { NO_TAP } else { *tap };
                assert_eq!(winners.read(&gpu).unwrap(), each(&expected.iter().map(lost).collect::<Vec<_>>()));
            }
        }
    }
}
