//! Sums over the rows of a matrix, and one look at all gradients.

use super::call::THREADS;
use super::columns::Columns;
use super::{Gpu, Span};
use crate::error::Result;

/// Overwrites `sums` [F] with Σ_r x[r, f], in f32 and in a fixed order: blocks of rows first, and then their sums.
pub(crate) fn sum_rows(
    gpu: &Gpu,
    [rows, columns]: [usize; 2],
    x: Span<'_, f32>,
    sums: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    assert!(x.len() == rows * columns && sums.len() == columns);
    let of = Columns::parts([rows, columns]);
    if of.blocks() == 1 {
        return sum_blocks(gpu, of, x, sums);
    }
    let parts = scratch.part(..of.blocks() * columns);
    sum_blocks(gpu, of, x, parts)?;
    sum_blocks(gpu, Columns::of_parts([of.blocks(), columns]), parts, sums)
}

/// The room that `sum_rows` needs.
pub(crate) fn scratch([rows, columns]: [usize; 2]) -> usize {
    match Columns::parts([rows, columns]).blocks() {
        1 => 0,
        blocks => blocks * columns,
    }
}

/// Overwrites `sums` [blocks, F].
fn sum_blocks(gpu: &Gpu, of: Columns, x: Span<'_, f32>, sums: Span<'_, f32>) -> Result<()> {
    let call = gpu.call("reduce", "reduce_rows")?.with(x).with(of).with(sums);
    // SAFETY: `of` is cut out of the rows and columns of x, and each of its blocks writes its row of sums.
    unsafe { call.launch(of.grid(), THREADS) }
}

/// Overwrites `norm` with Σ g² in f64, in a fixed order. Where a gradient is not finite, halts the training with 1 + the
/// place of the first such gradient, unless it was halted before.
pub(crate) fn check(
    gpu: &Gpu,
    gradients: Span<'_, f32>,
    control: Span<'_, u32>,
    norm: Span<'_, f64>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    assert!(control.len() == 4 && norm.len() == 1);
    let (count, chunk) = (gradients.len(), chunk(gradients.len()));
    let (blocks, parts) = (count.div_ceil(chunk), scratch.part(..check_scratch(count)));
    let call = gpu.call("reduce", "reduce_squares")?.with(gradients).size(count).size(chunk).with(parts);
    // SAFETY: a block reads its chunk of the gradients and writes its part, PART words.
    unsafe { call.launch([blocks, 1, 1], THREADS) }?;
    let call = gpu.call("reduce", "reduce_check")?.with(parts).size(blocks).with(control).with(norm);
    // SAFETY: so many parts were written; `control` and `norm` are one each.
    unsafe { call.launch([1, 1, 1], THREADS) }
}

/// The room that `check` needs for so many gradients.
pub(crate) fn check_scratch(count: usize) -> usize {
    count.div_ceil(chunk(count)) * PART
}

/// Words that are kept of a block of gradients: `struct Part`.
const PART: usize = 3;

/// Gradients of a block.
fn chunk(count: usize) -> usize {
    // Chunks end far below 2³¹, so that a step beyond one can be counted.
    assert!(count <= i32::MAX as usize - (1 << 16), "kernels count in 31 bits");
    count.div_ceil(1024).max(16 * THREADS)
}
