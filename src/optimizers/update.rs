//! One step under way: the settings are checked, the moments fit, and each parameter is still to be moved.

use super::decay::WeightDecay;
use super::moments::Slot;
use crate::element::Element;
use crate::kernels::cpu::update::{self, Gradient};
#[cfg(feature = "cuda")]
use crate::kernels::cuda::update as gpu;

/// What [`Optimizer::begin`](super::Optimizer::begin) gives.
#[derive(Debug)]
pub struct Update<'a, E> {
    pub(super) rule: Rule<E>,
    pub(super) decay: WeightDecay,
    /// η
    pub(super) rate: f64,
    pub(super) slots: &'a mut [Slot<E>],
}

/// What one step does, told before it is done: what a device needs that does it itself.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<E> {
    pub(super) rule: Rule<E>,
    pub(super) decay: WeightDecay,
    /// η
    pub(super) rate: f64,
    /// The names of the moments.
    pub(super) moments: &'static [&'static str],
}

#[cfg(feature = "cuda")]
impl Recipe<f32> {
    /// The names of the moments.
    pub(crate) fn moments(&self) -> &'static [&'static str] {
        self.moments
    }

    /// η
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// The rule as the kernels know it.
    pub(crate) fn on_gpu(&self) -> gpu::Rule {
        match self.rule {
            Rule::Adam(_) => gpu::Rule::Adam,
            Rule::Descend(_) => gpu::Rule::Descend,
            Rule::Roll(roll) => gpu::Rule::Roll { nesterov: roll.nesterov },
        }
    }

    /// The step's row in the kernels' table: what is kept of parameters of several axes and of others, the rule's four
    /// numbers, and then c of an average, and the largest norm of a gradient.
    pub(crate) fn row(&self, average: f64, clip_norm: Option<f64>) -> [f32; 8] {
        let [several, one] = [2, 1].map(|axes| self.decay.kept(self.rate, axes) as f32);
        let [a, b, c, d] = match self.rule {
            Rule::Adam(adam) => adam.numbers(),
            Rule::Descend(descend) => [descend.rate, 0.0, 0.0, 0.0],
            Rule::Roll(roll) => [roll.rate, 0.0, 0.0, roll.mu],
        };
        [several, one, a, b, c, d, average as f32, clip_norm.unwrap_or(0.0) as f32]
    }
}

/// How parameters move.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule<E> {
    Adam(update::Adam<E>),
    Descend(update::Descend<E>),
    Roll(update::Roll<E>),
}

impl<E: Element> Update<'_, E> {
    /// Moves parameter number `index`, in standard layout, by its gradient; to be called once for each.
    ///
    /// # Panics
    /// Where `begin` was told of no such parameter, or of one of another size.
    pub(crate) fn apply(&mut self, index: usize, parameter: &mut [E], gradient: Gradient<'_, E>) {
        let slot = &mut self.slots[index];
        let kept = E::of(self.decay.kept(self.rate, slot.shape.len()));
        match self.rule {
            Rule::Adam(rule) => update::apply_any(rule, kept, parameter, gradient, slot.entries()),
            Rule::Descend(rule) => update::apply_any(rule, kept, parameter, gradient, slot.entries()),
            Rule::Roll(rule) => update::apply_any(rule, kept, parameter, gradient, slot.entries()),
        }
    }
}
