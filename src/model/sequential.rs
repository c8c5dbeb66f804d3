//! Layers one after another, with shapes checked and parameters named.

use super::plans::Plans;
use super::{Classes, Summary};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::layers::{Backward, Chain, Layer, Saved};
use crate::random::Key;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};

/// A network: layers in sequence, built for one input shape.
///
/// `predict` and `forward` take `&self`, so that many threads can share one model.
///
/// ```
/// use tapetum::prelude::*;
/// let model = Sequential::builder([8, 8, 3]) // height, width, channels
///     .add(Conv2D::new(4, 3))
///     .add(ReLU)
///     .add(Flatten)
///     .add(Dense::new(1))
///     .add(Sigmoid)
///     .build(1)?;
/// let p = model.predict(ndarray::Array4::zeros([2, 8, 8, 3]).into_dyn().view())?;
/// assert_eq!(p.shape(), [2, 1]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sequential<E: Element = f32> {
    input: Vec<usize>,
    output: Vec<usize>,
    chain: Chain<E>,
    test_time_flip: bool,
    plans: Plans<E>,
}

/// Collects the layers of a [`Sequential`].
///
/// ```
/// use tapetum::prelude::*;
/// let builder = SequentialBuilder::<f64>::new([8, 8, 3]).add(Conv2D::new(4, 3)).add(ReLU);
/// assert_eq!(builder.clone().add(Flatten).add(Dense::new(1)).build(1)?.output_shape(), [1]);
/// let error = builder.add(Dense::new(1)).build(1).unwrap_err(); // without Flatten
/// assert_eq!(error.to_string(), "dense_1: expected input [D], got [6, 6, 4]");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SequentialBuilder<E: Element> {
    input: Vec<usize>,
    chain: Chain<E>,
}

impl Sequential<f32> {
    /// Begins a network of `f32` for inputs of this shape, without the batch axis: `[height, width, channels]`.
    pub fn builder(input: impl Into<Vec<usize>>) -> SequentialBuilder<f32> {
        SequentialBuilder::new(input)
    }
}

impl<E: Element> SequentialBuilder<E> {
    /// Begins a network of any element type: `SequentialBuilder::<f64>::new([8, 8, 3])`.
    pub fn new(input: impl Into<Vec<usize>>) -> Self {
        Self { input: input.into(), chain: Chain::default() }
    }

    /// Appends a layer.
    #[expect(clippy::should_implement_trait, reason = "Keras' word for it")]
    pub fn add(mut self, layer: impl Layer<E>) -> Self {
        self.chain.push(Box::new(layer));
        self
    }

    /// Checks every shape and draws the parameters; the same seed gives the same parameters.
    ///
    /// # Errors
    /// Names the first layer that does not fit, the shape it expects and the shape it would get.
    pub fn build(mut self, seed: u64) -> Result<Sequential<E>> {
        self.chain.build(&self.input, Key::new(seed).named("init"))?;
        Sequential::from_built(self.input, self.chain)
    }
}

impl<E: Element> Sequential<E> {
    /// A network of layers that have their parameters already.
    ///
    /// # Errors
    /// As [`SequentialBuilder::build`]; also where a layer has none.
    pub fn from_layers(input: impl Into<Vec<usize>>, layers: Vec<Box<dyn Layer<E>>>) -> Result<Self> {
        let mut chain = Chain::default();
        layers.into_iter().for_each(|layer| chain.push(layer));
        Self::from_built(input.into(), chain)
    }

    /// A network of layers without parameters, which `seed` draws.
    #[cfg(feature = "bundle")]
    pub(crate) fn from_unbuilt(input: Vec<usize>, layers: Vec<Box<dyn Layer<E>>>, seed: u64) -> Result<Self> {
        let mut builder = SequentialBuilder::new(input);
        layers.into_iter().for_each(|layer| builder.chain.push(layer));
        builder.build(seed)
    }

    fn from_built(input: Vec<usize>, chain: Chain<E>) -> Result<Self> {
        if input.is_empty() || input.contains(&0) {
            return Err(Error::shape("sequential", "an input shape without zeros, as in [64, 64, 3]", &input));
        }
        let output = chain.output_shape(&input)?;
        Ok(Self { input, output, chain, test_time_flip: false, plans: Plans::default() })
    }

