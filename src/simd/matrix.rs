//! c[i,j] = Σ_k a[i,k] · b[k,j]
//!
//! The inner loop of matrix products. As in [`tile`](super::tile), a tile of c stays in registers for the whole sum,
//! and each sum adds its products in the order of k, whether or not it is cut into pieces. What is written is flushed.
//! Here the rows of a lie at even distances, so that nothing is looked up: a tile over few k costs little more than its
//! products.
#![allow(clippy::needless_range_loop, reason = "counters that end at a constant: all loops over registers unroll")]

use super::tile::load;
use super::{Kernel, Simd};
use crate::element::Element;
use ndarray::ArrayViewMut2;

/// a [rows, depth] with any strides, and b [depth, columns] with rows that lie `b_row` apart.
pub struct Factors<'a, E> {
    pub a: &'a [E],
    pub a_strides: [usize; 2],
    pub b: &'a [E],
    pub b_row: usize,
    pub depth: usize,
    /// Where the line of the cache lies that is asked for at the first k, and how far from it that of the next k.
    pub ahead: (*const E, usize),
}

impl<E: Element> Factors<'_, E> {
    /// Overwrites the part of `c` that begins at `place` with the product, or adds into it.
    ///
    /// # Panics
    /// Where the part has more than `Simd::ROWS` rows or lies outside `c`, where the columns of `c` do not lie side
    /// by side, or where a factor lies outside its slice.
    pub fn write<S: Simd<Elem = E>>(
        &self,
        simd: S,
        add: bool,
        c: &mut ArrayViewMut2<'_, E>,
        place: [usize; 2],
        [rows, columns]: [usize; 2],
    ) {
        if rows * columns == 0 {
            return;
        }
        assert!(place[0] + rows <= c.nrows() && place[1] + columns <= c.ncols() && c.strides()[1] == 1);
        if let Some(last) = self.depth.checked_sub(1) {
            let [a_row, a_step] = self.a_strides;
            let a_last = (rows - 1).saturating_mul(a_row).saturating_add(last.saturating_mul(a_step));
            assert!(a_last < self.a.len());
            assert!(last.saturating_mul(self.b_row).saturating_add(columns) <= self.b.len());
        }
        let c_row = c.strides()[0];
        let c = c.as_mut_ptr().wrapping_offset(place[0] as isize * c_row + place[1] as isize);
        let part = Part { factors: self, rows, columns, add, c, c_row };
        let mut first = 0;
        while first < columns {
            first += part.tile(simd, first);
        }
    }
}

/// A part of c that has rows and columns, and what becomes of it. Only [`Factors::write`] makes one, and it vouches
/// for all offsets.
struct Part<'a, E> {
    factors: &'a Factors<'a, E>,
    rows: usize,
    columns: usize,
    add: bool,
    c: *mut E,
    c_row: isize,
}

/// Registers of columns in a tile of a single row: fewer sums would wait for themselves, and b is read in longer runs.
const WIDE: usize = 8;

impl<E: Element> Part<'_, E> {
    /// Writes one tile, from column `first` on. Gives back how many columns it has.
    #[inline(always)]
    fn tile<S: Simd<Elem = E>>(&self, simd: S, first: usize) -> usize {
        let left = self.columns - first;
        if self.rows == 1 && left >= WIDE * S::LANES {
            simd.vectorize(Tile::<_, 1, WIDE, true>(self, first));
            return WIDE * S::LANES;
        }
        let (columns, full) = (left.min(2 * S::LANES), left >= 2 * S::LANES || left == S::LANES);
        macro_rules! of_height {
            ($($height:literal)*) => {
                match self.rows {
                    $($height if $height <= S::ROWS => match (columns > S::LANES, full) {
                        (true, true) => simd.vectorize(Tile::<_, $height, 2, true>(self, first)),
                        (true, false) => simd.vectorize(Tile::<_, $height, 2, false>(self, first)),
                        (false, true) => simd.vectorize(Tile::<_, $height, 1, true>(self, first)),
                        (false, false) => simd.vectorize(Tile::<_, $height, 1, false>(self, first)),
                    },)*
                    height => panic!("a tile of {height} rows"),
                }
            };
        }
        of_height!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        columns
    }
}

/// R rows of V registers from a column on. The last register is not `FULL` where there are fewer columns.
///
/// It refers to its part instead of holding it: what was just written in small pieces and is read in large ones waits
/// until the processor has finished every write before it.
struct Tile<'a, E, const R: usize, const V: usize, const FULL: bool>(&'a Part<'a, E>, usize);

impl<E: Element, const R: usize, const V: usize, const FULL: bool> Kernel<E> for Tile<'_, E, R, V, FULL> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self(&Part { factors, columns, add, c, c_row, .. }, first) = self;
        let &Factors { a, a_strides: [a_row, a_step], b, b_row, depth, ahead: (mut ahead, ahead_step) } = factors;
        let last = simd.first(columns - first - (V - 1) * S::LANES);
        let (mut a, mut b) = (a.as_ptr(), b.as_ptr().wrapping_add(first));
        let c = |r: usize| c.wrapping_offset(first as isize + r as isize * c_row);
        let mut sums = [[simd.splat(E::zero()); V]; R];
        if add {
            for r in 0..R {
                // SAFETY: `write` checked that the part lies in c, where columns lie side by side.
                sums[r] = unsafe { load::<S, V, FULL>(simd, c(r), last) };
            }
        }
        for _ in 0..depth {
            // SAFETY: `write` checked that row k of b, and its columns, lie in b.
            let factors = unsafe { load::<S, V, FULL>(simd, b, last) };
            for r in 0..R {
                // SAFETY: `write` checked that number k of each row lies in a.
                let factor = simd.splat(unsafe { *a.add(r * a_row) });
                for v in 0..V {
                    sums[r][v] = simd.mul_add(factor, factors[v], sums[r][v]);
                }
            }
            simd.prefetch(ahead);
            (a, b, ahead) = (a.wrapping_add(a_step), b.wrapping_add(b_row), ahead.wrapping_add(ahead_step));
        }
        for r in 0..R {
            for v in 0..V {
                let (c, sum) = (c(r).wrapping_add(v * S::LANES), simd.flush(sums[r][v]));
                if v + 1 == V && !FULL {
                    // SAFETY: as for the old numbers.
                    unsafe { simd.store_first(c, last, sum) };
                } else {
                    // SAFETY: as for the old numbers.
                    unsafe { simd.store(c, sum) };
                }
            }
        }
    }
}
