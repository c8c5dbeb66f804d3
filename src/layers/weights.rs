//! A weight tensor and its biases, as Conv2D, Dense and Maxout have them.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::init::glorot_uniform;
use crate::random::Key;
use crate::shape::volume;
use ndarray::{Array, Array1, ArrayViewD, ArrayViewMutD, Dimension};

/// w [… , F] and b [F], both in standard layout.
#[derive(Debug, Clone)]
pub(super) struct Weights<E, D: Dimension> {
    pub weight: Array<E, D>,
    pub bias: Option<Array1<E>>,
    /// Came from the user: `build` keeps them instead of drawing others.
    pub given: bool,
}

impl<E: Element, D: Dimension> Weights<E, D> {
    /// Takes over given arrays, whose last axis counts the biases.
    pub fn given(at: &str, weight: Array<E, D>, bias: Option<Array1<E>>) -> Result<Self> {
        let units = weight.shape().last().copied().unwrap_or(0);
        if weight.is_empty() {
            return Err(Error::shape(at, "weights along every axis", weight.shape()));
        }
        match &bias {
            Some(bias) if bias.len() != units => Err(Error::shape(at, format!("bias [{units}]"), bias.shape())),
            _ => Ok(Self {
                weight: weight.as_standard_layout().into_owned(),
                bias: bias.map(|bias| bias.as_standard_layout().into_owned()),
                given: true,
            }),
        }
    }

    /// Draws Glorot-uniform weights [… , C, F]; biases, if any, start at zero.
    pub fn drawn(at: &str, shape: D, use_bias: bool, key: Key) -> Result<Self> {
        let count = volume(at, shape.slice())?;
        let [window @ .., c, f] = shape.slice() else { unreachable!("weights have at least two axes") };
        // The axes before C and F, if any, are those of a convolution's window; count bounds their product.
        let area: usize = if count == 0 { 0 } else { window.iter().product() };
        let weight = glorot_uniform(area * c, area * f, count, key).map_err(|error| error.renamed(at))?;
        let units = *f;
        let weight = Array::from_shape_vec(shape, weight).expect("as many weights were drawn as the shape has");
        let bias = use_bias.then(|| Array1::zeros(units));
        Ok(Self { given: false, ..Self::given(at, weight, bias)? })
    }

    pub fn w(&self) -> &[E] {
        self.weight.as_slice().expect("weights are in standard layout")
    }

    pub fn b(&self) -> Option<&[E]> {
        self.bias.as_ref().map(|bias| bias.as_slice().expect("biases are in standard layout"))
    }

    pub fn numbers_mut(&mut self) -> (&mut [E], Option<&mut [E]>) {
        let bias = self.bias.as_mut().map(|bias| bias.as_slice_mut().expect("biases are in standard layout"));
        (self.weight.as_slice_mut().expect("weights are in standard layout"), bias)
    }

    pub fn views(&self) -> Vec<(String, ArrayViewD<'_, E>)> {
        let mut views = vec![("weight".to_string(), self.weight.view().into_dyn())];
        views.extend(self.bias.as_ref().map(|bias| ("bias".to_string(), bias.view().into_dyn())));
        views
    }

    pub fn views_mut(&mut self) -> Vec<(String, ArrayViewMutD<'_, E>)> {
        let mut views = vec![("weight".to_string(), self.weight.view_mut().into_dyn())];
        views.extend(self.bias.as_mut().map(|bias| ("bias".to_string(), bias.view_mut().into_dyn())));
        views
    }
}

/// The parameters of a layer that may not be built yet.
pub(super) fn views<E: Element, D: Dimension>(weights: &Option<Weights<E, D>>) -> Vec<(String, ArrayViewD<'_, E>)> {
    weights.as_ref().map_or_else(Vec::new, Weights::views)
}

/// The same, to change them.
pub(super) fn views_mut<E: Element, D: Dimension>(
    weights: &mut Option<Weights<E, D>>,
) -> Vec<(String, ArrayViewMutD<'_, E>)> {
    weights.as_mut().map_or_else(Vec::new, Weights::views_mut)
}

/// The parameters, or the error that there are none yet.
pub(super) fn built<'a, E, D: Dimension>(at: &str, weights: &'a Option<Weights<E, D>>) -> Result<&'a Weights<E, D>> {
    weights.as_ref().ok_or_else(|| Error::NotBuilt { at: at.into() })
}
