//! The plan on a GPU against the layers' own passes, on the networks that the plan on the CPU is held against.

use super::{CudaInference, CudaTraining, Input, Prepared, Setup};
use crate::kernels::cuda::Gpu;
use crate::kernels::cuda::reduce::UNSURE;
use crate::kernels::cuda::testing::{gpu, launched};
use crate::kernels::cuda::update::Rule;
use crate::layers::{Chain, Dense, Layer, Sigmoid};
use crate::losses::{BinaryCrossEntropy, Formula, Loss, MeanSquaredError};
use crate::plan::Forward;
use crate::plan::fuse::{Program, Purpose, Step};
use crate::plan::tests::{close, draw, network};
use crate::random::{Key, Random};
use crate::target::Target;
use ndarray::{ArrayD, Axis, Slice};
use std::sync::Arc;

/// With clipping, though nothing is clipped: so all gradients are written down.
const SETUP: Setup =
    Setup { formula: Formula::Squared, threshold: 0.0, rule: Rule::Descend, clips: true, moments: &[], average: false };

/// Keeps all of every parameter, and moves it by nothing.
const STILL: [f32; 8] = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];

/// The network's first layer that no plan knows.
fn unknown(chain: &Chain<f32>, input: &[usize]) -> Option<String> {
    let program = Program::new(chain, chain.layers().len(), input, Purpose::Training).unwrap();
    program.nodes.into_iter().find(|node| node.step == Step::Own).map(|node| node.name)
}

/// One step on the GPU, twice, and through the layers.
fn compare(training: &mut CudaTraining, chain: &Chain<f32>, x: &ArrayD<f32>, random: &mut Random) {
    let key = Key::new(random.below(1000) as u64);
    let (y, saved) = chain.forward_train(x.view(), key).unwrap();
    let target = Target::Values(draw(x.shape()[0], &y.shape()[1..], random));
    let (value, dy) = MeanSquaredError.gradient(y.view(), &target, None).unwrap();
    let back = chain.backward_first(saved, dy.view()).unwrap();

    let rows = MeanSquaredError.rows(y.shape(), &target, None).unwrap().unwrap();
    let step = Prepared { input: Input::Values(x.into()), rows, key };
    // Launched one by one, then written down, then from the graph.
    for time in ["first", "second", "third"] {
        training.write_network(chain).unwrap();
        training.poison();
        training.begin(std::slice::from_ref(&step), &[STILL]).unwrap();
        let logged = training.finish(std::slice::from_ref(&step)).unwrap();
        assert!(logged.halted.is_none(), "{time}: {:?}", logged.halted);
        let loss = f64::from(logged.steps[0][0]);
        assert!((loss - value.mean).abs() <= 1e-4 * value.mean.max(1.0), "{time} loss: {loss} instead of {value:?}");
        let names = chain.parameters().into_iter().map(|(name, _)| name);
        for ((found, expected), name) in training.read_gradients().unwrap().iter().zip(&back.params).zip(names) {
            close(found.view(), expected, 1e-3, &format!("{time} {name}"));
        }
        let mut changed = chain.clone();
        training.read_network(&mut changed).unwrap();
        for ((name, found), expected) in changed.state().into_iter().zip(&back.state) {
            close(found, expected, 1e-4, &name);
        }
        for ((name, found), (_, expected)) in changed.parameters().into_iter().zip(chain.parameters()) {
            assert_eq!(found, expected, "{name} moved by nothing");
        }
    }
}

