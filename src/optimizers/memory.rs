//! What optimizers carry from step to step, and what they all answer from it.

use super::Optimizer;
use super::moments::{Moments, Slot};
use super::schedule::{Schedule, check_numbers};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernels::cpu::update::Gradient;
use ndarray::{ArrayD, ArrayViewMutD};

/// Steps done, a factor on the learning rate, and the moments.
#[derive(Debug, Clone)]
pub(super) struct Memory<E> {
    pub steps: u64,
    pub factor: f64,
    pub moments: Moments<E>,
}

impl<E> Default for Memory<E> {
    fn default() -> Self {
        Self { steps: 0, factor: 1.0, moments: Moments::default() }
    }
}

impl<E: Element> Memory<E> {
    /// The learning rate of the step that is `ahead` of the next one.
    pub fn rate(&self, schedule: &Schedule, ahead: u64) -> f64 {
        schedule.at(self.steps.saturating_add(ahead)) * self.factor
    }

    /// The same, or the error of a setting that would spoil the parameters.
    pub fn checked_rate(&self, at: &str, schedule: &Schedule, ahead: u64) -> Result<f64> {
        schedule.check(at)?;
        let rate = self.rate(schedule, ahead);
        let in_type = E::of(rate).as_f64();
        check_numbers(at, &[("learning_rate_factor", self.factor), ("learning_rate", in_type)])?;
        Ok(rate)
    }

    /// Counts a step, and gives the moments for it. Nothing is changed where it fails.
    pub fn begin(&mut self, at: &str, moments: &[&str], parameters: &[(String, Vec<usize>)]) -> Result<&mut [Slot<E>]> {
        self.moments.fit(at, moments.len(), parameters)?;
        self.steps = self.steps.saturating_add(1);
        Ok(&mut self.moments.slots)
    }
}

/// A whole step by the optimizer's own `begin`.
pub(super) fn step<E: Element>(
    optimizer: &mut impl Optimizer<E>,
    parameters: Vec<(String, ArrayViewMutD<'_, E>)>,
    gradients: &[ArrayD<E>],
) -> Result<()> {
    check_gradients(&optimizer.kind().to_lowercase(), &parameters, gradients)?;
    let shapes = parameters.into_iter().map(|(name, parameter)| ((name, parameter.shape().to_vec()), parameter));
    let (shapes, parameters): (Vec<_>, Vec<_>) = shapes.unzip();
    let mut update = optimizer.begin(&shapes)?.expect("optimizers of this crate have a `begin`");
    for (index, (mut parameter, gradient)) in parameters.into_iter().zip(gradients).enumerate() {
        let gradient = gradient.as_standard_layout();
        let gradient = Gradient::Entries(gradient.as_slice().expect("made standard above"));
        match parameter.as_slice_mut() {
            Some(parameter) => update.apply(index, parameter, gradient),
            // What is not in standard layout is updated in a copy.
            None => {
                let mut copy = parameter.as_standard_layout().into_owned();
                update.apply(index, copy.as_slice_mut().expect("made standard above"), gradient);
                parameter.assign(&copy);
            }
        }
    }
    Ok(())
}

fn check_gradients<E>(at: &str, parameters: &[(String, ArrayViewMutD<'_, E>)], gradients: &[ArrayD<E>]) -> Result<()> {
    if parameters.len() != gradients.len() {
        let expected = format!("one for each of {} parameters", parameters.len());
        return Err(Error::argument(at, "gradients", expected, gradients.len()));
    }
    match parameters.iter().zip(gradients).find(|((_, parameter), gradient)| parameter.shape() != gradient.shape()) {
        Some(((name, parameter), gradient)) => {
            Err(Error::shape(at, format!("gradient of {name} {:?}", parameter.shape()), gradient.shape()))
        }
        None => Ok(()),
    }
}

/// The methods of [`Optimizer`] that follow from `begin`, a `learning_rate`, a `memory` and the names of `moments()`,
/// where `$own` has these three: the optimizer itself, or one inside it.
macro_rules! remembering {
    ($self:ident, $own:expr) => {
        fn step(&mut $self, parameters: Vec<(String, ArrayViewMutD<'_, E>)>, gradients: &[ArrayD<E>]) -> Result<()> {
            super::memory::step($self, parameters, gradients)
        }

        fn steps(&$self) -> u64 {
            $own.memory.steps
        }

        fn learning_rate(&$self) -> f64 {
            $own.memory.rate(&$own.learning_rate, 0)
        }

        fn learning_rate_factor(&$self) -> f64 {
            $own.memory.factor
        }

        fn set_learning_rate_factor(&mut $self, factor: f64) {
            $own.memory.factor = factor;
        }

        fn state(&$self) -> Vec<(String, ArrayD<E>)> {
            $own.memory.moments.state($own.moments())
        }

        fn restore(&mut $self, steps: u64, state: Vec<(String, ArrayD<E>)>) -> Result<()> {
            let (at, moments) = ($self.kind().to_lowercase(), $own.moments());
            $own.memory.moments.restore(&at, moments, steps, state)?;
            $own.memory.steps = steps;
            Ok(())
        }

        fn config(&$self) -> serde_json::Value {
            serde_json::to_value($self).expect("settings are numbers and flags")
        }
    };
}
pub(super) use remembering;
