//! ∂L/∂v ≈ (L(v + h) − L(v − h)) / 2h     (central differences, in f64)
//!
//! For a layer L = Σ r·y, with a drawn r: then ∂L/∂y = r is what `backward` is given, and each entry of
//! ∂L/∂x and ∂L/∂parameters can be compared with the difference quotient.

use crate::error::{Error, Result};
use crate::layers::{Backward, Layer};
use crate::losses::Loss;
use crate::random::Key;
use crate::target::Target;
use ndarray::{Array, ArrayD, ArrayViewD, IxDyn, Zip, arr0};
use std::fmt;

/// Errors are relative to the gradient itself, but at least to this part of the largest of its tensor …
const FLOOR_IN_TENSOR: f64 = 1e-3;
/// … and of the largest of all: next to it, a gradient that cancels to zero drowns in the rounding of L.
const FLOOR_OVERALL: f64 = 1e-4;

/// How gradients are checked.
///
/// ```
/// use tapetum::inspect::{GradCheck, check_layer};
/// use tapetum::prelude::*;
/// let mut layer = Conv2D::new(2, 3);
/// layer.build(&[5, 5, 1], Key::new(1))?;
/// let x = ndarray::Array::from_shape_fn([2, 5, 5, 1], |(n, h, w, _)| (7 * n + 3 * h * w) as f64 / 10.0);
/// let report = check_layer(&layer, x.into_dyn().view(), &GradCheck::default())?;
/// assert!(report.error < 1e-6, "{report}");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct GradCheck {
    step: f64,
    entries: usize,
    key: Key,
}

impl Default for GradCheck {
    fn default() -> Self {
        Self { step: 1e-5, entries: 1000, key: Key::new(0) }
    }
}

impl GradCheck {
    /// h for numbers up to 1 in size; of larger ones, the same part. 1e-5 by default.
    ///
    /// Functions with kinks (ReLU, a maximum) are judged right only at inputs further than h from a kink.
    pub fn step(mut self, step: f64) -> Self {
        self.step = step;
        self
    }

    /// How many entries of each tensor are checked at most, each by two forward passes; of a larger tensor, so many
    /// are drawn. 1000 by default.
    pub fn entries(mut self, entries: usize) -> Self {
        self.entries = entries;
        self
    }

    /// Where r, the layer's own random numbers (each forward pass gets the same) and the choice of entries come from.
    pub fn key(mut self, key: Key) -> Self {
        self.key = key;
        self
    }
}

/// What a check found: the worst entry.
///
/// ```
/// use tapetum::inspect::{GradCheck, check_layer};
/// use tapetum::prelude::*;
/// let report = check_layer(&Tanh, ndarray::array![[0.5, -1.0]].into_dyn().view(), &GradCheck::default())?;
/// assert!(report.error < 1e-6, "{report}");
/// assert_eq!((report.tensor.as_str(), report.checked), ("dx", 2));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GradReport {
    /// |analytic − numeric| / max(|analytic|, |numeric|, 10⁻³ of the largest gradient of the tensor, 10⁻⁴ of the
    /// largest of all tensors). Infinite where a gradient is NaN; 0 where no entry was checked.
    pub error: f64,
    /// The tensor with that entry: `dx`, or a parameter's name.
    pub tensor: String,
    /// Its place in the tensor.
    pub index: Vec<usize>,
    /// What `backward` said.
    pub analytic: f64,
    /// What the central difference says.
    pub numeric: f64,
    /// How many entries were checked, over all tensors.
    pub checked: usize,
}

impl fmt::Display for GradReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, tensor, index, analytic, numeric, checked } = self;
        write!(
            f,
            "worst relative error {error:.1e} at {tensor}{index:?} (backward {analytic:e}, numeric {numeric:e}) \
             of {checked} entries"
        )
    }
}

