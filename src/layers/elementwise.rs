//! y = f(x) for each number on its own, and dx = dy · f′(x).
//! x [N, …]  →  y [N, …]

use crate::element::Element;
use crate::error::Result;
use ndarray::{ArrayD, ArrayViewD, Zip};

/// From so many numbers on, threads share the work; each number is on its own, so that no bit depends on it.
const PARALLEL: usize = 1 << 15;

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
pub(super) fn map<E: Element>(x: &ArrayViewD<'_, E>, f: impl Fn(E) -> E + Sync) -> ArrayD<E> {
    match x.len() < PARALLEL {
        true => x.mapv(f),
        false => Zip::from(x).par_map_collect(|&x| f(x)),
    }
}

/// x ← f(x, other)
pub(super) fn update<E: Element>(x: &mut ArrayD<E>, other: &ArrayViewD<'_, E>, f: impl Fn(E, E) -> E + Sync) {
    let pairs = Zip::from(x).and(other);
    match other.len() < PARALLEL {
        true => pairs.for_each(|x, &other| *x = f(*x, other)),
        false => pairs.par_for_each(|x, &other| *x = f(*x, other)),
    }
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
                Ok($crate::layers::elementwise::map(&x, |x| self.value(x)))
            }

            fn forward_train(
                &self,
                x: ndarray::ArrayViewD<'_, E>,
                key: $crate::Key,
            ) -> $crate::Result<(ndarray::ArrayD<E>, $crate::layers::Saved)> {
                <Self as $crate::layers::Layer<E>>::forward_train_owned(self, x.to_owned(), key)
            }

            // x becomes f′(x), for `backward` to multiply in place.
            fn forward_train_owned(
                &self,
                mut x: ndarray::ArrayD<E>,
                _key: $crate::Key,
            ) -> $crate::Result<(ndarray::ArrayD<E>, $crate::layers::Saved)> {
                let y = $crate::layers::elementwise::map(&x.view(), |x| self.value(x));
                $crate::layers::elementwise::update(&mut x, &y.view(), |x, y| self.slope(x, y));
                Ok((y, $crate::layers::Saved::new(x)))
            }

            fn backward(
                &self,
                saved: $crate::layers::Saved,
                dy: ndarray::ArrayViewD<'_, E>,
            ) -> $crate::Result<$crate::layers::Backward<E>> {
                let mut dx = saved.take::<ndarray::ArrayD<E>>($at)?;
                $crate::layers::expect_gradient($at, &dy, dx.shape())?;
                $crate::layers::elementwise::update(&mut dx, &dy, |slope, dy| slope * dy);
                Ok($crate::layers::Backward::input_only(dx))
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
