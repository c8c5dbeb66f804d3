//! A dense layer's three products: `kernels/gemm.cu`.     x [N,D]  w [D,F]  b [F]  y, dy [N,F]

use super::call::{Call, as_it_is};
use super::gpu::Gpu;
use super::memory::Span;
use super::tile::{Plan, THREADS};
use super::update::Moving;
use crate::error::Result;
use crate::kernels::cpu::activation::Activation;

/// Whether the kernel may read four numbers at once, of the left and of the right factor.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quads {
    a: i32,
    b: i32,
}

as_it_is!(Quads);

impl Quads {
    /// Where all `sizes` are multiples of four, and the factors begin where they can be read so.
    fn new(a: Factor<'_>, b: Factor<'_>) -> Self {
        let [a, b] = [a, b].map(|(span, size)| i32::from(span.holds_quads() && size.is_multiple_of(4)));
        Self { a, b }
    }
}

/// y[n,f] = f(b[f] + Σ_d x[n,d]·w[d,f]). Overwrites `y`.
#[expect(clippy::too_many_arguments, reason = "a product, and what follows it")]
pub(crate) fn forward(
    gpu: &Gpu,
    sizes: [usize; 3],
    x: Span<'_, f32>,
    w: Span<'_, f32>,
    bias: Option<Span<'_, f32>>,
    activation: Activation,
    y: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    forward_cut(gpu, forward_plan(sizes), sizes, x, w, bias, activation, y, scratch)
}

/// dx[n,d] = Σ_f dy[n,f]·w[d,f]. Overwrites `dx`.
pub(crate) fn input_gradient(
    gpu: &Gpu,
    sizes: [usize; 3],
    dy: Span<'_, f32>,
    w: Span<'_, f32>,
    dx: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    input_gradient_cut(gpu, input_gradient_plan(sizes), sizes, dy, w, dx, scratch)
}

/// dw[d,f] = Σ_n x[n,d]·dy[n,f]. Overwrites `dw`.
pub(crate) fn weight_gradient(
    gpu: &Gpu,
    sizes: [usize; 3],
    x: Span<'_, f32>,
    dy: Span<'_, f32>,
    dw: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    weight_gradient_cut(gpu, weight_gradient_plan(sizes), sizes, x, dy, dw, scratch)
}

/// Moves w [D,F] by dw[d,f] = Σ_n x[n,d]·dy[n,f], which is written nowhere, unless the training is halted. No norm is
/// looked at.
///
/// # Panics
/// Where the sums of such sizes are cut.
pub(crate) fn weight_update(
    gpu: &Gpu,
    sizes: [usize; 3],
    x: Span<'_, f32>,
    dy: Span<'_, f32>,
    moving: &Moving<'_>,
) -> Result<()> {
    weight_update_cut(gpu, weight_gradient_plan(sizes), sizes, x, dy, moving)
}

/// Whether a block has the whole of each sum of dw: then w can move by it.
pub(crate) fn has_whole_gradients(sizes: [usize; 3]) -> bool {
    weight_gradient_plan(sizes).splits == 1
}

/// The scratch that each of the three products needs.
pub(crate) fn scratch(sizes: [usize; 3]) -> usize {
    let [n, d, f] = sizes;
    let forward = forward_plan(sizes).scratch(n * f);
    forward.max(input_gradient_plan(sizes).scratch(n * d)).max(weight_gradient_plan(sizes).scratch(d * f))
}

fn forward_plan([n, d, f]: [usize; 3]) -> Plan {
    Plan::new([n, f, d], 1, true)
}

fn input_gradient_plan([n, d, f]: [usize; 3]) -> Plan {
    Plan::new([n, d, f], 1, true)
}

fn weight_gradient_plan([n, d, f]: [usize; 3]) -> Plan {
    Plan::new([d, f, n], 1, true)
}

#[expect(clippy::too_many_arguments, reason = "what `forward` takes, and how it is cut")]
fn forward_cut(
    gpu: &Gpu,
    plan: Plan,
    [n, d, f]: [usize; 3],
    x: Span<'_, f32>,
    w: Span<'_, f32>,
    bias: Option<Span<'_, f32>>,
    activation: Activation,
    y: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    check([n, d, f], x, w, y);
    assert!(bias.is_none_or(|bias| bias.len() == f));
    let target = plan.target(y, scratch);
    let call = product(gpu, plan, ["forward_small", "forward_narrow", "forward_wide"], [(x, d), (w, f)])?;
    let call = call.with(bias.unwrap_or(Span::none())).with(activation).with(target);
    // SAFETY: the spans have the lengths that the cut tells.
    unsafe { call.launch(plan.blocks, THREADS)? };
    plan.sum(gpu, target, bias, activation, y)
}

