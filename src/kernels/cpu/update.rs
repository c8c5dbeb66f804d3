//! One step of an optimizer, in one pass: θ [D] and its moments, M of [D], move by g [D], each entry on its own.
//!
//! θ, m₁ … m_M ← rule(kept·θ, g, m₁ … m_M)
//!
//! A unit that is dead has g = 0 for ever: its moments shrink by a constant factor at each step, and once they are
//! denormal each operation on them costs some hundred cycles. So θ and moments below `E::TINY` are written as 0;
//! what Adam squares needs more, see [`Adam::new`].

use super::gemm::{Matrix, Rows};
use super::{parallel, scratch};
use crate::element::Element;
use crate::simd::{Kernel, Simd};

/// Entries that one thread updates at a time. Every entry is updated on its own, so that cutting changes no bits.
const STRETCH: usize = 8 * 1024;

/// What an entry costs, in multiply-adds: fetching it from memory, far more than the arithmetic.
const WORK: usize = 64;

/// How one entry moves.
pub(crate) trait Rule<E, const M: usize>: Copy + Send + Sync {
    /// θ and its moments after a step by g. Must be `#[inline(always)]`.
    fn entry(self, theta: E, g: E, moments: [E; M]) -> (E, [E; M]);
}

/// g
#[derive(Clone, Copy)]
pub(crate) enum Gradient<'a, E> {
    /// As it was written down.
    Entries(&'a [E]),
    /// The product of two matrices. It is made stretch by stretch, and each is used while it is in the first cache.
    Product([Matrix<'a, E>; 2]),
}

impl<E> Gradient<'_, E> {
    fn len(&self) -> usize {
        match self {
            Self::Entries(g) => g.len(),
            Self::Product([a, b]) => a.shape[0] * b.shape[1],
        }
    }
}

/// Moves `theta`, multiplied by `kept`, and its `moments` by `g`; all are [D].
pub(crate) fn apply<E: Element, const M: usize>(
    rule: impl Rule<E, M>,
    kept: E,
    theta: &mut [E],
    g: &[E],
    moments: [&mut [E]; M],
) {
    apply_any(rule, kept, theta, Gradient::Entries(g), moments);
}

/// The same for any kind of gradient.
pub(crate) fn apply_any<E: Element, const M: usize>(
    rule: impl Rule<E, M>,
    kept: E,
    theta: &mut [E],
    g: Gradient<'_, E>,
    moments: [&mut [E]; M],
) {
    assert!(g.len() == theta.len() && moments.iter().all(|moment| moment.len() == theta.len()));
    if theta.is_empty() {
        return;
    }
    match g {
        Gradient::Entries(g) => E::dispatch(Apply { rule, kept, theta, g, moments }),
        Gradient::Product(g) => E::dispatch(Apply { rule, kept, theta, g, moments }),
    }
}

/// θ ← θ − η·g
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descend<E> {
    /// η
    pub rate: E,
}

impl<E: Element> Rule<E, 0> for Descend<E> {
    #[inline(always)]
    fn entry(self, theta: E, g: E, _: [E; 0]) -> (E, [E; 0]) {
        (theta - self.rate * g, [])
    }
}

/// u ← μ·u − η·g     θ ← θ + u, or θ + μ·u − η·g with Nesterov's look ahead
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roll<E> {
    /// η
    pub rate: E,
    /// μ
    pub mu: E,
    pub nesterov: bool,
}

impl<E: Element> Rule<E, 1> for Roll<E> {
    #[inline(always)]
    fn entry(self, theta: E, g: E, [u]: [E; 1]) -> (E, [E; 1]) {
        let u = (self.mu * u - self.rate * g).flushed();
        (theta + if self.nesterov { self.mu * u - self.rate * g } else { u }, [u])
    }
}

/// m ← m + (1 − β₁)·(g − m)     v ← v + (1 − β₂)·(g² − v)     θ ← θ − α·m/(√v + ε)
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adam<E> {
    alpha: E,
    epsilon: E,
    /// 1 − β₁, 1 − β₂
    one_minus: [E; 2],
    /// The least |g| and v that are not 0.
    least: [E; 2],
}

impl<E: Element> Adam<E> {
    /// The rule with α, ε and 1 − β₁, 1 − β₂.
    ///
    /// In `f32`, whose smallest normal number is 2⁻¹²⁶, |g| counts from 2⁻⁵⁰ on and v from 2⁻¹¹⁰ on. With
    /// c = 1 − β₂ ≥ 2⁻¹⁰ then g² ≥ 2⁻¹⁰⁰, c·g² ≥ 2⁻¹¹⁰ and c·v ≥ 2⁻¹²⁰: all are normal, and a gradient that counts
    /// leaves a v that counts. What does not count would move θ by less than α·10⁻¹⁵/ε. Where v is 0 and m not
    /// yet, an ε of at least 2⁻⁵⁰ keeps their quotient small. In `f64` the same from 2⁻⁴⁹⁸ and 2⁻¹⁰⁰⁶ on.
    pub fn new(alpha: E, epsilon: E, one_minus: [E; 2]) -> Self {
        let least = [E::TINY * E::of(8192.0), E::min_positive_value() * E::of(65536.0)];
        Self { alpha, epsilon: epsilon.max(least[0]), one_minus, least }
    }
}

impl<E: Element> Adam<E> {
    /// α, ε, 1 − β₁ and 1 − β₂.
    #[cfg(feature = "cuda")]
    pub fn numbers(&self) -> [E; 4] {
        [self.alpha, self.epsilon, self.one_minus[0], self.one_minus[1]]
    }
}

impl<E: Element> Rule<E, 2> for Adam<E> {
    #[inline(always)]
    fn entry(self, theta: E, g: E, [m, v]: [E; 2]) -> (E, [E; 2]) {
        let g = if g.abs() < self.least[0] { E::zero() } else { g };
        let m = (m + (g - m) * self.one_minus[0]).flushed();
        let v = v + (g * g - v) * self.one_minus[1];
        let v = if v < self.least[1] { E::zero() } else { v };
        (theta - self.alpha * m / (v.sqrt() + self.epsilon), [m, v])
    }
}

/// a ← a + c·(θ − a): an average a in the place of θ, and θ in that of g.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Average<E> {
    pub c: E,
}

