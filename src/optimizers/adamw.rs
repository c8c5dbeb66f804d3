//! θ ← θ·(1 − η·λ), then Adam's update        (Loshchilov and Hutter, arXiv:1711.05101)

use super::decay::WeightDecay;
use super::memory::remembering;
use super::update::{Recipe, Update};
use super::{Adam, Optimizer, Schedule};
use crate::element::Element;
use crate::error::Result;
use ndarray::{ArrayD, ArrayViewMutD};
use serde::{Deserialize, Serialize};

/// Adam with decoupled weight decay, λ = 0.004 as in Keras (Loshchilov and Hutter, arXiv:1711.05101).
///
/// Parameters of one axis are not decayed: biases, and scale and shift of a normalisation. Keras and PyTorch
/// decay all parameters: [`decay_all`](Self::decay_all).
///
/// ```
/// use tapetum::prelude::*;
/// let mut weight = ndarray::array![[1.0]].into_dyn();
/// let mut adamw = AdamW::new(0.1).weight_decay(0.5);
/// adamw.step(vec![("weight".into(), weight.view_mut())], &[ndarray::array![[0.0]].into_dyn()])?;
/// assert_eq!(weight[[0, 0]], 0.95_f64); // 1 − η·λ
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct AdamW<E = f32> {
    #[serde(flatten)]
    adam: Adam<E>,
    #[serde(flatten)]
    decay: WeightDecay,
}

impl<E: Element> AdamW<E> {
    /// AdamW with a learning rate η or a schedule of it.
    pub fn new(learning_rate: impl Into<Schedule>) -> Self {
        Self { adam: Adam::new(learning_rate), decay: WeightDecay { weight_decay: 0.004, decay_all: false } }
    }

    /// λ
    pub fn weight_decay(mut self, lambda: f64) -> Self {
        self.decay.weight_decay = lambda;
        self
    }

    /// Whether parameters of one axis are decayed too.
    pub fn decay_all(mut self, yes: bool) -> Self {
        self.decay.decay_all = yes;
        self
    }

    /// As [`Adam::beta1`].
    pub fn beta1(mut self, beta1: f64) -> Self {
        self.adam = self.adam.beta1(beta1);
        self
    }

    /// As [`Adam::beta2`].
    pub fn beta2(mut self, beta2: f64) -> Self {
        self.adam = self.adam.beta2(beta2);
        self
    }

    /// As [`Adam::epsilon`].
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.adam = self.adam.epsilon(epsilon);
        self
    }

    /// As [`Adam::epsilon_inside`].
    pub fn epsilon_inside(mut self, yes: bool) -> Self {
        self.adam = self.adam.epsilon_inside(yes);
        self
    }
}

impl<E: Element> Optimizer<E> for AdamW<E> {
    fn kind(&self) -> &'static str {
        "AdamW"
    }

    fn begin(&mut self, parameters: &[(String, Vec<usize>)]) -> Result<Option<Update<'_, E>>> {
        self.adam.begin_decayed("adamw", self.decay, parameters)
    }

    fn recipe(&self, ahead: u64) -> Result<Option<Recipe<E>>> {
        self.adam.recipe_decayed("adamw", self.decay, ahead).map(Some)
    }

    remembering!(self, self.adam);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, keras_adam, six};
    use super::*;

    #[test]
    fn the_rule_of_keras() {
        let start = [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5];
        let expected = std::array::from_fn::<_, 6, _>(|k| keras_adam(start[k], k, 0.004));
        assert_close(&six(&mut AdamW::<f64>::new(0.05).decay_all(true), 6), &expected);
    }

    // PyTorch 2.15, the parameters and gradients of `six` in float64. The first four are of w, the others of b.
    // AdamW(p, lr=0.05, weight_decay=0.1), and
    // AdamW([dict(params=p[:1], weight_decay=0.1), dict(params=p[1:], weight_decay=0.0)], lr=0.05)
    #[test]
    fn with_epsilon_inside_the_rule_of_pytorch() {
        let w = [-0.8170771819238892, -0.6308753145941771, 0.05179726428455881, 0.41471933372241115];
        let adamw = || AdamW::<f64>::new(0.05).weight_decay(0.1).epsilon(1e-8).epsilon_inside(true);
        let both = |b: [f64; 2]| [&w[..], &b].concat();
        assert_close(&six(&mut adamw().decay_all(true), 6), &both([0.8521218232278986, 1.593275840707927]));
        assert_close(&six(&mut adamw(), 6), &both([0.8795996236733602, 1.6398742314635577]));
    }
}
