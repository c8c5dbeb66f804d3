//! a ← a + c·(θ − a)
//! c = 1 − d                  and 1 at the first update: a starts at the first θ
//! c = (1 − d)/(1 − dᵗ)       with bias correction, t counted from 1: a = Σᵢ dᵗ⁻ⁱ·θᵢ / Σᵢ dᵗ⁻ⁱ

use super::moments::{Moments, Slot};
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernels::cpu::update;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};

const MOMENTS: [&str; 1] = ["ema"];

/// An exponential moving average of parameters, which often recognises better than the last parameters do
/// (Polyak and Juditsky, 1992).
///
/// `update` after every step; [`copy_to`](Self::copy_to) a copy of the model to validate or keep it. Anything with
/// names can be averaged, the moving statistics of a normalisation too.
///
/// ```
/// use tapetum::prelude::*;
/// let mut ema = Ema::new(0.75);
/// for weight in [1.0, 3.0] {
///     ema.update(&[("weight".into(), ndarray::array![weight].into_dyn().view())])?;
/// }
/// assert_eq!(ema.average("weight").unwrap()[[0]], 1.5);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ema<E = f32> {
    decay: f64,
    bias_correction: bool,
    updates: u64,
    averages: Moments<E>,
}

impl<E: Element> Ema<E> {
    /// An average that keeps the part `decay` in [0, 1) of itself at each update; 0.999 is usual.
    pub fn new(decay: f64) -> Self {
        Self { decay, bias_correction: false, updates: 0, averages: Moments::default() }
    }

    /// Whether early averages are the weighted mean of what was seen, as Adam's m̂ is. Without, the first parameters
    /// weigh as if they had been there for ever, as in Keras.
    pub fn bias_correction(mut self, yes: bool) -> Self {
        self.bias_correction = yes;
        self
    }

