//! The networks that this program can train.

use crate::Outcome;
use crate::args::Network;
use std::path::Path;
use std::process::ExitCode;
use tapetum::model::thesis_network;
use tapetum::prelude::*;

/// The network for pictures of `size` × `size` and so many classes: a single sigmoid for two, a softmax for more.
pub fn build(network: Network, size: usize, classes: usize, seed: u64) -> Result<Sequential> {
    let body = match network {
        Network::Thesis => thesis_network([size, size]),
        Network::Tuned => tuned(size),
    };
    match classes {
        ..=2 => body.add(Dense::new(1)).add(Sigmoid).build(seed),
        _ => body.add(Dense::new(classes)).add(Softmax).build(seed),
    }
}

/// More convolutions and another fully connected layer (thesis, 4.9), with what has been learned since.
fn tuned(size: usize) -> SequentialBuilder<f32> {
    let mut network = Sequential::builder([size, size, 3]);
    for filters in [32, 64, 128] {
        network = network
            .add(Conv2D::new(filters, 3).padding(Padding::Same).use_bias(false))
            .add(BatchNorm::new())
            .add(ReLU)
            .add(MaxPool2D::new(2));
    }
    network.add(GlobalAveragePool2D).add(Dropout::new(0.3)).add(Dense::new(128)).add(ReLU)
}

/// The command `summary`.
pub fn summary(model: Option<&Path>) -> Outcome {
    let model = match model {
        Some(path) => Bundle::load(path)?.model,
        None => build(Network::Thesis, 64, 2, 1)?,
    };
    println!("{}", model.summary());
    Ok(ExitCode::SUCCESS)
}
