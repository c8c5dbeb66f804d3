//! A matrix as a kernel reads it, and copies of it that lie where the caches want them.

use crate::element::Element;

/// A matrix over a slice, its rows or its columns side by side.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, E> {
    pub(super) data: &'a [E],
    pub(super) shape: [usize; 2],
    pub(super) strides: [usize; 2],
}

impl<'a, E: Element> Matrix<'a, E> {
    /// `data` row by row.
    pub fn rows(data: &'a [E], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns);
        Self { data, shape: [rows, columns], strides: [columns, 1] }
    }

    /// The same numbers, rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { data: self.data, shape: [self.shape[1], self.shape[0]], strides: [self.strides[1], self.strides[0]] }
    }

    /// The part that begins at row and column `first`.
    pub(super) fn part(self, first: [usize; 2], shape: [usize; 2]) -> Self {
        let origin = first[0] * self.strides[0] + first[1] * self.strides[1];
        Self { data: self.data.get(origin..).unwrap_or_default(), shape, ..self }
    }

    /// Whether neighbouring rows lie a multiple of 4 KiB apart: then they share one set of the first cache, which has
    /// room for 8 or 12 lines.
    pub(super) fn is_crowded(self) -> bool {
        (self.strides[0] * size_of::<E>()).is_multiple_of(4096)
    }

    /// Copies the matrix row by row to the beginnings of pieces of `row` numbers.
    #[inline(always)]
    pub(super) fn copy_rows(self, to: &mut [E], row: usize) {
        let [rows, columns] = self.shape;
        match self.strides {
            [from_row, 1] => {
                for (i, to) in to.chunks_mut(row).take(rows).enumerate() {
                    let from = &self.data[i * from_row..];
                    // Not `copy_from_slice`: most rows are shorter than a call is long.
                    to[..columns].iter_mut().zip(&from[..columns]).for_each(|(to, &from)| *to = from);
                }
            }
            [_, from_row] => transpose(self.data, from_row, to, row, [columns, rows]),
        }
    }
}

/// to[j,i] = from[i,j], given the distances between rows
#[inline(always)]
pub(super) fn transpose<E: Element>(
    from: &[E],
    from_row: usize,
    to: &mut [E],
    to_row: usize,
    [rows, columns]: [usize; 2],
) {
    const SIDE: usize = 4;
    // Squares, whose rows are each a register long; a number by itself costs twice as much.
    for i in (0..rows).step_by(SIDE) {
        let side = SIDE.min(rows - i);
        let line = |r: usize| &from[(i + r.min(side - 1)) * from_row..][..columns];
        let lines = [0, 1, 2, 3].map(line);
        let squares = if side == SIDE { columns / SIDE * SIDE } else { 0 };
        for j in (0..squares).step_by(SIDE) {
            let square = lines.map(|line| [line[j], line[j + 1], line[j + 2], line[j + 3]]);
            for l in 0..SIDE {
                to[(j + l) * to_row + i..][..SIDE].copy_from_slice(&square.map(|line| line[l]));
            }
        }
        for j in squares..columns {
            (0..side).for_each(|r| to[j * to_row + i + r] = lines[r][j]);
        }
    }
}
