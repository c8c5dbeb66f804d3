//! Losses: one file each, value directly above gradient.
//!
//! Every loss is a mean over the samples that count: L = Σₙ wₙ·lₙ / N, where wₙ is the product of the
//! sample's weight and its class's, and N the number of samples that are not ignored (Keras'
//! `sum_over_batch_size`; PyTorch divides by Σ wₙ instead where classes have weights).

mod batch;
mod binary_cross_entropy;
mod cross_entropy;
mod mean_squared_error;
mod rows;
mod settings;

pub use binary_cross_entropy::BinaryCrossEntropy;
pub use cross_entropy::CrossEntropy;
pub use mean_squared_error::MeanSquaredError;

use crate::element::Element;
use crate::error::Result;
use crate::layers::Layer;
use crate::target::Target;
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};
#[cfg(feature = "cuda")]
pub(crate) use rows::Formula;
pub use rows::Rows;
use std::fmt::Debug;

/// A mean over samples, kept so that means over batches of unequal size can be joined.
///
/// ```
/// use ndarray::array;
/// use tapetum::prelude::*;
/// let (y, target) = (array![[1.0], [3.0]].into_dyn(), Target::Values(array![[1.0], [1.0]].into_dyn()));
/// let value = MeanSquaredError.value(y.view(), &target, None)?;
/// assert_eq!(value, LossValue { mean: 2.0, count: 2 });
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LossValue {
    /// L, in f64 whatever the tensors are made of.
    pub mean: f64,
    /// N, the samples that count.
    pub count: usize,
}

/// A measure of how wrong a prediction is, with its gradient.
///
/// ```
/// use ndarray::array;
/// use tapetum::prelude::*;
/// let (logit, target) = (array![[0.0]].into_dyn(), Target::Labels(vec![1]));
/// let (value, gradient) = BinaryCrossEntropy::from_logits().gradient(logit.view(), &target, None)?;
/// assert!((value.mean - 2f64.ln()).abs() < 1e-12);
/// assert_eq!(gradient, array![[-0.5]].into_dyn()); // p − y
/// # Ok::<(), Error>(())
/// ```
pub trait Loss<E: Element>: Debug + Send + Sync {
    /// The loss' name, as in `binary_crossentropy`.
    fn name(&self) -> &'static str;

    /// L for `prediction` [N, …]; `weights` are N, one for each sample, or all 1 where there are none.
    fn value(&self, prediction: ArrayViewD<'_, E>, target: &Target<E>, weights: Option<&[f64]>) -> Result<LossValue>;

    /// L and ∂L/∂prediction.
    fn gradient(
        &self,
        prediction: ArrayViewD<'_, E>,
        target: &Target<E>,
        weights: Option<&[f64]>,
    ) -> Result<(LossValue, ArrayD<E>)>;

    /// L, and overwrites `gradient`, of the prediction's shape, with ∂L/∂prediction. The losses of this crate allocate
    /// nothing here where both are in standard layout.
    fn gradient_into(
        &self,
        prediction: ArrayViewD<'_, E>,
        target: &Target<E>,
        weights: Option<&[f64]>,
        mut gradient: ArrayViewMutD<'_, E>,
    ) -> Result<LossValue> {
        let (value, found) = self.gradient(prediction, target, weights)?;
        batch::check_gradient(self.name(), found.shape(), gradient.shape())?;
        gradient.assign(&found);
        Ok(value)
    }

    /// What this loss is on a device, and what it makes of the targets there, for predictions of `shape` [N, …]. None
    /// from a loss that no device knows.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    #[doc(hidden)]
    fn rows(&self, shape: &[usize], target: &Target<E>, weights: Option<&[f64]>) -> Result<Option<Rows>> {
        let _ = (shape, target, weights);
        Ok(None)
    }

    /// Whether a sample with this label counts: where not, it is in neither L nor N.
    fn counts(&self, label: usize) -> bool {
        let _ = label;
        true
    }

    /// This loss behind `last`, as one stable step from the inputs of `last` (its logits), where there is one:
    /// sigmoid or softmax and cross-entropy together have the gradient p − y (equation 19).
    fn fused_with(&self, last: &dyn Layer<E>) -> Option<Box<dyn Loss<E>>> {
        let _ = last;
        None
    }
}

/// How close to 0 and 1 a probability counts as it is: Keras' epsilon. ln 10⁻⁷ = −16.1.
const EPSILON: f64 = 1e-7;

/// Whether a probability lies beyond the clip; NaN does not.
fn is_clipped(p: f64) -> bool {
    !(EPSILON..=1.0 - EPSILON).contains(&p) && !p.is_nan()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Backward, Saved, Sigmoid, Softmax};
    use crate::random::Key;
    use ndarray::array;

    /// Uniform numbers in [low, high).
    pub fn draw(shape: &[usize], low: f64, high: f64) -> ArrayD<f64> {
        let mut random = Key::new(7).named("losses").at(shape.len() as u64).stream();
        ArrayD::from_shape_simple_fn(shape, || random.uniform(low, high))
    }

