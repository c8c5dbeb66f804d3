//! y = γ·x̂ + β,  x̂ = (x − μ)·r,  r = 1/√(σ² + ε),  for each channel on its own, what follows it, and the way back.
//! x [N, H, W, C]  γ, β, μ, σ², r [C]  →  y [N, PH, PW, C]     (Ioffe & Szegedy, arXiv:1502.03167)
//!
//! A pixel of a picture is a row of a matrix [N·H·W, C].

use super::call::{Parameter, THREADS, as_it_is};
use super::columns::Columns;
use super::windows::Windows;
use super::{Gpu, Span};
use crate::error::Result;
use crate::kernels::cpu::tail::Tail;
use crate::shape::Geometry2D;

/// What a normalisation knows of each channel [C].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub mean: Span<'a, f32>,
    /// r
    pub inverse_deviation: Span<'a, f32>,
    pub gamma: Span<'a, f32>,
    pub beta: Span<'a, f32>,
}

// SAFETY: laid out as `struct Norm` of batch_norm.cu.
unsafe impl Parameter for Norm<'_> {
    type Passed = [u64; 4];

    fn passed(self) -> [u64; 4] {
        self.spans().map(Span::passed)
    }
}

impl<'a> Norm<'a> {
    fn spans(self) -> [Span<'a, f32>; 4] {
        [self.mean, self.inverse_deviation, self.gamma, self.beta]
    }

    fn check(self, channels: usize) {
        assert!(self.spans().iter().all(|span| span.len() == channels));
    }
}

/// Overwrites `mean` and `variance` [C] with those of `x` [M, C], with M ≥ 1.
pub(crate) fn statistics(
    gpu: &Gpu,
    [rows, channels]: [usize; 2],
    x: Span<'_, f32>,
    mean: Span<'_, f32>,
    variance: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    assert!(rows > 0 && x.len() == rows * channels && mean.len() == channels && variance.len() == channels);
    let of = Columns::parts([rows, channels]);
    let parts = scratch.part(..3 * of.blocks() * channels);
    let call = gpu.call("batch_norm", "batch_norm_moments")?.with(x).with(of).with(parts);
    // SAFETY: `of` is cut out of the rows and columns of x, and each of its blocks writes its three rows.
    unsafe { call.launch(of.grid(), THREADS) }?;
    let narrow = of.narrow();
    let call = gpu.call("batch_norm", "batch_norm_statistics")?.with(parts).with(narrow).size(of.blocks());
    let call = call.with(mean).with(variance);
    // SAFETY: so many parts were written; each thread that writes has a column of its own.
    unsafe { call.launch([1, narrow.tiles(), 1], THREADS) }
}

/// The room, in numbers, that `statistics` and `parameter_gradients` need for x [M, C].
pub(crate) fn scratch([rows, channels]: [usize; 2]) -> usize {
    // Behind a pooling there are fewer rows, which may be cut into a few more blocks.
    3 * (Columns::parts([rows, channels]).blocks() + 1) * channels
}

/// r = 1/√(σ² + ε): overwrites `to`.
pub(crate) fn inverse_deviation(gpu: &Gpu, variance: Span<'_, f32>, epsilon: f64, to: Span<'_, f32>) -> Result<()> {
    assert_eq!(variance.len(), to.len());
    let call = gpu.call("batch_norm", "batch_norm_inverse_deviation")?;
    let call = call.with(variance).with(epsilon as f32).with(to).size(to.len());
    // SAFETY: a thread reads and writes one number.
    unsafe { call.for_each(to.len()) }
}

/// moving ← momentum · moving + (1 − momentum) · new, in the form that is exact where both are the same; not where the
/// training is halted.
pub(crate) fn follow(
    gpu: &Gpu,
    control: Span<'_, u32>,
    moving: Span<'_, f32>,
    new: Span<'_, f32>,
    momentum: f64,
) -> Result<()> {
    assert!(control.len() == 4 && moving.len() == new.len());
    let call = gpu.call("batch_norm", "batch_norm_follow")?.with(control).with(moving).with(new);
    let call = call.with((1.0 - momentum) as f32).size(new.len());
    // SAFETY: as above.
    unsafe { call.for_each(new.len()) }
}