fn input_gradient_cut(
    gpu: &Gpu,
    plan: Plan,
    [n, d, f]: [usize; 3],
    dy: Span<'_, f32>,
    w: Span<'_, f32>,
    dx: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    check([n, d, f], dx, w, dy);
    let names = ["input_gradient_small", "input_gradient_narrow", "input_gradient_wide"];
    gradient(gpu, plan, names, [(dy, f), (w, f)], dx, scratch)
}

fn weight_gradient_cut(
    gpu: &Gpu,
    plan: Plan,
    [n, d, f]: [usize; 3],
    x: Span<'_, f32>,
    dy: Span<'_, f32>,
    dw: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    check([n, d, f], x, dw, dy);
    let names = ["weight_gradient_small", "weight_gradient_narrow", "weight_gradient_wide"];
    gradient(gpu, plan, names, [(x, d), (dy, f)], dw, scratch)
}

fn weight_update_cut(
    gpu: &Gpu,
    plan: Plan,
    [n, d, f]: [usize; 3],
    x: Span<'_, f32>,
    dy: Span<'_, f32>,
    moving: &Moving<'_>,
) -> Result<()> {
    check([n, d, f], x, moving.theta, dy);
    assert_eq!(plan.splits, 1, "parts of sums move nothing");
    let names = ["weight_update_small", "weight_update_narrow", "weight_update_wide"];
    let call = product(gpu, plan, names, [(x, d), (dy, f)])?.with(moving.rule.number()).with(*moving);
    // SAFETY: the spans have the lengths that the cut tells, and all that moves is as long as the weights.
    unsafe { call.launch(plan.blocks, THREADS) }
}

/// A kernel that is told of the product of two factors, whose lengths were checked, each with the number of which runs of
/// four are read.
fn product<'a>(gpu: &'a Gpu, plan: Plan, names: [&'static str; 3], [a, b]: [Factor<'_>; 2]) -> Result<Call<'a>> {
    let call = gpu.call("gemm", plan.variant(names))?;
    Ok(call.with(plan.cut).with(Quads::new(a, b)).with(a.0).with(b.0))
}

type Factor<'a> = (Span<'a, f32>, usize);

