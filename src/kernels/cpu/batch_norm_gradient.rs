//! The way back through y = γ·x̂ + β, x̂ = (x − μ)·r, with the batch's μ and r = 1/√(σ² + ε).
//! dy [N, PH, PW, C]  x [N, H, W, C]  →  dγ, dβ [C]  dx [N, H, W, C]     (Ioffe & Szegedy, arXiv:1502.03167)
//!
//! dβ = Σ dy    dγ = Σ dy·x̂    dx = γ·r·(dy − dβ/M − x̂·dγ/M)        over the M = N·H·W pixels
//!
//! Behind a pooling, dy is 0 but for the taps that won. Then it is written down, row by row of windows, in the first
//! cache: all pixels have a share in dx.

use super::batch_norm::{CHUNK, Normalization, WORK, chunk, piece, with_rows};
use super::reduce::{fold, sum_rows};
use super::{parallel, scratch};
use crate::element::Element;
use crate::shape::Geometry2D;
use crate::simd::{Kernel, Simd};
use std::ops::Range;

/// What comes back to a normalisation: the gradient behind its tail, times the activation's slope.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gradient<'a, E> {
    /// [H, W, C]
    pub picture: [usize; 3],
    /// What was normalised, [N, H, W, C].
    pub x: &'a [E],
    /// [N, PH, PW, C]
    pub dy: &'a [E],
    /// The tail's pooling, and which tap of each window won.
    pub pool: Option<(Geometry2D, &'a [u8])>,
}

impl<E: Element> Normalization<'_, E> {
    /// dγ = Σ dy·x̂ and dβ = Σ dy: overwrites both [C].
    pub fn parameter_gradients(&self, of: &Gradient<'_, E>, dgamma: &mut [E], dbeta: &mut [E]) {
        of.check();
        E::dispatch(ParameterGradients { norm: self, of, dgamma, dbeta });
    }

    /// dx = γ·r·(dy − dβ/M − x̂·dγ/M) of some images: overwrites `dx` [n, H, W, C]. An image is done by one thread.
    pub fn input_gradient(&self, of: &Gradient<'_, E>, [dgamma, dbeta]: [&[E]; 2], images: Range<usize>, dx: &mut [E]) {
        of.check();
        assert_eq!(dx.len(), images.len() * of.image());
        E::dispatch(InputGradient { norm: self, of, dgamma, dbeta, images, dx });
    }
}

impl<E: Element> Gradient<'_, E> {
    fn check(&self) {
        let [height, width, _] = self.picture;
        let [rows, columns] = self.pool.map_or([height, width], |(pool, _)| pool.output);
        assert_eq!(self.x.len() * rows * columns, self.dy.len() * height * width);
        assert!(self.pool.is_none_or(|(pool, argmax)| argmax.len() == self.dy.len() && pool.input == [height, width]));
    }

    /// Numbers of an image of x.
    fn image(&self) -> usize {
        self.picture.iter().product()
    }

    /// What an image is cut into: its pixels, or, behind a pooling, the rows of windows.
    fn units(&self) -> usize {
        self.pool.map_or(self.picture[0] * self.picture[1], |(pool, _)| pool.output[0])
    }

    /// Runs `work` on some units, counted over all images: on their place in x, and on the gradient there, from which
    /// nothing is left out.
    fn each<S: Simd<Elem = E>>(&self, simd: S, units: Range<usize>, mut work: impl FnMut(Range<usize>, &[E])) {
        let [_, width, channels] = self.picture;
        let Some((pool, argmax)) = self.pool else {
            let place = units.start * channels..units.end * channels;
            return work(place.clone(), &self.dy[place]);
        };
        for unit in units {
            let (image, i, columns) = (unit / pool.output[0], unit % pool.output[0], pool.output[1] * channels);
            let lines = lines(&pool, i);
            let start = image * self.image() + lines.start * width * channels;
            scratch::with(lines.len() * width * channels, |to| {
                let (dy, argmax) = (piece(self.dy, unit, columns), piece(argmax, unit, columns));
                simd.vectorize(Spread { pool, i, first: lines.start, channels, dy, argmax, to: &mut *to });
                work(start..start + to.len(), to);
            });
        }
    }

    /// Overwrites `sums` [2, C] with Σ dy and Σ dy·(x − μ) over some units; `mean` is a wide row.
    fn sum<S: Simd<Elem = E>>(&self, simd: S, units: Range<usize>, mean: &[E], sums: &mut [f64]) {
        scratch::with(2 * mean.len(), |wide| {
            wide.fill(E::zero());
            self.each(simd, units, |place, dy| {
                simd.vectorize(AddProducts { x: &self.x[place], dy, mean, sums: &mut *wide });
            });
            let channels = sums.len() / 2;
            for (sums, wide) in sums.chunks_exact_mut(channels).zip(wide.chunks_exact_mut(mean.len())) {
                fold(wide, channels);
                sums.iter_mut().zip(wide).for_each(|(sum, wide)| *sum = wide.as_f64());
            }
        });
    }
}

