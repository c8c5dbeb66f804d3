//! The thesis' equations, one test each, against the formula written out.
//!
//! A. Bukatoi, *Data classification using Convolutional Neural Network*, 2019. Where the print has an error, the
//! test says so and holds the right form.

use approx::{assert_abs_diff_eq, assert_relative_eq};
use ndarray::{Array1, Array2, Array4, ArrayD, array};
use tapetum::data::{Species, synthetic};
use tapetum::inspect::{GradCheck, check_layer};
use tapetum::model::{conv2d_from_dense, dense_from_conv2d, thesis_network};
use tapetum::prelude::*;

/// Numbers from the standard normal distribution.
fn normal(shape: &[usize], seed: u64) -> ArrayD<f64> {
    let mut random = Key::new(seed).stream();
    ArrayD::from_shape_simple_fn(shape, || random.normal())
}

fn forward(layer: &impl Layer<f64>, x: &ArrayD<f64>) -> ArrayD<f64> {
    layer.forward(x.view()).unwrap()
}

/// ∂L/∂x for L = Σ dy·y.
fn backward(layer: &impl Layer<f64>, x: &ArrayD<f64>, dy: &ArrayD<f64>) -> ArrayD<f64> {
    let (_, saved) = layer.forward_train(x.view(), Key::new(0)).unwrap();
    layer.backward(saved, dy.view()).unwrap().dx
}

fn softmax(a: &[f64]) -> Vec<f64> {
    let sum: f64 = a.iter().map(|a| a.exp()).sum();
    a.iter().map(|a| a.exp() / sum).collect()
}

#[test]
fn equation_1_the_state_of_a_neuron() {
    let (x, w, w0) = ([0.5, -1.0, 2.0], [3.0, 0.25, -1.5], 0.75);
    let s: f64 = x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>() + w0;
    let neuron = Dense::from_weights(Array2::from_shape_vec((3, 1), w.to_vec()).unwrap(), Some(array![w0])).unwrap();
    assert_relative_eq!(forward(&neuron, &Array2::from(vec![x]).into_dyn())[[0, 0]], s, max_relative = 1e-15);
}

#[test]
fn equation_2_the_output_of_a_neuron() {
    let s = normal(&[4, 1], 2);
    let y = forward(&Sigmoid, &s);
    let expected = s.mapv(|s| 1.0 / (1.0 + (-s).exp()));
    assert_abs_diff_eq!(y, expected, epsilon = 1e-15);
}

#[test]
fn equation_3_the_size_of_a_picture() {
    let flat = Layer::<f64>::output_shape(&Flatten, &[64, 48, 3]).unwrap();
    assert_eq!(flat, [64 * 48 * 3]);
}

/// Equations 4 and 5; the print says nothing of a remainder, which the floor drops.
fn output_size(input: usize, kernel: usize, padding: usize, stride: usize) -> usize {
    ((input as f64 - kernel as f64 + 2.0 * padding as f64) / stride as f64).floor() as usize + 1
}

#[test]
fn equation_4_the_output_height() {
    for (h, f, p, s) in [(64, 3, 0, 1), (62, 2, 0, 2), (29, 2, 0, 2), (7, 3, 1, 2), (8, 5, 2, 3)] {
        let conv = Conv2D::<f64>::new(1, (f, 1)).stride((s, 1)).padding(Padding::Explicit {
            top: p,
            bottom: p,
            left: 0,
            right: 0,
        });
        assert_eq!(conv.output_shape(&[h, 5, 3]).unwrap()[0], output_size(h, f, p, s), "H={h} F={f} P={p} S={s}");
    }
}

#[test]
fn equation_5_the_output_width() {
    for (w, f, p, s) in [(64, 3, 0, 1), (62, 2, 0, 2), (29, 2, 0, 2), (7, 3, 1, 2), (8, 5, 2, 3)] {
        let conv = Conv2D::<f64>::new(1, (1, f)).stride((1, s)).padding(Padding::Explicit {
            top: 0,
            bottom: 0,
            left: p,
            right: p,
        });
        assert_eq!(conv.output_shape(&[5, w, 3]).unwrap()[1], output_size(w, f, p, s), "W={w} F={f} P={p} S={s}");
    }
}

