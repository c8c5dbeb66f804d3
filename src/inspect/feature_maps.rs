//! What every layer makes of a picture, as long as it is one (thesis, figures 5 to 7).

use super::grey::{grey_picture, range};
use crate::data::Picture;
use crate::error::{Error, Result};
use crate::model::Sequential;
use ndarray::{Array4, ArrayViewD, Ix4, s};

/// The output of one layer.
///
/// See [`feature_maps`] for an example.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureMaps {
    /// The layer's name, as in `conv2d_1`.
    pub layer: String,
    /// Its kind, as in `Conv2D`.
    pub kind: &'static str,
    /// [N, H, W, C]
    pub maps: Array4<f32>,
}

impl FeatureMaps {
    /// One channel of one sample in grey: its least number is black, its largest white. A map of one number is black.
    ///
    /// # Errors
    /// Where there is no such sample or channel.
    pub fn picture(&self, sample: usize, channel: usize) -> Result<Picture> {
        let [samples, _, _, channels] = *self.maps.shape() else { unreachable!("four axes") };
        for (argument, asked, count) in [("sample", sample, samples), ("channel", channel, channels)] {
            if asked >= count {
                return Err(Error::argument(&self.layer, argument, format!("below {count}"), asked));
            }
        }
        let map = self.maps.slice(s![sample, .., .., channel]);
        grey_picture(map, range(map))
    }
}

/// The outputs of all layers for x [N, H, W, C], in their order, as long as they are pictures [H, W, C].
///
/// ```
/// use tapetum::inspect::feature_maps;
/// use tapetum::prelude::*;
/// let model = Sequential::builder([8, 8, 3])
///     .add(Conv2D::new(4, 3))
///     .add(MaxPool2D::new(2))
///     .add(Flatten)
///     .add(Dense::new(1))
///     .build(1)?;
/// let maps = feature_maps(&model, ndarray::Array4::ones([1, 8, 8, 3]).into_dyn().view())?;
/// assert_eq!((maps[0].layer.as_str(), maps[0].maps.shape()), ("conv2d_1", &[1, 6, 6, 4][..]));
/// assert_eq!(maps[1].picture(0, 3)?.shape(), [3, 3, 3]); // after pooling, the last of four channels, in grey
/// assert_eq!(maps.len(), 2); // what follows is no picture
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// Where x is no input of this network.
pub fn feature_maps(model: &Sequential, x: ArrayViewD<'_, f32>) -> Result<Vec<FeatureMaps>> {
    model.expect_input(&x)?;
    let mut shown = Vec::new();
    let mut y = x.to_owned();
    for (name, layer) in model.layers() {
        y = layer.forward(y.view()).map_err(|error| error.of_layer(layer.kind(), name))?;
        if let Ok(maps) = y.view().into_dimensionality::<Ix4>() {
            shown.push(FeatureMaps { layer: name.to_string(), kind: layer.kind(), maps: maps.to_owned() });
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{BatchNorm, Conv2D, Dense, Flatten, MaxPool2D, ReLU, Sigmoid};
    use ndarray::{ArrayD, array};

    // The pixels 1 to 4 through y = 2x − 5, ReLU and pooling, by hand.
    #[test]
    fn every_layer_shows_what_it_made() {
        let conv = Conv2D::from_weights(array![[[[2.0]]]], Some(array![-5.0])).unwrap();
        let dense = Dense::from_weights(array![[1.0]], None).unwrap();
        let layers: Vec<Box<dyn crate::layers::Layer<f32>>> = vec![
            Box::new(conv),
            Box::new(ReLU),
            Box::new(MaxPool2D::new(2)),
            Box::new(Flatten),
            Box::new(dense),
            Box::new(Sigmoid),
        ];
        let model = Sequential::from_layers([2, 2, 1], layers).unwrap();
        let x = array![[[[1.0], [2.0]], [[3.0], [4.0]]]].into_dyn();
        let maps = feature_maps(&model, x.view()).unwrap();
        let found: Vec<_> = maps.iter().map(|of| (of.layer.as_str(), of.maps.iter().copied().collect())).collect();
        let expected = [
            ("conv2d_1", vec![-3.0, -1.0, 1.0, 3.0]),
            ("relu_1", vec![0.0, 0.0, 1.0, 3.0]),
            ("maxpool2d_1", vec![3.0]),
        ];
        assert_eq!(found, expected);
        let grey: Vec<u8> = maps[0].picture(0, 0).unwrap().rgb.into_iter().step_by(3).collect();
        assert_eq!(grey, [0, 85, 170, 255]);
        assert_eq!(maps[2].picture(0, 0).unwrap().rgb, [0; 3]);
    }

    #[test]
    fn they_are_those_of_inference() {
        let model = Sequential::builder([3, 3, 2]).add(BatchNorm::new().epsilon(0.0)).build(1).unwrap();
        let x = ArrayD::from_elem(vec![2, 3, 3, 2], 7.0);
        assert_eq!(feature_maps(&model, x.view()).unwrap()[0].maps.clone().into_dyn(), x);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let model = Sequential::builder([4, 4, 3]).add(Conv2D::new(2, 3)).build(1).unwrap();
        assert!(feature_maps(&model, ArrayD::zeros(vec![4, 4, 3]).view()).is_err());
        let maps = feature_maps(&model, ArrayD::zeros(vec![1, 4, 4, 3]).view()).unwrap();
        let told = |sample, channel| maps[0].picture(sample, channel).unwrap_err().to_string();
        assert_eq!(told(0, 2), "conv2d_1: channel must be below 2, got 2");
        assert_eq!(told(1, 0), "conv2d_1: sample must be below 1, got 1");
        let none = feature_maps(&model, ArrayD::zeros(vec![0, 4, 4, 3]).view()).unwrap();
        assert!(none[0].picture(0, 0).is_err());
    }
}
