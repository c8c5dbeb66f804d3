//! Every layer's and loss' gradient against central differences, over named and drawn shapes.

use ndarray::{Array, ArrayD};
use tapetum::Target;
use tapetum::inspect::{GradCheck, check_layer, check_loss};
use tapetum::losses::{BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError};
use tapetum::model::SequentialBuilder;
use tapetum::prelude::*;
use tapetum::{Pair, Random};

const TOLERANCE: f64 = 1e-6;

/// Numbers in random order, at least 0.01 from each other and from 0: no difference quotient crosses a kink.
fn spread(shape: &[usize], random: &mut Random) -> ArrayD<f64> {
    let count: usize = shape.iter().product();
    let grid = |i: usize| (i as f64 + 0.5 - (count / 2) as f64) * 0.05;
    let mut values: Vec<f64> = (0..count).map(|i| grid(i) + random.uniform(-0.015, 0.015)).collect();
    random.shuffle(&mut values);
    ArrayD::from_shape_vec(shape, values).unwrap()
}

/// Builds `layer`, gives it drawn parameters (biases, too) and checks its gradients for `n` samples.
fn verify(layer: impl Layer<f64>, n: usize, sample: &[usize]) {
    let mut layer = layer;
    layer.build(sample, Key::new(7)).unwrap();
    let mut random = Key::new(8).stream();
    layer.parameters_mut().iter_mut().for_each(|(_, p)| p.mapv_inplace(|_| random.uniform(-1.0, 1.0)));
    let x = spread(&[&[n], sample].concat(), &mut random);
    let report = check_layer(&layer, x.view(), &GradCheck::default()).unwrap();
    assert!(report.error <= TOLERANCE, "{} {} for {n} × {sample:?}: {report}", layer.kind(), layer.config());
    assert!(report.checked >= x.len().min(1000), "{report}");
}

/// One of `0..=3` on each side, or one of the two names.
fn draw_padding(random: &mut Random) -> Padding {
    let mut side = || random.below(4);
    match side() {
        0 => Padding::Valid,
        1 => Padding::Same,
        _ => Padding::Explicit { top: side(), bottom: side(), left: side(), right: side() },
    }
}

fn draw_pair(random: &mut Random, most: usize) -> Pair {
    Pair(1 + random.below(most), 1 + random.below(most))
}

#[test]
fn conv2d_over_named_shapes() {
    verify(Conv2D::new(3, 3), 2, &[6, 5, 2]);
    // batch 1, one channel, one filter, kernel = input
    verify(Conv2D::new(1, (4, 3)), 1, &[4, 3, 1]);
    // not square in anything
    verify(Conv2D::new(2, (2, 3)).stride((2, 1)).dilation((1, 2)).padding(Padding::Same), 2, &[7, 6, 3]);
    // windows that leave pixels out: these have gradient 0
    verify(Conv2D::new(2, 2).stride(3), 2, &[9, 7, 2]);
    // a border on each side on its own, wider than the kernel
    verify(Conv2D::new(2, 2).padding(Padding::Explicit { top: 0, bottom: 3, left: 1, right: 2 }), 1, &[3, 3, 2]);
    // groups, and as many as channels (depthwise), with one and two filters for each
    verify(Conv2D::new(6, 3).groups(2), 2, &[5, 5, 4]);
    verify(Conv2D::new(4, 3).groups(4).padding(Padding::all(1)), 2, &[4, 5, 4]);
    verify(Conv2D::new(8, (1, 3)).groups(4).stride(2), 1, &[5, 7, 4]);
    verify(Conv2D::new(5, 1).use_bias(false), 3, &[3, 4, 2]);
}

#[test]
fn conv2d_over_drawn_shapes() {
    let mut random = Key::new(1).named("conv2d").stream();
    let mut verified = 0;
    while verified < 40 {
        let groups = 1 + random.below(3);
        let (filters, channels) = (groups * (1 + random.below(2)), groups * (1 + random.below(2)));
        let layer = Conv2D::<f64>::new(filters, draw_pair(&mut random, 4))
            .stride(draw_pair(&mut random, 3))
            .dilation(draw_pair(&mut random, 3))
            .padding(draw_padding(&mut random))
            .groups(groups);
        let sample = [1 + random.below(7), 1 + random.below(7), channels];
        // Some kernels drawn are larger than their pictures.
        if layer.output_shape(&sample).is_ok() {
            verify(layer, 1 + random.below(2), &sample);
            verified += 1;
        }
    }
}

