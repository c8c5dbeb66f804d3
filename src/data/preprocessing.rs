//! What is done to every picture before the network sees it. A model carries it in its file, so that
//! prediction cannot forget it (the thesis' listing forgets to rescale).

use super::{Picture, ResizeFilter};
use crate::error::{Error, Result};
use crate::shape::volume;
use ndarray::{ArrayD, IxDyn};
use serde::{Deserialize, Serialize};

/// From a picture of any size to a sample [H, W, 3]: resized, then every byte times `rescale`.
///
/// ```
/// use tapetum::data::{Picture, Preprocessing};
/// let white = Picture { height: 30, width: 40, rgb: vec![255; 30 * 40 * 3] };
/// let sample = Preprocessing::new(64, 64).sample(&white)?;
/// assert_eq!(sample.shape(), [64, 64, 3]);
/// assert_eq!(sample[[63, 63, 2]], 1.0);
/// # Ok::<(), tapetum::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// H, the rows of a sample.
    pub height: usize,
    /// W, the columns of a sample.
    pub width: usize,
    /// How pictures of another size are resized.
    pub filter: ResizeFilter,
    /// The factor from bytes to the network's numbers: 1/255 gives [0, 1], 1 leaves them in [0, 255].
    pub rescale: f32,
}

impl Preprocessing {
    /// To `height` × `width`, bilinear, values in [0, 1].
    pub fn new(height: usize, width: usize) -> Self {
        Self { height, width, filter: ResizeFilter::default(), rescale: 1.0 / 255.0 }
    }

    /// Resized in another way.
    pub fn filter(mut self, filter: ResizeFilter) -> Self {
        self.filter = filter;
        self
    }

    /// With another factor than 1/255.
    pub fn rescale(mut self, factor: f32) -> Self {
        self.rescale = factor;
        self
    }

    /// [H, W, 3]
    pub fn sample_shape(&self) -> [usize; 3] {
        [self.height, self.width, 3]
    }

    /// How many numbers a sample has.
    ///
    /// # Errors
    /// Where the size is zero or beyond memory, or the factor is not finite.
    pub(super) fn sample_volume(&self) -> Result<usize> {
        if !self.rescale.is_finite() {
            return Err(Error::argument("preprocessing", "rescale", "finite", self.rescale));
        }
        match volume("preprocessing", &self.sample_shape())? {
            0 => Err(Error::shape("preprocessing", "a height and width of at least 1", &self.sample_shape())),
            volume => Ok(volume),
        }
    }

    /// The picture at the network's size, still in bytes.
    ///
    /// # Errors
    /// Where the picture or the size has no pixels.
    pub fn resize(&self, picture: &Picture) -> Result<Picture> {
        self.sample_volume()?;
        picture.resized(self.height, self.width, self.filter)
    }

    /// The picture as a sample [H, W, 3].
    ///
    /// # Errors
    /// Where the picture or the size has no pixels.
    pub fn sample(&self, picture: &Picture) -> Result<ArrayD<f32>> {
        let mut sample = vec![0.0; self.sample_volume()?];
        self.convert(&self.resize(picture)?.rgb, &mut sample);
        Ok(ArrayD::from_shape_vec(IxDyn(&self.sample_shape()), sample).expect("H·W·3 numbers were made"))
    }

    /// Bytes to numbers: out = byte · rescale. Overwrites `out`.
    pub(super) fn convert(&self, bytes: &[u8], out: &mut [f32]) {
        out.iter_mut().zip(bytes).for_each(|(out, &byte)| *out = f32::from(byte) * self.rescale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_numbers() {
        let picture = Picture { height: 1, width: 2, rgb: vec![0, 51, 255, 102, 1, 254] };
        let sample = Preprocessing::new(1, 2).sample(&picture).unwrap();
        let factor = 1.0 / 255.0;
        let expected = [0.0, 51.0 * factor, 1.0, 102.0 * factor, factor, 254.0 * factor];
        assert_eq!(sample.into_raw_vec_and_offset().0, expected);
        let sample = Preprocessing::new(1, 2).rescale(1.0).sample(&picture).unwrap();
        assert_eq!(sample.into_raw_vec_and_offset().0, [0.0, 51.0, 255.0, 102.0, 1.0, 254.0]);
    }

    #[test]
    fn what_makes_no_sample_is_an_error() {
        let picture = Picture { height: 1, width: 1, rgb: vec![1, 2, 3] };
        assert!(Preprocessing::new(0, 5).sample(&picture).is_err());
        assert!(Preprocessing::new(usize::MAX, 5).sample(&picture).is_err());
        assert!(Preprocessing::new(1, 1).rescale(f32::NAN).sample(&picture).is_err());
        assert!(Preprocessing::new(1, 1).sample(&Picture { height: 2, ..picture }).is_err());
    }

    #[test]
    fn it_survives_a_model_file() {
        let preprocessing = Preprocessing::new(48, 64).filter(ResizeFilter::Nearest).rescale(0.5);
        let json = serde_json::to_string(&preprocessing).unwrap();
        assert_eq!(json, r#"{"height":48,"width":64,"filter":"nearest","rescale":0.5}"#);
        assert_eq!(serde_json::from_str::<Preprocessing>(&json).unwrap(), preprocessing);
    }
}
