//! One step of an optimizer over flat arenas: `src/kernels/cpu/update.rs` on a GPU.

use super::call::Parameter;
use super::{Gpu, Span};
use crate::error::Result;

/// How parameters move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// With m and v.
    Adam,
    Descend,
    /// With u.
    Roll {
        nesterov: bool,
    },
}

/// Numbers in a step's row, `struct Row` of update.cu: what decayed entries and what others are multiplied by, η or
/// Adam's α, ε, 1 − β₁, 1 − β₂ or μ, the average's c, and the largest norm of all gradients (0 for any).
pub(crate) const ROW: usize = 8;

/// `struct Arena` of update.cu.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Arena {
    rows: u64,
    steps: i32,
    control: u64,
    theta: u64,
    count: i32,
    decayed: i32,
    g: u64,
    norm: u64,
    moments: [u64; 2],
    average: u64,
}

// SAFETY: laid out as there.
unsafe impl Parameter for Arena {
    type Passed = Self;

    fn passed(self) -> Self {
        self
    }
}

/// Moves `theta` [D], of which the first `decayed` entries are decayed, and its moments by `g`; then `average`, if there
/// is one, follows θ. `norm` is Σ g². Where the training is halted, nothing moves.
#[expect(clippy::too_many_arguments, reason = "all that a step needs")]
pub(crate) fn apply(
    gpu: &Gpu,
    rule: Rule,
    rows: Span<'_, f32>,
    control: Span<'_, u32>,
    decayed: usize,
    theta: Span<'_, f32>,
    g: Span<'_, f32>,
    moments: [Span<'_, f32>; 2],
    average: Span<'_, f32>,
    norm: Span<'_, f64>,
) -> Result<()> {
    let (kernel, used) = match rule {
        Rule::Adam => ("update_adam", 2),
        Rule::Descend => ("update_descend", 0),
        Rule::Roll { nesterov: false } => ("update_roll", 1),
        Rule::Roll { nesterov: true } => ("update_roll_nesterov", 1),
    };
    let count = theta.len();
    assert!(g.len() == count && decayed <= count && moments[..used].iter().all(|moment| moment.len() == count));
    assert!(average.len() == count || average.len() == 0);
    assert!(control.len() == 4 && norm.len() == 1 && rows.len() >= ROW && rows.len().is_multiple_of(ROW));
    let [steps, counted, decayed] =
        [rows.len() / ROW, count, decayed].map(|size| i32::try_from(size).expect("kernels count in 31 bits"));
    let call = gpu.call("update", kernel)?.with(Arena {
        rows: rows.passed(),
        steps,
        control: control.passed(),
        theta: theta.passed(),
        count: counted,
        decayed,
        g: g.passed(),
        norm: norm.passed(),
        moments: moments.map(Span::passed),
        average: average.passed(),
    });
    // SAFETY: a thread moves one entry, of which there is one in each tensor that the rule knows.
    unsafe { call.for_each(count) }
}

/// On to the next row of all tables, unless the training is halted.
pub(crate) fn advance(gpu: &Gpu, control: Span<'_, u32>) -> Result<()> {
    assert_eq!(control.len(), 4);
    let call = gpu.call("update", "update_advance")?.with(control);
    // SAFETY: one thread, and `control` is one.
    unsafe { call.launch([1, 1, 1], 1) }
}
