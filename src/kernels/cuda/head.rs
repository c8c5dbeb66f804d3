//! The dense layer before a loss, as a part of its kernel: `kernels/head.cuh`, from the other side.

use super::Span;
use super::call::{Parameter, THREADS};
use super::parameters::Function;
use crate::kernels::cpu::activation::Activation;

/// z[n,k] = f(b[k] + Σ_d x[n,d]·w[d,k]): the last dense layer, where the kernel of the loss computes its output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    /// D
    pub inputs: usize,
    /// [N, D]
    pub x: Span<'a, f32>,
    /// [D, K]
    pub w: Span<'a, f32>,
    /// [K]
    pub bias: Option<Span<'a, f32>>,
    pub activation: Activation,
}

/// Lanes of a warp, and samples that it takes at once.
const WARP: usize = 32;
const SAMPLES: usize = 4;

/// Turns of a warp, at most.
///
/// In each turn a lane waits for one weight and the numbers of four samples, for four products. Four turns wait
/// together: at worst some 600 clocks for what comes from the second cache, and far less once it is in the first. So 64
/// turns are 10,000 clocks or 5 µs at worst, which is about what it takes to start the two launches that are spared (the
/// product, and the sum of its parts) and to wait for them. With eight warps these are up to 65,536 products. Counted,
/// not measured.
const TURNS: usize = 64;

/// Whether one block computes z [N, K] from x [N, D] as fast as launches of its own would.
pub(crate) fn is_small([n, d, k]: [usize; 3]) -> bool {
    let width = width(k);
    let tiles = n.div_ceil(SAMPLES) * k.div_ceil(width);
    tiles.div_ceil(THREADS / WARP) * d.div_ceil(WARP / width) <= TURNS
}

/// Outputs that a warp takes side by side: it reads as much of a line of w as it can.
fn width(k: usize) -> usize {
    k.next_power_of_two().min(WARP)
}

