//! What every loss shares: the checks, and a mean over samples made of the terms of one sample.
//!
//! L = Σₙ wₙ·lₙ / N     lₙ = fₙ·Σ_k b(p[n,k], y[n,k])     ∂L/∂p[n,k] = wₙ/N · fₙ·b′(p[n,k], y[n,k])
//! p [N, K]  y [N, K]  w [N]: all outputs of one sample are one row of K

use super::{Loss, LossValue};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::target::Target;
use ndarray::{ArrayBase, ArrayD, ArrayViewD, ArrayViewMutD, Data, IxDyn};
use std::borrow::Cow;

/// A loss that is a sum over the outputs of each sample.
pub(super) trait Terms<E: Element>: Loss<E> {
    /// Checks the settings, for predictions of this shape.
    fn check(&self, prediction: &[usize], target: &Target<E>) -> Result<()>;

    /// What a label says of so many outputs, or what it would have to be.
    fn truth(&self, label: usize, outputs: usize) -> Result<Truth<'static, E>, String>;

    /// For a sample's p and y [K]: f, and b with b′ as a function of p_k and y_k.
    fn terms(&self, p: &[E], y: Truth<'_, E>) -> (f64, impl Fn(f64, f64) -> (f64, f64));
}

/// The target of one sample: y [K], which for a label need not be written down.
#[derive(Clone, Copy)]
pub(super) enum Truth<'a, E> {
    Values(&'a [E]),
    /// 1 for this output, 0 for the others.
    OneHot(usize),
    /// The only output's.
    Number(f64),
}

impl<E: Element> Truth<'_, E> {
    /// y_k
    pub fn at(self, k: usize) -> f64 {
        match self {
            Self::Values(values) => values[k].as_f64(),
            Self::OneHot(class) => f64::from(u8::from(k == class)),
            Self::Number(number) => number,
        }
    }
}

/// Predictions beside their targets, checked to fit.
pub(super) struct Batch<'a, E: Element, L> {
    loss: &'a L,
    shape: &'a [usize],
    prediction: Cow<'a, [E]>,
    target: Rows<'a, E>,
    /// None where all weigh 1.
    weights: Option<&'a [f64]>,
    /// K
    outputs: usize,
    /// N, without the samples that do not count.
    count: usize,
}

