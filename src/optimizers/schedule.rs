//! The learning rate as a function of the step.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The learning rate as a function of the step t, counted from 0: one step is one batch.
///
/// A number is a constant schedule: `Adam::new(1e-3)` is `Adam::new(Schedule::constant(1e-3))`. Each function makes
/// the schedule with the usual settings; the variants have them all.
///
/// ```
/// use tapetum::prelude::*;
/// let schedule = Schedule::cosine(0.1, 100).warmup(10);
/// assert_eq!((schedule.at(10), schedule.at(110)), (0.1, 0.0));
/// let optimizer: Adam = Adam::new(schedule);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// rate
    Constant {
        /// The learning rate.
        rate: f64,
    },
    /// rate · factor^⌊t / every⌋
    Step {
        /// The learning rate at first.
        rate: f64,
        /// Steps from one change to the next.
        every: u64,
        /// What each change multiplies by.
        factor: f64,
    },
    /// rate · factor^(t / steps) (Keras' `ExponentialDecay`)
    Exponential {
        /// The learning rate at first.
        rate: f64,
        /// Steps after which the rate has changed by the factor.
        steps: u64,
        /// What `steps` steps multiply by.
        factor: f64,
    },
    /// rate · (f + (1 − f)·(1 + cos(π·t/steps))/2) for t ≤ steps, then rate · f
    /// (Loshchilov and Hutter, arXiv:1608.03983, without restarts)
    Cosine {
        /// The learning rate at first.
        rate: f64,
        /// Steps to the end.
        steps: u64,
        /// f, the part of the rate that is left at the end.
        final_fraction: f64,
    },
    /// By half a cosine from max_rate · start_fraction up to max_rate, and by another down to
    /// max_rate · final_fraction at the last step, where it stays (Smith and Topin, arXiv:1708.07120;
    /// PyTorch's `OneCycleLR` without its change of momentum)
    OneCycle {
        /// The largest learning rate.
        max_rate: f64,
        /// Steps of the whole cycle.
        steps: u64,
        /// The part of the steps that goes up.
        warmup_fraction: f64,
        /// The first rate over the largest.
        start_fraction: f64,
        /// The last rate over the largest.
        final_fraction: f64,
    },
    /// In equal stages up to the first rate of another schedule, which begins at t = steps:
    /// rate · (t + 1) / (steps + 1) (Goyal et al., arXiv:1706.02677)
    Warmup {
        /// Steps to rise.
        steps: u64,
        /// What comes then.
        then: Box<Schedule>,
    },
}

impl Schedule {
    /// Always `rate`.
    pub fn constant(rate: f64) -> Self {
        Self::Constant { rate }
    }

    /// `rate`, multiplied by `factor` after every `every` steps.
    pub fn step(rate: f64, every: u64, factor: f64) -> Self {
        Self::Step { rate, every, factor }
    }

    /// `rate`, multiplied by `factor` in the course of every `steps` steps.
    pub fn exponential(rate: f64, steps: u64, factor: f64) -> Self {
        Self::Exponential { rate, steps, factor }
    }

    /// From `rate` to 0 in `steps` steps.
    pub fn cosine(rate: f64, steps: u64) -> Self {
        Self::Cosine { rate, steps, final_fraction: 0.0 }
    }

    /// One cycle of `steps` steps with PyTorch's defaults: 30 % of it up from 1/25, the rest down to 1/250,000.
    pub fn one_cycle(max_rate: f64, steps: u64) -> Self {
        Self::OneCycle { max_rate, steps, warmup_fraction: 0.3, start_fraction: 0.04, final_fraction: 4e-6 }
    }

    /// This schedule after a linear rise over `steps` steps.
    pub fn warmup(self, steps: u64) -> Self {
        Self::Warmup { steps, then: Box::new(self) }
    }

