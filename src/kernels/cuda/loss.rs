//! The end of the way forward and the beginning of the way back: the loss, its gradient, and the right answers.
//! z [N, K]  →  dz [N, K]

use super::call::{Parameter, THREADS};
use super::{Gpu, Span};
use crate::error::Result;

/// l(z, y) of a sample; see `src/losses`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LossKind {
    /// The mean over the outputs of −y·ln σ(z) − (1 − y)·ln(1 − σ(z))
    BinaryFromLogits,
    /// −Σ_k y_k·ln softmax(z)_k
    CrossFromLogits,
    /// The first from probabilities.
    Binary,
    /// The second from probabilities.
    Cross,
    /// The mean over the outputs of (z − y)²
    MeanSquared,
}

/// What `control` says is wrong where it is the loss that is not finite; smaller numbers are 1 + the place of a gradient.
pub(crate) const LOSS_IS_NOT_FINITE: u32 = u32::MAX;

/// What is right, for each step of a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets<'a> {
    /// y [steps, N, K]
    pub values: Span<'a, f32>,
    /// w [steps, N]; a sample that weighs 0 is not looked at.
    pub weights: Span<'a, f32>,
    /// [steps, N]: the class that an answer is compared with; −1 for none.
    pub labels: Span<'a, i32>,
    /// [steps]: 1 / the samples that count
    pub scale: Span<'a, f32>,
    /// What a single output has to be above to be an answer for class 1.
    pub threshold: f32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct PassedTargets {
    spans: [u64; 4],
    steps: i32,
    threshold: f32,
}

// SAFETY: `PassedTargets` is laid out as `struct Targets` of loss.cu.
unsafe impl Parameter for Targets<'_> {
    type Passed = PassedTargets;

    fn passed(self) -> PassedTargets {
        let spans = [self.values.passed(), self.weights.passed(), self.labels.passed(), self.scale.passed()];
        let steps = i32::try_from(self.scale.len()).expect("kernels count in 31 bits");
        PassedTargets { spans, steps, threshold: self.threshold }
    }
}

/// How a block's threads are shared out: `struct Sample`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Sample {
    outputs: i32,
    samples: i32,
}

// SAFETY: laid out as there.
unsafe impl Parameter for Sample {
    type Passed = Self;

    fn passed(self) -> Self {
        self
    }
}

/// Overwrites `dz` with scale·wₙ·∂lₙ/∂z, and the step's row of `log` [steps, 2] with scale·Σ wₙ·lₙ and the number of
/// right answers: the largest of K outputs, or whether a single one is above the threshold. Halts the training where the
/// loss is not finite. Where it was halted before, overwrites `dz` with 0 and does nothing else.
pub(crate) fn loss(
    gpu: &Gpu,
    kind: LossKind,
    [n, k]: [usize; 2],
    z: Span<'_, f32>,
    targets: &Targets<'_>,
    control: Span<'_, u32>,
    dz: Span<'_, f32>,
    log: Span<'_, f32>,
) -> Result<()> {
    let steps = targets.scale.len();
    assert!(z.len() == n * k && dz.len() == n * k && k > 0 && steps > 0);
    assert!(targets.values.len() == steps * n * k && log.len() == steps * 2 && control.len() == 4);
    assert!(targets.weights.len() == steps * n && targets.labels.len() == steps * n);
    assert!(targets.values.len() <= i32::MAX as usize - THREADS * k, "kernels count in 31 bits");
    let samples = n.next_power_of_two().min(THREADS);
    let call = gpu.call("loss", "loss_gradient")?.with(kind as i32).size(n);
    let call = call.with(Sample { outputs: k as i32, samples: samples as i32 });
    let call = call.with(z).with(*targets).with(control).with(dz).with(log);
    // SAFETY: all tensors are as long as N, K and the steps say, and the kernel takes no row behind the last step's.
    unsafe { call.launch([1, 1, 1], THREADS) }
}