/// Overwrites `y` [N, PH, PW, C] with the tail of γ·x̂ + β, and `winners`, which go with a pooling, as the tail does.
pub(crate) fn forward(
    gpu: &Gpu,
    picture: [usize; 4],
    x: Span<'_, f32>,
    norm: &Norm<'_>,
    tail: &Tail,
    y: Span<'_, f32>,
    winners: Option<Span<'_, u8>>,
) -> Result<()> {
    let [n, h, w, c] = picture;
    norm.check(c);
    let [ph, pw] = tail.output([h, w]);
    assert!(x.len() == n * h * w * c && y.len() == n * ph * pw * c && x.len() <= i32::MAX as usize);
    assert!(winners.is_none_or(|winners| winners.len() == y.len() && tail.pool.is_some()));
    let of = Columns::each([n * ph * pw, c]);
    let call = match &tail.pool {
        None => {
            gpu.call("batch_norm", "batch_norm_forward")?.with(x).with(*norm).with(tail.activation).with(of).with(y)
        }
        Some(pool) => {
            assert!(pool.input == [h, w] && Tail::takes(pool));
            let call = gpu.call("batch_norm", "batch_norm_pooled")?.with(x).with(*norm).with(tail.activation);
            call.with(Windows::new(pool, c)).with(of).with(y).with(winners.unwrap_or(Span::none()))
        }
    };
    // SAFETY: a thread writes numbers of its rows of y, and reads those of x that lie in their windows.
    unsafe { call.launch(of.grid(), THREADS) }
}

/// The pooling of the tail, and which tap of each window won.
pub(crate) type Pool<'a> = Option<(Geometry2D, Span<'a, u8>)>;

/// `struct Gradient` of batch_norm.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Gradient {
    dy: u64,
    winners: u64,
    windows: Windows,
}

as_it_is!(Gradient);

impl Gradient {
    /// The gradient behind the tail, times the activation's slope: of each pixel, or of each window.
    fn new([n, h, w, c]: [usize; 4], x: Span<'_, f32>, dy: Span<'_, f32>, pool: Pool<'_>) -> Self {
        assert!(x.len() == n * h * w * c && x.len() <= i32::MAX as usize);
        let Some((pool, winners)) = pool else {
            assert_eq!(dy.len(), x.len());
            return Self { dy: dy.passed(), winners: 0, windows: Windows::none() };
        };
        assert!(
            Tail::takes(&pool)
                && pool.input == [h, w]
                && dy.len() == n * pool.pixels() * c
                && winners.len() == dy.len()
        );
        Self { dy: dy.passed(), winners: winners.passed(), windows: Windows::new(&pool, c) }
    }
}

/// dγ = Σ dy·x̂ and dβ = Σ dy: overwrites both [C].
#[expect(clippy::too_many_arguments, reason = "all that belongs to a normalisation's way back")]
pub(crate) fn parameter_gradients(
    gpu: &Gpu,
    picture: [usize; 4],
    x: Span<'_, f32>,
    norm: &Norm<'_>,
    dy: Span<'_, f32>,
    pool: Pool<'_>,
    dgamma: Span<'_, f32>,
    dbeta: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    let channels = picture[3];
    norm.check(channels);
    assert!(dgamma.len() == channels && dbeta.len() == channels);
    let (gradient, of) = (Gradient::new(picture, x, dy, pool), Columns::parts([dy.len() / channels, channels]));
    let parts = scratch.part(..2 * of.blocks() * channels);
    let call = gpu.call("batch_norm", "batch_norm_products")?.with(x).with(norm.mean).with(gradient);
    let call = call.with(of).with(parts);
    // SAFETY: `of` is cut out of the rows of dy, and each of its blocks writes its two rows. The kernel reads x where the
    // window has a pixel.
    unsafe { call.launch(of.grid(), THREADS) }?;
    let of = Columns::of_parts([of.blocks(), channels]);
    let call = gpu.call("batch_norm", "batch_norm_parameter_gradients")?.with(parts).with(norm.inverse_deviation);
    let call = call.with(of).with(dgamma).with(dbeta);
    // SAFETY: so many parts were written; each thread that writes has a column of its own.
    unsafe { call.launch(of.grid(), THREADS) }
}

