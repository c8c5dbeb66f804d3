//! The networks that this program can train.

use crate::Outcome;
use crate::args::Network;
use std::path::Path;
use std::process::ExitCode;
use tapetum::model::{thesis_network, tuned_network};
use tapetum::prelude::*;

/// The network for pictures of `size` × `size` and so many classes: a single sigmoid for two, a softmax for more.
pub fn build(network: Network, size: usize, classes: usize, seed: u64) -> Result<Sequential> {
    let body = match network {
        Network::Thesis => thesis_network([size, size]),
        Network::Tuned => tuned_network([size, size]),
    };
    let model = match classes {
        ..=2 => body.add(Dense::new(1)).add(Sigmoid).build(seed),
        _ => body.add(Dense::new(classes)).add(Softmax).build(seed),
    };
    model?.test_time_flip(network == Network::Tuned)
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
