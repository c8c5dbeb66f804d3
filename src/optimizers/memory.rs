//! What optimizers carry from step to step, and the loop over all parameters.

use super::moments::Moments;
use super::schedule::{Schedule, check_numbers};
use crate::element::Element;
use crate::error::{Error, Result};
use ndarray::{ArrayD, ArrayViewMutD, CowArray, IxDyn};
use rayon::prelude::*;

/// Entries that one thread updates at a time. Every entry is updated on its own, so that cutting changes no bits.
const STRETCH: usize = 16 * 1024;

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

/// A part of one parameter θ, with its gradient g and as many moments as the optimizer has.
pub(super) struct Stretch<'a, E> {
    /// Of how many axes the whole parameter is.
    pub axes: usize,
    pub parameter: &'a mut [E],
    pub gradient: &'a [E],
    pub moments: Vec<&'a mut [E]>,
}

impl<E: Element> Memory<E> {
    /// The learning rate of the next step.
    pub fn rate(&self, schedule: &Schedule) -> f64 {
        schedule.at(self.steps) * self.factor
    }

    /// The same, or the error of a setting that would spoil the parameters.
    pub fn checked_rate(&self, at: &str, schedule: &Schedule) -> Result<f64> {
        schedule.check(at)?;
        let rate = self.rate(schedule);
        let in_type = E::of(rate).as_f64();
        check_numbers(at, &[("learning_rate_factor", self.factor), ("learning_rate", in_type)])?;
        Ok(rate)
    }

    /// One step: `update` sees every entry of every parameter once. Nothing is changed where it fails.
    pub fn step(
        &mut self,
        at: &str,
        moments: &[&str],
        mut parameters: Vec<(String, ArrayViewMutD<'_, E>)>,
        gradients: &[ArrayD<E>],
        update: impl Fn(Stretch<'_, E>) + Send + Sync,
    ) -> Result<()> {
        check_gradients(at, &parameters, gradients)?;
        let wanted: Vec<_> = parameters.iter().map(|(name, parameter)| (name.as_str(), parameter.shape())).collect();
        self.moments.fit(at, moments.len(), &wanted)?;

        // What is not in standard layout is read from, or updated in, a copy.
        let gradients: Vec<_> = gradients.iter().map(|gradient| gradient.as_standard_layout()).collect();
        let copy = |p: &ArrayViewMutD<'_, E>| (!p.is_standard_layout()).then(|| p.as_standard_layout().into_owned());
        let mut copies: Vec<_> = parameters.iter().map(|(_, parameter)| copy(parameter)).collect();
        let mut stretches = Vec::new();
        let tensors = self.moments.slots.iter_mut().map(|slot| slot.tensors.as_mut_slice());
        for ((((_, parameter), copy), gradient), tensors) in
            parameters.iter_mut().zip(&mut copies).zip(&gradients).zip(tensors)
        {
            let parameter = copy.as_mut().map_or(parameter.view_mut(), |copy| copy.view_mut());
            cut(parameter, gradient, tensors, &mut stretches);
        }
        stretches.into_par_iter().for_each(update);

        for ((_, parameter), copy) in parameters.iter_mut().zip(&copies) {
            copy.iter().for_each(|copy| parameter.assign(copy));
        }
        self.steps = self.steps.saturating_add(1);
        Ok(())
    }
}

/// Appends the stretches of one parameter; all arrays are in standard layout and of one shape.
fn cut<'a, E>(
    parameter: ArrayViewMutD<'a, E>,
    gradient: &'a CowArray<'_, E, IxDyn>,
    tensors: &'a mut [ArrayD<E>],
    stretches: &mut Vec<Stretch<'a, E>>,
) {
    let axes = parameter.ndim();
    let parameter = parameter.into_slice().expect("the parameter is in standard layout");
    let gradient = gradient.as_slice().expect("the gradient is in standard layout");
    let entries = |tensor: &'a mut ArrayD<E>| tensor.as_slice_mut().expect("moments are in standard layout");
    let mut moments: Vec<_> = tensors.iter_mut().map(|tensor| entries(tensor).chunks_mut(STRETCH)).collect();
    for (parameter, gradient) in parameter.chunks_mut(STRETCH).zip(gradient.chunks(STRETCH)) {
        let moments = moments.iter_mut().filter_map(Iterator::next).collect();
        stretches.push(Stretch { axes, parameter, gradient, moments });
    }
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
