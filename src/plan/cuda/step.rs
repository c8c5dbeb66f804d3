//! One training step: all that it launches, from the samples to the gradients, and, in `moving`, to the new weights.

use super::album::Album;
use super::pass::{Draws, Pass, WEIGHTS, Way};
use super::tables::GROUP;
use super::training::CudaTraining;
use crate::error::Result;
use crate::kernels::cuda::head::{self, Head};
use crate::kernels::cuda::loss::{LossKind, loss};
use crate::kernels::cuda::{Buffer, Span, activation, augment, batch_norm, update};
use crate::losses::Formula;
use crate::plan::fuse::{Node, Step, Value};
use crate::plan::memory::WRITTEN;

impl CudaTraining {
    /// Launches one step, from the samples to the new weights; those of the `waiting` steps move while their gradient is
    /// made.
    pub(super) fn step(&self, batch: usize, waiting: &[usize]) -> Result<()> {
        let (gpu, control) = (&*self.gpu, self.tables.control.span());
        if let Some(Album { bytes, shape: [h, w, c], fill, rescale }) = &self.pictures {
            let (rows, x) = (self.tables.rows.span().part(..GROUP * batch), self.value(0, batch));
            augment::augment(gpu, bytes.span(), rows, control, [batch, *h, *w, *c], *fill, *rescale, x)?;
        }
        let (count, head) = (self.program.nodes.len(), self.head(batch));
        (0..count - usize::from(head.is_some())).try_for_each(|j| self.forward(j, batch))?;
        self.loss(batch, head)?;
        (0..count).rev().try_for_each(|j| self.backward(j, batch, waiting.contains(&j)))?;
        self.update(batch, waiting)?;
        self.follow()?;
        update::advance(gpu, control)
    }

    /// The last step, where it is dense and so small that the loss does it.
    fn head(&self, batch: usize) -> Option<Head<'_>> {
        let (j, node) = self.program.nodes.iter().enumerate().next_back()?;
        let Step::Dense { inputs, units, activation } = node.step else { return None };
        let [w, bias] = self.tensors(j, &self.theta);
        let (x, w) = (self.value(node.input, batch), w.expect(WEIGHTS));
        head::is_small([batch, inputs, units]).then_some(Head { inputs, x, w, bias, activation })
    }

    fn loss(&self, batch: usize, head: Option<Head<'_>>) -> Result<()> {
        let output = self.program.output;
        let kind = match self.formula {
            Formula::Binary { from_logits: true } => LossKind::BinaryFromLogits,
            Formula::Binary { from_logits: false } => LossKind::Binary,
            Formula::Cross { from_logits: true } => LossKind::CrossFromLogits,
            Formula::Cross { from_logits: false } => LossKind::Cross,
            Formula::Squared => LossKind::MeanSquared,
        };
        let (shape, targets) = ([batch, self.program.size(output)], self.tables.targets(batch, self.threshold));
        let (z, dz) = (self.value(output, batch), self.gradient(output, batch).expect(WRITTEN));
        loss(&self.gpu, kind, shape, head, z, &targets, self.tables.control.span(), dz, self.tables.log.span())
    }

    /// Moves the statistics of all normalisations, unless the step was given up.
    fn follow(&self) -> Result<()> {
        let (gpu, control) = (&*self.gpu, self.tables.control.span());
        for (j, node) in self.program.nodes.iter().enumerate() {
            for (number, new) in node.state.clone().zip(&self.kept[j].statistics) {
                let moving = self.state.of(&self.moving, number);
                batch_norm::follow(gpu, control, moving, new.span(), self.settings[j].momentum)?;
            }
        }
        Ok(())
    }

    fn forward(&self, j: usize, batch: usize) -> Result<()> {
        let node = &self.program.nodes[j];
        let other = node.step.other().map_or(Span::none(), |other| self.value(other, batch));
        let numbers = [self.value(node.input, batch), other, self.value(node.output, batch)];
        self.pass(j, batch).forward(numbers, &self.kept[j], Some(self.draws(j)), [None; 2])
    }

    fn backward(&self, j: usize, batch: usize, waits: bool) -> Result<()> {
        let node = &self.program.nodes[j];
        let dy = self.gradient(node.output, batch).expect(WRITTEN);
        let len = batch * self.program.size(node.input);
        let share = self.memory.share(j).map(|buffer| self.arena.span(buffer, len));
        let [w, b] = self.tensors(j, &self.gradients);
        let way = Way {
            x: if node.step.needs_input() { self.value(node.input, batch) } else { Span::none() },
            y: if node.step.needs_output() { self.value(node.output, batch) } else { Span::none() },
            dy,
            dx: share.or(self.gradient(node.input, batch)),
            parameters: [w.filter(|_| !waits), b],
        };
        self.pass(j, batch).backward(way, &self.kept[j], self.draws(j))?;
        if let (Some(share), Some(dx)) = (share, self.gradient(node.input, batch)) {
            activation::add_into(&self.gpu, dx, share)?;
        }
        node.step.other().map_or(Ok(()), |other| self.give(j, other, dy, batch))
    }

    /// The other value of a sum gets the same gradient as the first.
    fn give(&self, j: usize, other: Value, dy: Span<'_, f32>, batch: usize) -> Result<()> {
        let Some(to) = self.gradient(other, batch) else { return Ok(()) };
        match self.program.begins_other(j, other) {
            true => activation::copy(&self.gpu, dy, to),
            false => activation::add_into(&self.gpu, to, dy),
        }
    }

    fn pass(&self, j: usize, batch: usize) -> Pass<'_> {
        Pass {
            gpu: &self.gpu,
            node: &self.program.nodes[j],
            batch,
            settings: self.settings[j],
            scratch: self.scratch.span(),
            parameters: self.tensors(j, &self.theta),
        }
    }

    /// The tensors of a step's layer in a buffer of all.
    fn tensors<'a>(&'a self, j: usize, buffer: &'a Buffer<f32>) -> [Option<Span<'a, f32>>; 2] {
        let mut numbers = self.program.nodes[j].parameters.clone();
        [(); 2].map(|()| numbers.next().map(|number| self.parameters.of(buffer, number)))
    }

    fn draws(&self, j: usize) -> Draws<'_> {
        let before = |node: &&Node| matches!(node.step, Step::Dropout(_));
        let number = self.program.nodes[..j].iter().filter(before).count();
        let (keys, control) = (self.tables.keys.span(), self.tables.control.span());
        Draws { keys, stride: self.dropouts.len(), number, control }
    }

    pub(super) fn value(&self, value: Value, batch: usize) -> Span<'_, f32> {
        let len = batch * self.program.size(value);
        match self.memory.value(value) {
            Some(buffer) => self.arena.span(buffer, len),
            None => self.x.span().part(..len),
        }
    }

    pub(super) fn gradient(&self, value: Value, batch: usize) -> Option<Span<'_, f32>> {
        self.memory.gradient(value).map(|buffer| self.arena.span(buffer, batch * self.program.size(value)))
    }
}
