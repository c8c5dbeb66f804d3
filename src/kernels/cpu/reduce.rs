//! Sums over rows, and rows added to rows: the bias of a layer and its gradient.
//!
//! Rows of few columns are taken several at once, as one wide row: then registers are full whatever the columns, and
//! no sum waits for the one before it.

use super::{parallel, scratch};
use crate::element::Element;
use crate::simd::largest::NO_TAP;
use crate::simd::{Kernel, Simd};

/// Numbers that are added to, or added up, at once.
const BLOCK: usize = 1 << 15;

/// Numbers in a wide row, at most, where it is more than one row.
const WIDE: usize = 256;

/// Rows that a block has at least: what is kept of a block is as long as one.
const ROWS: usize = 32;

/// The length of a wide row: some rows of so many columns, at least one.
pub(super) fn wide(columns: usize) -> usize {
    let rows = (WIDE / columns.max(1)).max(1);
    // Whole registers, where they can be had.
    let even = 16 >> columns.trailing_zeros().min(4);
    columns * if rows >= even { rows / even * even } else { rows }
}

/// Fills a wide row with copies of its first row.
#[inline(always)]
pub(super) fn repeat<E: Copy>(wide: &mut [E], columns: usize) {
    let mut filled = columns;
    while filled < wide.len() {
        let next = filled.min(wide.len() - filled);
        wide.copy_within(..next, filled);
        filled += next;
    }
}

/// Leaves in the first row of a wide row the sum of all its rows, half added to half.
#[inline(always)]
pub(super) fn fold<E: Element>(wide: &mut [E], columns: usize) {
    let mut rows = wide.len() / columns.max(1);
    while rows > 1 {
        let half = rows.div_ceil(2);
        let (low, high) = wide[..rows * columns].split_at_mut(half * columns);
        low.iter_mut().zip(high).for_each(|(low, &mut high)| *low += high);
        rows = half;
    }
}

/// Adds all wide rows of `y` to `sums`; the last one may be shorter.
#[inline(always)]
pub(super) fn add_up<E: Element>(y: &[E], sums: &mut [E]) {
    let wide = sums.len().max(1);
    // Four rows at a time: `sums` is read and written less often.
    let fours = y.chunks_exact(4 * wide);
    for row in fours.remainder().chunks(wide) {
        sums.iter_mut().zip(row).for_each(|(sum, &y)| *sum += y);
    }
    for four in fours {
        let (two, other) = four.split_at(2 * wide);
        let ((a, b), (c, d)) = (two.split_at(wide), other.split_at(wide));
        let rows = a.iter().zip(b).zip(c.iter().zip(d));
        sums.iter_mut().zip(rows).for_each(|(sum, ((&a, &b), (&c, &d)))| *sum += (a + b) + (c + d));
    }
}

/// The same of the numbers that have a winner.
#[inline(always)]
fn add_up_won<E: Element>(y: &[E], won: &[u8], sums: &mut [E]) {
    let wide = sums.len().max(1);
    for (row, won) in y.chunks(wide).zip(won.chunks(wide)) {
        for ((sum, &y), &won) in sums.iter_mut().zip(row).zip(won) {
            *sum += if won == NO_TAP { E::zero() } else { y };
        }
    }
}

/// The numbers of a block of rows.
fn block(columns: usize) -> usize {
    (BLOCK / columns.max(1)).max(ROWS) * columns
}

/// Adds `row` [F] to every row of `y` [R, F].
pub(crate) fn add_row<E: Element>(y: &mut [E], row: &[E]) {
    E::dispatch(AddRow { y, row });
}

struct AddRow<'a, E> {
    y: &'a mut [E],
    row: &'a [E],
}

impl<E: Element> Kernel<E> for AddRow<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { y, row } = self;
        scratch::with(wide(row.len()), |wide| {
            wide[..row.len()].copy_from_slice(row);
            repeat(wide, row.len());
            parallel::chunks_mut(8 * y.len(), y, block(row.len()), |_, y| simd.vectorize(AddWide { y, row: wide }));
        });
    }
}

struct AddWide<'a, E> {
    y: &'a mut [E],
    row: &'a [E],
}

impl<E: Element> Kernel<E> for AddWide<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        for y in self.y.chunks_mut(self.row.len()) {
            y.iter_mut().zip(self.row).for_each(|(y, &b)| *y += b);
        }
    }
}

/// Overwrites `sums` [F] with Σ_r y[r, f]: blocks of rows first, and then their sums, in order.
pub(crate) fn sum_rows<E: Element>(y: &[E], sums: &mut [E]) {
    E::dispatch(SumRows { y, won: None, sums });
}

