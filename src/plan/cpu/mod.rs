//! The passes of each step on the CPU, from slices to slices: a file for each kind of step that is more than one line.

mod batch_norm;
mod conv2d;
mod dense;
mod own;

pub(in crate::plan) use conv2d::Folded;

use super::fuse::{Node, Step};
use crate::element::Element;
use crate::error::Result;
use crate::kernels::cpu::dropout::dropout;
use crate::kernels::cpu::pool2d::{self, Pool2DShape};
use crate::kernels::cpu::vector::add_into;
use crate::layers::{Chain, Layer, Saved};
use crate::random::Key;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, Dim, IxDyn};
use std::any::Any;

/// What a step keeps on its way forward for its way back.
#[derive(Debug)]
pub(super) struct Kept<E> {
    /// The winners of a max pooling that is part of the step.
    winners: Vec<u8>,
    /// The winners of a max pooling on its own.
    taps: Vec<u32>,
    /// The statistics of a normalisation: μ, σ² and 1/√(σ² + ε) of each channel.
    statistics: [Vec<E>; 3],
    /// Where random numbers came from.
    key: Option<Key>,
    /// Of a layer's own passes.
    saved: Option<Saved>,
}

impl<E> Default for Kept<E> {
    fn default() -> Self {
        Self { winners: Vec::new(), taps: Vec::new(), statistics: Default::default(), key: None, saved: None }
    }
}

/// A step of the layers of a chain, for a batch.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a, E: Element> {
    pub node: &'a Node,
    pub chain: &'a Chain<E>,
    pub batch: usize,
}

/// The way back of a step.
pub(super) struct Way<'a, E: Element> {
    /// The step's input, where `needs_input` asks for it.
    pub x: &'a [E],
    /// The step's output, where `needs_output` asks for it.
    pub y: &'a [E],
    pub kept: &'a mut Kept<E>,
    /// Is changed on the way.
    pub dy: &'a mut [E],
    /// Overwritten, if it is wanted.
    pub dx: Option<&'a mut [E]>,
    /// The gradients of the layer's parameters; overwritten.
    pub parameters: &'a mut [ArrayD<E>],
    /// Whether that of the weights may be left out for now, see `Step::may_wait`; and then, whether it was.
    pub waits: &'a mut bool,
    /// The new values of the layer's state; overwritten.
    pub state: &'a mut [ArrayD<E>],
}

impl<'a, E: Element> Pass<'a, E> {
    /// x, and the value `other` of a sum → y. In training with what the way back needs, and a key for random numbers.
    pub fn forward(
        &self,
        x: &[E],
        other: &[E],
        folded: Option<&Folded<E>>,
        y: &mut [E],
        training: Option<(&mut Kept<E>, Key)>,
    ) -> Result<()> {
        match &self.node.step {
            Step::Conv2D { shape, tail, .. } => self.conv2d(shape, tail, x, folded, y, training)?,
            Step::Dense { inputs, units, activation } => self.dense([*inputs, *units], *activation, x, y)?,
            Step::Activation(activation) => {
                y.copy_from_slice(x);
                activation.apply(y);
            }
            Step::Add { activation, .. } => {
                y.copy_from_slice(x);
                add_into(y, other);
                activation.apply(y);
            }
            Step::MaxPool2D(shape) => {
                let taps = training.map(|(kept, _)| sized(&mut kept.taps, y.len()));
                pool2d::max_forward(&self.over(shape), x, y, taps);
            }
            Step::AveragePool2D { shape, count_pad } => pool2d::average_forward(&self.over(shape), *count_pad, x, y),
            Step::BatchNorm { picture, tail } => self.batch_norm(*picture, tail, x, y, training)?,
            Step::Dropout(rate) => {
                let (kept, key) = training.expect("in inference a Dropout is no step");
                kept.key = Some(key);
                dropout(key, *rate, x, y);
            }
            Step::Own => self.own(x, y, training)?,
        }
        Ok(())
    }

    /// dy → dx and the gradients of the parameters.
    pub fn backward(&self, way: Way<'_, E>) -> Result<()> {
        match &self.node.step {
            Step::Conv2D { shape, tail, .. } => return self.conv2d_backward(shape, tail, way),
            Step::Dense { inputs, units, activation } => {
                return self.dense_backward([*inputs, *units], *activation, way);
            }
            Step::BatchNorm { picture, tail } => return self.batch_norm_backward(*picture, tail, way),
            Step::Own => return self.own_backward(way),
            Step::Activation(activation) | Step::Add { activation, .. } => activation.apply_slope(way.y, way.dy),
            Step::MaxPool2D(_) | Step::AveragePool2D { .. } | Step::Dropout(_) => {}
        }
        let Some(dx) = way.dx else { return Ok(()) };
        match &self.node.step {
            Step::MaxPool2D(shape) => {
                pool2d::max_backward(&self.over(shape), &way.kept.taps[..way.dy.len()], way.dy, dx);
            }
            Step::AveragePool2D { shape, count_pad } => {
                pool2d::average_backward(&self.over(shape), *count_pad, way.dy, dx);
            }
            Step::Dropout(rate) => dropout(way.kept.key.expect("the way forward kept it"), *rate, way.dy, dx),
            _ => dx.copy_from_slice(way.dy),
        }
        Ok(())
    }

    fn layer(&self) -> &'a dyn Layer<E> {
        self.node.place.of(self.chain)
    }

    fn typed<T: Layer<E>>(&self) -> &'a T {
        typed(self.layer())
    }

    fn over(&self, shape: &Pool2DShape) -> Pool2DShape {
        Pool2DShape { batch: self.batch, ..*shape }
    }
}

fn typed<T: Layer<E>, E: Element>(layer: &dyn Layer<E>) -> &T {
    let any: &dyn Any = layer;
    any.downcast_ref().expect("the plan was made for this layer")
}

/// The first `len` numbers of a buffer that is made larger where it has to be.
fn sized<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
    &mut buffer[..len]
}

fn numbers<E>(array: &mut ArrayD<E>) -> &mut [E] {
    array.as_slice_mut().expect("gradients are in standard layout")
}

pub(super) fn view<'a, E>(numbers: &'a [E], batch: usize, sample: &[usize]) -> ArrayViewD<'a, E> {
    ArrayViewD::from_shape(dims(batch, sample), numbers).expect("a number for each entry")
}

pub(super) fn view_mut<'a, E>(numbers: &'a mut [E], batch: usize, sample: &[usize]) -> ArrayViewMutD<'a, E> {
    ArrayViewMutD::from_shape(dims(batch, sample), numbers).expect("a number for each entry")
}

/// [N, …], without allocating for up to four axes.
fn dims(batch: usize, sample: &[usize]) -> IxDyn {
    match *sample {
        [] => IxDyn(&[batch]),
        [a] => IxDyn(&[batch, a]),
        [a, b] => IxDyn(&[batch, a, b]),
        [a, b, c] => IxDyn(&[batch, a, b, c]),
        _ => Dim([&[batch], sample].concat()),
    }
}
