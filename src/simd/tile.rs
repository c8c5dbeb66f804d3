//! c[to(r), f] = Σ_k a[from(r) + a(k)] · b[b(k) + f]
//!
//! The one inner loop of matrix products and convolutions. Numbers of a are taken one by one, wherever they are;
//! those of b and c in rows of at most two registers. A tile of c stays in registers for the whole sum.
//! Each sum adds its products in the order of k, however the rows are cut into tiles, and whether or not a long sum is
//! cut into pieces that are added one after the other. What is written is flushed: 0 instead of tiny numbers.
#![allow(clippy::needless_range_loop, reason = "counters that end at a constant: all loops over registers unroll")]

use super::{Kernel, Simd};
use crate::element::Element;
use ndarray::ArrayViewMut2;

/// A run of `len` consecutive k: where its first factors are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Segment {
    pub a: usize,
    pub b: usize,
    pub len: usize,
}

/// One row of the product: where its factors begin in a, and which row of c it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row {
    pub from: usize,
    pub to: usize,
}

/// What becomes of a sum.
#[derive(Clone, Copy)]
pub enum Finish<'a, E> {
    /// It begins with 0, and overwrites.
    Overwrite,
    /// It begins with a bias for each column, and overwrites.
    Bias(&'a [E]),
    /// It begins with what is there.
    Add,
}

/// The factors, and which of them meet.
#[derive(Clone, Copy)]
pub struct Product<'a, E> {
    a: &'a [E],
    b: &'a [E],
    /// From one k to the next inside a segment, in a and in b.
    steps: [usize; 2],
    segments: &'a [Segment],
    /// The largest offsets a(k) and b(k); none where nothing is read.
    reach: Option<[usize; 2]>,
    rectified: bool,
}

impl<'a, E: Element> Product<'a, E> {
    pub fn new(a: &'a [E], b: &'a [E], steps: [usize; 2], segments: &'a [Segment]) -> Self {
        let last = |first: usize, step: usize, len: usize| first.saturating_add(step.saturating_mul(len - 1));
        let reach = segments.iter().filter(|segment| segment.len > 0).fold(None, |reach: Option<[usize; 2]>, s| {
            let [a, b] = reach.unwrap_or_default();
            Some([a.max(last(s.a, steps[0], s.len)), b.max(last(s.b, steps[1], s.len))])
        });
        Self { a, b, steps, segments, reach, rectified: false }
    }

    /// The same with 0 instead of negative sums.
    pub fn rectified(self) -> Self {
        Self { rectified: true, ..self }
    }

    /// Writes these rows into `c`, which has at most two registers of columns.
    ///
    /// # Panics
    /// Where a row, or a bias, lies outside its slice.
    pub fn write_rows<S: Simd<Elem = E>>(
        &self,
        simd: S,
        rows: &[Row],
        finish: Finish<'_, E>,
        c: &mut ArrayViewMut2<'_, E>,
    ) {
        let (columns, strides, c_rows) = (c.ncols(), [c.strides()[0], c.strides()[1]], c.nrows());
        assert!(columns <= 2 * S::LANES);
        assert!(!matches!(finish, Finish::Bias(bias) if bias.len() < columns));
        assert!(self.reach.is_none_or(|[_, b]| b.saturating_add(columns) <= self.b.len()));
        if rows.is_empty() || columns == 0 {
            return;
        }
        let (product, c) = (self, c.as_mut_ptr());
        match (columns > S::LANES, columns % S::LANES == 0) {
            (true, true) => simd.vectorize(Tiles::<_, 2, true> { product, rows, columns, finish, c, c_rows, strides }),
            (true, false) => {
                simd.vectorize(Tiles::<_, 2, false> { product, rows, columns, finish, c, c_rows, strides })
            }
            (false, true) => simd.vectorize(Tiles::<_, 1, true> { product, rows, columns, finish, c, c_rows, strides }),
            (false, false) => {
                simd.vectorize(Tiles::<_, 1, false> { product, rows, columns, finish, c, c_rows, strides })
            }
        }
    }
}

/// The largest `Simd::LANES`.
const MOST_LANES: usize = 16;

