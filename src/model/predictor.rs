//! y = h(½ · (f(x) + f(x̄)))   x̄ = x with left and right exchanged, h = a last Sigmoid or Softmax
//!
//! The mean of a network's answers to a picture and to its mirror image is right more often than either (Krizhevsky et
//! al., NIPS 2012, section 4.1). It is taken of the logits, where there are any.

use super::{Head, Sequential};
use crate::element::Element;
use crate::error::Result;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::Gpu;
#[cfg(feature = "cuda")]
use crate::plan::cuda::CudaInference;
use crate::plan::{Forward, InferencePlan};
use ndarray::{ArrayViewD, Axis};

/// A network's way forward: its plan, run once or for two views of each sample.
#[derive(Debug)]
pub(crate) struct Predictor<E: Element> {
    plan: Box<dyn Forward<E>>,
    /// Whether there are two views.
    flip: bool,
    /// Whether h follows, which is then not part of the plan.
    head: bool,
    /// f(x) and f(x̄)
    outputs: [Vec<E>; 2],
}

impl<E: Element> Predictor<E> {
    /// For the first `count` layers of `model`.
    pub fn new(model: &Sequential<E>, count: usize) -> Result<Self> {
        // Without a second view there is nothing between the last layer and the others.
        let head = model.flips_at_test() && Self::has_head(model, count);
        let plan = InferencePlan::new(model.chain(), count - usize::from(head), model.input_shape())?;
        Ok(Self::of(model, Box::new(plan), head))
    }

    fn of(model: &Sequential<E>, plan: Box<dyn Forward<E>>, head: bool) -> Self {
        Self { plan, flip: model.flips_at_test(), head, outputs: [Vec::new(), Vec::new()] }
    }

    /// Whether the last of these layers makes probabilities.
    fn has_head(model: &Sequential<E>, count: usize) -> bool {
        count == model.layers().len() && Head::of(model, false) == Head::None
    }

    /// The shape of one sample of the output.
    pub fn output(&self) -> &[usize] {
        self.plan.output()
    }

    /// x [N, …] → y [N, …], which is overwritten.
    pub fn run(&mut self, model: &Sequential<E>, x: &ArrayViewD<'_, E>, y: &mut [E]) -> Result<()> {
        if self.flip {
            self.both_views(model, x, y)?;
        } else {
            self.plan.run(model.chain(), x, y)?;
        }
        if !self.head {
            return Ok(());
        }
        let shape = [&x.shape()[..1], self.plan.output()].concat();
        let logits = ArrayViewD::from_shape(shape, y).expect("a number for each entry");
        let (_, head) = model.layers().next_back().expect("the head is a layer");
        let p = head.forward(logits)?;
        y.iter_mut().zip(&p).for_each(|(y, &p)| *y = p);
        Ok(())
    }

    fn both_views(&mut self, model: &Sequential<E>, x: &ArrayViewD<'_, E>, y: &mut [E]) -> Result<()> {
        let mut mirrored = x.view();
        mirrored.invert_axis(Axis(2));
        for (view, output) in [x, &mirrored].into_iter().zip(&mut self.outputs) {
            output.resize(y.len(), E::zero());
            self.plan.run(model.chain(), view, output)?;
        }
        let [one, other] = &self.outputs;
        let half = E::of(0.5);
        y.iter_mut().zip(one.iter().zip(other)).for_each(|(y, (a, b))| *y = half * (*a + *b));
        Ok(())
    }
}

#[cfg(feature = "cuda")]
impl Predictor<f32> {
    /// The same on a GPU, where Softmax has no kernel: what makes probabilities is done here.
    pub fn on_gpu(model: &Sequential, count: usize, gpu: &std::sync::Arc<Gpu>) -> Result<Self> {
        let head = Self::has_head(model, count);
        let plan = CudaInference::new(gpu, model.chain(), count - usize::from(head), model.input_shape())?;
        Ok(Self::of(model, Box::new(plan), head))
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