/// dx = γ·r·(dy − dβ/M − x̂·dγ/M): overwrites `dx` [N, H, W, C].
#[expect(clippy::too_many_arguments, reason = "as above")]
pub(crate) fn input_gradient(
    gpu: &Gpu,
    picture: [usize; 4],
    x: Span<'_, f32>,
    norm: &Norm<'_>,
    dy: Span<'_, f32>,
    pool: Pool<'_>,
    dgamma: Span<'_, f32>,
    dbeta: Span<'_, f32>,
    dx: Span<'_, f32>,
) -> Result<()> {
    let [n, h, w, channels] = picture;
    norm.check(channels);
    assert!(dgamma.len() == channels && dbeta.len() == channels && dx.len() == x.len());
    let (gradient, of) = (Gradient::new(picture, x, dy, pool), Columns::each([n * h * w, channels]));
    let call = gpu.call("batch_norm", "batch_norm_input_gradient")?.with(x).with(*norm).with(gradient);
    let call = call.with(dgamma).with(dbeta).with(of).with(dx);
    // SAFETY: a thread writes numbers of its rows of dx, and reads the outputs whose windows they lie in.
    unsafe { call.launch(of.grid(), THREADS) }
}

#[cfg(test)]
mod tests {
    use super::super::Buffer;
    use super::super::testing::{gpu, poisoned, same_bits};
    use super::*;
    use crate::kernels::cpu::activation::Activation;
    use crate::kernels::cpu::naive;
    use crate::kernels::cpu::pool2d::Pool2DShape;
    use crate::kernels::cpu::testing::{cast, close, draw, draw_size, magnitudes, tail_window, winners};
    use crate::random::{Key, Random};
    use crate::simd::largest::NO_TAP;

    #[test]
    fn statistics_agree_with_the_formula() {
        let (gpu, mut random) = (gpu(), Key::new(1).named("statistics").stream());
        let named = [[1, 1], [9000, 1], [5000, 3], [70_001, 2], [300, 130], [130, 700], [40_000, 8]];
        let drawn = (0..40).map(|_| [1 + random.below(2000), draw_size(6, &mut random)]).collect::<Vec<_>>();
        for shape in named.into_iter().chain(drawn) {
            // Means up to a thousand deviations away.
            let ([rows, channels], far) = (shape, [0.0, 1.0, 1000.0][random.below(3)]);
            let x: Vec<_> = draw(rows * channels, &mut random).iter().map(|x| f64::from((x + far) as f32)).collect();
            let mean_of = |x: &[f64]| -> Vec<f64> {
                (0..channels).map(|c| x.iter().skip(c).step_by(channels).sum::<f64>() / rows as f64).collect()
            };
            let means = mean_of(&x);
            let squares: Vec<_> = x.iter().enumerate().map(|(at, x)| (x - means[at % channels]).powi(2)).collect();
            let x_at = Buffer::of(&gpu, &cast::<f32>(&x)).unwrap();
            let found = same_bits(|| {
                let [mean, variance, room] = [channels, channels, scratch(shape)].map(|len| poisoned(&gpu, len));
                statistics(&gpu, shape, x_at.span(), mean.span(), variance.span(), room.span()).unwrap();
                [mean, variance].map(|found| found.read(&gpu).unwrap()).concat()
            });
            let (mean, variance) = found.split_at(channels);
            close(mean, &means, &mean_of(&magnitudes(&x)), &format!("mean of {shape:?}"));
            close(variance, &mean_of(&squares), &mean_of(&squares), &format!("variance of {shape:?}, {far} away"));
        }
    }

    /// Numbers of few bits: normalised without an error, often the same, so that pooling has ties to decide.
    struct Case {
        /// [N, H, W, C]
        picture: [usize; 4],
        tail: Tail,
        /// μ, r, γ, β
        channels: [Vec<f64>; 4],
        x: Vec<f64>,
        /// Of the output.
        dy: Vec<f64>,
    }

