//! y = f(x), number by number, and the way back from y alone; sums of two tensors.

use super::{Gpu, Span};
use crate::error::Result;
use crate::kernels::cpu::activation::Activation;

/// y = f(x). Overwrites `y`, which may be `x`.
pub(crate) fn apply(gpu: &Gpu, activation: Activation, x: Span<'_, f32>, y: Span<'_, f32>) -> Result<()> {
    assert_eq!(x.len(), y.len());
    let call = gpu.call("activation", "activation_apply")?.with(x).with(y).with(activation).size(y.len());
    // SAFETY: a thread reads and writes one number, if there is such a number.
    unsafe { call.for_each(y.len()) }
}

/// dy ← dy·f′, told from y.
pub(crate) fn apply_slope(gpu: &Gpu, activation: Activation, y: Span<'_, f32>, dy: Span<'_, f32>) -> Result<()> {
    assert_eq!(y.len(), dy.len());
    let call = gpu.call("activation", "activation_slope")?.with(y).with(dy).with(activation).size(dy.len());
    // SAFETY: as above.
    unsafe { call.for_each(dy.len()) }
}

/// y = f(x + other). Overwrites `y`, which may be one of them.
pub(crate) fn add(
    gpu: &Gpu,
    x: Span<'_, f32>,
    other: Span<'_, f32>,
    activation: Activation,
    y: Span<'_, f32>,
) -> Result<()> {
    assert!(x.len() == y.len() && other.len() == y.len());
    let call = gpu.call("activation", "activation_add")?.with(x).with(other).with(y).with(activation).size(y.len());
    // SAFETY: as above.
    unsafe { call.for_each(y.len()) }
}

/// to ← to + share
pub(crate) fn add_into(gpu: &Gpu, to: Span<'_, f32>, share: Span<'_, f32>) -> Result<()> {
    assert_eq!(to.len(), share.len());
    let call = gpu.call("activation", "activation_add_into")?.with(to).with(share).size(to.len());
    // SAFETY: as above.
    unsafe { call.for_each(to.len()) }
}

/// Overwrites `to` with `from`.
pub(crate) fn copy(gpu: &Gpu, from: Span<'_, f32>, to: Span<'_, f32>) -> Result<()> {
    assert_eq!(from.len(), to.len());
    let call = gpu.call("activation", "activation_copy")?.with(from).with(to).size(to.len());
    // SAFETY: as above.
    unsafe { call.for_each(to.len()) }
}