#[test]
fn equation_6_relu() {
    let x = normal(&[3, 7], 6);
    assert_eq!(forward(&ReLU, &x), x.mapv(|x| f64::max(0.0, x)));
    let dy = normal(&[3, 7], 66);
    assert_eq!(
        backward(&ReLU, &x, &dy),
        ndarray::Zip::from(&x).and(&dy).map_collect(|&x, &dy| if x > 0.0 { dy } else { 0.0 })
    );
}

#[test]
fn equation_7_leaky_relu() {
    let (a, x) = (0.01, normal(&[3, 7], 7));
    let indicator = |yes: bool| f64::from(u8::from(yes));
    let expected = x.mapv(|x| indicator(x < 0.0) * (a * x) + indicator(x >= 0.0) * x);
    assert_eq!(forward(&LeakyReLU::new(a), &x), expected);
}

#[test]
fn equation_8_maxout() {
    let (w, b) = ([[0.5, -1.0], [2.0, 0.25]], [0.1, -0.2]);
    let weight = array![[w[0][0], w[1][0]], [w[0][1], w[1][1]]];
    let maxout = Maxout::from_weights(2, weight, Some(array![b[0], b[1]])).unwrap();
    let x = normal(&[6, 2], 8);
    for (x, y) in x.rows().into_iter().zip(forward(&maxout, &x).iter()) {
        let piece = |k: usize| w[k][0] * x[0] + w[k][1] * x[1] + b[k];
        assert_relative_eq!(*y, f64::max(piece(0), piece(1)), max_relative = 1e-14);
    }
    // "Both ReLU and leaky ReLU are a special case of this form": w₁ = 1, w₂ = 0 or a.
    let x = normal(&[6, 1], 88);
    for (a, expected) in [(0.0, forward(&ReLU, &x)), (0.1, forward(&LeakyReLU::new(0.1), &x))] {
        let maxout = Maxout::from_weights(2, array![[1.0, a]], None).unwrap();
        assert_eq!(forward(&maxout, &x), expected);
    }
}

#[test]
fn section_3_8_max_pooling_discards_three_of_four() {
    let x = normal(&[2, 4, 6, 3], 38);
    let y = forward(&MaxPool2D::new(2), &x);
    assert_eq!(y.shape(), [2, 2, 3, 3]);
    for ((n, i, j, c), &y) in y.into_dimensionality::<ndarray::Ix4>().unwrap().indexed_iter() {
        let window = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(u, v)| x[[n, 2 * i + u, 2 * j + v, c]]);
        assert_eq!(y, window.into_iter().fold(f64::NEG_INFINITY, f64::max));
    }
}

#[test]
fn section_3_8_1_average_pooling() {
    let x = normal(&[2, 4, 6, 3], 381);
    let y = forward(&AveragePool2D::new(2), &x);
    for ((n, i, j, c), &y) in y.into_dimensionality::<ndarray::Ix4>().unwrap().indexed_iter() {
        let window = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(u, v)| x[[n, 2 * i + u, 2 * j + v, c]]);
        assert_abs_diff_eq!(y, window.iter().sum::<f64>() / 4.0, epsilon = 1e-15);
    }
}

#[test]
fn section_3_9_flattening_keeps_the_order() {
    let x = normal(&[2, 3, 4, 5], 39);
    let y = forward(&Flatten, &x);
    for ((n, h, w, c), &x) in x.view().into_dimensionality::<ndarray::Ix4>().unwrap().indexed_iter() {
        assert_eq!(y[[n, (h * 4 + w) * 5 + c]], x);
    }
    assert_eq!(backward(&Flatten, &x, &y), x);
}

#[test]
fn section_3_10_1_a_dense_layer_is_a_convolution_as_large_as_its_input() {
    let dense = Dense::from_weights(
        normal(&[4 * 5 * 3, 7], 1).into_dimensionality().unwrap(),
        Some(normal(&[7], 2).into_dimensionality().unwrap()),
    )
    .unwrap();
    let x = normal(&[3, 4, 5, 3], 3);
    let conv = conv2d_from_dense(&dense, [4, 5, 3]).unwrap();
    let (by_conv, by_dense) = (forward(&conv, &x), forward(&dense, &forward(&Flatten, &x)));
    assert_eq!(by_conv.shape(), [3, 1, 1, 7]);
    assert_abs_diff_eq!(by_conv.into_flat(), by_dense.into_flat(), epsilon = 1e-12);
    assert!(conv2d_from_dense(&dense, [4, 5, 4]).is_err());
}

