//! Augmentation: each epoch sees each picture a little differently.
//!
//! The settings and their order are those of Keras' `ImageDataGenerator`: one affine transform with
//! one bilinear sampling, then flips, then brightness; then what Keras has as layers, saturation, contrast and
//! erasing. Rescaling is not augmentation: it belongs to the preprocessing, which a model carries along.

mod colour;
mod erase;
#[cfg(feature = "cuda")]
mod on_gpu;
mod sample;
mod transform;

pub use sample::FillMode;

use crate::error::{Error, Result};
use crate::random::Key;
use crate::shape::volume;
use colour::{saturate, stretch};
use erase::{SMALLEST, erase};
use sample::sample;
use serde::{Deserialize, Serialize};
use transform::{Geometry, Transform};

/// Random changes to a picture, in the terms of Keras' `ImageDataGenerator`. The default changes nothing.
///
/// Every setting draws from a stream of its own, derived from the key by the setting's name: a setting
/// added to the others changes what is drawn for none of them.
///
/// ```
/// use tapetum::data::{Augmentation, FillMode};
/// use tapetum::prelude::*;
/// let augmentation = Augmentation::default().zoom(0.2).horizontal_flip(true).fill_mode(FillMode::Reflect);
/// let picture = [0, 50, 100, 150];                  // 2 rows, 2 columns, 1 channel
/// let mut out = [0.0; 4];
/// augmentation.apply(&picture, [2, 2, 1], Key::new(7).named("augment"), &mut out)?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Augmentation {
    /// Degrees.
    rotation: f64,
    /// Fractions of the picture.
    width_shift: f64,
    height_shift: f64,
    /// Degrees.
    shear: f64,
    /// Lowest and highest factor.
    zoom: (f64, f64),
    horizontal_flip: bool,
    vertical_flip: bool,
    /// Lowest and highest factor.
    brightness: (f64, f64),
    /// Lowest and highest factor.
    saturation: (f64, f64),
    /// Lowest and highest factor.
    contrast: (f64, f64),
    /// Largest part of the picture.
    erasing: f64,
    fill_mode: FillMode,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            rotation: 0.0,
            width_shift: 0.0,
            height_shift: 0.0,
            shear: 0.0,
            zoom: (1.0, 1.0),
            horizontal_flip: false,
            vertical_flip: false,
            brightness: (1.0, 1.0),
            saturation: (1.0, 1.0),
            contrast: (1.0, 1.0),
            erasing: 0.0,
            fill_mode: FillMode::Nearest,
        }
    }
}

impl Augmentation {
    /// What the thesis trains with: `shear_range = 0.2` (degrees!), `zoom_range = 0.2`, `horizontal_flip`.
    pub fn thesis() -> Self {
        Self::default().shear(0.2).zoom(0.2).horizontal_flip(true)
    }

    /// Turns by an angle drawn from ±`degrees`.
    pub fn rotation(self, degrees: f64) -> Self {
        Self { rotation: degrees, ..self }
    }

    /// Moves sideways by a part of the width drawn from ±`fraction`.
    pub fn width_shift(self, fraction: f64) -> Self {
        Self { width_shift: fraction, ..self }
    }

    /// Moves up or down by a part of the height drawn from ±`fraction`.
    pub fn height_shift(self, fraction: f64) -> Self {
        Self { height_shift: fraction, ..self }
    }

    /// Shears by an angle drawn from ±`degrees`.
    pub fn shear(self, degrees: f64) -> Self {
        Self { shear: degrees, ..self }
    }

    /// Zooms each axis by a factor of its own, drawn from 1 − `range` to 1 + `range`.
    pub fn zoom(self, range: f64) -> Self {
        self.zoom_between(1.0 - range, 1.0 + range)
    }

    /// Zooms each axis by a factor of its own, drawn from `low` to `high`. As in Keras, the factor is the part of
    /// the picture that is seen: below 1 the picture is magnified.
    pub fn zoom_between(self, low: f64, high: f64) -> Self {
        Self { zoom: (low, high), ..self }
    }

