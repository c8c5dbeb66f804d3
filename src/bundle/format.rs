//! The bytes of a model file.

use super::Bundle;
use crate::data::Preprocessing;
use crate::layers::{Layer, expect_built_in, from_config};
use crate::model::Sequential;
use ndarray::ArrayD;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::any::Any;
use std::collections::HashMap;

/// Raised when a file could no longer be read by the version before.
const FORMAT: u32 = 1;
/// The only metadata key: one key has one order, so that the same model always gives the same bytes.
const KEY: &str = "tapetum";

type Reason = Box<dyn std::error::Error + Send + Sync>;

/// What stands in the metadata, as JSON behind its checksum and a blank.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    model: Architecture,
    preprocessing: Option<Preprocessing>,
    class_names: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Architecture {
    input: Vec<usize>,
    layers: Vec<Described>,
}

#[derive(Serialize, Deserialize)]
struct Described {
    kind: String,
    config: serde_json::Value,
}

/// A tensor by name: its shape and its numbers in little-endian order.
struct Tensor {
    name: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

pub(super) fn to_bytes(bundle: &Bundle) -> Result<Vec<u8>, Reason> {
    let header = Header {
        format: FORMAT,
        model: describe(&bundle.model)?,
        preprocessing: bundle.preprocessing.clone(),
        class_names: bundle.class_names.clone(),
    };
    let tensors = tensors_of(&bundle.model);
    let header = serde_json::to_string(&header)?;
    let metadata = HashMap::from([(KEY.to_string(), format!("{} {header}", checksum(&header, &tensors)))]);
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .map(|tensor| Ok((&tensor.name, TensorView::new(Dtype::F32, tensor.shape.clone(), &tensor.bytes)?)))
        .collect();
    let views: Vec<_> = views.map_err(|error: safetensors::SafeTensorError| error)?;
    Ok(serialize(views, Some(metadata))?)
}

pub(super) fn from_bytes(bytes: &[u8]) -> Result<Bundle, Reason> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(not_ours)?;
    let text = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
    let text = text.ok_or("this file holds tensors, but no Tapetum model")?;
    let (expected, text) = text.split_once(' ').ok_or("the header is incomplete: the file is damaged")?;
    let version = serde_json::from_str::<serde_json::Value>(text)?["format"].as_u64();
    if version != Some(u64::from(FORMAT)) {
        let found = version.map_or("none".to_string(), |version| version.to_string());
        return Err(format!("expected format version {FORMAT}, got {found}: another Tapetum wrote this file").into());
    }
    let tensors = read_tensors(&SafeTensors::deserialize(bytes).map_err(not_ours)?)?;
    // Of the text as it stands: written anew, its numbers might be spelled otherwise.
    if checksum(text, &tensors) != expected {
        return Err("the checksum does not fit: the file is damaged".into());
    }
    let header: Header = serde_json::from_str(text)?;
    let mut model = rebuild(header.model)?;
    fill(&mut model, tensors)?;
    Ok(Bundle { model, preprocessing: header.preprocessing, class_names: header.class_names })
}

fn not_ours(error: safetensors::SafeTensorError) -> Reason {
    format!("this is not a model file, or a damaged one ({error})").into()
}

fn describe(model: &Sequential) -> Result<Architecture, Reason> {
    let describe = |(name, layer): (&str, &dyn Layer<f32>)| {
        let config = describe_layer(layer).map_err(|error| format!("{name}: {error}"))?;
        Ok(Described { kind: layer.kind().to_string(), config })
    };
    let layers: Result<Vec<_>, String> = model.layers().map(describe).collect();
    Ok(Architecture { input: model.input_shape().to_vec(), layers: layers? })
}

/// A layer's settings. What cannot be read again must not be written.
fn describe_layer(layer: &dyn Layer<f32>) -> Result<serde_json::Value, Reason> {
    if let Some(network) = (layer as &dyn Any).downcast_ref::<Sequential>() {
        return Ok(serde_json::to_value(describe(network)?)?);
    }
    expect_built_in(layer)?;
    Ok(layer.config())
}

