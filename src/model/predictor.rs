//! y = h(½ · (f(x) + f(x̄)))   x̄ = x with left and right exchanged, h = a last Sigmoid or Softmax
//!
//! The mean of a network's answers to a picture and to its mirror image is right more often than either (Krizhevsky et
//! al., NIPS 2012, section 4.1). It is taken of the logits, where there are any.

use super::{Head, Sequential};
use crate::element::Element;
use crate::error::Result;
use crate::plan::InferencePlan;
use ndarray::{ArrayViewD, Axis};

/// A network's way forward: its plan, run once or for two views of each sample.
#[derive(Debug)]
pub(crate) struct Predictor<E: Element> {
    plan: InferencePlan<E>,
    views: Option<Views<E>>,
}

/// What the two views need: f(x) and f(x̄), and whether h follows.
#[derive(Debug)]
struct Views<E> {
    outputs: [Vec<E>; 2],
    head: bool,
}

impl<E: Element> Predictor<E> {
    /// For the first `count` layers of `model`.
    pub fn new(model: &Sequential<E>, count: usize) -> Result<Self> {
        let (flip, whole) = (model.flips_at_test(), count == model.layers().len());
        // Outputs that are probabilities already have their head inside.
        let head = flip && whole && Head::of(model, false) == Head::None;
        Ok(Self {
            plan: InferencePlan::new(model.chain(), count - usize::from(head), model.input_shape())?,
            views: flip.then(|| Views { outputs: [Vec::new(), Vec::new()], head }),
        })
    }

    /// The shape of one sample of the output.
    pub fn output(&self) -> &[usize] {
        self.plan.output()
    }

    /// x [N, …] → y [N, …], which is overwritten.
    pub fn run(&mut self, model: &Sequential<E>, x: &ArrayViewD<'_, E>, y: &mut [E]) -> Result<()> {
        let Some(views) = &mut self.views else { return self.plan.run(model.chain(), x, y) };
        let mut mirrored = x.view();
        mirrored.invert_axis(Axis(2));
        for (view, output) in [x, &mirrored].into_iter().zip(&mut views.outputs) {
            output.resize(y.len(), E::zero());
            self.plan.run(model.chain(), view, output)?;
        }
        let [mean, other] = &mut views.outputs;
        let half = E::of(0.5);
        mean.iter_mut().zip(other).for_each(|(a, b)| *a = half * (*a + *b));
        if !views.head {
            y.copy_from_slice(mean);
            return Ok(());
        }
        let shape = [&x.shape()[..1], self.plan.output()].concat();
        let logits = ArrayViewD::from_shape(shape, mean).expect("a number for each entry");
        let (_, head) = model.layers().next_back().expect("the head is a layer");
        y.iter_mut().zip(&head.forward(logits)?).for_each(|(y, &p)| *y = p);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::layers::{Conv2D, Dense, Flatten, Layer, Sigmoid, Softmax};
    use crate::model::SequentialBuilder;
    use ndarray::{ArrayD, Slice};

    fn body(units: usize) -> SequentialBuilder<f64> {
        SequentialBuilder::new([5, 6, 2]).add(Conv2D::new(3, 3)).add(Flatten).add(Dense::new(units))
    }

    #[test]
    fn a_prediction_is_the_head_of_the_mean_of_two_logits() -> Result<()> {
        let x =
            ArrayD::from_shape_fn(vec![40, 5, 6, 2], |i| ((7 * i[0] + 5 * i[1] + 3 * i[2] * i[2] + i[3]) % 11) as f64);
        let mirrored = x.slice_axis(Axis(2), Slice::new(0, None, -1));
        let logits = body(3).build(1)?;
        let mean = (logits.predict(x.view())? + logits.predict(mirrored)?) / 2.0;
        let expect = |model: Sequential<f64>, y: ArrayD<f64>| -> Result<()> {
            let found = model.test_time_flip(true)?.predict(x.view())?;
            approx::assert_abs_diff_eq!(found, y, epsilon = 1e-12);
            Ok(())
        };
        expect(logits, mean.clone())?;
        expect(body(3).add(Softmax).build(1)?, Softmax.forward(mean.view())?)?;
        expect(body(3).add(Sigmoid).build(1)?, Sigmoid.forward(mean.view())?)
    }

    #[test]
    fn without_its_last_layer_a_network_has_no_head() -> Result<()> {
        let x = ArrayD::from_shape_fn(vec![3, 5, 6, 2], |i| ((7 * i[0] + 5 * i[1] + 3 * i[2] + i[3]) % 11) as f64);
        let model = body(3).add(Softmax).add(Sigmoid).build(1)?.test_time_flip(true)?;
        let mut z = ArrayD::zeros(vec![3, 3]);
        let numbers = z.as_slice_mut().expect("just made");
        Predictor::new(&model, model.layers().len() - 1)?.run(&model, &x.view(), numbers)?;
        approx::assert_abs_diff_eq!(Sigmoid.forward(z.view())?, model.predict(x.view())?, epsilon = 1e-12);
        Ok(())
    }

    #[test]
    fn only_pictures_have_a_left_and_a_right() {
        let model = Sequential::builder([4]).add(Dense::new(1)).build(1).unwrap();
        let error = model.test_time_flip(true).unwrap_err().to_string();
        assert_eq!(error, "sequential: expected pictures [H, W, C] to flip at test time, got [4]");
    }
}
