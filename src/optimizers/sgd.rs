//! u ← μ·u − η·g
//! θ ← θ + u                 momentum (Polyak, 1964)
//! θ ← θ + μ·u − η·g         Nesterov's (Sutskever et al., 2013, as Keras writes it)

use super::Optimizer;
use super::decay::WeightDecay;
use super::memory::{Memory, remembering};
use super::schedule::Schedule;
use super::update::{Recipe, Rule, Update};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernels::cpu::update::{Descend, Roll};
use ndarray::{ArrayD, ArrayViewMutD};
use serde::{Deserialize, Serialize};

/// Stochastic gradient descent, with or without momentum, as in Keras.
///
/// Two things differ in PyTorch. It multiplies by the learning rate after the velocity, not before, which is the
/// same while the rate stays the same. And its weight decay adds λθ to the gradient, so that the velocity gathers
/// it: with momentum μ that decays about 1/(1 − μ) times as fast as the decoupled decay here.
///
/// ```
/// use tapetum::prelude::*;
/// let mut weight = ndarray::array![1.0].into_dyn();
/// let mut sgd = SGD::new(0.5).momentum(0.5);
/// for expected in [0.0, -1.5_f64] {
///     sgd.step(vec![("weight".into(), weight.view_mut())], &[ndarray::array![2.0].into_dyn()])?;
///     assert_eq!(weight[[0]], expected);
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct SGD<E = f32> {
    learning_rate: Schedule,
    momentum: f64,
    nesterov: bool,
    #[serde(flatten)]
    decay: WeightDecay,
    #[serde(skip)]
    memory: Memory<E>,
}

impl<E: Element> SGD<E> {
    /// Plain descent, θ ← θ − η·g, with a learning rate η or a schedule of it.
    pub fn new(learning_rate: impl Into<Schedule>) -> Self {
        Self {
            learning_rate: learning_rate.into(),
            momentum: 0.0,
            nesterov: false,
            decay: WeightDecay::default(),
            memory: Memory::default(),
        }
    }

    /// μ in [0, 1): how much of the velocity stays from step to step.
    pub fn momentum(mut self, mu: f64) -> Self {
        self.momentum = mu;
        self.memory = Memory::default();
        self
    }

    /// Whether to look ahead along the velocity.
    pub fn nesterov(mut self, yes: bool) -> Self {
        self.nesterov = yes;
        self
    }

    /// λ of the decoupled decay θ ← θ·(1 − η·λ); 0 at first. Parameters of one axis are not decayed.
    pub fn weight_decay(mut self, lambda: f64) -> Self {
        self.decay.weight_decay = lambda;
        self
    }

    /// Whether parameters of one axis are decayed too: biases, and scale and shift of a normalisation.
    pub fn decay_all(mut self, yes: bool) -> Self {
        self.decay.decay_all = yes;
        self
    }

    /// The step that is `ahead` of the next one.
    fn step_ahead(&self, ahead: u64) -> Result<Recipe<E>> {
        let rate = self.memory.checked_rate("sgd", &self.learning_rate, ahead)?;
        self.decay.check("sgd")?;
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(Error::argument("sgd", "momentum", "in [0, 1)", self.momentum));
        }
        let [eta, mu] = [rate, self.momentum].map(E::of);
        let rule = match self.momentum {
            0.0 => Rule::Descend(Descend { rate: eta }),
            _ => Rule::Roll(Roll { rate: eta, mu, nesterov: self.nesterov }),
        };
        Ok(Recipe { rule, rate, decay: self.decay, moments: self.moments() })
    }

    /// Plain descent keeps no velocity.
    fn moments(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["velocity"] }
    }
}

impl<E: Element> Optimizer<E> for SGD<E> {
    fn kind(&self) -> &'static str {
        "SGD"
    }

    fn begin(&mut self, parameters: &[(String, Vec<usize>)]) -> Result<Option<Update<'_, E>>> {
        let Recipe { rule, rate, decay, moments } = self.step_ahead(0)?;
        Ok(Some(Update { rule, decay, rate, slots: self.memory.begin("sgd", moments, parameters)? }))
    }

    fn recipe(&self, ahead: u64) -> Result<Option<Recipe<E>>> {
        self.step_ahead(ahead).map(Some)
    }

    remembering!(self, self);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, gradient, six};
    use super::*;

    // PyTorch 2.15, the parameters and gradients of `six` in float64, lr=0.05.
    #[test]
    fn at_a_constant_rate_the_rule_of_pytorch() {
        // SGD(p, lr=0.05)
        let plain = [-0.9125, -0.525, 0.0, 0.525, 0.9125, 1.575];
        assert_close(&six(&mut SGD::<f64>::new(0.05), 6), &plain);
        // SGD(p, lr=0.05, momentum=0.9)
        let momentum = [
            -0.6757606249999999,
            -0.7528710000000001,
            0.02825100000000001,
            0.40284187499999996,
            0.832500125,
            1.7511221250000002,
        ];
        assert_close(&six(&mut SGD::<f64>::new(0.05).momentum(0.9), 6), &momentum);
        // SGD(p, lr=0.05, momentum=0.9, nesterov=True)
        let nesterov =
            [-0.6206845624999999, -0.7525839000000001, 0.0254259, 0.4375576875, 0.7617501124999999, 1.8010099124999999];
        assert_close(&six(&mut SGD::<f64>::new(0.05).momentum(0.9).nesterov(true), 6), &nesterov);
    }

    // Keras' words: velocity = momentum * velocity - learning_rate * g, then w + velocity,
    // or w + momentum * velocity - learning_rate * g; weight decay before, w - w * weight_decay * learning_rate.
    #[test]
    fn at_a_changing_rate_the_rule_of_keras() {
        let schedule = Schedule::step(0.1, 2, 0.5);
        for nesterov in [false, true] {
            let expected: Vec<f64> = (0..6)
                .map(|k| {
                    let (mut theta, mut velocity) = (k as f64 / 2.0 - 1.0, 0.0);
                    for (t, rate) in [0.1, 0.1, 0.05, 0.05, 0.025, 0.025].into_iter().enumerate() {
                        let g = gradient(t as u64)[k];
                        theta -= theta * 0.2 * rate;
                        velocity = 0.9 * velocity - rate * g;
                        theta += if nesterov { 0.9 * velocity - rate * g } else { velocity };
                    }
                    theta
                })
                .collect();
            let sgd = SGD::<f64>::new(schedule.clone()).momentum(0.9).nesterov(nesterov);
            assert_close(&six(&mut sgd.weight_decay(0.2).decay_all(true), 6), &expected);
        }
    }
}
