//! The plan on a GPU against the layers' own passes, on the networks that the plan on the CPU is held against.

use super::{CudaInference, CudaTraining, Input, Prepared, Setup};
use crate::kernels::cuda::Gpu;
use crate::kernels::cuda::testing::{gpu, launched};
use crate::kernels::cuda::update::Rule;
use crate::layers::{Chain, Dense, Layer, Sigmoid};
use crate::losses::{Formula, Loss, MeanSquaredError};
use crate::plan::Forward;
use crate::plan::fuse::{Program, Purpose, Step};
use crate::plan::tests::{close, draw, network};
use crate::random::{Key, Random};
use crate::target::Target;
use ndarray::{ArrayD, Axis, Slice};
use std::sync::Arc;

const SETUP: Setup =
    Setup { formula: Formula::Squared, threshold: 0.0, rule: Rule::Descend, moments: &[], average: false };

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
        let logged = training.finish(1).unwrap();
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
