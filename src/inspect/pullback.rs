//! The way back through layers at inference: from dy to dx, with everything as `predict` has it.
//!
//! [`Layer::backward`] belongs to `forward_train`, in which BatchNorm uses the batch's statistics and Dropout leaves
//! numbers out. Whoever explains an answer needs the gradient of the function that gave it:
//!
//! - BatchNorm: y = γ·(x − μ)/√(σ² + ε) + β with the moving μ and σ², so dx = dy·γ/√(σ² + ε);
//! - Dropout: y = x, so dx = dy.
//!
//! Layers that hold others (Chain, Sequential, Residual) are walked through; all the rest do the same in training as in
//! inference, and go their own way back.

use crate::element::Element;
use crate::error::Result;
use crate::layers::{BatchNorm, Chain, Dropout, Layer, Residual};
use crate::model::Sequential;
use crate::random::Key;
use ndarray::{Array1, ArrayD};
use std::any::Any;

/// From ∂L/∂y to ∂L/∂x.
pub(super) type Pullback<'a, E> = Box<dyn FnOnce(ArrayD<E>) -> Result<ArrayD<E>> + 'a>;

/// x through some layers → y, and the way back.
pub(super) fn through<'a, E: Element>(
    layers: impl IntoIterator<Item = (&'a str, &'a dyn Layer<E>)>,
    x: ArrayD<E>,
) -> Result<(ArrayD<E>, Pullback<'a, E>)> {
    let (mut y, mut back) = (x, Vec::new());
    for (name, layer) in layers {
        let named = |error: crate::Error| error.of_layer(layer.kind(), name);
        let (output, pullback) = through_one(layer, y).map_err(named)?;
        y = output;
        back.push(pullback);
    }
    Ok((y, Box::new(|dy| back.into_iter().rev().try_fold(dy, |dy, pullback| pullback(dy)))))
}

fn through_one<'a, E: Element>(layer: &'a dyn Layer<E>, x: ArrayD<E>) -> Result<(ArrayD<E>, Pullback<'a, E>)> {
    let any: &dyn Any = layer;
    if let Some(norm) = any.downcast_ref::<BatchNorm<E>>() {
        return through_norm(norm, x);
    }
    if any.is::<Dropout>() {
        return Ok((x, Box::new(Ok)));
    }
    if let Some(chain) = any.downcast_ref::<Chain<E>>() {
        return through(chain.layers(), x);
    }
    if let Some(model) = any.downcast_ref::<Sequential<E>>() {
        return through(model.layers(), x);
    }
    if let Some(residual) = any.downcast_ref::<Residual<E>>() {
        return through_both(residual, x);
    }
    // Nothing random is left; the key is for nothing.
    let (y, saved) = layer.forward_train_owned(x, Key::new(0))?;
    Ok((y, Box::new(move |dy| Ok(layer.backward(saved, dy.view())?.dx))))
}

fn through_norm<E: Element>(norm: &BatchNorm<E>, x: ArrayD<E>) -> Result<(ArrayD<E>, Pullback<'_, E>)> {
    let channels = norm.channels()?;
    let inverse_deviation = norm.inverse_deviation(&channels.moving_variance);
    // [C], along the last axis of dy
    let slope: Array1<E> = channels.gamma.iter().zip(&inverse_deviation).map(|(&gamma, &of)| gamma * of).collect();
    Ok((norm.forward(x.view())?, Box::new(move |dy| Ok(dy * &slope))))
}

