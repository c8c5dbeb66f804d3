//! How each network is trained: what holds unless the command line or a file says otherwise.

use crate::args::Network;
use crate::settings::Settings;
use serde::Serialize;
use tapetum::data::FillMode;
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
        let (epochs, batch, learning_rate) = match network {
            Network::Thesis => (10, 32, 1e-3),
            Network::Tuned => (42, 64, 0.04),
        };
        Self { network, epochs, batch, size: 64, learning_rate, no_augment: false, seed: 1, keep: 3 }
    }
}

/// The loss for so many classes, and the optimizer for a training of so many steps.
pub fn trainer(settings: &Settings, model: Sequential, classes: usize, steps: u64) -> Trainer {
    let smoothing = match settings.network {
        Network::Thesis => 0.0,
        Network::Tuned => 0.1,
    };
    match classes {
        ..=2 => with_optimizer(settings, model, BinaryCrossEntropy::default().label_smoothing(smoothing), steps),
        _ => with_optimizer(settings, model, CrossEntropy::default().label_smoothing(smoothing), steps),
    }
}

fn with_optimizer(settings: &Settings, model: Sequential, loss: impl Loss<f32> + 'static, steps: u64) -> Trainer {
    let max_rate = settings.learning_rate;
    let trainer = match settings.network {
        Network::Thesis => Trainer::new(model, loss, Adam::new(Schedule::cosine(max_rate, steps))),
        Network::Tuned => {
            let (warmup_fraction, start_fraction, final_fraction) = (0.2, 0.05, 1e-3);
            let schedule = Schedule::OneCycle { max_rate, steps, warmup_fraction, start_fraction, final_fraction };
            Trainer::new(model, loss, SGD::new(schedule).momentum(0.9).nesterov(true).weight_decay(5e-4))
        }
    };
    trainer.seed(settings.seed)
}

/// What is done to each picture whenever it is learned from.
pub fn augmentation(network: Network) -> Augmentation {
    match network {
        Network::Thesis => Augmentation::thesis(),
        Network::Tuned => Augmentation::default()
            .zoom_between(0.78, 1.1)
            .rotation(10.0)
            .shear(6.0)
            .width_shift(0.08)
            .height_shift(0.08)
            .horizontal_flip(true)
            .fill_mode(FillMode::Reflect)
            .brightness(0.85, 1.15)
            .saturation(0.85, 1.15)
            .contrast(0.85, 1.15)
            .erasing(0.12),
    }
}
