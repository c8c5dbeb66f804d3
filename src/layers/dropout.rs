//! y = x · m / (1 − p),  m = 0 with probability p, else 1; in inference y = x
//! x [N, …]  →  y [N, …]     (Srivastava et al., 2014; scaled in training, so that inference need not be)

use super::{Backward, Layer, Saved, entries, entries_mut, expect_gradient};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernels::cpu::dropout::dropout;
use crate::random::Key;
use ndarray::{ArrayD, ArrayViewD};
use serde::{Deserialize, Serialize};

/// Leaves out a part of the numbers, drawn anew for each training step (Srivastava et al., 2014).
///
/// What stays is scaled up, so that the expected value is the same. Inference leaves out nothing.
///
/// ```
/// use tapetum::prelude::*;
/// let x = ndarray::array![[1.0, 2.0, 3.0, 4.0]].into_dyn();
/// let dropout = Dropout::new(0.5).mask(ndarray::array![[true, false, false, true]].into_dyn());
/// let (y, _) = dropout.forward_train(x.view(), Key::new(1))?;
/// assert_eq!(y, ndarray::array![[2.0, 0.0, 0.0, 8.0]].into_dyn());
/// assert_eq!(dropout.forward(x.view())?, x);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dropout {
    rate: f64,
    #[serde(skip)]
    mask: Option<ArrayD<bool>>,
}

/// What training keeps: of a given mask the factors 0 and 1 / (1 − p).
enum Mask<E> {
    Drawn { key: Key, shape: Vec<usize> },
    Given(ArrayD<E>),
}

impl Dropout {
    /// Leaves out each number with probability `rate`, in [0, 1).
    pub fn new(rate: f64) -> Self {
        Self { rate, mask: None }
    }

    /// Keeps what is `true` in `mask`, in every training step, instead of drawing. The mask is of the input's shape
    /// [N, …], or one that broadcasts to it, as [1, …] does for the same mask for all samples.
    pub fn mask(mut self, mask: ArrayD<bool>) -> Self {
        self.mask = Some(mask);
        self
    }

    /// How many are left out, where the mask is drawn.
    pub(crate) fn drawn_rate(&self) -> Option<f64> {
        self.mask.is_none().then_some(self.rate)
    }

    fn drawn<E: Element>(&self, key: Key, x: ArrayViewD<'_, E>) -> ArrayD<E> {
        let mut y = ArrayD::zeros(x.raw_dim());
        dropout(key, self.rate, entries(&x.as_standard_layout()), entries_mut(&mut y));
        y
    }

    fn check(&self) -> Result<()> {
        if (0.0..1.0).contains(&self.rate) {
            return Ok(());
        }
        Err(Error::argument("dropout", "rate", "at least 0 and less than 1", self.rate))
    }
}

impl<E: Element> Layer<E> for Dropout {
    fn kind(&self) -> &'static str {
        "Dropout"
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.check().map(|()| input.to_vec())
    }

    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        Ok(x.to_owned())
    }

    // A drawn mask is drawn again on the way back.
    fn forward_train(&self, x: ArrayViewD<'_, E>, key: Key) -> Result<(ArrayD<E>, Saved)> {
        self.check()?;
        let Some(mask) = &self.mask else {
            let mask = Mask::Drawn { key, shape: x.shape().to_vec() };
            return Ok((self.drawn(key, x), Saved::new(mask as Mask<E>)));
        };
        let fits = mask.broadcast(x.raw_dim());
        let mask =
            fits.ok_or_else(|| Error::shape("dropout", format!("a mask for input {:?}", x.shape()), mask.shape()))?;
        let factors = mask.mapv(|kept| if kept { E::of(1.0 / (1.0 - self.rate)) } else { E::zero() });
        Ok((&x * &factors, Saved::new(Mask::Given(factors))))
    }

    // dx = dy · m / (1 − p)
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let dx = match saved.take::<Mask<E>>("dropout")? {
            Mask::Drawn { key, shape } => {
                expect_gradient("dropout", &dy, &shape)?;
                self.drawn(key, dy)
            }
            Mask::Given(factors) => {
                expect_gradient("dropout", &dy, factors.shape())?;
                factors * dy
            }
        };
        Ok(Backward::input_only(dx))
    }

    fn config(&self) -> serde_json::Value {
        super::config_of(self)
    }

    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn leaves_out_the_rate_and_keeps_the_mean() {
        let x = ArrayD::from_elem(vec![100, 100], 1.0);
        let (y, saved) = Dropout::new(0.2).forward_train(x.view(), Key::new(1)).unwrap();
        let left_out = y.iter().filter(|&&y| y == 0.0).count();
        // 2,000 expected, standard deviation 40
        assert!(left_out.abs_diff(2000) < 200, "{left_out}");
        assert!(y.iter().all(|&y| y == 0.0 || y == 1.25));
        assert_eq!(Dropout::new(0.2).backward(saved, x.view()).unwrap().dx, y);
    }

    #[test]
    fn the_key_alone_decides() {
        let x = ArrayD::from_elem(vec![4, 8], 1.0f32);
        let draw = |seed| Dropout::new(0.5).forward_train(x.view(), Key::new(seed)).unwrap().0;
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn one_mask_for_all_samples_and_one_that_does_not_fit() {
        let x = array![[1.0, 2.0], [3.0, 4.0]].into_dyn();
        let dropout = Dropout::new(0.0).mask(array![[false, true]].into_dyn());
        assert_eq!(dropout.forward_train(x.view(), Key::new(0)).unwrap().0, array![[0.0, 2.0], [0.0, 4.0]].into_dyn());
        let error = dropout.forward_train(array![[1.0, 2.0, 3.0]].into_dyn().view(), Key::new(0)).unwrap_err();
        assert_eq!(error.to_string(), "dropout: expected a mask for input [1, 3], got [1, 2]");
    }

    #[test]
    fn the_rate_is_checked() {
        for rate in [-0.1, 1.0, f64::NAN] {
            assert!(Layer::<f32>::output_shape(&Dropout::new(rate), &[3]).is_err());
            assert!(Dropout::new(rate).forward_train(array![[1.0]].into_dyn().view(), Key::new(0)).is_err());
        }
        let error = Layer::<f32>::output_shape(&Dropout::new(1.0), &[3]).unwrap_err();
        assert_eq!(error.to_string(), "dropout: rate must be at least 0 and less than 1, got 1");
    }
}
