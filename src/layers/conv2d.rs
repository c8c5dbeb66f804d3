//! y[n,i,j,f] = b[f] + Σ_{u,v,c} w[u,v,c,f] · x[n, i·s+u·d−p, j·s+v·d−p, c]
//! x [N,H,W,C]  w [KH,KW,C/groups,F]  b [F]  →  y [N,OH,OW,F]     (thesis 3.6, eq. 4–5; Dumoulin & Visin, arXiv:1603.07285)

use super::weights::{Weights, built, views, views_mut};
use super::{Backward, Layer, Saved, entries, entries_mut, expect_axes, expect_gradient, expect_shape};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernels::cpu::conv2d::{self, Conv2DShape};
use crate::kernels::cpu::reduce::sum_rows;
use crate::random::Key;
use crate::shape::{Padding, Pair, Window2D, volume};
use ndarray::{Array1, Array4, ArrayD, ArrayViewD, ArrayViewMutD, Ix4};
use serde::{Deserialize, Serialize};

/// A convolution: the same neurons over every window of the picture (thesis 3.6, equations 4 and 5).
///
/// Stride 1, no padding, no dilation, one group and biases, unless set otherwise. Weights start
/// Glorot-uniform and biases at zero, as in Keras.
///
/// ```
/// use tapetum::prelude::*;
/// // The mean of each 2×2 window of a picture [3, 3, 1].
/// let mean = Conv2D::from_weights(ndarray::Array::from_elem([2, 2, 1, 1], 0.25), None)?;
/// let x = ndarray::array![[0.0, 4.0, 8.0], [0.0, 4.0, 8.0], [0.0, 4.0, 8.0]];
/// let y = mean.forward(x.to_shape([1, 3, 3, 1]).unwrap().into_dyn().view())?;
/// assert_eq!(y, ndarray::array![[[[2.0], [6.0]], [[2.0], [6.0]]]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Conv2D<E = f32> {
    filters: usize,
    #[serde(flatten)]
    window: Window2D,
    groups: usize,
    use_bias: bool,
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    winograd: bool,
    /// w [KH, KW, C/groups, F], b [F]; none before `build`.
    #[serde(skip)]
    weights: Option<Weights<E, Ix4>>,
}

impl<E: Element> Conv2D<E> {
    /// A layer of `filters` filters with a window of `kernel` pixels.
    pub fn new(filters: usize, kernel: impl Into<Pair>) -> Self {
        Self { filters, window: Window2D::new(kernel), groups: 1, use_bias: true, winograd: true, weights: None }
    }

    /// A layer with given weights [KH, KW, C/groups, F] and biases `[F]`; `build` keeps them.
    ///
    /// # Errors
    /// Where there are no weights, or the biases are not one for each of the F filters.
    pub fn from_weights(weight: Array4<E>, bias: Option<Array1<E>>) -> Result<Self> {
        let (kh, kw, _, filters) = weight.dim();
        let weights = Weights::given("conv2d", weight, bias)?;
        Ok(Self { use_bias: weights.bias.is_some(), weights: Some(weights), ..Self::new(filters, (kh, kw)) })
    }

