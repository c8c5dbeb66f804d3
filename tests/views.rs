//! Layers take any view: strided, reversed and transposed ones give what a copy in standard layout gives.

use ndarray::{ArrayD, Axis, Slice};
use tapetum::prelude::*;
use tapetum::{Random, Result};

fn draw(shape: &[usize], random: &mut Random) -> ArrayD<f64> {
    ArrayD::from_shape_simple_fn(shape, || random.normal())
}

/// An array of this shape whose numbers are every second one, backwards, of larger axes in another order.
fn scattered(shape: &[usize], random: &mut Random) -> ArrayD<f64> {
    let larger: Vec<usize> = shape.iter().rev().map(|axis| 2 * axis).collect();
    let mut array = draw(&larger, random).reversed_axes();
    for axis in 0..shape.len() {
        array.slice_axis_inplace(Axis(axis), Slice::new(0, None, if random.chance(0.5) { 2 } else { -2 }));
    }
    array
}

fn check(mut layer: impl Layer<f64>, sample: &[usize], random: &mut Random) -> Result<()> {
    layer.build(sample, Key::new(1))?;
    let shape = [&[3], sample].concat();
    let x = scattered(&shape, random);
    let copy = x.as_standard_layout().into_owned();
    assert!(!x.is_standard_layout() && copy.is_standard_layout());
    assert_eq!(layer.forward(x.view())?, layer.forward(copy.view())?, "{}", layer.kind());

    let ((y, saved), (_, saved_copy)) =
        (layer.forward_train(x.view(), Key::new(2))?, layer.forward_train(copy.view(), Key::new(2))?);
    let dy = scattered(y.shape(), random);
    let back = layer.backward(saved, dy.view())?;
    let back_copy = layer.backward(saved_copy, dy.as_standard_layout().view())?;
    // Sums over what does not lie side by side may be made in another order.
    let gradients = |back: Backward<f64>| [back.dx].into_iter().chain(back.params);
    for (gradient, copy) in gradients(back).zip(gradients(back_copy)) {
        assert_eq!(gradient.shape(), copy.shape());
        assert!((gradient - copy).iter().all(|error| error.abs() <= 1e-12), "{}", layer.kind());
    }
    Ok(())
}

#[test]
fn any_view_is_as_good_as_a_copy() -> Result<()> {
    let mut random = Key::new(1).named("views").stream();
    for _ in 0..20 {
        let picture = [4 + random.below(5), 4 + random.below(5), 2 * (1 + random.below(4))];
        let random = &mut random;
        check(Conv2D::new(5, 3).padding(Padding::Same), &picture, random)?;
        check(Conv2D::new(4, 2).stride(2).groups(2), &picture, random)?;
        check(MaxPool2D::new(2), &picture, random)?;
        check(AveragePool2D::new(3).stride(1), &picture, random)?;
        check(GlobalAveragePool2D, &picture, random)?;
        check(GlobalMaxPool2D, &picture, random)?;
        check(BatchNorm::new(), &picture, random)?;
        check(Flatten, &picture, random)?;
        check(ReLU, &picture, random)?;
        check(Dropout::new(0.4), &picture, random)?;
        check(Residual::new().add(Conv2D::new(picture[2], 1)), &picture, random)?;
        check(Dense::new(7), &picture[..1], random)?;
        check(Maxout::new(3, 2), &picture[..1], random)?;
        check(Softmax, &picture[..1], random)?;
    }
    Ok(())
}