    /// Whether predictions and evaluations show the network each picture twice, as it is and with left and right
    /// exchanged, and take the mean of both answers: of the logits, where the last layer is a Sigmoid or Softmax.
    /// A model file keeps it. `forward` shows pictures once.
    ///
    /// ```
    /// use ndarray::array;
    /// use tapetum::prelude::*;
    /// // It looks at the left one of two pixels only.
    /// let left = Dense::from_weights(array![[1.0], [0.0]], None)?;
    /// let model = Sequential::from_layers([1, 2, 1], vec![Box::new(Flatten), Box::new(left)])?.test_time_flip(true)?;
    /// let picture = array![[[[1.0], [5.0]]]].into_dyn(); // [N, height, width, channels]
    /// assert_eq!(model.predict(picture.view())?, array![[3.0]].into_dyn());
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Where inputs are not pictures [H, W, C].
    pub fn test_time_flip(mut self, yes: bool) -> Result<Self> {
        if yes && self.input.len() != 3 {
            return Err(Error::shape("sequential", "pictures [H, W, C] to flip at test time", &self.input));
        }
        self.test_time_flip = yes;
        self.plans.forget();
        Ok(self)
    }

    /// What [`test_time_flip`](Self::test_time_flip) was told.
    pub fn flips_at_test(&self) -> bool {
        self.test_time_flip
    }

    /// The shape of one input, without the batch axis.
    pub fn input_shape(&self) -> &[usize] {
        &self.input
    }

    /// The shape of one output, without the batch axis.
    pub fn output_shape(&self) -> &[usize] {
        &self.output
    }

    /// The layers with their names.
    pub fn layers(&self) -> impl DoubleEndedIterator<Item = (&str, &dyn Layer<E>)> + ExactSizeIterator {
        self.chain.layers()
    }

    /// Layers, output shapes and parameter counts, as a table.
    pub fn summary(&self) -> Summary {
        Summary::of(self)
    }

    /// How many numbers training changes by gradients.
    pub fn count_parameters(&self) -> usize {
        self.parameters().iter().map(|(_, view)| view.len()).sum()
    }

    /// Inference: x [N, …] → y [N, …], through fused steps.
    pub fn predict(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        self.expect_input(&x)?;
        let mut y = ArrayD::zeros([&x.shape()[..1], &self.output].concat());
        self.predict_into(x, y.view_mut())?;
        Ok(y)
    }