    /// Steps from one window to the next.
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        self.window.stride = stride.into().into();
        self
    }

    /// Zeros around the picture.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.window.padding = padding;
        self
    }

    /// Distance between neighbouring taps of the window.
    pub fn dilation(mut self, dilation: impl Into<Pair>) -> Self {
        self.window.dilation = dilation.into().into();
        self
    }

    /// Channels and filters in `groups` equal parts that do not see each other; as many groups as channels make a
    /// depthwise convolution.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// With biases (the default) or without.
    pub fn use_bias(mut self, yes: bool) -> Self {
        self.use_bias = yes;
        self.weights = None;
        self
    }

    /// Whether the CPU may compute a window of 3 × 3 neighbouring pixels by Winograd's algorithm (the default; Lavin and
    /// Gray, arXiv:1509.09308), or adds all products tap by tap: which takes longer, rounds otherwise, and keeps what is
    /// not finite from the other three outputs of its square of 2 × 2.
    pub fn winograd(mut self, yes: bool) -> Self {
        self.winograd = yes;
        self
    }

    /// w [KH, KW, C/groups, F]; none before `build`.
    pub fn weight(&self) -> Option<&Array4<E>> {
        self.weights.as_ref().map(|weights| &weights.weight)
    }

    /// b `[F]`; none before `build` and in a layer without biases.
    pub fn bias(&self) -> Option<&Array1<E>> {
        self.weights.as_ref()?.bias.as_ref()
    }

    /// The numbers of w and b.
    pub(crate) fn numbers(&self) -> Result<(&[E], Option<&[E]>)> {
        let weights = built("conv2d", &self.weights)?;
        Ok((weights.w(), weights.b()))
    }

    /// The same, to change them; none before `build`.
    pub(crate) fn numbers_mut(&mut self) -> Option<(&mut [E], Option<&mut [E]>)> {
        self.weights.as_mut().map(Weights::numbers_mut)
    }

    /// The axes of a sample, as far as they are known.
    fn axes(&self) -> [(&'static str, Option<usize>); 3] {
        [("H", None), ("W", None), ("C", self.weight().map(|w| w.dim().2.saturating_mul(self.groups)))]
    }

    /// The sizes for the pictures `x`.
    fn over(&self, x: &ArrayViewD<'_, E>) -> Result<Conv2DShape> {
        expect_axes("conv2d", x, &self.axes())?;
        self.shape([x.shape()[0], x.shape()[1], x.shape()[2], x.shape()[3]])
    }

    // dw[u,v,c,f] = Σ_{n,i,j} dy[n,i,j,f] · x[n, i·s+u·d−p, j·s+v·d−p, c]     db[f] = Σ_{n,i,j} dy[n,i,j,f]
    fn parameter_gradients(&self, x: &ArrayD<E>, dy: &ArrayViewD<'_, E>) -> Result<(Conv2DShape, Vec<ArrayD<E>>)> {
        let weights = built("conv2d", &self.weights)?;
        let shape = self.over(&x.view())?;
        expect_gradient("conv2d", dy, &output(&shape))?;
        let dy = dy.as_standard_layout();
        let mut dw = ArrayD::zeros(weights.weight.shape());
        conv2d::weight_gradient(&shape, entries(x), entries(&dy), entries_mut(&mut dw));
        let mut params = vec![dw];
        if weights.bias.is_some() {
            let mut db = ArrayD::zeros(vec![self.filters]);
            sum_rows(entries(&dy), entries_mut(&mut db));
            params.push(db);
        }
        Ok((shape, params))
    }

    /// The sizes for pictures [N, H, W, C]; all settings are checked here.
    pub(crate) fn shape(&self, [batch, h, w, c_in]: [usize; 4]) -> Result<Conv2DShape> {
        let (filters, groups) = (self.filters, self.groups);
        if filters == 0 {
            return Err(Error::argument("conv2d", "filters", "at least 1", filters));
        }
        if groups == 0 || c_in % groups != 0 || filters % groups != 0 {
            let expected = format!("a divisor of {c_in} channels and {filters} filters");
            return Err(Error::argument("conv2d", "groups", expected, groups));
        }
        if self.window.ceil_mode {
            return Err(Error::argument("conv2d", "ceil_mode", "false", true));
        }
        let geometry = self.window.over("conv2d", [h, w])?;
        volume("conv2d", &[batch, geometry.output[0], geometry.output[1], filters])?;
        Ok(Conv2DShape { batch, geometry, c_in, c_out: filters, groups, winograd: self.winograd })
    }
}

fn yes() -> bool {
    true
}

/// The shape of the output [N, OH, OW, F].
fn output(shape: &Conv2DShape) -> Vec<usize> {
    vec![shape.batch, shape.geometry.output[0], shape.geometry.output[1], shape.c_out]
}

