//! y = f(x) for each number on its own, and dx = dy · f′(x).
//! x [N, …]  →  y [N, …]

use crate::element::Element;
use crate::error::Result;

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
                Ok(x.mapv(|x| self.value(x)))
            }

            fn forward_train(
                &self,
                x: ndarray::ArrayViewD<'_, E>,
                _key: $crate::Key,
            ) -> $crate::Result<(ndarray::ArrayD<E>, $crate::layers::Saved)> {
                let y = x.mapv(|x| self.value(x));
                let slopes = ndarray::Zip::from(&x).and(&y).map_collect(|&x, &y| self.slope(x, y));
                Ok((y, $crate::layers::Saved::new(slopes)))
            }

            fn backward(
                &self,
                saved: $crate::layers::Saved,
                dy: ndarray::ArrayViewD<'_, E>,
            ) -> $crate::Result<$crate::layers::Backward<E>> {
                let slopes = saved.take::<ndarray::ArrayD<E>>($at)?;
                $crate::layers::expect_gradient($at, &dy, slopes.shape())?;
                Ok($crate::layers::Backward::input_only(slopes * dy))
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