#[test]
fn section_3_10_1_a_convolution_is_a_dense_layer_with_shared_weights() {
    let mut conv = Conv2D::<f64>::new(4, 3).stride(2).padding(Padding::Same).groups(2);
    conv.build(&[5, 6, 2], Key::new(4)).unwrap();
    conv.parameters_mut()[1].1.fill(0.3);
    let x = normal(&[2, 5, 6, 2], 5);
    let dense = dense_from_conv2d(&conv, [5, 6, 2]).unwrap();
    let (by_conv, by_dense) = (forward(&conv, &x), forward(&dense, &forward(&Flatten, &x)));
    assert_abs_diff_eq!(by_conv.into_flat(), by_dense.into_flat(), epsilon = 1e-12);
    // "Usually zero except for specific blocks": each output sees at most 3·3·1 of the 60 inputs.
    let seen = |column: ndarray::ArrayView1<f64>| column.iter().filter(|&&w| w != 0.0).count();
    assert!(dense.weight().unwrap().columns().into_iter().all(|column| seen(column) <= 9));
}

#[test]
fn equation_9_softmax() {
    let a = normal(&[4, 5], 9);
    let p = forward(&Softmax, &a);
    for (a, p) in a.rows().into_iter().zip(p.rows()) {
        assert_abs_diff_eq!(p, Array1::from(softmax(&a.to_vec())), epsilon = 1e-15);
        assert_abs_diff_eq!(p.sum(), 1.0, epsilon = 1e-15);
    }
}

#[test]
fn equation_10_softmax_does_not_change_when_shifted_and_does_not_overflow() {
    let a = normal(&[1, 6], 10);
    assert_abs_diff_eq!(forward(&Softmax, &a), forward(&Softmax, &(&a + 1000.0)), epsilon = 1e-12);
    // Unshifted, e^1000 would be infinite and ∞/∞ NaN.
    let p = forward(&Softmax, &array![[1000.0, 0.0]].into_dyn());
    assert_eq!(p, array![[1.0, 0.0]].into_dyn());
}

/// ∂pᵢ/∂aⱼ as the layer's backward pass gives it.
fn softmax_derivative(a: &ArrayD<f64>, i: usize, j: usize) -> f64 {
    let dy = ArrayD::from_shape_fn(a.shape(), |at| f64::from(u8::from(at[1] == i)));
    backward(&Softmax, a, &dy)[[0, j]]
}

#[test]
fn equation_11_the_derivative_of_softmax_is_a_quotients() {
    // (g′h − h′g)/h² with g = e^aᵢ and h = Σ e^aₖ; g′ is e^aⱼ for i = j and else 0, h′ is e^aⱼ.
    let a = normal(&[1, 4], 11);
    let h: f64 = a.iter().map(|a| a.exp()).sum();
    for (i, j) in (0..4).flat_map(|i| (0..4).map(move |j| (i, j))) {
        let (g, dh) = (a[[0, i]].exp(), a[[0, j]].exp());
        let dg = if i == j { g } else { 0.0 };
        assert_abs_diff_eq!(softmax_derivative(&a, i, j), (dg * h - dh * g) / (h * h), epsilon = 1e-15);
    }
}

#[test]
fn equation_12_the_derivative_where_i_is_j() {
    // The print's last line reads pᵢ(1 − pⱼ); here i = j.
    let a = normal(&[1, 4], 12);
    let p = softmax(a.as_slice().unwrap());
    for (i, p) in p.into_iter().enumerate() {
        assert_abs_diff_eq!(softmax_derivative(&a, i, i), p * (1.0 - p), epsilon = 1e-15);
    }
}

#[test]
fn equation_13_the_derivative_where_i_is_not_j() {
    let a = normal(&[1, 4], 13);
    let p = softmax(a.as_slice().unwrap());
    for (i, j) in (0..4).flat_map(|i| (0..4).map(move |j| (i, j))).filter(|(i, j)| i != j) {
        assert_abs_diff_eq!(softmax_derivative(&a, i, j), -p[j] * p[i], epsilon = 1e-15);
    }
}

