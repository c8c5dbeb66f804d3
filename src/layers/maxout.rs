//! y[n,f] = max_k z[n, k·F+f],  z[n,k·F+f] = b[k·F+f] + Σ_d x[n,d] · w[d, k·F+f]     (thesis 3.7.2, eq. 8)
//! x [N, D]  w [D, K·F]  b [K·F]  →  y [N, F]
//!
//! Eq. 8 has K = 2 pieces; side by side, the weights of all pieces are those of one Dense layer.
//! Ties go to the first piece. NaN wins.

use super::{Backward, Dense, Layer, Saved, expect_gradient};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::random::Key;
use ndarray::{Array1, Array2, Array3, ArrayD, ArrayViewD, ArrayViewMutD, Axis, Zip};
use serde::{Deserialize, Serialize};

/// The largest of several neurons (thesis 3.7.2, equation 8; Goodfellow et al., arXiv:1302.4389).
///
/// Weights start Glorot-uniform over all pieces and biases at zero.
///
/// ```
/// use tapetum::prelude::*;
/// // |x|, as the larger of x and −x.
/// let absolute = Maxout::from_weights(2, ndarray::array![[1.0, -1.0]], None)?;
/// let y = absolute.forward(ndarray::array![[-3.0], [2.0]].into_dyn().view())?;
/// assert_eq!(y, ndarray::array![[3.0], [2.0]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Maxout<E = f32> {
    units: usize,
    pieces: usize,
    use_bias: bool,
    /// z; none before `build`.
    #[serde(skip)]
    dense: Option<Dense<E>>,
}

impl<E: Element> Maxout<E> {
    /// A layer of `units` neurons, each the largest of `pieces`.
    pub fn new(units: usize, pieces: usize) -> Self {
        Self { units, pieces, use_bias: true, dense: None }
    }

    /// With biases (the default) or without.
    pub fn use_bias(mut self, yes: bool) -> Self {
        self.use_bias = yes;
        self.dense = None;
        self
    }

    /// A layer with given weights [D, K·F] and biases [K·F], the K pieces side by side; `build` keeps them.
    ///
    /// # Errors
    /// Where there are no weights, the biases are not one for each column, or the columns no multiple of `pieces`.
    pub fn from_weights(pieces: usize, weight: Array2<E>, bias: Option<Array1<E>>) -> Result<Self> {
        let (columns, use_bias) = (weight.ncols(), bias.is_some());
        if pieces == 0 || columns % pieces != 0 {
            return Err(Error::argument("maxout", "pieces", format!("a divisor of {columns} columns"), pieces));
        }
        let dense = Dense::from_weights(weight, bias).map_err(|error| error.renamed("maxout"))?;
        Ok(Self { units: columns / pieces, pieces, use_bias, dense: Some(dense) })
    }

    /// K·F
    fn columns(&self) -> Result<usize> {
        for (argument, value) in [("units", self.units), ("pieces", self.pieces)] {
            if value == 0 {
                return Err(Error::argument("maxout", argument, "at least 1", value));
            }
        }
        let too_many = || Error::argument("maxout", "units", "a number that fits in memory", self.units);
        self.units.checked_mul(self.pieces).ok_or_else(too_many)
    }

    fn built(&self) -> Result<&Dense<E>> {
        self.dense.as_ref().ok_or_else(|| Error::NotBuilt { at: "maxout".into() })
    }

    /// The largest of the K pieces in z [N, K·F], and which it is: y [N, F] and k [N, F].
    fn largest(&self, z: ArrayD<E>) -> (Array2<E>, Array2<usize>) {
        let shape = [z.shape()[0], self.pieces, self.units];
        let z = z.into_shape_with_order(shape).expect("z has K·F columns");
        let mut y = z.index_axis(Axis(1), 0).to_owned();
        let mut winner = Array2::zeros(y.raw_dim());
        for (k, z) in z.axis_iter(Axis(1)).enumerate().skip(1) {
            Zip::from(&mut y).and(&mut winner).and(&z).for_each(|y, winner, &z| {
                if z > *y || (z.is_nan() && !y.is_nan()) {
                    (*y, *winner) = (z, k);
                }
            });
        }
        (y, winner)
    }
}