    impl Case {
        fn draw(picture: [usize; 4], tail: Tail, random: &mut Random) -> Self {
            let mut grid = |len: usize, step: f64| -> Vec<f64> {
                (0..len).map(|_| step * (random.below(15) as f64 - 7.0)).collect()
            };
            let [n, h, w, c] = picture;
            let r = grid(c, 1.0).iter().map(|n| 2.0f64.powi(*n as i32 / 4)).collect();
            let channels = [grid(c, 0.5), r, grid(c, 0.25), grid(c, 0.5)];
            let [ph, pw] = tail.output([h, w]);
            Self { picture, tail, channels, x: grid(n * h * w * c, 1.0), dy: grid(n * ph * pw * c, 0.125) }
        }

        /// Number `of` of the channel that number `at` of x belongs to.
        fn channel(&self, of: usize, at: usize) -> f64 {
            self.channels[of][at % self.picture[3]]
        }

        fn each(&self, number: impl Fn(usize) -> f64) -> Vec<f64> {
            (0..self.x.len()).map(number).collect()
        }

        /// Of each channel.
        fn sum(&self, number: impl Fn(usize) -> f64) -> Vec<f64> {
            let c = self.picture[3];
            (0..c).map(|first| (first..self.x.len()).step_by(c).map(&number).sum()).collect()
        }

        fn check(&self) {
            let Self { picture: [n, _, _, c], tail, .. } = *self;
            let what = format!("{:?} {tail:?}", self.picture);
            let normal = self.each(|i| (self.x[i] - self.channel(0, i)) * self.channel(1, i));
            let mut y = self.each(|i| self.channel(2, i) * normal[i] + self.channel(3, i));
            let (mut won, mut dense) = (vec![], self.dy.clone());
            if let Some(geometry) = tail.pool {
                let shape = Pool2DShape { batch: n, geometry, channels: c };
                let (largest, taps) = naive::max_forward(&shape, &y);
                (won, y) = (winners(tail.activation, &largest, &taps), largest);
                let met = self.dy.iter().zip(&won).map(|(&dy, &winner)| if winner == NO_TAP { 0.0 } else { dy });
                dense = naive::max_backward(&shape, &taps, &met.collect::<Vec<_>>());
            }
            let y: Vec<f32> = y.iter().map(|&y| tail.activation.value(y as f32)).collect();

            let (found, found_won) = self.found();
            let (forward, back) = found.split_at(2 * y.len());
            assert_eq!(forward, y.repeat(2), "{what}");
            assert_eq!(found_won, won, "{what}");
            let (sums, dx) = back.split_at(2 * c);

            let [dbeta, dgamma] = [self.sum(|i| dense[i]), self.sum(|i| dense[i] * normal[i])];
            let bounds = [self.sum(|i| dense[i].abs()), self.sum(|i| (dense[i] * normal[i]).abs())];
            close(&sums[..c], &dgamma, &bounds[1], &format!("dγ {what}"));
            close(&sums[c..], &dbeta, &bounds[0], &format!("dβ {what}"));
            let pixels = (self.x.len() / c) as f64;
            let scale = |i: usize| self.channel(2, i) * self.channel(1, i);
            let expected = self.each(|i| scale(i) * (dense[i] - (dbeta[i % c] + normal[i] * dgamma[i % c]) / pixels));
            let bound = self.each(|i| {
                let means = (bounds[0][i % c] + normal[i].abs() * bounds[1][i % c]) / pixels;
                scale(i).abs() * (dense[i].abs() + means)
            });
            close(dx, &expected, &bound, &format!("dx {what}"));
        }

