//! c[to(r), f] = Σ_k a[from(r) + a(k)] · b[b(k), f]
//!
//! The inner loop of convolutions. Numbers of a are taken one by one, wherever they are; those of b lie in a panel of
//! two registers' width. A tile of c stays in registers for the whole sum.
//! Each sum adds its products in the order of k, however the rows are cut into tiles, and whether or not a long sum is
//! cut into pieces that are added one after the other.
#![allow(clippy::needless_range_loop, reason = "counters that end at a constant: all loops over registers unroll")]

use super::{Kernel, Simd};
use crate::element::Element;

/// A run of `len` consecutive k: where its first factor is in a, and the row of b.
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

/// What a sum begins with.
#[derive(Clone, Copy)]
pub enum Start<'a, E> {
    Zero,
    /// A number for each column.
    Bias(&'a [E]),
    /// What is in c.
    Sum,
}

/// What becomes of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is written as it is, for someone else to flush.
    Nothing,
    /// 0 instead of tiny numbers
    Flush,
    /// 0 instead of tiny and of negative numbers
    Rectify,
}

/// The factors, which of them meet, and what becomes of their sums.
#[derive(Clone, Copy)]
pub struct Product<'a, E> {
    pub a: &'a [E],
    /// b [K, 2 registers]
    pub panel: &'a [E],
    pub segments: &'a [Segment],
    pub start: Start<'a, E>,
    pub end: End,
}

impl<E: Element> Product<'_, E> {
    /// Writes `columns` columns, at most two registers, of these rows of `c`, which begin every `stride` numbers.
    ///
    /// # Panics
    /// Where a row, or a bias, lies outside its slice.
    pub fn write<S: Simd<Elem = E>>(&self, simd: S, rows: &[Row], c: &mut [E], [stride, columns]: [usize; 2]) {
        if rows.is_empty() || columns == 0 {
            return;
        }
        let product = self;
        match (columns > S::LANES, columns % S::LANES == 0) {
            (true, true) => simd.vectorize(Tiles::<_, 2, true> { product, rows, c, stride, columns }),
            (true, false) => simd.vectorize(Tiles::<_, 2, false> { product, rows, c, stride, columns }),
            (false, true) => simd.vectorize(Tiles::<_, 1, true> { product, rows, c, stride, columns }),
            (false, false) => simd.vectorize(Tiles::<_, 1, false> { product, rows, c, stride, columns }),
        }
    }

    /// Checks what the sums of `columns` columns, at most V registers, rest on: there is a bias for each of them,
    /// from(r) + a(k) lies in a for each k, where `last` is the largest from(r), and b(k) is a row of the panel.
    #[inline(always)]
    pub(super) fn check<S: Simd<Elem = E>, const V: usize, const FULL: bool>(&self, last: usize, columns: usize) {
        let Self { a, panel, segments, start, .. } = *self;
        assert!(columns <= V * S::LANES && (!FULL || columns == V * S::LANES));
        assert!(!matches!(start, Start::Bias(bias) if bias.len() < columns));
        for segment in segments.iter().filter(|segment| segment.len > 0) {
            assert!(last.saturating_add(segment.a).saturating_add(segment.len) <= a.len());
            assert!(segment.b.saturating_add(segment.len).saturating_mul(2 * S::LANES) <= panel.len());
        }
    }

    /// Adds the products of some rows.
    ///
    /// # Safety
    /// [`check`](Self::check) must have found that rows which begin at `from`, and columns up to the `last` ones, are
    /// inside.
    #[inline(always)]
    pub(super) unsafe fn add<S: Simd<Elem = E>, const R: usize, const V: usize, const FULL: bool>(
        &self,
        simd: S,
        from: &[usize; R],
        last: S::Mask,
        sums: &mut [[S::Vector; V]; R],
    ) {
        for segment in self.segments {
            let mut a = self.a.as_ptr().wrapping_add(segment.a);
            let mut b = self.panel.as_ptr().wrapping_add(segment.b * 2 * S::LANES);
            for _ in 0..segment.len {
                // SAFETY: this is a row of the panel.
                let factors = unsafe { load::<S, V, FULL>(simd, b, last) };
                for r in 0..R {
                    // SAFETY: from(r) + a(k) lies in a.
                    let factor = simd.splat(unsafe { *a.wrapping_add(from[r]) });
                    for v in 0..V {
                        sums[r][v] = simd.mul_add(factor, factors[v], sums[r][v]);
                    }
                }
                (a, b) = (a.wrapping_add(1), b.wrapping_add(2 * S::LANES));
            }
        }
    }
}

/// Rows of V registers, of which the last is not `FULL` where there are fewer columns.
struct Tiles<'a, E, const V: usize, const FULL: bool> {
    product: &'a Product<'a, E>,
    rows: &'a [Row],
    c: &'a mut [E],
    stride: usize,
    columns: usize,
}

impl<E: Element, const V: usize, const FULL: bool> Kernel<E> for Tiles<'_, E, V, FULL> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(mut self, simd: S) {
        let last = self.rows.iter().fold([0, 0], |last, row| [last[0].max(row.from), last[1].max(row.to)]);
        self.product.check::<S, V, FULL>(last[0], self.columns);
        assert!(last[1].saturating_mul(self.stride).saturating_add(self.columns) <= self.c.len());
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

impl<E: Element, const V: usize, const FULL: bool> Tiles<'_, E, V, FULL> {
    /// # Safety
    /// `Product::check` must have found these rows to be inside; for each of them, `to` must be a row of c with all
    /// columns.
    #[inline(always)]
    unsafe fn tile<S: Simd<Elem = E>, const R: usize>(&mut self, simd: S, rows: &[Row; R]) {
        let last = simd.first(self.columns - (V - 1) * S::LANES);
        let mut sums = [[simd.splat(E::zero()); V]; R];
        match self.product.start {
            Start::Zero => {}
            // SAFETY: there is a bias for each column.
            Start::Bias(bias) => sums = [unsafe { load::<S, V, FULL>(simd, bias.as_ptr(), last) }; R],
            Start::Sum => {
                for r in 0..R {
                    // SAFETY: this is a row of c.
                    sums[r] = unsafe { load::<S, V, FULL>(simd, self.c(rows[r]), last) };
                }
            }
        }
        // SAFETY: handed on to the caller.
        unsafe { self.product.add::<S, R, V, FULL>(simd, &rows.map(|row| row.from), last, &mut sums) };
        match self.product.end {
            End::Nothing => {}
            End::Flush => {
                for r in 0..R {
                    for v in 0..V {
                        sums[r][v] = simd.flush(sums[r][v]);
                    }
                }
            }
            End::Rectify => {
                for r in 0..R {
                    for v in 0..V {
                        sums[r][v] = simd.rectify(sums[r][v]);
                    }
                }
            }
        }
        for r in 0..R {
            // SAFETY: this is a row of c.
            unsafe { store::<S, V, FULL>(simd, self.c(rows[r]), last, sums[r]) };
        }
    }

    /// Where a row of c begins.
    #[inline(always)]
    fn c(&mut self, row: Row) -> *mut E {
        self.c.as_mut_ptr().wrapping_add(row.to * self.stride)
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
pub(super) unsafe fn store<S: Simd, const V: usize, const FULL: bool>(
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
