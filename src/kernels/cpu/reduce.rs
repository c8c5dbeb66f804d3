//! Sums over rows, and rows added to rows: the bias of a layer and its gradient.

use super::{parallel, scratch};
use crate::element::Element;
use crate::simd::{Kernel, Simd};

/// Numbers that are added to, or added up, at once.
const BLOCK: usize = 1 << 15;

/// Adds `row` [F] to every row of `y` [R, F].
pub(crate) fn add_row<E: Element>(y: &mut [E], row: &[E]) {
    let block = (BLOCK / row.len().max(1)).max(1) * row.len();
    parallel::chunks_mut(8 * y.len(), y, block, |_, y| {
        for y in y.chunks_exact_mut(row.len()) {
            y.iter_mut().zip(row).for_each(|(y, &b)| *y += b);
        }
    });
}

/// Overwrites `sums` [F] with Σ_r y[r, f]: blocks of rows first, and then their sums, in order.
pub(crate) fn sum_rows<E: Element>(y: &[E], sums: &mut [E]) {
    E::dispatch(SumRows { y, sums });
}

struct SumRows<'a, E> {
    y: &'a [E],
    sums: &'a mut [E],
}

impl<E: Element> Kernel<E> for SumRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { y, sums } = self;
        let columns = sums.len();
        let block = (BLOCK / columns.max(1)).max(1) * columns;
        if y.len() <= block {
            return simd.vectorize(SumBlock { y, sums });
        }
        scratch::with(y.len().div_ceil(block) * columns, |parts| {
            parallel::chunks_mut(8 * y.len(), parts, columns, |part, sums| {
                let y = &y[part * block..];
                simd.vectorize(SumBlock { y: &y[..block.min(y.len())], sums });
            });
            simd.vectorize(SumBlock { y: parts, sums });
        });
    }
}

struct SumBlock<'a, E> {
    y: &'a [E],
    sums: &'a mut [E],
}

impl<E: Element> Kernel<E> for SumBlock<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let (columns, sums) = (self.sums.len(), self.sums);
        sums.fill(E::zero());
        // Four rows at a time: `sums` is read and written less often.
        let fours = self.y.chunks_exact((4 * columns).max(1));
        for row in fours.remainder().chunks_exact(columns.max(1)) {
            sums.iter_mut().zip(row).for_each(|(sum, &y)| *sum += y);
        }
        for four in fours {
            let (two, other) = four.split_at(2 * columns);
            let ((a, b), (c, d)) = (two.split_at(columns), other.split_at(columns));
            let rows = a.iter().zip(b).zip(c.iter().zip(d));
            sums.iter_mut().zip(rows).for_each(|(sum, ((&a, &b), (&c, &d)))| *sum += (a + b) + (c + d));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::random::Key;

    #[test]
    fn sums_agree_with_the_formula() {
        let mut random = Key::new(1).named("reduce").stream();
        for (rows, columns) in [(0, 3), (1, 1), (7, 5), (33, 32), (9001, 32), (70_001, 3), (5, 40_000), (4, 0)] {
            let y = testing::draw(rows * columns, &mut random);
            let sum =
                |y: &[f64]| (0..columns).map(|f| (0..rows).map(|r| y[r * columns + f]).sum()).collect::<Vec<f64>>();
            let (expected, bound) = (sum(&y), sum(&testing::magnitudes(&y)));
            let y = testing::cast::<f32>(&y);
            testing::on_each_path_and_pool(|| {
                let mut sums = vec![f32::NAN; columns];
                sum_rows(&y, &mut sums);
                testing::close(&sums, &expected, &bound, &format!("{rows} {columns}"));
                sums
            });
        }
    }

    #[test]
    fn a_row_is_added_to_each() {
        for (rows, columns) in [(0, 3), (7, 5), (9001, 32), (4, 0)] {
            let (mut y, row) = (vec![1.0; rows * columns], (0..columns).map(|f| f as f64).collect::<Vec<_>>());
            add_row(&mut y, &row);
            assert!(y.iter().enumerate().all(|(at, &y)| y == 1.0 + (at % columns) as f64));
        }
    }
}