    /// Takes the parameters, as named by [`Layer::parameters`](crate::layers::Layer::parameters), into the average.
    ///
    /// # Errors
    /// Where names or shapes differ from the updates before, or `decay` is not in [0, 1); nothing is changed then.
    pub fn update(&mut self, parameters: &[(String, ArrayViewD<'_, E>)]) -> Result<()> {
        let named = |(name, theta): &(String, ArrayViewD<'_, E>)| (name.clone(), theta.shape().to_vec());
        let mut averages = self.begin(&parameters.iter().map(named).collect::<Vec<_>>())?;
        for (index, (_, theta)) in parameters.iter().enumerate() {
            averages.apply(index, theta.as_standard_layout().as_slice().expect("made standard"));
        }
        Ok(())
    }

    /// The same update in parts, without allocating: checks all that can fail, for parameters of these names and
    /// shapes, and counts the update; each parameter is then to be taken in once.
    ///
    /// # Errors
    /// As `update`; nothing is changed then.
    #[doc(hidden)]
    pub fn begin(&mut self, parameters: &[(String, Vec<usize>)]) -> Result<EmaUpdate<'_, E>> {
        self.check()?;
        self.averages.fit("ema", MOMENTS.len(), parameters)?;
        let c = E::of(self.newest(0));
        self.updates = self.updates.saturating_add(1);
        Ok(EmaUpdate { rule: update::Average { c }, slots: &mut self.averages.slots })
    }

    /// c of the update that is `ahead` of the next one.
    pub(crate) fn newest(&self, ahead: u64) -> f64 {
        match (self.updates.saturating_add(ahead).saturating_add(1), self.bias_correction) {
            (1, _) => 1.0,
            (_, false) => 1.0 - self.decay,
            (t, true) => (1.0 - self.decay) / (1.0 - self.decay.powf(t as f64)),
        }
    }

    /// The error of a decay that would spoil the averages.
    pub(crate) fn check(&self) -> Result<()> {
        if (0.0..1.0).contains(&self.decay) {
            return Ok(());
        }
        Err(Error::argument("ema", "decay", "in [0, 1)", self.decay))
    }

    /// Updates done.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The average of one parameter; none before the first update.
    pub fn average(&self, name: &str) -> Option<ArrayViewD<'_, E>> {
        self.averages().find(|(known, _)| *known == name).map(|(_, average)| average)
    }

    /// All averages by their parameters' names.
    pub fn averages(&self) -> impl ExactSizeIterator<Item = (&str, ArrayViewD<'_, E>)> {
        self.averages.slots.iter().map(|slot| (slot.name.as_str(), slot.tensors[0].view()))
    }

    /// Overwrites parameters, as named by [`Layer::parameters_mut`](crate::layers::Layer::parameters_mut), with
    /// their averages.
    ///
    /// # Errors
    /// Where a parameter has no average or another shape; nothing is changed then.
    pub fn copy_to(&self, parameters: Vec<(String, ArrayViewMutD<'_, E>)>) -> Result<()> {
        let mut pairs = Vec::with_capacity(parameters.len());
        for (name, parameter) in parameters {
            let Some(average) = self.average(&name) else {
                let known = self.averages().map(|(known, _)| known.to_string()).collect();
                return Err(Error::UnknownName { what: "average", name, known });
            };
            if average.shape() != parameter.shape() {
                let expected = format!("{name} {:?}", average.shape());
                return Err(Error::shape("ema", expected, parameter.shape()));
            }
            pairs.push((parameter, average));
        }
        pairs.into_iter().for_each(|(mut parameter, average)| parameter.assign(&average));
        Ok(())
    }

    /// The averages, as `conv2d_1.weight.ema`. With `updates` all that is needed to go on.
    pub fn state(&self) -> Vec<(String, ArrayD<E>)> {
        self.averages.state(&MOMENTS)
    }

    /// The settings, as they are written into a checkpoint.
    pub fn config(&self) -> serde_json::Value {
        serde_json::json!({ "decay": self.decay, "bias_correction": self.bias_correction })
    }

    /// Takes over what `state` and `updates` of an earlier average gave, in any order.
    ///
    /// # Errors
    /// Where a name does not end in `.ema` or comes twice.
    pub fn restore(&mut self, updates: u64, state: Vec<(String, ArrayD<E>)>) -> Result<()> {
        self.averages.restore("ema", &MOMENTS, updates, state)?;
        self.updates = updates;
        Ok(())
    }
}

/// What [`Ema::begin`] gives.
#[derive(Debug)]
pub struct EmaUpdate<'a, E> {
    rule: update::Average<E>,
    slots: &'a mut [Slot<E>],
}

impl<E: Element> EmaUpdate<'_, E> {
    /// Takes parameter number `index`, in standard layout, into its average; to be called once for each.
    ///
    /// # Panics
    /// Where `begin` was told of no such parameter, or of one of another size.
    pub fn apply(&mut self, index: usize, parameter: &[E]) {
        let [average] = self.slots[index].entries();
        update::apply(self.rule, E::one(), average, parameter, []);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn update(ema: &mut Ema<f64>, thetas: &[f64]) {
        for &theta in thetas {
            ema.update(&[("w".into(), array![theta].into_dyn().view())]).unwrap();
        }
    }

    #[test]
    fn the_first_parameters_weigh_as_if_they_had_always_been_there() {
        let mut ema = Ema::new(0.9);
        update(&mut ema, &[4.0, 3.0, 2.0]);
        let expected = 0.9 * (0.9 * 4.0 + 0.1 * 3.0) + 0.1 * 2.0;
        assert!((ema.average("w").unwrap()[[0]] - expected).abs() < 1e-15);
    }

    #[test]
    fn with_bias_correction_it_is_the_weighted_mean_of_what_was_seen() {
        let (thetas, d) = ([4.0, -1.0, 2.0, 7.0], 0.9_f64);
        let mut ema = Ema::new(d).bias_correction(true);
        update(&mut ema, &thetas);
        let weights = [d.powi(3), d.powi(2), d, 1.0];
        let sum: f64 = weights.iter().zip(thetas).map(|(weight, theta)| weight * theta).sum();
        assert!((ema.average("w").unwrap()[[0]] - sum / weights.iter().sum::<f64>()).abs() < 1e-14);
    }

    #[test]
    fn an_update_in_parts_gives_the_same_bits() {
        let (mut whole, mut parts) = (Ema::new(0.9), Ema::new(0.9));
        let shapes = [("w".to_string(), vec![3]), ("b".to_string(), vec![1])];
        for t in 0..5 {
            let (w, b) = (ArrayD::from_shape_fn(vec![3], |i| (i[0] * t) as f32), array![t as f32 / 3.0].into_dyn());
            whole.update(&[("w".into(), w.view()), ("b".into(), b.view())]).unwrap();
            let mut update = parts.begin(&shapes).unwrap();
            update.apply(1, b.as_slice().unwrap());
            update.apply(0, w.as_slice().unwrap());
            assert_eq!((whole.state(), whole.updates()), (parts.state(), parts.updates()));
        }
        assert!(parts.begin(&shapes[..1]).is_err());
        assert_eq!(parts.updates(), 5);
    }

    #[test]
    fn a_restored_average_goes_on() {
        let (mut whole, mut first) = (Ema::new(0.7).bias_correction(true), Ema::new(0.7).bias_correction(true));
        update(&mut whole, &[4.0, -1.0, 2.0]);
        update(&mut first, &[4.0, -1.0]);
        let mut second = Ema::new(0.7).bias_correction(true);
        second.restore(first.updates(), first.state()).unwrap();
        update(&mut second, &[2.0]);
        assert_eq!(whole.state(), second.state());
        assert_eq!(whole.state()[0].0, "w.ema");
    }

    #[test]
    fn copying_changes_all_parameters_or_none() {
        let mut ema = Ema::new(0.5);
        let [mut w, mut other] = [array![0.0].into_dyn(), array![0.0].into_dyn()];
        assert!(ema.copy_to(vec![("w".into(), w.view_mut())]).is_err());
        update(&mut ema, &[1.0, 2.0]);
        let error = ema.copy_to(vec![("w".into(), w.view_mut()), ("b".into(), other.view_mut())]).unwrap_err();
        assert_eq!((error.to_string(), w[[0]]), ("no average named \"b\"; there is w".to_string(), 0.0));
        assert!(ema.copy_to(vec![("w".into(), ArrayD::zeros(vec![2]).view_mut())]).is_err());
        ema.copy_to(vec![("w".into(), w.view_mut())]).unwrap();
        assert_eq!(w[[0]], 1.5);
        assert!(ema.update(&[("w".into(), ArrayD::zeros(vec![2]).view())]).is_err());
        assert!(Ema::<f64>::new(f64::NAN).update(&[]).is_err());
        assert_eq!(ema.updates(), 2);
    }
}
