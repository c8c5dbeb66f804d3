//! How parameters start.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::random::Key;

/// `count` numbers uniform in ±√(6 / (fan_in + fan_out)), Keras' default (Glorot and Bengio, 2010).
///
/// For a convolution, a fan is the window's area times the channels on that side.
///
/// # Errors
/// Where the system has no memory for so many numbers.
pub fn glorot_uniform<E: Element>(fan_in: usize, fan_out: usize, count: usize, key: Key) -> Result<Vec<E>> {
    let mut weights = Vec::new();
    weights
        .try_reserve_exact(count)
        .map_err(|_| Error::argument("glorot_uniform", "count", "a number of weights that fits in memory", count))?;
    let limit = (6.0 / (fan_in as f64 + fan_out as f64).max(1.0)).sqrt();
    let mut random = key.stream();
    weights.extend((0..count).map(|_| E::of(random.uniform(-limit, limit))));
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_fill_their_range_and_too_many_are_an_error() {
        let weights: Vec<f64> = glorot_uniform(30, 24, 10_000, Key::new(1)).unwrap();
        let limit = 1.0 / 3.0; // √(6/54)
        assert!(weights.iter().all(|weight| weight.abs() < limit));
        let variance = weights.iter().map(|weight| weight * weight).sum::<f64>() / 1e4;
        assert!((variance / (limit * limit / 3.0) - 1.0).abs() < 0.05, "{variance}");
        assert!(glorot_uniform::<f32>(1, 1, 1 << 60, Key::new(1)).is_err());
    }
}
