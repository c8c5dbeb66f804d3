//! One step under way: the settings are checked, the moments fit, and each parameter is still to be moved.

use super::decay::WeightDecay;
use super::moments::Slot;
use crate::element::Element;
use crate::kernels::cpu::update;

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

/// How parameters move.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule<E> {
    Adam(update::Adam<E>),
    Descend(update::Descend<E>),
    Roll(update::Roll<E>),
}

impl<E: Element> Update<'_, E> {
    /// Moves parameter number `index` by its gradient, both in standard layout; to be called once for each.
    ///
    /// # Panics
    /// Where `begin` was told of no such parameter, or of one of another size.
    pub fn apply(&mut self, index: usize, parameter: &mut [E], gradient: &[E]) {
        let slot = &mut self.slots[index];
        let kept = E::of(self.decay.kept(self.rate, slot.shape.len()));
        match self.rule {
            Rule::Adam(rule) => update::apply(rule, kept, parameter, gradient, slot.entries()),
            Rule::Descend(rule) => update::apply(rule, kept, parameter, gradient, slot.entries()),
            Rule::Roll(rule) => update::apply(rule, kept, parameter, gradient, slot.entries()),
        }
    }
}
