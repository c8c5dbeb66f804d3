//! y = F(x) + S(x),  S(x) = x where there is no shortcut
//! x [N, …]  →  y of the shape that F and S share     (He et al., arXiv:1512.03385, eq. 1–2)

use super::registry::{described, description};
use super::{Backward, Chain, Layer, Saved};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::random::Key;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};

/// Layers one after another, with a path around them (He et al., arXiv:1512.03385, equations 1 and 2).
///
/// Parameters are named after the layers inside: `conv2d_1.weight`, `shortcut.weight`.
///
/// ```
/// use tapetum::prelude::*;
/// let mut block = Residual::new()
///     .add(Conv2D::new(8, 3).stride(2).padding(Padding::Same))
///     .add(ReLU)
///     .add(Conv2D::new(8, 3).padding(Padding::Same))
///     .shortcut(Conv2D::new(8, 1).stride(2));
/// block.build(&[6, 6, 4], Key::new(1))?;
/// let y = block.forward(ndarray::Array4::<f32>::ones([2, 6, 6, 4]).into_dyn().view())?;
/// assert_eq!(y.shape(), [2, 3, 3, 8]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Residual<E: Element = f32> {
    layers: Chain<E>,
    shortcut: Option<Box<dyn Layer<E>>>,
}

impl<E: Element> Default for Residual<E> {
    fn default() -> Self {
        Self { layers: Chain::default(), shortcut: None }
    }
}

impl<E: Element> Residual<E> {
    /// A block without layers yet: y = x + x.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a layer to F.
    #[expect(clippy::should_implement_trait, reason = "Keras' word for it")]
    pub fn add(mut self, layer: impl Layer<E>) -> Self {
        self.layers.push(Box::new(layer));
        self
    }

    /// Makes `layer` the path S around F, as where F changes the shape: a 1×1 convolution with F's stride.
    pub fn shortcut(mut self, layer: impl Layer<E>) -> Self {
        self.shortcut = Some(Box::new(layer));
        self
    }

    /// F and S.
    pub(crate) fn paths(&self) -> (&Chain<E>, Option<&dyn Layer<E>>) {
        (&self.layers, self.shortcut.as_deref())
    }

    /// The same, to change them.
    pub(crate) fn paths_mut(&mut self) -> (&mut Chain<E>, Option<&mut dyn Layer<E>>) {
        (&mut self.layers, self.shortcut.as_deref_mut())
    }

    /// The layers of both paths.
    #[cfg(feature = "bundle")]
    pub(super) fn inside(&self) -> impl Iterator<Item = &dyn Layer<E>> {
        self.layers.layers().map(|(_, layer)| layer).chain(self.shortcut.as_deref())
    }

    /// The block that [`config`](Layer::config) described.
    pub(super) fn from_config(config: &serde_json::Value) -> Result<Self> {
        let shortcut = match &config["shortcut"] {
            serde_json::Value::Null => None,
            shortcut => Some(described(shortcut)?),
        };
        Ok(Self { layers: Chain::from_config(&config["layers"])?, shortcut })
    }
}

/// An error of the layer that S consists of.
fn of_shortcut(error: Error) -> Error {
    error.renamed("shortcut").inside("residual")
}

/// An error of one of F's layers.
fn of_layers(error: Error) -> Error {
    error.inside("residual")
}

impl<E: Element> Layer<E> for Residual<E> {
    fn kind(&self) -> &'static str {
        "Residual"
    }

    fn build(&mut self, input: &[usize], key: Key) -> Result<()> {
        self.layers.build(input, key.named("layers")).map_err(of_layers)?;
        if let Some(shortcut) = &mut self.shortcut {
            shortcut.build(input, key.named("shortcut")).map_err(of_shortcut)?;
        }
        self.output_shape(input).map(drop)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let f = self.layers.output_shape(input).map_err(of_layers)?;
        let s = match &self.shortcut {
            Some(shortcut) => shortcut.output_shape(input).map_err(of_shortcut)?,
            None => input.to_vec(),
        };
        expect_sum(&f, &s)?;
        Ok(f)
    }

    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        let f = self.layers.forward(x.view()).map_err(of_layers)?;
        let s = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x).map_err(of_shortcut)?,
            None => x.to_owned(),
        };
        expect_sum(f.shape(), s.shape())?;
        Ok(f + s)
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, key: Key) -> Result<(ArrayD<E>, Saved)> {
        let (f, saved_f) = self.layers.forward_train(x.view(), key.named("layers")).map_err(of_layers)?;
        let (s, saved_s) = match &self.shortcut {
            Some(shortcut) => shortcut.forward_train(x, key.named("shortcut")).map_err(of_shortcut)?,
            None => (x.to_owned(), Saved::new(())),
        };
        expect_sum(f.shape(), s.shape())?;
        Ok((f + s, Saved::new((saved_f, saved_s))))
    }

    // ∂L/∂x is the sum over both paths.
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let (saved_f, saved_s) = saved.take::<(Saved, Saved)>("residual")?;
        let Backward { mut dx, mut params, mut state } = self.layers.backward(saved_f, dy.view()).map_err(of_layers)?;
        match &self.shortcut {
            Some(shortcut) => {
                let back = shortcut.backward(saved_s, dy).map_err(of_shortcut)?;
                dx += &back.dx;
                params.extend(back.params);
                state.extend(back.state);
            }
            None => dx += &dy,
        }
        Ok(Backward { dx, params, state })
    }

    fn parameters(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        joined(self.layers.parameters(), self.shortcut.as_ref().map(|shortcut| shortcut.parameters()))
    }

    fn parameters_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        joined(self.layers.parameters_mut(), self.shortcut.as_mut().map(|shortcut| shortcut.parameters_mut()))
    }

    fn state(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        joined(self.layers.state(), self.shortcut.as_ref().map(|shortcut| shortcut.state()))
    }

    fn state_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        joined(self.layers.state_mut(), self.shortcut.as_mut().map(|shortcut| shortcut.state_mut()))
    }

    fn config(&self) -> serde_json::Value {
        let shortcut = self.shortcut.as_ref().map(|layer| description(layer.as_ref()));
        serde_json::json!({ "layers": self.layers.config(), "shortcut": shortcut })
    }

    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(self.clone())
    }
}

