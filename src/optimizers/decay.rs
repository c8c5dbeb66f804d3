//! θ ← θ·(1 − η·λ) before the optimizer's own update: decoupled weight decay (arXiv:1711.05101), as in Keras.

use super::schedule::check_numbers;
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// How fast parameters are drawn to 0, and which.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct WeightDecay {
    /// λ
    pub weight_decay: f64,
    /// Also parameters of one axis: biases, and scale and shift of a normalisation.
    pub decay_all: bool,
}

impl WeightDecay {
    /// What a parameter of so many axes is multiplied by at learning rate η.
    pub fn kept(self, rate: f64, axes: usize) -> f64 {
        if axes > 1 || self.decay_all { 1.0 - rate * self.weight_decay } else { 1.0 }
    }

    pub fn check(self, at: &str) -> Result<()> {
        check_numbers(at, &[("weight_decay", self.weight_decay)])
    }
}