/// The rows of the picture that row i of the windows stands for: its own, and those up to the next window's.
fn lines(pool: &Geometry2D, i: usize) -> Range<usize> {
    let start = |i: usize| (i * pool.stride[0]).saturating_sub(pool.before[0]);
    start(i)..if i + 1 == pool.output[0] { pool.input[0] } else { start(i + 1) }
}

/// Writes row i of a pooled gradient to where it came from, and 0 elsewhere.
struct Spread<'a, E> {
    pool: Geometry2D,
    i: usize,
    /// The row of the picture that `to` begins with.
    first: usize,
    channels: usize,
    dy: &'a [E],
    argmax: &'a [u8],
    to: &'a mut [E],
}

impl<E: Element> Kernel<E> for Spread<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let Self { pool, i, first, channels, dy, argmax, to } = self;
        to.fill(E::zero());
        for u in 0..pool.kernel[0] {
            let Some(row) = pool.meets(0, i, u) else { continue };
            let to = &mut to[(row - first) * pool.input[1] * channels..];
            for (j, (dy, argmax)) in dy.chunks_exact(channels).zip(argmax.chunks_exact(channels)).enumerate() {
                for v in 0..pool.kernel[1] {
                    let Some(column) = pool.meets(1, j, v) else { continue };
                    select(&mut to[column * channels..][..channels], dy, argmax, (u * pool.kernel[1] + v) as u8);
                }
            }
        }
    }
}

/// dy where `tap` won, else 0
#[inline(always)]
fn select<E: Element>(to: &mut [E], dy: &[E], argmax: &[u8], tap: u8) {
    for ((to, &dy), &argmax) in to.iter_mut().zip(dy).zip(argmax) {
        *to = if argmax == tap { dy } else { E::zero() };
    }
}

struct ParameterGradients<'a, E> {
    norm: &'a Normalization<'a, E>,
    of: &'a Gradient<'a, E>,
    dgamma: &'a mut [E],
    dbeta: &'a mut [E],
}

impl<E: Element> Kernel<E> for ParameterGradients<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { norm, of, dgamma, dbeta } = self;
        let channels = dbeta.len();
        let units = of.x.len() / of.image().max(1) * of.units();
        // Of x, a part is about a chunk.
        let size = (chunk(channels) * of.units() / of.image().max(1)).max(1);
        let means = |c: usize| [norm.mean[c]];
        with_rows(channels, means, |[mean]| {
            scratch::with((1 + units.div_ceil(size)) * 2 * channels, |sums| {
                let (total, parts) = sums.split_at_mut(2 * channels);
                parallel::chunks_mut(WORK * of.x.len(), parts, 2 * channels, |index, part| {
                    of.sum(simd, index * size..units.min((index + 1) * size), mean, part);
                });
                sum_rows(parts, total);
                for c in 0..channels {
                    dbeta[c] = E::of(total[c]);
                    dgamma[c] = E::of(total[channels + c] * norm.inverse_deviation[c].as_f64());
                }
            });
        });
    }
}

/// Adds dy, and dy·(x − μ), to two wide rows of sums.
struct AddProducts<'a, E> {
    x: &'a [E],
    dy: &'a [E],
    /// A wide row.
    mean: &'a [E],
    sums: &'a mut [E],
}

impl<E: Element> Kernel<E> for AddProducts<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let wide = self.mean.len();
        let (plain, products) = self.sums.split_at_mut(wide);
        for (x, dy) in self.x.chunks(wide).zip(self.dy.chunks(wide)) {
            add_products(plain, products, x, dy, self.mean);
        }
    }
}

#[inline(always)]
fn add_products<E: Element>(plain: &mut [E], products: &mut [E], x: &[E], dy: &[E], mean: &[E]) {
    for (((&x, &dy), &mean), (plain, product)) in x.iter().zip(dy).zip(mean).zip(plain.iter_mut().zip(products)) {
        *plain += dy;
        *product += dy * (x - mean);
    }
}