/// Compares a layer's `backward` with central differences of its `forward_train`, for x and all parameters.
///
/// The layer can be built in or one's own, or a whole [`Sequential`](crate::Sequential).
///
/// # Errors
/// Of the layer itself, as where it is not built or does not take `x`, and where it breaks the rules of
/// [`Layer`]: another output shape than announced, gradients that are not one for each parameter, of its shape.
pub fn check_layer(layer: &dyn Layer<f64>, x: ArrayViewD<'_, f64>, options: &GradCheck) -> Result<GradReport> {
    let key = options.key.named("layer");
    let (y, saved) = layer.forward_train(x.view(), key)?;
    let mut random = options.key.named("projection").stream();
    let r = Array::from_shape_simple_fn(y.raw_dim(), || random.uniform(-1.0, 1.0));
    let back = layer.backward(saved, r.view())?;

    let mut layer = layer.clone_box();
    check_rules(layer.as_mut(), &x, &y, &back)?;
    let mut entries = compare("dx", x.to_owned(), &back.dx, &r, options, |x| Ok(layer.forward_train(x, key)?.0))?;
    let parameters = layer.parameters().into_iter().map(|(name, view)| (name, view.to_owned())).collect::<Vec<_>>();
    for (place, ((name, values), analytic)) in parameters.into_iter().zip(&back.params).enumerate() {
        let output = |values: ArrayViewD<'_, f64>| {
            layer.parameters_mut()[place].1.assign(&values);
            Ok(layer.forward_train(x.view(), key)?.0)
        };
        entries.extend(compare(&name, values.clone(), analytic, &r, options, output)?);
        layer.parameters_mut()[place].1.assign(&values);
    }
    Ok(report(entries))
}

/// Compares a loss' `gradient` with central differences of its `value`. `weights` are those of the samples.
///
/// # Errors
/// Of the loss itself, and where its gradient has another shape than the prediction.
pub fn check_loss(
    loss: &dyn Loss<f64>,
    prediction: ArrayViewD<'_, f64>,
    target: &Target<f64>,
    weights: Option<&[f64]>,
    options: &GradCheck,
) -> Result<GradReport> {
    let (_, gradient) = loss.gradient(prediction.view(), target, weights)?;
    expect(loss.name(), "gradient", gradient.shape(), prediction.shape())?;
    let value = |prediction: ArrayViewD<'_, f64>| Ok(arr0(loss.value(prediction, target, weights)?.mean).into_dyn());
    let one = arr0(1.0).into_dyn();
    Ok(report(compare("dx", prediction.to_owned(), &gradient, &one, options, value)?))
}

/// What [`Layer`] asks of shapes.
fn check_rules(
    layer: &mut dyn Layer<f64>,
    x: &ArrayViewD<'_, f64>,
    y: &ArrayD<f64>,
    back: &Backward<f64>,
) -> Result<()> {
    let sample = |shape: &[usize]| shape.get(1..).unwrap_or(&[]).to_vec();
    expect(layer.kind(), "output", &sample(y.shape()), &layer.output_shape(&sample(x.shape()))?)?;
    expect(layer.kind(), "dx", back.dx.shape(), x.shape())?;
    let of_views = |(name, view): (String, ArrayViewD<'_, f64>)| (name, view.shape().to_vec());
    let parameters: Vec<_> = layer.parameters().into_iter().map(of_views).collect();
    let changeable: Vec<_> =
        layer.parameters_mut().iter().map(|(name, p)| (name.clone(), p.shape().to_vec())).collect();
    let gradients: Vec<_> = back.params.iter().map(|gradient| gradient.shape().to_vec()).collect();
    if parameters != changeable || !parameters.iter().map(|(_, shape)| shape).eq(&gradients) {
        let expected = format!("the same names and shapes as parameters(), {parameters:?},");
        let found = format!("parameters_mut() {changeable:?} and gradients {gradients:?}");
        return Err(Error::argument(layer.kind(), "parameters_mut() and backward()", expected, found));
    }
    Ok(())
}

fn expect(at: &str, what: &str, found: &[usize], expected: &[usize]) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::shape(at, format!("{what} {expected:?}"), found))
}

