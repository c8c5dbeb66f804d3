//! A number, and how sure one can be of it.
//!
//! Wilson's score interval of a share p = h / n, z = 1.96 standard deviations:
//!
//! (p + z²/2n ± z √(p (1 − p) / n + z²/4n²)) / (1 + z²/n)        (Wilson 1927, J. Am. Stat. Assoc. 22:209)

use serde::{Deserialize, Serialize};
use std::fmt;

/// 95 % of a normal distribution lie within so many standard deviations.
pub(super) const Z: f64 = 1.959_963_984_540_054;

/// An estimate with its 95 % interval, where one exists.
///
/// ```
/// use ndarray::array;
/// use tapetum::prelude::*;
/// let sure = array![[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]];
/// let accuracy: Estimate = Classification::new(sure.view(), &[0, 0, 1, 1])?.accuracy();
/// assert_eq!(accuracy.value, 0.75);
/// assert_eq!(accuracy.to_string(), "0.7500 [0.3006, 0.9544]"); // four samples do not say much
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// As measured on the samples.
    pub value: f64,
    /// From, to; of 100 such intervals, each from samples of its own, about 95 hold the truth.
    pub interval: Option<[f64; 2]>,
}

impl Estimate {
    /// `hits` of `all`, with Wilson's interval; of none, 0 and no interval.
    pub(super) fn share(hits: usize, all: usize) -> Self {
        if all == 0 {
            return Self { value: 0.0, interval: None };
        }
        let (p, n) = (hits as f64 / all as f64, all as f64);
        let reach = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let bound = |side: f64| (p + Z * Z / (2.0 * n) + side * reach) / (1.0 + Z * Z / n);
        // To rounding, a bound reaches what was measured: never past it, and never past 0 and 1.
        Self { value: p, interval: Some([bound(-1.0).clamp(0.0, p), bound(1.0).clamp(p, 1.0)]) }
    }

    /// A strictly growing function of it: the interval is the function's of the ends.
    pub(super) fn map(self, function: impl Fn(f64) -> f64) -> Self {
        Self { value: function(self.value), interval: self.interval.map(|ends| ends.map(function)) }
    }
}

/// The value, and the interval in brackets; four decimals unless told.
impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(4);
        write!(f, "{:.digits$}", self.value)?;
        self.interval.map_or(Ok(()), |[low, high]| write!(f, " [{low:.digits$}, {high:.digits$}]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    // scipy 1.17.1: binomtest(hits, all).proportion_ci(method="wilson")
    #[test]
    fn shares_have_wilsons_interval() {
        for (hits, all, low, high) in [
            (8, 12, 0.39062208887279953, 0.8618799089087867),
            (0, 10, 0.0, 0.27753279986288926),
            (10, 10, 0.7224672001371109, 1.0),
            (1, 3, 0.06149194472039626, 0.7923403991979523),
            (1789, 2000, 0.8802721538635723, 0.9072152958315194),
        ] {
            let [found_low, found_high] = Estimate::share(hits, all).interval.unwrap();
            assert_abs_diff_eq!(found_low, low, epsilon = 1e-12);
            assert_abs_diff_eq!(found_high, high, epsilon = 1e-12);
        }
        assert_eq!(Estimate::share(0, 0), Estimate { value: 0.0, interval: None });
        assert_eq!(Estimate::share(0, 0).to_string(), "0.0000");
    }
}
