//! A network that is right far more often than the thesis' (its section 4.9, taken further), written down once.

use super::SequentialBuilder;
use crate::element::Element;
use crate::layers::{BatchNorm, Conv2D, Dropout, GlobalAveragePool2D, MaxPool2D, ReLU, Residual};
use crate::shape::Padding;

/// A residual network for pictures [H, W, 3] (He et al., arXiv:1512.03385), up to its last neuron: five stages of 32, 64,
/// 128, 256 and 256 filters, each half as high and wide as the one before; the last three with a residual block.
///
/// ```
/// use tapetum::model::tuned_network;
/// use tapetum::prelude::*;
/// let model: Sequential = tuned_network([64, 64]).add(Dense::new(1)).add(Sigmoid).build(1)?;
/// assert_eq!(model.count_parameters(), 3_636_257);
/// # Ok::<(), Error>(())
/// ```
pub fn tuned_network<E: Element>([height, width]: [usize; 2]) -> SequentialBuilder<E> {
    let mut network = SequentialBuilder::new([height, width, 3]);
    for (stage, filters) in [32, 64, 128, 256, 256].into_iter().enumerate() {
        if stage > 0 {
            network = network.add(MaxPool2D::new(2));
        }
        network = network.add(convolution(filters)).add(normalisation()).add(ReLU);
        if stage > 1 {
            network = network.add(block(filters));
        }
    }
    network.add(GlobalAveragePool2D).add(Dropout::new(0.2))
}

/// Twice a convolution, its normalisation and ReLU, with a path around them.
fn block<E: Element>(filters: usize) -> Residual<E> {
    let block = Residual::new().add(convolution(filters)).add(normalisation()).add(ReLU);
    block.add(convolution(filters)).add(normalisation()).add(ReLU)
}

/// Over 3 × 3 pixels, tap by tap, as in the training whose figures the README shows; the normalisation behind it has the
/// bias.
fn convolution<E: Element>(filters: usize) -> Conv2D<E> {
    Conv2D::new(filters, 3).padding(Padding::Same).use_bias(false).winograd(false)
}

/// Its averages follow some ten steps, not a hundred as Keras' do: a pass over a small data set has no more.
fn normalisation<E: Element>() -> BatchNorm<E> {
    BatchNorm::new().momentum(0.9)
}
