//! y = γ·x̂ + β,  x̂ = (x − μ)·r,  r = 1/√(σ² + ε),  for each channel on its own, and what follows it.
//! x [N, H, W, C]  γ, β, μ, σ², r [C]  →  y [N, PH, PW, C]     (Ioffe & Szegedy, arXiv:1502.03167)
//!
//! In training μ = Σ x/M and σ² = Σ (x − μ)²/M over the M = N·H·W pixels.
//!
//! All of it waits for memory, so every pass goes there once: by chunks of pixels, or rows of pictures, that stay in
//! cache. A chunk's sums are in `E`, over wide rows; the chunks are put together in `f64`, in order.

use super::activation::{Activation, values};
use super::reduce::{add_up, fold, repeat, wide};
use super::tail::Tail;
use super::{parallel, scratch};
use crate::element::Element;
use crate::simd::{Kernel, Simd};

/// Numbers of a chunk.
pub(super) const CHUNK: usize = 1 << 13;

/// Pixels that a chunk has at least: what is kept of a chunk is as long as two or four.
const PIXELS: usize = 64;

/// What a number is worth in multiply-adds: its way through memory.
pub(super) const WORK: usize = 8;

/// The numbers of a chunk of pixels.
pub(super) fn chunk(channels: usize) -> usize {
    (CHUNK / channels).max(PIXELS) * channels
}

/// Chunk `index` of `numbers`; the last one may be shorter.
pub(super) fn piece<E>(numbers: &[E], index: usize, chunk: usize) -> &[E] {
    &numbers[index * chunk..numbers.len().min((index + 1) * chunk)]
}

/// Overwrites `mean` and `variance` [C] with those of `x` [M, C], with M ≥ 1.
///
/// Each chunk's sums are of d = x − the mean of its first quarter, so that little is lost where the mean is far from 0:
/// Σ (x − μ_k)² = Σ d² − (Σ d)²/m_k is at least a quarter of Σ d². Chunks are put together as Chan, Golub and LeVeque
/// do (1983): Σ (x − μ)² = Σ_k (Σ (x − μ_k)² + m_k·(μ_k − μ)²).
pub(crate) fn statistics<E: Element>(x: &[E], mean: &mut [E], variance: &mut [E]) {
    assert!(mean.len() == variance.len() && x.len().is_multiple_of(mean.len()));
    E::dispatch(Statistics { x, mean, variance });
}

struct Statistics<'a, E> {
    x: &'a [E],
    mean: &'a mut [E],
    variance: &'a mut [E],
}

impl<E: Element> Kernel<E> for Statistics<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { x, mean, variance } = self;
        let (channels, chunk, wide) = (mean.len(), chunk(mean.len()), wide(mean.len()));
        // The sums of all chunks, and those of each.
        scratch::with((1 + x.len().div_ceil(chunk)) * 2 * channels, |sums| {
            let (total, parts) = sums.split_at_mut(2 * channels);
            parallel::chunks_mut(WORK * x.len(), parts, 2 * channels, |index, part| {
                let x = piece(x, index, chunk);
                scratch::with(3 * wide, |work| simd.vectorize(Moments { x, work, part }));
            });
            let pixels = |index: usize| (piece(x, index, chunk).len() / channels) as f64;
            simd.vectorize(Merge { parts, pixels, total, mean, variance });
        });
    }
}

/// Of one chunk: overwrites `part` with its means and its sums of squared distances from them, [2, C].
struct Moments<'a, E> {
    x: &'a [E],
    /// Three wide rows.
    work: &'a mut [E],
    part: &'a mut [f64],
}

impl<E: Element> Kernel<E> for Moments<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let (means, squares) = self.part.split_at_mut(self.part.len() / 2);
        let (channels, wide) = (means.len(), self.work.len() / 3);
        let (pixels, quarter) = (self.x.len() / channels, (self.x.len() / channels).div_ceil(4));
        self.work.fill(E::zero());
        let (near, sums) = self.work.split_at_mut(wide);
        add_up(&self.x[..quarter * channels], near);
        fold(near, channels);
        near[..channels].iter_mut().for_each(|sum| *sum /= E::of(quarter as f64));
        repeat(near, channels);
        let (first, second) = sums.split_at_mut(wide);
        // Two rows at a time: the sums are read and written less often.
        let twos = self.x.chunks_exact(2 * wide);
        for row in twos.remainder().chunks(wide) {
            // The second row adds nothing.
            add_distances(first, second, near, [row, near]);
        }
        for two in twos {
            let (row, other) = two.split_at(wide);
            add_distances(first, second, near, [row, other]);
        }
        fold(first, channels);
        fold(second, channels);
        for ((mean, square), ((near, first), second)) in
            means.iter_mut().zip(squares).zip(near.iter().zip(first).zip(second))
        {
            let rest = first.as_f64() / pixels as f64;
            *mean = near.as_f64() + rest;
            *square = second.as_f64() - first.as_f64() * rest;
        }
    }
}

