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
}

impl<'a, E: Element> Product<'a, E> {
    pub fn new(a: &'a [E], b: &'a [E], steps: [usize; 2], segments: &'a [Segment]) -> Self {
        let last = |first: usize, step: usize, len: usize| first.saturating_add(step.saturating_mul(len - 1));
        let reach = segments.iter().filter(|segment| segment.len > 0).fold(None, |reach: Option<[usize; 2]>, s| {
            let [a, b] = reach.unwrap_or_default();
            Some([a.max(last(s.a, steps[0], s.len)), b.max(last(s.b, steps[1], s.len))])
        });
        Self { a, b, steps, segments, reach }
    }

    /// Writes rows 0..`rows` into `c`, which has at most two registers of columns.
    ///
    /// # Panics
    /// Where a row, or a bias, lies outside its slice.
    pub fn write<S: Simd<Elem = E>>(
        &self,
        simd: S,
        rows: usize,
        row: impl Fn(usize) -> Row,
        finish: Finish<'_, E>,
        c: &mut ArrayViewMut2<'_, E>,
    ) {
        assert!(c.ncols() <= 2 * S::LANES);
        assert!(!matches!(finish, Finish::Bias(bias) if bias.len() < c.ncols()));
        assert!(self.reach.is_none_or(|[_, b]| b.saturating_add(c.ncols()) <= self.b.len()));
        if rows == 0 {
            return;
        }
        let mut list = [Row::default(); MOST_ROWS];
        // As few tiles as possible, all of nearly the same height.
        let tiles = rows.div_ceil(S::ROWS);
        let (height, higher) = (rows / tiles, rows % tiles);
        let mut first = 0;
        for tile in 0..tiles {
            let height = height + usize::from(tile < higher);
            let mut last = Row::default();
            for (r, entry) in list[..height].iter_mut().enumerate() {
                *entry = row(first + r);
                last = Row { from: last.from.max(entry.from), to: last.to.max(entry.to) };
            }
            assert!(last.to < c.nrows() && self.reach.is_none_or(|[a, _]| last.from.saturating_add(a) < self.a.len()));
            // SAFETY: the assertions above are what `tile` asks for.
            unsafe { self.tile(simd, &list[..height], finish, c) };
            first += height;
        }
    }

    /// # Safety
    /// - `c` has at most 2·LANES columns, and a bias as many numbers as `c` columns;
    /// - for each row, `to` is a row of `c`, and `from` + a(k) lies in a for each k;
    /// - b(k) + f lies in b for each k and each column f.
    #[inline(always)]
    unsafe fn tile<S: Simd<Elem = E>>(
        &self,
        simd: S,
        rows: &[Row],
        finish: Finish<'_, E>,
        c: &mut ArrayViewMut2<'_, E>,
    ) {
        macro_rules! of_height {
            ($($height:literal)*) => {
                match rows.len() {
                    $($height if $height <= S::ROWS => {
                        let rows = rows.first_chunk().expect("the length was matched");
                        // SAFETY: handed on to the caller.
                        unsafe { self.of_width::<S, $height>(simd, rows, finish, c) }
                    })*
                    height => unreachable!("a tile of {height} rows"),
                }
            };
        }
        of_height!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    }

    /// # Safety
    /// As for `tile`.
    #[inline(always)]
    unsafe fn of_width<S: Simd<Elem = E>, const R: usize>(
        &self,
        simd: S,
        rows: &[Row; R],
        finish: Finish<'_, E>,
        c: &mut ArrayViewMut2<'_, E>,
    ) {
        let (columns, strides) = (c.ncols(), [c.strides()[0], c.strides()[1]]);
        let (product, c) = (self, c.as_mut_ptr());
        match (columns > S::LANES, columns % S::LANES == 0) {
            (true, true) => simd.vectorize(Tile::<_, R, 2, true> { product, rows, columns, finish, c, strides }),
            (true, false) => simd.vectorize(Tile::<_, R, 2, false> { product, rows, columns, finish, c, strides }),
            (false, true) => simd.vectorize(Tile::<_, R, 1, true> { product, rows, columns, finish, c, strides }),
            (false, false) => simd.vectorize(Tile::<_, R, 1, false> { product, rows, columns, finish, c, strides }),
        }
    }
}

/// The largest `Simd::ROWS`.
const MOST_ROWS: usize = 14;

/// R rows of V registers, of which the last is not `FULL` where there are fewer columns. Only
/// [`Product::write`] makes one, and it vouches for all offsets.
struct Tile<'a, E, const R: usize, const V: usize, const FULL: bool> {
    product: &'a Product<'a, E>,
    rows: &'a [Row; R],
    columns: usize,
    finish: Finish<'a, E>,
    c: *mut E,
    strides: [isize; 2],
}

