//! From a picture's own size to the network's. The aspect ratio is not kept, as with Keras' `target_size`.
//!
//! Both filters give the very bytes that Pillow 12.3 gives, so a network from Keras sees what it saw there.
//! (Pillow resizes a picture a hundred times taller than wide, and from version 13 on others too, along the
//! columns first; the bilinear bytes then differ by 1 at most.)

use super::Picture;
use crate::error::{Error, Result};
use crate::shape::volume;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// How a picture is brought to another size.
///
/// ```
/// use tapetum::data::ResizeFilter;
/// use tapetum::prelude::*;
/// let picture = Picture { height: 1, width: 3, rgb: vec![0, 0, 0, 90, 90, 90, 30, 30, 30] };
/// assert_eq!(picture.resized(1, 1, ResizeFilter::Nearest)?.rgb, [90; 3]);
/// assert_eq!(picture.resized(1, 1, ResizeFilter::Bilinear)?.rgb, [47; 3]); // (2·0 + 3·90 + 2·30) / 7
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeFilter {
    /// Each pixel is a weighted mean of all that it covers: a triangle that grows with the reduction
    /// (anti-aliasing), as Pillow's `BILINEAR` and Keras' `interpolation="bilinear"` for picture files.
    #[default]
    Bilinear,
    /// The pixel under the centre, as Pillow's `NEAREST`: the default of Keras' `load_img`, used in the thesis.
    Nearest,
}

impl Picture {
    /// This picture at another size.
    ///
    /// ```
    /// use tapetum::data::{Picture, ResizeFilter};
    /// let picture = Picture { height: 1, width: 2, rgb: vec![0, 0, 0, 100, 200, 50] };
    /// assert_eq!(picture.resized(1, 1, ResizeFilter::Bilinear)?.rgb, [50, 100, 25]);
    /// # Ok::<(), tapetum::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where either picture would have no pixels, or `rgb` does not hold `height · width · 3` bytes.
    pub fn resized(&self, height: usize, width: usize, filter: ResizeFilter) -> Result<Picture> {
        for size in [[self.height, self.width, 3], [height, width, 3]] {
            if volume("picture", &size)? == 0 {
                return Err(Error::shape("picture", "at least one pixel [H, W, 3]", &size));
            }
        }
        let bytes = self.shape().iter().product::<usize>();
        if self.rgb.len() != bytes {
            let expected = format!("{bytes} bytes for {:?}", self.shape());
            return Err(Error::shape("picture", expected, &[self.rgb.len()]));
        }
        let rgb = match filter {
            ResizeFilter::Nearest => nearest(self, height, width),
            ResizeFilter::Bilinear => bilinear(self, height, width),
        };
        Ok(Picture { height, width, rgb })
    }
}

// y[i, j] = x[⌊(i + ½)·H/H'⌋, ⌊(j + ½)·W/W'⌋]
fn nearest(picture: &Picture, height: usize, width: usize) -> Vec<u8> {
    let columns = centres(picture.width, width);
    let mut rgb = Vec::with_capacity(height * width * 3);
    for row in centres(picture.height, height) {
        let row = &picture.rgb[row * picture.width * 3..][..picture.width * 3];
        columns.iter().for_each(|column| rgb.extend_from_slice(&row[column * 3..][..3]));
    }
    rgb
}

/// The input index under the centre of each output pixel. The position is summed up and not multiplied,
/// as in Pillow, so that rounding falls to the same side.
fn centres(input: usize, output: usize) -> Vec<usize> {
    let scale = input as f64 / output as f64;
    let mut position = 0.5 * scale;
    (0..output)
        .map(|_| {
            let index = position as usize;
            position += scale;
            index.min(input - 1)
        })
        .collect()
}

// Along the rows, then along the columns, each time rounded to bytes.
fn bilinear(picture: &Picture, height: usize, width: usize) -> Vec<u8> {
    let narrowed = match triangles(picture.width, width) {
        None => Cow::Borrowed(&picture.rgb),
        Some(taps) => {
            let rows = picture.rgb.chunks_exact(picture.width * 3);
            Cow::Owned(rows.flat_map(|row| along_row(row, &taps)).collect())
        }
    };
    match triangles(picture.height, height) {
        None => narrowed.into_owned(),
        Some(taps) => taps.iter().flat_map(|taps| across_rows(&narrowed, width * 3, taps)).collect(),
    }
}

/// The weights of one output pixel: those of the inputs `first..first + weights.len()`.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

/// Weights are whole multiples of 2⁻²², so that sums are exact and the same on every machine.
const ONE: f64 = (1 << 22) as f64;

