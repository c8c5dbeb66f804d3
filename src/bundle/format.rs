//! The bytes of a model file.

use super::Bundle;
use crate::data::Preprocessing;
use crate::model::{Architecture, Sequential, fill, tensors_of};
use crate::sealed::{Reason, Seal, sha256};
use serde::{Deserialize, Serialize};

const SEAL: Seal = Seal { what: "model", key: "tapetum", format: 1 };

/// What stands in the metadata.
#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    model: Architecture,
    preprocessing: Option<Preprocessing>,
    class_names: Vec<String>,
}

pub(super) fn to_bytes(bundle: &Bundle) -> Result<Vec<u8>, Reason> {
    let header = Header {
        format: SEAL.format,
        model: Architecture::to_rebuild(&bundle.model)?,
        preprocessing: bundle.preprocessing.clone(),
        class_names: bundle.class_names.clone(),
    };
    SEAL.write(&header, &tensors_of(&bundle.model))
}

pub(super) fn from_bytes(bytes: &[u8]) -> Result<Bundle, Reason> {
    let (header, tensors) = SEAL.read::<Header>(bytes)?;
    let mut model = header.model.rebuild()?;
    fill(&mut model, &tensors)?;
    Ok(Bundle { model, preprocessing: header.preprocessing, class_names: header.class_names })
}

/// The SHA-256 of all parameters and state, by name: equal for two networks with the same bits.
pub fn weights_sha256(model: &Sequential) -> String {
    sha256("", &tensors_of(model))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::layers::{Backward, BatchNorm, Dense, Flatten, Layer, LeakyReLU, ReLU, Residual, Saved, Sigmoid};
    use crate::model::SequentialBuilder;
    use crate::random::Key;
    use ndarray::{ArrayD, ArrayViewD};

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
    fn the_flip_at_test_time_comes_back() {
        let bundle = bundle();
        let plain = to_bytes(&bundle).unwrap();
        assert!(!from_bytes(&plain).unwrap().model.flips_at_test());
        let flipping = Bundle { model: bundle.model.test_time_flip(true).unwrap(), ..bundle };
        assert!(from_bytes(&to_bytes(&flipping).unwrap()).unwrap().model.flips_at_test());
        assert!(!String::from_utf8_lossy(&plain).contains("flip"), "files of old stay as they are");
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
