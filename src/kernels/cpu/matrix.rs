//! A matrix as a product reads it, and copies of it that lie where the caches want them.

use crate::element::Element;
use crate::simd::turn::turn;
use crate::simd::{Kernel, Simd};
use ndarray::ArrayViewMut2;

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

    /// A part of some rows that one of several products, each over all columns, may fetch: its first number, and the
    /// distance from what is fetched with one column to what is fetched with the next.
    pub(super) fn ahead(self, first: usize, rows: usize, part: usize, parts: usize) -> (*const E, usize) {
        let ([row, column], depth) = (self.strides, self.shape[1]);
        let (offset, step) = match column {
            // Rows side by side are one run.
            1 if row == depth => (part * depth * rows.div_ceil(parts), rows.div_ceil(parts)),
            1 if part < rows => (part * row, 1),
            1 => (0, 0),
            // The first number of each column, and the last: these are two lines at most.
            _ => (part.min(1) * (rows - 1), column),
        };
        (self.data.as_ptr().wrapping_add(first * row + offset), step)
    }

    /// Copies a matrix that is not empty row by row to the beginnings of pieces of `row` numbers.
    pub(super) fn copy_rows<S: Simd<Elem = E>>(self, simd: S, to: &mut [E], row: usize) {
        let [rows, columns] = self.shape;
        if self.strides[1] == 1 {
            return simd.vectorize(CopyRows { from: self, to, row });
        }
        let to = ArrayViewMut2::from_shape((rows, row), &mut to[..rows * row]).expect("whole rows");
        turn(simd, self.data, self.strides[1], to.split_at(ndarray::Axis(1), columns).0);
    }
}

struct CopyRows<'a, E> {
    from: Matrix<'a, E>,
    to: &'a mut [E],
    row: usize,
}

impl<E: Element> Kernel<E> for CopyRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        let [rows, columns] = self.from.shape;
        for (i, to) in self.to.chunks_mut(self.row).take(rows).enumerate() {
            let from = &self.from.data[i * self.from.strides[0]..][..columns];
            // Registers: a call to copy some numbers takes longer than to copy them.
            let ((to, to_rest), (from, from_rest)) = (to[..columns].as_chunks_mut::<16>(), from.as_chunks::<16>());
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            to_rest.iter_mut().zip(from_rest).for_each(|(to, from)| *to = *from);
        }
    }
}
