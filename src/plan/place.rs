//! Where a layer stands: in the chain, or inside one of its Residual blocks.

use crate::element::Element;
use crate::layers::{Chain, Layer, Residual};
use crate::random::Key;
use std::any::Any;

/// One step of the way to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hop {
    /// To the layer of this number.
    Layer(usize),
    /// To the shortcut around the layers of a Residual.
    Shortcut,
}

/// The way to a layer from the chain that it is part of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place(Vec<Hop>);

impl Place {
    /// The place of a chain's layer, or of one of a Residual's at this place.
    pub fn layer(&self, number: usize) -> Self {
        self.then(Hop::Layer(number))
    }

    /// The place of the shortcut of a Residual at this place.
    pub fn shortcut(&self) -> Self {
        self.then(Hop::Shortcut)
    }

    fn then(&self, hop: Hop) -> Self {
        Self(self.0.iter().copied().chain([hop]).collect())
    }

    /// The layer of `chain` that stands here.
    pub fn of<'a, E: Element>(&self, chain: &'a Chain<E>) -> &'a dyn Layer<E> {
        let (first, rest) = self.0.split_first().expect(NOT_EMPTY);
        let Hop::Layer(number) = first else { panic!("{NO_SHORTCUT}") };
        rest.iter().fold(chain.layer(*number), |layer, hop| {
            let any: &dyn Any = layer;
            let (layers, shortcut) = any.downcast_ref::<Residual<E>>().expect(INSIDE).paths();
            match hop {
                Hop::Layer(number) => layers.layer(*number),
                Hop::Shortcut => shortcut.expect(INSIDE),
            }
        })
    }

    /// The same, to change it.
    pub fn of_mut<'a, E: Element>(&self, chain: &'a mut Chain<E>) -> &'a mut dyn Layer<E> {
        let (first, rest) = self.0.split_first().expect(NOT_EMPTY);
        let Hop::Layer(number) = first else { panic!("{NO_SHORTCUT}") };
        rest.iter().fold(chain.layer_mut(*number), |layer, hop| {
            let any: &mut dyn Any = layer;
            let (layers, shortcut) = any.downcast_mut::<Residual<E>>().expect(INSIDE).paths_mut();
            match hop {
                Hop::Layer(number) => layers.layer_mut(*number),
                Hop::Shortcut => shortcut.expect(INSIDE),
            }
        })
    }

    /// The layer's random numbers, given the chain's: what the layers' own passes would take.
    pub fn key(&self, key: Key) -> Key {
        self.0.iter().enumerate().fold(key, |key, (depth, hop)| match hop {
            Hop::Layer(number) if depth == 0 => key.at(*number as u64),
            Hop::Layer(number) => key.named("layers").at(*number as u64),
            Hop::Shortcut => key.named("shortcut"),
        })
    }
}

const NOT_EMPTY: &str = "only the place of the chain itself is empty";
const NO_SHORTCUT: &str = "a chain has no shortcut";
const INSIDE: &str = "only a Residual has layers inside, and the plan was made for this chain";
