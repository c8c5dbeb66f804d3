//! c[r, f] += Σ_{n,i,j} a[n·a₀ + i·a₁ + j·a₂ + r] · b[n·b₀ + i·b₁ + j·b₂ + f]
//!
//! Sums of outer products: the inner loop of a weight gradient. The rows of c stay in registers for the whole sum, which
//! goes through the n, i and j in order.
#![allow(clippy::needless_range_loop, reason = "counters that end at a constant: all loops over registers unroll")]

use super::{Kernel, Simd};
use crate::element::Element;

/// The factors, and which of them meet.
#[derive(Clone, Copy)]
pub struct Outer<'a, E> {
    pub a: &'a [E],
    pub b: &'a [E],
    /// How many n, i and j.
    pub counts: [usize; 3],
    /// From one n, i and j to the next, in a and in b.
    pub steps: [[usize; 3]; 2],
    /// What will be read later, a line of the cache for each product; and from one of them to the next.
    pub ahead: (&'a [E], usize),
}

impl<E: Element> Outer<'_, E> {
    /// Adds into `c`: at most `Simd::ROWS` rows of one or two registers each.
    ///
    /// # Panics
    /// Where a or b is too short, or c is not of that size.
    pub fn add<S: Simd<Elem = E>>(&self, simd: S, rows: usize, c: &mut [E]) {
        if self.counts.contains(&0) || rows == 0 {
            return;
        }
        let columns = c.len() / rows;
        assert!(c.len() == rows * columns && (columns == S::LANES || columns == 2 * S::LANES));
        let [a, b] = self.steps.map(|steps| {
            let last = steps.iter().zip(self.counts).map(|(step, count)| step.saturating_mul(count - 1));
            last.fold(0, usize::saturating_add)
        });
        assert!(a.saturating_add(rows) <= self.a.len() && b.saturating_add(columns) <= self.b.len());
        macro_rules! of_height {
            ($($height:literal)*) => {
                match (rows, columns > S::LANES) {
                    $(($height, false) if $height <= S::ROWS => simd.vectorize(Tile::<_, $height, 1> { outer: self, c }),)*
                    $(($height, true) if $height <= S::ROWS => simd.vectorize(Tile::<_, $height, 2> { outer: self, c }),)*
                    _ => unreachable!("a tile of {rows} rows"),
                }
            };
        }
        of_height!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    }
}

/// R rows of V registers. Only [`Outer::add`] makes one, and it vouches for all offsets.
struct Tile<'a, E, const R: usize, const V: usize> {
    outer: &'a Outer<'a, E>,
    c: &'a mut [E],
}

impl<E: Element, const R: usize, const V: usize> Kernel<E> for Tile<'_, E, R, V> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let sums = self.sums(simd);
        let c = self.c.as_mut_ptr();
        for r in 0..R {
            for v in 0..V {
                // SAFETY: `add` checked that c holds R·V registers.
                unsafe {
                    let c = c.add((r * V + v) * S::LANES);
                    simd.store(c, simd.add(simd.load(c), sums[r][v]));
                }
            }
        }
    }
}

impl<E: Element, const R: usize, const V: usize> Tile<'_, E, R, V> {
    #[inline(always)]
    fn sums<S: Simd<Elem = E>>(&self, simd: S) -> [[S::Vector; V]; R] {
        let Outer { a, b, counts, steps: [a_steps, b_steps], ahead } = *self.outer;
        let (mut ahead, step) = (ahead.0.as_ptr(), ahead.1);
        let mut sums = [[simd.splat(E::zero()); V]; R];
        for n in 0..counts[0] {
            for i in 0..counts[1] {
                let mut a = a.as_ptr().wrapping_add(n * a_steps[0] + i * a_steps[1]);
                let mut b = b.as_ptr().wrapping_add(n * b_steps[0] + i * b_steps[1]);
                for _ in 0..counts[2] {
                    simd.prefetch(ahead);
                    ahead = ahead.wrapping_add(step);
                    let mut factors = [simd.splat(E::zero()); V];
                    for v in 0..V {
                        // SAFETY: `add` checked that V registers lie in b, for the last n, i and j too.
                        factors[v] = unsafe { simd.load(b.add(v * S::LANES)) };
                    }
                    for r in 0..R {
                        // SAFETY: `add` checked that R numbers lie in a, for the last n, i and j too.
                        let factor = simd.splat(unsafe { *a.add(r) });
                        for v in 0..V {
                            sums[r][v] = simd.mul_add(factor, factors[v], sums[r][v]);
                        }
                    }
                    a = a.wrapping_add(a_steps[2]);
                    b = b.wrapping_add(b_steps[2]);
                }
            }
        }
        sums
    }
}

/// Writes rows side by side: row r of `to`, `width` numbers, gets `columns` numbers of `from`[r·step ..], and zeros.
///
/// # Panics
/// Where `from` is too short, or `to` not whole rows.
pub fn pack<S: Simd>(simd: S, from: &[S::Elem], step: usize, columns: usize, to: &mut [S::Elem], width: usize) {
    if to.is_empty() {
        return;
    }
    let rows = to.len() / width;
    assert!(to.len() == rows * width && columns <= width);
    assert!(step.saturating_mul(rows - 1).saturating_add(columns) <= from.len());
    if [step, columns] == [width; 2] {
        return to.copy_from_slice(&from[..to.len()]);
    }
    simd.vectorize(Pack { from, step, columns, to, width });
}

/// Only [`pack`] makes one, and it vouches for all offsets.
struct Pack<'a, E> {
    from: &'a [E],
    step: usize,
    columns: usize,
    to: &'a mut [E],
    width: usize,
}

impl<E: Element> Kernel<E> for Pack<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let (rows, columns, width) = (self.to.len() / self.width, self.columns, self.width);
        // Register by register, down all rows: its masks stay the same.
        for first in (0..width).step_by(S::LANES) {
            let [read, written] = [columns, width].map(|numbers| simd.first(numbers.saturating_sub(first)));
            let mut from = self.from.as_ptr().wrapping_add(first);
            let mut to = self.to.as_mut_ptr().wrapping_add(first);
            let is_whole = first + S::LANES <= columns;
            for _ in 0..rows {
                // SAFETY: `pack` checked both slices; the masks hold no more than what is left of a row.
                unsafe {
                    match is_whole {
                        true => simd.store(to, simd.load(from)),
                        false => simd.store_first(to, written, simd.load_first(from, read)),
                    }
                }
                (from, to) = (from.wrapping_add(self.step), to.wrapping_add(width));
            }
        }
    }
}
