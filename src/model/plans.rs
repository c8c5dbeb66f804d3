//! The inference plans that a model keeps from one prediction to the next.

use super::Sequential;
use super::predictor::Predictor;
use crate::element::Element;
use crate::error::Result;
use ndarray::ArrayViewD;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// As many plans as there were predictions at the same time; a copy begins with none.
pub(super) struct Plans<E: Element>(Mutex<Vec<Predictor<E>>>);

impl<E: Element> Plans<E> {
    /// x [N, …] through all layers of `model`, whose plans these are → y, overwritten.
    pub fn run(&self, model: &Sequential<E>, x: &ArrayViewD<'_, E>, y: &mut [E]) -> Result<()> {
        // A plan is good after any error and any panic: each pass overwrites what it reads.
        let plans = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = plans().pop();
        let mut plan = match kept {
            Some(plan) => plan,
            None => Predictor::new(model, model.layers().len())?,
        };
        let result = plan.run(model, x, y);
        plans().push(plan);
        result
    }

    /// Plans hold weights of layers that are about to change.
    pub fn forget(&mut self) {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl<E: Element> Default for Plans<E> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<E: Element> Clone for Plans<E> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<E: Element> fmt::Debug for Plans<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plans")
    }
}
