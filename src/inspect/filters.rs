//! What the first convolution looks for.

use crate::data::Picture;
use crate::error::{Error, Result};
use crate::layers::Layer;
use crate::model::Sequential;
use ndarray::{ArrayView3, ArrayViewD, Axis, Ix4};

/// The filters of a network's first convolution, w [KH, KW, C, F], as F pictures of KH × KW pixels.
///
/// Mid-grey is 0, and the largest magnitude of each filter is black or white. Of 3 channels each picture is in colour;
/// of any other number it is in grey, the mean over the channels.
///
/// ```
/// use ndarray::array;
/// use tapetum::inspect::filters;
/// use tapetum::prelude::*;
/// // An edge in the red channel: −2 on the left, +2 on the right.
/// let edge = Conv2D::from_weights(array![[[[-2.0], [0.0], [0.0]], [[2.0], [0.0], [0.0]]]], None)?;
/// let model = Sequential::from_layers([4, 4, 3], vec![Box::new(edge)])?;
/// assert_eq!(filters(&model)?[0].rgb, [0, 128, 128, 255, 128, 128]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// Where the network has no convolution.
pub fn filters(model: &Sequential) -> Result<Vec<Picture>> {
    // Only filters have four axes, also where the convolution stands inside another layer.
    let views = model.parameters().into_iter();
    let weight = views.filter_map(|(_, view): (_, ArrayViewD<'_, f32>)| view.into_dimensionality::<Ix4>().ok()).next();
    let weight = weight.ok_or_else(|| Error::data("this network has no convolution, so it has no filters"))?;
    Ok(weight.axis_iter(Axis(3)).map(picture).collect())
}

/// One filter [KH, KW, C].
fn picture(filter: ArrayView3<'_, f32>) -> Picture {
    let (height, width, channels) = filter.dim();
    let colours = match channels {
        3 => filter.to_owned(),
        _ => {
            let mean = filter.sum_axis(Axis(2)) / channels as f32;
            mean.insert_axis(Axis(2)).broadcast((height, width, 3)).expect("one channel becomes three").to_owned()
        }
    };
    let largest = colours.iter().fold(0.0, |largest: f32, weight| largest.max(weight.abs()));
    // A filter of zeros is mid-grey all over.
    let scale = if largest > 0.0 { 127.5 / largest } else { 0.0 };
    let rgb = colours.iter().map(|weight| (127.5 + scale * weight).round() as u8).collect();
    Picture { height, width, rgb }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Conv2D, Flatten, ReLU, Residual};
    use crate::shape::Padding;
    use ndarray::array;

    #[test]
    fn the_first_convolution_may_stand_inside_a_block() {
        let block = Residual::new().add(ReLU).add(Conv2D::new(3, 5).padding(Padding::Same));
        let model = Sequential::builder([8, 8, 3]).add(block).add(Conv2D::new(7, 3)).build(1).unwrap();
        let pictures = filters(&model).unwrap();
        assert_eq!((pictures.len(), pictures[0].shape()), (3, [5, 5, 3]));
    }

    #[test]
    fn other_channels_become_their_mean() {
        let conv = Conv2D::from_weights(array![[[[1.0, 0.0], [3.0, 0.0]], [[-4.0, 0.0], [2.0, 0.0]]]], None).unwrap();
        let model = Sequential::from_layers([4, 4, 2], vec![Box::new(conv)]).unwrap();
        let pictures = filters(&model).unwrap();
        assert_eq!(pictures[0].rgb, [255, 255, 255, 64, 64, 64]); // the means are 2 and −1
        assert_eq!(pictures[1].rgb, [128; 6]);
    }

    #[test]
    fn no_convolution_is_an_error() {
        let model = Sequential::builder([4, 4, 3]).add(Flatten).build(1).unwrap();
        assert!(filters(&model).unwrap_err().to_string().contains("no convolution"));
    }
}
