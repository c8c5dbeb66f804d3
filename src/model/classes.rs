//! From outputs to classes.

use crate::element::Element;
use crate::error::{Error, Result};
use ndarray::ArrayViewD;

/// The class of each row of `y` [N, K]: the largest entry, the first of equal ones; for K = 1, whether it is
/// above `threshold`.
pub(crate) fn classes_of<E: Element>(y: ArrayViewD<'_, E>, threshold: f64) -> Result<Vec<usize>> {
    if y.ndim() != 2 || y.shape()[1] == 0 {
        return Err(Error::shape("classes", "an output [N, K]", y.shape()));
    }
    let class = |row: ArrayViewD<'_, E>| match row.len() {
        1 => usize::from(row.iter().all(|&p| p.as_f64() > threshold)),
        _ => {
            let mut best = (0, E::neg_infinity());
            for (class, &p) in row.iter().enumerate() {
                if p > best.1 {
                    best = (class, p);
                }
            }
            best.0
        }
    };
    Ok(y.outer_iter().map(class).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn one_output_is_compared_with_the_threshold_and_more_with_each_other() {
        let classes = |y: ndarray::Array2<f64>, threshold| classes_of(y.into_dyn().view(), threshold).unwrap();
        assert_eq!(classes(array![[0.5], [0.51], [f64::NAN]], 0.5), [0, 1, 0]);
        assert_eq!(classes(array![[-1.0], [0.1]], 0.0), [0, 1]);
        assert_eq!(classes(array![[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], 0.5), [1, 0]);
        assert!(classes_of(array![1.0].into_dyn().view(), 0.5).is_err());
    }
}
