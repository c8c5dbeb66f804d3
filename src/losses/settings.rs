//! What both cross-entropies can be told, binary or not.

use super::batch::check_weights;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::layers::Layer;
use crate::target::Target;
use ndarray::Dimension;
use serde::{Deserialize, Serialize};
use std::any::Any;

/// The settings of a cross-entropy.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Settings {
    pub from_logits: bool,
    /// One for each class, or none.
    pub class_weights: Vec<f64>,
    pub label_smoothing: f64,
    pub ignore_index: Option<usize>,
}

impl Settings {
    /// Names a setting that makes no sense for so many classes, or a target that does not.
    pub fn check<E: Element>(&self, at: &str, classes: usize, target: &Target<E>) -> Result<()> {
        let weights = &self.class_weights;
        if !weights.is_empty() && weights.len() != classes {
            return Err(Error::shape(at, format!("class weights [{classes}]"), &[weights.len()]));
        }
        check_weights(at, "class weights", weights)?;
        // All of it would leave nothing of the target.
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return Err(Error::argument(at, "label_smoothing", "in [0, 1)", self.label_smoothing));
        }
        check_probabilities(at, target)
    }

    /// y·(1 − s) + s/classes
    pub fn smoothed(&self, y: f64, classes: usize) -> f64 {
        y * (1.0 - self.label_smoothing) + self.label_smoothing / classes as f64
    }

    /// c
    pub fn class_weight(&self, class: usize) -> f64 {
        self.class_weights.get(class).copied().unwrap_or(1.0)
    }

    pub fn counts(&self, label: usize) -> bool {
        self.ignore_index != Some(label)
    }

    /// The same settings from the inputs of `last`, where these are from probabilities and `last` is the layer that
    /// makes them.
    pub fn fused_with<E: Element, L: Layer<E>>(&self, last: &dyn Layer<E>) -> Option<Self> {
        let fits = !self.from_logits && (last as &dyn Any).is::<L>();
        fits.then(|| Self { from_logits: true, ..self.clone() })
    }
}

/// Classes counted from 1, or pixels up to 255, taken for probabilities would train towards nonsense. A hair's
/// breadth is granted to rounding; NaN is left to show in the loss.
fn check_probabilities<E: Element>(at: &str, target: &Target<E>) -> Result<()> {
    let Target::Values(values) = target else { return Ok(()) };
    let beyond = |y: &E| y.as_f64() < -1e-6 || y.as_f64() > 1.0 + 1e-6;
    if !values.iter().any(beyond) {
        return Ok(());
    }
    match values.indexed_iter().find(|(_, y)| beyond(y)) {
        Some((i, y)) => Err(Error::argument(at, "target", "in [0, 1]", format!("{y} at {:?}", i.slice()))),
        None => Ok(()),
    }
}

/// The functions that set [`Settings`], for a loss that is nothing but these.
macro_rules! builder {
    (
        $loss:ident behind $layer:literal,
        class_weights: $class_weights:literal,
        label_smoothing: $label_smoothing:literal $(,)?
    ) => {
        impl $loss {
            #[doc = concat!("For predictions p in [0, 1], as behind a ", $layer, ".")]
            pub fn from_probabilities() -> Self {
                Self::default()
            }

            #[doc = concat!("For predictions z that a ", $layer, " would turn into probabilities.")]
            pub fn from_logits() -> Self {
                Self(Settings { from_logits: true, ..Settings::default() })
            }

            #[doc = $class_weights]
            pub fn class_weights(mut self, weights: impl Into<Vec<f64>>) -> Self {
                self.0.class_weights = weights.into();
                self
            }

            #[doc = $label_smoothing]
            pub fn label_smoothing(mut self, s: f64) -> Self {
                self.0.label_smoothing = s;
                self
            }

            /// The label of samples that do not count: neither in L, nor in N, nor in the gradient, whatever they
            /// predict.
            pub fn ignore_index(mut self, label: usize) -> Self {
                self.0.ignore_index = Some(label);
                self
            }
        }
    };
}
pub(super) use builder;
