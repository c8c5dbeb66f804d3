//! Optimizers: one file each, the update rule above its code.

use crate::element::Element;
use crate::error::Result;
use ndarray::{ArrayD, ArrayViewMutD};
use std::any::Any;
use std::fmt::Debug;

/// A rule that moves parameters against their gradients.
///
/// An optimizer keeps its moments from step to step, one tensor for each parameter, in the order in which
/// the parameters are given; the order must stay the same.
pub trait Optimizer<E: Element>: Any + Debug + Send {
    /// The rule's name, as in `Adam`.
    fn kind(&self) -> &'static str;

    /// One update of `parameters`, as named by [`Layer::parameters_mut`](crate::layers::Layer::parameters_mut), by
    /// `gradients` in the same order.
    ///
    /// # Errors
    /// Where number or shapes do not fit each other or the steps before; nothing is changed then.
    fn step(&mut self, parameters: Vec<(String, ArrayViewMutD<'_, E>)>, gradients: &[ArrayD<E>]) -> Result<()>;

    /// Steps done.
    fn steps(&self) -> u64;

    /// The learning rate of the next step.
    fn learning_rate(&self) -> f64;

    /// The moments, by name, as in `conv2d_1.weight.m`. With `steps` all that is needed to go on.
    fn state(&self) -> Vec<(String, ArrayD<E>)>;

    /// Takes over what [`state`](Self::state) and [`steps`](Self::steps) of an earlier optimizer gave.
    fn restore(&mut self, steps: u64, state: Vec<(String, ArrayD<E>)>) -> Result<()>;

    /// The settings, as they are written into a checkpoint.
    fn config(&self) -> serde_json::Value;
}
