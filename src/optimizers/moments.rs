//! The tensors that an optimizer or an average keeps for each parameter.

use crate::element::Element;
use crate::error::{Error, Result};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// What is kept for one parameter.
#[derive(Debug, Clone)]
pub(super) struct Slot<E> {
    pub name: String,
    pub shape: Vec<usize>,
    /// Of that shape, in standard layout.
    pub tensors: Vec<ArrayD<E>>,
}

/// A slot for each parameter, in the parameters' order.
#[derive(Debug, Clone)]
pub(super) struct Moments<E> {
    pub slots: Vec<Slot<E>>,
    /// The slots come from a file and are in the order of their names.
    by_name: bool,
}

impl<E> Default for Moments<E> {
    fn default() -> Self {
        Self { slots: Vec::new(), by_name: false }
    }
}

impl<E: Element> Moments<E> {
    /// Makes `count` tensors of zeros for each parameter the first time, and checks that they fit after that.
    pub fn fit(&mut self, at: &str, count: usize, wanted: &[(String, Vec<usize>)]) -> Result<()> {
        if self.slots.is_empty() {
            self.slots = wanted.iter().map(|(name, shape)| Slot::zeros(name, shape, count)).collect();
        }
        if self.by_name {
            self.slots.sort_by_key(|slot| wanted.iter().position(|(name, _)| *name == slot.name));
        }
        if self.slots.len() != wanted.len() {
            let expected = format!("the same {} as before", self.slots.len());
            return Err(Error::argument(at, "parameters", expected, wanted.len()));
        }
        match self.slots.iter().zip(wanted).find(|(slot, (name, shape))| slot.name != *name || slot.shape != *shape) {
            Some((Slot { name, shape, .. }, (found_name, found_shape))) => {
                let [expected, found] =
                    [format!("{name} {shape:?} as before"), format!("{found_name} {found_shape:?}")];
                Err(Error::argument(at, "parameter", expected, found))
            }
            None => {
                self.by_name = false;
                Ok(())
            }
        }
    }

    /// Every tensor as `parameter.moment`.
    pub fn state(&self, moments: &[&str]) -> Vec<(String, ArrayD<E>)> {
        let named = |slot: &Slot<E>| -> Vec<_> {
            let name = |moment: &&str| format!("{}.{moment}", slot.name);
            moments.iter().map(name).zip(slot.tensors.iter().cloned()).collect()
        };
        self.slots.iter().flat_map(named).collect()
    }

    /// What `state` gave, in any order. Nothing is changed where it fails.
    pub fn restore(&mut self, at: &str, moments: &[&str], steps: u64, state: Vec<(String, ArrayD<E>)>) -> Result<()> {
        if steps > 0 && state.is_empty() && !moments.is_empty() {
            return Err(Error::argument(at, "state", format!("there after {steps} steps"), "nothing"));
        }
        let mut slots = BTreeMap::<String, Vec<Option<ArrayD<E>>>>::new();
        for (name, tensor) in state {
            let place = name
                .rsplit_once('.')
                .and_then(|(parameter, moment)| Some((parameter, moments.iter().position(|&known| known == moment)?)));
            let Some((parameter, place)) = place else {
                let known = moments.iter().map(|moment| format!("(parameter).{moment}")).collect();
                return Err(Error::UnknownName { what: "moment", name, known });
            };
            let slot = slots.entry(parameter.to_string()).or_insert_with(|| vec![None; moments.len()]);
            if slot[place].replace(tensor.as_standard_layout().into_owned()).is_some() {
                return Err(Error::argument(
                    at,
                    "state",
                    "of parameters with different names",
                    format!("{name} twice"),
                ));
            }
        }
        let slots = slots.into_iter().map(|(name, tensors)| Slot::complete(at, moments, name, tensors));
        *self = Self { slots: slots.collect::<Result<_>>()?, by_name: true };
        Ok(())
    }
}

impl<E: Element> Slot<E> {
    fn zeros(name: &str, shape: &[usize], count: usize) -> Self {
        Self { name: name.to_string(), shape: shape.to_vec(), tensors: vec![ArrayD::zeros(shape); count] }
    }

    /// The entries of all its tensors, of which there are M.
    pub fn entries<const M: usize>(&mut self) -> [&mut [E]; M] {
        let mut tensors = self.tensors.iter_mut();
        std::array::from_fn(|_| {
            let tensor = tensors.next().expect("a rule has as many moments as its slots");
            tensor.as_slice_mut().expect("moments are in standard layout")
        })
    }

    /// A slot of restored tensors, of which none may be missing or differ in shape.
    fn complete(at: &str, moments: &[&str], name: String, tensors: Vec<Option<ArrayD<E>>>) -> Result<Self> {
        let missing = tensors.iter().position(Option::is_none);
        let tensors: Vec<_> = tensors.into_iter().flatten().collect();
        let shape = tensors.first().map_or(Vec::new(), |tensor| tensor.shape().to_vec());
        if let Some(missing) = missing {
            let expected = format!("complete: {name} needs {}", moments.join(" and "));
            return Err(Error::argument(at, "state", expected, format!("no {}", moments[missing])));
        }
        match tensors.iter().find(|tensor| tensor.shape() != shape) {
            Some(tensor) => Err(Error::shape(at, format!("all moments of {name} {shape:?}"), tensor.shape())),
            None => Ok(Self { name, shape, tensors }),
        }
    }
}