/// Overwrites `to` with such a product.
fn gradient(
    gpu: &Gpu,
    plan: Plan,
    names: [&'static str; 3],
    factors: [Factor<'_>; 2],
    to: Span<'_, f32>,
    scratch: Span<'_, f32>,
) -> Result<()> {
    let target = plan.target(to, scratch);
    let call = product(gpu, plan, names, factors)?.with(target);
    // SAFETY: as above.
    unsafe { call.launch(plan.blocks, THREADS)? };
    plan.sum(gpu, target, None, Activation::Linear, to)
}

fn check([n, d, f]: [usize; 3], x: Span<'_, f32>, w: Span<'_, f32>, y: Span<'_, f32>) {
    assert_eq!([x.len(), w.len(), y.len()], [n * d, d * f, n * f]);
    assert!([n * d, d * f, n * f].iter().all(|&len| i32::try_from(len).is_ok()), "kernels count in 31 bits");
}

#[cfg(test)]
mod tests {
    use super::super::memory::Buffer;
    use super::super::testing::{self, gpu, gpu_tf32, poisoned};
    use super::super::tile::Tile;
    use super::super::update::{self, Rule};
    use super::*;
    use crate::kernels::cpu::{naive, testing as drawn};
    use crate::random::{Key, Random};

    /// The three products, cut by drawn plans, or, without one, as the launchers cut them.
    struct Case {
        sizes: [usize; 3],
        activation: Activation,
        bias: bool,
        cut: Option<(Tile, usize)>,
        /// Numbers before each factor, so that it does not begin where four can be read at once.
        before: usize,
    }

    impl Case {
        fn draw(random: &mut Random) -> Self {
            let sizes = match random.below(3) {
                0 => [(); 3].map(|()| 1 + random.below(140)),
                1 => [(); 3].map(|()| 4 * (1 + random.below(40))),
                _ => [0, 7, 8].map(|bits| drawn::draw_size(bits, random)),
            };
            let alpha = Activation::LeakyRelu(0.3);
            let kinds = [Activation::Linear, Activation::Relu, alpha, Activation::Sigmoid, Activation::Tanh];
            let tile = Tile::ALL[random.below(3)];
            Self {
                sizes,
                activation: kinds[random.below(5)],
                bias: random.chance(0.5),
                cut: random.chance(0.8).then(|| (tile, 1 + random.below(5))),
                before: random.below(4) * usize::from(random.chance(0.3)),
            }
        }

        fn plan(&self, sizes: [usize; 3], usual: Plan) -> Plan {
            self.cut.map_or(usual, |(tile, splits)| Plan::of(tile, sizes, 1, splits))
        }

        /// y, dx and dw against the formulas.
        fn check(&self, gpu: &Gpu, tolerance: f64, random: &mut Random) {
            let [n, d, f] = self.sizes;
            let [x, w, dy, b] = [n * d, d * f, n * f, f].map(|len| drawn::draw(len, random));
            let bias = self.bias.then_some(b.as_slice());
            let expected = formulas(self.sizes, [&x, &w, &dy], bias, |z| self.activation.value(z));
            let [x_abs, w_abs, dy_abs, b_abs] = [&x, &w, &dy, &b].map(|numbers| drawn::magnitudes(numbers));
            // Sigmoid and tanh are rounded themselves.
            let rounded = f64::from(!self.activation.passes_maxima());
            let bias_abs = bias.map(|_| b_abs.as_slice());
            let bounds = formulas(self.sizes, [&x_abs, &w_abs, &dy_abs], bias_abs, |z| z + rounded);
            let found = testing::same_bits(|| self.run(gpu, [&x, &w, &dy], bias));
            let what = format!("{:?} {:?} {:?}", self.sizes, self.activation, self.cut);
            testing::close(&found, &expected.concat(), &bounds.concat(), tolerance, &what);
        }

        /// y, dx and dw, one after the other.
        fn run(&self, gpu: &Gpu, [x, w, dy]: [&[f64]; 3], bias: Option<&[f64]>) -> Vec<f32> {
            let ([n, d, f], before) = (self.sizes, self.before);
            let [x, w, dy] = [x, w, dy].map(|numbers| testing::behind(gpu, numbers, before));
            let [x, w, dy] = [&x, &w, &dy].map(|factor| factor.span().part(before..));
            let bias = bias.map(|bias| testing::behind(gpu, bias, 0));
            let bias = bias.as_ref().map(Buffer::span);
            let to = [n * f, n * d, d * f].map(|len| poisoned(gpu, len));
            let [y, dx, dw] = to.each_ref().map(Buffer::span);
            let plans = [
                self.plan([n, f, d], forward_plan(self.sizes)),
                self.plan([n, d, f], input_gradient_plan(self.sizes)),
                self.plan([d, f, n], weight_gradient_plan(self.sizes)),
            ];
            let room = plans.iter().zip([y, dx, dw]).map(|(plan, to)| plan.scratch(to.len())).max().unwrap();
            assert!(self.cut.is_some() || room == scratch(self.sizes));
            let room = poisoned(gpu, room);
            let room = room.span();
            forward_cut(gpu, plans[0], self.sizes, x, w, bias, self.activation, y, room).unwrap();
            input_gradient_cut(gpu, plans[1], self.sizes, dy, w, dx, room).unwrap();
            weight_gradient_cut(gpu, plans[2], self.sizes, x, dy, dw, room).unwrap();
            to.iter().flat_map(|to| to.read(gpu).unwrap()).collect()
        }
    }

    fn formulas(
        [n, d, f]: [usize; 3],
        [x, w, dy]: [&[f64]; 3],
        bias: Option<&[f64]>,
        activation: impl Fn(f64) -> f64,
    ) -> [Vec<f64>; 3] {
        let turned = |matrix: &[f64], rows: usize, columns: usize| -> Vec<f64> {
            (0..rows * columns).map(|at| matrix[at % rows * columns + at / rows]).collect()
        };
        let mut y = naive::gemm([n, d, f], x, w);
        y.iter_mut().enumerate().for_each(|(at, y)| *y = activation(*y + bias.map_or(0.0, |bias| bias[at % f])));
        [y, naive::gemm([n, f, d], dy, &turned(w, d, f)), naive::gemm([d, n, f], &turned(x, n, d), dy)]
    }

    #[test]
    fn products_agree_with_the_formulas() {
        let (gpu, mut random) = (gpu(), Key::new(1).named("gemm").stream());
        for _ in 0..60 {
            Case::draw(&mut random).check(&gpu, 2e-6, &mut random);
        }
    }

    #[test]
    fn products_on_tensor_cores_agree_with_the_formulas() {
        let (gpu, mut random) = (gpu_tf32(), Key::new(2).named("gemm").stream());
        for _ in 0..60 {
            Case::draw(&mut random).check(&gpu, 1e-3, &mut random);
        }
    }

    // Products of nothing are 0, and a batch of 0 is no launch.
    #[test]
    fn sizes_may_be_0() {
        let (gpu, mut random) = (gpu(), Key::new(3).named("gemm").stream());
        for sizes in [[0, 3, 4], [3, 0, 4], [3, 4, 0]] {
            let case = Case { sizes, activation: Activation::Linear, bias: sizes[2] > 0, cut: None, before: 0 };
            case.check(&gpu, 2e-6, &mut random);
        }
    }

    /// Moves drawn weights by the product, and, with `written`, by what the product wrote down instead: θ, the moments and
    /// the average.
    fn moved(gpu: &Gpu, case: &Case, rule: Rule, halted: u32, written: bool, random: &mut Random) -> Vec<f32> {
        let [n, d, f] = case.sizes;
        let plan = case.plan([d, f, n], weight_gradient_plan(case.sizes));
        let [x, dy] = [n * d, n * f].map(|len| testing::behind(gpu, &drawn::draw(len, random), case.before));
        let [x, dy] = [&x, &dy].map(|factor| factor.span().part(case.before..));
        let [theta, m, v, a] =
            [(); 4].map(|()| testing::behind(gpu, &drawn::magnitudes(&drawn::draw(d * f, random)), 0));
        let row = [0.75, 0.5, 0.01, 1e-3, 0.1, 0.2, 0.3, 0.0];
        let rows = Buffer::of(gpu, &[[f32::NAN; 8], row].concat()).unwrap();
        let control = Buffer::of(gpu, &[1, halted, 0, 0]).unwrap();
        let average = if case.bias { a.span() } else { Span::none() };
        let moving = Moving {
            rule,
            rows: rows.span(),
            control: control.span(),
            theta: theta.span(),
            decayed: d * f / 2,
            moments: [m.span(), v.span()],
            average,
        };
        if written {
            let (dw, norm) = (poisoned(gpu, d * f), Buffer::of(gpu, &[0.0]).unwrap());
            let none = Span::none();
            weight_gradient_cut(gpu, plan, case.sizes, x, dy, dw.span(), none).unwrap();
            update::apply(gpu, &moving, dw.span(), norm.span()).unwrap();
        } else {
            weight_update_cut(gpu, plan, case.sizes, x, dy, &moving).unwrap();
        }
        [&theta, &m, &v, &a].iter().flat_map(|numbers| numbers.read(gpu).unwrap()).collect()
    }

    #[test]
    fn weights_move_by_the_product_as_by_a_gradient_that_was_written() {
        let mut random = Key::new(4).named("gemm").stream();
        let rolls = [false, true].map(|nesterov| Rule::Roll { nesterov });
        let rules = [Rule::Adam, Rule::Descend, rolls[0], rolls[1]];
        for (gpu, round) in [gpu(), gpu_tf32()].iter().flat_map(|gpu| (0..24).map(move |round| (gpu, round))) {
            let mut case = Case::draw(&mut random);
            case.cut = Some((Tile::ALL[round % 3], 1));
            let (rule, key) = (rules[round / 3 % 4], Key::new(round as u64));
            let run = |halted, written| moved(gpu, &case, rule, halted, written, &mut key.stream());
            let [found, expected] = [false, true].map(|written| testing::same_bits(|| run(0, written)));
            assert!(found == expected, "{:?} {:?} {rule:?}", case.sizes, case.cut);
            let still = run(7, false);
            assert!(still != found && still == run(7, true), "a training that is halted");
        }
    }

    #[test]
    fn few_tiles_have_their_sums_cut() {
        // The thesis' first dense layer, at batch 32 and 1024
        let [small, large] = [32, 1024].map(|n| forward_plan([n, 6272, 128]));
        assert!(small.splits > 30 && large.splits > 1, "{small:?} {large:?}");
        assert!(has_whole_gradients([32, 6272, 128]) && !has_whole_gradients([1024, 128, 1]));
    }
}
