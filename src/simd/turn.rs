//! to[j,i] = from[i,j]

use super::{Kernel, Simd};
use crate::element::Element;
use ndarray::ArrayViewMut2;

/// Overwrites `to` with the matrix in `from`, whose rows lie `from_row` apart, turned.
///
/// # Panics
/// Where `from` is too short, or where the columns of `to` do not lie side by side.
pub fn turn<S: Simd>(simd: S, from: &[S::Elem], from_row: usize, to: ArrayViewMut2<'_, S::Elem>) {
    let (columns, rows) = to.dim();
    if rows * columns > 0 {
        assert!(columns == 1 || to.strides()[1] == 1 || rows == 1);
        assert!((rows - 1).saturating_mul(from_row).saturating_add(columns) <= from.len());
        simd.vectorize(Turn { from, from_row, to });
    }
}

/// Only [`turn`] makes one, and it vouches for all offsets.
struct Turn<'a, E> {
    from: &'a [E],
    from_row: usize,
    to: ArrayViewMut2<'a, E>,
}

impl<E: Element> Kernel<E> for Turn<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(mut self, simd: S) {
        let (columns, rows) = self.to.dim();
        let (from_row, to_row) = (self.from_row, self.to.strides()[0] as usize);
        let (from, to) = (self.from.as_ptr(), self.to.as_mut_ptr());
        // Squares, and what is left beside and below them number by number.
        let [whole_rows, whole_columns] = [rows, columns].map(|len| len / S::SQUARE * S::SQUARE);
        for i in (0..whole_rows).step_by(S::SQUARE) {
            for j in (0..whole_columns).step_by(S::SQUARE) {
                // SAFETY: `turn` checked that the last row lies in `from`; `to` is as large.
                unsafe { simd.turn(from.add(i * from_row + j), from_row, to.add(j * to_row + i), to_row) };
            }
        }
        for i in 0..rows {
            for j in if i < whole_rows { whole_columns } else { 0 }..columns {
                // SAFETY: as for the squares.
                unsafe { *to.add(j * to_row + i) = *from.add(i * from_row + j) };
            }
        }
    }
}
