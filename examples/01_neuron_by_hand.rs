//! Lesson 1: a Dense layer, trained by hand.
//!
//! One neuron (thesis 3.1, equations 1 and 2) learns on which side of a line a point lies. The loop is all that
//! `fit` does: forward, loss, backward, step.
//!
//!     cargo run --release --example 01_neuron_by_hand

use ndarray::{Array2, Axis};
use tapetum::prelude::*;

fn main() -> Result<()> {
    // 256 points; class 1 lies above the line x₁ = 2·x₀ − 1.
    let mut random = Key::new(1).stream();
    let points = Array2::from_shape_simple_fn((256, 2), || random.uniform(-2.0, 2.0));
    let labels = points.axis_iter(Axis(0)).map(|point| usize::from(point[1] > 2.0 * point[0] - 1.0)).collect();
    let (x, target) = (points.into_dyn(), Target::Labels(labels));

    let mut neuron = Dense::<f64>::new(1);
    neuron.build(&[2], Key::new(1))?;
    let loss = BinaryCrossEntropy::from_logits();
    let mut sgd = SGD::new(1.0).momentum(0.9);

    for step in 0..=200 {
        // s = Σ x·w + w₀                     x [N, 2] → s [N, 1]
        let (s, saved) = neuron.forward_train(x.view(), Key::new(step))?;
        // L and ∂L/∂s = (σ(s) − y) / N       thesis, equation 19
        let (value, ds) = loss.gradient(s.view(), &target, None)?;
        // ∂L/∂w = Σ x·∂L/∂s
        let back = neuron.backward(saved, ds.view())?;
        sgd.step(neuron.parameters_mut(), &back.params)?;
        if step % 50 == 0 {
            println!("step {step:3}: loss {:.4}", value.mean);
        }
    }

    let (w, b) = (neuron.weight().expect("built above"), neuron.bias().expect("built above"));
    // The neuron's own line: w₀·x₀ + w₁·x₁ + b = 0.
    println!("learned: x₁ = {:.2}·x₀ + {:.2}", -w[[0, 0]] / w[[1, 0]], -b[0] / w[[1, 0]]);
    println!("the line was: x₁ = 2·x₀ − 1");
    Ok(())
}
