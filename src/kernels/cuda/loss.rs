//! The end of the way forward and the beginning of the way back: the loss, its gradient, and the right answers; with a
//! small dense layer before it also that one's output.
//! z [N, K]  →  dz [N, K]

use super::call::{Parameter, THREADS, as_it_is};
use super::head::Head;
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

as_it_is!(Sample);

/// Overwrites `dz` with scale·wₙ·∂lₙ/∂z, and the step's row of `log` [steps, 2] with scale·Σ wₙ·lₙ and the number of
/// right answers: the largest of K outputs, or whether a single one is above the threshold. With a `head`, overwrites `z`
/// with its output first. Halts the training where the loss is not finite. Where it was halted before, overwrites `dz`
/// with 0 and does nothing else.
#[expect(clippy::too_many_arguments, reason = "what is predicted, what is right, and what to do about it")]
pub(crate) fn loss(
    gpu: &Gpu,
    kind: LossKind,
    [n, k]: [usize; 2],
    head: Option<Head<'_>>,
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
    if let Some(head) = head {
        head.check([n, k]);
    }
    let samples = n.next_power_of_two().min(THREADS);
    let call = gpu.call("loss", "loss_gradient")?.with(kind as i32).size(n);
    let call = call.with(Sample { outputs: k as i32, samples: samples as i32 });
    let call = call.with(head).with(z).with(*targets).with(control).with(dz).with(log);
    // SAFETY: all tensors are as long as N, K and the steps say, and the kernel takes no row behind the last step's.
    unsafe { call.launch([1, 1, 1], THREADS) }
}

#[cfg(test)]
mod tests {
    use super::super::Buffer;
    use super::super::testing::{gpu, poisoned, same_bits};
    use super::*;
    use crate::kernels::cpu::testing::{cast, close, magnitudes};
    use crate::losses::{BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError};
    use crate::random::{Key, Random};
    use crate::target::Target;
    use ndarray::ArrayD;

    const ALL: [LossKind; 5] = [
        LossKind::BinaryFromLogits,
        LossKind::CrossFromLogits,
        LossKind::Binary,
        LossKind::Cross,
        LossKind::MeanSquared,
    ];

    fn oracle(kind: LossKind) -> Box<dyn Loss<f64>> {
        match kind {
            LossKind::BinaryFromLogits => Box::new(BinaryCrossEntropy::from_logits()),
            LossKind::CrossFromLogits => Box::new(CrossEntropy::from_logits()),
            LossKind::Binary => Box::new(BinaryCrossEntropy::from_probabilities()),
            LossKind::Cross => Box::new(CrossEntropy::from_probabilities()),
            LossKind::MeanSquared => Box::new(MeanSquaredError),
        }
    }

    /// A batch, as step number `step` of three; what is not of this step is NaN.
    struct Case {
        kind: LossKind,
        shape: [usize; 2],
        step: usize,
        z: Vec<f64>,
        values: Vec<f64>,
        weights: Vec<f64>,
        labels: Vec<i32>,
        threshold: f32,
    }

    impl Case {
        fn draw(kind: LossKind, [n, k]: [usize; 2], random: &mut Random) -> Self {
            let mut draw = |len: usize, low: f64, high: f64| -> Vec<f64> {
                (0..len).map(|_| f64::from(random.uniform(low, high) as f32)).collect()
            };
            let probabilities = matches!(kind, LossKind::Binary | LossKind::Cross);
            // Some beyond the clip.
            let mut z = if probabilities { draw(n * k, -0.05, 1.05) } else { draw(n * k, -9.0, 9.0) };
            z.iter_mut().for_each(|z| *z = if probabilities { z.clamp(0.0, 1.0) } else { *z });
            let (values, weights) = (draw(n * k, 0.0, 1.0), draw(n, 0.0, 2.0));
            let labels = (0..n).map(|_| random.below(k.max(2) + 1) as i32 - 1).collect();
            let threshold = if probabilities { 0.5 } else { 0.0 };
            Self { kind, shape: [n, k], step: random.below(3), z, values, weights, labels, threshold }
        }

        /// dz, the step's row of the log, and why the training halts.
        fn found(&self, halted: u32) -> (Vec<f32>, [f32; 2], u32) {
            let (gpu, [n, k]) = (gpu(), self.shape);
            let tables = [(&self.values, n * k), (&self.weights, n), (&vec![1.0 / n as f64], 1)].map(|(row, len)| {
                let mut table = vec![f32::NAN; 3 * len];
                table[self.step * len..][..len].copy_from_slice(&cast::<f32>(row));
                Buffer::of(&gpu, &table).unwrap()
            });
            let mut labels = vec![99; 3 * n];
            labels[self.step * n..][..n].copy_from_slice(&self.labels);
            let (labels, z) = (Buffer::of(&gpu, &labels).unwrap(), Buffer::of(&gpu, &cast::<f32>(&self.z)).unwrap());
            let [values, weights, scale] = tables.each_ref().map(Buffer::span);
            let targets = Targets { values, weights, labels: labels.span(), scale, threshold: self.threshold };
            let control = Buffer::of(&gpu, &[0u32; 4]).unwrap();
            let found = same_bits(|| {
                control.span().write(&gpu, &[self.step as u32, halted, 0, 0]).unwrap();
                let [dz, log] = [poisoned(&gpu, n * k), poisoned(&gpu, 6)];
                loss(&gpu, self.kind, [n, k], None, z.span(), &targets, control.span(), dz.span(), log.span()).unwrap();
                [dz.read(&gpu).unwrap(), log.read(&gpu).unwrap()].concat()
            });
            let (dz, log) = found.split_at(n * k);
            let others = log.chunks(2).enumerate().filter(|(step, _)| *step != self.step);
            assert!(others.flat_map(|(_, row)| row).all(|number| number.is_nan()), "a row that is not this step's");
            let control = control.read(&gpu).unwrap();
            assert_eq!([control[0], control[2], control[3]], [self.step as u32, 0, 0]);
            (dz.to_vec(), [log[2 * self.step], log[2 * self.step + 1]], control[1])
        }