struct InputGradient<'a, E> {
    norm: &'a Normalization<'a, E>,
    of: &'a Gradient<'a, E>,
    dgamma: &'a [E],
    dbeta: &'a [E],
    images: Range<usize>,
    dx: &'a mut [E],
}

impl<E: Element> Kernel<E> for InputGradient<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { norm, of, dgamma, dbeta, images, dx } = self;
        let channels = dgamma.len();
        let pixels = E::of((of.x.len() / channels) as f64);
        // dx = a·dy − ((x − μ)·b + c)
        let coefficients = |c: usize| {
            let a = norm.gamma[c] * norm.inverse_deviation[c];
            let b = a * norm.inverse_deviation[c] * (dgamma[c] / pixels);
            [norm.mean[c], a.flushed(), b.flushed(), (a * (dbeta[c] / pixels)).flushed()]
        };
        with_rows(channels, coefficients, |rows| {
            // Small images by many at once.
            let several = (CHUNK / of.image().max(1)).max(1);
            parallel::chunks_mut(WORK * dx.len(), dx, several * of.image(), |index, dx| {
                let first = images.start + index * several;
                let (start, last) = (first * of.image(), images.end.min(first + several));
                of.each(simd, first * of.units()..last * of.units(), |place, dy| {
                    let dx = &mut dx[place.start - start..place.end - start];
                    simd.vectorize(Linear { x: &of.x[place], dy, rows, dx });
                });
            });
        });
    }
}

/// dx = a·dy − ((x − μ)·b + c)
struct Linear<'a, E> {
    x: &'a [E],
    dy: &'a [E],
    /// Wide rows: μ, a, b, c.
    rows: [&'a [E]; 4],
    dx: &'a mut [E],
}

impl<E: Element> Kernel<E> for Linear<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let wide = self.rows[0].len();
        for ((dx, x), dy) in self.dx.chunks_mut(wide).zip(self.x.chunks(wide)).zip(self.dy.chunks(wide)) {
            linear(dx, x, dy, self.rows);
        }
    }
}

#[inline(always)]
fn linear<E: Element>(dx: &mut [E], x: &[E], dy: &[E], [mean, a, b, c]: [&[E]; 4]) {
    let coefficients = mean.iter().zip(a).zip(b.iter().zip(c));
    for (((dx, &x), &dy), ((&mean, &a), (&b, &c))) in dx.iter_mut().zip(x).zip(dy).zip(coefficients) {
        *dx = (a * dy - ((x - mean) * b + c)).flushed();
    }
}

#[cfg(test)]
mod tests {
    use super::super::activation::Activation;
    use super::super::naive;
    use super::super::pool2d::Pool2DShape;
    use super::super::tail::Tail;
    use super::super::testing::{self, Number};
    use super::*;
    use crate::random::{Key, Random};
    use crate::simd::largest::NO_TAP;

    struct Case {
        picture: [usize; 3],
        tail: Tail,
        /// γ, β, μ, r
        channels: [Vec<f64>; 4],
        x: Vec<f64>,
        /// Of the largest output there can be.
        dy: Vec<f64>,
    }

    /// Numbers of few bits: normalised without an error, often the same, so that pooling has ties to decide.
    fn draw_case(batch: usize, picture: [usize; 3], tail: Tail, random: &mut Random) -> Case {
        let mut grid =
            |len: usize, step: f64| -> Vec<f64> { (0..len).map(|_| step * (random.below(15) as f64 - 7.0)).collect() };
        let [_, _, channels] = picture;
        let numbers = batch * picture.iter().product::<usize>();
        let deviations = grid(channels, 1.0).iter().map(|n| 2.0f64.powi(*n as i32 / 4)).collect();
        let channels = [grid(channels, 0.25), grid(channels, 0.5), grid(channels, 0.5), deviations];
        Case { picture, tail, channels, x: grid(numbers, 1.0), dy: grid(numbers, 0.125) }
    }

