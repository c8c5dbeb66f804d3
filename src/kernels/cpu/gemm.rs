//! c[m,n] = Σ_k a[m,k] · b[k,n]
//!
//! K is cut into pieces whose sums are added up in order; for each piece b is packed into panels of two registers'
//! width, unless a has few rows, and c is cut into blocks for which a piece of b stays in the second cache. In a
//! block a tile's rows of a stay in the first cache and meet panel after panel. a is used where it lies, unless its
//! rows would get in each other's way in the cache.

pub(crate) use super::matrix::Matrix;
use super::winograd::Ahead;
use super::{parallel, scratch};
use crate::element::Element;
use crate::simd::matrix::Factors;
use crate::simd::outer::pack;
use crate::simd::turn::turn;
use crate::simd::{Kernel, Simd};
use ndarray::{ArrayViewMut2, s};
use std::ops::Range;

/// Overwrites `c` [M, N] with a [M, K] · b [K, N].
pub(crate) fn gemm<E: Element>(a: Matrix<'_, E>, b: Matrix<'_, E>, c: &mut [E]) {
    let ([m, k], n) = (a.shape, b.shape[1]);
    assert_eq!((b.shape[0], c.len()), (k, m * n));
    if m * n * k == 0 {
        return c.fill(E::zero());
    }
    // To turn K·N numbers of b can cost more than to turn the M·N of cᵀ = bᵀ·aᵀ.
    let turned = b.strides[1] != 1 && k * n > m * (n + k);
    let c = ArrayViewMut2::from_shape((m, n), c).expect("c is [M, N]");
    E::dispatch(Gemm { a, b, c, turned });
}

/// Products whose sum is kept in registers: a tile's rows of a stay in the first cache.
const DEPTH: usize = 512;

/// Rows of a, up to which b is not packed.
const IN_PLACE: usize = 256;

/// Rows of a, up to which most of the time goes into fetching b.
const FEW: usize = 64;

/// What fetching a number of b costs, in multiply-adds.
const FETCH: usize = 8;

/// Panels of b for a block of c: with `DEPTH` rows they stay in the second cache.
const PANELS: usize = 16;

struct Gemm<'a, E> {
    a: Matrix<'a, E>,
    b: Matrix<'a, E>,
    c: ArrayViewMut2<'a, E>,
    turned: bool,
}

impl<E: Element> Kernel<E> for Gemm<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { a, b, c, turned } = self;
        let ([m, k], n) = (a.shape, c.ncols());
        match turned {
            true => multiply_turned(simd, b.transposed(), a.transposed(), c),
            false if m <= FEW && n <= 16 * S::LANES && k >= PARTS * 256 && b.strides[1] == 1 => in_parts(simd, a, b, c),
            false => multiply(simd, a, b, c),
        }
    }
}

/// Panels of b, and the distances from row to row and from panel to panel.
#[derive(Clone, Copy)]
struct Panels<'a, E> {
    data: &'a [E],
    row: usize,
    panel: usize,
    /// Whether most of the time goes into fetching them: for few rows of a.
    fetch: bool,
}

impl<'a, E: Element> Panels<'a, E> {
    /// b where it lies, if its rows lie one after the other.
    fn in_place(b: Matrix<'a, E>, width: usize, fetch: bool) -> Self {
        Self { data: b.data, row: b.strides[0], panel: width, fetch }
    }

    /// Runs `work` with b in panels of `width` columns. Those beyond the last hold anything.
    fn packed<S: Simd<Elem = E>>(simd: S, b: Matrix<'_, E>, width: usize, work: impl FnOnce(Panels<'_, E>)) {
        let [k, n] = b.shape;
        scratch::with(n.div_ceil(width) * width * k, |packed| {
            parallel::chunks_mut(8 * packed.len(), packed, k * width, |panel, to| {
                let first = panel * width;
                b.part([0, first], [k, width.min(n - first)]).copy_rows(simd, to, width);
            });
            work(Panels { data: packed, row: width, panel: k * width, fetch: false });
        });
    }

    /// From a row and a panel on.
    fn part(self, row: usize, panel: usize) -> Self {
        Self { data: self.data.get(row * self.row + panel * self.panel..).unwrap_or_default(), ..self }
    }
}

/// The ranges of a length cut into as few parts of at most `most` as possible, all nearly equal.
#[derive(Clone, Copy)]
struct Cut {
    parts: usize,
    len: usize,
    longer: usize,
}

impl Cut {
    fn new(len: usize, most: usize) -> Self {
        let parts = len.div_ceil(most).max(1);
        Self { parts, len: len / parts, longer: len % parts }
    }

    fn part(self, index: usize) -> Range<usize> {
        let first = |index: usize| index * self.len + index.min(self.longer);
        first(index)..first(index + 1)
    }