impl<E: Element, const R: usize, const V: usize, const FULL: bool> Kernel<E> for Tile<'_, E, R, V, FULL> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        if self.columns == 0 {
            return;
        }
        let last = simd.first(self.columns - (V - 1) * S::LANES);
        let mut sums = self.begin(simd, last);
        self.add_products(simd, last, &mut sums);
        self.end(simd, last, sums);
    }
}

impl<E: Element, const R: usize, const V: usize, const FULL: bool> Tile<'_, E, R, V, FULL> {
    /// What the sums begin with.
    #[inline(always)]
    fn begin<S: Simd<Elem = E>>(&self, simd: S, last: S::Mask) -> [[S::Vector; V]; R] {
        let mut sums = [[simd.splat(E::zero()); V]; R];
        match self.finish {
            Finish::Overwrite => {}
            // SAFETY: `write` checked that there is a bias for each column.
            Finish::Bias(bias) => sums = [unsafe { load::<S, V, FULL>(simd, bias.as_ptr(), last) }; R],
            Finish::Add => {
                for r in 0..R {
                    sums[r] = match self.strides[1] {
                        // SAFETY: `write` checked that to(r) is a row of c; its columns lie side by side.
                        1 => unsafe { load::<S, V, FULL>(simd, self.row(r), last) },
                        _ => self.gather(simd, r),
                    }
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn add_products<S: Simd<Elem = E>>(&self, simd: S, last: S::Mask, sums: &mut [[S::Vector; V]; R]) {
        let Product { a, b, steps: [a_step, b_step], segments, .. } = *self.product;
        let mut rows = [a.as_ptr(); R];
        for r in 0..R {
            rows[r] = rows[r].wrapping_add(self.rows[r].from);
        }
        for segment in segments {
            let (mut at, mut b) = (segment.a, b.as_ptr().wrapping_add(segment.b));
            for _ in 0..segment.len {
                // SAFETY: `write` checked that b(k) and the columns after it lie in b.
                let factors = unsafe { load::<S, V, FULL>(simd, b, last) };
                for r in 0..R {
                    // SAFETY: `write` checked that from(r) + a(k) lies in a.
                    let factor = simd.splat(unsafe { *rows[r].add(at) });
                    for v in 0..V {
                        sums[r][v] = simd.mul_add(factor, factors[v], sums[r][v]);
                    }
                }
                at = at.wrapping_add(a_step);
                b = b.wrapping_add(b_step);
            }
        }
    }

    #[inline(always)]
    fn end<S: Simd<Elem = E>>(&self, simd: S, last: S::Mask, sums: [[S::Vector; V]; R]) {
        for r in 0..R {
            let mut sums = sums[r];
            for v in 0..V {
                sums[v] = simd.flush(sums[v]);
            }
            match self.strides[1] {
                // SAFETY: `write` checked that to(r) is a row of c; its columns lie side by side.
                1 => unsafe { store::<S, V, FULL>(simd, self.row(r), last, sums) },
                _ => self.scatter(simd, r, sums),
            }
        }
    }

    /// Where row r of c begins.
    #[inline(always)]
    fn row(&self, r: usize) -> *mut E {
        self.c.wrapping_offset(self.rows[r].to as isize * self.strides[0])
    }

    /// Row r of a c whose columns do not lie side by side.
    #[inline(always)]
    fn gather<S: Simd<Elem = E>>(&self, simd: S, r: usize) -> [S::Vector; V] {
        const { assert!(V <= 2 && S::LANES <= MOST_LANES) };
        let mut row = [E::zero(); 2 * MOST_LANES];
        for (f, number) in row[..self.columns].iter_mut().enumerate() {
            // SAFETY: `write` checked that to(r) is a row of c, and f counts its columns.
            *number = unsafe { *self.row(r).offset(f as isize * self.strides[1]) };
        }
        // SAFETY: `row` has room for V registers, as asserted above.
        unsafe { load::<S, V, true>(simd, row.as_ptr(), simd.first(0)) }
    }

    /// The way back.
    #[inline(always)]
    fn scatter<S: Simd<Elem = E>>(&self, simd: S, r: usize, sums: [S::Vector; V]) {
        const { assert!(V <= 2 && S::LANES <= MOST_LANES) };
        let mut row = [E::zero(); 2 * MOST_LANES];
        // SAFETY: `row` has room for V registers, as asserted above.
        unsafe { store::<S, V, true>(simd, row.as_mut_ptr(), simd.first(0), sums) };
        for (f, &number) in row[..self.columns].iter().enumerate() {
            // SAFETY: `write` checked that to(r) is a row of c, and f counts its columns.
            unsafe { *self.row(r).offset(f as isize * self.strides[1]) = number };
        }
    }
}

/// The largest `Simd::LANES`.
const MOST_LANES: usize = 16;

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
