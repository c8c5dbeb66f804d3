//! The end of a step: one look at all gradients, and then the weights move, some of them while their gradient is made.

use super::training::CudaTraining;
use crate::error::Result;
use crate::kernels::cuda::reduce::{self, Gradients};
use crate::kernels::cuda::update::{self, Moving};
use crate::kernels::cuda::{Buffer, Span, gemm};
use crate::plan::fuse::{Program, Step};
use crate::plan::memory::WRITTEN;
use std::cmp::Reverse;

/// The steps whose weights may move while their gradient is made, those with the most weights first. Their number is that
/// of the products that one look at all gradients takes.
pub(super) fn may_wait(program: &Program) -> Vec<usize> {
    let mut steps: Vec<_> = (0..program.nodes.len()).filter(|&j| program.nodes[j].step.may_wait()).collect();
    steps.sort_by_key(|&j| Reverse(program.nodes[j].step.products()));
    steps.truncate(reduce::PRODUCTS);
    steps
}

impl CudaTraining {
    /// The steps whose weights move while their gradient is made, for batches of this size: those that come before the
    /// first whose sums are cut, since what remains in the arena is to be one piece.
    pub(super) fn waiting(&self, batch: usize) -> &[usize] {
        let cut = self.may_wait.iter().position(|&j| !gemm::has_whole_gradients(self.sizes(j, batch)));
        &self.may_wait[..cut.unwrap_or(self.may_wait.len())]
    }

    /// Looks at all gradients. Unless the training is halted then, moves all weights.
    pub(super) fn update(&self, batch: usize, waiting: &[usize]) -> Result<()> {
        let (gpu, norm) = (&*self.gpu, self.norm.span());
        let before = waiting.last().map_or(0, |&j| self.parameters.end(self.weights_of(j)));
        let (written, factors) = (self.gradients.span().part(before..), |&j: &usize| self.factors(j, batch));
        let products: Vec<_> = waiting.iter().map(factors).collect();
        let gradients = Gradients { written, before, products: &products };
        reduce::check(gpu, &gradients, self.tables.control.span(), norm, self.scratch.span())?;
        let moving = self.moving();
        for (&j, [x, dy]) in waiting.iter().zip(products) {
            let weights = moving.part(self.parameters.place(self.weights_of(j)));
            gemm::weight_update(gpu, self.sizes(j, batch), x, dy, &weights)?;
        }
        update::apply(gpu, &moving.part(before..self.parameters.len), written, norm)
    }

    fn moving(&self) -> Moving<'_> {
        let moment = |index: usize| self.moments.get(index).map_or(Span::none(), |(_, buffer)| buffer.span());
        Moving {
            rule: self.rule,
            rows: self.tables.recipes.span(),
            control: self.tables.control.span(),
            theta: self.theta.span(),
            decayed: self.parameters.decayed,
            moments: [moment(0), moment(1)],
            average: self.average.as_ref().map_or(Span::none(), Buffer::span),
        }
    }

    /// x [N,D] and dy [N,F] of a dense layer's step.
    fn factors(&self, j: usize, batch: usize) -> [Span<'_, f32>; 2] {
        let node = &self.program.nodes[j];
        [self.value(node.input, batch), self.gradient(node.output, batch).expect(WRITTEN)]
    }

    /// N, D and F of a dense layer's step.
    fn sizes(&self, j: usize, batch: usize) -> [usize; 3] {
        match self.program.nodes[j].step {
            Step::Dense { inputs, units, .. } => [batch, inputs, units],
            _ => unreachable!("only dense layers may wait"),
        }
    }

    /// The number of the weights of a step.
    fn weights_of(&self, j: usize) -> usize {
        self.program.nodes[j].parameters.start
    }
}