    /// Holds the value against `expected`, and each entry of the gradient against
    /// (L(p + h) − L(p − h)) / 2h; 10⁻⁹ is the rounding error of that quotient.
    pub fn check_gradient(
        loss: &dyn Loss<f64>,
        p: &ArrayD<f64>,
        target: &Target<f64>,
        weights: Option<&[f64]>,
        expected: f64,
    ) {
        let (value, gradient) = loss.gradient(p.view(), target, weights).unwrap();
        assert_eq!(value, loss.value(p.view(), target, weights).unwrap());
        assert!((value.mean - expected).abs() <= 1e-12 * expected.abs(), "{} is not {expected}", value.mean);
        for (i, dp) in gradient.indexed_iter() {
            let h = 1e-6 * p[&i].abs().max(1.0);
            let at = |x: f64| {
                let mut p = p.clone();
                p[&i] = x;
                loss.value(p.view(), target, weights).unwrap().mean
            };
            let quotient = (at(p[&i] + h) - at(p[&i] - h)) / (2.0 * h);
            let error = (dp - quotient).abs();
            assert!(error <= 1e-6 * dp.abs().max(quotient.abs()) + 1e-9, "{i:?}: {dp} is not {quotient}");
        }
    }

    /// The loss of these rows in f32 and f64, where it and its gradient must be finite.
    pub fn extremes(loss: &(impl Loss<f32> + Loss<f64>), rows: &[&[f64]], labels: &[usize], expected: f64) {
        fn check<E: Element>(loss: &impl Loss<E>, rows: &[&[f64]], labels: &[usize], expected: f64) {
            let p = ArrayD::from_shape_fn(vec![rows.len(), rows[0].len()], |i| E::of(rows[i[0]][i[1]]));
            let (value, dp) = loss.gradient(p.view(), &Target::Labels(labels.to_vec()), None).unwrap();
            assert!((value.mean - expected).abs() <= 1e-8 * expected, "{} is not {expected}", value.mean);
            assert!(dp.iter().all(|dp| dp.is_finite()));
        }
        check::<f32>(loss, rows, labels, expected);
        check::<f64>(loss, rows, labels, expected);
    }

    fn all() -> [Box<dyn Loss<f64>>; 3] {
        [Box::new(BinaryCrossEntropy::default()), Box::new(CrossEntropy::default()), Box::new(MeanSquaredError)]
    }

    #[test]
    fn no_samples_are_no_loss() {
        for loss in all() {
            let (value, dp) = loss.gradient(ArrayD::zeros(vec![0, 1]).view(), &Target::Labels(vec![]), None).unwrap();
            assert_eq!((value, dp), (LossValue::default(), ArrayD::zeros(vec![0, 1])));
        }
    }

    #[test]
    fn no_outputs_are_an_error() {
        for loss in all() {
            for shape in [vec![], vec![2, 0]] {
                assert!(loss.value(ArrayD::zeros(shape).view(), &Target::Labels(vec![0, 0]), None).is_err());
            }
        }
    }

    // Model files and checkpoints of today can be read tomorrow.
    #[test]
    fn settings_are_written_as_they_always_were() {
        let binary = BinaryCrossEntropy::from_logits().class_weights([1.0, 2.5]).label_smoothing(0.1);
        let text = r#"{"from_logits":true,"class_weights":[1.0,2.5],"label_smoothing":0.1,"ignore_index":null}"#;
        assert_eq!(serde_json::to_string(&binary).unwrap(), text);
        assert_eq!(serde_json::from_str::<BinaryCrossEntropy>(text).unwrap(), binary);
        let many = CrossEntropy::default().ignore_index(9);
        let text = r#"{"from_logits":false,"class_weights":[],"label_smoothing":0.0,"ignore_index":9}"#;
        assert_eq!(serde_json::to_string(&many).unwrap(), text);
        assert_eq!(serde_json::from_str::<CrossEntropy>(text).unwrap(), many);
    }

    // A saturated softmax: e⁻³⁰ is a small number, e⁻⁸⁰ is a normal f32 that would make denormal products.
    #[test]
    fn gradients_are_flushed() {
        let z = array![[0.0_f32, -30.0, -80.0, -100.0]].into_dyn();
        let (_, dz) = CrossEntropy::from_logits().gradient(z.view(), &Target::Labels(vec![0]), None).unwrap();
        assert!(dz[[0, 1]] > 0.0);
        assert_eq!([dz[[0, 2]], dz[[0, 3]]], [0.0, 0.0]);
    }

    #[test]
    fn any_memory_layout_will_do() {
        let (p, y) = (draw(&[3, 2], 0.1, 0.9), Target::Values(array![[1., 0.], [0., 1.], [1., 0.]].into_dyn()));
        let mut columns = ArrayD::zeros(ndarray::ShapeBuilder::f(vec![3, 2]));
        columns.assign(&p);
        for loss in all() {
            assert_eq!(loss.gradient(p.view(), &y, None).unwrap(), loss.gradient(columns.view(), &y, None).unwrap());
        }
    }

