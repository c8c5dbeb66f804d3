//! Where in a picture an answer comes from (Selvaraju et al., Grad-CAM, arXiv:1610.02391).
//!
//! A [1, H, W, C] is the output of one layer, y the logit of the class in question.
//!
//! α_k = 1/(H·W) · Σ_{i,j} ∂y/∂A_ijk  (eq. 1)     map_ij = max(0, Σ_k α_k · A_ijk)  (eq. 2)
//!
//! The map is then divided by its largest number.

use super::pullback::through;
use crate::error::{Error, Result};
use crate::layers::Layer;
use crate::model::Sequential;
use ndarray::{Array2, ArrayD, ArrayViewD, Axis, Ix2, Ix3};

/// Where in the picture x [1, H, W, C] the network sees `class`: a map [h, w] of numbers from 0 to 1, of the size of the
/// last layer that still shows a picture, [`last_picture`].
///
/// What is followed back is the class's logit, so a Sigmoid or Softmax at the end is left out. A single output is the
/// logit of class 1; that of class 0 is its negative. All layers do what they do in [`predict`](Sequential::predict):
/// BatchNorm with its moving statistics, and nothing dropped out. A layer of your own is taken to do the same in
/// training as in inference.
///
/// Where nothing speaks for the class the map is 0 all over. [`grey_picture`](super::grey_picture) and
/// [`Picture::resized`](crate::data::Picture::resized) bring it to the picture's size.
///
/// ```
/// use ndarray::{Array4, array};
/// use tapetum::inspect::grad_cam;
/// use tapetum::prelude::*;
/// // Red speaks for class 1, green against it.
/// let colours = Conv2D::from_weights(array![[[[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]]], None)?;
/// let vote = Dense::from_weights(array![[1.0], [-1.0]], None)?;
/// let layers: Vec<Box<dyn Layer<f32>>> =
///     vec![Box::new(colours), Box::new(GlobalAveragePool2D), Box::new(vote), Box::new(Sigmoid)];
/// let model = Sequential::from_layers([2, 2, 3], layers)?;
/// let mut x = Array4::zeros([1, 2, 2, 3]);
/// x[[0, 0, 1, 0]] = 1.0; // red on the top right
/// x[[0, 1, 0, 1]] = 1.0; // green on the bottom left
/// assert_eq!(grad_cam(&model, x.view().into_dyn(), 1)?, array![[0.0, 1.0], [0.0, 0.0]]);
/// assert_eq!(grad_cam(&model, x.view().into_dyn(), 0)?, array![[0.0, 0.0], [1.0, 0.0]]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// Where x is not one input of this network, no layer shows a picture, or there is no such class.
pub fn grad_cam(model: &Sequential, x: ArrayViewD<'_, f32>, class: usize) -> Result<Array2<f32>> {
    grad_cam_at(model, last_picture(model)?, x, class)
}

/// The same of another layer than the last picture: earlier layers show more detail, and know less of the class.
///
/// ```
/// use tapetum::inspect::{grad_cam_at, last_picture};
/// use tapetum::prelude::*;
/// let model = Sequential::builder([8, 8, 3])
///     .add(Conv2D::new(4, 3))
///     .add(ReLU)
///     .add(MaxPool2D::new(2))
///     .add(Flatten)
///     .add(Dense::new(2))
///     .add(Softmax)
///     .build(1)?;
/// assert_eq!(last_picture(&model)?, "maxpool2d_1"); // [3, 3, 4]
/// let map = grad_cam_at(&model, "relu_1", ndarray::Array4::ones([1, 8, 8, 3]).into_dyn().view(), 0)?;
/// assert_eq!(map.dim(), (6, 6));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`grad_cam`]; also where there is no such layer, or its output is no picture.
pub fn grad_cam_at(model: &Sequential, layer: &str, x: ArrayViewD<'_, f32>, class: usize) -> Result<Array2<f32>> {
    model.expect_input(&x)?;
    if x.shape()[0] != 1 {
        return Err(Error::shape("grad_cam", "one picture [1, H, W, C]", x.shape()));
    }
    let dy = logit(model, class)?;
    let layers: Vec<(&str, &dyn Layer<f32>)> = model.layers().collect();
    let pictures = pictures(model);
    let place = pictures.iter().find(|&&place| layers[place].0 == layer).ok_or_else(|| {
        let known = pictures.iter().map(|&place| layers[place].0.to_string()).collect();
        Error::UnknownName { what: "layer that shows a picture", name: layer.to_string(), known }
    })?;
    let squashed = layers.last().is_some_and(|(_, last)| matches!(last.kind(), "Sigmoid" | "Softmax"));
    let (below, above) = layers.split_at(place + 1);
    let (a, _) = through(below.iter().copied(), x.to_owned())?;
    let (_, back) = through(above[..above.len() - usize::from(squashed)].iter().copied(), a.clone())?;
    Ok(weighted(a, back(dy)?))
}

