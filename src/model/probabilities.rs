//! From outputs to probabilities.

use super::Sequential;
use crate::element::Element;
use crate::error::{Error, Result};
use ndarray::{Array2, ArrayViewD};

/// What lies between the outputs of a network and probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Head {
    /// Nothing: they are probabilities.
    None,
    /// σ(z) = 1 / (1 + e⁻ᶻ) of each output.
    Sigmoid,
    /// e^{z_k} / Σ_j e^{z_j}
    Softmax,
}

impl Head {
    /// For the outputs of `model`, or of all its layers but the last where `skip_last`.
    pub fn of<E: Element>(model: &Sequential<E>, skip_last: bool) -> Self {
        let last = model.layers().next_back().map_or("", |(_, layer)| layer.kind());
        match (last, skip_last) {
            ("Sigmoid" | "Softmax", false) => Self::None,
            ("Sigmoid", true) => Self::Sigmoid,
            ("Softmax", true) => Self::Softmax,
            _ if model.output_shape() == [1] => Self::Sigmoid,
            _ => Self::Softmax,
        }
    }

    /// The probability of every class for outputs y [N, K]; a single output tells class 1 from class 0.
    ///
    /// In `f64`, where a probability next to 0 or 1 is still another number than these.
    pub fn probabilities<E: Element>(self, y: ArrayViewD<'_, E>) -> Result<Array2<f64>> {
        let samples = match *y.shape() {
            [samples, outputs] if outputs > 0 => samples,
            _ => return Err(Error::shape("predict", "an output [N, K]", y.shape())),
        };
        let mut rows = Vec::with_capacity(2 * y.len());
        for row in y.outer_iter() {
            rows.extend(self.row(row.iter().map(|value| value.as_f64()).collect()));
        }
        let classes = rows.len() / samples.max(1);
        Ok(Array2::from_shape_vec((samples, classes), rows).expect("rows are of one length"))
    }

    fn row(self, y: Vec<f64>) -> Vec<f64> {
        match (self, &y[..]) {
            (Self::None, &[p]) => vec![1.0 - p, p],
            // σ(z) is the softmax of 0 and z.
            (Self::Sigmoid, &[z]) => softmax(&[0.0, z]),
            (Self::None, _) => y,
            (Self::Sigmoid, _) => y.into_iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect(),
            (Self::Softmax, _) => softmax(&y),
        }
    }
}

fn softmax(z: &[f64]) -> Vec<f64> {
    let largest = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = z.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.into_iter().map(|e| e / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Dense, Sigmoid, Softmax};
    use crate::model::SequentialBuilder;
    use approx::assert_abs_diff_eq;
    use ndarray::{ArrayD, array};

    fn networks(units: usize) -> [Sequential<f64>; 3] {
        let body = || SequentialBuilder::new([2]).add(Dense::new(units));
        [body(), body().add(Sigmoid), body().add(Softmax)].map(|network| network.build(1).unwrap())
    }

    #[test]
    fn what_is_missing_is_the_last_layer_or_what_fits_the_outputs() {
        let of = |units, skip_last| networks(units).map(|network| Head::of(&network, skip_last));
        assert_eq!(of(1, false), [Head::Sigmoid, Head::None, Head::None]);
        assert_eq!(of(3, false), [Head::Softmax, Head::None, Head::None]);
        assert_eq!(of(3, true)[1..], [Head::Sigmoid, Head::Softmax]);
    }

    #[test]
    fn outputs_become_probabilities() {
        let p = |head: Head, y: ArrayD<f32>| head.probabilities(y.view()).unwrap();
        assert_eq!(p(Head::None, array![[0.25], [1.0]].into_dyn()), array![[0.75, 0.25], [0.0, 1.0]]);
        assert_eq!(p(Head::None, array![[0.25, 0.75]].into_dyn()), array![[0.25, 0.75]]);
        let e = 1f64.exp();
        for head in [Head::Sigmoid, Head::Softmax] {
            let found = p(head, array![[0.0, 1.0]].into_dyn());
            let first = if head == Head::Sigmoid { 0.5 } else { 1.0 / (1.0 + e) };
            assert_abs_diff_eq!(found, array![[first, e / (1.0 + e)]], epsilon = 1e-15);
        }
        // In f32, all of these would be 0 or 1.
        let far = p(Head::Sigmoid, array![[40.0], [-40.0]].into_dyn());
        assert_abs_diff_eq!(far[[0, 0]].ln(), -40.0, epsilon = 1e-12);
        assert_abs_diff_eq!(far[[1, 1]].ln(), -40.0, epsilon = 1e-12);
        assert!(p(Head::Softmax, array![[f32::NAN, 0.0]].into_dyn()).iter().all(|p| p.is_nan()));
        assert_eq!(p(Head::Softmax, ArrayD::zeros(vec![0, 3])).nrows(), 0);
        for shape in [vec![3], vec![3, 0], vec![3, 2, 2]] {
            assert!(Head::None.probabilities(ArrayD::<f32>::zeros(shape).view()).is_err());
        }
    }
}