fn rebuild(architecture: Architecture) -> Result<Sequential, Reason> {
    let layer = |Described { kind, config }: Described| -> Result<Box<dyn Layer<f32>>, Reason> {
        match kind.as_str() {
            "Sequential" => Ok(Box::new(rebuild(serde_json::from_value(config)?)?)),
            _ => Ok(from_config(&kind, &config)?),
        }
    };
    let layers = architecture.layers.into_iter().map(layer).collect::<Result<_, _>>()?;
    Ok(Sequential::from_unbuilt(architecture.input, layers, 0)?)
}

fn tensors_of(model: &Sequential) -> Vec<Tensor> {
    let mut tensors: Vec<Tensor> = model
        .parameters()
        .into_iter()
        .chain(model.state())
        .map(|(name, view)| Tensor {
            name,
            shape: view.shape().to_vec(),
            bytes: view.iter().flat_map(|value| value.to_le_bytes()).collect(),
        })
        .collect();
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors
}

fn read_tensors(file: &SafeTensors<'_>) -> Result<Vec<Tensor>, Reason> {
    let read = |(name, view): (String, TensorView<'_>)| match view.dtype() {
        Dtype::F32 => Ok(Tensor { name, shape: view.shape().to_vec(), bytes: view.data().to_vec() }),
        other => Err(format!("{name}: expected F32, got {other:?}")),
    };
    let mut tensors: Vec<Tensor> = file.tensors().into_iter().map(read).collect::<Result<_, _>>()?;
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

/// Sets every tensor of the model, each from exactly one of the file.
fn fill(model: &mut Sequential, tensors: Vec<Tensor>) -> Result<(), Reason> {
    let expected = model.parameters().len() + model.state().len();
    if tensors.len() != expected {
        return Err(format!("expected {expected} tensors, got {}", tensors.len()).into());
    }
    for Tensor { name, shape, bytes } in tensors {
        let values = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        model.set(&name, ArrayD::from_shape_vec(shape, values)?.view())?;
    }
    Ok(())
}

/// The SHA-256 of the header's JSON and all tensors.
fn checksum(header: &str, tensors: &[Tensor]) -> String {
    let mut hash = Sha256::new();
    hash.update(header);
    add_tensors(&mut hash, tensors);
    hex(hash)
}

fn add_tensors(hash: &mut Sha256, tensors: &[Tensor]) {
    for tensor in tensors {
        hash.update(&tensor.name);
        hash.update(format!("{:?}", tensor.shape));
        hash.update(&tensor.bytes);
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of all parameters and state, by name: equal for two networks with the same bits.
pub fn weights_sha256(model: &Sequential) -> String {
    let mut hash = Sha256::new();
    add_tensors(&mut hash, &tensors_of(model));
    hex(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::layers::{Backward, BatchNorm, Dense, Flatten, LeakyReLU, ReLU, Residual, Saved, Sigmoid};
    use crate::model::SequentialBuilder;
    use crate::random::Key;
    use ndarray::ArrayViewD;

    fn bundle() -> Bundle {
        let model = Sequential::builder([4, 4, 3])
            .add(Flatten)
            .add(Dense::new(5))
            .add(BatchNorm::new())
            .add(ReLU)
            .add(Dense::new(1))
            .add(Sigmoid)
            .build(3)
            .unwrap();
        Bundle::new(model).preprocessing(Preprocessing::new(4, 4)).class_names(["cat", "dog"])
    }

    #[test]
    fn a_round_trip_loses_nothing() {
        let bundle = bundle();
        let bytes = to_bytes(&bundle).unwrap();
        let again = from_bytes(&bytes).unwrap();
        assert_eq!(again.model.parameters(), bundle.model.parameters());
        assert_eq!(again.model.state(), bundle.model.state());
        assert_eq!(
            (again.preprocessing, again.class_names),
            (bundle.preprocessing.clone(), bundle.class_names.clone())
        );
        assert_eq!(to_bytes(&self::bundle()).unwrap(), bytes, "the same model gives the same bytes");
    }

    // Read without `float_roundtrip`, this slope is one bit off.
    #[test]
    fn settings_come_back_to_the_bit() {
        let slope = LeakyReLU::new(0.945_270_695_553_922_3);
        let model = Sequential::builder([2]).add(slope).build(1).unwrap();
        let again = from_bytes(&to_bytes(&Bundle::new(model.clone())).unwrap()).unwrap();
        assert_eq!(format!("{:?}", again.model), format!("{model:?}"));
    }

    #[test]
    fn a_network_inside_a_network_comes_back() {
        let inner = Sequential::builder([2]).add(Dense::new(3)).add(ReLU).build(1).unwrap();
        let model = Sequential::builder([2]).add(inner).add(Dense::new(1)).build(2).unwrap();
        let again = from_bytes(&to_bytes(&Bundle::new(model.clone())).unwrap()).unwrap();
        assert_eq!(again.model.parameters(), model.parameters());
        assert_eq!(format!("{:?}", again.model), format!("{model:?}"));
    }

    /// A user's own layer under a built-in's name.
    #[derive(Debug, Clone)]
    struct Impostor;

    impl Layer<f32> for Impostor {
        fn kind(&self) -> &'static str {
            "ReLU"
        }
        fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
            Ok(input.to_vec())
        }
        fn forward(&self, x: ArrayViewD<'_, f32>) -> Result<ArrayD<f32>> {
            Ok(x.to_owned())
        }
        fn forward_train(&self, x: ArrayViewD<'_, f32>, _key: Key) -> Result<(ArrayD<f32>, Saved)> {
            Ok((x.to_owned(), Saved::new(())))
        }
        fn backward(&self, _saved: Saved, dy: ArrayViewD<'_, f32>) -> Result<Backward<f32>> {
            Ok(Backward::input_only(dy.to_owned()))
        }
        fn config(&self) -> serde_json::Value {
            Layer::<f32>::config(&ReLU)
        }
        fn clone_box(&self) -> Box<dyn Layer<f32>> {
            Box::new(self.clone())
        }
    }

    #[test]
    fn a_layer_that_only_has_a_built_in_name_is_refused() {
        let refused =
            |model: SequentialBuilder<f32>| to_bytes(&Bundle::new(model.build(1).unwrap())).unwrap_err().to_string();
        let error = refused(Sequential::builder([2]).add(Impostor));
        assert_eq!(error, "relu_1: layer: kind must be a built-in one's own, got \"ReLU\" of another type");
        assert!(refused(Sequential::builder([2]).add(Residual::new().add(Impostor))).contains("of another type"));
    }

    #[test]
    fn every_damaged_byte_is_found() {
        let bytes = to_bytes(&bundle()).unwrap();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << (place % 8);
            let loaded = from_bytes(&damaged);
            // Blanks that pad the header carry no meaning.
            assert!(loaded.is_err() || bytes[place] == b' ', "byte {place} of {}", bytes.len());
        }
        for length in 0..bytes.len() {
            assert!(from_bytes(&bytes[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn another_version_is_refused_by_number() {
        let mut bytes = to_bytes(&bundle()).unwrap();
        // The header is JSON inside a JSON string: its quotes are escaped.
        let version = br#"\"format\":1"#;
        let place = bytes.windows(version.len()).position(|window| window == version).unwrap();
        bytes[place + version.len() - 1] = b'7';
        let error = from_bytes(&bytes).unwrap_err().to_string();
        assert!(error.starts_with("expected format version 1, got 7"), "{error}");
    }
}