/// Whether the network has kernels for all of its layers, which are then right.
fn check(gpu: &Arc<Gpu>, round: u64) -> bool {
    let mut random = Key::new(1).named("plan on a GPU").at(round).stream();
    let (chain, input) = network::<f32>(&mut random);
    let count = chain.layers().len();
    let training = CudaTraining::new(gpu, (&chain, count, &input), 5, SETUP, None);
    if let Some(name) = unknown(&chain, &input) {
        let error = training.unwrap_err().to_string();
        assert_eq!(error, format!("cuda:0: {name} has no kernel for a GPU; it runs with Device::Cpu"));
        return false;
    }
    let mut training = training.unwrap();
    // A part of a batch, and a whole one.
    for batch in [2, 5] {
        let x = draw(batch, &input, &mut random);
        compare(&mut training, &chain, &x, &mut random);
    }
    let mut plan = CudaInference::new(gpu, &chain, count, &input).unwrap();
    for batch in [2, 1, 3] {
        let x = draw::<f32>(2 * batch, &input, &mut random);
        // Every second sample: not in standard layout.
        let x = x.slice_axis(Axis(0), Slice::new(0, None, 2));
        let expected = chain.forward(x.view()).unwrap();
        let mut y = ArrayD::from_elem(expected.shape(), f32::NAN);
        plan.run(&chain, &x, y.as_slice_mut().unwrap()).unwrap();
        close(y.view(), &expected, 1e-3, "prediction");
    }
    true
}

/// One dense layer with its activation, from `inputs` numbers to `units`.
fn dense([inputs, units]: [usize; 2]) -> Chain<f32> {
    let mut chain = Chain::default();
    chain.push(Box::new(Dense::new(units)));
    chain.push(Box::new(Sigmoid));
    chain.build(&[inputs], Key::new(3)).unwrap();
    chain
}

#[test]
fn a_small_head_is_part_of_the_loss() {
    let (gpu, mut random) = (gpu(), Key::new(2).named("plan on a GPU").stream());
    // The loss; the gradients of w and b; the look at both and the look at its parts; the update; on to the next step.
    const WITHOUT_HEAD: usize = 7;
    // Larger heads are a product and the sum of its parts.
    for (sizes, batch, head) in [([128, 1], 32, 0), ([1, 3], 1, 0), ([128, 10], 5, 0), ([600, 130], 5, 2)] {
        let chain = dense(sizes);
        let mut training = CudaTraining::new(&gpu, (&chain, 2, &sizes[..1]), batch, SETUP, None).unwrap();
        let before = launched();
        compare(&mut training, &chain, &draw(batch, &sizes[..1], &mut random), &mut random);
        let launches = before.and_then(|before| Some((launched()? - before) / 3));
        // A slope, since the loss is not that of a sigmoid.
        assert!(launches.is_none_or(|launches| launches == WITHOUT_HEAD + 1 + head), "{sizes:?}: {launches:?}");
    }
}

#[test]
fn the_plan_equals_the_layers_on_drawn_networks() {
    let gpu = gpu();
    let known = (0..120).filter(|&round| check(&gpu, round)).count();
    assert!(known > 40, "only {known} networks could be compared");
}

/// What became of a group of steps.
#[derive(Debug, PartialEq)]
struct Outcome {
    log: Vec<[u32; 2]>,
    /// What was not finite, and its bits.
    halted: Option<(String, u64)>,
    /// Weights, state, moments and averages, as bits.
    numbers: Vec<(String, Vec<u32>)>,
}

fn bits<'a>(numbers: impl IntoIterator<Item = &'a f32>) -> Vec<u32> {
    numbers.into_iter().map(|number| number.to_bits()).collect()
}