#[test]
fn equation_14_has_its_two_cases_swapped_in_print() {
    let a = normal(&[1, 3], 14);
    let p = softmax(a.as_slice().unwrap());
    let right = |i: usize, j: usize| if i == j { p[i] * (1.0 - p[j]) } else { -p[j] * p[i] };
    let printed = |i: usize, j: usize| if i != j { p[i] * (1.0 - p[j]) } else { -p[j] * p[i] };
    for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
        assert_abs_diff_eq!(softmax_derivative(&a, i, j), right(i, j), epsilon = 1e-15);
        assert!((softmax_derivative(&a, i, j) - printed(i, j)).abs() > 1e-3);
    }
}

#[test]
fn equation_15_with_kroneckers_delta() {
    let a = normal(&[1, 5], 15);
    let p = softmax(a.as_slice().unwrap());
    for (i, j) in (0..5).flat_map(|i| (0..5).map(move |j| (i, j))) {
        let delta = f64::from(u8::from(i == j));
        assert_abs_diff_eq!(softmax_derivative(&a, i, j), p[i] * (delta - p[j]), epsilon = 1e-15);
    }
}

/// One-hot rows for the classes 2, 0 and 1.
fn one_hot() -> ArrayD<f64> {
    array![[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]].into_dyn()
}

#[test]
fn equation_16_cross_entropy_lacks_its_sign_in_print() {
    // The text above it has H(y, p) = −Σ y·log p; equation 16 prints it without the minus. Mean over the samples.
    let (p, y) = (forward(&Softmax, &normal(&[3, 3], 16)), one_hot());
    let expected = -(&y * &p.mapv(f64::ln)).sum() / 3.0;
    let loss = CrossEntropy::from_probabilities();
    assert_relative_eq!(loss.value(p.view(), &Target::Values(y), None).unwrap().mean, expected, max_relative = 1e-12);
    assert_relative_eq!(
        loss.value(p.view(), &Target::Labels(vec![2, 0, 1]), None).unwrap().mean,
        expected,
        max_relative = 1e-12
    );
    assert!(expected > 0.0);
}

#[test]
fn equation_17_the_chain_rule_through_softmax() {
    // ∂L/∂oᵢ = −Σₖ yₖ · 1/pₖ · ∂pₖ/∂oᵢ; the print's first line lacks the minus.
    let (o, y) = (normal(&[3, 3], 17), one_hot());
    let p = forward(&Softmax, &o);
    let (_, dp) = CrossEntropy::from_probabilities().gradient(p.view(), &Target::Values(y.clone()), None).unwrap();
    assert_abs_diff_eq!(dp, -(&y / &p) / 3.0, epsilon = 1e-12);
    let by_chain_rule = backward(&Softmax, &o, &dp);
    let (_, fused) = CrossEntropy::from_logits().gradient(o.view(), &Target::Values(y), None).unwrap();
    assert_abs_diff_eq!(by_chain_rule, fused, epsilon = 1e-12);
}

#[test]
fn equation_18_for_soft_targets_as_well() {
    // −yᵢ(1 − pᵢ) + Σ_{k≠i} yₖ·pᵢ
    let (o, y) = (normal(&[1, 4], 18), array![[0.1, 0.2, 0.3, 0.4]].into_dyn());
    let p = forward(&Softmax, &o);
    let (_, fused) = CrossEntropy::from_logits().gradient(o.view(), &Target::Values(y.clone()), None).unwrap();
    for i in 0..4 {
        let others: f64 = (0..4).filter(|&k| k != i).map(|k| y[[0, k]] * p[[0, i]]).sum();
        assert_abs_diff_eq!(fused[[0, i]], -y[[0, i]] * (1.0 - p[[0, i]]) + others, epsilon = 1e-15);
    }
}

