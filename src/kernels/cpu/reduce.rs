//! Sums over rows, and rows added to rows: the bias of a layer and its gradient.

use crate::element::Element;

/// Adds `row` [F] to every row of `y` [R, F].
pub(crate) fn add_row<E: Element>(y: &mut [E], row: &[E]) {
    for y in y.chunks_exact_mut(row.len()) {
        y.iter_mut().zip(row).for_each(|(y, &b)| *y += b);
    }
}

/// Overwrites `sums` [F] with Σ_r y[r, f].
pub(crate) fn sum_rows<E: Element>(y: &[E], sums: &mut [E]) {
    sums.fill(E::zero());
    for y in y.chunks_exact(sums.len()) {
        sums.iter_mut().zip(y).for_each(|(sum, &y)| *sum += y);
    }
}