#[test]
fn pooling_over_named_shapes() {
    // the thesis': the last row and column are dropped
    verify(MaxPool2D::new(2), 2, &[5, 7, 3]);
    verify(AveragePool2D::new(2), 2, &[5, 7, 3]);
    // overlapping windows
    verify(MaxPool2D::new(3).stride(1), 1, &[5, 4, 1]);
    verify(AveragePool2D::new((3, 2)).stride(1), 1, &[5, 4, 1]);
    // window = input
    verify(MaxPool2D::new((4, 3)), 2, &[4, 3, 2]);
    verify(AveragePool2D::new((4, 3)), 2, &[4, 3, 2]);
    verify(GlobalMaxPool2D, 2, &[4, 3, 2]);
    verify(GlobalAveragePool2D, 2, &[4, 3, 2]);
}

#[test]
fn pooling_over_drawn_shapes() {
    let mut random = Key::new(2).named("pooling").stream();
    let mut verified = 0;
    while verified < 60 {
        let (window, stride) = (draw_pair(&mut random, 4), draw_pair(&mut random, 4));
        let (padding, ceil) = (draw_padding(&mut random), random.chance(0.5));
        let max = MaxPool2D::new(window).stride(stride).padding(padding).ceil_mode(ceil);
        let average = AveragePool2D::new(window).stride(stride).padding(padding).ceil_mode(ceil);
        let sample = [1 + random.below(7), 1 + random.below(7), 1 + random.below(3)];
        // Some windows drawn are larger than their pictures or narrower than the border.
        if Layer::<f64>::output_shape(&max, &sample).is_ok() {
            let n = 1 + random.below(2);
            verify(max, n, &sample);
            verify(average.count_include_pad(random.chance(0.5)), n, &sample);
            verified += 1;
        }
    }
}

// At a tie there is no derivative. The convention: the first of the largest gets it all, row by row.
#[test]
fn ties_in_overlapping_windows_go_to_the_first() {
    let mut random = Key::new(3).stream();
    let x = Array::from_shape_simple_fn([1, 6, 5, 1], || random.below(3) as f64);
    let pool = MaxPool2D::new((3, 2)).stride(1);
    let (y, saved) = pool.forward_train(x.view().into_dyn(), Key::new(0)).unwrap();
    let dy = y.mapv(|_| random.uniform(-1.0, 1.0));
    let mut expected = Array::<f64, _>::zeros(x.raw_dim());
    for (i, j) in (0..4).flat_map(|i| (0..4).map(move |j| (i, j))) {
        let window = (i..i + 3).flat_map(|h| (j..j + 2).map(move |w| [0, h, w, 0]));
        let first = window.reduce(|best, at| if x[at] > x[best] { at } else { best }).unwrap();
        assert_eq!(y[[0, i, j, 0]], x[first]);
        expected[first] += dy[[0, i, j, 0]];
    }
    assert_eq!(pool.backward(saved, dy.view()).unwrap().dx, expected.into_dyn());
}

#[test]
fn activations() {
    for sample in [&[5][..], &[3, 4, 2], &[1], &[2, 3]] {
        for n in [1, 3] {
            verify(ReLU, n, sample);
            verify(LeakyReLU::default(), n, sample);
            verify(LeakyReLU::new(-0.5), n, sample);
            verify(Sigmoid, n, sample);
            verify(Tanh, n, sample);
            verify(Softmax, n, sample);
            verify(Flatten, n, sample);
        }
    }
}

#[test]
fn dense_and_maxout() {
    for (n, d, f) in [(1, 1, 1), (3, 5, 2), (2, 1, 4), (1, 6, 1)] {
        verify(Dense::new(f), n, &[d]);
        verify(Dense::new(f).use_bias(false), n, &[d]);
        for pieces in 1..=3 {
            verify(Maxout::new(f, pieces), n, &[d]);
        }
    }
    verify(Maxout::new(3, 2).use_bias(false), 2, &[4]);
}

#[test]
fn dropout_with_a_drawn_and_a_given_mask() {
    verify(Dropout::new(0.4), 3, &[4, 5, 2]);
    verify(Dropout::new(0.0), 1, &[7]);
    verify(Dropout::new(0.5).mask(ndarray::array![[true, false, true]].into_dyn()), 4, &[3]);
}

#[test]
fn batch_norm() {
    verify(BatchNorm::new(), 4, &[3]);
    verify(BatchNorm::new(), 2, &[3, 4, 2]);
    verify(BatchNorm::new().epsilon(0.1), 1, &[2, 2, 1]);
    verify(BatchNorm::new(), 3, &[5, 2]);
}