    fn parts(self) -> impl Iterator<Item = Range<usize>> {
        (0..self.parts).map(move |index| self.part(index))
    }
}

fn multiply<S: Simd>(simd: S, a: Matrix<'_, S::Elem>, b: Matrix<'_, S::Elem>, mut c: ArrayViewMut2<'_, S::Elem>) {
    let ([m, k], n, width) = (a.shape, c.ncols(), 2 * S::LANES);
    for piece in Cut::new(k, DEPTH).parts() {
        let (depth, add) = (piece.len(), piece.start > 0);
        let (a, b) = (a.part([0, piece.start], [m, depth]), b.part([piece.start, 0], [depth, n]));
        match b.strides[1] == 1 && (m <= FEW || m <= IN_PLACE && !b.is_crowded()) {
            true => multiply_blocks(simd, a, Panels::in_place(b, width, m <= FEW), add, c.view_mut()),
            false => Panels::packed(simd, b, width, |b| multiply_blocks(simd, a, b, add, c.view_mut())),
        }
    }
}

/// A product of few rows and columns, but a long sum, which is cut into `PARTS`.
fn in_parts<S: Simd>(simd: S, a: Matrix<'_, S::Elem>, b: Matrix<'_, S::Elem>, mut c: ArrayViewMut2<'_, S::Elem>) {
    let ([m, k], n) = (a.shape, c.ncols());
    let cut = Cut::new(k, k.div_ceil(PARTS));
    scratch::with(cut.parts * m * n, |sums| {
        parallel::chunks_mut(m.max(FETCH) * k * n, sums, m * n, |part, sums| {
            let part = cut.part(part);
            let (a, b) = (a.part([0, part.start], [m, part.len()]), b.part([part.start, 0], [part.len(), n]));
            let mut sums = ArrayViewMut2::from_shape((m, n), sums).expect("a part is [M, N]");
            multiply_pieces(simd, a, Panels::in_place(b, 2 * S::LANES, true), &mut sums);
        });
        let c = c.as_slice_mut().expect("c is not turned");
        c.fill(S::Elem::default());
        for sums in sums.chunks_exact(m * n) {
            c.iter_mut().zip(sums).for_each(|(c, &sum)| *c += sum);
        }
    });
}

/// Parts of a long sum.
const PARTS: usize = 8;

/// A product of which some rows are made at a time, by whoever needs them.
pub(super) struct Rows<'a, E> {
    a: Matrix<'a, E>,
    b: Panels<'a, E>,
    columns: usize,
}

impl<E: Element> Rows<'_, E> {
    /// Runs `work` with a [M, K] · b [K, N].
    pub fn with<S: Simd<Elem = E>>(simd: S, [a, b]: [Matrix<'_, E>; 2], work: impl FnOnce(Rows<'_, E>)) {
        Panels::packed(simd, b, 2 * S::LANES, |panels| work(Rows { a, b: panels, columns: b.shape[1] }));
    }

    /// Overwrites `c` [R, N] with the rows from `first` on.
    pub fn write<S: Simd<Elem = E>>(&self, simd: S, first: usize, c: &mut [E]) {
        let shape = (c.len() / self.columns, self.columns);
        let mut c = ArrayViewMut2::from_shape(shape, c).expect("whole rows are asked for");
        multiply_pieces(simd, self.a.part([first, 0], [shape.0, self.a.shape[1]]), self.b, &mut c);
    }
}

/// Overwrites `c` [M, N] with a [M, K] · b [K, N], and fetches some of `ahead`, or else the next rows of a. Panels of b,
/// [K, 2 registers] each, begin every `step` numbers.
pub(super) fn multiply_panels<S: Simd>(
    simd: S,
    a: Matrix<'_, S::Elem>,
    (b, step): (&[S::Elem], usize),
    c: &mut [S::Elem],
    ahead: &mut Ahead<'_, S::Elem>,
) {
    let ([m, k], n, width) = (a.shape, c.len() / a.shape[0], 2 * S::LANES);
    let panels = n.div_ceil(width);
    let mut c = ArrayViewMut2::from_shape((m, n), c).expect("c has the rows of a");
    for piece in Cut::new(k, DEPTH).parts() {
        for rows in Cut::new(m, S::ROWS).parts() {
            for (panel, column) in (0..n).step_by(width).enumerate() {
                let fetched = ahead.take(piece.len());
                let factors = Factors {
                    a: a.part([rows.start, piece.start], [rows.len(), piece.len()]).data,
                    a_strides: a.strides,
                    b: &b[panel * step + piece.start * width..],
                    b_row: width,
                    depth: piece.len(),
                    ahead: fetched.unwrap_or_else(|| a.ahead(rows.end, rows.len(), panel, panels)),
                };
                let size = [rows.len(), width.min(n - column)];
                factors.write(simd, piece.start > 0, &mut c, [rows.start, column], size);
            }
        }
    }
}

