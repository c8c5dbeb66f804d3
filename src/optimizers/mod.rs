//! Optimizers: one file each, the update rule above its code.

mod adam;
mod adamw;
mod clip;
mod decay;
mod ema;
mod memory;
mod moments;
mod schedule;
mod sgd;
mod update;

pub use adam::Adam;
pub use adamw::AdamW;
pub use clip::clip_global_norm;
pub use ema::Ema;
pub use schedule::Schedule;
pub use sgd::SGD;

use crate::element::Element;
use crate::error::Result;
use ndarray::{ArrayD, ArrayViewMutD};
use std::any::Any;
use std::fmt::Debug;
use update::{Recipe, Update};

/// A rule that moves parameters against their gradients.
///
/// An optimizer keeps its moments from step to step, one tensor for each parameter, in the order in which
/// the parameters are given; the order must stay the same.
///
/// ```
/// use ndarray::array;
/// use tapetum::prelude::*;
/// let mut weight = array![1.0, -1.0].into_dyn();
/// let mut sgd = SGD::new(0.5);
/// sgd.step(vec![("weight".into(), weight.view_mut())], &[array![1.0, 2.0].into_dyn()])?;
/// assert_eq!(weight, array![0.5, -2.0].into_dyn());
/// assert_eq!((sgd.steps(), sgd.learning_rate()), (1, 0.5));
/// # Ok::<(), Error>(())
/// ```
pub trait Optimizer<E: Element>: Any + Debug + Send + Sync {
    /// The rule's name, as in `Adam`.
    fn kind(&self) -> &'static str;

