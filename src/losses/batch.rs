//! What every loss shares: the checks, and a mean over samples made of one sample's loss.
//!
//! L = Σₙ wₙ·lₙ / N     ∂L/∂p[n,k] = wₙ/N · ∂lₙ/∂p[n,k]
//! p [N, K]  y [N, K]  w [N]: all outputs of one sample are one row of K

use super::LossValue;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::target::Target;
use ndarray::{ArrayD, ArrayViewD, CowArray, Dimension, IxDyn};

/// Predictions beside their targets, checked to fit.
pub(super) struct Batch<'a, E> {
    prediction: CowArray<'a, E, IxDyn>,
    target: CowArray<'a, E, IxDyn>,
    /// None where all weigh 1.
    weights: Option<&'a [f64]>,
    /// True for a sample that does not count; empty where all do.
    ignored: Vec<bool>,
    /// K
    outputs: usize,
}

impl<'a, E: Element> Batch<'a, E> {
    /// Checks all shapes. `encode` turns a label into a row of zeros' y and says whether the sample counts,
    /// or says what a label has to be.
    pub fn new(
        at: &str,
        prediction: &'a ArrayViewD<'_, E>,
        target: &'a Target<E>,
        weights: Option<&'a [f64]>,
        encode: impl Fn(usize, &mut [E]) -> std::result::Result<bool, String>,
    ) -> Result<Self> {
        let shape = prediction.shape();
        let Some((&samples, outputs)) = shape.split_first().filter(|(_, outputs)| !outputs.contains(&0)) else {
            return Err(Error::shape(at, "prediction [N, …] with outputs for each sample", shape));
        };
        let outputs = outputs.iter().product();
        check_sample_weights(at, samples, weights)?;
        let mut ignored = Vec::new();
        let target = match target {
            Target::Values(values) if values.shape() == shape => values.as_standard_layout(),
            Target::Values(values) => return Err(Error::shape(at, format!("target {shape:?}"), values.shape())),
            Target::Labels(labels) if labels.len() != samples => {
                return Err(Error::shape(at, format!("labels [{samples}]"), &[labels.len()]));
            }
            Target::Labels(labels) => {
                let mut rows = vec![E::zero(); samples * outputs];
                for (n, (&label, row)) in labels.iter().zip(rows.chunks_exact_mut(outputs)).enumerate() {
                    let counts = encode(label, row).map_err(|expected| {
                        Error::argument(at, "label", expected, format!("{label} for sample {n} of {shape:?}"))
                    })?;
                    ignored.push(!counts);
                }
                CowArray::from(ArrayD::from_shape_vec(shape, rows).expect("a row for each sample"))
            }
        };
        Ok(Self { prediction: prediction.as_standard_layout(), target, weights, ignored, outputs })
    }

    /// L, where `loss` is l of one sample's prediction and target. The sum is in f64, first sample to last.
    pub fn mean(&self, loss: impl Fn(&[E], &[E]) -> f64) -> LossValue {
        let (mut sum, mut count) = (0.0, 0);
        for (n, (p, y)) in self.rows().enumerate().filter(|&(n, _)| self.counts(n)) {
            sum += self.weight(n) * loss(p, y);
            count += 1;
        }
        LossValue { mean: if count == 0 { 0.0 } else { sum / count as f64 }, count }
    }

    /// ∂L/∂p, where `slope` overwrites its third argument with its fourth, wₙ/N, times ∂l/∂p of one sample.
    pub fn gradient(&self, slope: impl Fn(&[E], &[E], &mut [E], f64)) -> ArrayD<E> {
        let mut gradient = ArrayD::zeros(self.prediction.raw_dim());
        let rows = gradient.as_slice_mut().expect("zeros are in standard layout").chunks_exact_mut(self.outputs);
        let count = self.rows().len() - self.ignored.iter().filter(|&&ignored| ignored).count();
        for (n, ((p, y), dp)) in self.rows().zip(rows).enumerate().filter(|&(n, _)| self.counts(n)) {
            slope(p, y, dp, self.weight(n) / count as f64);
        }
        gradient
    }

    /// One sample's prediction and target after the other.
    fn rows(&self) -> impl ExactSizeIterator<Item = (&[E], &[E])> {
        let [p, y] = [&self.prediction, &self.target].map(|array| array.as_slice().expect("made standard above"));
        p.chunks_exact(self.outputs).zip(y.chunks_exact(self.outputs))
    }

    fn counts(&self, n: usize) -> bool {
        !self.ignored.get(n).is_some_and(|&ignored| ignored)
    }

    fn weight(&self, n: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[n])
    }
}

fn check_sample_weights(at: &str, samples: usize, weights: Option<&[f64]>) -> Result<()> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != samples {
        return Err(Error::shape(at, format!("sample weights [{samples}]"), &[weights.len()]));
    }
    check_weights(at, "sample weights", weights)
}

/// One weight for each class, or none at all.
pub(super) fn check_class_weights(at: &str, classes: usize, weights: &[f64]) -> Result<()> {
    if !weights.is_empty() && weights.len() != classes {
        return Err(Error::shape(at, format!("class weights [{classes}]"), &[weights.len()]));
    }
    check_weights(at, "class weights", weights)
}

fn check_weights(at: &str, argument: &'static str, weights: &[f64]) -> Result<()> {
    match weights.iter().position(|weight| !weight.is_finite() || *weight < 0.0) {
        Some(n) => Err(Error::argument(at, argument, "finite and at least 0", format!("{} at {n}", weights[n]))),
        None => Ok(()),
    }
}

/// All of it would leave nothing of the target.
pub(super) fn check_label_smoothing(at: &str, smoothing: f64) -> Result<()> {
    if (0.0..1.0).contains(&smoothing) {
        return Ok(());
    }
    Err(Error::argument(at, "label_smoothing", "in [0, 1)", smoothing))
}

/// Classes counted from 1, or pixels up to 255, taken for probabilities would train towards nonsense. A hair's
/// breadth is granted to rounding; NaN is left to show in the loss.
pub(super) fn check_probabilities<E: Element>(at: &str, target: &Target<E>) -> Result<()> {
    let Target::Values(values) = target else { return Ok(()) };
    match values.indexed_iter().find(|(_, y)| y.as_f64() < -1e-6 || y.as_f64() > 1.0 + 1e-6) {
        Some((i, y)) => Err(Error::argument(at, "target", "in [0, 1]", format!("{y} at {:?}", i.slice()))),
        None => Ok(()),
    }
}