impl<E: Element> Layer<E> for Conv2D<E> {
    fn kind(&self) -> &'static str {
        "Conv2D"
    }

    fn build(&mut self, input: &[usize], key: Key) -> Result<()> {
        self.weights.take_if(|weights| !weights.given);
        self.output_shape(input)?;
        if self.weights.is_none() {
            let [kh, kw] = self.window.kernel;
            let shape = Ix4(kh, kw, input[2] / self.groups, self.filters);
            self.weights = Some(Weights::drawn("conv2d", shape, self.use_bias, key)?);
        }
        Ok(())
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        expect_shape("conv2d", input, &self.axes())?;
        Ok(output(&self.shape([1, input[0], input[1], input[2]])?).split_off(1))
    }

    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        let weights = built("conv2d", &self.weights)?;
        let shape = self.over(&x)?;
        let mut y = ArrayD::zeros(output(&shape));
        let x = x.as_standard_layout();
        conv2d::forward(&shape, entries(&x), weights.w(), weights.b(), entries_mut(&mut y));
        Ok(y)
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, key: Key) -> Result<(ArrayD<E>, Saved)> {
        self.forward_train_owned(x.as_standard_layout().into_owned(), key)
    }

    fn forward_train_owned(&self, x: ArrayD<E>, _key: Key) -> Result<(ArrayD<E>, Saved)> {
        let y = self.forward(x.view())?;
        Ok((y, Saved::new(if x.is_standard_layout() { x } else { x.as_standard_layout().into_owned() })))
    }

    // dx[n,h,w,c] = Σ of w[u,v,c,f] · dy[n,i,j,f] over all f and all windows whose tap (u,v) met (h,w)
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let x = saved.take::<ArrayD<E>>("conv2d")?;
        let (shape, params) = self.parameter_gradients(&x, &dy)?;
        let mut dx = ArrayD::zeros(x.raw_dim());
        let weights = built("conv2d", &self.weights)?;
        conv2d::input_gradient(&shape, entries(&dy.as_standard_layout()), weights.w(), entries_mut(&mut dx));
        Ok(Backward { dx, params, state: Vec::new() })
    }

    fn backward_first(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let (_, params) = self.parameter_gradients(&saved.take::<ArrayD<E>>("conv2d")?, &dy)?;
        Ok(Backward { dx: ArrayD::zeros(vec![0]), params, state: Vec::new() })
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

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;
    use ndarray::{Array, array};

    fn picture(shape: [usize; 4]) -> ArrayD<f64> {
        let mut random = Key::new(3).stream();
        Array::from_shape_simple_fn(shape, || random.normal()).into_dyn()
    }

    /// The equation at the top of this file, one sum for each entry.
    fn by_the_equation(layer: &Conv2D<f64>, x: &ArrayD<f64>) -> ArrayD<f64> {
        let (w, b) = (layer.weight().unwrap(), layer.bias().unwrap());
        let shape = layer.over(&x.view()).unwrap();
        let (per_group, filters_per_group) = (w.dim().2, w.dim().3 / layer.groups);
        ArrayD::from_shape_fn(output(&shape), |at| {
            let (n, i, j, f) = (at[0], at[1], at[2], at[3]);
            let term = |((u, v, c, _), w): ((usize, usize, usize, usize), &f64)| {
                let (h, w_) = (shape.geometry.meets(0, i, u)?, shape.geometry.meets(1, j, v)?);
                Some(w * x[[n, h, w_, f / filters_per_group * per_group + c]])
            };
            b[f] + w.indexed_iter().filter(|((.., filter), _)| *filter == f).filter_map(term).sum::<f64>()
        })
    }

    // By Winograd's algorithm the other outputs of a square would have it, too.
    #[test]
    fn tap_by_tap_an_infinite_number_stays_where_it_is_met() {
        let mut layer = Conv2D::<f32>::new(32, 3).winograd(false);
        layer.build(&[18, 18, 16], Key::new(1)).unwrap();
        let mut x = ArrayD::ones(vec![1, 18, 18, 16]);
        x[[0, 2, 3, 0]] = f32::INFINITY;
        for ((_, i, j, _), y) in layer.forward(x.view()).unwrap().into_dimensionality::<Ix4>().unwrap().indexed_iter() {
            assert_eq!(y.is_finite(), !(i <= 2 && (1..=3).contains(&j)), "{i} {j}");
        }
    }

    #[test]
    fn is_the_equation_for_every_setting() {
        let layers = [
            Conv2D::new(4, 3),
            Conv2D::new(4, (2, 3)).stride((2, 1)).padding(Padding::Same),
            Conv2D::new(2, 3).dilation((1, 2)).padding(Padding::Explicit { top: 2, bottom: 0, left: 1, right: 1 }),
            Conv2D::new(6, (3, 1)).groups(2).stride(3),
            Conv2D::new(8, 2).groups(4),
        ];
        for mut layer in layers {
            layer.build(&[7, 6, 4], Key::new(1)).unwrap();
            layer.parameters_mut()[1].1.iter_mut().enumerate().for_each(|(f, b)| *b = f as f64);
            let x = picture([2, 7, 6, 4]);
            let (y, expected) = (layer.forward(x.view()).unwrap(), by_the_equation(&layer, &x));
            assert_eq!(y.shape(), expected.shape());
            assert_abs_diff_eq!(entries(&y), entries(&expected), epsilon = 1e-12);
        }
    }

    #[test]
    fn gradients_by_hand() {
        // y = w₀·x₀ + w₁·x₁ + b, w₀·x₁ + w₁·x₂ + b
        let layer = Conv2D::from_weights(array![[[[2.0]], [[3.0]]]], Some(array![1.0])).unwrap();
        let x = array![[[[1.0], [4.0], [5.0]]]].into_dyn();
        let (y, saved) = layer.forward_train(x.view(), Key::new(0)).unwrap();
        assert_eq!(y, array![[[[15.0], [24.0]]]].into_dyn());
        let back = layer.backward(saved, array![[[[1.0], [10.0]]]].into_dyn().view()).unwrap();
        assert_eq!(back.dx, array![[[[2.0], [23.0], [30.0]]]].into_dyn());
        assert_eq!(back.params, [array![[[[41.0]], [[54.0]]]].into_dyn(), array![11.0].into_dyn()]);
    }

    #[test]
    fn an_empty_batch_passes() {
        let mut layer = Conv2D::<f64>::new(5, 3);
        layer.build(&[6, 6, 2], Key::new(1)).unwrap();
        let (y, saved) = layer.forward_train(picture([0, 6, 6, 2]).view(), Key::new(0)).unwrap();
        assert_eq!(y.shape(), [0, 4, 4, 5]);
        let back = layer.backward(saved, y.view()).unwrap();
        assert!(back.dx.shape() == [0, 6, 6, 2] && back.params.iter().flatten().all(|&g| g == 0.0));
    }

    #[test]
    fn given_weights_outlive_build_and_drawn_ones_do_not() {
        let mut given = Conv2D::from_weights(Array4::from_elem([3, 3, 2, 1], 7.0), None).unwrap();
        given.build(&[5, 5, 2], Key::new(1)).unwrap();
        assert!(given.weight().unwrap().iter().all(|&w| w == 7.0));
        assert!(given.build(&[5, 5, 3], Key::new(1)).is_err());

        let mut drawn = Conv2D::<f64>::new(2, 3);
        drawn.build(&[5, 5, 2], Key::new(1)).unwrap();
        drawn.build(&[5, 5, 3], Key::new(1)).unwrap();
        assert_eq!(drawn.weight().unwrap().shape(), [3, 3, 3, 2]);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let message =
            |layer: Conv2D<f64>, input: &[usize]| layer.clone().build(input, Key::new(0)).unwrap_err().to_string();
        assert_eq!(message(Conv2D::new(8, 3), &[28, 28]), "conv2d: expected input [H, W, C], got [28, 28]");
        let groups = "conv2d: groups must be a divisor of 3 channels and 8 filters, got 2";
        assert_eq!(message(Conv2D::new(8, 3).groups(2), &[9, 9, 3]), groups);
        assert!(message(Conv2D::new(usize::MAX, 3), &[9, 9, 3]).contains("fits in memory"));
        let layer = Conv2D::from_weights(Array4::<f64>::zeros([3, 3, 3, 8]), None).unwrap();
        let error = layer.forward(picture([1, 9, 9, 1]).view()).unwrap_err();
        assert_eq!(error.to_string(), "conv2d: expected input [N, H, W, 3], got [1, 9, 9, 1]");
        assert!(Conv2D::<f64>::new(8, 3).forward(picture([1, 9, 9, 1]).view()).is_err());
    }
}