    /// One update of `parameters`, as named by [`Layer::parameters_mut`](crate::layers::Layer::parameters_mut), by
    /// `gradients` in the same order.
    ///
    /// # Errors
    /// Where number or shapes do not fit each other or the steps before, or a setting makes no sense; nothing is
    /// changed then.
    fn step(&mut self, parameters: Vec<(String, ArrayViewMutD<'_, E>)>, gradients: &[ArrayD<E>]) -> Result<()>;

    /// The same step in parts, without allocating: checks all that can fail, for parameters of these names and shapes,
    /// and counts the step; each parameter is then to be moved once. None from an optimizer that has `step` only.
    ///
    /// # Errors
    /// As `step`; nothing is changed then.
    #[doc(hidden)]
    fn begin(&mut self, parameters: &[(String, Vec<usize>)]) -> Result<Option<Update<'_, E>>> {
        let _ = parameters;
        Ok(None)
    }

    /// What the step does that is `ahead` of the next one, if nothing is changed until then. None from an optimizer that
    /// has `step` only.
    ///
    /// # Errors
    /// Where a setting makes no sense.
    #[doc(hidden)]
    fn recipe(&self, ahead: u64) -> Result<Option<Recipe<E>>> {
        let _ = ahead;
        Ok(None)
    }

    /// Steps done.
    fn steps(&self) -> u64;

    /// The learning rate of the next step.
    fn learning_rate(&self) -> f64;

    /// What the schedule's learning rate is multiplied by; 1 at first.
    fn learning_rate_factor(&self) -> f64;

    /// Multiplies the schedule's learning rate by `factor` from the next step on. The factor is neither part of
    /// `state` nor of `config`: whoever sets it keeps it.
    fn set_learning_rate_factor(&mut self, factor: f64);

    /// The moments, by name, as in `conv2d_1.weight.m`. With `steps` all that is needed to go on.
    fn state(&self) -> Vec<(String, ArrayD<E>)>;

    /// Takes over what [`state`](Self::state) and [`steps`](Self::steps) of an earlier optimizer gave, in any order.
    ///
    /// # Errors
    /// Where a moment is missing, unknown or of another shape than its fellow; nothing is changed then.
    fn restore(&mut self, steps: u64, state: Vec<(String, ArrayD<E>)>) -> Result<()>;

    /// The settings, as they are written into a checkpoint.
    fn config(&self) -> serde_json::Value;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cpu::update::Gradient;
    use crate::random::Key;
    use ndarray::array;

    /// θ after `steps` steps from w = [[−1, −½], [0, ½]], b = [1, 1½] by the gradients
    /// g[k] = ((7k + 3t) mod 11 − 5)/4, entries k counted over w and b.
    pub fn six<E: Element>(optimizer: &mut dyn Optimizer<E>, steps: u64) -> Vec<f64> {
        let mut w = array![[-1.0, -0.5], [0.0, 0.5]].mapv(E::of).into_dyn();
        let mut b = array![1.0, 1.5].mapv(E::of).into_dyn();
        walk(optimizer, &mut w, &mut b, 0..steps);
        w.iter().chain(&b).map(|theta| theta.as_f64()).collect()
    }

    /// The gradient of step t.
    pub fn gradient(t: u64) -> [f64; 6] {
        std::array::from_fn(|k| ((7 * k as u64 + 3 * t) % 11) as f64 / 4.0 - 1.25)
    }

    fn walk<E: Element>(
        optimizer: &mut dyn Optimizer<E>,
        w: &mut ArrayD<E>,
        b: &mut ArrayD<E>,
        steps: std::ops::Range<u64>,
    ) {
        for t in steps {
            let g = gradient(t).map(E::of);
            let gradients = [
                array![[g[0], g[1]], [g[2], g[3]]].into_dyn(),
                ArrayD::from_shape_vec(vec![2], g[4..].to_vec()).unwrap(),
            ];
            let parameters = vec![("dense_1.weight".into(), w.view_mut()), ("dense_1.bias".into(), b.view_mut())];
            optimizer.step(parameters, &gradients).unwrap();
        }
    }

    pub fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-14, "{found} is not {expected}");
        }
    }

    /// Keras' rule for one entry, word for word: what Adam must do without any option.
    pub fn keras_adam(mut theta: f64, k: usize, decay: f64) -> f64 {
        let (lr, beta1, beta2, epsilon) = (0.05, 0.9_f64, 0.999_f64, 1e-7);
        let (mut m, mut v) = (0.0, 0.0);
        for t in 0..6 {
            let g = gradient(t)[k];
            let local_step = (t + 1) as i32;
            theta -= theta * decay * lr;
            let alpha = lr * (1.0 - beta2.powi(local_step)).sqrt() / (1.0 - beta1.powi(local_step));
            m += (g - m) * (1.0 - beta1);
            v += (g * g - v) * (1.0 - beta2);
            theta -= alpha * m / (v.sqrt() + epsilon);
        }
        theta
    }

    type Make = fn() -> Box<dyn Optimizer<f32>>;

    const ALL: [Make; 5] = [
        || Box::new(Adam::new(Schedule::cosine(0.1, 8).warmup(2))),
        || Box::new(AdamW::new(0.1)),
        || Box::new(SGD::new(Schedule::step(0.1, 2, 0.5))),
        || Box::new(SGD::new(0.1).momentum(0.9).nesterov(true)),
        || Box::new(SGD::new(0.1).momentum(0.9).weight_decay(0.1)),
    ];

    #[test]
    fn going_on_from_a_restored_state_gives_the_same_bits() {
        for make in ALL {
            let (mut w, mut b) = (array![[-1.0, -0.5], [0.0, 0.5]].into_dyn(), array![1.0, 1.5].into_dyn());
            let mut first = make();
            walk(first.as_mut(), &mut w, &mut b, 0..3);
            let mut state = first.state();
            state.reverse();
            let mut second = make();
            second.restore(first.steps(), state).unwrap();
            walk(second.as_mut(), &mut w, &mut b, 3..7);
            let resumed: Vec<_> = w.iter().chain(&b).map(|&theta| f64::from(theta)).collect();
            assert_eq!(resumed, six(make().as_mut(), 7), "{second:?}");
            assert_eq!(second.steps(), 7);
        }
    }

    fn shapes(parameters: &[(&str, &ArrayD<f32>)]) -> Vec<(String, Vec<usize>)> {
        parameters.iter().map(|(name, parameter)| (name.to_string(), parameter.shape().to_vec())).collect()
    }

    #[test]
    fn a_step_in_parts_gives_the_same_bits() {
        for make in ALL {
            let mut random = Key::new(1).named("optimizers").stream();
            let mut draw = |shape: &[usize]| ArrayD::from_shape_simple_fn(shape, || random.normal() as f32);
            let (mut whole, mut parts) = (make(), make());
            let (mut w, mut b) = (draw(&[150, 200]), draw(&[33]));
            let (mut v, mut c) = (w.clone(), b.clone());
            for _ in 0..5 {
                let gradients = [draw(&[150, 200]), draw(&[33])];
                whole.step(vec![("w".into(), w.view_mut()), ("b".into(), b.view_mut())], &gradients).unwrap();
                let mut update = parts.begin(&shapes(&[("w", &v), ("b", &c)])).unwrap().unwrap();
                // In any order.
                let gradient = |index: usize| Gradient::Entries(gradients[index].as_slice().unwrap());
                update.apply(1, c.as_slice_mut().unwrap(), gradient(1));
                update.apply(0, v.as_slice_mut().unwrap(), gradient(0));
                assert_eq!((&w, &b), (&v, &c));
            }
            assert_eq!((whole.state(), whole.steps()), (parts.state(), parts.steps()));
        }
    }

    #[test]
    fn a_step_that_does_not_begin_changes_nothing() {
        for make in ALL {
            let (w, b) = (ArrayD::zeros(vec![2, 3]), ArrayD::zeros(vec![3]));
            let mut first = make();
            first.begin(&shapes(&[("w", &w), ("b", &b)])).unwrap();
            let mut optimizer = make();
            optimizer.restore(1, first.state()).unwrap();
            // What a file gave has an order only once it was seen to fit.
            let restored = !first.state().is_empty();
            assert_eq!(optimizer.begin(&shapes(&[("b", &b)])).is_err(), restored);
            optimizer.begin(&shapes(&[("w", &w), ("b", &b)])).map(drop).unwrap_or_else(|error| {
                assert!(!restored, "{error}");
            });
            let before = (optimizer.state(), optimizer.steps());
            optimizer.set_learning_rate_factor(-1.0);
            assert!(optimizer.begin(&shapes(&[("w", &w), ("b", &b)])).is_err());
            assert!(optimizer.begin(&shapes(&[("w", &b), ("b", &w)])).is_err());
            assert_eq!((optimizer.state(), optimizer.steps()), before);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bits() {
        let run = |make: Make, threads| {
            let mut optimizer = make();
            let mut w = ArrayD::from_shape_fn(vec![50_001], |i| (i[0] % 97) as f32 / 97.0 - 0.5);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                for t in 1..4 {
                    let g = ArrayD::from_shape_fn(vec![50_001], |i| (i[0] * t % 89) as f32 / 89.0 - 0.5);
                    optimizer.step(vec![("w".into(), w.view_mut())], &[g]).unwrap();
                }
            });
            w
        };
        ALL.iter().for_each(|&make| assert_eq!(run(make, 1), run(make, 3)));
    }

    #[test]
    fn any_memory_layout_will_do() {
        for make in ALL {
            let (mut rows, g) = (array![[1.0, 2.0], [3.0, 4.0]].into_dyn(), array![[0.5, -1.0], [2.0, 0.0]].into_dyn());
            let mut columns = rows.clone().reversed_axes();
            let turned = [g.clone().reversed_axes()];
            make().step(vec![("w".into(), rows.view_mut())], &[g]).unwrap();
            make().step(vec![("w".into(), columns.view_mut())], &turned).unwrap();
            assert_eq!(columns.reversed_axes(), rows);
        }
    }

    #[test]
    fn what_does_not_fit_is_named_and_changes_nothing() {
        for make in ALL {
            let mut optimizer = make();
            let step = |optimizer: &mut dyn Optimizer<f32>, name: &str, shape: [usize; 2], gradient: [usize; 2]| {
                let mut w = ArrayD::ones(shape.to_vec());
                let result = optimizer.step(vec![(name.into(), w.view_mut())], &[ArrayD::ones(gradient.to_vec())]);
                assert_eq!(result.is_err(), w == ArrayD::<f32>::ones(shape.to_vec()));
                result.map_err(|error| error.to_string())
            };
            let at = optimizer.kind().to_lowercase();
            let error = step(optimizer.as_mut(), "w", [2, 3], [3, 2]).unwrap_err();
            assert_eq!(error, format!("{at}: expected gradient of w [2, 3], got [3, 2]"));
            step(optimizer.as_mut(), "w", [2, 3], [2, 3]).unwrap();
            let before = optimizer.state();
            let error = step(optimizer.as_mut(), "v", [2, 3], [2, 3]).unwrap_err();
            assert_eq!(error, format!("{at}: parameter must be w [2, 3] as before, got v [2, 3]"));
            assert!(step(optimizer.as_mut(), "w", [3, 2], [3, 2]).is_err());
            assert!(optimizer.step(vec![], &[]).is_err());
            assert!(optimizer.step(vec![], &[ArrayD::ones(vec![1])]).is_err());
            optimizer.set_learning_rate_factor(f64::NAN);
            assert!(step(optimizer.as_mut(), "w", [2, 3], [2, 3]).unwrap_err().contains("learning_rate_factor"));
            assert_eq!((optimizer.state(), optimizer.steps()), (before, 1));
        }
    }

    #[test]
    fn a_broken_state_is_refused() {
        let tensor = |shape: &[usize]| ArrayD::<f32>::zeros(shape.to_vec());
        let refuse = |state: Vec<(&str, ArrayD<f32>)>| {
            let state = state.into_iter().map(|(name, tensor)| (name.to_string(), tensor)).collect();
            Adam::new(0.1).restore(1, state).unwrap_err().to_string()
        };
        assert_eq!(refuse(vec![]), "adam: state must be there after 1 steps, got nothing");
        assert_eq!(refuse(vec![("w.m", tensor(&[2]))]), "adam: state must be complete: w needs m and v, got no v");
        assert!(refuse(vec![("w.m", tensor(&[2])), ("w.v", tensor(&[3]))]).contains("all moments of w [2], got [3]"));
        assert!(refuse(vec![("w.m", tensor(&[2])), ("w.m", tensor(&[2]))]).contains("w.m twice"));
        assert!(refuse(vec![("w.velocity", tensor(&[2]))]).contains("no moment named"));
    }

    #[test]
    fn nan_stays_nan_and_the_factor_counts() {
        for make in ALL {
            let mut w = array![1.0_f32, 1.0].into_dyn();
            let mut optimizer = make();
            let rate = optimizer.learning_rate();
            optimizer.set_learning_rate_factor(0.5);
            assert_eq!((optimizer.learning_rate(), optimizer.learning_rate_factor()), (0.5 * rate, 0.5));
            optimizer.step(vec![("w".into(), w.view_mut())], &[array![f32::NAN, 1.0].into_dyn()]).unwrap();
            assert!(w[[0]].is_nan() && w[[1]] < 1.0);
        }
    }

    #[test]
    fn settings_survive_json() {
        let adamw = AdamW::<f32>::new(Schedule::one_cycle(0.1, 5)).beta1(0.5).weight_decay(0.25).decay_all(true);
        let config = adamw.config();
        assert_eq!(config["weight_decay"], 0.25);
        assert_eq!(serde_json::from_value::<AdamW<f32>>(config.clone()).unwrap().config(), config);
        let config = SGD::<f32>::new(0.1).momentum(0.5).nesterov(true).config();
        assert_eq!(serde_json::from_value::<SGD<f32>>(config.clone()).unwrap().config(), config);
    }

    #[test]
    fn settings_without_sense_are_named() {
        let refuse = |mut optimizer: Box<dyn Optimizer<f32>>, argument: &str| {
            let mut w = array![1.0].into_dyn();
            let error = optimizer.step(vec![("w".into(), w.view_mut())], &[array![1.0].into_dyn()]).unwrap_err();
            assert!(error.to_string().contains(argument), "{error}");
            assert_eq!(w[[0]], 1.0);
        };
        refuse(Box::new(Adam::new(f64::NAN)), "learning_rate");
        refuse(Box::new(SGD::new(1e300)), "learning_rate"); // infinite as f32
        refuse(Box::new(Adam::new(1e-3).beta1(1.0)), "beta1");
        refuse(Box::new(Adam::new(1e-3).beta2(f64::NAN)), "beta2");
        refuse(Box::new(Adam::new(1e-3).epsilon(1e-60)), "epsilon");
        refuse(Box::new(AdamW::new(1e-3).weight_decay(-1.0)), "weight_decay");
        refuse(Box::new(SGD::new(1e-3).momentum(-0.1)), "momentum");
    }
}