impl<E: Element> Rule<E, 0> for Average<E> {
    #[inline(always)]
    fn entry(self, a: E, theta: E, _: [E; 0]) -> (E, [E; 0]) {
        (a + self.c * (theta - a), [])
    }
}

struct Apply<'a, E, R, G, const M: usize> {
    rule: R,
    kept: E,
    theta: &'a mut [E],
    g: G,
    moments: [&'a mut [E]; M],
}

impl<E: Element, R: Rule<E, M>, const M: usize> Kernel<E> for Apply<'_, E, R, &[E], M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { rule, kept, theta, g, moments } = self;
        parallel::aligned_chunks_mut(WORK * g.len(), theta, moments, STRETCH, &|stretch, theta, moments| {
            let g = &g[stretch * STRETCH..][..theta.len()];
            simd.vectorize(Stretch(Apply { rule, kept, theta, g, moments }));
        });
    }
}

impl<E: Element, R: Rule<E, M>, const M: usize> Kernel<E> for Apply<'_, E, R, [Matrix<'_, E>; 2], M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { rule, kept, theta, g, moments } = self;
        let (depth, columns) = (g[1].shape[0], g[1].shape[1]);
        // Whole tiles.
        let rows = (STRETCH / columns).max(1).next_multiple_of(S::ROWS);
        let work = theta.len() * WORK.max(depth);
        Rows::with(simd, g, |product| {
            parallel::aligned_chunks_mut(work, theta, moments, rows * columns, &|stretch, theta, moments| {
                scratch::with(theta.len(), |g: &mut [E]| {
                    product.write(simd, stretch * rows, g);
                    simd.vectorize(Stretch(Apply { rule, kept, theta, g: &*g, moments }));
                });
            });
        });
    }
}

struct Stretch<'a, E, R, const M: usize>(Apply<'a, E, R, &'a [E], M>);

impl<E: Element, R: Rule<E, M>, const M: usize> Kernel<E> for Stretch<'_, E, R, M> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "one counter for slices of one length, another that unrolls")]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let Apply { rule, kept, theta, g, mut moments } = self.0;
        let len = theta.len();
        let g = &g[..len];
        for moment in &mut moments {
            *moment = &mut std::mem::take(moment)[..len];
        }
        for i in 0..len {
            let mut old = [E::zero(); M];
            for k in 0..M {
                old[k] = moments[k][i];
            }
            let (moved, new) = rule.entry(theta[i] * kept, g[i], old);
            theta[i] = moved.flushed();
            for k in 0..M {
                moments[k][i] = new[k];
            }
        }
    }
}

