//! Every plan against the layers' own passes, on drawn networks.

use super::{Forward, InferencePlan, TrainingPlan};
use crate::element::Element;
use crate::error::Result;
use crate::kernels::cpu::update::{self, Descend};
use crate::layers::*;
use crate::random::{Key, Random};
use crate::shape::Padding;
use ndarray::{ArrayD, ArrayViewD, Axis, Slice};

/// y = x², a layer that no plan knows.
#[derive(Debug, Clone)]
struct Square;

impl<E: Element> Layer<E> for Square {
    fn kind(&self) -> &'static str {
        "Square"
    }
    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(input.to_vec())
    }
    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        Ok(x.mapv(|x| x * x))
    }
    fn forward_train(&self, x: ArrayViewD<'_, E>, _key: Key) -> Result<(ArrayD<E>, Saved)> {
        Ok((x.mapv(|x| x * x), Saved::new(x.to_owned())))
    }
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        Ok(Backward::input_only(saved.take::<ArrayD<E>>("square")? * E::of(2.0) * dy))
    }
    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(self.clone())
    }
}

fn activation<E: Element>(random: &mut Random) -> Box<dyn Layer<E>> {
    match random.below(6) {
        0 => Box::new(LeakyReLU::new(0.2)),
        1 => Box::new(Sigmoid),
        2 => Box::new(Tanh),
        _ => Box::new(ReLU),
    }
}

/// A layer for pictures.
fn spatial<E: Element>(random: &mut Random, depth: usize) -> Box<dyn Layer<E>> {
    let size = 1 + random.below(3);
    let padding = [Padding::Valid, Padding::Same][random.below(2)];
    match random.below(if depth == 0 { 13 } else { 11 }) {
        0..=2 => Box::new(Conv2D::new(1 + random.below(20), size).padding(padding).use_bias(random.chance(0.7))),
        3 => Box::new(Conv2D::new(4, size).stride(1 + random.below(2)).padding(Padding::Same)),
        4 => Box::new(BatchNorm::new()),
        5 => Box::new(MaxPool2D::new(2)),
        6 => Box::new(MaxPool2D::new(3).stride(1 + random.below(2)).padding(Padding::Same)),
        7 => Box::new(AveragePool2D::new(2).ceil_mode(random.chance(0.5))),
        8 => Box::new(Dropout::new(0.3)),
        9 => Box::new(Square),
        10 => activation(random),
        _ => {
            let filters = 1 + random.below(5);
            let mut block = Residual::new().add(Conv2D::new(filters, 3).padding(Padding::Same)).add(BatchNorm::new());
            block = if random.chance(0.5) { block.add(ReLU).add(Conv2D::new(filters, 1)) } else { block };
            match random.below(3) {
                // Needs a shortcut, since the channels differ; sometimes one that is a block itself.
                0 => Box::new(block.shortcut(Conv2D::new(filters, 1))),
                1 => Box::new(
                    block.shortcut(Residual::new().add(Conv2D::new(filters, 1)).shortcut(Conv2D::new(filters, 1))),
                ),
                _ => Box::new(Residual::new().add(BatchNorm::new()).add(ReLU)),
            }
        }
    }
}

/// A built network of layers that fit each other, and its input's shape.
pub fn network<E: Element>(random: &mut Random) -> (Chain<E>, Vec<usize>) {
    let input = vec![3 + random.below(8), 3 + random.below(8), 1 + random.below(4)];
    let (mut chain, mut shape) = (Chain::default(), input.clone());
    let mut push = |chain: &mut Chain<E>, layer: Box<dyn Layer<E>>| {
        let mut trial = layer.clone();
        if trial.build(&shape, Key::new(0)).is_ok()
            && let Ok(output) = trial.output_shape(&shape)
        {
            shape = output;
            chain.push(layer);
        }
    };
    for _ in 0..random.below(5) {
        let layer = spatial(random, 0);
        push(&mut chain, layer);
        if random.chance(0.5) {
            let layer = activation(random);
            push(&mut chain, layer);
        }
        if random.chance(0.3) {
            push(&mut chain, Box::new(MaxPool2D::new(2)));
        }
    }
    let flat: Box<dyn Layer<E>> = match random.below(4) {
        0 => Box::new(GlobalAveragePool2D),
        1 => Box::new(GlobalMaxPool2D),
        _ => Box::new(Flatten),
    };
    push(&mut chain, flat);
    for _ in 0..random.below(4) {
        let layer: Box<dyn Layer<E>> = match random.below(6) {
            0 => Box::new(BatchNorm::new()),
            1 => Box::new(Maxout::new(3, 2)),
            2 => Box::new(Softmax),
            3 => activation(random),
            4 => Box::new(Dropout::new(0.5)),
            _ => Box::new(Dense::new(1 + random.below(9)).use_bias(random.chance(0.7))),
        };
        push(&mut chain, layer);
    }
    chain.build(&input, Key::new(random.below(1000) as u64)).unwrap();
    // Moving averages and biases that are not the neutral ones.
    for (_, mut view) in chain.state_mut() {
        view.mapv_inplace(|v| v + E::of(random.uniform(0.0, 0.5)));
    }
    for (_, mut view) in chain.parameters_mut() {
        view.mapv_inplace(|v| v + E::of(random.uniform(-0.1, 0.1)));
    }
    (chain, input)
}

