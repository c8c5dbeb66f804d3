//! How parameters start.

use crate::element::Element;
use crate::random::Key;

/// `count` numbers uniform in ±√(6 / (fan_in + fan_out)), Keras' default (Glorot and Bengio, 2010).
///
/// For a convolution, a fan is the window's area times the channels on that side.
pub fn glorot_uniform<E: Element>(fan_in: usize, fan_out: usize, count: usize, key: Key) -> Vec<E> {
    let limit = (6.0 / (fan_in as f64 + fan_out as f64).max(1.0)).sqrt();
    let mut random = key.stream();
    (0..count).map(|_| E::of(random.uniform(-limit, limit))).collect()
}
