//! Layers one after another: the inside of a Sequential and of a Residual.

use super::registry::{described, description};
use super::{Backward, Layer, Saved};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::random::Key;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};

/// Layers one after another, each with a name of its own: `conv2d_1`, `conv2d_2`, `dense_1`.
///
/// ```
/// use tapetum::prelude::*;
/// let mut chain = Chain::<f32>::default();
/// chain.push(Box::new(Dense::new(8)));
/// chain.push(Box::new(ReLU));
/// chain.push(Box::new(Dense::new(1)));
/// assert!(chain.layers().map(|(name, _)| name).eq(["dense_1", "relu_1", "dense_2"]));
/// ```
#[derive(Debug, Clone)]
pub struct Chain<E: Element> {
    layers: Vec<(String, Box<dyn Layer<E>>)>,
}

impl<E: Element> Default for Chain<E> {
    fn default() -> Self {
        Self { layers: Vec::new() }
    }
}

impl<E: Element> Chain<E> {
    /// Appends a layer; its name counts the layers of its kind.
    pub fn push(&mut self, layer: Box<dyn Layer<E>>) {
        let stem = layer.kind().to_lowercase();
        let number = 1 + self.layers.iter().filter(|(_, other)| other.kind() == layer.kind()).count();
        self.layers.push((format!("{stem}_{number}"), layer));
    }

    /// The layers that [`config`](Layer::config) described, not built yet.
    pub(crate) fn from_config(config: &serde_json::Value) -> Result<Self> {
        let descriptions = config.as_array().ok_or_else(|| Error::argument("chain", "config", "a list", config))?;
        let mut chain = Self::default();
        descriptions.iter().try_for_each(|description| described(description).map(|layer| chain.push(layer)))?;
        Ok(chain)
    }

    /// The layers with their names, first to last.
    pub fn layers(&self) -> impl DoubleEndedIterator<Item = (&str, &dyn Layer<E>)> + ExactSizeIterator {
        self.layers.iter().map(|(name, layer)| (name.as_str(), layer.as_ref()))
    }

    /// The layer of this number.
    pub(crate) fn layer(&self, number: usize) -> &dyn Layer<E> {
        self.layers[number].1.as_ref()
    }

    /// The same, to change it.
    pub(crate) fn layer_mut(&mut self, number: usize) -> &mut dyn Layer<E> {
        self.layers[number].1.as_mut()
    }

    // The chain rule, from the last layer kept to the first, which goes its own way.
    fn backward_through(
        &self,
        saved: Saved,
        dy: ArrayViewD<'_, E>,
        first: impl Fn(&dyn Layer<E>, Saved, ArrayViewD<'_, E>) -> Result<Backward<E>>,
    ) -> Result<Backward<E>> {
        let kept = saved.take::<Vec<Saved>>("chain")?;
        let (mut params, mut state) = (Vec::new(), Vec::new());
        let mut dx = dy.to_owned();
        for (place, ((name, layer), saved)) in self.layers.iter().zip(kept).enumerate().rev() {
            let back = match place {
                0 => first(layer.as_ref(), saved, dx.view()),
                _ => layer.backward(saved, dx.view()),
            };
            let mut back = back.map_err(|error| error.of_layer(layer.kind(), name))?;
            dx = back.dx;
            // Collected last layer first, each layer's own order reversed: one reversal at the end restores both.
            back.params.reverse();
            back.state.reverse();
            params.append(&mut back.params);
            state.append(&mut back.state);
        }
        params.reverse();
        state.reverse();
        Ok(Backward { dx, params, state })
    }
}

impl<E: Element> Layer<E> for Chain<E> {
    fn kind(&self) -> &'static str {
        "Chain"
    }

    fn build(&mut self, input: &[usize], key: Key) -> Result<()> {
        let mut shape = input.to_vec();
        for (place, (name, layer)) in self.layers.iter_mut().enumerate() {
            layer
                .build(&shape, key.at(place as u64))
                .and_then(|()| layer.output_shape(&shape))
                .map(|output| shape = output)
                .map_err(|error| error.of_layer(layer.kind(), name))?;
        }
        Ok(())
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        self.layers.iter().try_fold(input.to_vec(), |shape, (name, layer)| {
            layer.output_shape(&shape).map_err(|error| error.of_layer(layer.kind(), name))
        })
    }

    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        let mut y = None;
        for (name, layer) in &self.layers {
            let input = y.as_ref().map_or(x.view(), |y: &ArrayD<E>| y.view());
            y = Some(layer.forward(input).map_err(|error| error.of_layer(layer.kind(), name))?);
        }
        Ok(y.unwrap_or_else(|| x.to_owned()))
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, key: Key) -> Result<(ArrayD<E>, Saved)> {
        let mut y = None;
        let mut kept = Vec::with_capacity(self.layers.len());
        for (place, (name, layer)) in self.layers.iter().enumerate() {
            let key = key.at(place as u64);
            let passed = match y.take() {
                Some(input) => layer.forward_train_owned(input, key),
                None => layer.forward_train(x.view(), key),
            };
            let (output, saved) = passed.map_err(|error| error.of_layer(layer.kind(), name))?;
            y = Some(output);
            kept.push(saved);
        }
        Ok((y.unwrap_or_else(|| x.to_owned()), Saved::new(kept)))
    }

    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        self.backward_through(saved, dy, |layer, saved, dy| layer.backward(saved, dy))
    }

    fn backward_first(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        self.backward_through(saved, dy, |layer, saved, dy| layer.backward_first(saved, dy))
    }

    fn parameters(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        prefixed(self.layers.iter().map(|(name, layer)| (name, layer.parameters())))
    }

    fn parameters_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        prefixed(self.layers.iter_mut().map(|(name, layer)| (&*name, layer.parameters_mut())))
    }

    fn state(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        prefixed(self.layers.iter().map(|(name, layer)| (name, layer.state())))
    }

    fn state_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        prefixed(self.layers.iter_mut().map(|(name, layer)| (&*name, layer.state_mut())))
    }

    fn config(&self) -> serde_json::Value {
        self.layers.iter().map(|(_, layer)| description(layer.as_ref())).collect()
    }

    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(self.clone())
    }
}

/// `weight` of the layer `conv2d_1` is `conv2d_1.weight`.
fn prefixed<'a, V>(layers: impl Iterator<Item = (&'a String, Vec<(String, V)>)>) -> Vec<(String, V)> {
    layers
        .flat_map(|(layer, views)| views.into_iter().map(move |(name, view)| (format!("{layer}.{name}"), view)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Conv2D, ReLU};

    #[test]
    fn errors_name_the_layer_inside() {
        let mut inner = Chain::<f32>::default();
        inner.push(Box::new(Conv2D::new(2, 3)));
        let mut chain = Chain::default();
        chain.push(Box::new(ReLU));
        chain.push(Box::new(inner));
        let error = chain.build(&[5, 5], Key::new(0)).unwrap_err();
        assert_eq!(error.to_string(), "chain_1.conv2d_1: expected input [H, W, C], got [5, 5]");
    }
}
