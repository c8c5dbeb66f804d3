//! A convolution with what follows it, and the way back.

use super::{Kept, Pass, Way, numbers, sized, typed};
use crate::element::Element;
use crate::error::Result;
use crate::kernels::cpu::conv2d::{self, Conv2DShape};
use crate::kernels::cpu::pooled_gradient::{PooledGradient, backward_pooled};
use crate::kernels::cpu::reduce::{sum_rows, sum_won};
use crate::kernels::cpu::tail::Tail;
use crate::layers::{BatchNorm, Conv2D, Layer};
use crate::random::Key;

impl<E: Element> Pass<'_, E> {
    pub(super) fn conv2d(
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

    pub(super) fn conv2d_backward(&self, shape: &Conv2DShape, tail: &Tail, way: Way<'_, E>) -> Result<()> {
        let shape = Conv2DShape { batch: self.batch, ..*shape };
        let (w, _) = self.typed::<Conv2D<E>>().numbers()?;
        let [dw, db @ ..] = way.parameters else { unreachable!("a convolution has weights") };
        if !tail.tells_slope() {
            tail.activation.apply_slope(way.y, way.dy);
        }
        match (tail.pool, way.dx) {
            (Some(pool), dx) => {
                let gradient = PooledGradient { pool, dy: way.dy, argmax: &way.kept.winners[..way.dy.len()] };
                backward_pooled(&shape, way.x, w, gradient, numbers(dw), dx);
                db.iter_mut().for_each(|db| sum_won(gradient.dy, gradient.argmax, numbers(db)));
            }
            (None, dx) => {
                conv2d::weight_gradient(&shape, way.x, way.dy, numbers(dw));
                if let Some(dx) = dx {
                    conv2d::input_gradient(&shape, way.dy, w, dx);
                }
                db.iter_mut().for_each(|db| sum_rows(way.dy, numbers(db)));
            }
        }
        Ok(())
    }
}

/// The weights and biases of a convolution with those of the normalisation behind it in them.
#[derive(Debug)]
pub(in crate::plan) struct Folded<E> {
    pub weight: Vec<E>,
    pub bias: Vec<E>,
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