        /// y twice, dγ, dβ, dx and the winners.
        fn found(&self) -> (Vec<f32>, Vec<u8>) {
            let (gpu, Self { picture, tail, .. }) = (gpu(), self);
            let of = |numbers: &[f64]| Buffer::of(&gpu, &cast::<f32>(numbers)).unwrap();
            let (x, dy, channels) = (of(&self.x), of(&self.dy), self.channels.each_ref().map(|numbers| of(numbers)));
            let [mean, inverse_deviation, gamma, beta] = channels.each_ref().map(Buffer::span);
            let norm = Norm { mean, inverse_deviation, gamma, beta };
            let winners = Buffer::of(&gpu, &vec![99u8; tail.pool.map_or(0, |_| self.dy.len())]).unwrap();
            let pool = tail.pool.map(|pool| (pool, winners.span()));
            let [n, h, w, c] = *picture;
            let room = scratch([n * h * w, c]);
            let found = same_bits(|| {
                let sizes = [self.dy.len(), self.dy.len(), c, c, self.x.len(), room];
                let [y, without, dgamma, dbeta, dx, room] = sizes.map(|len| poisoned(&gpu, len));
                forward(&gpu, *picture, x.span(), &norm, tail, y.span(), pool.map(|(_, winners)| winners)).unwrap();
                forward(&gpu, *picture, x.span(), &norm, tail, without.span(), None).unwrap();
                let (x, dy, sums) = (x.span(), dy.span(), [dgamma.span(), dbeta.span()]);
                parameter_gradients(&gpu, *picture, x, &norm, dy, pool, sums[0], sums[1], room.span()).unwrap();
                input_gradient(&gpu, *picture, x, &norm, dy, pool, sums[0], sums[1], dx.span()).unwrap();
                [y, without, dgamma, dbeta, dx].map(|found| found.read(&gpu).unwrap()).concat()
            });
            (found, winners.read(&gpu).unwrap())
        }
    }

    #[test]
    fn every_pass_agrees_with_the_formula() {
        let mut random = Key::new(2).named("normalization").stream();
        // The tall one has rows where the tap that nobody has would be, and a ReLU.
        let large = [[7, 64, 16, 3], [5, 9, 31, 33], [1, 300, 4, 2], [3, 8, 8, 300], [3000, 1, 1, 32], [9, 40, 40, 1]];
        for round in 0..120 {
            let [h, w] = [(); 2].map(|()| 1 + random.below(9));
            let drawn = [1 + round % 4, h, w, draw_size(6, &mut random)];
            let picture = large.get(round / 2).copied().unwrap_or(drawn);
            let window = tail_window(&mut random);
            let pool = window.over("batch_norm", [picture[1], picture[2]]).ok().filter(|_| round % 2 == 0);
            let activation = [Activation::Linear, Activation::Relu, Activation::LeakyRelu(0.25)][round % 3];
            Case::draw(picture, Tail { activation, pool }, &mut random).check();
        }
    }

    #[test]
    fn deviations_and_moving_averages_agree_with_the_formula() {
        let (gpu, mut random) = (gpu(), Key::new(3).named("normalization").stream());
        for len in [1, 256, 300] {
            let [variance, moving] = [(); 2].map(|()| magnitudes(&draw(len, &mut random)));
            let [variance_at, moving_at] = [&variance, &moving].map(|of| Buffer::of(&gpu, &cast::<f32>(of)).unwrap());
            let r = poisoned(&gpu, len);
            inverse_deviation(&gpu, variance_at.span(), 1e-3, r.span()).unwrap();
            let expected: Vec<_> = variance.iter().map(|variance| (variance + 1e-3).sqrt().recip()).collect();
            close(&r.read(&gpu).unwrap(), &expected, &expected, "r");

            let control = Buffer::of(&gpu, &[0, 1, 0, 0]).unwrap();
            follow(&gpu, control.span(), moving_at.span(), variance_at.span(), 0.99).unwrap();
            assert_eq!(moving_at.read(&gpu).unwrap(), cast::<f32>(&moving), "a training that is halted");
            control.span().write(&gpu, &[5, 0, 0, 0]).unwrap();
            follow(&gpu, control.span(), moving_at.span(), variance_at.span(), 0.99).unwrap();
            let expected: Vec<_> = moving.iter().zip(&variance).map(|(m, new)| 0.99 * m + 0.01 * new).collect();
            close(&moving_at.read(&gpu).unwrap(), &expected, &expected, "a moving average");
        }
    }
}
