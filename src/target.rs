//! What a prediction is compared with.

use ndarray::ArrayD;

/// What predictions [N, …] are compared with.
///
/// ```
/// use tapetum::prelude::*;
/// let labels = Target::from(vec![1]);
/// let one_hot = Target::from(ndarray::array![[0.0, 1.0]].into_dyn());
/// let (p, loss) = (ndarray::array![[0.25, 0.75]].into_dyn(), CrossEntropy::from_probabilities());
/// assert_eq!(loss.value(p.view(), &labels, None)?, loss.value(p.view(), &one_hot, None)?);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Target<E> {
    /// A class for each sample, counted from 0.
    Labels(Vec<usize>),
    /// Numbers of the prediction's shape: one-hot rows, probabilities, measurements.
    Values(ArrayD<E>),
}

impl<E> From<Vec<usize>> for Target<E> {
    fn from(labels: Vec<usize>) -> Self {
        Self::Labels(labels)
    }
}

impl<E> From<ArrayD<E>> for Target<E> {
    fn from(values: ArrayD<E>) -> Self {
        Self::Values(values)
    }
}
