//! The passes of each step on a GPU: what `plan/cpu` does, as launches.

use crate::error::Result;
use crate::kernels::cpu::activation::Activation;
use crate::kernels::cpu::conv2d::Conv2DShape;
use crate::kernels::cpu::pool2d::Pool2DShape;
use crate::kernels::cpu::tail::Tail;
use crate::kernels::cuda::batch_norm::{self, Norm};
use crate::kernels::cuda::conv2d_gradient::{self, Gradient};
use crate::kernels::cuda::{Buffer, Gpu, Span, activation, conv2d, dropout, gemm, pool2d, reduce};
use crate::layers::{BatchNorm, Chain};
use crate::plan::fuse::{Node, Program, Step};
use std::any::Any;

type Numbers<'a> = Span<'a, f32>;

/// What a step keeps on its way forward for its way back.
#[derive(Debug)]
pub(super) struct Kept {
    winners: Buffer<u8>,
    taps: Buffer<u32>,
    /// μ, σ² and 1/√(σ² + ε) of each channel.
    pub statistics: [Buffer<f32>; 3],
}

impl Kept {
    pub fn new(gpu: &Gpu, node: &Node, batch: usize) -> Result<Self> {
        let outputs = batch * node.shapes[1].iter().product::<usize>();
        let (mut winners, mut taps, mut channels) = (0, 0, 0);
        match &node.step {
            Step::Conv2D { tail, .. } => winners = if tail.pool.is_some() { outputs } else { 0 },
            Step::BatchNorm { picture, tail } => {
                winners = if tail.pool.is_some() { outputs } else { 0 };
                channels = picture[2];
            }
            Step::MaxPool2D(_) => taps = outputs,
            _ => {}
        }
        let statistics = [Buffer::zeros(gpu, channels)?, Buffer::zeros(gpu, channels)?, Buffer::zeros(gpu, channels)?];
        Ok(Self { winners: Buffer::zeros(gpu, winners)?, taps: Buffer::zeros(gpu, taps)?, statistics })
    }
}

/// The settings of a normalisation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Settings {
    pub epsilon: f64,
    pub momentum: f64,
}

impl Settings {
    /// Those of the step's layer, where it is a normalisation.
    pub fn of(node: &Node, chain: &Chain<f32>) -> Self {
        if !matches!(node.step, Step::BatchNorm { .. }) {
            return Self::default();
        }
        let any: &dyn Any = node.place.of(chain);
        let norm = any.downcast_ref::<BatchNorm<f32>>().expect("the plan was made for this layer");
        Self { epsilon: norm.epsilon, momentum: norm.momentum }
    }
}

/// Where a Dropout's random numbers come from: its key among those of the device's step.
#[derive(Clone, Copy)]
pub(super) struct Draws<'a> {
    pub keys: Span<'a, u64>,
    /// Keys of one step.
    pub stride: usize,
    pub number: usize,
    pub control: Span<'a, u32>,
}

/// One step, for a batch.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub gpu: &'a Gpu,
    pub node: &'a Node,
    pub batch: usize,
    pub settings: Settings,
    pub scratch: Numbers<'a>,
    /// The layer's parameters: up to two.
    pub parameters: [Option<Numbers<'a>>; 2],
}

/// The way back of a step; as in `plan/cpu`.
pub(super) struct Way<'a> {
    pub x: Numbers<'a>,
    pub y: Numbers<'a>,
    pub dy: Numbers<'a>,
    pub dx: Option<Numbers<'a>>,
    /// The gradients of the layer's parameters; that of the weights of a dense layer may be left out.
    pub parameters: [Option<Numbers<'a>>; 2],
}

