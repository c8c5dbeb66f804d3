//! y[n,f] = b[f] + Σ_d x[n,d] · w[d,f]     (thesis 3.1, eq. 1)
//! x [N, D]  w [D, F]  b [F]  →  y [N, F]

use super::weights::{Weights, built, views, views_mut};
use super::{Backward, Layer, Saved, entries, entries_mut, expect_axes, expect_gradient, expect_shape};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernels::cpu::gemm::{Matrix, gemm};
use crate::kernels::cpu::reduce::{add_row, sum_rows};
use crate::random::Key;
use ndarray::{Array1, Array2, ArrayD, ArrayViewD, ArrayViewMutD, Ix2};
use serde::{Deserialize, Serialize};

/// A fully connected layer: every output is a neuron over all inputs (thesis 3.1 and 3.10, equation 1).
///
/// Weights start Glorot-uniform and biases at zero, as in Keras.
///
/// ```
/// use tapetum::prelude::*;
/// let dense = Dense::from_weights(ndarray::array![[1.0], [2.0]], Some(ndarray::array![0.5]))?;
/// let y = dense.forward(ndarray::array![[3.0, 4.0]].into_dyn().view())?;
/// assert_eq!(y, ndarray::array![[11.5]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Dense<E = f32> {
    units: usize,
    use_bias: bool,
    /// w [D, F], b [F]; none before `build`.
    #[serde(skip)]
    weights: Option<Weights<E, Ix2>>,
}

impl<E: Element> Dense<E> {
    /// A layer of `units` neurons.
    pub fn new(units: usize) -> Self {
        Self { units, use_bias: true, weights: None }
    }

    /// With biases (the default) or without.
    pub fn use_bias(mut self, yes: bool) -> Self {
        self.use_bias = yes;
        self.weights = None;
        self
    }

    /// A layer with given weights [D, F] and biases `[F]`; `build` keeps them.
    ///
    /// # Errors
    /// Where there are no weights, or the biases are not one for each of the F columns.
    pub fn from_weights(weight: Array2<E>, bias: Option<Array1<E>>) -> Result<Self> {
        let weights = Weights::given("dense", weight, bias)?;
        Ok(Self { units: weights.weight.ncols(), use_bias: weights.bias.is_some(), weights: Some(weights) })
    }

    /// w [D, F]; none before `build`.
    pub fn weight(&self) -> Option<&Array2<E>> {
        self.weights.as_ref().map(|weights| &weights.weight)
    }

    /// b `[F]`; none before `build` and in a layer without biases.
    pub fn bias(&self) -> Option<&Array1<E>> {
        self.weights.as_ref()?.bias.as_ref()
    }

    /// The numbers of w and b.
    pub(crate) fn numbers(&self) -> Result<(&[E], Option<&[E]>)> {
        let weights = built("dense", &self.weights)?;
        Ok((weights.w(), weights.b()))
    }

    /// The same, to change them; none before `build`.
    pub(crate) fn numbers_mut(&mut self) -> Option<(&mut [E], Option<&mut [E]>)> {
        self.weights.as_mut().map(Weights::numbers_mut)
    }
}

impl<E: Element> Layer<E> for Dense<E> {
    fn kind(&self) -> &'static str {
        "Dense"
    }

    fn build(&mut self, input: &[usize], key: Key) -> Result<()> {
        self.weights.take_if(|weights| !weights.given);
        let f = self.output_shape(input)?[0];
        if self.weights.is_none() {
            self.weights = Some(Weights::drawn("dense", Ix2(input[0], f), self.use_bias, key)?);
        }
        Ok(())
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        expect_shape("dense", input, &[("D", self.weight().map(|w| w.nrows()))])?;
        if self.units == 0 {
            return Err(Error::argument("dense", "units", "at least 1", 0));
        }
        Ok(vec![self.units])
    }

    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        let weights = built("dense", &self.weights)?;
        let (d, f) = weights.weight.dim();
        expect_axes("dense", &x, &[("D", Some(d))])?;
        let n = x.shape()[0];
        let mut y = ArrayD::zeros(vec![n, f]);
        // x [N, D] · w [D, F] → y [N, F]
        let x = x.as_standard_layout();
        gemm(Matrix::rows(entries(&x), n, d), Matrix::rows(weights.w(), d, f), entries_mut(&mut y));
        if let Some(b) = weights.b() {
            add_row(entries_mut(&mut y), b);
        }
        Ok(y)
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, key: Key) -> Result<(ArrayD<E>, Saved)> {
        self.forward_train_owned(x.as_standard_layout().into_owned(), key)
    }

    fn forward_train_owned(&self, x: ArrayD<E>, _key: Key) -> Result<(ArrayD<E>, Saved)> {
        let y = self.forward(x.view())?;
        Ok((y, Saved::new(if x.is_standard_layout() { x } else { x.as_standard_layout().into_owned() })))
    }

    // dx[n,d] = Σ_f dy[n,f] · w[d,f]     dw[d,f] = Σ_n x[n,d] · dy[n,f]     db[f] = Σ_n dy[n,f]
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let weights = built("dense", &self.weights)?;
        let (d, f) = weights.weight.dim();
        let x = saved.take::<ArrayD<E>>("dense")?;
        expect_axes("dense", &x.view(), &[("D", Some(d))])?;
        let n = x.shape()[0];
        expect_gradient("dense", &dy, &[n, f])?;
        let dy = dy.as_standard_layout();
        let (mut dx, mut dw) = (ArrayD::zeros(vec![n, d]), ArrayD::zeros(vec![d, f]));
        let dys = Matrix::rows(entries(&dy), n, f);
        // dy [N, F] · wᵀ [F, D] → dx [N, D]
        gemm(dys, Matrix::rows(weights.w(), d, f).transposed(), entries_mut(&mut dx));
        // xᵀ [D, N] · dy [N, F] → dw [D, F]
        gemm(Matrix::rows(entries(&x), n, d).transposed(), dys, entries_mut(&mut dw));
        let mut params = vec![dw];
        if weights.bias.is_some() {
            let mut db = ArrayD::zeros(vec![f]);
            sum_rows(entries(&dy), entries_mut(&mut db));
            params.push(db);
        }
        Ok(Backward { dx, params, state: Vec::new() })
    }

    fn parameters(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        views(&self.weights)
    }

    fn parameters_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        views_mut(&mut self.weights)
    }

    fn config(&self) -> serde_json::Value {
        super::config_of(self)
    }

    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(self.clone())
    }
}