    /// Exchanges left and right in every second picture.
    pub fn horizontal_flip(self, yes: bool) -> Self {
        Self { horizontal_flip: yes, ..self }
    }

    /// Exchanges top and bottom in every second picture.
    pub fn vertical_flip(self, yes: bool) -> Self {
        Self { vertical_flip: yes, ..self }
    }

    /// Multiplies all values by a factor drawn from `low` to `high`; what leaves 0 to 255 is clipped.
    pub fn brightness(self, low: f64, high: f64) -> Self {
        Self { brightness: (low, high), ..self }
    }

    /// Moves all colours away from their grey by a factor drawn from `low` to `high`: 0 leaves grey alone, 1 changes
    /// nothing. Only pictures with three channels have colours.
    pub fn saturation(self, low: f64, high: f64) -> Self {
        Self { saturation: (low, high), ..self }
    }

    /// Moves all values away from the picture's mean by a factor drawn from `low` to `high`.
    pub fn contrast(self, low: f64, high: f64) -> Self {
        Self { contrast: (low, high), ..self }
    }

    /// In every second picture, paints over a rectangle of 2 % to `largest` of the picture with one drawn colour
    /// (Zhong et al., arXiv:1708.04896).
    pub fn erasing(self, largest: f64) -> Self {
        Self { erasing: largest, ..self }
    }

