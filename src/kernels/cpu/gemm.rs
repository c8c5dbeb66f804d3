//! c[m,n] = Σ_k a[m,k] · b[k,n]

use crate::element::Element;

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

/// Overwrites `c` [M, N] with a [M, K] · b [K, N].
pub(crate) fn gemm<E: Element>(a: Matrix<'_, E>, b: Matrix<'_, E>, c: &mut [E]) {
    let ([m, k], n) = (a.shape, b.shape[1]);
    assert_eq!((b.shape[0], c.len()), (k, m * n));
    let strides = b.strides[1];
    c.fill(E::zero());
    for i in 0..m {
        for l in 0..k {
            let (a, b) = (a.data[i * a.strides[0] + l * a.strides[1]], &b.data[l * b.strides[0]..]);
            let row = &mut c[i * n..][..n];
            row.iter_mut().enumerate().for_each(|(j, c)| *c += a * b[j * strides]);
        }
    }
}
