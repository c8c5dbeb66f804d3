//! A wider network, to measure with, written down once.

use super::SequentialBuilder;
use crate::element::Element;
use crate::layers::{BatchNorm, Conv2D, GlobalAveragePool2D, MaxPool2D, ReLU};
use crate::shape::Padding;

/// A network for pictures [H, W, 3] with three stages of 32, 64 and 128 filters, up to its last neuron: in each, twice
/// a convolution over 3 × 3 pixels, batch normalisation and ReLU, and then max pooling.
///
/// Nearly all of its work is convolutions with many channels, as in larger networks: speed is measured with it, beside
/// [`thesis_network`](super::thesis_network).
///
/// ```
/// use tapetum::model::wide_network;
/// use tapetum::prelude::*;
/// let model: Sequential = wide_network([64, 64]).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// assert_eq!(model.count_parameters(), 288_033);
/// # Ok::<(), Error>(())
/// ```
pub fn wide_network<E: Element>([height, width]: [usize; 2]) -> SequentialBuilder<E> {
    let mut network = SequentialBuilder::new([height, width, 3]);
    for filters in [32, 64, 128] {
        for _ in 0..2 {
            network = network.add(Conv2D::new(filters, 3).padding(Padding::Same)).add(BatchNorm::new()).add(ReLU);
        }
        network = network.add(MaxPool2D::new(2));
    }
    network.add(GlobalAveragePool2D)
}