/// Adds the distances of two rows from `near`, and their squares.
// The loops over rows are functions of slices: so the compiler knows that these do not overlap.
#[inline(always)]
fn add_distances<E: Element>(first: &mut [E], second: &mut [E], near: &[E], [row, other]: [&[E]; 2]) {
    let rows = row.iter().zip(other).zip(near);
    for (((&x, &y), &near), (first, second)) in rows.zip(first.iter_mut().zip(second)) {
        let (d, e) = (x - near, y - near);
        *first += d + e;
        *second += d * d + e * e;
    }
}

/// Of all chunks: overwrites `mean` and `variance`.
struct Merge<'a, E, P> {
    /// Of each chunk its means and its sums of squared distances, [2, C].
    parts: &'a [f64],
    /// Pixels of a chunk.
    pixels: P,
    /// Two rows of sums.
    total: &'a mut [f64],
    mean: &'a mut [E],
    variance: &'a mut [E],
}

impl<E: Element, P: Fn(usize) -> f64> Kernel<E> for Merge<'_, E, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let Self { parts, pixels, total, mean, variance } = self;
        let (channels, parts) = (mean.len(), parts.chunks_exact(2 * mean.len()));
        let all: f64 = (0..parts.len()).map(&pixels).sum();
        total.fill(0.0);
        let (means, squares) = total.split_at_mut(channels);
        for (index, part) in parts.clone().enumerate() {
            let weight = pixels(index) / all;
            means.iter_mut().zip(part).for_each(|(mean, part)| *mean += weight * part);
        }
        for (index, part) in parts.enumerate() {
            let (pixels, (part_means, part_squares)) = (pixels(index), part.split_at(channels));
            let terms = part_means.iter().zip(part_squares).zip(&*means);
            squares.iter_mut().zip(terms).for_each(|(sum, ((part, square), mean))| {
                *sum += square + pixels * (part - mean) * (part - mean);
            });
        }
        mean.iter_mut().zip(means).for_each(|(mean, sum)| *mean = E::of(*sum));
        variance.iter_mut().zip(squares).for_each(|(variance, sum)| *variance = E::of(*sum / all));
    }
}

/// r = 1/√(σ² + ε)
pub(crate) fn inverse_deviation<E: Element>(variance: &[E], epsilon: f64, r: &mut [E]) {
    r.iter_mut().zip(variance).for_each(|(r, &variance)| *r = (variance + E::of(epsilon)).sqrt().recip());
}

/// moving ← momentum · moving + (1 − momentum) · new, in the form that is exact where both are the same.
pub(crate) fn follow<E: Element>(moving: &mut [E], new: &[E], momentum: f64) {
    let part = E::of(1.0 - momentum);
    moving.iter_mut().zip(new).for_each(|(moving, &new)| *moving += (new - *moving) * part);
}

/// What a normalisation knows of each channel [C].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Normalization<'a, E> {
    pub gamma: &'a [E],
    pub beta: &'a [E],
    pub mean: &'a [E],
    /// r
    pub inverse_deviation: &'a [E],
}

impl<E: Element> Normalization<'_, E> {
    /// Overwrites `y` [N, PH, PW, C] with the tail of γ·x̂ + β, and `argmax`, which goes with a pooling, as the tail does.
    /// `picture` is [H, W, C] of `x`.
    pub fn forward(&self, picture: [usize; 3], x: &[E], tail: Tail, y: &mut [E], argmax: Option<&mut [u8]>) {
        let [height, width, channels] = picture;
        let [rows, columns] = tail.output([height, width]);
        assert_eq!(x.len() * rows * columns, y.len() * height * width);
        assert!(argmax.as_ref().is_none_or(|argmax| argmax.len() == y.len()));
        assert_eq!(self.mean.len(), channels);
        E::dispatch(Forward { norm: self, picture, x, tail, y, argmax });
    }
}

struct Forward<'a, E> {
    norm: &'a Normalization<'a, E>,
    picture: [usize; 3],
    x: &'a [E],
    tail: Tail,
    y: &'a mut [E],
    argmax: Option<&'a mut [u8]>,
}