/// One entry of one tensor.
struct Entry {
    tensor: String,
    index: IxDyn,
    analytic: f64,
    numeric: f64,
    /// The largest gradient among the entries of its tensor.
    largest: f64,
}

/// The chosen entries of one tensor with their difference quotients of Σ r·output.
fn compare(
    tensor: &str,
    mut values: ArrayD<f64>,
    analytic: &ArrayD<f64>,
    r: &ArrayD<f64>,
    options: &GradCheck,
    mut output: impl FnMut(ArrayViewD<'_, f64>) -> Result<ArrayD<f64>>,
) -> Result<Vec<Entry>> {
    if !(options.step > 0.0 && options.step.is_finite()) {
        return Err(Error::argument("gradcheck", "step", "a small positive number", options.step));
    }
    let mut places: Vec<IxDyn> = ndarray::indices(values.raw_dim()).into_iter().collect();
    if places.len() > options.entries {
        options.key.named("entries").named(tensor).stream().shuffle(&mut places);
        places.truncate(options.entries);
    }
    let mut output = |values: &ArrayD<f64>| {
        let y = output(values.view())?;
        expect("gradcheck", "output, the same for all inputs,", y.shape(), r.shape()).map(|()| y)
    };
    let mut entries = Vec::with_capacity(places.len());
    for index in places {
        let value = values[&index];
        let h = options.step * value.abs().max(1.0);
        let (above, below) = (value + h, value - h);
        values[&index] = above;
        let y_above = output(&values)?;
        values[&index] = below;
        let y_below = output(&values)?;
        values[&index] = value;
        // Subtracted before they are summed, so that what h does not touch cancels exactly.
        let rise = Zip::from(r).and(&y_above).and(&y_below).fold(0.0, |sum, r, above, below| sum + r * (above - below));
        let (analytic, numeric) = (analytic[&index], rise / (above - below));
        entries.push(Entry { tensor: tensor.to_string(), index, analytic, numeric, largest: 0.0 });
    }
    let largest = largest(&entries);
    entries.iter_mut().for_each(|entry| entry.largest = largest);
    Ok(entries)
}

fn largest(entries: &[Entry]) -> f64 {
    entries.iter().fold(0.0, |largest, entry| entry.analytic.abs().max(entry.numeric.abs()).max(largest))
}

/// The worst of all entries.
fn report(entries: Vec<Entry>) -> GradReport {
    let overall = largest(&entries);
    let checked = entries.len();
    let none = GradReport { error: 0.0, tensor: "dx".into(), index: vec![], analytic: 0.0, numeric: 0.0, checked };
    let judged = entries.into_iter().map(|Entry { tensor, index, analytic, numeric, largest }| {
        let floor = (FLOOR_IN_TENSOR * largest).max(FLOOR_OVERALL * overall);
        let error = (analytic - numeric).abs() / analytic.abs().max(numeric.abs()).max(floor);
        let error = match () {
            () if analytic == numeric => 0.0,
            () if error.is_nan() => f64::INFINITY,
            () => error,
        };
        GradReport { error, tensor, index: ndarray::Dimension::slice(&index).to_vec(), analytic, numeric, checked }
    });
    judged.max_by(|a, b| a.error.total_cmp(&b.error)).unwrap_or(none)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Dense, Saved, Tanh};
    use ndarray::array;

    /// y = 3·x·p, with gradients that are wrong on demand.
    #[derive(Debug, Clone)]
    struct Wrong {
        p: ArrayD<f64>,
        dx: f64,
        dp: ArrayD<f64>,
    }

    impl Layer<f64> for Wrong {
        fn kind(&self) -> &'static str {
            "Wrong"
        }

        fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
            Ok(input.to_vec())
        }

        fn forward(&self, x: ArrayViewD<'_, f64>) -> Result<ArrayD<f64>> {
            Ok(&x * 3.0 * self.p.sum())
        }

        fn forward_train(&self, x: ArrayViewD<'_, f64>, _key: Key) -> Result<(ArrayD<f64>, Saved)> {
            Ok((self.forward(x.view())?, Saved::new(x.to_owned())))
        }

        fn backward(&self, saved: Saved, dy: ArrayViewD<'_, f64>) -> Result<Backward<f64>> {
            let x: ArrayD<f64> = saved.take("wrong")?;
            let mut dx = &dy * 3.0 * self.p.sum();
            dx[[1, 0]] *= self.dx;
            Ok(Backward { dx, params: vec![&self.dp * (x * dy).sum() * 3.0], state: Vec::new() })
        }

        fn parameters(&self) -> Vec<(String, ArrayViewD<'_, f64>)> {
            vec![("p".into(), self.p.view())]
        }

        fn parameters_mut(&mut self) -> Vec<(String, ndarray::ArrayViewMutD<'_, f64>)> {
            vec![("p".into(), self.p.view_mut())]
        }

        fn clone_box(&self) -> Box<dyn Layer<f64>> {
            Box::new(self.clone())
        }
    }

    fn check(dx: f64, dp: ArrayD<f64>) -> Result<GradReport> {
        let x = array![[1.0, 2.0], [3.0, -4.0]].into_dyn();
        check_layer(&Wrong { p: array![0.5, 2.0].into_dyn(), dx, dp }, x.view(), &GradCheck::default())
    }

    #[test]
    fn right_gradients_pass_and_wrong_ones_are_named() {
        let right = array![1.0, 1.0].into_dyn();
        let report = check(1.0, right.clone()).unwrap();
        assert!(report.error < 1e-9 && report.checked == 6, "{report}");
        let report = check(-1.0, right).unwrap();
        assert_eq!((report.tensor.as_str(), report.index.as_slice()), ("dx", [1, 0].as_slice()));
        assert!((report.error - 2.0).abs() < 1e-6, "{report}");
        let report = check(1.0, array![1.0, 1.001].into_dyn()).unwrap();
        assert_eq!((report.tensor.as_str(), report.index.as_slice()), ("p", [1].as_slice()));
        assert!((report.error - 0.001).abs() < 1e-5, "{report}");
        assert!(report.to_string().starts_with("worst relative error 1.0e-3 at p[1] (backward "), "{report}");
    }

    #[test]
    fn nan_and_broken_rules_are_found() {
        assert_eq!(check(f64::NAN, array![1.0, 1.0].into_dyn()).unwrap().error, f64::INFINITY);
        let error = check(1.0, array![[1.0, 1.0]].into_dyn()).unwrap_err().to_string();
        assert!(error.contains("gradients [[1, 2]]"), "{error}");
    }

    #[test]
    fn a_drawn_part_of_the_entries() {
        let mut dense = Dense::new(4);
        dense.build(&[30], Key::new(2)).unwrap();
        let x = Array::from_shape_fn([2, 30], |(n, d)| (n + d) as f64 / 30.0).into_dyn();
        let report = check_layer(&dense, x.view(), &GradCheck::default().entries(10)).unwrap();
        assert!(report.error < 1e-6 && report.checked == 10 + 10 + 4, "{report}");
    }

    #[test]
    fn nothing_to_check_and_a_step_of_zero() {
        let nothing = ArrayD::zeros(vec![0, 3]);
        assert_eq!(check_layer(&Tanh, nothing.view(), &GradCheck::default()).unwrap().checked, 0);
        assert!(check_layer(&Tanh, nothing.view(), &GradCheck::default().step(0.0)).is_err());
        assert!(check_layer(&Dense::new(4), nothing.view(), &GradCheck::default()).is_err());
    }
}