#[test]
fn residual() {
    verify(Residual::new().add(Dense::new(4)).add(Tanh).add(Dense::new(4)), 3, &[4]);
    verify(Residual::new(), 2, &[3]);
    let same = |filters, kernel| Conv2D::new(filters, kernel).padding(Padding::Same);
    let block = Residual::new()
        .add(same(3, 3).stride(2))
        .add(BatchNorm::new())
        .add(Tanh)
        .add(same(3, 3))
        .add(BatchNorm::new())
        .shortcut(Residual::new().add(same(2, 1)).shortcut(Conv2D::new(2, 1)));
    // The shortcut keeps the shape [5, 4, 2], and F does not.
    assert!(block.output_shape(&[5, 4, 2]).is_err());
    verify(block.shortcut(Conv2D::new(3, 1).stride(2)), 2, &[5, 4, 2]);
}

// The thesis' network with fewer pixels and units: what one layer hands to the next is right, too.
#[test]
fn the_thesis_network_in_small() {
    let network = SequentialBuilder::new([12, 13, 3])
        .add(Conv2D::new(4, 3))
        .add(ReLU)
        .add(MaxPool2D::new(2))
        .add(Conv2D::new(3, 3))
        .add(ReLU)
        .add(MaxPool2D::new(2))
        .add(Flatten)
        .add(Dense::new(5))
        .add(ReLU)
        .add(Dense::new(1))
        .add(Sigmoid)
        .build(1)
        .unwrap();
    let mut random = Key::new(2).stream();
    let x = Array::from_shape_simple_fn([2, 12, 13, 3], || random.unit()).into_dyn();
    let report = check_layer(&network, x.view(), &GradCheck::default()).unwrap();
    assert!(report.error <= TOLERANCE, "{report}");
    assert_eq!(report.checked, x.len() + network.count_parameters());
}

/// Checks the gradient of `loss` for drawn probabilities or logits [N, K], with labels and with values as targets, with
/// and without sample weights.
fn verify_loss(loss: impl Loss<f64>, logits: bool, n: usize, k: usize) {
    let mut random = Key::new(9).at(n as u64).at(k as u64).stream();
    let (low, high) = if logits { (-4.0, 4.0) } else { (0.1, 0.9) };
    let prediction = Array::from_shape_simple_fn([n, k], || random.uniform(low, high)).into_dyn();
    // A single output has two classes.
    let labels = Target::Labels((0..n).map(|_| random.below(k.max(2))).collect());
    let mut values = Array::from_shape_simple_fn([n, k], || random.unit());
    values.rows_mut().into_iter().filter(|_| k > 1).for_each(|mut row| row /= row.sum());
    let weights: Vec<f64> = (0..n).map(|_| random.uniform(0.5, 2.0)).collect();
    for target in [labels, Target::Values(values.into_dyn())] {
        for weights in [None, Some(weights.as_slice())] {
            let report = check_loss(&loss, prediction.view(), &target, weights, &GradCheck::default()).unwrap();
            assert!(report.error <= TOLERANCE, "{loss:?} for [{n}, {k}], {target:?}, {weights:?}: {report}");
            assert_eq!(report.checked, n * k);
        }
    }
}

#[test]
fn losses() {
    for n in [1, 2, 5] {
        for (loss, logits) in
            [(BinaryCrossEntropy::from_probabilities(), false), (BinaryCrossEntropy::from_logits(), true)]
        {
            verify_loss(loss.clone(), logits, n, 1);
            verify_loss(loss.clone().class_weights([0.5, 3.0]).label_smoothing(0.1), logits, n, 1);
            verify_loss(loss.ignore_index(1), logits, n, 1);
        }
        for (loss, logits) in [(CrossEntropy::from_probabilities(), false), (CrossEntropy::from_logits(), true)] {
            verify_loss(loss.clone(), logits, n, 2);
            verify_loss(loss.clone().class_weights([0.5, 3.0, 1.0, 2.0]).label_smoothing(0.1), logits, n, 4);
            verify_loss(loss.ignore_index(1), logits, n, 3);
        }
        verify_loss(MeanSquaredError, false, n, 1);
        let mut random = Key::new(10).stream();
        let [prediction, target] = [(); 2].map(|()| spread(&[n, 2, 3], &mut random));
        let target = Target::Values(target);
        let report = check_loss(&MeanSquaredError, prediction.view(), &target, None, &GradCheck::default()).unwrap();
        assert!(report.error <= TOLERANCE, "{report}");
    }
}