pub fn draw<E: Element>(batch: usize, sample: &[usize], random: &mut Random) -> ArrayD<E> {
    ArrayD::from_shape_simple_fn([&[batch], sample].concat(), || E::of(random.normal()))
}

/// |found − expected| ≤ tolerance · (1 + the largest number)
pub fn close<E: Element>(found: ArrayViewD<'_, E>, expected: &ArrayD<E>, tolerance: f64, what: &str) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    let largest = expected.iter().map(|x| x.as_f64().abs()).fold(1.0, f64::max);
    for (found, expected) in found.iter().zip(expected) {
        let error = (found.as_f64() - expected.as_f64()).abs();
        assert!(error <= tolerance * largest, "{what}: {found} instead of {expected}");
    }
}

/// One step through the plan and through the layers.
fn compare<E: Element>(
    plan: &mut TrainingPlan<E>,
    chain: &Chain<E>,
    x: &ArrayD<E>,
    random: &mut Random,
    tolerance: f64,
) {
    let key = Key::new(random.below(1000) as u64);
    let (y, saved) = chain.forward_train(x.view(), key).unwrap();
    let dy = draw(x.shape()[0], &y.shape()[1..], random);
    let back = chain.backward_first(saved, dy.view()).unwrap();

    plan.forward(chain, &x.view(), key).unwrap();
    let (found, mut gradient) = plan.head();
    close(found, &y, tolerance, "output");
    gradient.assign(&dy);
    plan.backward(chain, &x.view(), random.chance(0.5)).unwrap();
    let mut changed = chain.clone();
    let mut found = Vec::new();
    plan.update(&mut changed, &x.view(), &mut |index, values, gradient| {
        assert_eq!(index, found.len());
        let mut entries = vec![E::zero(); values.len()];
        update::apply_any(Descend { rate: -E::one() }, E::one(), &mut entries, gradient, []);
        found.push(entries);
    });
    assert_eq!(found.len(), back.params.len());
    for ((found, expected), (name, _)) in found.iter().zip(&back.params).zip(chain.parameters()) {
        let found = ArrayViewD::from_shape(expected.shape(), found).unwrap();
        close(found, expected, 10.0 * tolerance, &name);
    }
    plan.set_state(&mut changed);
    for ((name, found), expected) in changed.state().into_iter().zip(&back.state) {
        close(found, expected, tolerance, &name);
    }
}

fn check<E: Element>(round: u64, tolerance: f64) {
    let mut random = Key::new(1).named("plan").at(round).stream();
    let (chain, input) = network::<E>(&mut random);
    let count = chain.layers().len();
    let mut plan = TrainingPlan::new(&chain, count, &input).unwrap();
    // A whole batch, a part of one, and a larger one.
    for batch in [3, 1, 5] {
        let x = draw(batch, &input, &mut random);
        compare(&mut plan, &chain, &x, &mut random, tolerance);
    }
    let mut plan = InferencePlan::new(&chain, count, &input).unwrap();
    for batch in [2, 1, 67] {
        let x = draw::<E>(2 * batch, &input, &mut random);
        // Every second sample: not in standard layout.
        let x = x.slice_axis(Axis(0), Slice::new(0, None, 2));
        let expected = chain.forward(x.view()).unwrap();
        let mut y = ArrayD::from_elem(expected.shape(), E::nan());
        plan.run(&chain, &x, y.as_slice_mut().unwrap()).unwrap();
        close(y.view(), &expected, tolerance, "prediction");
    }
}

#[test]
fn plans_equal_the_layers_on_drawn_networks() {
    for round in 0..400 {
        check::<f64>(round, 1e-9);
    }
}

#[test]
fn plans_equal_the_layers_in_single_precision() {
    for round in 400..500 {
        check::<f32>(round, 1e-3);
    }
}