    /// The learning rate of step `t`, counted from 0.
    pub fn at(&self, t: u64) -> f64 {
        match *self {
            Self::Constant { rate } => rate,
            Self::Step { rate, every, factor } => rate * factor.powf((t / every.max(1)) as f64),
            Self::Exponential { rate, steps, factor } => rate * factor.powf(t as f64 / steps as f64),
            Self::Cosine { rate, steps, final_fraction } => {
                half_cosine(rate, rate * final_fraction, t as f64 / steps as f64)
            }
            Self::OneCycle { max_rate, steps, warmup_fraction, start_fraction, final_fraction } => {
                // The top and the end are steps themselves, counted from 0: hence − 1.
                let (top, end) = ((warmup_fraction * steps as f64 - 1.0).max(0.0), steps as f64 - 1.0);
                match t as f64 {
                    t if t < top => half_cosine(max_rate * start_fraction, max_rate, t / top),
                    t if t < end => half_cosine(max_rate, max_rate * final_fraction, (t - top) / (end - top)),
                    _ => max_rate * final_fraction,
                }
            }
            Self::Warmup { steps, ref then } if t < steps => then.at(0) * (t as f64 + 1.0) / (steps as f64 + 1.0),
            Self::Warmup { steps, ref then } => then.at(t - steps),
        }
    }

    /// Names a setting that makes no sense.
    pub(super) fn check(&self, at: &str) -> Result<()> {
        match *self {
            Self::Constant { rate } => check_numbers(at, &[("learning_rate", rate)]),
            Self::Step { rate, every, factor } => {
                check_count(at, "every", every)?;
                check_numbers(at, &[("learning_rate", rate), ("factor", factor)])
            }
            Self::Exponential { rate, steps, factor } => {
                check_count(at, "steps", steps)?;
                check_numbers(at, &[("learning_rate", rate), ("factor", factor)])
            }
            Self::Cosine { rate, steps, final_fraction } => {
                check_count(at, "steps", steps)?;
                check_numbers(at, &[("learning_rate", rate), ("final_fraction", final_fraction)])
            }
            Self::OneCycle { max_rate, steps, warmup_fraction, start_fraction, final_fraction } => {
                check_count(at, "steps", steps)?;
                if !(0.0..=1.0).contains(&warmup_fraction) {
                    return Err(Error::argument(at, "warmup_fraction", "in [0, 1]", warmup_fraction));
                }
                let fractions = [("start_fraction", start_fraction), ("final_fraction", final_fraction)];
                check_numbers(at, &fractions).and(check_numbers(at, &[("learning_rate", max_rate)]))
            }
            Self::Warmup { ref then, .. } => then.check(at),
        }
    }
}

fn check_count(at: &str, argument: &'static str, count: u64) -> Result<()> {
    if count == 0 { Err(Error::argument(at, argument, "at least 1", count)) } else { Ok(()) }
}