/// The name of the last layer whose output is a picture [H, W, C] of more than one pixel.
///
/// See [`grad_cam_at`] for an example.
///
/// # Errors
/// Where there is none.
pub fn last_picture(model: &Sequential) -> Result<&str> {
    let last = pictures(model).last().and_then(|&place| model.layers().nth(place));
    last.map(|(name, _)| name).ok_or_else(|| Error::data("no layer of this network gives a picture [H, W, C]"))
}

/// The places of the layers that show more than one pixel.
fn pictures(model: &Sequential) -> Vec<usize> {
    let rows = model.summary().rows.into_iter().enumerate();
    rows.filter(|(_, row)| matches!(row.output[..], [h, w, _] if h * w > 1)).map(|(place, _)| place).collect()
}

/// ∂y/∂logits [1, K]
fn logit(model: &Sequential, class: usize) -> Result<ArrayD<f32>> {
    let &[outputs] = model.output_shape() else {
        return Err(Error::shape("grad_cam", "a network with outputs [K]", model.output_shape()));
    };
    let classes = outputs.max(2);
    if class >= classes {
        return Err(Error::argument("grad_cam", "class", format!("below {classes}"), class));
    }
    let mut dy = ArrayD::zeros(vec![1, outputs]);
    match (outputs, class) {
        (1, 0) => dy.fill(-1.0),
        (1, _) => dy.fill(1.0),
        _ => dy[[0, class]] = 1.0,
    }
    Ok(dy)
}