/// Overwrites `c` with (a · b)ᵀ: blocks of a · b are turned.
fn multiply_turned<S: Simd>(simd: S, a: Matrix<'_, S::Elem>, b: Matrix<'_, S::Elem>, c: ArrayViewMut2<'_, S::Elem>) {
    let ([m, k], width) = (a.shape, 2 * S::LANES);
    Panels::packed(simd, b, width, |b| {
        let size = [2 * width, m.min(8 * S::ROWS)];
        parallel::blocks_mut(m * k * c.nrows(), c, size, &|[column, row], c| {
            let (a, b) = (a.part([row, 0], [c.ncols(), k]), b.part(0, column / width));
            scratch::with(c.len(), |block| {
                let shape = (c.ncols(), c.nrows());
                let mut view = ArrayViewMut2::from_shape(shape, &mut *block).expect("the block is as large as c");
                multiply_pieces(simd, a, b, &mut view);
                turn(simd, block, shape.1, c);
            });
        });
    });
}

/// Overwrites `c`, piece by piece.
fn multiply_pieces<S: Simd>(
    simd: S,
    a: Matrix<'_, S::Elem>,
    b: Panels<'_, S::Elem>,
    c: &mut ArrayViewMut2<'_, S::Elem>,
) {
    for piece in Cut::new(a.shape[1], DEPTH).parts() {
        let a = a.part([0, piece.start], [a.shape[0], piece.len()]);
        multiply_block(simd, a, b.part(piece.start, 0), piece.start > 0, c);
    }
}

fn multiply_blocks<S: Simd>(
    simd: S,
    a: Matrix<'_, S::Elem>,
    b: Panels<'_, S::Elem>,
    add: bool,
    c: ArrayViewMut2<'_, S::Elem>,
) {
    let ([m, k], n, width) = (a.shape, c.ncols(), 2 * S::LANES);
    // Some 16 blocks, for as many threads, of whole tiles ...
    let rows = if m <= FEW { FEW } else { (m / (16 * S::ROWS)).clamp(4, 8) * S::ROWS };
    // ... and of some columns where there are few rows.
    let panels = if m <= FEW { (n / (16 * width)).clamp(2, PANELS) } else { PANELS };
    parallel::blocks_mut(m.max(FETCH) * k * n, c, [rows, panels * width], &|[row, column], mut c| {
        multiply_block(simd, a.part([row, 0], [c.nrows(), k]), b.part(0, column / width), add, &mut c);
    });
}

/// Writes a block of c, or adds into it.
fn multiply_block<S: Simd>(
    simd: S,
    a: Matrix<'_, S::Elem>,
    b: Panels<'_, S::Elem>,
    add: bool,
    c: &mut ArrayViewMut2<'_, S::Elem>,
) {
    let ([m, depth], panels) = (a.shape, c.ncols().div_ceil(2 * S::LANES));
    // Rows that share a set of the cache are copied to where they do not, tile by tile. So are columns: each would
    // bring a line into the cache for the sake of a tile's few numbers.
    let by_rows = a.strides[1] == 1;
    if panels < 4 || if by_rows { !a.is_crowded() } else { depth < 64 } {
        return multiply_rows(simd, a, a, b, add, c);
    }
    let apart = depth + 64 / size_of::<S::Elem>();
    scratch::with(S::ROWS * apart, |packed| {
        for rows in Cut::new(m, S::ROWS).parts() {
            let height = rows.len();
            let tile = a.part([rows.start, 0], [height, depth]);
            let (step, columns, width) =
                if by_rows { (a.strides[0], depth, apart) } else { (a.strides[1], height, height) };
            let (packed, _) = packed.split_at_mut(if by_rows { height * apart } else { height * depth });
            pack(simd, tile.data, step, columns, packed, width);
            let strides = if by_rows { [apart, 1] } else { [1, height] };
            let next = a.part([rows.end, 0], [height, depth]);
            let mut c = c.slice_mut(s![rows, ..]);
            multiply_rows(simd, Matrix { data: packed, strides, ..tile }, next, b, add, &mut c);
        }
    });
}

