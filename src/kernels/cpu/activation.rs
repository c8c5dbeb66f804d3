//! y = f(x) of the activations that can follow a convolution's rows while they are in the first cache.

use crate::element::Element;

/// Activations that rise with x, so that they and max pooling may change places, and whose slope can be told from y.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Activation {
    /// y = x
    Linear,
    /// y = max(0, x)
    Relu,
    /// y = x above 0, α·x below it, with α > 0
    LeakyRelu(f64),
}

impl Activation {
    /// f(x); NaN stays NaN.
    #[inline(always)]
    pub fn value<E: Element>(self, x: E) -> E {
        match self {
            Self::Linear => x,
            Self::Relu if x < E::zero() => E::zero(),
            Self::LeakyRelu(alpha) if x < E::zero() => E::of(alpha) * x,
            _ => x,
        }
    }

    /// f′(x), told from y = f(x).
    #[inline(always)]
    pub fn slope<E: Element>(self, y: E) -> E {
        match self {
            Self::Relu if y <= E::zero() => E::zero(),
            Self::LeakyRelu(alpha) if y <= E::zero() => E::of(alpha),
            _ => E::one(),
        }
    }
}
