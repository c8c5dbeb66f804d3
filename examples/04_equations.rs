//! Lesson 4: the thesis' equations, met in code.
//!
//!     cargo run --release --example 04_equations

use ndarray::{Array4, array};
use tapetum::prelude::*;

fn main() -> Result<()> {
    println!("(1, 2)  a neuron: s = Σ x·w + w₀, y = f(s)");
    let neuron = Dense::from_weights(array![[0.5], [-1.0]], Some(array![0.25]))?;
    let s = neuron.forward(array![[2.0, 1.0]].into_dyn().view())?;
    println!(
        "        s = 2·0.5 + 1·(−1) + 0.25 = {}, y = σ(s) = {:.4}\n",
        s[[0, 0]],
        Sigmoid.forward(s.view())?[[0, 0]]
    );

    println!("(3)     a picture of 64 × 64 pixels and 3 channels is {} numbers\n", 64 * 64 * 3);

    println!("(4, 5)  output = (H − F + 2P)/S + 1, rounded down (the thesis does not say)");
    for (input, kernel, stride, padding) in [(64, 3, 1, 0), (62, 2, 2, 0), (29, 2, 2, 0), (64, 3, 1, 1)] {
        let window = Window2D { stride: [stride; 2], padding: Padding::all(padding), ..Window2D::new(kernel) };
        let [output, _] = window.over("window", [input; 2])?.output;
        println!("        H = {input}, F = {kernel}, P = {padding}, S = {stride}: {output}");
    }

    let x = array![[-2.0, 0.0, 3.0]].into_dyn();
    println!("\n(6)     ReLU of {x} = {}", ReLU.forward(x.view())?);
    println!("(7)     leaky ReLU, a = 0.1: {}", LeakyReLU::new(0.1).forward(x.view())?);

    println!("\n(9, 10) softmax, shifted by −max so that nothing overflows");
    let a = array![[1000.0, 1001.0, 1002.0]].into_dyn();
    let p = Softmax.forward(a.view())?;
    println!("        of {a}: {p:.4}");

    println!("\n(11-15) ∂pᵢ/∂aⱼ = pᵢ(δᵢⱼ − pⱼ); printed with its two cases swapped in (14)");
    for i in 0..3 {
        let row: Vec<String> =
            (0..3).map(|j| format!("{:7.4}", p[[0, i]] * (f64::from(u8::from(i == j)) - p[[0, j]]))).collect();
        println!("        {}", row.join(" "));
    }

    println!("\n(16-19) cross-entropy L = −Σ yᵢ·log pᵢ (printed without its sign); behind a softmax ∂L/∂o = p − y");
    let (loss, gradient) = CrossEntropy::from_logits().gradient(a.view(), &Target::Labels(vec![0]), None)?;
    println!("        y = (1, 0, 0): L = {:.4}, ∂L/∂o = {gradient:.4}", loss.mean);

    println!("\n3.8     the largest and the mean of each 2 × 2 window");
    let picture = Array4::from_shape_fn([1, 4, 4, 1], |(_, i, j, _)| (4 * i + j) as f64).into_dyn();
    println!("        max {}", MaxPool2D::new(2).forward(picture.view())?.flatten());
    println!("        mean {}", AveragePool2D::new(2).forward(picture.view())?.flatten());
    Ok(())
}