/// The same with a as it is. `next` is where the rows after each tile are fetched from.
fn multiply_rows<S: Simd>(
    simd: S,
    a: Matrix<'_, S::Elem>,
    next: Matrix<'_, S::Elem>,
    b: Panels<'_, S::Elem>,
    add: bool,
    c: &mut ArrayViewMut2<'_, S::Elem>,
) {
    let ([m, depth], n) = (a.shape, c.ncols());
    // A single row is written in one go.
    let width = if m == 1 && b.panel == 2 * S::LANES { n } else { 2 * S::LANES };
    let (tiles, panels) = (Cut::new(m, S::ROWS), n.div_ceil(width));
    let mut write = |rows: Range<usize>, panel: usize, ahead: (*const S::Elem, usize)| {
        let factors = Factors {
            a: &a.data[rows.start * a.strides[0]..],
            a_strides: a.strides,
            b: &b.data[panel * b.panel..],
            b_row: b.row,
            depth,
            ahead,
        };
        let column = panel * width;
        factors.write(simd, add, c, [rows.start, column], [rows.len(), width.min(n - column)]);
    };
    if b.fetch {
        // All tiles meet one panel, and fetch the next one: each a line of every row.
        for panel in 0..panels {
            let next = if panel + 1 < panels { (panel + 1) * b.panel } else { depth * b.row };
            for (index, rows) in tiles.parts().enumerate() {
                write(rows, panel, (b.data.as_ptr().wrapping_add(next + index % 2 * S::LANES), b.row));
            }
        }
    } else {
        // Each tile meets all panels, and fetches the rows of the next one.
        for rows in tiles.parts() {
            for panel in 0..panels {
                write(
                    rows.clone(),
                    panel,
                    next.ahead(if m > S::ROWS { rows.end } else { 0 }, rows.len(), panel, panels),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{naive, testing};
    use super::*;
    use crate::random::{Key, Random};
    use crate::simd::{Path, forced};

    /// a [M, K] and b [K, N], each as it is and transposed, wherever `run` runs the products.
    fn check<E: testing::Number>(
        [m, k, n]: [usize; 3],
        random: &mut Random,
        run: impl Fn(&(dyn Fn() -> [Vec<E>; 4] + Sync)),
    ) {
        let [a, b] = [m * k, k * n].map(|len| testing::draw(len, random));
        let expected = naive::gemm([m, k, n], &a, &b);
        let [a, b] = [a, b].map(|numbers| testing::cast::<E>(&numbers));
        let [a_t, b_t] = [(&a, m, k), (&b, k, n)].map(|(numbers, rows, columns)| {
            (0..rows * columns).map(|at| numbers[at % rows * columns + at / rows]).collect::<Vec<E>>()
        });
        let bound = naive::gemm([m, k, n], &testing::magnitudes(&a), &testing::magnitudes(&b));
        run(&|| {
            let transposes = [
                (Matrix::rows(&a, m, k), Matrix::rows(&b, k, n)),
                (Matrix::rows(&a_t, k, m).transposed(), Matrix::rows(&b, k, n)),
                (Matrix::rows(&a, m, k), Matrix::rows(&b_t, n, k).transposed()),
                (Matrix::rows(&a_t, k, m).transposed(), Matrix::rows(&b_t, n, k).transposed()),
            ];
            transposes.map(|(a, b)| {
                let mut c = vec![E::nan(); m * n];
                gemm(a, b, &mut c);
                testing::close(&c, &expected, &bound, &format!("{m} {k} {n}"));
                c
            })
        });
    }

    #[test]
    fn products_agree_with_the_formula() {
        let mut random = Key::new(1).named("gemm").stream();
        fn on_each_path<T>(test: &(dyn Fn() -> T + Sync)) {
            Path::available().into_iter().for_each(|path| drop(forced::with(path, test)));
        }
        // Every remainder of every tile, few rows and many, short sums and such of several pieces.
        for round in 0..2000 {
            let most = [[20, 20, 70], [70, 30, 40], [3, 90, 300], [300, 9, 9], [10, 1200, 20]][round % 5];
            let shape = most.map(|most| random.below(most + 1));
            check::<f32>(shape, &mut random, |test| on_each_path(test));
            check::<f64>(shape, &mut random, |test| on_each_path(test));
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let mut random = Key::new(2).named("gemm").stream();
        // Each worth more than one thread: rows that crowd the cache, several blocks of rows and of columns, long sums
        // of few rows, a single row, a transposed product.
        for shape in [[150, 1024, 70], [300, 64, 600], [33, 300, 1100], [7, 5000, 100], [1, 9000, 300], [20, 600, 700]]
        {
            check::<f32>(shape, &mut random, |test| testing::on_each_path_and_pool(test));
            check::<f64>(shape, &mut random, |test| testing::on_each_path_and_pool(test));
        }
    }

    #[test]
    fn one_nan_reaches_its_row_and_no_other() {
        let (mut a, b, mut c) = ([1.0f32; 20 * 3], [1.0f32; 3 * 40], [0.0f32; 20 * 40]);
        a[7 * 3 + 1] = f32::NAN;
        gemm(Matrix::rows(&a, 20, 3), Matrix::rows(&b, 3, 40), &mut c);
        assert!(c.iter().enumerate().all(|(at, c)| c.is_nan() == (at / 40 == 7)));
    }
}
