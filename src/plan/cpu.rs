//! The passes of each step on the CPU, from slices to slices.

use super::fuse::{Node, Step};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernels::cpu::activation::Activation;
use crate::kernels::cpu::batch_norm;
use crate::kernels::cpu::batch_norm_gradient::Gradient;
use crate::kernels::cpu::conv2d::{self, Conv2DShape};
use crate::kernels::cpu::dropout::dropout;
use crate::kernels::cpu::gemm::{Matrix, gemm};
use crate::kernels::cpu::pool2d::{self, Pool2DShape};
use crate::kernels::cpu::pooled_gradient::{PooledGradient, backward_pooled};
use crate::kernels::cpu::reduce::{add_row, sum_rows};
use crate::kernels::cpu::tail::Tail;
use crate::layers::{Backward, BatchNorm, Chain, Conv2D, Dense, Layer, Saved};
use crate::random::Key;
use ndarray::{ArrayD, ArrayViewD, Dim, IxDyn};
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

/// What a way back gives besides dx; all of it is overwritten.
pub(super) struct Gradients<'a, E: Element> {
    pub parameters: &'a mut [ArrayD<E>],
    /// The new values of the layer's state.
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
                y.iter_mut().zip(other).for_each(|(y, &other)| *y += other);
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

    /// dy, which is changed on the way, → dx, if it is wanted, and the gradients of the parameters. All are overwritten.
    /// x and y are those of the way forward, where `needs_input` and `needs_output` ask for them.
    pub fn backward(
        &self,
        x: &[E],
        y: &[E],
        dy: &mut [E],
        dx: Option<&mut [E]>,
        kept: &mut Kept<E>,
        gradients: Gradients<'_, E>,
    ) -> Result<()> {
        match &self.node.step {
            Step::Conv2D { shape, tail, .. } => {
                tail.activation.apply_slope(y, dy);
                self.conv2d_backward(shape, tail, x, dy, dx, kept, gradients.parameters)?;
            }
            Step::Dense { inputs, units, activation } => {
                activation.apply_slope(y, dy);
                self.dense_backward([*inputs, *units], x, dy, dx, gradients.parameters)?;
            }
            Step::Activation(activation) | Step::Add { activation, .. } => {
                activation.apply_slope(y, dy);
                dx.map(|dx| dx.copy_from_slice(dy));
            }
            Step::MaxPool2D(shape) => {
                dx.map(|dx| pool2d::max_backward(&self.over(shape), &kept.taps[..dy.len()], dy, dx));
            }
            Step::AveragePool2D { shape, count_pad } => {
                dx.map(|dx| pool2d::average_backward(&self.over(shape), *count_pad, dy, dx));
            }
            Step::BatchNorm { picture, tail } => {
                tail.activation.apply_slope(y, dy);
                self.batch_norm_backward(*picture, tail, x, dy, dx, kept, gradients)?;
            }
            Step::Dropout(rate) => {
                let key = kept.key.expect("the way forward kept it");
                dx.map(|dx| dropout(key, *rate, dy, dx));
            }
            Step::Own => self.own_backward(dy, dx, kept, gradients)?,
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

    fn conv2d(
        &self,
        shape: &Conv2DShape,
        tail: &Tail,
        x: &[E],
        folded: Option<&Folded<E>>,
        y: &mut [E],
        training: Option<(&mut Kept<E>, Key)>,
    ) -> Result<()> {
        let shape = Conv2DShape { batch: self.batch, ..*shape };
        let (w, b) = match folded {
            Some(Folded { weight, bias }) => (weight.as_slice(), Some(bias.as_slice())),
            None => self.typed::<Conv2D<E>>().numbers()?,
        };
        let winners = training.filter(|_| tail.pool.is_some());
        let winners = winners.map(|(kept, _)| sized(&mut kept.winners, y.len()));
        conv2d::forward_fused(&shape, x, w, b, tail, y, winners);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "all that a convolution's way back reads and writes")]
    fn conv2d_backward(
        &self,
        shape: &Conv2DShape,
        tail: &Tail,
        x: &[E],
        dy: &[E],
        dx: Option<&mut [E]>,
        kept: &Kept<E>,
        gradients: &mut [ArrayD<E>],
    ) -> Result<()> {
        let shape = Conv2DShape { batch: self.batch, ..*shape };
        let (w, _) = self.typed::<Conv2D<E>>().numbers()?;
        let [dw, db @ ..] = gradients else { unreachable!("a convolution has weights") };
        match tail.pool {
            Some(pool) => {
                let gradient = PooledGradient { pool, dy, argmax: &kept.winners[..dy.len()] };
                backward_pooled(&shape, x, w, gradient, numbers(dw), dx);
            }
            None => {
                conv2d::weight_gradient(&shape, x, dy, numbers(dw));
                dx.map(|dx| conv2d::input_gradient(&shape, dy, w, dx));
            }
        }
        db.iter_mut().for_each(|db| sum_rows(dy, numbers(db)));
        Ok(())
    }

    fn batch_norm(
        &self,
        picture: [usize; 3],
        tail: &Tail,
        x: &[E],
        y: &mut [E],
        training: Option<(&mut Kept<E>, Key)>,
    ) -> Result<()> {
        let layer = self.typed::<BatchNorm<E>>();
        let channels = layer.channels()?;
        let Some((kept, _)) = training else {
            let inverse_deviation = layer.inverse_deviation(&channels.moving_variance);
            channels.with(&channels.moving_mean, &inverse_deviation).forward(picture, x, *tail, y, None);
            return Ok(());
        };
        let [mean, variance, inverse_deviation] = kept.statistics.each_mut().map(|of| sized(of, picture[2]));
        match x.is_empty() {
            true => {
                mean.copy_from_slice(&channels.moving_mean);
                variance.copy_from_slice(&channels.moving_variance);
            }
            false => batch_norm::statistics(x, mean, variance),
        }
        batch_norm::inverse_deviation(variance, layer.epsilon, inverse_deviation);
        let winners = tail.pool.map(|_| sized(&mut kept.winners, y.len()));
        channels.with(mean, inverse_deviation).forward(picture, x, *tail, y, winners);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "all that a normalisation's way back reads and writes")]
    fn batch_norm_backward(
        &self,
        picture: [usize; 3],
        tail: &Tail,
        x: &[E],
        dy: &[E],
        dx: Option<&mut [E]>,
        kept: &Kept<E>,
        gradients: Gradients<'_, E>,
    ) -> Result<()> {
        let layer = self.typed::<BatchNorm<E>>();
        let channels = layer.channels()?;
        let [mean, variance, inverse_deviation] = &kept.statistics;
        let norm = channels.with(mean, inverse_deviation);
        let pool = tail.pool.map(|pool| (pool, &kept.winners[..dy.len()]));
        let gradient = Gradient { picture, x, dy, pool };
        let [dgamma, dbeta] = gradients.parameters else { unreachable!("a normalisation has two parameters") };
        let [dgamma, dbeta] = [numbers(dgamma), numbers(dbeta)];
        norm.parameter_gradients(&gradient, dgamma, dbeta);
        dx.map(|dx| norm.input_gradient(&gradient, [dgamma, dbeta], 0..self.batch, dx));
        let [moving_mean, moving_variance] = gradients.state else { unreachable!("and two moving statistics") };
        for (to, moving, new) in
            [(moving_mean, &channels.moving_mean, mean), (moving_variance, &channels.moving_variance, variance)]
        {
            let to = numbers(to);
            to.copy_from_slice(moving);
            batch_norm::follow(to, new, layer.momentum);
        }
        Ok(())
    }

    // x [N, D] · w [D, F] → y [N, F]
    fn dense(&self, [d, f]: [usize; 2], activation: Activation, x: &[E], y: &mut [E]) -> Result<()> {
        let (w, b) = self.typed::<Dense<E>>().numbers()?;
        gemm(Matrix::rows(x, self.batch, d), Matrix::rows(w, d, f), y);
        if let Some(b) = b {
            add_row(y, b);
        }
        activation.apply(y);
        Ok(())
    }

    fn dense_backward(
        &self,
        [d, f]: [usize; 2],
        x: &[E],
        dy: &[E],
        dx: Option<&mut [E]>,
        gradients: &mut [ArrayD<E>],
    ) -> Result<()> {
        let (w, _) = self.typed::<Dense<E>>().numbers()?;
        let [dw, db @ ..] = gradients else { unreachable!("a dense layer has weights") };
        let dys = Matrix::rows(dy, self.batch, f);
        // xᵀ [D, N] · dy [N, F] → dw [D, F]
        gemm(Matrix::rows(x, self.batch, d).transposed(), dys, numbers(dw));
        db.iter_mut().for_each(|db| sum_rows(dy, numbers(db)));
        // dy [N, F] · wᵀ [F, D] → dx [N, D]
        dx.map(|dx| gemm(dys, Matrix::rows(w, d, f).transposed(), dx));
        Ok(())
    }

    fn own(&self, x: &[E], y: &mut [E], training: Option<(&mut Kept<E>, Key)>) -> Result<()> {
        let x = view(x, self.batch, &self.node.shapes[0]);
        let found = match training {
            Some((kept, key)) => self.layer().forward_train(x, key).map(|(y, saved)| {
                kept.saved = Some(saved);
                y
            }),
            None => self.layer().forward(x),
        };
        let found = found.map_err(|error| self.named(error))?;
        self.expect("output", &found, &self.node.shapes[1])?;
        view_mut(y, self.batch, &self.node.shapes[1]).assign(&found);
        Ok(())
    }

    fn own_backward(
        &self,
        dy: &[E],
        dx: Option<&mut [E]>,
        kept: &mut Kept<E>,
        gradients: Gradients<'_, E>,
    ) -> Result<()> {
        let saved = kept.saved.take().expect("the way forward kept it");
        let dy = view(dy, self.batch, &self.node.shapes[1]);
        let back = match dx.is_some() {
            true => self.layer().backward(saved, dy),
            false => self.layer().backward_first(saved, dy),
        };
        let Backward { dx: found, params, state } = back.map_err(|error| self.named(error))?;
        if let Some(dx) = dx {
            self.expect("gradient of the input", &found, &self.node.shapes[0])?;
            view_mut(dx, self.batch, &self.node.shapes[0]).assign(&found);
        }
        for (what, found, to) in
            [("gradients", params, gradients.parameters), ("state tensors", state, gradients.state)]
        {
            if found.len() != to.len() || found.iter().zip(&*to).any(|(found, to)| found.shape() != to.shape()) {
                let shapes = |tensors: &[ArrayD<E>]| {
                    format!("{:?}", tensors.iter().map(|t| t.shape().to_vec()).collect::<Vec<_>>())
                };
                return Err(Error::argument(
                    &self.node.name,
                    "backward",
                    format!("{what} {}", shapes(to)),
                    shapes(&found),
                ));
            }
            to.iter_mut().zip(&found).for_each(|(to, found)| to.assign(found));
        }
        Ok(())
    }

    fn named(&self, error: Error) -> Error {
        error.of_layer(self.layer().kind(), &self.node.name)
    }

    /// A layer of a user's own may give anything.
    fn expect(&self, what: &str, found: &ArrayD<E>, sample: &[usize]) -> Result<()> {
        match found.shape().split_first() {
            Some((&batch, shape)) if batch == self.batch && shape == sample => Ok(()),
            _ => Err(Error::shape(&self.node.name, format!("{what} [{}, {sample:?}]", self.batch), found.shape())),
        }
    }
}

