//! y = γ·x̂ + β,  x̂ = (x − μ) / √(σ² + ε),  for each channel on its own
//! x [N, …, C]  γ, β, μ, σ² [C]  →  y [N, …, C]     (Ioffe & Szegedy, arXiv:1502.03167)
//!
//! In training μ and σ² are the batch's: means over its M = N·H·W pixels of x and (x − μ)². In inference they
//! are moving means: moving ← momentum · moving + (1 − momentum) · batch's.

use super::{Backward, Layer, Saved, entries, entries_mut, expect_axes, expect_gradient, expect_shape, standard};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernels::cpu::activation::Activation;
use crate::kernels::cpu::batch_norm::{self, Normalization};
use crate::kernels::cpu::batch_norm_gradient::Gradient;
use crate::kernels::cpu::tail::Tail;
use crate::random::Key;
use ndarray::{Array1, ArrayD, ArrayViewD, ArrayViewMutD, aview_mut1, aview1};
use serde::{Deserialize, Serialize};

/// Brings each channel to mean β and standard deviation γ (Ioffe and Szegedy, arXiv:1502.03167).
///
/// As in Keras: the channels are the last axis, the momentum (0.99) weighs the old statistics, ε is 1e-3, and
/// the moving variance is that of the batch as a whole, divided by M. (PyTorch: momentum 0.1 weighs the new
/// statistics, ε is 1e-5, and the moving variance is divided by M − 1.)
///
/// `forward_train` changes nothing: the new moving statistics come back in [`Backward::state`]. An empty batch
/// leaves them as they are.
///
/// ```
/// use tapetum::prelude::*;
/// let mut norm = BatchNorm::new().epsilon(0.0);
/// norm.build(&[1], Key::new(1))?;
/// let x = ndarray::array![[1.0], [3.0]].into_dyn();
/// assert_eq!(norm.forward_train(x.view(), Key::new(1))?.0, ndarray::array![[-1.0], [1.0]].into_dyn());
/// assert_eq!(norm.forward(x.view())?, x); // the moving statistics are still mean 0 and variance 1
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct BatchNorm<E = f32> {
    pub(crate) momentum: f64,
    pub(crate) epsilon: f64,
    /// None before `build`.
    #[serde(skip)]
    channels: Option<Channels<E>>,
}

/// One number of each for every channel.
#[derive(Debug, Clone)]
pub(crate) struct Channels<E> {
    pub gamma: Vec<E>,
    pub beta: Vec<E>,
    pub moving_mean: Vec<E>,
    pub moving_variance: Vec<E>,
}

/// What `backward` needs: x [N, …, C], its statistics [C] and the new moving ones.
struct Kept<E> {
    x: ArrayD<E>,
    mean: Vec<E>,
    inverse_deviation: Vec<E>,
    state: Vec<ArrayD<E>>,
}

impl<E: Element> Default for BatchNorm<E> {
    fn default() -> Self {
        Self { momentum: 0.99, epsilon: 1e-3, channels: None }
    }
}

impl<E: Element> BatchNorm<E> {
    /// With momentum 0.99 and ε 1e-3.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much of the old moving statistics stays at each step, in [0, 1].
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// What is added to the variance, 0 or more.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// The numbers of each channel.
    pub(crate) fn channels(&self) -> Result<&Channels<E>> {
        self.channels.as_ref().ok_or_else(|| Error::NotBuilt { at: "batchnorm".into() })
    }

    /// The same, to change them.
    pub(crate) fn channels_mut(&mut self) -> Result<&mut Channels<E>> {
        self.channels.as_mut().ok_or_else(|| Error::NotBuilt { at: "batchnorm".into() })
    }

    /// Checks x [N, …, C].
    fn expect_input(&self, x: &ArrayViewD<'_, E>) -> Result<&Channels<E>> {
        let channels = self.channels()?;
        let axes = axes(x.ndim().saturating_sub(1), Some(channels.gamma.len()));
        expect_axes("batchnorm", x, &axes)?;
        Ok(channels)
    }

    /// 1 / √(σ² + ε)
    pub(crate) fn inverse_deviation(&self, variance: &[E]) -> Vec<E> {
        let mut inverse = vec![E::zero(); variance.len()];
        batch_norm::inverse_deviation(variance, self.epsilon, &mut inverse);
        inverse
    }
}

/// The axes of a sample with `count` axes, the last of which counts the channels.
fn axes(count: usize, channels: Option<usize>) -> Vec<(&'static str, Option<usize>)> {
    let mut axes = vec![("..", None); count.saturating_sub(1)];
    axes.push(("C", channels));
    axes
}

