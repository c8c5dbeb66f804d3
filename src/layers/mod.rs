//! Layers: one file each, forward directly above backward.
//!
//! A layer is used alone or in a [`Sequential`](crate::Sequential). Its tensors are `ndarray` arrays
//! with the batch as first axis (the axis legend is N H W C); shapes without the batch axis are
//! written `[64, 64, 3]`. All methods are pure: what a training pass must keep travels in [`Saved`],
//! and what it changes comes back in [`Backward`].

mod average_pool2d;
mod batch_norm;
mod chain;
mod conv2d;
mod dense;
mod dropout;
mod elementwise;
mod flatten;
mod global_average_pool2d;
mod global_max_pool2d;
mod leaky_relu;
mod max_pool2d;
mod maxout;
mod pooling;
pub(crate) mod registry;
mod relu;
mod residual;
mod sigmoid;
mod softmax;
mod tanh;
mod weights;

pub use average_pool2d::AveragePool2D;
pub use batch_norm::BatchNorm;
pub use chain::Chain;
pub use conv2d::Conv2D;
pub use dense::Dense;
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use global_average_pool2d::GlobalAveragePool2D;
pub use global_max_pool2d::GlobalMaxPool2D;
pub use leaky_relu::LeakyReLU;
pub use max_pool2d::MaxPool2D;
pub use maxout::Maxout;
#[cfg(feature = "bundle")]
pub(crate) use registry::expect_built_in;
pub use registry::from_config;
pub use relu::ReLU;
pub use residual::Residual;
pub use sigmoid::Sigmoid;
pub use softmax::Softmax;
pub use tanh::Tanh;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::random::Key;
use ndarray::{ArrayBase, ArrayD, ArrayViewD, ArrayViewMutD, Data, Dimension};
use std::any::Any;
use std::fmt::Debug;

/// One step of a network, with its parameters.
///
/// Implement it for a layer of your own: the methods without a default, and `build`, `parameters` and
/// `parameters_mut` where it has weights. `inspect::check_layer` then checks its gradients.
///
/// ```
/// use ndarray::{ArrayD, ArrayViewD, array};
/// use tapetum::prelude::*;
///
/// /// y = x²
/// #[derive(Debug, Clone)]
/// struct Square;
/// impl Layer<f64> for Square {
///     fn kind(&self) -> &'static str {
///         "Square"
///     }
///     fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
///         Ok(input.to_vec())
///     }
///     fn forward(&self, x: ArrayViewD<'_, f64>) -> Result<ArrayD<f64>> {
///         Ok(x.mapv(|x| x * x))
///     }
///     fn forward_train(&self, x: ArrayViewD<'_, f64>, _key: Key) -> Result<(ArrayD<f64>, Saved)> {
///         Ok((self.forward(x.view())?, Saved::new(x.to_owned())))
///     }
///     fn backward(&self, saved: Saved, dy: ArrayViewD<'_, f64>) -> Result<Backward<f64>> {
///         let x: ArrayD<f64> = saved.take("square")?;
///         Ok(Backward::input_only(2.0 * x * dy))
///     }
///     fn clone_box(&self) -> Box<dyn Layer<f64>> {
///         Box::new(self.clone())
///     }
/// }
/// let model = SequentialBuilder::new([2]).add(Dense::new(3)).add(Square).build(1)?;
/// let x = array![[0.5, -1.0]].into_dyn();
/// let report = tapetum::inspect::check_layer(&model, x.view(), &Default::default())?;
/// assert!(report.error < 1e-6, "{report}");
/// # Ok::<(), Error>(())
/// ```
pub trait Layer<E: Element>: Any + Debug + Send + Sync {
    /// The layer's kind in the field's spelling, as in `Conv2D`.
    fn kind(&self) -> &'static str;

    /// Draws the parameters for inputs of this shape (without the batch axis); given ones stay.
    fn build(&mut self, input: &[usize], key: Key) -> Result<()> {
        let _ = (input, key);
        Ok(())
    }

    /// The output's shape for inputs of this shape, both without the batch axis.
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>>;

    /// Inference: `x` [N, …] → y [N, …].
    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>>;

    /// Training: as `forward`, with what `backward` needs. Random numbers come from `key` alone.
    fn forward_train(&self, x: ArrayViewD<'_, E>, key: Key) -> Result<(ArrayD<E>, Saved)>;

    /// The same for an `x` that nobody needs afterwards: a layer may keep it, or work in its memory.
    fn forward_train_owned(&self, x: ArrayD<E>, key: Key) -> Result<(ArrayD<E>, Saved)> {
        self.forward_train(x.view(), key)
    }

    /// From ∂L/∂y to ∂L/∂x and ∂L/∂parameters. `saved` is from this layer's `forward_train`.
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>>;

    /// The same for the first layer of a network, whose input nobody changes: `dx` may be left empty.
    fn backward_first(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        self.backward(saved, dy)
    }

    /// What is trained, by name, as in `weight`.
    fn parameters(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        Vec::new()
    }

    /// The same, to change it.
    fn parameters_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        Vec::new()
    }