/// Numbers whose squares are added up at once.
const BLOCK: usize = 1 << 15;

/// Σ g², in f64: blocks first, and then their sums, in order.
pub(crate) fn sum_of_squares<E: Element>(g: &[E]) -> f64 {
    E::dispatch(SumOfSquares(g))
}

struct SumOfSquares<'a, E>(&'a [E]);

impl<E: Element> Kernel<E> for SumOfSquares<'_, E> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) -> f64 {
        scratch::with(self.0.len().div_ceil(BLOCK), |sums: &mut [f64]| {
            parallel::chunks_mut(WORK / 4 * self.0.len(), sums, 1, |block, sum| {
                let g = &self.0[block * BLOCK..];
                sum[0] = simd.vectorize(SquaresOfBlock(&g[..g.len().min(BLOCK)]));
            });
            sums.iter().sum()
        })
    }
}

struct SquaresOfBlock<'a, E>(&'a [E]);

impl<E: Element> Kernel<E> for SquaresOfBlock<'_, E> {
    type Output = f64;

    // Many sums side by side: as many as the processor can add to before the first one is ready again.
    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) -> f64 {
        let (rows, rest) = self.0.as_chunks::<32>();
        let mut sums = [0.0; 32];
        for row in rows {
            for (sum, g) in sums.iter_mut().zip(row) {
                *sum += g.as_f64() * g.as_f64();
            }
        }
        sums.iter().sum::<f64>() + rest.iter().map(|g| g.as_f64() * g.as_f64()).sum::<f64>()
    }
}

/// g ← factor·g
pub(crate) fn scale<E: Element>(g: &mut [E], factor: E) {
    E::dispatch(Scale(g, factor));
}

struct Scale<'a, E>(&'a mut [E], E);

impl<E: Element> Kernel<E> for Scale<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self(g, factor) = self;
        parallel::chunks_mut(WORK / 4 * g.len(), g, STRETCH, |_, g| simd.vectorize(ScaleStretch(g, factor)));
    }
}

struct ScaleStretch<'a, E>(&'a mut [E], E);

impl<E: Element> Kernel<E> for ScaleStretch<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        for g in self.0 {
            *g = (*g * self.1).flushed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gemm::gemm;
    use super::super::testing::{self, Number};
    use super::*;
    use crate::random::{Key, Random};
    use crate::simd::{Path, forced};
    use std::fmt::Debug;

    /// Numbers that f32 holds exactly: θ, g and the moments, and what θ is multiplied by.
    struct Case<'a, const M: usize> {
        kept: f64,
        theta: &'a [f64],
        g: &'a [f64],
        moments: [&'a [f64]; M],
        threads: bool,
    }

    impl<const M: usize> Case<'_, M> {
        /// Holds `rule` against `formula`, which makes of kept·θ, g and the moments the new θ and the new moments, each
        /// with the size of its terms.
        fn check<E: Number>(
            &self,
            rule: impl Rule<E, M> + Debug,
            formula: impl Fn(f64, f64, [f64; M]) -> Vec<[f64; 2]>,
        ) {
            let moments = |i: usize| self.moments.map(|moment| moment[i]);
            let entry = |i: usize| formula(self.kept * self.theta[i], self.g[i], moments(i));
            let entries: Vec<_> = (0..self.g.len()).map(entry).collect();
            let [expected, sizes] = [0, 1].map(|column| {
                (0..=M).flat_map(|k| entries.iter().map(move |entry| entry[k][column])).collect::<Vec<_>>()
            });
            let compare = || {
                let found = self.found(rule);
                testing::close(&found, &expected, &sizes, &format!("{rule:?}"));
                found
            };
            match self.threads {
                true => testing::on_each_path_and_pool(compare),
                false => Path::available().into_iter().for_each(|path| drop(forced::with(path, compare))),
            }
        }

