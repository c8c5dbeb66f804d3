//! y = f(x) for each number on its own, and dx = dy · f′(x).
//! x [N, …]  →  y [N, …]

use super::{entries, entries_mut, standard};
use crate::element::Element;
use crate::error::Result;
use crate::kernels::cpu::elementwise;
use ndarray::{ArrayD, ArrayViewD};

/// The mathematics of an activation; [`elementwise_layer`] makes a layer of it.
pub(super) trait Elementwise {
    /// y = f(x). NaN gives NaN.
    fn value<E: Element>(&self, x: E) -> E;

    /// f′(x), in x or in y = f(x), whichever is simpler.
    fn slope<E: Element>(&self, x: E, y: E) -> E;

    /// An error where a setting makes no sense.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// y = f(x)
pub(super) fn map<E: Element>(x: ArrayViewD<'_, E>, f: impl Fn(E) -> E + Sync) -> ArrayD<E> {
    let mut y = ArrayD::zeros(x.raw_dim());
    elementwise::update(entries_mut(&mut y), entries(&x.as_standard_layout()), |_, x| f(x));
    y
}

/// y = f(x), in `x`'s stead f′(x)
pub(super) fn map_train<E: Element, A: Elementwise + Sync>(layer: &A, x: ArrayD<E>) -> [ArrayD<E>; 2] {
    let (mut y, mut x) = (ArrayD::zeros(x.raw_dim()), standard(x));
    elementwise::update_both(entries_mut(&mut y), entries_mut(&mut x), |x| {
        let y = layer.value(x);
        (y, layer.slope(x, y))
    });
    [y, x]
}

/// dx = dy · f′(x), in the slopes' memory
pub(super) fn multiply<E: Element>(mut slopes: ArrayD<E>, dy: ArrayViewD<'_, E>) -> ArrayD<E> {
    elementwise::update(entries_mut(&mut slopes), entries(&dy.as_standard_layout()), |slope, dy| slope * dy);
    slopes
}

/// Implements [`Layer`](super::Layer) for an [`Elementwise`] type. Training keeps f′(x).
macro_rules! elementwise_layer {
    ($layer:ident, $at:literal) => {
        impl<E: $crate::element::Element> $crate::layers::Layer<E> for $layer {
            fn kind(&self) -> &'static str {
                stringify!($layer)
            }

            fn output_shape(&self, input: &[usize]) -> $crate::Result<Vec<usize>> {
                self.check().map(|()| input.to_vec())
            }

            fn forward(&self, x: ndarray::ArrayViewD<'_, E>) -> $crate::Result<ndarray::ArrayD<E>> {
                Ok($crate::layers::elementwise::map(x, |x| self.value(x)))
            }

            fn forward_train(
                &self,
                x: ndarray::ArrayViewD<'_, E>,
                key: $crate::Key,
            ) -> $crate::Result<(ndarray::ArrayD<E>, $crate::layers::Saved)> {
                <Self as $crate::layers::Layer<E>>::forward_train_owned(self, x.to_owned(), key)
            }

            fn forward_train_owned(
                &self,
                x: ndarray::ArrayD<E>,
                _key: $crate::Key,
            ) -> $crate::Result<(ndarray::ArrayD<E>, $crate::layers::Saved)> {
                let [y, slopes] = $crate::layers::elementwise::map_train(self, x);
                Ok((y, $crate::layers::Saved::new(slopes)))
            }

            fn backward(
                &self,
                saved: $crate::layers::Saved,
                dy: ndarray::ArrayViewD<'_, E>,
            ) -> $crate::Result<$crate::layers::Backward<E>> {
                let slopes = saved.take::<ndarray::ArrayD<E>>($at)?;
                $crate::layers::expect_gradient($at, &dy, slopes.shape())?;
                Ok($crate::layers::Backward::input_only($crate::layers::elementwise::multiply(slopes, dy)))
            }

            fn config(&self) -> serde_json::Value {
                $crate::layers::config_of(self)
            }

            fn clone_box(&self) -> Box<dyn $crate::layers::Layer<E>> {
                Box::new(self.clone())
            }
        }
    };
}
pub(super) use elementwise_layer;
