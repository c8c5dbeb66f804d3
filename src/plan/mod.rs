//! The plan: a chain of layers compiled to a short list of fused steps over buffers that are allocated once.
//!
//! `fuse` says which steps, `memory` which buffers, `cpu` runs them. The layers' own passes are what a step means; a
//! layer that the plan does not know runs through them.

mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod fuse;
mod inference;
mod memory;
mod place;
#[cfg(test)]
mod tests;
mod training;

pub(crate) use inference::InferencePlan;
pub(crate) use training::TrainingPlan;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::layers::Chain;
use ndarray::ArrayViewD;
use serde::Serialize;

/// A network's way forward, on some device.
pub(crate) trait Forward<E: Element>: std::fmt::Debug + Send {
    /// The shape of one sample of the output.
    fn output(&self) -> &[usize];

    /// x [N, …] → y [N, …], which is overwritten, by the layers of `chain` as they were when this was made.
    fn run(&mut self, chain: &Chain<E>, x: &ArrayViewD<'_, E>, y: &mut [E]) -> Result<()>;
}

/// How long one fused step took, and how many multiplications and additions its convolutions and matrix products have
/// (nominally: with those in the padding, and with those that a pooled gradient leaves out).
///
/// ```
/// use tapetum::prelude::*;
/// use tapetum::data::{Batches, Order};
/// use tapetum::train::StepTime;
/// let model = Sequential::builder([2]).add(Dense::new(3)).add(ReLU).add(Dense::new(1)).build(1)?;
/// let data = ArraySet::new(ndarray::ArrayD::zeros(vec![8, 2]), vec![0, 1, 0, 1, 0, 1, 0, 1])?;
/// let batch = Batches::new(&data, 8, 1, Order::InOrder)?.batch(0)?;
/// let mut trainer = Trainer::new(model, BinaryCrossEntropy::from_logits(), Adam::new(1e-3));
/// let times: Vec<StepTime> = trainer.profile(&batch)?;
/// assert_eq!(times[0].name, "dense_1 + relu_1");
/// assert_eq!(times[0].forward_flops, (2 * 8 * 2 * 3) as f64);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepTime {
    /// The layers of the step: `conv2d_1 + relu_1 + maxpool2d_1`.
    pub name: String,
    /// Milliseconds.
    pub forward_ms: f64,
    /// Milliseconds.
    pub backward_ms: f64,
    /// Floating-point operations of the batch.
    pub forward_flops: f64,
    /// Those of the gradients; a first layer has no gradient of its input.
    pub backward_flops: f64,
}

/// Makes room for `batch` samples of `size` numbers.
///
/// # Errors
/// Where there is not as much memory.
fn grown<E: Element>(buffer: &mut Vec<E>, batch: usize, size: usize) -> Result<()> {
    let too_large = || Error::argument("plan", "batch", "small enough for its activations to fit in memory", batch);
    let len = batch.checked_mul(size).ok_or_else(too_large)?;
    if buffer.len() < len {
        // Not `resize`: the old numbers need no copying.
        *buffer = Vec::new();
        buffer.try_reserve_exact(len).map_err(|_| too_large())?;
        buffer.resize(len, E::zero());
    }
    Ok(())
}

/// The numbers of x in standard layout: its own, or a copy.
fn in_order<'a, E: Element>(x: &'a ArrayViewD<'_, E>, copy: &'a mut Vec<E>) -> &'a [E] {
    match x.as_slice() {
        Some(numbers) => numbers,
        None => {
            copy.clear();
            copy.extend(x);
            copy
        }
    }
}