    /// What training changes other than by gradients, by name, as in `moving_mean`.
    fn state(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        Vec::new()
    }

    /// The same, to change it.
    fn state_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        Vec::new()
    }

    /// The settings, as they are written into a model file.
    fn config(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// A copy, as `Clone` would make it.
    fn clone_box(&self) -> Box<dyn Layer<E>>;
}

impl<E: Element> Clone for Box<dyn Layer<E>> {
    fn clone(&self) -> Self {
        self.clone_box()
    }
}

/// What a layer keeps between `forward_train` and `backward`: a value of a type that only the layer knows.
///
/// ```
/// use tapetum::prelude::*;
/// assert_eq!(Saved::new(vec![1.0, 2.0]).take::<Vec<f64>>("mine")?, [1.0, 2.0]);
/// assert!(Saved::new(vec![1.0, 2.0]).take::<String>("mine").is_err());
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Saved(Box<dyn Any + Send + Sync>);

impl Saved {
    /// Keeps `value`.
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self(Box::new(value))
    }

    /// The value again; an error where another layer had kept it.
    pub fn take<T: Any + Send>(self, layer: &str) -> Result<T> {
        self.0
            .downcast()
            .map(|value| *value)
            .map_err(|_| Error::argument(layer, "saved", "what this layer's forward_train returned", "another layer's"))
    }
}

/// What a backward pass gives.
///
/// ```
/// use ndarray::array;
/// use tapetum::prelude::*;
/// let dense = Dense::from_weights(array![[3.0]], Some(array![0.5]))?; // y = 3x + ½
/// let (_, saved) = dense.forward_train(array![[2.0]].into_dyn().view(), Key::new(1))?;
/// let Backward { dx, params, .. } = dense.backward(saved, array![[1.0]].into_dyn().view())?;
/// assert_eq!(dx, array![[3.0]].into_dyn());
/// assert_eq!(params, [array![[2.0]].into_dyn(), array![1.0].into_dyn()]); // of the weight, x, and of the bias, 1
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Backward<E> {
    /// ∂L/∂x, of x's shape.
    pub dx: ArrayD<E>,
    /// ∂L/∂parameter, in the order of [`Layer::parameters`].
    pub params: Vec<ArrayD<E>>,
    /// The new values of [`Layer::state`], in its order; they take effect when the optimizer steps.
    pub state: Vec<ArrayD<E>>,
}

impl<E> Backward<E> {
    /// Of a layer without parameters.
    pub fn input_only(dx: ArrayD<E>) -> Self {
        Self { dx, params: Vec::new(), state: Vec::new() }
    }
}

/// Checks that `x` is [N, …] with the axes `expected` after N. `None` stands for any length.
pub(crate) fn expect_axes<E>(at: &str, x: &ArrayViewD<'_, E>, expected: &[(&str, Option<usize>)]) -> Result<()> {
    let fits = x.ndim() == expected.len() + 1
        && expected.iter().zip(&x.shape()[1..]).all(|((_, want), &got)| want.is_none_or(|want| want == got));
    if fits {
        return Ok(());
    }
    Err(Error::shape(at, format!("input [N, {}]", legend(expected)), x.shape()))
}

/// The same for a shape without the batch axis.
pub(crate) fn expect_shape(at: &str, shape: &[usize], expected: &[(&str, Option<usize>)]) -> Result<()> {
    let fits = shape.len() == expected.len()
        && expected.iter().zip(shape).all(|((_, want), &got)| want.is_none_or(|want| want == got));
    if fits {
        return Ok(());
    }
    Err(Error::shape(at, format!("input [{}]", legend(expected)), shape))
}

/// Checks that a gradient has the shape that the forward pass gave its output.
pub(crate) fn expect_gradient<E>(at: &str, dy: &ArrayViewD<'_, E>, output: &[usize]) -> Result<()> {
    if dy.shape() == output {
        return Ok(());
    }
    Err(Error::shape(at, format!("gradient {output:?}"), dy.shape()))
}

fn legend(axes: &[(&str, Option<usize>)]) -> String {
    let name = |(name, length): &(&str, Option<usize>)| length.map_or(name.to_string(), |length| length.to_string());
    axes.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// The entries of an array that is in standard layout.
fn entries<E, S: Data<Elem = E>, D: Dimension>(array: &ArrayBase<S, D>) -> &[E] {
    array.as_slice().expect("the array is in standard layout")
}

/// The same, to write them.
fn entries_mut<E>(array: &mut ArrayD<E>) -> &mut [E] {
    array.as_slice_mut().expect("the array is in standard layout")
}

/// The array in standard layout.
fn standard<E: Element>(array: ArrayD<E>) -> ArrayD<E> {
    if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() }
}

/// A layer's settings as JSON; parameters are marked `#[serde(skip)]`.
fn config_of(layer: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(layer).expect("settings are numbers, names and flags")
}
