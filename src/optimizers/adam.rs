//! m ← m + (1 − β₁)·(g − m)
//! v ← v + (1 − β₂)·(g² − v)
//! θ ← θ − η·√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + ε)        t counts from 1 (Kingma and Ba, arXiv:1412.6980)

use super::Optimizer;
use super::decay::WeightDecay;
use super::memory::{Memory, remembering};
use super::schedule::Schedule;
use super::update::{Recipe, Rule, Update};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernels::cpu::update;
use ndarray::{ArrayD, ArrayViewMutD};
use serde::{Deserialize, Serialize};

/// Adam with Keras' defaults: β₁ = 0.9, β₂ = 0.999, ε = 10⁻⁷ beside √v (Kingma and Ba, arXiv:1412.6980, the formula
/// before section 2.1).
///
/// ```
/// use tapetum::prelude::*;
/// let mut weight = ndarray::array![1.0].into_dyn();
/// let mut adam = Adam::new(0.1);
/// adam.step(vec![("weight".into(), weight.view_mut())], &[ndarray::array![5.0].into_dyn()])?;
/// assert!((weight[[0]] - 0.9_f64).abs() < 1e-6); // the first step is as long as the learning rate
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Adam<E = f32> {
    pub(super) learning_rate: Schedule,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    epsilon_inside: bool,
    #[serde(skip)]
    pub(super) memory: Memory<E>,
}

impl<E: Element> Adam<E> {
    /// Adam with a learning rate η or a schedule of it.
    pub fn new(learning_rate: impl Into<Schedule>) -> Self {
        Self {
            learning_rate: learning_rate.into(),
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-7,
            epsilon_inside: false,
            memory: Memory::default(),
        }
    }

    /// β₁ in [0, 1): how much of the mean of gradients stays from step to step.
    pub fn beta1(mut self, beta1: f64) -> Self {
        self.beta1 = beta1;
        self
    }

    /// β₂ in [0, 1): how much of the mean of squared gradients stays.
    pub fn beta2(mut self, beta2: f64) -> Self {
        self.beta2 = beta2;
        self
    }

    /// ε, above 0 also as a number of the parameters' type; in `f32` what is below 2⁻⁵⁰ ≈ 10⁻¹⁵ counts as that.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// With ε inside the bias correction, as in the paper's algorithm 1 and in PyTorch (where it is 10⁻⁸):
    /// θ ← θ − η/(1 − β₁ᵗ) · m/(√(v/(1 − β₂ᵗ)) + ε).
    pub fn epsilon_inside(mut self, yes: bool) -> Self {
        self.epsilon_inside = yes;
        self
    }

    /// A step that multiplies parameters by what `decay` leaves of them first: AdamW, or Adam for no decay.
    pub(super) fn begin_decayed(
        &mut self,
        at: &str,
        decay: WeightDecay,
        parameters: &[(String, Vec<usize>)],
    ) -> Result<Option<Update<'_, E>>> {
        let Recipe { rule, rate, .. } = self.recipe_decayed(at, decay, 0)?;
        let slots = self.memory.begin(at, self.moments(), parameters)?;
        Ok(Some(Update { rule, decay, rate, slots }))
    }

    /// The step that is `ahead` of the next one.
    pub(super) fn recipe_decayed(&self, at: &str, decay: WeightDecay, ahead: u64) -> Result<Recipe<E>> {
        let rate = self.memory.checked_rate(at, &self.learning_rate, ahead)?;
        decay.check(at)?;
        let rule = Rule::Adam(self.rule(at, rate, ahead)?);
        Ok(Recipe { rule, rate, decay, moments: self.moments() })
    }

    pub(super) fn moments(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    /// The numbers of that step.
    fn rule(&self, at: &str, rate: f64, ahead: u64) -> Result<update::Adam<E>> {
        for (argument, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(Error::argument(at, argument, "in [0, 1)", beta));
            }
        }
        let t = (self.memory.steps as f64 + ahead as f64) + 1.0;
        let (bias1, bias2) = (1.0 - self.beta1.powf(t), (1.0 - self.beta2.powf(t)).sqrt());
        // √(v/(1 − β₂ᵗ)) + ε is (√v + ε·√(1 − β₂ᵗ)) / √(1 − β₂ᵗ): one kernel serves both conventions.
        let epsilon = E::of(if self.epsilon_inside { self.epsilon * bias2 } else { self.epsilon });
        if !(epsilon > E::zero() && epsilon.is_finite()) {
            return Err(Error::argument(at, "epsilon", "above 0 and finite", self.epsilon));
        }
        // α = η·√(1 − β₂ᵗ)/(1 − β₁ᵗ)
        let one_minus = [1.0 - self.beta1, 1.0 - self.beta2].map(E::of);
        Ok(update::Adam::new(E::of(rate * bias2 / bias1), epsilon, one_minus))
    }
}

impl<E: Element> Optimizer<E> for Adam<E> {
    fn kind(&self) -> &'static str {
        "Adam"
    }

    fn begin(&mut self, parameters: &[(String, Vec<usize>)]) -> Result<Option<Update<'_, E>>> {
        self.begin_decayed("adam", WeightDecay::default(), parameters)
    }

    fn recipe(&self, ahead: u64) -> Result<Option<Recipe<E>>> {
        self.recipe_decayed("adam", WeightDecay::default(), ahead).map(Some)
    }

    remembering!(self, self);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, keras_adam, six};
    use super::*;

    #[test]
    fn the_rule_of_keras() {
        let start = [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5];
        let expected = std::array::from_fn::<_, 6, _>(|k| keras_adam(start[k], k, 0.0));
        assert_close(&six(&mut Adam::<f64>::new(0.05), 6), &expected);
    }

    // PyTorch 2.15, the parameters and gradients of `six` in float64:
    // Adam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-3)
    #[test]
    fn with_epsilon_inside_the_rule_of_pytorch() {
        let mut adam = Adam::<f64>::new(0.05).beta1(0.8).beta2(0.95).epsilon(1e-3).epsilon_inside(true);
        assert_close(
            &six(&mut adam, 6),
            &[
                -0.8567737407063263,
                -0.6369781084859362,
                0.048311005247531326,
                0.4420766216259776,
                0.8823966681425002,
                1.634791419059084,
            ],
        );
    }

    // Without ε the step would be 0/0.
    #[test]
    fn no_gradient_is_no_step() {
        let mut theta = ArrayD::<f32>::ones(vec![3]);
        let mut adam = Adam::new(0.1);
        for _ in 0..3 {
            adam.step(vec![("w".into(), theta.view_mut())], &[ArrayD::zeros(vec![3])]).unwrap();
        }
        assert_eq!(theta, ArrayD::<f32>::ones(vec![3]));
    }
}
