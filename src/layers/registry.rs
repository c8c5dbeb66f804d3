//! From a layer's kind and settings, as they stand in a model file, to the layer.

use super::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

type Reader<E> = fn(&Value) -> Result<Box<dyn Layer<E>>>;

/// All built-in kinds.
fn readers<E: Element>() -> [(&'static str, Reader<E>); 17] {
    [
        ("AveragePool2D", read::<E, AveragePool2D>),
        ("BatchNorm", read::<E, BatchNorm<E>>),
        ("Chain", |config| Ok(Box::new(Chain::from_config(config)?))),
        ("Conv2D", read::<E, Conv2D<E>>),
        ("Dense", read::<E, Dense<E>>),
        ("Dropout", read::<E, Dropout>),
        ("Flatten", read::<E, Flatten>),
        ("GlobalAveragePool2D", read::<E, GlobalAveragePool2D>),
        ("GlobalMaxPool2D", read::<E, GlobalMaxPool2D>),
        ("LeakyReLU", read::<E, LeakyReLU>),
        ("MaxPool2D", read::<E, MaxPool2D>),
        ("Maxout", read::<E, Maxout<E>>),
        ("ReLU", read::<E, ReLU>),
        ("Residual", |config| Ok(Box::new(Residual::from_config(config)?))),
        ("Sigmoid", read::<E, Sigmoid>),
        ("Softmax", read::<E, Softmax>),
        ("Tanh", read::<E, Tanh>),
    ]
}

fn read<E: Element, L: Layer<E> + DeserializeOwned>(config: &Value) -> Result<Box<dyn Layer<E>>> {
    L::deserialize(config).map(|layer| Box::new(layer) as _).map_err(|error| bad_config(error, config))
}

fn bad_config(why: impl std::fmt::Display, config: &Value) -> Error {
    Error::argument("layer", "config", format!("the settings of this kind ({why})"), config)
}

/// A layer of a built-in kind with the settings that [`Layer::config`] gave; not built yet.
///
/// ```
/// use tapetum::prelude::*;
/// let layer = Conv2D::<f32>::new(32, 3);
/// let again = from_config::<f32>(layer.kind(), &layer.config())?;
/// assert_eq!(again.output_shape(&[64, 64, 3])?, [62, 62, 32]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// Where there is no such kind, or these are not its settings. Numbers are taken as they are: `build` and
/// `output_shape` check them.
pub fn from_config<E: Element>(kind: &str, config: &Value) -> Result<Box<dyn Layer<E>>> {
    let readers = readers();
    let Some((name, read)) = readers.iter().find(|(name, _)| *name == kind) else {
        let known = readers.iter().map(|(name, _)| name.to_string()).collect();
        return Err(Error::UnknownName { what: "kind of layer", name: kind.to_string(), known });
    };
    read(config).map_err(|error| error.renamed(&name.to_lowercase()))
}

/// Checks that a layer and all inside it are what [`from_config`] makes of their settings: a user's own layer may
/// bear the name of a built-in one.
#[cfg(feature = "bundle")]
pub(crate) fn expect_built_in<E: Element>(layer: &dyn Layer<E>) -> Result<()> {
    let read = from_config::<E>(layer.kind(), &layer.config())?;
    use std::any::Any;
    let layer_any: &dyn Any = layer;
    if (read.as_ref() as &dyn Any).type_id() != layer_any.type_id() {
        let found = format!("{:?} of another type", layer.kind());
        return Err(Error::argument("layer", "kind", "a built-in one's own", found));
    }
    if let Some(chain) = layer_any.downcast_ref::<Chain<E>>() {
        return chain.layers().try_for_each(|(_, layer)| expect_built_in(layer));
    }
    match layer_any.downcast_ref::<Residual<E>>() {
        Some(residual) => residual.inside().try_for_each(expect_built_in),
        None => Ok(()),
    }
}

/// A layer inside another's settings: its kind and its own settings.
pub(super) fn description<E: Element>(layer: &dyn Layer<E>) -> Value {
    json!({ "kind": layer.kind(), "config": layer.config() })
}

/// The layer so described.
pub(super) fn described<E: Element>(description: &Value) -> Result<Box<dyn Layer<E>>> {
    let kind = description["kind"].as_str().ok_or_else(|| bad_config("a layer's kind is missing", description))?;
    from_config(kind, &description["config"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Padding;

    fn every_kind() -> Vec<Box<dyn Layer<f64>>> {
        let mut chain = Chain::default();
        chain.push(Box::new(Dense::new(3).use_bias(false)));
        chain.push(Box::new(ReLU));
        let sides = Padding::Explicit { top: 0, bottom: 1, left: 2, right: 3 };
        vec![
            Box::new(AveragePool2D::new((2, 3)).count_include_pad(true).padding(Padding::Same)),
            Box::new(BatchNorm::new().momentum(0.5).epsilon(1e-5)),
            Box::new(chain.clone()),
            Box::new(
                Conv2D::new(8, (3, 5))
                    .stride(2)
                    .padding(sides)
                    .dilation((1, 2))
                    .groups(4)
                    .use_bias(false)
                    .winograd(false),
            ),
            Box::new(Dense::new(7)),
            Box::new(Dropout::new(0.1)),
            Box::new(Flatten),
            Box::new(GlobalAveragePool2D),
            Box::new(GlobalMaxPool2D),
            Box::new(LeakyReLU::new(0.1)),
            Box::new(MaxPool2D::new(3).stride((2, 1)).ceil_mode(true)),
            Box::new(Maxout::new(4, 3)),
            Box::new(ReLU),
            Box::new(Residual::new().add(Residual::new().add(Tanh)).shortcut(chain)),
            Box::new(Sigmoid),
            Box::new(Softmax),
            Box::new(Tanh),
        ]
    }

    #[test]
    fn every_kind_comes_back_as_it_was() {
        let layers = every_kind();
        assert!(layers.iter().map(|layer| layer.kind()).eq(readers::<f64>().map(|(kind, _)| kind)));
        for layer in layers {
            let text = layer.config().to_string();
            let read = from_config::<f64>(layer.kind(), &serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{layer:?}"));
        }
    }

    // Pictures, rows and single numbers, empty along any axis; and what another layer has kept: never a panic.
    #[test]
    fn every_kind_survives_every_shape() {
        let shapes: [&[usize]; 12] = [
            &[],
            &[0],
            &[3],
            &[0, 4],
            &[2, 0],
            &[2, 4],
            &[2, 4, 4],
            &[0, 6, 6, 4],
            &[2, 0, 6, 4],
            &[2, 6, 6, 0],
            &[1, 1, 1, 1],
            &[2, 6, 6, 4],
        ];
        let mut built: Vec<Box<dyn Layer<f64>>> = Vec::new();
        for (shape, mut layer) in shapes.iter().flat_map(|shape| every_kind().into_iter().map(move |l| (shape, l))) {
            if layer.build(shape.get(1..).unwrap_or(&[]), Key::new(1)).is_ok() {
                built.push(layer);
            }
        }
        let mut passed = 0;
        for (layer, shape) in built.iter().flat_map(|layer| shapes.map(|shape| (layer, shape))) {
            let x = ArrayD::from_elem(shape, 0.5);
            let trained = layer.forward_train(x.view(), Key::new(2));
            assert_eq!(trained.is_ok(), layer.forward(x.view()).is_ok(), "{layer:?} {shape:?}");
            let Ok((y, saved)) = trained else { continue };
            let back = layer.backward(saved, y.view()).unwrap();
            assert_eq!((back.dx.shape(), back.params.len()), (x.shape(), layer.parameters().len()));
            for other in built.iter().filter(|other| other.kind() == layer.kind()) {
                let (y, saved) = layer.forward_train(x.view(), Key::new(2)).unwrap();
                let _ = other.backward(saved, y.view());
            }
            passed += 1;
        }
        assert!(passed > 500, "{passed}");
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let error = from_config::<f32>("Conv3D", &Value::Null).unwrap_err().to_string();
        assert!(error.starts_with("no kind of layer named \"Conv3D\"; there is AveragePool2D, BatchNorm"), "{error}");
        let error = from_config::<f32>("Dense", &json!({ "units": -1, "use_bias": true })).unwrap_err().to_string();
        assert!(error.starts_with("dense: config must be the settings of this kind (invalid value"), "{error}");
        for (kind, config) in [
            ("Dropout", json!({ "rate": null })),
            ("Residual", json!({ "layers": [{ "config": {} }] })),
            ("Residual", json!({ "layers": [], "shortcut": { "kind": "Nothing" } })),
            ("Residual", json!([])),
            ("Chain", json!({})),
            ("ReLU", json!(3)),
        ] {
            assert!(from_config::<f32>(kind, &config).is_err(), "{kind} {config}");
        }
    }
}
