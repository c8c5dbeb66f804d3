//! A network as a description and tensors: what model files and checkpoints hold of it.

use super::Sequential;
use crate::layers::{Layer, expect_built_in, from_config};
use crate::sealed::{Reason, Tensor};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::fmt;

/// The layers of a network, with their settings and without their parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Architecture {
    input: Vec<usize>,
    layers: Vec<Described>,
    /// Left out where it is not so, as all files had it once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    test_time_flip: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Described {
    kind: String,
    config: serde_json::Value,
}

impl Architecture {
    /// Of any network, to be compared with another one.
    pub fn of(model: &Sequential) -> Self {
        let describe =
            |(_, layer): (&str, &dyn Layer<f32>)| Described { kind: layer.kind().to_string(), config: layer.config() };
        let (input, layers) = (model.input_shape().to_vec(), model.layers().map(describe).collect());
        Self { input, layers, test_time_flip: model.flips_at_test() }
    }

    /// Of a network that can be made from it again: not where it has a layer of the user's own kind.
    pub fn to_rebuild(model: &Sequential) -> Result<Self, Reason> {
        expect_rebuildable(model)?;
        Ok(Self::of(model))
    }

    /// The network; its parameters are drawn, and to be set.
    pub fn rebuild(self) -> Result<Sequential, Reason> {
        let layer = |Described { kind, config }: Described| -> Result<Box<dyn Layer<f32>>, Reason> {
            match kind.as_str() {
                "Sequential" => Ok(Box::new(serde_json::from_value::<Self>(config)?.rebuild()?)),
                _ => Ok(from_config(&kind, &config)?),
            }
        };
        let layers = self.layers.into_iter().map(layer).collect::<Result<_, _>>()?;
        Ok(Sequential::from_unbuilt(self.input, layers, 0)?.test_time_flip(self.test_time_flip)?)
    }

    /// Where `other` differs first, in words; none where it does not.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.input != other.input {
            return Some(format!("the input is {:?} there, {:?} here", self.input, other.input));
        }
        if self.test_time_flip != other.test_time_flip {
            return Some(format!(
                "the flip at test time is {} there, {} here",
                self.test_time_flip, other.test_time_flip
            ));
        }
        let told = |layer: Option<&Described>| layer.map_or("nothing".into(), |layer| layer.to_string());
        let count = self.layers.len().max(other.layers.len());
        let differs = (0..count).find(|&place| self.layers.get(place) != other.layers.get(place))?;
        let [there, here] = [self, other].map(|network| told(network.layers.get(differs)));
        Some(format!("layer {} is {there} there, {here} here", differs + 1))
    }
}

/// The kinds of the layers behind the input's shape, as in `[64, 64, 3] Conv2D ReLU Flatten Dense`.
impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.input)?;
        self.layers.iter().try_for_each(|layer| write!(f, " {}", layer.kind))
    }
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.config {
            serde_json::Value::Null => f.write_str(&self.kind),
            config => write!(f, "{} {config}", self.kind),
        }
    }
}

/// What cannot be read again must not be written.
fn expect_rebuildable(model: &Sequential) -> Result<(), Reason> {
    for (name, layer) in model.layers() {
        let found = match (layer as &dyn Any).downcast_ref::<Sequential>() {
            Some(network) => expect_rebuildable(network),
            None => expect_built_in(layer).map_err(Reason::from),
        };
        found.map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// All parameters and state, in the order of their names.
pub(crate) fn tensors_of(model: &Sequential) -> Vec<Tensor> {
    let views = model.parameters().into_iter().chain(model.state());
    let mut tensors: Vec<Tensor> = views.map(|(name, view)| Tensor::new(name, view)).collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors
}

/// Sets every tensor of the model, each from exactly one of `tensors`.
pub(crate) fn fill(model: &mut Sequential, tensors: &[Tensor]) -> Result<(), Reason> {
    let expected = model.parameters().len() + model.state().len();
    if tensors.len() != expected {
        return Err(format!("expected {expected} tensors, got {}", tensors.len()).into());
    }
    tensors.iter().try_for_each(|tensor| Ok(model.set(&tensor.name, tensor.values()?.view())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Dense, Flatten, ReLU};

    #[test]
    fn two_networks_are_told_apart_in_words() {
        let network = |size: usize, units: usize| {
            let body = Sequential::builder([size, size, 1]).add(Flatten).add(Dense::new(units));
            Architecture::of(&body.add(ReLU).build(1).unwrap())
        };
        assert_eq!(network(4, 5).to_string(), "[4, 4, 1] Flatten Dense ReLU");
        assert_eq!(network(4, 5).difference(&network(4, 5)), None);
        let difference = network(4, 5).difference(&network(4, 6)).unwrap();
        assert!(difference.starts_with("layer 2 is Dense {") && difference.contains("\"units\":6"), "{difference}");
        assert_eq!(network(4, 5).difference(&network(3, 5)).unwrap(), "the input is [4, 4, 1] there, [3, 3, 1] here");
        let longer = Sequential::builder([4, 4, 1]).add(Flatten).add(Dense::new(5)).add(ReLU).add(ReLU);
        let difference = network(4, 5).difference(&Architecture::of(&longer.build(1).unwrap())).unwrap();
        assert_eq!(difference, "layer 4 is nothing there, ReLU here");
    }
}
