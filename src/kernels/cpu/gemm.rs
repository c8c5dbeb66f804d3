//! c[m,n] = Σ_k a[m,k] · b[k,n]
//!
//! b is packed into panels of two registers' width, unless a is too small to make that worth while; a is packed
//! where its rows would get in each other's way in the cache. c is cut into blocks, and K into pieces of
//! `DEPTH` products whose sums are added up in order.

use super::panels::Factor;
use super::{parallel, scratch};
use crate::element::Element;
use crate::simd::tile::{Finish, Product, Row, Segment};
use crate::simd::{Kernel, Simd};
use ndarray::ArrayViewMut2;

/// A matrix over a slice, with any strides.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, E> {
    data: &'a [E],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a, E> Matrix<'a, E> {
    /// `data` row by row.
    pub fn rows(data: &'a [E], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns);
        Self { data, shape: [rows, columns], strides: [columns, 1] }
    }

    /// The same numbers, rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { data: self.data, shape: [self.shape[1], self.shape[0]], strides: [self.strides[1], self.strides[0]] }
    }
}

impl<E: Element> Matrix<'_, E> {
    /// The numbers of a matrix that is not empty, column after column.
    fn copy_by_columns(&self, to: &mut [E]) {
        let ([m, k], [row, column]) = (self.shape, self.strides);
        match row {
            1 => {
                to.chunks_exact_mut(m).enumerate().for_each(|(l, to)| to.copy_from_slice(&self.data[l * column..][..m]))
            }
            _ => (0..m).for_each(|i| {
                let from = &self.data[i * row..];
                (0..k).for_each(|l| to[l * m + i] = from[l * column]);
            }),
        }
    }
}

/// Overwrites `c` [M, N] with a [M, K] · b [K, N].
pub(crate) fn gemm<E: Element>(a: Matrix<'_, E>, b: Matrix<'_, E>, c: &mut [E]) {
    let ([m, k], n) = (a.shape, b.shape[1]);
    assert_eq!(b.shape[0], k);
    if m * n == 0 {
        return;
    }
    let c = ArrayViewMut2::from_shape((m, n), c).expect("c is [M, N]");
    // To rearrange K·N numbers column by column can cost more than to write cᵀ = bᵀ·aᵀ number by number.
    match b.strides[1] != 1 && k * n > m * (n + k) {
        true => E::dispatch(Gemm { a: b.transposed(), b: a.transposed(), c: c.reversed_axes() }),
        false => E::dispatch(Gemm { a, b, c }),
    }
}

/// Products whose sum is kept in registers: a panel of so many rows stays in the first cache.
const DEPTH: usize = 256;

/// Rows of a, up to which b is used where it lies.
const FEW_ROWS: usize = 64;

struct Gemm<'a, E> {
    a: Matrix<'a, E>,
    b: Matrix<'a, E>,
    c: ArrayViewMut2<'a, E>,
}

impl<E: Element> Kernel<E> for Gemm<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { a, b, c } = self;
        let ([k, n], width) = (b.shape, 2 * S::LANES);
        if a.shape[0] <= FEW_ROWS && b.strides[1] == 1 {
            return multiply_few(simd, a, Panels { data: b.data, row: b.strides[0], panel: width }, c);
        }
        let factor = Factor { data: b.data, shape: [1, 1, k, n], strides: [0, 0, b.strides[0], b.strides[1]] };
        scratch::with(factor.packed_len(width), |packed| {
            factor.pack(width, packed);
            multiply(simd, a, Panels { data: packed, row: width, panel: k * width }, c);
        });
    }
}

/// A product of few rows: where it has also few columns, but a long sum, the sum is cut into `PARTS`.
fn multiply_few<S: Simd>(simd: S, a: Matrix<'_, S::Elem>, b: Panels<'_, S::Elem>, mut c: ArrayViewMut2<'_, S::Elem>) {
    let ([m, k], n) = (a.shape, c.ncols());
    if k < PARTS * DEPTH || n > 16 * S::LANES {
        return multiply(simd, a, b, c);
    }
    let depth = k.div_ceil(PARTS);
    scratch::with(PARTS * m * n, |sums| {
        parallel::chunks_mut(m * k * n, sums, m * n, |part, sums| {
            let first = (part * depth).min(k);
            let shape = [m, depth.min(k - first)];
            let a = Matrix { data: a.data.get(first * a.strides[1]..).unwrap_or_default(), shape, ..a };
            let b = Panels { data: b.data.get(first * b.row..).unwrap_or_default(), ..b };
            let mut sums = ArrayViewMut2::from_shape((m, n), sums).expect("a part is [M, N]");
            multiply_block(simd, a, b, &mut sums);
        });
        c.fill(S::Elem::default());
        for sums in sums.chunks_exact(m * n) {
            c.iter_mut().zip(sums).for_each(|(c, &sum)| *c += sum);
        }
    });
}

/// Parts of a long sum.
const PARTS: usize = 8;

/// Panels of b, and the distances from row to row and from panel to panel.
#[derive(Clone, Copy)]
struct Panels<'a, E> {
    data: &'a [E],
    row: usize,
    panel: usize,
}

