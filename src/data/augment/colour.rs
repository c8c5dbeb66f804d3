//! y = g + s · (x − g)    g = 0.299·R + 0.587·G + 0.114·B of each pixel      (saturation s; ITU-R BT.601)
//! y = m + c · (x − m)    m = the mean of all values                         (contrast c)
//!
//! On the scale 0 to 255; what leaves it is clipped. Pictures are [H, W, C], changed in place.

/// Moves colours away from their grey; pictures without three channels stay as they are.
pub(super) fn saturate(s: f32, [_, _, channels]: [usize; 3], picture: &mut [f32]) {
    if s == 1.0 || channels != 3 {
        return;
    }
    for pixel in picture.as_chunks_mut::<3>().0 {
        let grey = 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
        *pixel = pixel.map(|x| (grey + s * (x - grey)).clamp(0.0, 255.0));
    }
}

/// Moves values away from their mean.
pub(super) fn stretch(c: f32, picture: &mut [f32]) {
    if c == 1.0 || picture.is_empty() {
        return;
    }
    let mean = (picture.iter().map(|&x| f64::from(x)).sum::<f64>() / picture.len() as f64) as f32;
    picture.iter_mut().for_each(|x| *x = (mean + c * (*x - mean)).clamp(0.0, 255.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_saturation_is_grey_and_more_stays_on_the_scale() {
        let picture = [200.0, 100.0, 50.0, 10.0, 10.0, 10.0];
        let with = |s| {
            let mut picture = picture;
            saturate(s, [1, 2, 3], &mut picture);
            picture
        };
        let grey = 0.299 * 200.0 + 0.587 * 100.0 + 0.114 * 50.0;
        approx::assert_abs_diff_eq!(with(0.0)[..], [grey, grey, grey, 10.0, 10.0, 10.0][..], epsilon = 1e-4);
        assert_eq!(with(1.0), picture);
        assert!(with(10.0) == [255.0, 0.0, 0.0, 10.0, 10.0, 10.0] && with(0.5)[0] == grey + 0.5 * (200.0 - grey));
    }

    #[test]
    fn contrast_keeps_the_mean() {
        let with = |c| {
            let mut picture = [100.0, 110.0, 130.0, 140.0];
            stretch(c, &mut picture);
            picture
        };
        assert_eq!((with(0.0), with(2.0)), ([120.0; 4], [80.0, 100.0, 140.0, 160.0]));
        assert_eq!((with(1.0), with(100.0)), ([100.0, 110.0, 130.0, 140.0], [0.0, 0.0, 255.0, 255.0]));
    }
}