impl<'a> Pass<'a> {
    /// x, and the value `other` of a sum → y. In training with what the way back needs, and where random numbers come
    /// from; in inference a normalisation's `moving` statistics are μ and σ².
    pub fn forward(
        &self,
        [x, other, y]: [Numbers<'a>; 3],
        kept: &'a Kept,
        draws: Option<Draws<'a>>,
        moving: [Option<Numbers<'a>>; 2],
    ) -> Result<()> {
        let gpu = self.gpu;
        match &self.node.step {
            Step::Conv2D { shape, tail, .. } => {
                let winners = (draws.is_some() && tail.pool.is_some()).then(|| kept.winners.span().part(..y.len()));
                let (w, b) = self.weights();
                conv2d::forward(gpu, &self.convolution(shape), x, w, b, tail, y, winners, self.scratch)
            }
            Step::Dense { inputs, units, activation } => {
                let (w, b) = self.weights();
                gemm::forward(gpu, [self.batch, *inputs, *units], x, w, b, *activation, y, self.scratch)
            }
            Step::BatchNorm { picture, tail } => self.batch_norm(*picture, tail, [x, y], kept, draws.is_some(), moving),
            Step::Activation(activation) => activation::apply(gpu, *activation, x, y),
            Step::Add { activation, .. } => activation::add(gpu, x, other, *activation, y),
            Step::MaxPool2D(shape) => {
                let taps = draws.is_some().then(|| kept.taps.span().part(..y.len()));
                pool2d::max_forward(gpu, &self.pooling(shape), x, y, taps)
            }
            Step::AveragePool2D { shape, count_pad } => {
                pool2d::average_forward(gpu, &self.pooling(shape), *count_pad, x, y)
            }
            Step::Dropout(rate) => self.dropout(*rate, draws, x, y),
            Step::Own => unreachable!("refused when the plan was made"),
        }
    }

    fn batch_norm(
        &self,
        [h, w, c]: [usize; 3],
        tail: &Tail,
        [x, y]: [Numbers<'a>; 2],
        kept: &'a Kept,
        training: bool,
        moving: [Option<Numbers<'a>>; 2],
    ) -> Result<()> {
        let [mean, variance, inverse_deviation] = kept.statistics.each_ref().map(Buffer::span);
        let (mean, variance) = match (training, moving) {
            (false, [Some(mean), Some(variance)]) => (mean, variance),
            _ => {
                batch_norm::statistics(self.gpu, [self.batch * h * w, c], x, mean, variance, self.scratch)?;
                (mean, variance)
            }
        };
        batch_norm::inverse_deviation(self.gpu, variance, self.settings.epsilon, inverse_deviation)?;
        let winners = (training && tail.pool.is_some()).then(|| kept.winners.span().part(..y.len()));
        batch_norm::forward(self.gpu, [self.batch, h, w, c], x, &self.norm([mean, inverse_deviation]), tail, y, winners)
    }

    /// dy → dx and the gradients of the parameters. Changes dy.
    pub fn backward(&self, way: Way<'a>, kept: &'a Kept, draws: Draws<'a>) -> Result<()> {
        let gpu = self.gpu;
        match &self.node.step {
            Step::Conv2D { shape, tail, .. } => self.convolution_back(&self.convolution(shape), tail, way, kept),
            Step::Dense { inputs, units, activation } => {
                self.slope(*activation, &way)?;
                let (shape, [dw, db]) = ([self.batch, *inputs, *units], way.parameters);
                if let Some(dw) = dw {
                    gemm::weight_gradient(gpu, shape, way.x, way.dy, dw, self.scratch)?;
                }
                if let Some(db) = db {
                    reduce::sum_rows(gpu, [self.batch, *units], way.dy, db, self.scratch)?;
                }
                match way.dx {
                    Some(dx) => gemm::input_gradient(gpu, shape, way.dy, self.weights().0, dx, self.scratch),
                    None => Ok(()),
                }
            }
            Step::BatchNorm { picture, tail } => self.batch_norm_back(*picture, tail, way, kept),
            Step::Activation(activation) | Step::Add { activation, .. } => {
                self.slope(*activation, &way)?;
                way.dx.map_or(Ok(()), |dx| activation::copy(gpu, way.dy, dx))
            }
            step => {
                let Some(dx) = way.dx else { return Ok(()) };
                match step {
                    Step::MaxPool2D(shape) => {
                        let taps = kept.taps.span().part(..way.dy.len());
                        pool2d::max_backward(gpu, &self.pooling(shape), taps, way.dy, dx)
                    }
                    Step::AveragePool2D { shape, count_pad } => {
                        pool2d::average_backward(gpu, &self.pooling(shape), *count_pad, way.dy, dx)
                    }
                    Step::Dropout(rate) => self.dropout(*rate, Some(draws), way.dy, dx),
                    _ => unreachable!("refused when the plan was made"),
                }
            }
        }
    }

    fn convolution_back(&self, shape: &Conv2DShape, tail: &Tail, way: Way<'a>, kept: &'a Kept) -> Result<()> {
        let (gpu, scratch) = (self.gpu, self.scratch);
        if !tail.tells_slope() {
            self.slope(tail.activation, &way)?;
        }
        let pool = tail.pool.map(|pool| (pool, kept.winners.span().part(..way.dy.len())));
        let gradient = Gradient { dy: way.dy, pool };
        let [dw, db] = way.parameters;
        conv2d_gradient::weight(gpu, shape, &gradient, way.x, dw.expect(WEIGHTS), scratch)?;
        if let Some(db) = db {
            conv2d_gradient::bias(gpu, shape, &gradient, db, scratch)?;
        }
        match way.dx {
            Some(dx) => conv2d_gradient::input(gpu, shape, &gradient, self.weights().0, dx),
            None => Ok(()),
        }
    }

    fn batch_norm_back(&self, [h, w, c]: [usize; 3], tail: &Tail, way: Way<'a>, kept: &'a Kept) -> Result<()> {
        let gpu = self.gpu;
        if !tail.tells_slope() {
            self.slope(tail.activation, &way)?;
        }
        let [mean, _, inverse_deviation] = kept.statistics.each_ref().map(Buffer::span);
        let norm = self.norm([mean, inverse_deviation]);
        let pool = tail.pool.map(|pool| (pool, kept.winners.span().part(..way.dy.len())));
        let [dgamma, dbeta] = way.parameters.map(|gradient| gradient.expect("a normalisation has two parameters"));
        let shape = [self.batch, h, w, c];
        batch_norm::parameter_gradients(gpu, shape, way.x, &norm, way.dy, pool, dgamma, dbeta, self.scratch)?;
        match way.dx {
            Some(dx) => batch_norm::input_gradient(gpu, shape, way.x, &norm, way.dy, pool, dgamma, dbeta, dx),
            None => Ok(()),
        }
    }

    /// dy ← f′·dy
    fn slope(&self, activation: Activation, way: &Way<'a>) -> Result<()> {
        match activation {
            Activation::Linear => Ok(()),
            _ => activation::apply_slope(self.gpu, activation, way.y, way.dy),
        }
    }

    fn dropout(&self, rate: f64, draws: Option<Draws<'a>>, x: Numbers<'a>, y: Numbers<'a>) -> Result<()> {
        let Draws { keys, stride, number, control } = draws.expect("in inference a Dropout is no step");
        dropout::dropout(self.gpu, keys, stride, number, control, rate, x, y)
    }

    fn norm(&self, [mean, inverse_deviation]: [Numbers<'a>; 2]) -> Norm<'a> {
        let [gamma, beta] = self.parameters.map(|parameter| parameter.expect("a normalisation has two parameters"));
        Norm { mean, inverse_deviation, gamma, beta }
    }

    fn weights(&self) -> (Numbers<'a>, Option<Numbers<'a>>) {
        (self.parameters[0].expect(WEIGHTS), self.parameters[1])
    }

    fn convolution(&self, shape: &Conv2DShape) -> Conv2DShape {
        Conv2DShape { batch: self.batch, ..*shape }
    }

    fn pooling(&self, shape: &Pool2DShape) -> Pool2DShape {
        Pool2DShape { batch: self.batch, ..*shape }
    }
}

pub(super) const WEIGHTS: &str = "the layer has weights";

/// The scratch numbers that the steps of a program need for such a batch, at most.
pub(super) fn scratch(program: &Program, batch: usize) -> usize {
    let of = |node: &Node| match &node.step {
        Step::Conv2D { shape, tail, .. } => {
            let shape = Conv2DShape { batch, ..*shape };
            conv2d::scratch(&shape, tail).max(conv2d_gradient::scratch(&shape))
        }
        Step::Dense { inputs, units, .. } => {
            gemm::scratch([batch, *inputs, *units]).max(reduce::scratch([batch, *units]))
        }
        Step::BatchNorm { picture: [h, w, c], .. } => batch_norm::scratch([batch * h * w, *c]),
        _ => 0,
    };
    program.nodes.iter().map(of).max().unwrap_or(0)
}