        /// The new θ and moments, one after the other.
        fn found<E: Element>(&self, rule: impl Rule<E, M>) -> Vec<E> {
            let (mut theta, g) = (testing::cast::<E>(self.theta), testing::cast::<E>(self.g));
            let mut moments = self.moments.map(testing::cast::<E>);
            apply(rule, E::of(self.kept), &mut theta, &g, moments.each_mut().map(Vec::as_mut_slice));
            [theta].into_iter().chain(moments).flatten().collect()
        }
    }

    fn setting(low: f64, high: f64, random: &mut Random) -> f64 {
        f64::from(random.uniform(low, high) as f32)
    }

    #[test]
    fn drawn_steps_agree_with_the_formulas() {
        let mut random = Key::new(1).named("update").stream();
        for round in 0..600 {
            let threads = round % 60 == 0;
            let len = if threads { 16_000 + random.below(30_000) } else { random.below(200) };
            let [theta, g, m] = [(); 3].map(|()| testing::draw(len, &mut random));
            let v = testing::magnitudes(&testing::draw(len, &mut random));
            let kept = if random.chance(0.5) { 1.0 } else { setting(0.9, 1.0, &mut random) };
            let [rate, mu] = [setting(1e-4, 0.5, &mut random), setting(0.0, 1.0, &mut random)];
            let (nesterov, epsilon) = (random.chance(0.5), setting(1e-8, 0.1, &mut random));
            let c = [setting(0.01, 1.0, &mut random), setting(0.001, 1.0, &mut random)];

            let case = Case { kept, theta: &theta, g: &g, moments: [], threads };
            let formula = |theta: f64, g: f64, _: [f64; 0]| vec![[theta - rate * g, theta.abs() + rate * g.abs()]];
            case.check(Descend::<f64> { rate }, formula);
            case.check(Descend { rate: rate as f32 }, formula);

            let formula =
                |a: f64, theta: f64, _: [f64; 0]| vec![[(1.0 - rate) * a + rate * theta, a.abs() + theta.abs()]];
            case.check(Average::<f64> { c: rate }, formula);
            case.check(Average { c: rate as f32 }, formula);

            let case = Case { kept, theta: &theta, g: &g, moments: [&m], threads };
            let formula = |theta: f64, g: f64, [u]: [f64; 1]| {
                let (u, size) = (mu * u - rate * g, mu * u.abs() + rate * g.abs());
                let step = if nesterov { mu * u - rate * g } else { u };
                vec![[theta + step, theta.abs() + size + rate * g.abs()], [u, size]]
            };
            case.check(Roll::<f64> { rate, mu, nesterov }, formula);
            case.check(Roll { rate: rate as f32, mu: mu as f32, nesterov }, formula);

            let case = Case { kept, theta: &theta, g: &g, moments: [&m, &v], threads };
            let formula = |theta: f64, g: f64, [m, v]: [f64; 2]| {
                let [m_size, v_size] = [m.abs() + g.abs(), v + g * g];
                let (m, v) = ((1.0 - c[0]) * m + c[0] * g, (1.0 - c[1]) * v + c[1] * g * g);
                // An error of v, relative to v, is that of the quotient.
                let size = theta.abs() + rate * m_size * (1.0 + v_size / v) / (v.sqrt() + epsilon);
                vec![[theta - rate * m / (v.sqrt() + epsilon), size], [m, m_size], [v, v_size]]
            };
            case.check(Adam::new(rate, epsilon, c), formula);
            case.check(Adam::new(rate as f32, epsilon as f32, c.map(|c| c as f32)), formula);
        }
    }

    #[test]
    fn sums_of_squares_agree_with_the_formula_and_scaling_too() {
        let mut random = Key::new(2).named("update").stream();
        for len in (0..200).map(|_| random.below(200)).chain([BLOCK, BLOCK + 1, 100_001]).collect::<Vec<_>>() {
            let g = testing::draw(len, &mut random);
            let expected: f64 = g.iter().map(|g| g * g).sum();
            testing::on_each_path_and_pool(|| {
                let mut single = testing::cast::<f32>(&g);
                let [sum, again] = [sum_of_squares(&g), sum_of_squares(&single)];
                assert!((sum - expected).abs() <= 1e-12 * expected && (again - expected).abs() <= 1e-12 * expected);
                scale(&mut single, 0.75);
                assert!(single.iter().zip(&g).all(|(&scaled, &g)| scaled == (0.75 * g) as f32));
                (sum, again)
            });
        }
    }

    #[test]
    fn a_product_moves_as_the_gradient_that_it_is() {
        fn check<E: Number>(random: &mut Random) {
            let [n, d, f] = [6, 9, 9].map(|bits| testing::draw_size(bits, random));
            let [x, dy, theta, m] = [n * d, n * f, d * f, d * f].map(|len| testing::draw(len, random));
            let [x, dy, theta, m] = [x, dy, theta, m].map(|numbers| testing::cast::<E>(&numbers));
            let product = [Matrix::rows(&x, n, d).transposed(), Matrix::rows(&dy, n, f)];
            let rule = Roll { rate: E::of(0.5), mu: E::of(0.5), nesterov: true };
            testing::on_each_path_and_pool(|| {
                let mut g = vec![E::nan(); d * f];
                gemm(product[0], product[1], &mut g);
                let [whole, parts] = [Gradient::Entries(&g), Gradient::Product(product)].map(|g| {
                    let (mut theta, mut m) = (theta.clone(), m.clone());
                    apply_any(rule, E::of(0.75), &mut theta, g, [&mut m]);
                    [theta, m]
                });
                assert!(whole == parts, "{n} {d} {f}");
                whole
            });
        }
        let mut random = Key::new(3).named("update").stream();
        for _ in 0..100 {
            check::<f32>(&mut random);
            check::<f64>(&mut random);
        }
    }

    // 5,000 steps without a gradient after 50 with one.
    fn dead_unit<E: Element, const M: usize>(rule: impl Rule<E, M>, kept: f64) {
        let len = 40;
        let mut theta: Vec<_> = (0..len).map(|i| E::of(i as f64 - 20.0)).collect();
        let mut moments = [(); M].map(|()| vec![E::zero(); len]);
        for step in 0..5_050 {
            let g = |i: usize| if step < 50 { E::of(10_f64.powi(i as i32 - 30)) } else { E::zero() };
            let g: Vec<_> = (0..len).map(g).collect();
            apply(rule, E::of(kept), &mut theta, &g, moments.each_mut().map(Vec::as_mut_slice));
            let all = || theta.iter().chain(moments.iter().flatten());
            assert!(all().all(|x| x.is_normal() || x.is_zero()), "a denormal number after {step} steps");
            assert!(step < 5_000 || all().all(|x| x.is_zero()), "{theta:?} {moments:?} after {step} steps");
        }
    }

    #[test]
    fn what_dies_becomes_0_and_never_denormal() {
        fn check<E: Element>(kept: f64) {
            dead_unit::<E, 0>(Descend { rate: E::of(0.1) }, kept);
            dead_unit::<E, 0>(Average { c: E::of(1.0 - kept) }, 1.0);
            for nesterov in [false, true] {
                dead_unit::<E, 1>(Roll { rate: E::of(0.1), mu: E::of(kept), nesterov }, kept);
            }
            dead_unit::<E, 2>(Adam::new(E::of(0.1), E::of(1e-7), [0.2, 1.0 - kept].map(E::of)), kept);
        }
        check::<f32>(0.95);
        check::<f64>(0.8);
    }

    // c·g² and c·v are normal too, at the least g and v that count and Keras' β₂.
    #[test]
    fn nothing_between_is_denormal_either() {
        fn check<E: Element>() {
            let c = E::of(0.001);
            let rule = Adam::new(E::of(1e-3), E::of(1e-7), [E::of(0.1), c]);
            let [g, v] = rule.least;
            assert!((g * g * c).is_normal() && (v * c).is_normal());
            let (_, [m, v]) = rule.entry(E::one(), g * E::of(1.02), [E::zero(); 2]);
            assert!(m > E::zero() && v > E::zero(), "a gradient that counts leaves a v that counts");
            assert_eq!(rule.entry(E::one(), g * E::of(0.99), [E::zero(); 2]), (E::one(), [E::zero(); 2]));
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn an_epsilon_of_almost_nothing_does_not_explode() {
        let rule = Adam::new(0.1_f32, f32::MIN_POSITIVE, [0.1, 0.001]);
        for power in 30..60 {
            let (mut theta, mut m, mut v) = ([0.0], [0.0], [0.0]);
            for _ in 0..100 {
                apply(rule, 1.0, &mut theta, &[2_f32.powi(-power)], [&mut m, &mut v]);
            }
            assert!(theta[0].abs() <= 100.0 * 0.1 * 32.0, "{theta:?} by gradients of 2^-{power}");
        }
    }
}
