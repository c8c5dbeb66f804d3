//! The network of the thesis, written down once.

use super::SequentialBuilder;
use crate::element::Element;
use crate::layers::{Conv2D, Dense, Flatten, MaxPool2D, ReLU};

/// The thesis' network (its appendix, `CNN.py`) for pictures [H, W, 3], up to its last neuron.
///
/// Section 4.8.4 of the thesis leaves out the second convolution and Flatten; the appendix has both.
///
/// ```
/// use tapetum::model::thesis_network;
/// use tapetum::prelude::*;
/// let model: Sequential = thesis_network([64, 64]).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// assert_eq!(model.count_parameters(), 813_217);
/// # Ok::<(), Error>(())
/// ```
pub fn thesis_network<E: Element>([height, width]: [usize; 2]) -> SequentialBuilder<E> {
    SequentialBuilder::new([height, width, 3])
        .add(Conv2D::new(32, 3))
        .add(ReLU)
        .add(MaxPool2D::new(2))
        .add(Conv2D::new(32, 3))
        .add(ReLU)
        .add(MaxPool2D::new(2))
        .add(Flatten)
        .add(Dense::new(128))
        .add(ReLU)
}