impl<E: Element> Layer<E> for Maxout<E> {
    fn kind(&self) -> &'static str {
        "Maxout"
    }

    fn build(&mut self, input: &[usize], key: Key) -> Result<()> {
        let columns = self.columns()?;
        let dense = self.dense.get_or_insert_with(|| Dense::new(columns).use_bias(self.use_bias));
        dense.build(input, key).map_err(|error| error.renamed("maxout"))
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let columns = self.columns()?;
        let z =
            self.dense.as_ref().map_or_else(|| Dense::<E>::new(columns).output_shape(input), |z| z.output_shape(input));
        z.map(|_| vec![self.units]).map_err(|error| error.renamed("maxout"))
    }

    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        let z = self.built()?.forward(x).map_err(|error| error.renamed("maxout"))?;
        Ok(self.largest(z).0.into_dyn())
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, key: Key) -> Result<(ArrayD<E>, Saved)> {
        let (z, saved) = self.built()?.forward_train(x, key).map_err(|error| error.renamed("maxout"))?;
        let (y, winner) = self.largest(z);
        Ok((y.into_dyn(), Saved::new((winner, saved))))
    }

    // dz is dy at the piece that won and 0 at the others; from there on, Dense's gradients.
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let (winner, saved) = saved.take::<(Array2<usize>, Saved)>("maxout")?;
        expect_gradient("maxout", &dy, winner.shape())?;
        let (n, f) = winner.dim();
        let dy = dy.into_dimensionality::<ndarray::Ix2>().expect("the gradient is [N, F]");
        let mut dz = Array3::zeros([n, self.pieces, f]);
        for (k, mut dz) in dz.axis_iter_mut(Axis(1)).enumerate() {
            Zip::from(&mut dz).and(&winner).and(&dy).for_each(|dz, &winner, &dy| {
                if winner == k {
                    *dz = dy;
                }
            });
        }
        let dz = dz.into_shape_with_order(vec![n, self.pieces * f]).expect("pieces are side by side");
        self.built()?.backward(saved, dz.view()).map_err(|error| error.renamed("maxout"))
    }

    fn parameters(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        self.dense.as_ref().map_or_else(Vec::new, Layer::parameters)
    }

    fn parameters_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        self.dense.as_mut().map_or_else(Vec::new, Layer::parameters_mut)
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
    fn equation_8_by_hand() {
        // Two units of two pieces over two inputs: columns are piece 1 of both units, then piece 2 of both.
        let weight = array![[1.0, 0.0, 2.0, -1.0], [0.0, 1.0, 0.0, 3.0]];
        let layer = Maxout::from_weights(2, weight, Some(array![0.5, 0.0, 0.0, 10.0])).unwrap();
        let (y, saved) = layer.forward_train(array![[1.0, -4.0]].into_dyn().view(), Key::new(0)).unwrap();
        // max(1.5, 2) and max(−4, −3)
        assert_eq!(y, array![[2.0, -3.0]].into_dyn());
        let back = layer.backward(saved, array![[1.0, 10.0]].into_dyn().view()).unwrap();
        assert_eq!(back.dx, array![[2.0 - 10.0, 30.0]].into_dyn());
        assert_eq!(back.params[0], array![[0.0, 0.0, 1.0, 10.0], [0.0, 0.0, -4.0, -40.0]].into_dyn());
        assert_eq!(back.params[1], array![0.0, 0.0, 1.0, 10.0].into_dyn());
    }

    #[test]
    fn ties_go_to_the_first_piece_and_nan_wins() {
        let layer = Maxout::from_weights(2, array![[1.0, 1.0]], None).unwrap();
        let (_, saved) = layer.forward_train(array![[2.0]].into_dyn().view(), Key::new(0)).unwrap();
        let back = layer.backward(saved, array![[1.0]].into_dyn().view()).unwrap();
        assert_eq!(back.params[0], array![[2.0, 0.0]].into_dyn());
        let layer = Maxout::from_weights(3, array![[1.0, f64::NAN, 5.0]], None).unwrap();
        assert!(layer.forward(array![[2.0]].into_dyn().view()).unwrap()[[0, 0]].is_nan());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let message =
            |mut layer: Maxout<f32>, input: &[usize]| layer.build(input, Key::new(0)).unwrap_err().to_string();
        assert_eq!(message(Maxout::new(4, 0), &[3]), "maxout: pieces must be at least 1, got 0");
        assert_eq!(message(Maxout::new(4, 2), &[3, 3]), "maxout: expected input [D], got [3, 3]");
        assert!(message(Maxout::new(usize::MAX, 2), &[3]).contains("fits in memory"));
        let error = Maxout::from_weights(2, array![[1.0, 2.0, 3.0]], None).unwrap_err();
        assert_eq!(error.to_string(), "maxout: pieces must be a divisor of 3 columns, got 2");
        assert!(Maxout::new(4, 2).forward(array![[1.0]].into_dyn().view()).is_err());
    }
}
