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
                // Without a branch.
                x * if x < E::zero() { E::of(alpha) } else { E::one() }
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

/// y ← f(y), on one thread.
pub(super) struct Values<'a, E> {
    pub activation: Activation,
    pub y: &'a mut [E],
}

impl<E: Element> Kernel<E> for Values<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd<Elem = E>>(self, _: S) {
        values(self.activation, self.y);
    }
}

/// y ← f(y), as part of another kernel. Written numbers are flushed.
// A loop for each activation without an exponential: with the choice inside, it would be made number by number.
#[inline(always)]
pub(super) fn values<E: Element>(activation: Activation, y: &mut [E]) {
    match activation {
        Activation::Linear => {}
        Activation::Relu => each(y, Activation::Relu),
        Activation::LeakyRelu(alpha) => each(y, Activation::LeakyRelu(alpha)),
        other => each(y, other),
    }
}

#[inline(always)]
fn each<E: Element>(y: &mut [E], activation: Activation) {
    for y in y {
        *y = activation.value(*y).flushed();
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
        let Self { activation, y, dy } = self;
        match activation {
            Activation::Relu => each_slope(y, dy, Activation::Relu),
            Activation::LeakyRelu(alpha) => each_slope(y, dy, Activation::LeakyRelu(alpha)),
            Activation::Sigmoid => each_slope(y, dy, Activation::Sigmoid),
            other => each_slope(y, dy, other),
        }
    }
}

#[inline(always)]
fn each_slope<E: Element>(y: &[E], dy: &mut [E], activation: Activation) {
    for (dy, &y) in dy.iter_mut().zip(y) {
        *dy = (*dy * activation.slope(y)).flushed();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, Number};
    use super::*;
    use crate::random::Key;

    fn check<E: Number>(activation: Activation, x: &[f64], dy: &[f64]) {
        let [x, dy] = [x, dy].map(testing::cast::<E>);
        let y: Vec<E> = x.iter().map(|&x| activation.value(x).flushed()).collect();
        let dx: Vec<E> = y.iter().zip(&dy).map(|(&y, &dy)| (dy * activation.slope(y)).flushed()).collect();
        testing::on_each_path(x.len(), || {
            let (mut found_y, mut found_dx) = (x.clone(), dy.clone());
            activation.apply(&mut found_y);
            activation.apply_slope(&y, &mut found_dx);
            assert!(found_y == y && found_dx == dx, "{activation:?}");
            found_dx
        });
    }

    #[test]
    fn slices_are_their_numbers() {
        let mut random = Key::new(1).named("activation").stream();
        for round in 0..2000 {
            let len = if round < 5 { 9 * CHUNK + round } else { random.below(150) };
            let [x, dy] = [(); 2].map(|()| testing::draw(len, &mut random));
            let alpha = Activation::LeakyRelu(0.3);
            let kinds = [Activation::Linear, Activation::Relu, alpha, Activation::Sigmoid, Activation::Tanh];
            check::<f32>(kinds[round % 5], &x, &dy);
            check::<f64>(kinds[round % 5], &x, &dy);
        }
    }
}