/// Rows of V registers, of which the last is not `FULL` where there are fewer columns. Only `Product::write_rows`
/// makes one, and it vouches that `c` has at most 2·LANES columns, and a bias as many numbers as `c` columns, and that
/// b(k) + f lies in b for each k and each column f.
struct Tiles<'a, E, const V: usize, const FULL: bool> {
    product: &'a Product<'a, E>,
    rows: &'a [Row],
    columns: usize,
    finish: Finish<'a, E>,
    c: *mut E,
    c_rows: usize,
    strides: [isize; 2],
}

impl<E: Element, const V: usize, const FULL: bool> Kernel<E> for Tiles<'_, E, V, FULL> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let last = self.rows.iter().fold([0, 0], |last, row| [last[0].max(row.from), last[1].max(row.to)]);
        assert!(last[1] < self.c_rows);
        assert!(self.product.reach.is_none_or(|[a, _]| last[0].saturating_add(a) < self.product.a.len()));
        // As few tiles as possible, all of nearly the same height.
        let tiles = self.rows.len().div_ceil(S::ROWS);
        let (height, higher) = (self.rows.len() / tiles, self.rows.len() % tiles);
        let mut rest = self.rows;
        macro_rules! tile_of_height {
            ($height:expr, $($constant:literal)*) => {
                match $height {
                    $($constant if $constant <= S::ROWS => {
                        let rows = rest.first_chunk().expect("so many rows are left");
                        // SAFETY: checked above.
                        unsafe { self.tile::<S, $constant>(simd, rows) };
                    })*
                    height => unreachable!("a tile of {height} rows"),
                }
            };
        }
        for tile in 0..tiles {
            let height = height + usize::from(tile < higher);
            tile_of_height!(height, 1 2 3 4 5 6 7 8 9 10 11 12 13 14);
            rest = &rest[height..];
        }
    }
}