    /// The same into an array that is there already. From the second time on nothing is allocated, as long as both
    /// arrays are in standard layout and all layers are built in.
    ///
    /// ```
    /// use ndarray::array;
    /// use tapetum::prelude::*;
    /// let model = Sequential::from_layers([1], vec![Box::new(Dense::from_weights(array![[3.0]], None)?)])?;
    /// let mut y = array![[0.0], [0.0]].into_dyn();
    /// model.predict_into(array![[1.0], [2.0]].into_dyn().view(), y.view_mut())?;
    /// assert_eq!(y, array![[3.0], [6.0]].into_dyn());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn predict_into(&self, x: ArrayViewD<'_, E>, mut y: ArrayViewMutD<'_, E>) -> Result<()> {
        self.expect_input(&x)?;
        if y.ndim() != self.output.len() + 1 || y.shape()[0] != x.shape()[0] || y.shape()[1..] != self.output {
            return Err(Error::shape("sequential", format!("output [{}, {:?}]", x.shape()[0], self.output), y.shape()));
        }
        if let Some(y) = y.as_slice_mut() {
            return self.plans.run(self, &x, y);
        }
        y.assign(&self.predict(x)?);
        Ok(())
    }

    /// The class of each sample: the largest output, or, of a single output, whether it is above ½ (behind a
    /// Sigmoid) or above 0 (a logit).
    pub fn predict_classes(&self, x: ArrayViewD<'_, E>) -> Result<Vec<usize>> {
        Ok(Classes::new(self.predict(x)?.view(), self.threshold())?.iter().collect())
    }

    /// Where a single output turns from class 0 to class 1.
    pub(crate) fn threshold(&self) -> f64 {
        let sigmoid = self.layers().next_back().is_some_and(|(_, layer)| layer.kind() == "Sigmoid");
        if sigmoid { 0.5 } else { 0.0 }
    }

    /// The layers as a plan is made for them.
    pub(crate) fn chain(&self) -> &Chain<E> {
        &self.chain
    }

    /// The same, to change parameters and state.
    pub(crate) fn chain_mut(&mut self) -> &mut Chain<E> {
        self.plans.forget();
        &mut self.chain
    }

    /// The parameter or state tensor of this name, as in `conv2d_1.weight`.
    pub fn get(&self, name: &str) -> Result<ArrayViewD<'_, E>> {
        let mut views = self.parameters();
        views.extend(self.state());
        let known = || self.names();
        find(views, name).ok_or_else(|| unknown(name, known()))
    }

    /// Replaces the parameter or state tensor of this name.
    ///
    /// # Errors
    /// Where there is no such tensor, or it has another shape; nothing is changed then.
    pub fn set(&mut self, name: &str, values: ArrayViewD<'_, E>) -> Result<()> {
        let known = self.names();
        let chain = self.chain_mut();
        let known_parameter = chain.parameters().iter().any(|(parameter, _)| parameter == name);
        let views = if known_parameter { chain.parameters_mut() } else { chain.state_mut() };
        let target = find(views, name);
        let mut target = target.ok_or_else(|| unknown(name, known))?;
        if target.shape() != values.shape() {
            return Err(Error::shape(name, format!("{:?}", target.shape()), values.shape()));
        }
        target.assign(&values);
        Ok(())
    }

    /// Sets the state tensors, in their order, to what [`Backward::state`] holds.
    ///
    /// # Errors
    /// Where their number or a shape differs; nothing is changed then.
    pub fn set_state(&mut self, values: &[ArrayD<E>]) -> Result<()> {
        let mut state = self.chain_mut().state_mut();
        if state.len() != values.len() {
            return Err(Error::argument("sequential", "state", format!("{} tensors", state.len()), values.len()));
        }
        match state.iter().zip(values).find(|((_, view), values)| view.shape() != values.shape()) {
            Some(((name, view), values)) => Err(Error::shape(name, format!("{:?}", view.shape()), values.shape())),
            None => {
                state.iter_mut().zip(values).for_each(|((_, view), values)| view.assign(values));
                Ok(())
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let names = |views: Vec<(String, _)>| views.into_iter().map(|(name, _): (_, ArrayViewD<'_, E>)| name);
        names(self.parameters()).chain(names(self.state())).collect()
    }

    pub(crate) fn expect_input(&self, x: &ArrayViewD<'_, E>) -> Result<()> {
        if x.ndim() == self.input.len() + 1 && x.shape()[1..] == self.input {
            return Ok(());
        }
        let axes: Vec<String> = self.input.iter().map(usize::to_string).collect();
        Err(Error::shape("sequential", format!("input [N, {}]", axes.join(", ")), x.shape()))
    }
}

/// A network is itself a layer: it can be gradient-checked or be part of another one.
impl<E: Element> Layer<E> for Sequential<E> {
    fn kind(&self) -> &'static str {
        "Sequential"
    }

    fn build(&mut self, input: &[usize], key: Key) -> Result<()> {
        let mut chain = self.chain.clone();
        chain.build(input, key)?;
        *self = Self::from_built(input.to_vec(), chain)?.test_time_flip(self.test_time_flip)?;
        Ok(())
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.chain.output_shape(input)
    }

    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        self.expect_input(&x)?;
        self.chain.forward(x)
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, key: Key) -> Result<(ArrayD<E>, Saved)> {
        self.expect_input(&x)?;
        self.chain.forward_train(x, key)
    }

    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        self.chain.backward(saved, dy)
    }

    fn backward_first(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        self.chain.backward_first(saved, dy)
    }

    fn parameters(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        self.chain.parameters()
    }

    fn parameters_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        self.chain_mut().parameters_mut()
    }

    fn state(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        self.chain.state()
    }

    fn state_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        self.chain_mut().state_mut()
    }

    fn config(&self) -> serde_json::Value {
        serde_json::json!({ "input": self.input, "layers": self.chain.config() })
    }

    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(self.clone())
    }
}

fn find<V>(views: Vec<(String, V)>, name: &str) -> Option<V> {
    views.into_iter().find(|(other, _)| other == name).map(|(_, view)| view)
}

fn unknown(name: &str, known: Vec<String>) -> Error {
    Error::UnknownName { what: "parameter", name: name.to_string(), known }
}
