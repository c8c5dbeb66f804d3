//! A layer that the plan does not know: its own passes, and what they give checked and copied.

use super::{Kept, Pass, Way, view, view_mut};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::layers::Backward;
use crate::random::Key;
use ndarray::ArrayD;

impl<E: Element> Pass<'_, E> {
    pub(super) fn own(&self, x: &[E], y: &mut [E], training: Option<(&mut Kept<E>, Key)>) -> Result<()> {
        let x = view(x, self.batch, &self.node.shapes[0]);
        let found = match training {
            Some((kept, key)) => self.layer().forward_train(x, key).map(|(y, saved)| {
                kept.saved = Some(saved);
                y
            }),
            None => self.layer().forward(x),
        };
        let found = found.map_err(|error| self.named(error))?;
        self.expect("output", &found, &self.node.shapes[1])?;
        view_mut(y, self.batch, &self.node.shapes[1]).assign(&found);
        Ok(())
    }

    pub(super) fn own_backward(&self, way: Way<'_, E>) -> Result<()> {
        let saved = way.kept.saved.take().expect("the way forward kept it");
        let dy = view(way.dy, self.batch, &self.node.shapes[1]);
        let back = match way.dx.is_some() {
            true => self.layer().backward(saved, dy),
            false => self.layer().backward_first(saved, dy),
        };
        let Backward { dx: found, params, state } = back.map_err(|error| self.named(error))?;
        if let Some(dx) = way.dx {
            self.expect("gradient of the input", &found, &self.node.shapes[0])?;
            view_mut(dx, self.batch, &self.node.shapes[0]).assign(&found);
        }
        for (what, found, to) in [("gradients", params, way.parameters), ("state tensors", state, way.state)] {
            let shapes =
                |tensors: &[ArrayD<E>]| tensors.iter().map(|tensor| tensor.shape().to_vec()).collect::<Vec<_>>();
            if shapes(&found) != shapes(to) {
                let [expected, found] = [format!("{what} {:?}", shapes(to)), format!("{:?}", shapes(&found))];
                return Err(Error::argument(&self.node.name, "backward", expected, found));
            }
            to.iter_mut().zip(&found).for_each(|(to, found)| to.assign(found));
        }
        Ok(())
    }

    fn named(&self, error: Error) -> Error {
        error.of_layer(self.layer().kind(), &self.node.name)
    }

    /// A layer of a user's own may give anything.
    fn expect(&self, what: &str, found: &ArrayD<E>, sample: &[usize]) -> Result<()> {
        match found.shape().split_first() {
            Some((&batch, shape)) if batch == self.batch && shape == sample => Ok(()),
            _ => Err(Error::shape(&self.node.name, format!("{what} [{}, {sample:?}]", self.batch), found.shape())),
        }
    }
}