/// The weights and biases of a convolution with those of the normalisation behind it in them.
#[derive(Debug)]
pub(super) struct Folded<E> {
    pub weight: Vec<E>,
    pub bias: Vec<E>,
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

pub(super) fn view_mut<'a, E>(numbers: &'a mut [E], batch: usize, sample: &[usize]) -> ndarray::ArrayViewMutD<'a, E> {
    ndarray::ArrayViewMutD::from_shape(dims(batch, sample), numbers).expect("a number for each entry")
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

impl<E: Element> Folded<E> {
    // γ·r·(x⋆w + b − μ) + β = x⋆(w·s) + (b − μ)·s + β with s = γ·r
    pub fn new(conv: &dyn Layer<E>, norm: &dyn Layer<E>) -> Result<Self> {
        let (w, b) = typed::<Conv2D<E>, E>(conv).numbers()?;
        let norm = typed::<BatchNorm<E>, E>(norm);
        let of = norm.channels()?;
        let mut scale = norm.inverse_deviation(&of.moving_variance);
        scale.iter_mut().zip(&of.gamma).for_each(|(r, &gamma)| *r *= gamma);
        let filters = scale.len();
        let bias = |f: usize| (b.map_or(E::zero(), |b| b[f]) - of.moving_mean[f]) * scale[f] + of.beta[f];
        Ok(Self {
            weight: w.iter().enumerate().map(|(at, &w)| w * scale[at % filters]).collect(),
            bias: (0..filters).map(bias).collect(),
        })
    }
}
