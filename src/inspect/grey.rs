//! A field of numbers as a grey picture.

use crate::data::Picture;
use crate::error::{Error, Result};
use ndarray::ArrayView2;

/// Numbers [H, W] as a grey picture of the same size: `range[0]` and less is black, `range[1]` and more is white. NaN is
/// black, and so is everything where the range is empty.
///
/// [`Picture::resized`] enlarges it smoothly.
///
/// ```
/// use ndarray::array;
/// let picture = tapetum::inspect::grey_picture(array![[0.0, 0.6, 2.0]].view(), [0.0, 1.0])?;
/// assert_eq!((picture.shape(), picture.rgb), ([1, 3, 3], vec![0, 0, 0, 153, 153, 153, 255, 255, 255]));
/// # Ok::<(), tapetum::Error>(())
/// ```
///
/// # Errors
/// Where there are no numbers.
pub fn grey_picture(values: ArrayView2<'_, f32>, range: [f32; 2]) -> Result<Picture> {
    let (height, width) = values.dim();
    if values.is_empty() {
        return Err(Error::shape("grey_picture", "at least one number [H, W]", values.shape()));
    }
    let [low, high] = range;
    // `as` clamps to 0..=255 and makes NaN, which 0 / 0 is, 0.
    let byte = |value: f32| (255.0 * ((value - low) / (high - low))).round() as u8;
    let rgb = values.iter().flat_map(|&value| [byte(value); 3]).collect();
    Ok(Picture { height, width, rgb })
}

/// The least and the largest of some numbers; NaN counts for nothing.
pub(super) fn range<'a>(values: impl IntoIterator<Item = &'a f32>) -> [f32; 2] {
    let wider = |[low, high]: [f32; 2], &value: &f32| [low.min(value), high.max(value)];
    values.into_iter().fold([f32::INFINITY, f32::NEG_INFINITY], wider)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn what_has_no_place_in_the_range_is_black() {
        let bytes = |values: Array2<f32>, range| grey_picture(values.view(), range).unwrap().rgb;
        assert_eq!(bytes(array![[f32::NAN], [-1.0]], [0.0, 1.0]), [0; 6]);
        assert_eq!(bytes(array![[3.0]], [3.0, 3.0]), [0; 3]);
        assert!(grey_picture(Array2::zeros((0, 3)).view(), [0.0, 1.0]).is_err());
        assert_eq!(range(&[2.0, f32::NAN, -1.0]), [-1.0, 2.0]);
    }
}
