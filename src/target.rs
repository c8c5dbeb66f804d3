//! What a prediction is compared with.

use ndarray::ArrayD;

/// What predictions [N, …] are compared with.
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
