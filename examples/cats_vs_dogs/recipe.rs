//! How each network is trained: what holds unless the command line or a file says otherwise.

use crate::args::Network;
use crate::settings::Settings;
use serde::Serialize;
use tapetum::prelude::*;

/// The settings of a network that nobody asked for, by the names of the options.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Recipe {
    network: Network,
    epochs: usize,
    batch: usize,
    size: usize,
    learning_rate: f64,
    no_augment: bool,
    seed: u64,
    keep: usize,
}

impl Recipe {
    pub fn of(network: Network) -> Self {
        let (epochs, learning_rate) = match network {
            Network::Thesis | Network::Tuned => (10, 1e-3),
        };
        Self { network, epochs, batch: 32, size: 64, learning_rate, no_augment: false, seed: 1, keep: 3 }
    }
}

/// The loss for so many classes, and the optimizer for a training of so many steps.
pub fn trainer(settings: &Settings, model: Sequential, classes: usize, steps: u64) -> Trainer {
    let optimizer = match settings.network {
        Network::Thesis | Network::Tuned => Adam::new(Schedule::cosine(settings.learning_rate, steps)),
    };
    let trainer = match classes {
        ..=2 => Trainer::new(model, BinaryCrossEntropy::default(), optimizer),
        _ => Trainer::new(model, CrossEntropy::default(), optimizer),
    };
    trainer.seed(settings.seed)
}

/// What is done to each picture whenever it is learned from.
pub fn augmentation(network: Network) -> Augmentation {
    match network {
        Network::Thesis | Network::Tuned => Augmentation::thesis(),
    }
}
