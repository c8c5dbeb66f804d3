//! How good a classifier is: every number from the labels and the probabilities alone, with its 95 % interval where
//! there is one.
//!
//! [`Classification`] is where all of it begins; [`Trainer::classify`](crate::train::Trainer::classify) makes one. An
//! interval tells how far chance in the choice of the samples reaches: it knows nothing of data of another kind.

mod calibration;
mod classification;
mod estimate;
mod per_class;
mod roc;
mod temperature;

pub use calibration::{Calibration, CalibrationBin};
pub use classification::Classification;
pub use estimate::Estimate;
pub use per_class::ClassMetrics;
pub use roc::{RocCurve, RocPoint};
pub use temperature::Temperature;

/// Beside other programs.
#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;
    use ndarray::array;

    /// Twelve samples of three classes, with ties.
    fn twelve() -> Classification {
        let p = array![
            [0.8, 0.1, 0.1],
            [0.5, 0.3, 0.2],
            [0.2, 0.7, 0.1],
            [0.6, 0.3, 0.1],
            [0.1, 0.8, 0.1],
            [0.3, 0.6, 0.1],
            [0.4, 0.35, 0.25],
            [0.2, 0.2, 0.6],
            [0.1, 0.1, 0.8],
            [0.3, 0.3, 0.4],
            [0.25, 0.5, 0.25],
            [0.7, 0.2, 0.1]
        ];
        Classification::new(p.view(), &[0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 1]).unwrap()
    }

    // scikit-learn 1.9.1: confusion_matrix, accuracy_score, precision_recall_fscore_support, log_loss
    #[test]
    fn counts_are_scikit_learns() {
        let said = twelve();
        assert_eq!(said.confusion(), [[3, 1, 0], [2, 2, 0], [0, 1, 3]]);
        assert_eq!(said.accuracy().value, 2.0 / 3.0);
        assert_abs_diff_eq!(said.log_loss(), 0.7888614790134558, epsilon = 1e-14);
        let values = |of: fn(&ClassMetrics) -> f64| said.per_class().iter().map(of).collect::<Vec<_>>();
        assert_eq!(values(|class| class.precision.value), [0.6, 0.5, 1.0]);
        assert_eq!(values(|class| class.recall.value), [0.75, 0.5, 0.75]);
        let f1 = values(|class| class.f1.value);
        for (found, expected) in f1.into_iter().zip([0.6666666666666666, 0.5, 0.8571428571428571]) {
            assert_abs_diff_eq!(found, expected, epsilon = 1e-15);
        }
        assert!(said.per_class().iter().all(|class| class.support == 4));
    }

    // scikit-learn 1.9.1: roc_auc_score, roc_curve(drop_intermediate=False); DeLong's variance from the mid-ranks that
    // scipy 1.17.1's rankdata gives (Sun & Xu 2014).
    #[test]
    fn curves_are_scikit_learns() {
        let said = twelve();
        let expected = [
            (0.765625, [0.42264692777427726, 1.0]),
            (0.734375, [0.3924402094984026, 1.0]),
            (0.984375, [0.9410655054890725, 1.0]),
        ];
        for (class, (area, interval)) in expected.into_iter().enumerate() {
            let auc = said.roc(class).unwrap().auc;
            assert_abs_diff_eq!(auc.value, area, epsilon = 1e-15);
            assert_abs_diff_eq!(auc.interval.unwrap()[0], interval[0], epsilon = 1e-12);
            assert_eq!(auc.interval.unwrap()[1], interval[1]);
        }
        let points = said.roc(1).unwrap().points;
        let rates = |of: fn(&RocPoint) -> f64| points.iter().map(of).collect::<Vec<_>>();
        let inf = f64::INFINITY;
        assert_eq!(rates(|point| point.false_positive_rate), [0.0, 0.0, 0.125, 0.125, 0.25, 0.25, 0.625, 0.75, 1.0]);
        assert_eq!(rates(|point| point.true_positive_rate), [0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1.0, 1.0]);
        assert_eq!(rates(|point| point.threshold), [inf, 0.8, 0.7, 0.6, 0.5, 0.35, 0.3, 0.2, 0.1]);
    }

    // scipy 1.17.1: minimize_scalar of the mean −ln softmax(ln p / T), over ln T.
    #[test]
    fn the_temperature_is_scipys() {
        let said = twelve();
        let temperature = Temperature::fit(&said).unwrap();
        assert_abs_diff_eq!(temperature.value, 0.7833663920832753, epsilon = 1e-7);
        assert_abs_diff_eq!(temperature.apply(&said).log_loss(), 0.7774431659784283, epsilon = 1e-14);
    }
}