// y = F(x) + S(x): the gradients of both paths add up.
fn through_both<E: Element>(residual: &Residual<E>, x: ArrayD<E>) -> Result<(ArrayD<E>, Pullback<'_, E>)> {
    let (layers, shortcut) = residual.paths();
    let (s, back_s) = match shortcut {
        Some(shortcut) => through_one(shortcut, x.clone())?,
        None => (x.clone(), Box::new(Ok) as Pullback<'_, E>),
    };
    let (f, back_f) = through(layers.layers(), x)?;
    Ok((f + s, Box::new(|dy| Ok(back_f(dy.clone())? + back_s(dy)?))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::*;
    use crate::model::SequentialBuilder;
    use crate::shape::Padding;

    /// Draws all weights and moving statistics, so that no gradient is right by accident.
    fn drawn(builder: SequentialBuilder<f64>) -> Sequential<f64> {
        let (mut model, mut random) = (builder.build(3).unwrap(), Key::new(4).stream());
        for (name, mut state) in model.state_mut() {
            let low = if name.ends_with("variance") { 0.3 } else { -0.5 };
            state.mapv_inplace(|_| random.uniform(low, 1.5));
        }
        model.parameters_mut().into_iter().for_each(|(_, mut view)| view.mapv_inplace(|_| random.uniform(-1.0, 1.0)));
        model
    }

    /// Σ dy·y by central differences, against the way back.
    fn check(model: &Sequential<f64>, samples: usize) {
        let mut random = Key::new(5).stream();
        let mut draw =
            |shape: &[usize]| ArrayD::from_shape_simple_fn([&[samples], shape].concat(), || random.uniform(-1.0, 1.0));
        let (x, dy) = (draw(model.input_shape()), draw(model.output_shape()));
        let (y, back) = through(model.layers(), x.clone()).unwrap();
        let expected = model.predict(x.view()).unwrap();
        assert!((&y - &expected).iter().all(|error| error.abs() < 1e-9));
        let dx = back(dy.clone()).unwrap();
        assert_eq!(dx.shape(), x.shape());
        let value = |x: &ArrayD<f64>| (model.predict(x.view()).unwrap() * &dy).sum();
        for place in 0..x.len() {
            let moved = |step: f64| {
                let mut x = x.clone();
                x.as_slice_mut().unwrap()[place] += step;
                value(&x)
            };
            let numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let found = dx.as_slice().unwrap()[place];
            assert!((numeric - found).abs() < 1e-6 * (1.0 + numeric.abs()), "{place}: {found}, numerically {numeric}");
        }
    }

    #[test]
    fn every_built_in_layer_finds_its_way_back() {
        let conv = |filters| Conv2D::new(filters, 3).padding(Padding::Same);
        let mut shortcut = Chain::default();
        shortcut.push(Box::new(Conv2D::new(3, 1)));
        shortcut.push(Box::new(BatchNorm::new()));
        let inner = Residual::new().add(BatchNorm::new()).add(Dropout::new(0.4)).add(Tanh);
        let block = Residual::new().add(conv(3)).add(BatchNorm::new()).add(inner).add(ReLU).shortcut(shortcut);
        let body = SequentialBuilder::new([9, 9, 2]).add(BatchNorm::new().epsilon(1e-5)).add(block);
        let body = body.add(MaxPool2D::new(2)).add(AveragePool2D::new(2)).add(LeakyReLU::new(0.1));
        for pool in 0..3 {
            let body = match pool {
                0 => body.clone().add(Flatten),
                1 => body.clone().add(GlobalAveragePool2D),
                _ => body.clone().add(GlobalMaxPool2D),
            };
            let tail = SequentialBuilder::new([4]).add(Dropout::new(0.5)).add(Maxout::new(3, 2)).build(1).unwrap();
            let body = body.add(Dense::new(4)).add(BatchNorm::new()).add(tail).add(Softmax).add(Sigmoid);
            // Also with one sample, whose own variance is 0 behind Flatten.
            (1..3).for_each(|samples| check(&drawn(body.clone()), samples));
        }
    }

    #[test]
    fn errors_name_the_layer() {
        let model = SequentialBuilder::<f64>::new([4, 4, 2]).add(Conv2D::new(2, 3)).build(1).unwrap();
        let error = through(model.layers(), ArrayD::zeros(vec![1, 4, 4, 3])).err().unwrap();
        assert_eq!(error.to_string(), "conv2d_1: expected input [N, H, W, 2], got [1, 4, 4, 3]");
    }
}