    /// What is seen beyond the picture's edges (default: the nearest pixel).
    pub fn fill_mode(self, mode: FillMode) -> Self {
        Self { fill_mode: mode, ..self }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Where an angle is negative or not finite, a shift not in 0 to 1, a zoom not a range of factors above 0 and up
    /// to 1000, a brightness, saturation or contrast not a range of factors from 0, the part to be erased not in 0.02
    /// to 1 (or 0), or the fill value not finite.
    pub fn validate(&self) -> Result<()> {
        let refuse = |name, expected, found: String| Err(Error::argument("augmentation", name, expected, found));
        for (name, degrees) in [("rotation", self.rotation), ("shear", self.shear)] {
            if !(degrees >= 0.0 && degrees.is_finite()) {
                return refuse(name, "an angle in degrees, at least 0", degrees.to_string());
            }
        }
        for (name, fraction) in [("width_shift", self.width_shift), ("height_shift", self.height_shift)] {
            if !(0.0..=1.0).contains(&fraction) {
                return refuse(name, "a fraction from 0 to 1", fraction.to_string());
            }
        }
        let (low, high) = self.zoom;
        if !(low > 0.0 && low <= high && high <= 1000.0) {
            return refuse("zoom", "0 < lowest ≤ highest factor ≤ 1000", format!("{low} to {high}"));
        }
        let factors = [("brightness", self.brightness), ("saturation", self.saturation), ("contrast", self.contrast)];
        for (name, (low, high)) in factors {
            if !(low >= 0.0 && low <= high && high <= 1e6) {
                return refuse(name, "0 ≤ lowest ≤ highest factor ≤ 1000000", format!("{low} to {high}"));
            }
        }
        if self.erasing != 0.0 && !(SMALLEST..=1.0).contains(&self.erasing) {
            return refuse("erasing", "0, or a fraction from 0.02 to 1", self.erasing.to_string());
        }
        match self.fill_mode {
            FillMode::Constant(value) if !value.is_finite() => refuse("fill_mode", "a finite value", value.to_string()),
            _ => Ok(()),
        }
    }

    /// Writes `source` [H, W, C], changed as drawn from `key`, into `out` [H, W, C], still on the scale 0 to 255.
    ///
    /// Where nothing is to change, `out` holds exactly the bytes of `source`.
    ///
    /// # Errors
    /// Where the settings are not valid, the picture is higher or wider than 65536, or `source` or `out` has not
    /// `H · W · C` entries.
    pub fn apply(&self, source: &[u8], shape: [usize; 3], key: Key, out: &mut [f32]) -> Result<()> {
        self.validate()?;
        let entries = volume("augmentation", &shape)?;
        // With zooms up to 1000, every place then fits in 2³¹ pixels.
        if shape[0].max(shape[1]) > 1 << 16 {
            return Err(Error::shape("augmentation", "at most 65536 rows and columns", &shape));
        }
        for (name, len) in [("source", source.len()), ("out", out.len())] {
            if len != entries {
                return Err(Error::shape("augmentation", format!("{name} of {shape:?}"), &[len]));
            }
        }
        sample(&self.draw(shape, key), self.fill_mode, source, shape, out);
        saturate(between(key, "saturation", self.saturation)[0] as f32, shape, out);
        stretch(between(key, "contrast", self.contrast)[0] as f32, out);
        if self.erasing > 0.0 {
            erase(self.erasing, shape, key.named("erasing"), out);
        }
        Ok(())
    }

    /// What happens to the picture with this key.
    fn draw(&self, [height, width, _]: [usize; 3], key: Key) -> Transform {
        let symmetric = |name, range: f64| between(key, name, (-range, range))[0];
        let flips = |name, wanted: bool| wanted && key.named(name).stream().chance(0.5);
        let geometry = Geometry {
            rotation: symmetric("rotation", self.rotation).to_radians(),
            shift: [
                symmetric("height_shift", self.height_shift) * height as f64,
                symmetric("width_shift", self.width_shift) * width as f64,
            ],
            shear: symmetric("shear", self.shear).to_radians(),
            zoom: between(key, "zoom", self.zoom),
        };
        Transform {
            matrix: geometry.matrix(height, width),
            horizontal_flip: flips("horizontal_flip", self.horizontal_flip),
            vertical_flip: flips("vertical_flip", self.vertical_flip),
            brightness: between(key, "brightness", self.brightness)[0] as f32,
        }
    }
}

/// Two numbers from low to high (most settings need one) from the stream of this name.
fn between(key: Key, name: &str, (low, high): (f64, f64)) -> [f64; 2] {
    if low == high {
        return [low; 2];
    }
    let mut random = key.named(name).stream();
    [random.uniform(low, high), random.uniform(low, high)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture([h, w, c]: [usize; 3]) -> Vec<u8> {
        (0..h * w * c).map(|i| (i * 37 % 251) as u8).collect()
    }

    fn applied(augmentation: &Augmentation, shape: [usize; 3], key: Key) -> Vec<f32> {
        let mut out = vec![f32::NAN; shape.iter().product()];
        augmentation.apply(&picture(shape), shape, key, &mut out).unwrap();
        out
    }

    #[test]
    fn nothing_asked_for_is_exact() {
        for shape in [[5, 6, 3], [1, 1, 1], [0, 4, 3], [4, 4, 0]] {
            let bytes: Vec<f32> = picture(shape).into_iter().map(f32::from).collect();
            assert_eq!(applied(&Augmentation::default(), shape, Key::new(1)), bytes);
        }
    }

    #[test]
    fn flips_are_exact_and_happen_half_the_time() {
        let shape = [3, 4, 2];
        let source: Vec<f32> = picture(shape).into_iter().map(f32::from).collect();
        let flipped: Vec<f32> = source.chunks(8).flat_map(|row| row.chunks(2).rev().flatten().copied()).collect();
        let augmentation = Augmentation::default().horizontal_flip(true);
        let results: Vec<_> = (0..200).map(|i| applied(&augmentation, shape, Key::new(i))).collect();
        let flips = results.iter().filter(|&result| *result == flipped).count();
        assert_eq!(flips + results.iter().filter(|&result| *result == source).count(), 200);
        assert!((70..130).contains(&flips), "{flips}");
    }

    #[test]
    fn a_setting_more_leaves_the_draws_of_the_others() {
        let key = Key::new(3).at(8);
        let few = Augmentation::default().zoom(0.2).vertical_flip(true);
        let more = few.clone().brightness(0.5, 1.5).horizontal_flip(true);
        let (few, more) = (few.draw([64, 64, 3], key), more.draw([64, 64, 3], key));
        assert_eq!((few.matrix, few.vertical_flip), (more.matrix, more.vertical_flip));
        assert!(more.brightness != 1.0 && few.brightness == 1.0);
    }

    #[test]
    fn draws_stay_in_their_ranges_and_fill_them() {
        let augmentation = Augmentation::default().zoom(0.2).brightness(0.5, 1.5);
        let draws: Vec<_> = (0..500).map(|i| augmentation.draw([9, 7, 1], Key::new(i))).collect();
        for of in [|t: &Transform| t.matrix[0][0], |t: &Transform| t.matrix[1][1]] {
            let (low, high) = draws.iter().map(of).fold((9.0, 0.0), |(l, h): (f64, f64), z| (l.min(z), h.max(z)));
            assert!((0.8..0.81).contains(&low) && (1.19..1.2).contains(&high), "{low} {high}");
        }
        assert!(draws.iter().all(|t| t.matrix[0][0] != t.matrix[1][1] && (0.5..1.5).contains(&t.brightness)));
    }

    #[test]
    fn brightness_multiplies_and_clips() {
        let shape = [4, 5, 3];
        let result = applied(&Augmentation::default().brightness(2.0, 2.0), shape, Key::new(1));
        for (result, byte) in result.into_iter().zip(picture(shape)) {
            assert_eq!(result, (2.0 * f32::from(byte)).min(255.0));
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let good = Augmentation::default();
        for bad in [
            good.clone().rotation(-1.0),
            good.clone().shear(f64::INFINITY),
            good.clone().width_shift(1.5),
            good.clone().height_shift(f64::NAN),
            good.clone().zoom(1.0),
            good.clone().zoom(-0.1),
            good.clone().zoom_between(1.0, f64::NAN),
            good.clone().zoom_between(1.0, 1e300),
            good.clone().brightness(-0.5, 1.0),
            good.clone().saturation(1.0, f64::INFINITY),
            good.clone().contrast(1.5, 1.0),
            good.clone().erasing(0.01),
            good.clone().erasing(1.1),
            good.clone().fill_mode(FillMode::Constant(f32::NAN)),
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
            assert!(bad.apply(&[0], [1, 1, 1], Key::new(1), &mut [0.0]).is_err());
        }
        assert!(Augmentation::thesis().rotation(40.0).width_shift(0.2).brightness(0.2, 1.0).validate().is_ok());
    }

    #[test]
    fn slices_of_another_length_are_refused() {
        let key = Key::new(1);
        assert!(Augmentation::thesis().apply(&[0; 11], [2, 2, 3], key, &mut [0.0; 12]).is_err());
        assert!(Augmentation::thesis().apply(&[0; 12], [2, 2, 3], key, &mut [0.0; 11]).is_err());
        assert!(Augmentation::thesis().apply(&[], [usize::MAX, 3, 3], key, &mut []).is_err());
        assert!(Augmentation::thesis().apply(&[0; 65537], [1, 65537, 1], key, &mut [0.0; 65537]).is_err());
    }

    #[test]
    fn the_widest_settings_stay_in_range() {
        let widest = Augmentation::default().rotation(1e300).shear(1e300).width_shift(1.0).zoom_between(1e-300, 1e3);
        for fill in [FillMode::Nearest, FillMode::Constant(9.0), FillMode::Reflect, FillMode::Wrap] {
            for (seed, shape) in (0..40).flat_map(|seed| [[1, 65536, 1], [65536, 1, 3], [5, 4, 3]].map(|s| (seed, s))) {
                let out = applied(&widest.clone().fill_mode(fill), shape, Key::new(seed));
                assert!(out.iter().all(|y| (0.0..=255.0).contains(y)));
            }
        }
    }

    #[test]
    fn settings_survive_json() {
        let augmentation = Augmentation::thesis().fill_mode(FillMode::Constant(7.0));
        let json = serde_json::to_string(&augmentation).unwrap();
        assert_eq!(serde_json::from_str::<Augmentation>(&json).unwrap(), augmentation);
    }
}