impl<E: Element> Channels<E> {
    /// γ and β, with the statistics that are to be used.
    pub fn with<'a>(&'a self, mean: &'a [E], inverse_deviation: &'a [E]) -> Normalization<'a, E> {
        Normalization { gamma: &self.gamma, beta: &self.beta, mean, inverse_deviation }
    }
}

/// γ·x̂ + β: pictures of one pixel each, as many as there are pixels.
fn normalized<E: Element>(norm: &Normalization<'_, E>, x: &ArrayViewD<'_, E>) -> ArrayD<E> {
    let mut y = ArrayD::zeros(x.raw_dim());
    let (picture, x) = ([1, 1, norm.gamma.len()], x.as_standard_layout());
    norm.forward(picture, entries(&x), Tail { activation: Activation::Linear, pool: None }, entries_mut(&mut y), None);
    y
}

impl<E: Element> Layer<E> for BatchNorm<E> {
    fn kind(&self) -> &'static str {
        "BatchNorm"
    }

    fn build(&mut self, input: &[usize], _key: Key) -> Result<()> {
        self.channels = None;
        let count = self.output_shape(input)?[input.len() - 1];
        let [zeros, ones] = [E::zero(), E::one()].map(|value| vec![value; count]);
        let (gamma, beta) = (ones.clone(), zeros.clone());
        self.channels = Some(Channels { gamma, beta, moving_mean: zeros, moving_variance: ones });
        Ok(())
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(Error::argument("batchnorm", "momentum", "between 0 and 1", self.momentum));
        }
        if !(self.epsilon >= 0.0 && self.epsilon.is_finite()) {
            return Err(Error::argument("batchnorm", "epsilon", "0 or a small positive number", self.epsilon));
        }
        let known = self.channels.as_ref().map(|channels| channels.gamma.len());
        expect_shape("batchnorm", input, &axes(input.len(), known))?;
        if input.last() == Some(&0) {
            return Err(Error::shape("batchnorm", "at least one channel", input));
        }
        Ok(input.to_vec())
    }

    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        let channels = self.expect_input(&x)?;
        let inverse_deviation = self.inverse_deviation(&channels.moving_variance);
        Ok(normalized(&channels.with(&channels.moving_mean, &inverse_deviation), &x))
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, key: Key) -> Result<(ArrayD<E>, Saved)> {
        self.forward_train_owned(x.to_owned(), key)
    }

    fn forward_train_owned(&self, x: ArrayD<E>, _key: Key) -> Result<(ArrayD<E>, Saved)> {
        let channels = self.expect_input(&x.view())?;
        let x = standard(x);
        let (mut mean, mut variance) = (channels.moving_mean.clone(), channels.moving_variance.clone());
        if !x.is_empty() {
            batch_norm::statistics(entries(&x), &mut mean, &mut variance);
        }
        let moved = |moving: &[E], new: &[E]| {
            let mut moving = moving.to_vec();
            batch_norm::follow(&mut moving, new, self.momentum);
            Array1::from(moving).into_dyn()
        };
        let state = vec![moved(&channels.moving_mean, &mean), moved(&channels.moving_variance, &variance)];
        let inverse_deviation = self.inverse_deviation(&variance);
        let y = normalized(&channels.with(&mean, &inverse_deviation), &x.view());
        Ok((y, Saved::new(Kept { x, mean, inverse_deviation, state })))
    }

    // dβ = Σ dy     dγ = Σ dy·x̂     dx = γ / √(σ² + ε) · (dy − dβ/M − x̂·dγ/M)
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let Kept { x, mean, inverse_deviation, state } = saved.take("batchnorm")?;
        let channels = self.expect_input(&x.view())?;
        expect_gradient("batchnorm", &dy, x.shape())?;
        let (count, dy) = (mean.len(), dy.as_standard_layout());
        let [mut dgamma, mut dbeta, mut dx] = [&[count][..], &[count], x.shape()].map(ArrayD::zeros);
        let norm = channels.with(&mean, &inverse_deviation);
        let gradient = Gradient { picture: [1, 1, count], x: entries(&x), dy: entries(&dy), pool: None };
        norm.parameter_gradients(&gradient, entries_mut(&mut dgamma), entries_mut(&mut dbeta));
        norm.input_gradient(&gradient, [entries(&dgamma), entries(&dbeta)], 0..x.len() / count, entries_mut(&mut dx));
        Ok(Backward { dx, params: vec![dgamma, dbeta], state })
    }

    fn parameters(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        self.channels.iter().flat_map(|of| [("gamma", &of.gamma), ("beta", &of.beta)]).map(view).collect()
    }

    fn parameters_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        self.channels
            .iter_mut()
            .flat_map(|of| [("gamma", &mut of.gamma), ("beta", &mut of.beta)])
            .map(view_mut)
            .collect()
    }

    fn state(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        self.channels
            .iter()
            .flat_map(|of| [("moving_mean", &of.moving_mean), ("moving_variance", &of.moving_variance)])
            .map(view)
            .collect()
    }

    fn state_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        self.channels
            .iter_mut()
            .flat_map(|of| [("moving_mean", &mut of.moving_mean), ("moving_variance", &mut of.moving_variance)])
            .map(view_mut)
            .collect()
    }

    fn config(&self) -> serde_json::Value {
        super::config_of(self)
    }

    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(self.clone())
    }
}

