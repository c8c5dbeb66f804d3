//! y = f(x), number by number, and the way back from y alone.

use super::parallel;
use crate::element::Element;
use crate::simd::{Kernel, Simd};

/// A function of one number whose slope can be told from its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Activation {
    /// y = x
    Linear,
    /// y = max(0, x), y′(0) = 0
    Relu,
    /// y = x from 0 on, α·x below it, with α > 0
    LeakyRelu(f64),
    /// y = 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// y = tanh x
    Tanh,
}

impl Activation {
    /// Whether f(max x) = max f(x) and both are the same x: f rises, and where it does not, its slope is 0.
    pub fn passes_maxima(self) -> bool {
        matches!(self, Self::Linear | Self::Relu | Self::LeakyRelu(_))
    }

    /// f(x); NaN stays NaN.
    #[inline(always)]
    pub fn value<E: Element>(self, x: E) -> E {
        match self {
            Self::Linear => x,
            Self::Relu => {
                if x < E::zero() {
                    E::zero()
                } else {
                    x
                }
            }
            Self::LeakyRelu(alpha) => {
                if x < E::zero() {
                    E::of(alpha) * x
                } else {
                    x
                }
            }
            // e^−|x| cannot overflow: 1 / (1 + e⁻ˣ) for x ≥ 0 is the same as eˣ / (1 + eˣ) for x < 0.
            Self::Sigmoid => {
                let e = (-x.abs()).exp();
                (if x < E::zero() { e } else { E::one() }) / (E::one() + e)
            }
            Self::Tanh => x.tanh(),
        }
    }

    /// f′(x), told from y = f(x).
    #[inline(always)]
    pub fn slope<E: Element>(self, y: E) -> E {
        match self {
            Self::Linear => E::one(),
            Self::Relu => {
                if y <= E::zero() {
                    E::zero()
                } else {
                    E::one()
                }
            }
            Self::LeakyRelu(alpha) => {
                if y < E::zero() {
                    E::of(alpha)
                } else {
                    E::one()
                }
            }
            Self::Sigmoid => y * (E::one() - y),
            Self::Tanh => E::one() - y * y,
        }
    }

    /// y ← f(y), in place.
    pub fn apply<E: Element>(self, y: &mut [E]) {
        if self != Self::Linear {
            parallel::chunks_mut(8 * y.len(), y, CHUNK, |_, y| E::dispatch(Values { activation: self, y }));
        }
    }

    /// dy ← dy·f′, told from y. Written numbers are flushed.
    pub fn apply_slope<E: Element>(self, y: &[E], dy: &mut [E]) {
        if self != Self::Linear {
            assert_eq!(y.len(), dy.len());
            parallel::chunks_mut(8 * dy.len(), dy, CHUNK, |chunk, dy| {
                E::dispatch(Slopes { activation: self, y: &y[chunk * CHUNK..][..dy.len()], dy });
            });
        }
    }
}

/// Numbers that one thread changes at a time.
const CHUNK: usize = 1 << 14;

/// y ← f(y), on one thread, as part of another kernel.
pub(super) struct Values<'a, E> {
    pub activation: Activation,
    pub y: &'a mut [E],
}

impl<E: Element> Kernel<E> for Values<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        for y in self.y {
            *y = self.activation.value(*y);
        }
    }
}

struct Slopes<'a, E> {
    activation: Activation,
    y: &'a [E],
    dy: &'a mut [E],
}

impl<E: Element> Kernel<E> for Slopes<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        for (dy, &y) in self.dy.iter_mut().zip(self.y) {
            *dy = (*dy * self.activation.slope(y)).flushed();
        }
    }
}