// a, da [1, H, W, C]  →  map [H, W]
fn weighted(a: ArrayD<f32>, da: ArrayD<f32>) -> Array2<f32> {
    let [a, da] = [a, da].map(|array| {
        let picture = array.index_axis_move(Axis(0), 0);
        picture.into_dimensionality::<Ix3>().expect("the layer was chosen for its picture")
    });
    let pixels = (a.dim().0 * a.dim().1) as f32;
    let alpha = da.sum_axis(Axis(0)).sum_axis(Axis(0)) / pixels;
    // NaN is not below 0, and stays.
    let map = (a * &alpha).sum_axis(Axis(2)).mapv(|sum| if sum < 0.0 { 0.0 } else { sum });
    let largest = map.iter().fold(0.0, |largest: f32, &value| largest.max(value));
    let map = if largest > 0.0 { map / largest } else { map };
    map.into_dimensionality::<Ix2>().expect("the channels are summed up")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{BatchNorm, Conv2D, Dense, Flatten, GlobalAveragePool2D, MaxPool2D, ReLU, Sigmoid, Softmax};
    use crate::random::Key;
    use ndarray::{Array4, array};

    fn noise(shape: [usize; 4]) -> ArrayD<f32> {
        let mut random = Key::new(2).stream();
        ArrayD::from_shape_simple_fn(shape.to_vec(), || random.unit() as f32)
    }

    // Equations 1 and 2, with the gradient of the logits taken numerically from the layers above.
    #[test]
    fn it_is_the_paper_s_formula() {
        let body = Sequential::builder([9, 9, 3]).add(Conv2D::new(5, 3)).add(ReLU).add(MaxPool2D::new(2));
        let mut model = body.add(BatchNorm::new()).add(Flatten).add(Dense::new(3)).add(Softmax).build(1).unwrap();
        model.set("batchnorm_1.moving_variance", array![0.5, 2.0, 1.0, 0.1, 3.0].into_dyn().view()).unwrap();
        let x = noise([1, 9, 9, 3]);
        let layers: Vec<_> = model.layers().map(|(_, layer)| layer.clone_box()).collect();
        let below = Sequential::from_layers([9, 9, 3], layers[..2].to_vec()).unwrap();
        let above = Sequential::from_layers([7, 7, 5], layers[2..6].to_vec()).unwrap();
        let a = below.predict(x.view()).unwrap();
        let y = |a: &ArrayD<f32>| above.predict(a.view()).unwrap()[[0, 2]];
        let mut sum = Array2::<f32>::zeros((7, 7));
        for k in 0..5 {
            // All pixels of a channel moved together: the sum of their gradients.
            let moved = |step: f32| {
                let mut a = a.clone();
                a.index_axis_mut(Axis(3), k).mapv_inplace(|value| value + step);
                y(&a)
            };
            let alpha = (moved(0.002) - moved(-0.002)) / 0.004 / 49.0;
            sum.indexed_iter_mut().for_each(|((i, j), sum)| *sum += alpha * a[[0, i, j, k]]);
        }
        let largest = sum.iter().copied().fold(0.0, f32::max);
        assert!(largest > 0.0, "a test of nothing");
        let map = grad_cam_at(&model, "relu_1", x.view(), 2).unwrap();
        for (found, sum) in map.iter().zip(&sum) {
            assert!((found - (sum / largest).max(0.0)).abs() < 2e-3, "{found} {}", sum / largest);
        }
    }

    #[test]
    fn it_lights_where_the_answer_is() {
        // Bright on the top left only, and brightness is the answer.
        let conv = Conv2D::from_weights(Array4::from_elem([3, 3, 3, 1], 0.1), None).unwrap();
        let vote = Dense::from_weights(array![[1.0]], None).unwrap();
        let layers: Vec<Box<dyn Layer<f32>>> =
            vec![Box::new(conv), Box::new(GlobalAveragePool2D), Box::new(vote), Box::new(Sigmoid)];
        let model = Sequential::from_layers([12, 12, 3], layers).unwrap();
        let mut x = Array4::<f32>::zeros([1, 12, 12, 3]);
        x.slice_mut(ndarray::s![0, ..4, ..4, ..]).fill(1.0);
        let map = grad_cam(&model, x.view().into_dyn(), 1).unwrap();
        assert_eq!((map.dim(), map[[0, 0]], map[[1, 1]], map[[4, 4]], map[[9, 9]]), ((10, 10), 1.0, 1.0, 0.0, 0.0));
        assert!(grad_cam(&model, x.view().into_dyn(), 0).unwrap().iter().all(|&value| value == 0.0));
        x[[0, 6, 6, 0]] = f32::NAN;
        let map = grad_cam(&model, x.view().into_dyn(), 1).unwrap();
        assert!(map[[6, 6]].is_nan() && map[[0, 0]] == 1.0);
    }

    #[test]
    fn what_cannot_be_shown_is_an_error() {
        let model = Sequential::builder([6, 6, 3]).add(Conv2D::new(2, 3)).add(Flatten).add(Dense::new(1)).build(1);
        let model = model.unwrap();
        let told = |layer, samples, class| {
            grad_cam_at(&model, layer, noise([samples, 6, 6, 3]).view(), class).unwrap_err().to_string()
        };
        assert_eq!(told("conv2d_1", 1, 2), "grad_cam: class must be below 2, got 2");
        assert_eq!(told("conv2d_1", 2, 0), "grad_cam: expected one picture [1, H, W, C], got [2, 6, 6, 3]");
        assert_eq!(told("dense_1", 1, 0), "no layer that shows a picture named \"dense_1\"; there is conv2d_1");
        let flat = Sequential::builder([6, 6, 3]).add(Flatten).add(Dense::new(1)).build(1).unwrap();
        assert!(grad_cam(&flat, noise([1, 6, 6, 3]).view(), 0).is_err());
        let open = Sequential::builder([6, 6, 3]).add(Conv2D::new(2, 3)).build(1).unwrap();
        assert!(grad_cam(&open, noise([1, 6, 6, 3]).view(), 0).is_err());
    }
}