/// The same over the gradient behind a pooling, `y`, of all windows that have a winner.
pub(crate) fn sum_won<E: Element>(y: &[E], won: &[u8], sums: &mut [E]) {
    assert_eq!(y.len(), won.len());
    E::dispatch(SumRows { y, won: Some(won), sums });
}

struct SumRows<'a, E> {
    y: &'a [E],
    won: Option<&'a [u8]>,
    sums: &'a mut [E],
}

impl<E: Element> Kernel<E> for SumRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, simd: S) {
        let Self { y, won, sums } = self;
        let (columns, block) = (sums.len(), block(sums.len()));
        if y.len() <= block {
            return simd.vectorize(SumBlock { y, won, sums });
        }
        scratch::with(y.len().div_ceil(block) * columns, |parts| {
            parallel::chunks_mut(8 * y.len(), parts, columns, |part, sums| {
                let some = part * block..y.len().min((part + 1) * block);
                let won = won.map(|won| &won[some.clone()]);
                simd.vectorize(SumBlock { y: &y[some], won, sums });
            });
            simd.vectorize(SumBlock { y: parts, won: None, sums });
        });
    }
}

/// The same on one thread.
pub(super) struct SumBlock<'a, E> {
    pub y: &'a [E],
    pub won: Option<&'a [u8]>,
    pub sums: &'a mut [E],
}

impl<E: Element> Kernel<E> for SumBlock<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let Self { y, won, sums } = self;
        let (columns, wide) = (sums.len(), wide(sums.len()));
        sums.fill(E::zero());
        let add = |sums: &mut [E]| match won {
            Some(won) => add_up_won(y, won, sums),
            None => add_up(y, sums),
        };
        if wide == columns || y.len() < wide {
            return add(sums);
        }
        let mut several = [E::zero(); WIDE];
        add(&mut several[..wide]);
        fold(&mut several[..wide], columns);
        sums.copy_from_slice(&several[..columns]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Number};
    use super::*;
    use crate::random::Key;

    fn check_sums<E: Number>(rows: usize, columns: usize, y: &[f64]) {
        let sum = |y: &[f64]| (0..columns).map(|f| (0..rows).map(|r| y[r * columns + f]).sum()).collect::<Vec<f64>>();
        let (expected, bound) = (sum(y), sum(&testing::magnitudes(y)));
        let y = testing::cast::<E>(y);
        testing::on_each_path(y.len(), || {
            let mut sums = vec![E::nan(); columns];
            sum_won(&y, &vec![0; y.len()], &mut sums);
            testing::close(&sums, &expected, &bound, &format!("{rows} {columns}"));
            sum_rows(&y, &mut sums);
            testing::close(&sums, &expected, &bound, &format!("{rows} {columns}"));
            sums
        });
    }

    #[test]
    fn sums_agree_with_the_formula() {
        let mut random = Key::new(1).named("reduce").stream();
        for round in 0..2000 {
            let drawn = (random.below(80), testing::draw_size(9, &mut random));
            let named = [(0, 3), (4, 0), (9001, 32), (70_001, 3), (100_003, 1), (70, 40_000), (3, 40_000)];
            let (rows, columns) = named.get(round).copied().unwrap_or(drawn);
            let y = testing::draw(rows * columns, &mut random);
            check_sums::<f32>(rows, columns, &y);
            check_sums::<f64>(rows, columns, &y);
        }
    }

    #[test]
    fn what_has_no_winner_is_left_out() {
        let y: Vec<f32> = (0..40_000 * 5).map(|at| if at % 3 == 0 { f32::NAN } else { 1.0 }).collect();
        let won: Vec<u8> = (0..y.len()).map(|at| if at % 3 == 0 { NO_TAP } else { (at % 4) as u8 }).collect();
        testing::on_each_path(y.len(), || {
            let mut sums = vec![f32::NAN; 5];
            sum_won(&y, &won, &mut sums);
            let expected = [0, 1, 2, 3, 4].map(|f| (0..40_000).filter(|r| (r * 5 + f) % 3 != 0).count() as f32);
            assert_eq!(sums, expected);
            sums
        });
    }

    #[test]
    fn a_row_is_added_to_each() {
        let mut random = Key::new(2).named("reduce").stream();
        for round in 0..2000 {
            let drawn = (random.below(80), testing::draw_size(9, &mut random));
            let named = [(0, 3), (7, 5), (9001, 32), (200_000, 3), (4, 0)];
            let (rows, columns) = named.get(round).copied().unwrap_or(drawn);
            testing::on_each_path(rows * columns, || {
                let (mut y, row) = (vec![1.0; rows * columns], (0..columns).map(|f| f as f64).collect::<Vec<_>>());
                add_row(&mut y, &row);
                assert!(y.iter().enumerate().all(|(at, &y)| y == 1.0 + (at % columns) as f64));
                y
            });
        }
    }
}
