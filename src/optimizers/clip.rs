//! ‖g‖ = √Σ g²  over all gradients;  g ← g · min(1, max_norm/‖g‖)        (Pascanu et al., arXiv:1211.5063)

use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernels::cpu::update;
use ndarray::ArrayD;

/// Scales all gradients together so that their norm is at most `max_norm`, and returns the norm they had.
///
/// The squares are added in f64 in a fixed order. Where the norm is not finite the gradients stay as they are, so
/// that neither an infinity nor NaN is hidden.
///
/// # Errors
/// Where `max_norm` is not above 0; it may be infinite, to measure only.
///
/// ```
/// use tapetum::prelude::*;
/// let mut gradients = [ndarray::array![3.0].into_dyn(), ndarray::array![[4.0]].into_dyn()];
/// assert_eq!(clip_global_norm(&mut gradients, 2.5)?, 5.0);
/// assert_eq!(gradients[1][[0, 0]], 2.0);
/// # Ok::<(), Error>(())
/// ```
pub fn clip_global_norm<E: Element>(gradients: &mut [ArrayD<E>], max_norm: f64) -> Result<f64> {
    if max_norm.is_nan() || max_norm <= 0.0 {
        return Err(Error::argument("clip_global_norm", "max_norm", "above 0", max_norm));
    }
    let norm = gradients.iter().map(squares).sum::<f64>().sqrt();
    if norm.is_finite() && norm > max_norm {
        let factor = E::of(max_norm / norm);
        gradients.iter_mut().for_each(|gradient| scale(gradient, factor));
    }
    Ok(norm)
}

fn squares<E: Element>(gradient: &ArrayD<E>) -> f64 {
    update::sum_of_squares(gradient.as_standard_layout().as_slice().expect("made standard"))
}

fn scale<E: Element>(gradient: &mut ArrayD<E>, factor: E) {
    match gradient.as_slice_memory_order_mut() {
        Some(gradient) => update::scale(gradient, factor),
        None => gradient.mapv_inplace(|g| (g * factor).flushed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_norm_is_over_all_gradients() {
        let mut gradients = [ArrayD::from_shape_fn(vec![3, 7], |i| (i[0] + i[1]) as f32), ArrayD::zeros(vec![0])];
        let squares: usize = (0..3).flat_map(|i| (0..7).map(move |j| (i + j) * (i + j))).sum();
        let before = gradients.clone();
        assert_eq!(clip_global_norm(&mut gradients, f64::INFINITY).unwrap(), (squares as f64).sqrt());
        assert_eq!(gradients, before);
        clip_global_norm(&mut gradients, 1.0).unwrap();
        assert!((clip_global_norm(&mut gradients, 1.0).unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_not_finite_stays_visible() {
        for worst in [f32::NAN, f32::INFINITY] {
            let mut gradients = [array![worst, 1.0].into_dyn()];
            assert!(!clip_global_norm(&mut gradients, 0.5).unwrap().is_finite());
            assert_eq!(gradients[0][[1]], 1.0);
            assert!(!gradients[0][[0]].is_finite());
        }
        assert_eq!(clip_global_norm(&mut [array![f32::MAX].into_dyn()], 1.0).unwrap(), f64::from(f32::MAX));
        assert_eq!(clip_global_norm::<f32>(&mut [], 1.0).unwrap(), 0.0);
        assert!(clip_global_norm::<f32>(&mut [], f64::NAN).is_err());
    }
}