#[test]
fn equation_19_the_gradient_is_p_minus_y() {
    let (o, y) = (normal(&[3, 3], 19), one_hot());
    let expected = (forward(&Softmax, &o) - &y) / 3.0;
    let (_, fused) = CrossEntropy::from_logits().gradient(o.view(), &Target::Values(y), None).unwrap();
    assert_abs_diff_eq!(fused, expected, epsilon = 1e-15);
    // The same for a sigmoid and the binary cross-entropy.
    let (o, y) = (normal(&[4, 1], 191), array![[0.0], [1.0], [1.0], [0.0]].into_dyn());
    let expected = (forward(&Sigmoid, &o) - &y) / 4.0;
    let (_, fused) = BinaryCrossEntropy::from_logits().gradient(o.view(), &Target::Values(y), None).unwrap();
    assert_abs_diff_eq!(fused, expected, epsilon = 1e-15);
}

#[test]
fn figure_5_filters_with_given_weights() {
    let b = 1.0 / 9.0;
    let filters: [(&str, [[f64; 3]; 3]); 3] = [
        ("sharpen", [[0.0, -1.0, 0.0], [-1.0, 5.0, -1.0], [0.0, -1.0, 0.0]]),
        ("blur", [[b, b, b], [b, b, b], [b, b, b]]),
        ("edges", [[-1.0, -1.0, -1.0], [-1.0, 8.0, -1.0], [-1.0, -1.0, -1.0]]),
    ];
    // The red, green and blue of a drawn cat, each with the filter on its own (groups); and even ground.
    let cat = synthetic(Species::Cat, 24, 32, Key::new(5)).unwrap();
    let x = Array4::from_shape_fn([1, 24, 32, 3], |(_, i, j, c)| f64::from(cat.rgb[(i * 32 + j) * 3 + c]) / 255.0);
    let (x, ground) = (x.into_dyn(), ArrayD::from_elem(vec![1, 24, 32, 3], 0.7));
    for (name, taps) in filters {
        let weight = Array4::from_shape_fn([3, 3, 1, 3], |(u, v, _, _)| taps[u][v]);
        let filter = Conv2D::from_weights(weight, None).unwrap().groups(3);
        let y = forward(&filter, &x);
        assert_eq!(y.shape(), [1, 22, 30, 3]);
        for (at, &y) in y.indexed_iter() {
            let sum: f64 = (0..9).map(|n| taps[n / 3][n % 3] * x[[0, at[1] + n / 3, at[2] + n % 3, at[3]]]).sum();
            assert_abs_diff_eq!(y, sum, epsilon = 1e-12);
        }
        // What each filter is for: edges are zero on even ground, blur and sharpen leave it as it is.
        let even = if name == "edges" { 0.0 } else { 0.7 };
        assert!(forward(&filter, &ground).iter().all(|y| (y - even).abs() < 1e-12));
    }
}

/// The network of the appendix.
fn appendix<E: Element>() -> Sequential<E> {
    thesis_network([64, 64]).add(Dense::new(1)).add(Sigmoid).build(1).unwrap()
}

/// A sample of each tensor's entries. The step is a tenth of the usual one: thousands of units see each weight, and a
/// longer step takes some of them over the kink of ReLU; a shorter one drowns gradients of 1e-4 in rounding.
#[test]
fn the_gradients_of_the_whole_network() {
    let mut random = Key::new(64).stream();
    let x = ArrayD::from_shape_simple_fn(vec![2, 64, 64, 3], || random.unit());
    let check = GradCheck::default().entries(12).step(1e-6);
    let report = check_layer(&appendix::<f64>(), x.view(), &check).unwrap();
    println!("{report}");
    assert!(report.error <= 1e-6, "{report}");
}

#[test]
fn the_network_of_the_appendix() {
    let model = appendix::<f32>();
    let rows: Vec<(Vec<usize>, usize)> = model
        .summary()
        .rows
        .into_iter()
        .filter(|row| row.parameters > 0 || row.kind == "MaxPool2D")
        .map(|row| (row.output, row.parameters))
        .collect();
    let expected = [
        (vec![62, 62, 32], 896),
        (vec![31, 31, 32], 0),
        (vec![29, 29, 32], 9_248),
        (vec![14, 14, 32], 0),
        (vec![128], 802_944),
        (vec![1], 129),
    ];
    assert_eq!(rows, expected);
    assert_eq!(model.count_parameters(), 813_217);
}
