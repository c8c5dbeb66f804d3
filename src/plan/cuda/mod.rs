//! The plan on a GPU: the steps and buffers of `fuse` and `memory`, launched as kernels.
//!
//! Weights, moments and averages live on the device between two synchronisations; a training step is written down once
//! as a graph, and done again by one call.

mod album;
mod graphs;
mod inference;
mod layout;
mod moving;
mod pass;
mod step;
mod tables;
#[cfg(test)]
mod tests;
mod training;
mod weights;

pub(crate) use inference::CudaInference;
pub(crate) use tables::{GROUP, Input, Prepared};
pub(crate) use training::{CudaTraining, Setup};

use super::fuse::{Program, Step};
use super::memory::Memory;
use crate::error::{Error, Result};
use crate::kernels::cuda::{Buffer, Gpu, Span};

/// Refuses, by its name, a layer that has no kernel.
fn expect_known(gpu: &Gpu, program: &Program) -> Result<()> {
    match program.nodes.iter().find(|node| node.step == Step::Own) {
        Some(node) => {
            let message = format!("{} has no kernel for a GPU; it runs with Device::Cpu", node.name);
            Err(Error::device(gpu.name(), message))
        }
        None => Ok(()),
    }
}

/// Kernels count the numbers of a tensor in 31 bits, with room for the threads beyond its end.
const MOST: usize = i32::MAX as usize - (1 << 16);

/// Refuses batches for which a step would have a tensor that the kernels cannot count.
fn expect_countable(program: &Program, batch: usize) -> Result<()> {
    // Where a pooling follows, nobody writes what a convolution gives, but its pixels are counted.
    let pixels = program.nodes.iter().filter_map(|node| match &node.step {
        Step::Conv2D { shape, .. } => Some(shape.geometry.pixels() * shape.c_out),
        _ => None,
    });
    let size = (0..program.values.len()).map(|value| program.size(value)).chain(pixels).max().unwrap_or(0);
    match size.max(1).checked_mul(batch) {
        Some(count) if count <= MOST => Ok(()),
        _ => Err(Error::argument("plan", "batch", format!("at most {} on a GPU", MOST / size.max(1)), batch)),
    }
}

/// The buffers of a plan in one, for batches up to some size.
#[derive(Debug)]
struct Arena {
    numbers: Buffer<f32>,
    /// Where each buffer begins.
    first: Vec<usize>,
}

impl Arena {
    fn new(gpu: &Gpu, memory: &Memory, batch: usize) -> Result<Self> {
        let too_large = || Error::argument("plan", "batch", "small enough for its activations to fit in memory", batch);
        let mut first = Vec::with_capacity(memory.sizes.len());
        let mut len = 0usize;
        for &size in &memory.sizes {
            first.push(len);
            let padded = size.checked_mul(batch).and_then(|size| size.checked_next_multiple_of(layout::ALIGNED));
            len = padded.and_then(|padded| len.checked_add(padded)).ok_or_else(too_large)?;
        }
        Ok(Self { numbers: Buffer::zeros(gpu, len)?, first })
    }

    fn span(&self, buffer: usize, len: usize) -> Span<'_, f32> {
        self.numbers.span().part(self.first[buffer]..self.first[buffer] + len)
    }
}