// w[k] ∝ max(0, 1 − |k + ½ − c| / r) around the centre c, with radius r = max(1, input / output).
// None where the sizes agree: nothing to do.
fn triangles(input: usize, output: usize) -> Option<Vec<Taps>> {
    let scale = input as f64 / output as f64;
    let radius = scale.max(1.0);
    let taps = |index| {
        let centre = (index as f64 + 0.5) * scale;
        let first = (centre - radius + 0.5).max(0.0) as usize;
        let end = ((centre + radius + 0.5) as usize).min(input);
        let weight = |k| (1.0 - ((k as f64 - centre + 0.5) / radius).abs()).max(0.0);
        let sum: f64 = (first..end).map(weight).sum();
        Taps { first, weights: (first..end).map(|k| (weight(k) / sum * ONE).round() as i32).collect() }
    };
    (input != output).then(|| (0..output).map(taps).collect())
}

fn rounded(sum: i32) -> u8 {
    (sum >> 22).clamp(0, 255) as u8
}

/// ½, for rounding.
const HALF: i32 = 1 << 21;

// y[j, c] = Σₖ w[j, k] · x[first + k, c]
fn along_row(row: &[u8], outputs: &[Taps]) -> Vec<u8> {
    let pixels = row.as_chunks::<3>().0;
    let output = |taps: &Taps| {
        let mut sums = [HALF; 3];
        for (pixel, &weight) in pixels[taps.first..].iter().zip(&taps.weights) {
            (0..3).for_each(|c| sums[c] += weight * i32::from(pixel[c]));
        }
        sums.map(rounded)
    };
    outputs.iter().map(output).collect::<Vec<_>>().into_flattened()
}

// y[j, c] = Σₖ w[k] · x[first + k, j, c]
fn across_rows(pixels: &[u8], row_bytes: usize, taps: &Taps) -> Vec<u8> {
    let mut sums = vec![HALF; row_bytes];
    for (row, &weight) in pixels[taps.first * row_bytes..].chunks_exact(row_bytes).zip(&taps.weights) {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += weight * i32::from(value));
    }
    sums.into_iter().map(rounded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a small uneven picture of 5 rows and 7 columns.
    fn picture() -> Picture {
        let byte = |i: usize, j: usize, c: usize| ((17 * i * i + 31 * j * j + 7 * i * j + 40 * c) % 256) as u8;
        let pixels = (0..5).flat_map(|i| (0..7).map(move |j| (i, j)));
        let rgb = pixels.flat_map(|(i, j)| [byte(i, j, 0), byte(i, j, 1), byte(i, j, 2)]).collect();
        Picture { height: 5, width: 7, rgb }
    }

    // The numbers are Pillow 12.3's: Image.resize((3, 2), …) and, of the second, the first row of (9, 3).
    #[test]
    fn pillow_gives_the_same_bytes() {
        let resized = |height, width, filter| picture().resized(height, width, filter).unwrap().rgb;
        let smaller = [73, 100, 135, 103, 103, 142, 106, 105, 145, 119, 147, 124, 153, 112, 126, 113, 110, 150];
        assert_eq!(resized(2, 3, ResizeFilter::Bilinear), smaller);
        let smaller = [55, 95, 135, 61, 101, 141, 59, 99, 139, 205, 245, 29, 239, 23, 63, 9, 49, 89];
        assert_eq!(resized(2, 3, ResizeFilter::Nearest), smaller);
        let wider = [
            7, 47, 87, 30, 70, 110, 84, 124, 164, 116, 156, 196, 39, 79, 119, 125, 51, 91, 83, 58, 98, 59, 99, 139,
            117, 157, 197,
        ];
        assert_eq!(resized(3, 9, ResizeFilter::Bilinear)[..27], wider);
        let wider = [
            0, 40, 80, 31, 71, 111, 31, 71, 111, 124, 164, 204, 23, 63, 103, 240, 24, 64, 7, 47, 87, 7, 47, 87, 92,
            132, 172,
        ];
        assert_eq!(resized(3, 9, ResizeFilter::Nearest)[..27], wider);
    }

    #[test]
    fn the_same_size_changes_nothing_and_one_colour_stays() {
        for filter in [ResizeFilter::Bilinear, ResizeFilter::Nearest] {
            assert_eq!(picture().resized(5, 7, filter).unwrap(), picture());
            let plain = Picture { height: 97, width: 3, rgb: vec![201; 97 * 3 * 3] };
            assert_eq!(plain.resized(13, 64, filter).unwrap().rgb, vec![201; 13 * 64 * 3]);
        }
    }

    #[test]
    fn what_has_no_pixels_is_an_error() {
        let resized = |picture: Picture, height, width| picture.resized(height, width, ResizeFilter::Nearest).err();
        assert!(resized(picture(), 0, 1).is_some() && resized(picture(), 1, usize::MAX).is_some());
        assert!(resized(Picture { height: 0, width: 7, rgb: vec![] }, 1, 1).is_some());
        let message = resized(Picture { height: 6, ..picture() }, 1, 1).unwrap().to_string();
        assert_eq!(message, "picture: expected 126 bytes for [6, 7, 3], got [105]");
    }
}
