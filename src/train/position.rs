//! How far a `fit` is, and what must be the same where it goes on.

use super::exact;
use super::history::Mean;
use crate::data::{Dataset, SampleTarget};
use crate::error::{Error, Result};
use crate::random::Key;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A moment between two steps of an epoch, or behind an epoch with its validation and its callbacks: a training is
/// stopped and goes on at no others. Batches and random numbers follow from the trainer's count of steps.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Position {
    /// Epochs of the history that belong to earlier calls of `fit`.
    pub earlier: usize,
    /// The epoch that has begun or comes next, counted from 1.
    pub epoch: usize,
    /// Steps done in it.
    pub done: usize,
    /// Over these steps.
    pub mean: Mean,
    /// Wall time of these steps.
    #[serde(with = "exact")]
    pub seconds: f64,
    /// A callback ended the training.
    pub ended: bool,
}

impl Position {
    /// Before the first epoch.
    pub fn new(earlier: usize) -> Self {
        Self { earlier, epoch: 1, done: 0, mean: Mean::default(), seconds: 0.0, ended: false }
    }

    /// Before the next epoch, if there is one.
    pub fn next_epoch(&mut self) {
        *self = Self { epoch: self.epoch + 1, ended: self.ended, ..Self::new(self.earlier) };
    }

    /// Behind the last of so many epochs.
    pub fn is_over(&self, epochs: usize) -> bool {
        self.epoch > epochs || (self.ended && self.done == 0)
    }
}

/// A `fit` before its end: what the next one with the same settings needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Unfinished {
    pub epochs: usize,
    pub settings: Settings,
    pub position: Position,
    /// The user's callbacks' states, in their order.
    pub callbacks: Vec<serde_json::Value>,
}

impl Unfinished {
    pub fn is_over(&self) -> bool {
        self.position.is_over(self.epochs)
    }
}

/// Settings in words, by name: compared, never read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    pub fn new<const N: usize>(settings: [(&'static str, String); N]) -> Self {
        Self(settings.map(|(name, value)| (name.to_string(), value)).into())
    }

    /// Names the first setting that is another `now`.
    pub fn expect<const N: usize>(&self, at: &str, now: [(&'static str, String); N]) -> Result<()> {
        for (name, found) in now {
            let before = self.0.get(name).map_or("unknown", String::as_str);
            if before != found {
                return Err(Error::argument(at, name, format!("{before}, as before the stop"), found));
            }
        }
        Ok(())
    }
}

/// Samples that are read to recognise a data set by.
const LOOKED_AT: usize = 16;

/// By what a data set is recognised: all its targets and weights, and some of its samples as the network sees them,
/// augmented.
pub(super) struct Fingerprint<'a> {
    data: &'a dyn Dataset,
    targets: Key,
    samples: Key,
}

impl<'a> Fingerprint<'a> {
    pub fn of(data: &'a dyn Dataset) -> Result<Self> {
        let key = Key::new(0).named("fingerprint");
        let targets = (0..data.len()).fold(key, |key, index| {
            let key = key.at(data.weight(index).to_bits());
            match data.target(index) {
                SampleTarget::Label(label) => key.at(label as u64),
                SampleTarget::Values(values) => of_numbers(key, values),
            }
        });
        let mut sample = vec![0.0; data.sample_shape().iter().product()];
        let mut samples = key;
        for place in 0..LOOKED_AT.min(data.len()) {
            let index = place * data.len() / LOOKED_AT.min(data.len());
            data.read(index, key.at(index as u64), &mut sample)?;
            samples = of_numbers(samples, &sample);
        }
        Ok(Self { data, targets, samples })
    }
}

fn of_numbers(key: Key, numbers: &[f32]) -> Key {
    numbers.iter().fold(key, |key, number| key.at(u64::from(number.to_bits())))
}

impl fmt::Display for Fingerprint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { data, targets, samples } = self;
        write!(f, "{} samples {:?}", data.len(), data.sample_shape())?;
        if !data.class_names().is_empty() {
            write!(f, " of {}", data.class_names().join(", "))?;
        }
        write!(f, " (targets {:016x}, samples {:016x})", targets.bits(0), samples.bits(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ArraySet;
    use ndarray::array;

    #[test]
    fn a_data_set_is_recognised() {
        let x = array![[0.0], [1.0], [2.0]].into_dyn();
        let told = |set: ArraySet| Fingerprint::of(&set).unwrap().to_string();
        let first = || ArraySet::new(x.clone(), vec![0, 1, 0]).unwrap();
        assert_eq!(told(first()), told(first()));
        let others = [
            first().weights(vec![1.0, 2.0, 1.0]).unwrap(),
            first().class_names(["a", "b"].map(String::from).to_vec()).unwrap(),
            ArraySet::new(x.clone(), vec![0, 0, 1]).unwrap(),
            ArraySet::new(x.clone(), x.clone()).unwrap(),
            ArraySet::new(&x + 1.0, vec![0, 1, 0]).unwrap(),
        ];
        assert!(others.into_iter().all(|other| told(other) != told(first())));
    }

    #[test]
    fn a_setting_that_changed_is_named() {
        let settings = Settings::new([("batch_size", "32".into()), ("shuffle", "true".into())]);
        settings.expect("fit", [("batch_size", "32".into()), ("shuffle", "true".into())]).unwrap();
        let error = settings.expect("fit", [("batch_size", "16".into())]).unwrap_err();
        assert_eq!(error.to_string(), "fit: batch_size must be 32, as before the stop, got 16");
    }

    #[test]
    fn a_position_moves_on() {
        let mut position = Position { done: 3, seconds: 2.0, ..Position::new(4) };
        position.next_epoch();
        assert_eq!((position.earlier, position.epoch, position.done, position.seconds), (4, 2, 0, 0.0));
        assert!(position.is_over(1) && !position.is_over(2));
        position.ended = true;
        assert!(position.is_over(2));
    }
}