    fn check<E: Number>(case: &Case) {
        let (Case { picture, tail, channels, x, dy }, [height, width, c]) = (case, case.picture);
        let [gamma, beta, mean, r] = channels;
        let (image, at) = (height * width * c, |of: &[f64], index: usize| of[index % c]);
        let each = |number: &dyn Fn(usize) -> f64| (0..x.len()).map(number).collect::<Vec<_>>();
        let normal = each(&|i| (x[i] - at(mean, i)) * at(r, i));
        let mut y = each(&|i| at(gamma, i) * normal[i] + at(beta, i));
        let (mut winners, mut dense) = (vec![], dy.clone());
        if let Some(geometry) = tail.pool {
            let shape = Pool2DShape { batch: x.len() / image, geometry, channels: c };
            let taps;
            (y, taps) = naive::max_forward(&shape, &y);
            winners = testing::winners(tail.activation, &y, &taps);
            let met = dy.iter().zip(&winners).map(|(&dy, &winner)| if winner == NO_TAP { 0.0 } else { dy });
            dense = naive::max_backward(&shape, &taps, &met.collect::<Vec<_>>());
        }
        let y: Vec<E> = y.iter().map(|&y| tail.activation.value(E::of(y))).collect();
        let pixels = (x.len() / c) as f64;
        let sum = |number: &dyn Fn(usize) -> f64| -> Vec<f64> {
            (0..c).map(|first| (first..x.len()).step_by(c).map(number).sum()).collect()
        };
        let [dbeta, dgamma] = [sum(&|i| dense[i]), sum(&|i| dense[i] * normal[i])];
        let bounds = [sum(&|i| dense[i].abs()), sum(&|i| (dense[i] * normal[i]).abs())];
        let expected =
            each(&|i| at(gamma, i) * at(r, i) * (dense[i] - (at(&dbeta, i) + normal[i] * at(&dgamma, i)) / pixels));
        let bound = each(&|i| {
            let means = (at(&bounds[0], i) + normal[i].abs() * at(&bounds[1], i)) / pixels;
            (at(gamma, i) * at(r, i)).abs() * (dense[i].abs() + means)
        });

        let [x, dy, gamma, beta, mean, r] = [x, &dy[..y.len()], gamma, beta, mean, r].map(testing::cast::<E>);
        let norm = Normalization { gamma: &gamma, beta: &beta, mean: &mean, inverse_deviation: &r };
        testing::on_each_path(x.len(), || {
            let mut found = [y.len(), y.len(), x.len(), x.len(), c, c].map(|len| vec![E::nan(); len]);
            let mut argmax = vec![99; winners.len()];
            let [with_argmax, without, dx, by_image, dgammas, dbetas] = &mut found;
            norm.forward(*picture, &x, *tail, with_argmax, tail.pool.map(|_| argmax.as_mut_slice()));
            norm.forward(*picture, &x, *tail, without, None);
            assert!(*with_argmax == y && *without == y, "{picture:?} {tail:?}");
            assert_eq!(argmax, winners, "{tail:?}");
            let pool = tail.pool.map(|pool| (pool, argmax.as_slice()));
            let gradient = Gradient { picture: *picture, x: &x, dy: &dy, pool };
            norm.parameter_gradients(&gradient, dgammas, dbetas);
            testing::close(dbetas, &dbeta, &bounds[0], "dβ");
            testing::close(dgammas, &dgamma, &bounds[1], "dγ");
            let sums = [dgammas.as_slice(), dbetas];
            norm.input_gradient(&gradient, sums, 0..x.len() / image, dx);
            testing::close(dx, &expected, &bound, &format!("dx {picture:?} {tail:?}"));
            for (n, dx) in by_image.chunks_exact_mut(image).enumerate() {
                norm.input_gradient(&gradient, sums, n..n + 1, dx);
            }
            assert!(by_image == dx);
            found
        });
    }

    #[test]
    fn every_pass_agrees_with_the_formula() {
        let mut random = Key::new(2).named("normalization").stream();
        let large = [([64, 16, 3], 50), ([9, 31, 33], 20), ([8, 8, 300], 9), ([1, 1, 32], 5000)];
        for round in 0..2000 {
            let (mut picture, mut batch) = ([(); 2].map(|()| 1 + random.below(9)), round % 4);
            let mut channels = testing::draw_size(6, &mut random);
            if let Some(&([h, w, c], n)) = large.get(round / 2) {
                (picture, channels, batch) = ([h, w], c, n);
            }
            let window = testing::tail_window(&mut random);
            let pool = window.over("batch_norm", picture).ok().filter(|_| round % 2 == 0);
            let activation = [Activation::Linear, Activation::Relu, Activation::LeakyRelu(0.25)][round % 3];
            let case = draw_case(batch, [picture[0], picture[1], channels], Tail { activation, pool }, &mut random);
            check::<f32>(&case);
            check::<f64>(&case);
        }
    }
}
