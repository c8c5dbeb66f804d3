//! Inference through fused steps, over buffers that are allocated once; nothing is kept for a way back.

use super::cpu::{Folded, Pass};
use super::fuse::{Program, Purpose, Step, Value};
use super::memory::Memory;
use super::{Forward, grown, in_order};
use crate::element::Element;
use crate::error::Result;
use crate::layers::Chain;
use ndarray::ArrayViewD;
use std::mem::take;

/// Samples that go through the steps together: so many that weights are read seldom, so few that activations stay
/// small, whatever the size of the batch.
const TOGETHER: usize = 32;

/// The way forward through the first layers of a chain, for batches of any size.
///
/// It holds no weights, except that those of a normalisation are part of its convolution's: it is for the layers as
/// they were when it was made.
#[derive(Debug)]
pub(crate) struct InferencePlan<E: Element> {
    program: Program,
    memory: Memory,
    buffers: Vec<Vec<E>>,
    /// For each step.
    folded: Vec<Option<Folded<E>>>,
    /// A copy of an input that is not in standard layout.
    input: Vec<E>,
}

impl<E: Element> InferencePlan<E> {
    /// For the first `count` layers of a built chain.
    pub fn new(chain: &Chain<E>, count: usize, input: &[usize]) -> Result<Self> {
        let program = Program::new(chain, count, input, Purpose::Inference)?;
        let memory = Memory::new(&program, Purpose::Inference);
        let folded = program.nodes.iter().map(|node| match &node.step {
            Step::Conv2D { norm: Some(norm), .. } => Folded::new(node.place.of(chain), norm.of(chain)).map(Some),
            _ => Ok(None),
        });
        Ok(Self {
            folded: folded.collect::<Result<_>>()?,
            buffers: memory.sizes.iter().map(|_| Vec::new()).collect(),
            input: Vec::new(),
            program,
            memory,
        })
    }

    /// The names of the steps.
    #[cfg(test)]
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.program.nodes.iter().map(|node| node.name.as_str())
    }

    fn batches(&mut self, chain: &Chain<E>, x: &[E], count: usize, y: &mut [E]) -> Result<()> {
        let [x_size, y_size] = [0, self.program.output].map(|value| self.program.size(value));
        for first in (0..count).step_by(TOGETHER) {
            let batch = TOGETHER.min(count - first);
            let x = &x[first * x_size..(first + batch) * x_size];
            (0..self.program.nodes.len()).try_for_each(|j| self.step(j, chain, batch, x))?;
            y[first * y_size..(first + batch) * y_size].copy_from_slice(self.value(self.program.output, batch, x));
        }
        Ok(())
    }

    fn step(&mut self, j: usize, chain: &Chain<E>, batch: usize, x: &[E]) -> Result<()> {
        let node = &self.program.nodes[j];
        let out = self.memory.value(node.output).expect("every step writes a buffer");
        let mut buffer = take(&mut self.buffers[out]);
        let y = &mut buffer[..batch * self.program.size(node.output)];
        let other = node.step.other().map_or(&[][..], |other| self.value(other, batch, x));
        let pass = Pass { node, chain, batch };
        let result = pass.forward(self.value(node.input, batch, x), other, self.folded[j].as_ref(), y, None);
        self.buffers[out] = buffer;
        result
    }

    fn value<'a>(&'a self, value: Value, batch: usize, x: &'a [E]) -> &'a [E] {
        match self.memory.value(value) {
            Some(buffer) => &self.buffers[buffer][..batch * self.program.size(value)],
            None => x,
        }
    }
}

impl<E: Element> Forward<E> for InferencePlan<E> {
    fn output(&self) -> &[usize] {
        &self.program.values[self.program.output]
    }

    fn run(&mut self, chain: &Chain<E>, x: &ArrayViewD<'_, E>, y: &mut [E]) -> Result<()> {
        let batch = x.shape()[0].min(TOGETHER);
        let sizes = self.buffers.iter_mut().zip(&self.memory.sizes);
        sizes.into_iter().try_for_each(|(buffer, size)| grown(buffer, batch, *size))?;
        let mut copy = take(&mut self.input);
        let numbers = in_order(x, &mut copy);
        let result = self.batches(chain, numbers, x.shape()[0], y);
        self.input = copy;
        result
    }
}