impl<E: Element> Kernel<E> for Forward<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { norm, picture: [height, width, channels], x, tail, y, argmax } = self;
        // y = x·s + (β − μ·s), s = γ·r
        let coefficients = |c: usize| {
            let scale = (norm.gamma[c] * norm.inverse_deviation[c]).flushed();
            [scale, norm.beta[c] - norm.mean[c] * scale]
        };
        with_rows(channels, coefficients, |[scale, shift]| {
            if tail.pool.is_none() {
                let (chunk, activation) = (chunk(channels), tail.activation);
                return parallel::chunks_mut(WORK * x.len(), y, chunk, |index, y| {
                    simd.vectorize(Affine { x: piece(x, index, chunk), scale, shift, activation, y });
                });
            }
            let (rows, columns) = (tail.output([height, width])[0], tail.output([height, width])[1] * channels);
            let row = |row: usize, y: &mut [E], argmax: Option<&mut [u8]>| {
                let (outputs, picture) = (row % rows..row % rows + 1, row / rows * height);
                let reads = tail.reads(outputs.clone());
                let x = &x[(picture + reads.start) * width * channels..(picture + reads.end) * width * channels];
                scratch::with(x.len(), |normal| {
                    simd.vectorize(Affine { x, scale, shift, activation: Activation::Linear, y: normal });
                    tail.write(simd, normal, [width, channels], outputs, y, argmax);
                });
            };
            let work = WORK * x.len();
            match argmax {
                Some(argmax) => {
                    parallel::zip_chunks_mut(work, y, argmax, columns, |at, y, argmax| row(at, y, Some(argmax)));
                }
                None => parallel::chunks_mut(work, y, columns, |at, y| row(at, y, None)),
            }
        });
    }
}

/// Runs `work` on wide rows of coefficients that are given for each channel.
pub(super) fn with_rows<E: Element, const K: usize>(
    channels: usize,
    coefficients: impl Fn(usize) -> [E; K],
    work: impl FnOnce([&[E]; K]),
) {
    let wide = wide(channels);
    scratch::with(K * wide, |rows| {
        for c in 0..channels {
            for (k, coefficient) in coefficients(c).into_iter().enumerate() {
                rows[k * wide + c] = coefficient;
            }
        }
        rows.chunks_exact_mut(wide).for_each(|row| repeat(row, channels));
        work(std::array::from_fn(|k| &rows[k * wide..][..wide]));
    });
}

/// y = f(x·scale + shift)
struct Affine<'a, E> {
    x: &'a [E],
    /// Wide rows.
    scale: &'a [E],
    shift: &'a [E],
    activation: Activation,
    y: &'a mut [E],
}

impl<E: Element> Kernel<E> for Affine<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let wide = self.scale.len();
        for (y, x) in self.y.chunks_mut(wide).zip(self.x.chunks(wide)) {
            affine(y, x, self.scale, self.shift);
            values(self.activation, y);
        }
    }
}

#[inline(always)]
fn affine<E: Element>(y: &mut [E], x: &[E], scale: &[E], shift: &[E]) {
    for ((y, &x), (&scale, &shift)) in y.iter_mut().zip(x).zip(scale.iter().zip(shift)) {
        *y = (x * scale + shift).flushed();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Number};
    use super::*;
    use crate::random::Key;

    /// Means and variances of [M, C], with the magnitudes that their errors go with.
    fn naive_statistics(channels: usize, x: &[f64]) -> [Vec<f64>; 3] {
        let column = |c: usize| x.iter().skip(c).step_by(channels);
        let pixels = (x.len() / channels) as f64;
        let mean: Vec<_> = (0..channels).map(|c| column(c).sum::<f64>() / pixels).collect();
        let square = |c: usize| column(c).map(|x| (x - mean[c]).powi(2)).sum::<f64>();
        let variance = (0..channels).map(|c| square(c) / pixels).collect();
        let size = (0..channels).map(|c| column(c).map(|x| x.abs()).sum::<f64>() / pixels).collect();
        [mean, variance, size]
    }

    fn check_statistics<E: Number>(channels: usize, x: &[f64]) {
        let [means, variances, sizes] = naive_statistics(channels, x);
        let x = testing::cast::<E>(x);
        testing::on_each_path(x.len(), || {
            let [mut mean, mut variance] = [(); 2].map(|()| vec![E::nan(); channels]);
            statistics(&x, &mut mean, &mut variance);
            testing::close(&mean, &means, &sizes, "mean");
            testing::close(&variance, &variances, &variances, "variance");
            [mean, variance]
        });
    }

    #[test]
    fn statistics_agree_with_the_formula() {
        let mut random = Key::new(1).named("statistics").stream();
        for round in 0..2000 {
            let drawn = (1 + random.below(60), testing::draw_size(7, &mut random));
            let named = [(1, 1), (9000, 1), (5000, 3), (70_001, 2), (300, 130), (130, 700)];
            let (pixels, channels) = named.get(round).copied().unwrap_or(drawn);
            // Means up to a thousand deviations away.
            let far = [0.0, 1.0, 1000.0][random.below(3)];
            let near = testing::draw(pixels * channels, &mut random);
            let x: Vec<_> = near.iter().map(|x| f64::from((x + far) as f32)).collect();
            check_statistics::<f32>(channels, &x);
            check_statistics::<f64>(channels, &x);
        }
    }
}