    /// A loss that knows `value` and `gradient` only, as a user's own may.
    #[derive(Debug)]
    struct Plain(Box<dyn Loss<f64>>);

    impl Loss<f64> for Plain {
        fn name(&self) -> &'static str {
            self.0.name()
        }
        fn value(&self, p: ArrayViewD<'_, f64>, y: &Target<f64>, w: Option<&[f64]>) -> Result<LossValue> {
            self.0.value(p, y, w)
        }
        fn gradient(
            &self,
            p: ArrayViewD<'_, f64>,
            y: &Target<f64>,
            w: Option<&[f64]>,
        ) -> Result<(LossValue, ArrayD<f64>)> {
            self.0.gradient(p, y, w)
        }
    }

    #[test]
    fn the_gradient_overwrites_what_it_is_given() {
        for samples in [0, 1, 5] {
            let (p, w) = (draw(&[samples, 1], 0.1, 0.9), vec![0.5; samples]);
            let targets = [Target::Labels(vec![0; samples]), Target::Values(draw(&[samples, 1], 0.0, 1.0))];
            for target in &targets {
                for loss in all().into_iter().chain(all().map(|loss| Box::new(Plain(loss)) as _)) {
                    let expected = loss.gradient(p.view(), target, Some(&w)).unwrap();
                    // Every other column of a wider array is in no layout at all.
                    let mut wide = ArrayD::from_elem(vec![samples, 2], f64::NAN);
                    let mut alone = ArrayD::from_elem(vec![samples, 1], f64::NAN);
                    let some = wide.slice_mut(ndarray::s![.., ..1]).into_dyn();
                    let values = [some, alone.view_mut()].map(|dp| loss.gradient_into(p.view(), target, Some(&w), dp));
                    assert!(values.into_iter().all(|value| value.unwrap() == expected.0));
                    assert_eq!(alone, expected.1);
                    assert_eq!(wide.slice(ndarray::s![.., ..1]).into_dyn(), expected.1);
                    assert!(wide.slice(ndarray::s![.., 1]).iter().all(|untouched| untouched.is_nan()));
                    let error = loss.gradient_into(p.view(), target, None, ArrayD::zeros(vec![samples]).view_mut());
                    assert!(error.unwrap_err().to_string().contains("room for a gradient"));
                }
            }
        }
    }

    /// A user's own layer that is only called `Sigmoid` or `Softmax`.
    #[derive(Debug, Clone)]
    struct Named(&'static str);

    impl Layer<f64> for Named {
        fn kind(&self) -> &'static str {
            self.0
        }
        fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
            Ok(input.to_vec())
        }
        fn forward(&self, x: ArrayViewD<'_, f64>) -> Result<ArrayD<f64>> {
            Ok(x.to_owned())
        }
        fn forward_train(&self, x: ArrayViewD<'_, f64>, _key: Key) -> Result<(ArrayD<f64>, Saved)> {
            Ok((x.to_owned(), Saved::new(())))
        }
        fn backward(&self, _saved: Saved, dy: ArrayViewD<'_, f64>) -> Result<Backward<f64>> {
            Ok(Backward::input_only(dy.to_owned()))
        }
        fn clone_box(&self) -> Box<dyn Layer<f64>> {
            Box::new(self.clone())
        }
    }

    #[test]
    fn fused_with_the_last_layer_the_loss_keeps_its_settings() {
        let fused = |loss: &dyn Loss<f64>, last: &dyn Layer<f64>| loss.fused_with(last).map(|loss| format!("{loss:?}"));
        let binary = |loss: BinaryCrossEntropy| loss.class_weights([1.0, 2.0]).label_smoothing(0.1);
        let many = |loss: CrossEntropy| loss.class_weights([1.0, 2.0]).label_smoothing(0.1).ignore_index(9);
        assert_eq!(
            fused(&binary(BinaryCrossEntropy::default()), &Sigmoid),
            Some(format!("{:?}", binary(BinaryCrossEntropy::from_logits())))
        );
        assert_eq!(
            fused(&many(CrossEntropy::default()), &Softmax),
            Some(format!("{:?}", many(CrossEntropy::from_logits())))
        );
        assert_eq!(fused(&BinaryCrossEntropy::default(), &Softmax), None);
        assert_eq!(fused(&CrossEntropy::default(), &Sigmoid), None);
        assert_eq!(fused(&BinaryCrossEntropy::from_logits(), &Sigmoid), None);
        assert_eq!(fused(&CrossEntropy::from_logits(), &Softmax), None);
        assert_eq!(fused(&MeanSquaredError, &Sigmoid), None);
        assert_eq!(fused(&BinaryCrossEntropy::default(), &Named("Sigmoid")), None);
        assert_eq!(fused(&CrossEntropy::default(), &Named("Softmax")), None);
    }
}
