//! Dense ↔ Conv2D (thesis 3.10.1): both are dot products; only which inputs a neuron sees, and which neurons
//! share their weights, differs.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::layers::{Conv2D, Dense, Layer};
use crate::shape::volume;
use ndarray::Array2;

/// The convolution that gives, on pictures [H, W, C], what `dense` gives on the flattened picture.
///
/// Its filters are as large as the picture: y [N, 1, 1, F]. On larger pictures it looks for the same thing
/// everywhere.
///
/// ```
/// use ndarray::{Array, array};
/// use tapetum::model::conv2d_from_dense;
/// use tapetum::prelude::*;
/// let dense = Dense::from_weights(array![[1.0], [2.0], [3.0], [4.0]], Some(array![0.5]))?;
/// let conv = conv2d_from_dense(&dense, [2, 2, 1])?;
/// let x = Array::from_vec(vec![1.0, 1.0, 10.0, 10.0]);
/// let y = conv.forward(x.to_shape([1, 2, 2, 1]).unwrap().into_dyn().view())?;
/// assert_eq!(y, array![[[[73.5]]]].into_dyn());
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// Where `dense` has no weights yet or does not have H·W·C inputs.
pub fn conv2d_from_dense<E: Element>(dense: &Dense<E>, picture: [usize; 3]) -> Result<Conv2D<E>> {
    let weight = dense.weight().ok_or_else(|| Error::NotBuilt { at: "dense".into() })?;
    let [h, w, c] = picture;
    let (inputs, filters) = weight.dim();
    if volume("conv2d_from_dense", &picture)? != inputs {
        return Err(Error::shape("conv2d_from_dense", format!("a picture of {inputs} numbers"), &picture));
    }
    // Flatten walks a picture by rows, columns and channels: [H·W·C, F] is [H, W, C, F] already.
    let weight = weight.to_shape([h, w, c, filters]).expect("H·W·C is the number of inputs").into_owned();
    Conv2D::from_weights(weight, dense.bias().cloned())
}

/// The dense layer that gives, on the flattened picture, what `conv` gives on pictures [H, W, C], flattened.
///
/// Its matrix [H·W·C, OH·OW·F] is mostly zero, and holds the same weights once for each window: the picture of
/// what local connectivity and sharing save. Every column is the response to one input, as the layer itself gives
/// it, so that any stride, padding, dilation and grouping is right.
///
/// # Errors
/// Where `conv` has no weights yet, or does not fit the picture, or the matrix would not fit in memory.
pub fn dense_from_conv2d<E: Element>(conv: &Conv2D<E>, picture: [usize; 3]) -> Result<Dense<E>> {
    let output = conv.output_shape(&picture)?;
    let (inputs, outputs) = (volume("dense_from_conv2d", &picture)?, volume("dense_from_conv2d", &output)?);
    volume("dense_from_conv2d", &[inputs, outputs])?;
    let [h, w, c] = picture;
    let zeros = ndarray::Array4::<E>::zeros([1, h, w, c]).into_dyn();
    // The response to nothing is the bias, at every window.
    let bias = conv.forward(zeros.view())?.into_flat();
    let mut weight = Array2::zeros([inputs, outputs]);
    for (input, mut row) in weight.rows_mut().into_iter().enumerate() {
        let mut x = zeros.clone();
        x.as_slice_mut().expect("zeros are in standard layout")[input] = E::one();
        row.assign(&(conv.forward(x.view())?.into_flat() - &bias));
    }
    Dense::from_weights(weight, conv.bias().is_some().then_some(bias))
}