/// Does a group of steps, each by the same row of an optimizer; says of how many layers the weights' gradient is not
/// written down, and whether one of them was not surely finite.
fn train(
    gpu: &Arc<Gpu>,
    (chain, input): (&Chain<f32>, &[usize]),
    setup: Setup,
    group: &[Prepared<'_>],
) -> (Outcome, usize, bool) {
    let batch = group[0].samples();
    let mut training = CudaTraining::new(gpu, (chain, chain.layers().len(), input), batch, setup, None).unwrap();
    let averages: Vec<_> =
        chain.parameters().into_iter().map(|(name, view)| (format!("{name}.ema"), view.to_owned())).collect();
    training.write_network(chain).unwrap();
    training.write_average(&averages).unwrap();
    training.poison();
    let waiting = training.waiting(batch).to_vec();
    // What is kept of decayed weights and of others, η or α, ε, 1 − β₁, 1 − β₂ or μ, the average's c, and no norm.
    let row = [0.99, 1.0, 0.01, 1e-3, 0.1, 0.5, 0.2, 0.0];
    training.begin(group, &vec![row; group.len()]).unwrap();
    let unsure = training.tables.control.read(gpu).unwrap()[1] == UNSURE;
    for &j in &waiting {
        let dw = training.parameters.of(&training.gradients, training.program.nodes[j].parameters.start);
        assert!(dw.read(gpu).unwrap().iter().all(|&dw| dw == 0.0), "a gradient that was written down");
    }
    let logged = training.finish(group).unwrap();
    let mut changed = chain.clone();
    training.read_network(&mut changed).unwrap();
    let tensors = changed.parameters().into_iter().chain(changed.state()).map(|(name, view)| (name, bits(&view)));
    let others = [training.read_moments().unwrap(), training.read_average().unwrap()].concat();
    let numbers = tensors.chain(others.into_iter().map(|(name, tensor)| (name, bits(&tensor)))).collect();
    let log = logged.steps.iter().map(|row| row.map(f32::to_bits)).collect();
    let halted = logged.halted.map(|(what, value)| (what, value.to_bits()));
    (Outcome { log, halted, numbers }, waiting.len(), unsure)
}

const RULES: [(Rule, &[&str]); 4] = [
    (Rule::Adam, &["m", "v"]),
    (Rule::Descend, &[]),
    (Rule::Roll { nesterov: false }, &["u"]),
    (Rule::Roll { nesterov: true }, &["u"]),
];

/// The same with and without gradients that are written down, to the bit; says what `train` says.
fn moved_alike(
    gpu: &Arc<Gpu>,
    network: (&Chain<f32>, &[usize]),
    setup: Setup,
    group: &[Prepared<'_>],
) -> (Outcome, usize, bool) {
    let [(found, waiting, unsure), (expected, 0, false)] =
        [false, true].map(|clips| train(gpu, network, Setup { clips, ..setup }, group))
    else {
        panic!("with clipping every gradient is written down")
    };
    assert_eq!(found, expected, "{setup:?}, {waiting} layers");
    (found, waiting, unsure)
}

#[test]
fn weights_move_within_their_products_as_by_gradients_that_were_written() {
    let (gpu, mut known, mut waited) = (gpu(), 0, [0; 4]);
    for round in 0..80 {
        let mut random = Key::new(3).named("plan on a GPU").at(round).stream();
        let (mut chain, input) = network::<f32>(&mut random);
        for _ in 0..random.below(4) {
            chain.push(Box::new(Dense::new(1 + random.below(70)).use_bias(random.chance(0.7))));
        }
        chain.build(&input, Key::new(round)).unwrap();
        if unknown(&chain, &input).is_some() {
            continue;
        }
        let (rule, moments) = RULES[known % 4];
        known += 1;
        let setup = Setup { rule, moments, average: random.chance(0.5), ..SETUP };
        let batch = 1 + random.below(5);
        let group: Vec<_> = (0..3)
            .map(|_| {
                let x = draw(batch, &input, &mut random);
                let key = Key::new(random.below(1000) as u64);
                let shape = chain.forward_train(x.view(), key).unwrap().0.shape().to_vec();
                let target = Target::Values(draw::<f32>(batch, &shape[1..], &mut random));
                let rows = MeanSquaredError.rows(&shape, &target, None).unwrap().unwrap();
                Prepared { input: Input::Values(x.into()), rows, key }
            })
            .collect();
        let (outcome, waiting, unsure) = moved_alike(&gpu, (&chain, &input), setup, &group);
        assert!(!unsure && outcome.halted.is_none() && outcome.log.len() == 3, "{outcome:?}");
        waited[waiting.min(3)] += 1;
    }
    assert!(waited.iter().all(|&networks| networks > 0), "{waited:?}");
}

/// Steps of four samples of six numbers for one logit: drawn numbers times `size`, and what each sample weighs.
fn logits<'a>(sizes: &[(f32, f64)], random: &mut Random) -> Vec<Prepared<'a>> {
    let loss = BinaryCrossEntropy::from_logits();
    let step = |&(size, weight): &(f32, f64)| {
        let x = draw::<f32>(4, &[6], random).mapv(|x| x.clamp(0.7, 1.0) * size);
        let target = Target::<f32>::Labels(vec![1, 1, 1, 0]);
        let rows = loss.rows(&[4, 1], &target, Some(&[weight; 4])).unwrap().unwrap();
        Prepared { input: Input::Values(x.into()), rows, key: Key::new(1) }
    };
    sizes.iter().map(step).collect()
}

// Where a gradient that is not written down may not be finite, the step is done with all of them written.
#[test]
fn what_is_not_finite_leaves_no_trace_though_nobody_wrote_it_down() {
    let (gpu, mut random) = (gpu(), Key::new(4).named("plan on a GPU").stream());
    let mut chain = Chain::<f32>::default();
    chain.push(Box::new(Dense::new(1)));
    chain.build(&[6], Key::new(1)).unwrap();
    chain.parameters_mut().into_iter().for_each(|(_, mut weights)| weights.fill(0.0));
    let formula = Formula::Binary { from_logits: true };
    // What became of a group, whether it had to be done with all gradients written, and of the steps before the last one.
    let mut run = |(rule, moments): (Rule, &'static [&'static str]), sizes: &[(f32, f64)]| {
        let setup = Setup { formula, rule, moments, average: true, ..SETUP };
        let group = logits(sizes, &mut random);
        let (outcome, waiting, unsure) = moved_alike(&gpu, (&chain, &[6]), setup, &group);
        assert_eq!(waiting, 1);
        let before = moved_alike(&gpu, (&chain, &[6]), setup, &group[..outcome.log.len()]).0;
        (outcome, unsure, before)
    };
    for rule in RULES {
        // ‖x‖·‖dy‖ is beyond the largest number, the sums of products are not.
        let (outcome, unsure, _) = run(rule, &[(1.0, 1.0), (3e38, 0.9), (1e-36, 1.0)]);
        assert!(unsure && outcome.halted.is_none() && outcome.log.len() == 3, "{rule:?} {outcome:?}");
        // The gradient overflows; or an input is no number. Neither leaves a trace.
        let (outcome, unsure, before) = run(rule, &[(1.0, 1.0), (3e38, 9.0), (1.0, 1.0)]);
        let (what, value) = outcome.halted.expect("the gradient overflows");
        assert!(unsure && what == "the gradient of dense_1.weight" && f64::from_bits(value).is_infinite(), "{what}");
        assert_eq!((outcome.log, outcome.numbers), (before.log, before.numbers), "{rule:?}");
        let (outcome, unsure, before) = run(rule, &[(1.0, 1.0), (1.0, 1.0), (f32::NAN, 1.0), (1.0, 1.0)]);
        let (what, value) = outcome.halted.expect("a loss that is no number");
        assert!(!unsure && what == "the loss" && f64::from_bits(value).is_nan(), "{what}");
        assert_eq!((outcome.log, outcome.numbers), (before.log, before.numbers), "{rule:?}");
    }
}

#[test]
fn sums_that_are_cut_do_not_wait() {
    let gpu = gpu();
    let mut chain = Chain::<f32>::default();
    chain.push(Box::new(Dense::new(30)));
    chain.push(Box::new(Dense::new(90)));
    chain.build(&[4], Key::new(1)).unwrap();
    let setup = Setup { clips: false, ..SETUP };
    let training = CudaTraining::new(&gpu, (&chain, 2, &[4]), 300, setup, None).unwrap();
    // The larger one is the first in the arena; in batches of 300 their sums are cut.
    assert_eq!([32, 127, 300].map(|batch| training.waiting(batch)), [&[1, 0][..], &[1, 0], &[]]);
    assert_eq!([2, 0, 3].map(|number| training.parameters.place(number).start), [0, 2752, 2752 + 128 + 64]);
}