enum Rows<'a, E: Element> {
    Values(Cow<'a, [E]>),
    Labels(&'a [usize]),
}

impl<'a, E: Element, L: Terms<E>> Batch<'a, E, L> {
    /// Checks all that can be wrong.
    pub fn new(
        loss: &'a L,
        prediction: &'a ArrayViewD<'_, E>,
        target: &'a Target<E>,
        weights: Option<&'a [f64]>,
    ) -> Result<Self> {
        let (at, shape) = (loss.name(), prediction.shape());
        loss.check(shape, target)?;
        let Some((&samples, outputs)) = shape.split_first().filter(|(_, outputs)| !outputs.contains(&0)) else {
            return Err(Error::shape(at, "prediction [N, …] with outputs for each sample", shape));
        };
        let outputs = outputs.iter().product();
        check_sample_weights(at, samples, weights)?;
        let mut count = samples;
        let target = match target {
            Target::Values(values) if values.shape() == shape => Rows::Values(entries(values)),
            Target::Values(values) => return Err(Error::shape(at, format!("target {shape:?}"), values.shape())),
            Target::Labels(labels) if labels.len() != samples => {
                return Err(Error::shape(at, format!("labels [{samples}]"), &[labels.len()]));
            }
            Target::Labels(labels) => {
                count = 0;
                for (n, &label) in labels.iter().enumerate().filter(|&(_, &label)| loss.counts(label)) {
                    loss.truth(label, outputs).map_err(|expected| {
                        Error::argument(at, "label", expected, format!("{label} for sample {n} of {shape:?}"))
                    })?;
                    count += 1;
                }
                Rows::Labels(labels)
            }
        };
        Ok(Self { loss, shape, prediction: entries(prediction), target, weights, outputs, count })
    }

    /// K
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// N, without the samples that do not count.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The weight of one sample.
    pub fn weight(&self, n: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[n])
    }

    /// L
    pub fn value(&self) -> LossValue {
        self.mean(|_, _| {})
    }

    /// L, and overwrites `gradient` with ∂L/∂p.
    pub fn gradient_into(&self, mut gradient: ArrayViewMutD<'_, E>) -> Result<LossValue> {
        check_gradient(self.loss.name(), self.shape, gradient.shape())?;
        if let Some(gradient) = gradient.as_slice_mut() {
            return Ok(self.write(gradient));
        }
        let mut entries = vec![E::zero(); gradient.len()];
        let value = self.write(&mut entries);
        gradient.iter_mut().zip(entries).for_each(|(to, from)| *to = from);
        Ok(value)
    }

    fn write(&self, gradient: &mut [E]) -> LossValue {
        gradient.fill(E::zero());
        self.mean(|at, slope| gradient[at] = E::of(slope).flushed())
    }

    /// L, where `write` is told of each entry of ∂L/∂p that counts. The sum is in f64, first sample to last.
    fn mean(&self, mut write: impl FnMut(usize, f64)) -> LossValue {
        let (mut sum, count) = (0.0, self.count as f64);
        for (n, p) in self.prediction.chunks_exact(self.outputs).enumerate() {
            let Some(y) = self.truth(n) else { continue };
            let (factor, term) = self.loss.terms(p, y);
            let (mut loss, factor) = (0.0, self.weight(n) * factor);
            for (k, p) in p.iter().enumerate() {
                let (b, slope) = term(p.as_f64(), y.at(k));
                loss += b;
                write(n * self.outputs + k, factor / count * slope);
            }
            sum += factor * loss;
        }
        LossValue { mean: if self.count == 0 { 0.0 } else { sum / count }, count: self.count }
    }

    /// y of one sample; none where it does not count.
    pub fn truth(&self, n: usize) -> Option<Truth<'_, E>> {
        match &self.target {
            Rows::Values(values) => Some(Truth::Values(&values[n * self.outputs..][..self.outputs])),
            Rows::Labels(labels) => {
                let truth = || self.loss.truth(labels[n], self.outputs).expect("`new` checked every label that counts");
                self.loss.counts(labels[n]).then(truth)
            }
        }
    }
}

/// All entries in order; copied only where they do not lie in order.
fn entries<'a, E: Element, S: Data<Elem = E>>(array: &'a ArrayBase<S, IxDyn>) -> Cow<'a, [E]> {
    array.as_slice().map_or_else(|| array.iter().copied().collect(), Cow::Borrowed)
}

/// [`Loss::gradient`] by [`Loss::gradient_into`].
pub(super) fn gradient<E: Element>(
    loss: &impl Loss<E>,
    prediction: ArrayViewD<'_, E>,
    target: &Target<E>,
    weights: Option<&[f64]>,
) -> Result<(LossValue, ArrayD<E>)> {
    let mut gradient = ArrayD::zeros(prediction.raw_dim());
    let value = loss.gradient_into(prediction, target, weights, gradient.view_mut())?;
    Ok((value, gradient))
}

pub(super) fn check_gradient(at: &str, prediction: &[usize], gradient: &[usize]) -> Result<()> {
    if gradient == prediction {
        return Ok(());
    }
    Err(Error::shape(at, format!("room for a gradient {prediction:?}"), gradient))
}

fn check_sample_weights(at: &str, samples: usize, weights: Option<&[f64]>) -> Result<()> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != samples {
        return Err(Error::shape(at, format!("sample weights [{samples}]"), &[weights.len()]));
    }
    check_weights(at, "sample weights", weights)
}

pub(super) fn check_weights(at: &str, argument: &'static str, weights: &[f64]) -> Result<()> {
    match weights.iter().position(|weight| !weight.is_finite() || *weight < 0.0) {
        Some(n) => Err(Error::argument(at, argument, "finite and at least 0", format!("{} at {n}", weights[n]))),
        None => Ok(()),
    }
}
