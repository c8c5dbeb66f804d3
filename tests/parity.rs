//! The thesis' network beside PyTorch: five steps of Adam give the same losses and parameters.
//!
//! The numbers are from PyTorch 2.15 in float64 (`tests/parity/generate.py`); weights and pictures come from a
//! hash of their index, made here and there by the same formula.

use approx::{assert_abs_diff_eq, assert_relative_eq};
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use tapetum::model::thesis_network;
use tapetum::prelude::*;

const STEPS: usize = 5;
const BATCH: usize = 8;

/// `count` numbers in [0, 1): SplitMix64 of stream · 2³² + index.
fn uniform(stream: u64, count: usize) -> impl Iterator<Item = f64> {
    (0..count as u64).map(move |index| {
        let mut z = ((stream << 32) + index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    })
}

fn parameter<E: Element>(stream: u64, shape: &[usize]) -> ArrayD<E> {
    let fan_in: usize = if shape.len() > 1 { shape[..shape.len() - 1].iter().product() } else { 100 };
    let limit = (3.0 / fan_in as f64).sqrt();
    let values = uniform(stream, shape.iter().product()).map(|u| E::of((2.0 * u - 1.0) * limit));
    ArrayD::from_shape_vec(IxDyn(shape), values.collect()).unwrap()
}

fn thesis<E: Element>() -> Sequential<E> {
    let mut model = thesis_network([64, 64]).add(Dense::new(1)).build(1).unwrap();
    let shapes: Vec<_> = model.parameters().iter().map(|(name, view)| (name.clone(), view.shape().to_vec())).collect();
    for (stream, (name, shape)) in (1..).zip(shapes) {
        model.set(&name, parameter::<E>(stream, &shape).view()).unwrap();
    }
    model
}

/// The losses of five steps, and the parameters after them.
fn train<E: Element>() -> (Vec<f64>, Sequential<E>) {
    let mut model = thesis::<E>();
    let mut adam = Adam::new(1e-3).epsilon_inside(true);
    let pictures = uniform(100, BATCH * 64 * 64 * 3).map(E::of).collect();
    let x = ArrayD::from_shape_vec(vec![BATCH, 64, 64, 3], pictures).unwrap();
    let target = Target::Labels((0..BATCH).map(|n| n % 2).collect());
    let loss = BinaryCrossEntropy::from_logits();
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let (y, saved) = model.forward_train(x.view(), Key::new(step as u64)).unwrap();
        let (value, dy) = loss.gradient(y.view(), &target, None).unwrap();
        let back = model.backward(saved, dy.view()).unwrap();
        adam.step(model.parameters_mut(), &back.params).unwrap();
        losses.push(value.mean);
    }
    (losses, model)
}

fn expected() -> serde_json::Value {
    serde_json::from_str(include_str!("parity/thesis.json")).unwrap()
}

/// The entries of `view` at the indices that the hash draws for this tensor.
fn drawn<E: Element>(stream: u64, view: &ArrayViewD<'_, E>) -> Vec<f64> {
    let flat: Vec<f64> = view.iter().map(|p| p.as_f64()).collect();
    uniform(200 + stream, 8).map(|u| flat[(u * flat.len() as f64) as usize]).collect()
}

/// PyTorch's numbers for one parameter tensor.
fn expected_of(expected: &serde_json::Value, name: &str, key: &str) -> f64 {
    expected["parameters"][name][key].as_f64().unwrap()
}

fn expected_entries(expected: &serde_json::Value, name: &str) -> Vec<f64> {
    expected["parameters"][name]["entries"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect()
}

#[test]
fn f64_agrees_with_pytorch_to_rounding() {
    let (losses, model) = train::<f64>();
    let expected = expected();
    for (step, loss) in losses.iter().enumerate() {
        assert_relative_eq!(*loss, expected["losses"][step].as_f64().unwrap(), max_relative = 1e-9);
    }
    for (stream, (name, view)) in (1..).zip(model.parameters()) {
        let fingerprint = |key: &str| expected_of(&expected, &name, key);
        assert_relative_eq!(view.iter().sum::<f64>(), fingerprint("sum"), max_relative = 1e-7);
        assert_relative_eq!(view.iter().map(|p| p * p).sum::<f64>(), fingerprint("squares"), max_relative = 1e-8);
        assert_relative_eq!(*view.iter().last().unwrap(), fingerprint("last"), max_relative = 1e-7);
        let (found, entries) = (drawn(stream, &view), expected_entries(&expected, &name));
        assert_abs_diff_eq!(found[..], entries[..], epsilon = 1e-9 * fingerprint("largest"));
    }
}

/// How far f32 may take an entry from where it belongs. Every step rounds it, 2⁻²³ of its size at most, and moves it
/// by the learning rate, 1e-3, in a direction that is only as good as the gradient: a sum of up to 8·62·62 products,
/// whose rounding, √30752 · 2⁻²⁴ ≈ 1e-5 of their size, counts tenfold where they cancel.
fn f32_rounding(largest: f64) -> f64 {
    STEPS as f64 * (largest * f64::from(f32::EPSILON) + 1e-3 * 1e-4)
}

#[test]
fn f32_agrees_with_pytorch_to_its_own_rounding() {
    let (losses, model) = train::<f32>();
    let expected = expected();
    for (step, loss) in losses.iter().enumerate() {
        assert_relative_eq!(*loss, expected["losses"][step].as_f64().unwrap(), max_relative = 2e-4);
    }
    for (stream, (name, view)) in (1..).zip(model.parameters()) {
        let fingerprint = |key: &str| expected_of(&expected, &name, key);
        let (n, each, squares) = (view.len() as f64, f32_rounding(fingerprint("largest")), fingerprint("squares"));
        let values = view.mapv(f64::from);
        assert_abs_diff_eq!(values.sum(), fingerprint("sum"), epsilon = n * each);
        // |Σ(p + e)² − Σp²| ≈ 2·|Σpe| ≤ 2·√(Σp²·n)·e
        assert_abs_diff_eq!(values.pow2().sum(), squares, epsilon = 2.0 * (squares * n).sqrt() * each);
        assert_abs_diff_eq!(drawn(stream, &view)[..], expected_entries(&expected, &name)[..], epsilon = each);
    }
}