impl Head<'_> {
    /// # Panics
    /// Where it is not a layer of K outputs for N samples, or too large.
    pub fn check(&self, [n, k]: [usize; 2]) {
        assert!(self.x.len() == n * self.inputs && self.w.len() == self.inputs * k && self.inputs > 0);
        assert!(self.bias.is_none_or(|bias| bias.len() == k) && is_small([n, self.inputs, k]));
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct PassedHead {
    spans: [u64; 3],
    activation: Function,
    inputs: i32,
    width: i32,
}

// SAFETY: `PassedHead` is laid out as `struct Head` of head.cuh; without a head its weights are null.
unsafe impl Parameter for Option<Head<'_>> {
    type Passed = PassedHead;

    fn passed(self) -> PassedHead {
        let none = Head { inputs: 0, x: Span::none(), w: Span::none(), bias: None, activation: Activation::Linear };
        let Head { inputs, x, w, bias, activation } = self.unwrap_or(none);
        let spans = [x, w, bias.unwrap_or(Span::none())].map(Span::passed);
        let [inputs, width] = [inputs, width(w.len() / inputs.max(1))];
        PassedHead { spans, activation: activation.passed(), inputs: inputs as i32, width: width as i32 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::loss::{LossKind, Targets, loss};
    use super::super::testing::{behind, close, gpu, poisoned, same_bits};
    use super::super::{Buffer, Gpu};
    use super::*;
    use crate::kernels::cpu::testing::{draw, magnitudes};
    use crate::kernels::cpu::{naive, testing::draw_size};
    use crate::random::{Key, Random};

    /// A head, and a batch for it.
    struct Case {
        kind: LossKind,
        sizes: [usize; 3],
        activation: Activation,
        x: Vec<f64>,
        w: Vec<f64>,
        bias: Option<Vec<f64>>,
        /// y, and the weight of each sample.
        targets: [Vec<f64>; 2],
    }

    impl Case {
        fn draw([n, d, k]: [usize; 3], random: &mut Random) -> Self {
            let alpha = Activation::LeakyRelu(0.3);
            let kinds = [Activation::Linear, Activation::Relu, alpha, Activation::Sigmoid, Activation::Tanh];
            let activation = kinds[random.below(5)];
            let losses = [LossKind::BinaryFromLogits, LossKind::CrossFromLogits, LossKind::MeanSquared];
            let kind = losses[random.below(3)];
            let bias = random.chance(0.7).then(|| draw(k, random));
            let [x, w, y, weights] = [n * d, d * k, n * k, n].map(|len| draw(len, random));
            Self { kind, sizes: [n, d, k], activation, x, w, bias, targets: [y, magnitudes(&weights)] }
        }

        fn formula(&self, x: &[f64], w: &[f64], bias: Option<&[f64]>, f: impl Fn(f64) -> f64) -> Vec<f64> {
            let [n, d, k] = self.sizes;
            let mut z = naive::gemm([n, d, k], x, w);
            z.iter_mut().enumerate().for_each(|(at, z)| *z = f(*z + bias.map_or(0.0, |bias| bias[at % k])));
            z
        }

        /// z, dz, and the log, from `z` or from the head; 0 as `halted` is a training that goes on.
        fn run(&self, gpu: &Gpu, halted: u32, z: Option<&[f32]>) -> [Vec<f32>; 3] {
            let [n, d, k] = self.sizes;
            let [x, w, values, weights] =
                [&self.x, &self.w, &self.targets[0], &self.targets[1]].map(|numbers| behind(gpu, numbers, 0));
            let bias = self.bias.as_ref().map(|bias| behind(gpu, bias, 0));
            let bias = bias.as_ref().map(Buffer::span);
            let (labels, scale) = (Buffer::of(gpu, &vec![0; n]).unwrap(), Buffer::of(gpu, &[0.5f32]).unwrap());
            let control = Buffer::of(gpu, &[0, halted, 0, 0]).unwrap();
            let [weights, values] = [weights.span(), values.span()];
            let targets = Targets { values, weights, labels: labels.span(), scale: scale.span(), threshold: 0.0 };
            let head = Head { inputs: d, x: x.span(), w: w.span(), bias, activation: self.activation };
            let head = z.is_none().then_some(head);
            let z = z.map_or_else(|| poisoned(gpu, n * k), |z| Buffer::of(gpu, z).unwrap());
            let (dz, log) = (poisoned(gpu, n * k), poisoned(gpu, 2));
            let to = [dz.span(), log.span()];
            loss(gpu, self.kind, [n, k], head, z.span(), &targets, control.span(), to[0], to[1]).unwrap();
            [z, dz, log].map(|numbers| numbers.read(gpu).unwrap())
        }
    }

    #[test]
    fn a_head_is_a_dense_layer_and_the_loss() {
        let (gpu, mut random) = (gpu(), Key::new(1).named("head").stream());
        let named = [[1, 1, 1], [32, 128, 1], [33, 60, 10], [5, 7, 33], [3, 2048, 1], [1, 64, 256], [260, 3, 2]];
        let drawn: Vec<_> = (0..60).map(|_| [6, 9, 6].map(|bits| draw_size(bits, &mut random))).collect();
        let sizes: Vec<_> = named.into_iter().chain(drawn).filter(|&sizes| is_small(sizes)).collect();
        assert!(sizes.len() > 40 && named.iter().all(|named| sizes.contains(named)), "{}", sizes.len());
        for sizes in sizes {
            let case = Case::draw(sizes, &mut random);
            let what = format!("{sizes:?} {:?} {:?}", case.activation, case.kind);
            let found = same_bits(|| case.run(&gpu, 0, None).concat());
            let z = &found[..sizes[0] * sizes[2]];
            let expected = case.formula(&case.x, &case.w, case.bias.as_deref(), |z| case.activation.value(z));
            // Sigmoid and tanh are rounded themselves.
            let rounded = f64::from(!case.activation.passes_maxima());
            let bias = case.bias.as_ref().map(|bias| magnitudes(bias));
            let bounds = case.formula(&magnitudes(&case.x), &magnitudes(&case.w), bias.as_deref(), |z| z + rounded);
            close(z, &expected, &bounds, 2e-6, &what);
            assert!(case.run(&gpu, 0, Some(z)).concat() == found, "{what}: not the loss of this z");
        }
    }

    #[test]
    fn what_is_not_a_number_comes_out_and_halts() {
        let gpu = gpu();
        let mut case = Case::draw([6, 40, 3], &mut Key::new(2).named("head").stream());
        for halted in [0, 3] {
            case.x[4 * 40 + 39] = f64::NAN;
            let [z, dz, log] = case.run(&gpu, halted, None);
            let nan: Vec<_> = z.chunks(3).map(|z| z.iter().all(|z| z.is_nan())).collect();
            // Where the training was halted before, nothing is computed.
            assert_eq!(nan, [halted > 0, halted > 0, halted > 0, halted > 0, true, halted > 0]);
            assert!(log[0].is_nan() && (halted == 0 || dz == [0.0; 18]));
        }
    }

    #[test]
    fn heads_that_are_small() {
        // The thesis' one at any batch that fits, and ten classes.
        for (sizes, small) in [
            ([32, 128, 1], true),
            ([512, 128, 1], true),
            ([1024, 128, 1], false),
            ([32, 128, 10], true),
            ([32, 6272, 128], false),
            ([1, 1 << 16, 1], false),
        ] {
            assert_eq!(is_small(sizes), small, "{sizes:?}");
        }
    }
}