/// In what follows, for each row `to` is a row of `c`, and `from` + a(k) lies in a for each k.
impl<E: Element, const V: usize, const FULL: bool> Tiles<'_, E, V, FULL> {
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn tile<S: Simd<Elem = E>, const R: usize>(&self, simd: S, rows: &[Row; R]) {
        let last = simd.first(self.columns - (V - 1) * S::LANES);
        let mut sums = [[simd.splat(E::zero()); V]; R];
        match self.finish {
            Finish::Overwrite => {}
            // SAFETY: there is a bias for each column.
            Finish::Bias(bias) => sums = [unsafe { load::<S, V, FULL>(simd, bias.as_ptr(), last) }; R],
            // SAFETY: handed on to the caller.
            Finish::Add => unsafe { self.gather(simd, rows, last, &mut sums) },
        }
        // SAFETY: handed on to the caller.
        unsafe { self.add_products(simd, rows, last, &mut sums) };
        if self.product.rectified {
            for r in 0..R {
                for v in 0..V {
                    sums[r][v] = simd.rectify(sums[r][v]);
                }
            }
        } else {
            for r in 0..R {
                for v in 0..V {
                    sums[r][v] = simd.flush(sums[r][v]);
                }
            }
        }
        // SAFETY: handed on to the caller.
        unsafe { self.scatter(simd, rows, last, &sums) };
    }

    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn add_products<S: Simd<Elem = E>, const R: usize>(
        &self,
        simd: S,
        rows: &[Row; R],
        last: S::Mask,
        sums: &mut [[S::Vector; V]; R],
    ) {
        let Product { a, b, steps: [a_step, b_step], segments, .. } = *self.product;
        for segment in segments {
            let (mut a, mut b) = (a.as_ptr().wrapping_add(segment.a), b.as_ptr().wrapping_add(segment.b));
            for _ in 0..segment.len {
                // SAFETY: b(k) and the columns after it lie in b.
                let factors = unsafe { load::<S, V, FULL>(simd, b, last) };
                for r in 0..R {
                    // SAFETY: handed on to the caller.
                    let factor = simd.splat(unsafe { *a.wrapping_add(rows[r].from) });
                    for v in 0..V {
                        sums[r][v] = simd.mul_add(factor, factors[v], sums[r][v]);
                    }
                }
                a = a.wrapping_add(a_step);
                b = b.wrapping_add(b_step);
            }
        }
    }

    /// Where a row of c begins.
    #[inline(always)]
    fn c(&self, row: Row) -> *mut E {
        self.c.wrapping_offset(row.to as isize * self.strides[0])
    }

    /// Reads rows of c.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn gather<S: Simd<Elem = E>, const R: usize>(
        &self,
        simd: S,
        rows: &[Row; R],
        last: S::Mask,
        sums: &mut [[S::Vector; V]; R],
    ) {
        if self.strides[1] == 1 {
            for r in 0..R {
                // SAFETY: this is a row of c, and its columns lie side by side.
                sums[r] = unsafe { load::<S, V, FULL>(simd, self.c(rows[r]), last) };
            }
            return;
        }
        const { assert!(V <= 2 && S::LANES <= MOST_LANES) };
        let mut lines = [[E::zero(); 2 * MOST_LANES]; R];
        for (line, row) in lines.iter_mut().zip(rows) {
            for (f, number) in line[..self.columns].iter_mut().enumerate() {
                // SAFETY: this is a row of c, and f counts its columns.
                *number = unsafe { *self.c(*row).offset(f as isize * self.strides[1]) };
            }
        }
        for r in 0..R {
            // SAFETY: a line has room for V registers, as asserted above.
            sums[r] = unsafe { load::<S, V, true>(simd, lines[r].as_ptr(), last) };
        }
    }

    /// Writes rows of c.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn scatter<S: Simd<Elem = E>, const R: usize>(
        &self,
        simd: S,
        rows: &[Row; R],
        last: S::Mask,
        sums: &[[S::Vector; V]; R],
    ) {
        if self.strides[1] == 1 {
            for r in 0..R {
                // SAFETY: this is a row of c, and its columns lie side by side.
                unsafe { store::<S, V, FULL>(simd, self.c(rows[r]), last, sums[r]) };
            }
            return;
        }
        const { assert!(V <= 2 && S::LANES <= MOST_LANES) };
        let mut lines = [[E::zero(); 2 * MOST_LANES]; R];
        for r in 0..R {
            // SAFETY: a line has room for V registers, as asserted above.
            unsafe { store::<S, V, true>(simd, lines[r].as_mut_ptr(), last, sums[r]) };
        }
        for (line, row) in lines.iter().zip(rows) {
            for (f, &number) in line[..self.columns].iter().enumerate() {
                // SAFETY: this is a row of c, and f counts its columns.
                unsafe { *self.c(*row).offset(f as isize * self.strides[1]) = number };
            }
        }
    }
}

/// V registers; of the last one only the lanes of `last`, unless it is `FULL`.
///
/// # Safety
/// `from` must be valid for reads of as many numbers.
#[inline(always)]
pub(super) unsafe fn load<S: Simd, const V: usize, const FULL: bool>(
    simd: S,
    from: *const S::Elem,
    last: S::Mask,
) -> [S::Vector; V] {
    let mut loaded = [simd.splat(S::Elem::default()); V];
    for v in 0..V {
        let from = from.wrapping_add(v * S::LANES);
        loaded[v] = if v + 1 == V && !FULL {
            // SAFETY: handed on to the caller.
            unsafe { simd.load_first(from, last) }
        } else {
            // SAFETY: handed on to the caller.
            unsafe { simd.load(from) }
        };
    }
    loaded
}

/// The way back.
///
/// # Safety
/// `to` must be valid for writes of as many numbers.
#[inline(always)]
unsafe fn store<S: Simd, const V: usize, const FULL: bool>(
    simd: S,
    to: *mut S::Elem,
    last: S::Mask,
    registers: [S::Vector; V],
) {
    for v in 0..V {
        let to = to.wrapping_add(v * S::LANES);
        if v + 1 == V && !FULL {
            // SAFETY: handed on to the caller.
            unsafe { simd.store_first(to, last, registers[v]) };
        } else {
            // SAFETY: handed on to the caller.
            unsafe { simd.store(to, registers[v]) };
        }
    }
}
