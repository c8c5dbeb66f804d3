//! From outputs to classes.

use crate::element::Element;
use crate::error::{Error, Result};
use ndarray::{ArrayView1, ArrayView2, ArrayViewD, Ix2};

/// The class of each row of `y` [N, K]: the largest entry, the first of equal ones; for K = 1, whether it is
/// above `threshold`.
pub(crate) struct Classes<'a, E> {
    rows: ArrayView2<'a, E>,
    threshold: f64,
}

impl<'a, E: Element> Classes<'a, E> {
    pub fn new(y: ArrayViewD<'a, E>, threshold: f64) -> Result<Self> {
        if y.ndim() != 2 || y.shape()[1] == 0 {
            return Err(Error::shape("classes", "an output [N, K]", y.shape()));
        }
        Ok(Self { rows: y.into_dimensionality::<Ix2>().expect("just seen to have two axes"), threshold })
    }

    /// Row by row.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.rows.rows().into_iter().map(|row| self.class(row))
    }

    fn class(&self, row: ArrayView1<'_, E>) -> usize {
        if row.len() == 1 {
            return usize::from(row[0].as_f64() > self.threshold);
        }
        let mut best = (0, E::neg_infinity());
        for (class, &p) in row.iter().enumerate() {
            if p > best.1 {
                best = (class, p);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn one_output_is_compared_with_the_threshold_and_more_with_each_other() {
        let classes = |y: ndarray::Array2<f64>, threshold| -> Vec<usize> {
            Classes::new(y.into_dyn().view(), threshold).unwrap().iter().collect()
        };
        assert_eq!(classes(array![[0.5], [0.51], [f64::NAN]], 0.5), [0, 1, 0]);
        assert_eq!(classes(array![[-1.0], [0.1]], 0.0), [0, 1]);
        assert_eq!(classes(array![[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], 0.5), [1, 0]);
        assert!(Classes::new(array![1.0].into_dyn().view(), 0.5).is_err());
    }
}