fn multiply<S: Simd>(simd: S, a: Matrix<'_, S::Elem>, b: Panels<'_, S::Elem>, c: ArrayViewMut2<'_, S::Elem>) {
    let ([m, k], n) = (a.shape, c.ncols());
    // Some 16 blocks of rows, long enough to use a panel from the first cache several times ...
    let blocks = (m / (4 * S::ROWS)).clamp(1, 16).max(m.div_ceil(8 * S::ROWS));
    let rows = m.div_ceil(blocks).next_multiple_of(S::ROWS);
    // ... and as many columns as make a block worth a thread, or, with many rows, more: a is read less often.
    let panels = match blocks >= 8 {
        true => 16,
        false => ((1 << 20) / (rows.min(m) * k * 2 * S::LANES).max(1)).clamp(1, 16),
    };
    parallel::blocks_mut(m * k * n, c, [rows, panels * 2 * S::LANES], &|[row, column], mut c| {
        let a = Matrix { data: a.data.get(row * a.strides[0]..).unwrap_or_default(), shape: [c.nrows(), k], ..a };
        let b = Panels { data: b.data.get(column / (2 * S::LANES) * b.panel..).unwrap_or_default(), ..b };
        multiply_block(simd, a, b, &mut c);
    });
}

fn multiply_block<S: Simd>(
    simd: S,
    a: Matrix<'_, S::Elem>,
    b: Panels<'_, S::Elem>,
    c: &mut ArrayViewMut2<'_, S::Elem>,
) {
    let [m, k] = a.shape;
    for first in (0..k.max(1)).step_by(DEPTH) {
        let depth = DEPTH.min(k - first);
        let origin = first * a.strides[1];
        let finish = if first == 0 { Finish::Overwrite } else { Finish::Add };
        let b = Panels { data: b.data.get(first * b.row..).unwrap_or_default(), ..b };
        if worth_packing(a, c.ncols().div_ceil(2 * S::LANES)) {
            scratch::with(m * depth, |packed| {
                let piece = Matrix { data: &a.data[origin..], shape: [m, depth], ..a };
                piece.copy_by_columns(packed);
                multiply_piece(simd, Matrix { data: packed, strides: [1, m], ..piece }, b, finish, c);
            });
        } else {
            let data = a.data.get(origin..).unwrap_or_default();
            multiply_piece(simd, Matrix { data, shape: [m, depth], ..a }, b, finish, c);
        }
    }
}

/// Whether a should be rearranged for a product with so many panels.
fn worth_packing<E>(a: Matrix<'_, E>, panels: usize) -> bool {
    // Lines at distances of 4 KiB share one set of the first cache, which has room for 8 or 12 of them.
    let crowded = (a.strides[0].max(a.strides[1]) * size_of::<E>()).is_multiple_of(4096);
    panels >= 8 || crowded && panels >= 2
}

fn multiply_piece<S: Simd>(
    simd: S,
    a: Matrix<'_, S::Elem>,
    b: Panels<'_, S::Elem>,
    finish: Finish<'_, S::Elem>,
    c: &mut ArrayViewMut2<'_, S::Elem>,
) {
    let segments = [Segment { a: 0, b: 0, len: a.shape[1] }];
    for (panel, mut c) in c.axis_chunks_iter_mut(ndarray::Axis(1), 2 * S::LANES).enumerate() {
        let b_data = b.data.get(panel * b.panel..).unwrap_or_default();
        let product = Product::new(a.data, b_data, [a.strides[1], b.row], &segments);
        product.write(simd, a.shape[0], |row| Row { from: row * a.strides[0], to: row }, finish, &mut c);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{naive, testing};
    use super::*;

    /// a [M, K] and b [K, N] each as it is and transposed, on each path and with 1, 2 and 8 threads.
    fn check<E: testing::Number>([m, k, n]: [usize; 3], random: &mut crate::random::Random) {
        let [a, b] = [m * k, k * n].map(|len| testing::draw(len, random));
        let expected = naive::gemm([m, k, n], &a, &b);
        let [a, b] = [a, b].map(|numbers| testing::cast::<E>(&numbers));
        let [a_t, b_t] = [(&a, m, k), (&b, k, n)].map(|(numbers, rows, columns)| {
            (0..rows * columns).map(|at| numbers[at % rows * columns + at / rows]).collect::<Vec<E>>()
        });
        let bound = naive::gemm([m, k, n], &testing::magnitudes(&a), &testing::magnitudes(&b));
        testing::on_each_path_and_pool(|| {
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
        let mut random = crate::random::Key::new(1).named("gemm").stream();
        for round in 0..60 {
            let most = [[20, 20, 70], [130, 600, 10], [70, 30, 140]][round % 3];
            let shape = most.map(|most| random.below(most + 1));
            check::<f32>(shape, &mut random);
            check::<f64>(shape, &mut random);
        }
        // Worth more than one thread, more than one piece of K, rows that crowd the cache.
        for shape in [[150, 1024, 70], [33, 300, 1100], [1, 5000, 1], [7, 2048, 600]] {
            check::<f32>(shape, &mut random);
            check::<f64>(shape, &mut random);
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