#[test]
fn steps_are_fused() {
    let mut chain = Chain::<f32>::default();
    let layers: [Box<dyn Layer<f32>>; 10] = [
        Box::new(Conv2D::new(4, 3)),
        Box::new(ReLU),
        Box::new(MaxPool2D::new(2)),
        Box::new(Conv2D::new(4, 3)),
        Box::new(BatchNorm::new()),
        Box::new(MaxPool2D::new(2)),
        Box::new(LeakyReLU::new(0.1)),
        Box::new(Flatten),
        Box::new(Dense::new(5)),
        Box::new(Tanh),
    ];
    layers.into_iter().for_each(|layer| chain.push(layer));
    chain.build(&[16, 16, 3], Key::new(1)).unwrap();
    let names = |names: &[String]| names.join("; ");
    let training = TrainingPlan::new(&chain, 10, &[16, 16, 3]).unwrap();
    assert_eq!(
        names(&training.steps().map(|step| step.name).collect::<Vec<_>>()),
        "conv2d_1 + relu_1 + maxpool2d_1; conv2d_2; batchnorm_1 + maxpool2d_2 + leakyrelu_1; dense_1 + tanh_1"
    );
    let inference = InferencePlan::new(&chain, 10, &[16, 16, 3]).unwrap();
    assert_eq!(
        names(&inference.steps().map(String::from).collect::<Vec<_>>()),
        "conv2d_1 + relu_1 + maxpool2d_1; conv2d_2 + batchnorm_1 + maxpool2d_2 + leakyrelu_1; dense_1 + tanh_1"
    );
}

// A picture that is not a number spoils its own answer and no other one.
#[test]
fn nan_stays_nan() {
    let mut chain = Chain::<f32>::default();
    let layers: [Box<dyn Layer<f32>>; 5] = [
        Box::new(Conv2D::new(4, 3)),
        Box::new(ReLU),
        Box::new(MaxPool2D::new(2)),
        Box::new(Flatten),
        Box::new(Dense::new(1)),
    ];
    layers.into_iter().for_each(|layer| chain.push(layer));
    chain.build(&[8, 8, 3], Key::new(1)).unwrap();
    let mut x = ArrayD::ones(vec![3, 8, 8, 3]);
    x[[1, 4, 4, 0]] = f32::NAN;
    let mut plan = TrainingPlan::new(&chain, 5, &[8, 8, 3]).unwrap();
    plan.forward(&chain, &x.view(), Key::new(0)).unwrap();
    let (y, mut dy) = plan.head();
    assert_eq!(y.mapv(f32::is_nan).into_raw_vec_and_offset().0, [false, true, false]);
    dy.fill(1.0);
    plan.backward(&chain, &x.view(), true).unwrap();
    assert_eq!(plan.not_finite().map(|(name, value)| (name, value.is_nan())), Some(("conv2d_1.weight", true)));
    let mut y = [0.0; 3];
    InferencePlan::new(&chain, 5, &[8, 8, 3]).unwrap().run(&chain, &x.view(), &mut y).unwrap();
    assert_eq!(y.map(f32::is_nan), [false, true, false]);
}

// Dense layers' gradients wait for the update only where they are sure to be finite.
#[test]
fn what_may_overflow_is_looked_at() {
    let mut chain = Chain::<f32>::default();
    chain.push(Box::new(Dense::new(1)));
    chain.build(&[1], Key::new(1)).unwrap();
    let mut plan = TrainingPlan::new(&chain, 1, &[1]).unwrap();
    for ([x, dy], waits, found) in [
        ([[1.0, 2.0], [3.0, 4.0]], true, None),
        ([[1e30, 0.0], [0.0, 1e30]], false, None),
        ([[1e30, 0.0], [1e30, 0.0]], false, Some(("dense_1.weight", f64::INFINITY))),
    ] {
        let x = ArrayD::from_shape_vec(vec![2, 1], x.to_vec()).unwrap();
        plan.forward(&chain, &x.view(), Key::new(0)).unwrap();
        plan.head().1.iter_mut().zip(dy).for_each(|(to, dy)| *to = dy);
        plan.backward(&chain, &x.view(), true).unwrap();
        assert_eq!(plan.not_finite(), found);
        let mut products = 0;
        plan.update(&mut chain.clone(), &x.view(), &mut |_, _, gradient| {
            products += usize::from(matches!(gradient, update::Gradient::Product(_)));
        });
        assert_eq!(products, usize::from(waits));
    }
}
