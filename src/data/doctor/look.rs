//! What is kept of a picture once it was read: a kilobyte.

use super::FindingKind;
use super::likeness::Fingerprint;
use crate::data::{DecodeLimits, Picture, decode};
use crate::error::Result;
use image::ImageFormat;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

/// One picture.
pub(super) struct Look {
    pub height: usize,
    pub width: usize,
    /// What the content is, whatever the name says.
    pub format: Option<ImageFormat>,
    /// A digest of the file's bytes. Two of 25,000 different files agree in one case of 10¹⁰.
    pub file: u64,
    /// A digest of the height, the width and the pixels.
    pub pixels: u64,
    /// The standard deviation of that colour that varies most, in 0..=127.5.
    pub contrast: f64,
    pub fingerprint: Fingerprint,
}

/// Why a file gives no picture.
pub(super) struct Failure {
    pub kind: FindingKind,
    pub reason: String,
}

impl Look {
    pub fn at(path: &Path, limits: &DecodeLimits) -> std::result::Result<Self, Failure> {
        let failure = |reason: decode::Reason| Failure {
            kind: if reason.is::<io::Error>() { FindingKind::Unreadable } else { FindingKind::Damaged },
            reason: reason.to_string(),
        };
        let bytes = decode::read(path, limits).map_err(failure)?;
        let decoded = decode::decode(&bytes, limits).map_err(failure)?;
        Self::of(&decoded.picture, &bytes).map_err(|error| failure(error.into()))
    }

    /// What is kept of a picture that these bytes hold.
    pub fn of(picture: &Picture, bytes: &[u8]) -> Result<Self> {
        Ok(Self {
            height: picture.height,
            width: picture.width,
            format: decode::format(bytes),
            file: digest(bytes),
            pixels: digest((picture.shape(), &picture.rgb)),
            contrast: contrast(&picture.rgb),
            fingerprint: Fingerprint::of(picture)?,
        })
    }
}

fn digest(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

// max over the colours of √(E[x²] − E[x]²), from exact sums
fn contrast(rgb: &[u8]) -> f64 {
    let mut sums = [[0u64; 2]; 3];
    for pixel in rgb.as_chunks::<3>().0 {
        for ([sum, squares], value) in sums.iter_mut().zip(pixel.map(u64::from)) {
            *sum += value;
            *squares += value * value;
        }
    }
    let count = (rgb.len() / 3) as f64;
    let variance = |[sum, squares]: [u64; 2]| squares as f64 / count - (sum as f64 / count).powi(2);
    sums.map(variance).into_iter().fold(0.0, f64::max).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contrast_is_the_largest_deviation() {
        assert_eq!(contrast(&[7, 100, 200, 7, 104, 200]), 2.0);
        assert_eq!(contrast(&[255, 0, 0, 0, 0, 1]), 127.5);
        assert_eq!(contrast(&[9; 300]), 0.0);
    }

    #[test]
    fn digests_tell_files_and_pixels_apart() {
        let picture = |height, width| Picture { height, width, rgb: vec![5; 12] };
        let look = |picture: &Picture, bytes: &[u8]| Look::of(picture, bytes).unwrap();
        let [wide, high] = [look(&picture(1, 4), b"a"), look(&picture(4, 1), b"a")];
        assert_eq!(wide.file, high.file);
        assert_ne!(wide.pixels, high.pixels);
        assert_ne!(wide.file, look(&picture(1, 4), b"b").file);
    }
}
