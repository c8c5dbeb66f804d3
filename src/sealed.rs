//! Tensors and a header under one checksum: what model files and checkpoints have in common.
//!
//! The file is safetensors. Its metadata is a map without an order; one key, which holds the checksum, a blank and the
//! header as JSON, gives the same bytes for the same content.

use ndarray::{ArrayD, ArrayViewD};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Why something cannot be written or read.
pub(crate) type Reason = Box<dyn std::error::Error + Send + Sync>;

/// A kind of sealed file.
pub(crate) struct Seal {
    /// What such a file holds, as in `model`.
    pub what: &'static str,
    /// The only metadata key.
    pub key: &'static str,
    /// The header's `format`: raised when a file could no longer be read by the version before.
    pub format: u32,
}

/// A tensor by name: its shape and its numbers in little-endian order.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Tensor {
    pub fn new(name: String, values: ArrayViewD<'_, f32>) -> Self {
        let mut bytes = vec![0; 4 * values.len()];
        let places = bytes.as_chunks_mut::<4>().0.iter_mut();
        match values.as_slice() {
            Some(values) => places.zip(values).for_each(|(place, value)| *place = value.to_le_bytes()),
            None => places.zip(&values).for_each(|(place, value)| *place = value.to_le_bytes()),
        }
        Self { name, shape: values.shape().to_vec(), bytes }
    }

    pub fn values(&self) -> Result<ArrayD<f32>, Reason> {
        let values = self.bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        Ok(ArrayD::from_shape_vec(self.shape.clone(), values)?)
    }

    fn view(&self) -> Result<TensorView<'_>, SafeTensorError> {
        TensorView::new(Dtype::F32, self.shape.clone(), &self.bytes)
    }

    fn read((name, view): (String, TensorView<'_>)) -> Result<Self, Reason> {
        match view.dtype() {
            Dtype::F32 => Ok(Self { name, shape: view.shape().to_vec(), bytes: view.data().to_vec() }),
            other => Err(format!("{name}: expected F32, got {other:?}").into()),
        }
    }
}

impl Seal {
    /// The bytes of a file.
    pub fn write(&self, header: &impl Serialize, tensors: &[Tensor]) -> Result<Vec<u8>, Reason> {
        let header = serde_json::to_string(header)?;
        let metadata = HashMap::from([(self.key.to_string(), format!("{} {header}", sha256(&header, tensors)))]);
        let views: Result<Vec<_>, SafeTensorError> =
            tensors.iter().map(|tensor| Ok((&tensor.name, tensor.view()?))).collect();
        Ok(serialize(views?, Some(metadata))?)
    }

    /// Header and tensors of a file, in the order of the tensors' names.
    pub fn read<H: DeserializeOwned>(&self, bytes: &[u8]) -> Result<(H, Vec<Tensor>), Reason> {
        let not_ours = |error| format!("this is not a {} file, or a damaged one ({error})", self.what);
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(not_ours)?;
        let text = metadata.metadata().as_ref().and_then(|map| map.get(self.key));
        let text = text.ok_or_else(|| format!("this file holds tensors, but no Tapetum {}", self.what))?;
        let (expected, text) = text.split_once(' ').ok_or("the header is incomplete: the file is damaged")?;
        self.expect_format(text)?;
        let file = SafeTensors::deserialize(bytes).map_err(not_ours)?;
        let mut tensors: Vec<Tensor> = file.tensors().into_iter().map(Tensor::read).collect::<Result<_, _>>()?;
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        // Of the text as it stands: written anew, its numbers might be spelled otherwise.
        if sha256(text, &tensors) != expected {
            return Err("the checksum does not fit: the file is damaged".into());
        }
        Ok((serde_json::from_str(text)?, tensors))
    }

    fn expect_format(&self, header: &str) -> Result<(), Reason> {
        let expected = self.format;
        let found = serde_json::from_str::<serde_json::Value>(header)?["format"].as_u64();
        if found == Some(u64::from(expected)) {
            return Ok(());
        }
        let found = found.map_or("none".to_string(), |version| version.to_string());
        Err(format!("expected format version {expected}, got {found}: another Tapetum wrote this file").into())
    }
}

/// The SHA-256 of a text and tensors, which come in the order of their names.
pub(crate) fn sha256(text: &str, tensors: &[Tensor]) -> String {
    let mut hash = Sha256::new();
    hash.update(text);
    for tensor in tensors {
        hash.update(&tensor.name);
        hash.update(format!("{:?}", tensor.shape));
        hash.update(&tensor.bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    const SEAL: Seal = Seal { what: "shopping list", key: "list", format: 3 };

    fn sealed(format: u32) -> Vec<u8> {
        let weight = array![[1.0, f32::NAN], [-0.0, f32::INFINITY]].reversed_axes().into_dyn();
        let header = serde_json::json!({ "format": format, "bread": 2 });
        SEAL.write(&header, &[Tensor::new("a".into(), weight.view())]).unwrap()
    }

    #[test]
    fn every_bit_comes_back() {
        let (header, tensors) = SEAL.read::<serde_json::Value>(&sealed(3)).unwrap();
        assert_eq!((header["bread"].as_u64(), tensors[0].name.as_str()), (Some(2), "a"));
        let bits = tensors[0].values().unwrap().mapv(f32::to_bits);
        assert_eq!(bits, array![[1.0, -0.0], [f32::NAN, f32::INFINITY]].mapv(f32::to_bits).into_dyn());
        assert_eq!(sealed(3), sealed(3));
    }

    #[test]
    fn another_kind_or_format_is_told_from_damage() {
        let error = |seal: Seal, bytes: &[u8]| seal.read::<serde_json::Value>(bytes).unwrap_err().to_string();
        let other = Seal { what: "recipe", key: "recipe", format: 3 };
        assert_eq!(error(other, &sealed(3)), "this file holds tensors, but no Tapetum recipe");
        assert!(error(SEAL, &sealed(4)).starts_with("expected format version 3, got 4"));
        assert!(error(SEAL, b"milk").starts_with("this is not a shopping list file, or a damaged one"));
        let mut damaged = sealed(3);
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(error(SEAL, &damaged), "the checksum does not fit: the file is damaged");
    }
}