        /// Samples whose answer is their label.
        fn right(&self) -> usize {
            let k = self.shape[1];
            let answer = |z: &[f64]| match z {
                [z] => usize::from(*z > f64::from(self.threshold)),
                z => (1..k).fold(0, |best, class| if z[class] > z[best] { class } else { best }),
            };
            self.z.chunks(k).zip(&self.labels).filter(|&(z, &label)| answer(z) as i32 == label).count()
        }
    }

    #[test]
    fn value_and_gradient_are_those_of_the_loss() {
        let mut random = Key::new(1).named("loss").stream();
        let named = [[1, 1], [32, 1], [300, 1], [1, 1000], [33, 10], [260, 3], [4, 256]];
        let drawn = (0..10).map(|_| [1 + random.below(70), 1 + random.below(20)]).collect::<Vec<_>>();
        for (shape, kind) in named.into_iter().chain(drawn).flat_map(|shape| ALL.map(|kind| (shape, kind))) {
            let case = Case::draw(kind, shape, &mut random);
            let array = |numbers: &[f64]| ArrayD::from_shape_vec(shape.to_vec(), numbers.to_vec()).unwrap();
            let target = Target::Values(array(&case.values));
            let (value, dz) = oracle(kind).gradient(array(&case.z).view(), &target, Some(&case.weights)).unwrap();
            let (found, log, halted) = case.found(0);
            let expected: Vec<_> = dz.iter().copied().collect();
            close(&found, &expected, &magnitudes(&expected), &format!("{kind:?} {shape:?}"));
            close(&log[..1], &[value.mean], &[value.mean], &format!("{kind:?} {shape:?}"));
            assert_eq!((log[1], halted), (case.right() as f32, 0), "{kind:?} {shape:?}");
        }
    }

    #[test]
    fn a_sample_without_weight_is_not_looked_at() {
        let mut random = Key::new(2).named("loss").stream();
        for (kind, k) in ALL.into_iter().flat_map(|kind| [1, 3].map(|k| (kind, k))) {
            let mut case = Case::draw(kind, [5, k], &mut random);
            case.weights[3] = 0.0;
            let (expected, log, _) = case.found(0);
            case.z[3 * k..][..k].fill(f64::NAN);
            case.labels[3] = -1;
            let (found, log_too, halted) = case.found(0);
            assert!(found == expected && found[3 * k..][..k] == vec![0.0; k], "{kind:?}");
            assert!(log_too[0] == log[0] && halted == 0, "{kind:?}");
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_halts_and_a_halted_training_stands_still() {
        let mut random = Key::new(3).named("loss").stream();
        for (kind, k) in ALL.into_iter().flat_map(|kind| [1, 3].map(|k| (kind, k))) {
            for wrong in [f64::NAN, f64::INFINITY] {
                let mut case = Case::draw(kind, [5, k], &mut random);
                case.z[2 * k] = wrong;
                let (_, log, halted) = case.found(0);
                // A probability is clipped, if it is a number.
                let halts = wrong.is_nan() || !matches!(kind, LossKind::Binary | LossKind::Cross);
                assert_eq!(log[0].is_finite(), !halts, "{kind:?} {wrong} {log:?}");
                assert_eq!(halted, if halts { LOSS_IS_NOT_FINITE } else { 0 }, "{kind:?} {wrong} {log:?}");
                let (dz, log, halted) = case.found(5);
                assert!(dz == vec![0.0; 5 * k] && log.iter().all(|log| log.is_nan()) && halted == 5, "{kind:?}");
            }
        }
    }

    #[test]
    fn the_first_of_equal_outputs_is_the_answer_and_nan_is_none() {
        let nan = f64::NAN;
        for (z, answer) in [([1.0, 2.0, 2.0], 1), ([nan, -1.0, -1.0], 1), ([nan; 3], 0), ([3.0, 3.0, 3.0], 0)] {
            let (kind, labels) = (LossKind::MeanSquared, vec![0, 1, 2]);
            let (z, values, weights) = (z.repeat(3), vec![0.0; 9], vec![1.0; 3]);
            let case = Case { kind, shape: [3, 3], step: 0, z, values, weights, labels, threshold: 0.0 };
            assert_eq!(case.found(0).1[1], 1.0, "one of three labels is {answer}");
            let only = Case { labels: vec![answer; 3], ..case };
            assert_eq!(only.found(0).1[1], 3.0, "all labels are {answer}");
        }
    }
}