/// Checks that F(x) and S(x) can be added.
fn expect_sum(f: &[usize], s: &[usize]) -> Result<()> {
    if f == s {
        return Ok(());
    }
    Err(Error::shape("residual", format!("layers that end in the shortcut's shape {s:?}"), f))
}

/// F's tensors, and S's with its name before theirs.
fn joined<V>(mut layers: Vec<(String, V)>, shortcut: Option<Vec<(String, V)>>) -> Vec<(String, V)> {
    layers.extend(shortcut.into_iter().flatten().map(|(name, view)| (format!("shortcut.{name}"), view)));
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{BatchNorm, Conv2D, Dense, ReLU};
    use ndarray::array;

    #[test]
    fn adds_its_input_forward_and_backward() {
        let block = Residual::new().add(Dense::from_weights(array![[2.0]], None).unwrap()).add(ReLU);
        let (y, saved) = block.forward_train(array![[3.0], [-1.0]].into_dyn().view(), Key::new(0)).unwrap();
        assert_eq!(y, array![[9.0], [-1.0]].into_dyn());
        let back = block.backward(saved, array![[1.0], [10.0]].into_dyn().view()).unwrap();
        assert_eq!(back.dx, array![[3.0], [10.0]].into_dyn());
        assert_eq!(back.params, [array![[3.0]].into_dyn()]);
    }

    #[test]
    fn names_and_order_of_what_both_paths_hold() {
        let mut block = Residual::<f64>::new()
            .add(Conv2D::new(2, 1))
            .add(BatchNorm::new())
            .shortcut(Residual::new().add(Conv2D::new(2, 1).use_bias(false)).shortcut(Conv2D::new(2, 1)));
        block.build(&[3, 3, 1], Key::new(1)).unwrap();
        let names: Vec<String> = block.parameters().into_iter().map(|(name, _)| name).collect();
        let expected = [
            "conv2d_1.weight",
            "conv2d_1.bias",
            "batchnorm_1.gamma",
            "batchnorm_1.beta",
            "shortcut.conv2d_1.weight",
            "shortcut.shortcut.weight",
            "shortcut.shortcut.bias",
        ];
        assert_eq!(names, expected);
        assert_eq!(block.state()[0].0, "batchnorm_1.moving_mean");
        let (y, saved) = block.forward_train(ArrayD::ones(vec![1, 3, 3, 1]).view(), Key::new(0)).unwrap();
        let back = block.backward(saved, y.view()).unwrap();
        let shapes = |views: Vec<(String, ArrayViewD<'_, f64>)>| -> Vec<Vec<usize>> {
            views.iter().map(|(_, view)| view.shape().to_vec()).collect()
        };
        assert_eq!(shapes(block.parameters()), back.params.iter().map(|g| g.shape().to_vec()).collect::<Vec<_>>());
        assert_eq!(shapes(block.state()), back.state.iter().map(|s| s.shape().to_vec()).collect::<Vec<_>>());
    }

    #[test]
    fn errors_name_the_layer_inside() {
        let mut block = Residual::<f32>::new().add(ReLU).add(Conv2D::new(2, 3));
        let error = block.build(&[5, 5, 2], Key::new(0)).unwrap_err();
        let expected = "residual: expected layers that end in the shortcut's shape [5, 5, 2], got [3, 3, 2]";
        assert_eq!(error.to_string(), expected);
        let error = block.build(&[5, 5], Key::new(0)).unwrap_err();
        assert_eq!(error.to_string(), "residual.conv2d_1: expected input [H, W, C], got [5, 5]");
        let mut chain = Chain::<f32>::default();
        chain.push(Box::new(block));
        let error = chain.build(&[5, 5], Key::new(0)).unwrap_err();
        assert_eq!(error.to_string(), "residual_1.conv2d_1: expected input [H, W, C], got [5, 5]");
    }
}