/// Settings that are finite and not negative.
pub(super) fn check_numbers(at: &str, settings: &[(&'static str, f64)]) -> Result<()> {
    match settings.iter().find(|(_, value)| !value.is_finite() || *value < 0.0) {
        Some(&(argument, value)) => Err(Error::argument(at, argument, "finite and at least 0", value)),
        None => Ok(()),
    }
}

impl From<f64> for Schedule {
    fn from(rate: f64) -> Self {
        Self::constant(rate)
    }
}

/// From `start` to `end` while `progress` goes from 0 to 1; `end` after that.
fn half_cosine(start: f64, end: f64, progress: f64) -> f64 {
    end + (start - end) * (1.0 + (PI * progress.min(1.0)).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_rates(schedule: Schedule, expected: &[f64]) {
        for (t, expected) in expected.iter().enumerate() {
            let rate = schedule.at(t as u64);
            assert!((rate - expected).abs() <= 1e-14 * expected, "{schedule:?} at {t}: {rate} is not {expected}");
        }
    }

    // PyTorch 2.15: the learning rates of SGD with lr=0.5 under the scheduler named, one a step.
    #[test]
    fn the_rates_of_pytorch() {
        // StepLR(o, 3, 0.1)
        assert_rates(Schedule::step(0.5, 3, 0.1), &[0.5, 0.5, 0.5, 0.05, 0.05, 0.05, 0.005000000000000001]);
        // ExponentialLR(o, 0.9)
        assert_rates(Schedule::exponential(0.5, 1, 0.9), &[0.5, 0.45, 0.405, 0.36450000000000005, 0.32805000000000006]);
        // CosineAnnealingLR(o, T_max=8, eta_min=0.05)
        assert_rates(
            Schedule::Cosine { rate: 0.5, steps: 8, final_fraction: 0.1 },
            &[
                0.5,
                0.48287289481503953,
                0.4340990257669732,
                0.36110377228214524,
                0.275,
                0.18889622771785486,
                0.11590097423302685,
                0.0671271051849605,
                0.05,
            ],
        );
        // OneCycleLR(o, max_lr=0.5, total_steps=10)
        assert_rates(
            Schedule::one_cycle(0.5, 10),
            &[
                0.020000000000000018,
                0.26,
                0.5,
                0.47524231600673683,
                0.40587282697488153,
                0.30563101096814466,
                0.19437098903185537,
                0.09412917302511849,
                0.024759683993263143,
                2e-06,
            ],
        );
        // OneCycleLR(o, max_lr=0.5, total_steps=8, pct_start=0.5, div_factor=10, final_div_factor=100)
        assert_rates(
            Schedule::OneCycle {
                max_rate: 0.5,
                steps: 8,
                warmup_fraction: 0.5,
                start_fraction: 0.1,
                final_fraction: 0.001,
            },
            &[
                0.04999999999999999,
                0.16249999999999998,
                0.38749999999999996,
                0.5,
                0.42684991860134025,
                0.25025,
                0.07365008139865978,
                0.0005,
            ],
        );
    }

    #[test]
    fn corners() {
        assert_eq!(Schedule::from(0.1).at(u64::MAX), 0.1);
        assert_rates(Schedule::exponential(0.5, 2, 0.25), &[0.5, 0.25, 0.125]);
        assert_rates(Schedule::cosine(0.5, 4).warmup(4), &[0.1, 0.2, 0.3, 0.4, 0.5]);
        let last = |schedule: Schedule| [schedule.at(9), schedule.at(10), schedule.at(u64::MAX)];
        assert_eq!(last(Schedule::cosine(0.5, 10))[1..], [0.0, 0.0]);
        assert_eq!(last(Schedule::one_cycle(0.5, 10)), [2e-6; 3]);
        // A cycle too short to rise begins at its top; one of one step has only its end.
        assert_eq!([0, 1].map(|t| Schedule::one_cycle(0.5, 2).at(t)), [0.5, 2e-6]);
        assert_eq!(Schedule::one_cycle(0.5, 1).at(0), 2e-6);
        assert_eq!(Schedule::cosine(0.5, 4).warmup(0).at(0), 0.5);
    }

    #[test]
    fn settings_without_sense_are_named() {
        let message = |schedule: Schedule| schedule.check("adam").unwrap_err().to_string();
        assert_eq!(message(f64::NAN.into()), "adam: learning_rate must be finite and at least 0, got NaN");
        assert_eq!(message(Schedule::step(0.1, 0, 0.1)), "adam: every must be at least 1, got 0");
        assert!(message(Schedule::cosine(-0.1, 5).warmup(3)).contains("learning_rate"));
        assert!(message(Schedule::exponential(0.1, 1, f64::INFINITY)).contains("factor"));
        assert!(message(Schedule::one_cycle(0.1, 0)).contains("steps"));
    }

    #[test]
    fn a_schedule_survives_json() {
        let schedule = Schedule::one_cycle(0.5, 10).warmup(3);
        let text = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
        assert_eq!(
            serde_json::to_value(Schedule::from(0.5)).unwrap(),
            serde_json::json!({ "constant": { "rate": 0.5 } })
        );
    }
}