fn view<'a, E>((name, values): (&str, &'a Vec<E>)) -> (String, ArrayViewD<'a, E>) {
    (name.to_string(), aview1(values).into_dyn())
}

fn view_mut<'a, E>((name, values): (&str, &'a mut Vec<E>)) -> (String, ArrayViewMutD<'a, E>) {
    (name.to_string(), aview_mut1(values).into_dyn())
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;
    use ndarray::{Array, array};

    fn built(channels: usize) -> BatchNorm<f64> {
        let mut norm = BatchNorm::new().momentum(0.9).epsilon(0.01);
        norm.build(&[2, 3, channels], Key::new(0)).unwrap();
        norm.parameters_mut()[0].1.iter_mut().enumerate().for_each(|(c, gamma)| *gamma = 2.0 + c as f64);
        norm.parameters_mut()[1].1.fill(-1.0);
        norm
    }

    #[test]
    fn is_the_equation_in_training_and_inference() {
        let mut norm = built(2);
        let x = Array::from_shape_fn([4, 2, 3, 2], |(n, h, w, c)| (n * (c + 1) + h * w) as f64 - 3.0).into_dyn();
        let (y, saved) = norm.forward_train(x.view(), Key::new(0)).unwrap();
        let state = norm.backward(saved, y.view()).unwrap().state;
        for c in 0..2 {
            let channel = |a: &ArrayD<f64>| a.index_axis(ndarray::Axis(3), c).iter().copied().collect::<Vec<_>>();
            let x = channel(&x);
            let mean = x.iter().sum::<f64>() / 24.0;
            let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 24.0;
            let normal = |x: f64| (2.0 + c as f64) * (x - mean) / (variance + 0.01).sqrt() - 1.0;
            let expected: Vec<f64> = x.iter().map(|&x| normal(x)).collect();
            assert_abs_diff_eq!(channel(&y).as_slice(), expected.as_slice(), epsilon = 1e-12);
            assert_abs_diff_eq!(state[0][[c]], 0.9 * 0.0 + 0.1 * mean, epsilon = 1e-12);
            assert_abs_diff_eq!(state[1][[c]], 0.9 * 1.0 + 0.1 * variance, epsilon = 1e-12);
        }
        norm.state_mut()[0].1.fill(5.0);
        norm.state_mut()[1].1.fill(0.24);
        assert_abs_diff_eq!(
            norm.forward(x.view()).unwrap()[[0, 0, 0, 1]],
            3.0 * (-3.0 - 5.0) / 0.5 - 1.0,
            epsilon = 1e-12
        );
    }

    #[test]
    fn an_empty_batch_moves_nothing() {
        let mut norm = built(3);
        norm.state_mut()[0].1.fill(0.3);
        let (y, saved) = norm.forward_train(ArrayD::zeros(vec![0, 2, 3, 3]).view(), Key::new(0)).unwrap();
        let back = norm.backward(saved, y.view()).unwrap();
        assert!(back.state[0].iter().all(|&mean| mean == 0.3) && back.state[1].iter().all(|&v| v == 1.0));
        assert!(back.params.iter().flatten().all(|&gradient| gradient == 0.0));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let error = built(3).forward(array![[1.0, 2.0]].into_dyn().view()).unwrap_err();
        assert_eq!(error.to_string(), "batchnorm: expected input [N, 3], got [1, 2]");
        assert!(built(3).forward(array![1.0, 2.0, 3.0].into_dyn().view()).is_err());
        assert!(BatchNorm::<f32>::new().forward(array![[1.0]].into_dyn().view()).is_err());
        let message = |norm: BatchNorm<f32>, input: &[usize]| norm.output_shape(input).unwrap_err().to_string();
        assert_eq!(
            message(BatchNorm::new().momentum(1.5), &[3]),
            "batchnorm: momentum must be between 0 and 1, got 1.5"
        );
        assert!(message(BatchNorm::new().epsilon(f64::NAN), &[3]).contains("epsilon"));
        assert_eq!(message(BatchNorm::new(), &[]), "batchnorm: expected input [C], got []");
        assert_eq!(message(BatchNorm::new(), &[4, 0]), "batchnorm: expected at least one channel, got [4, 0]");
    }
}
