//! From a picture file to RGB bytes, whatever the file holds: every failure is an error, none a panic or a hang.
//!
//! What a file is, its first bytes tell and not its name. Pixels become RGB as in Keras' `load_img`: grey is
//! repeated, a palette looked up, CMYK converted, 16 bits rounded to 8; alpha is dropped, whatever lies under it
//! shows. Of an animation the first frame counts. Colour profiles are ignored, the Exif orientation is applied.

use super::Picture;
use super::jpeg;
use super::memory_share::MemoryShare;
use crate::error::{Error, Result};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use std::fs::File;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Why a file gives no picture.
pub(super) type Reason = Box<dyn std::error::Error + Send + Sync>;
pub(super) type Decoding<T> = std::result::Result<T, Reason>;

/// What a picture file may ask for. A file beyond it is an error that says so, before memory is taken.
///
/// ```
/// use tapetum::data::DecodeLimits;
/// use tapetum::prelude::*;
/// let small = DecodeLimits { side: 1, ..DecodeLimits::default() };
/// let error = Picture::decode(b"P3 2 1 255  255 0 0  0 0 255", &small).unwrap_err();
/// assert!(error.to_string().contains("2 × 1 pixels"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The largest file, in bytes (64 MiB).
    pub file_bytes: u64,
    /// The largest height and width, in pixels (32,768).
    pub side: u32,
    /// The largest height · width, in pixels (64 million).
    pub pixels: u64,
    /// The memory, in bytes, that one file, its pixels and its decoder may take (224 MiB). All decodings
    /// that run at the same time share it: one that finds too little left waits for the others. The file itself
    /// is read before it waits, so that beyond this each thread may hold a file of up to `file_bytes`.
    pub memory: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, side: 32_768, pixels: 64_000_000, memory: 224 << 20 }
    }
}

impl DecodeLimits {
    /// Lets a picture in that takes `bytes` at its peak, once the others leave room for it.
    pub(super) fn admit(&self, width: u64, height: u64, bytes: u64) -> Decoding<MemoryShare> {
        let size = format!("the picture is {width} × {height} pixels");
        if width == 0 || height == 0 {
            return Err(size.into());
        }
        if width.max(height) > u64::from(self.side) {
            return Err(format!("{size}, more than {} on a side", self.side).into());
        }
        if width * height > self.pixels {
            return Err(format!("{size}, more than {} in all", self.pixels).into());
        }
        if bytes > self.memory {
            return Err(format!("{size} and takes {bytes} bytes to decode, more than {}", self.memory).into());
        }
        Ok(MemoryShare::take(bytes, self.memory))
    }
}

/// A picture that still counts as memory in use.
pub(super) struct Decoded {
    pub picture: Picture,
    pub _share: MemoryShare,
}

impl Picture {
    /// Reads a picture file: BMP, GIF, ICO, JPEG, PNG, PNM, QOI or WebP.
    ///
    /// A truncated or damaged file is an error, also a JPEG of which other programs would show a part.
    /// A decoder's panic is caught and becomes an error; the program's panic hook still reports it, and
    /// it cannot be caught where panics abort.
    ///
    /// # Errors
    /// Where the file cannot be read, is no such picture, is damaged, or is beyond the limits; the error names it.
    pub fn open(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<Picture> {
        Ok(open(path.as_ref(), limits)?.picture)
    }

    /// Decodes the bytes of a picture file, as [`Picture::open`] does.
    ///
    /// ```
    /// use tapetum::data::{DecodeLimits, Picture};
    /// let picture = Picture::decode(b"P3 2 1 255  255 0 0  0 0 255", &DecodeLimits::default())?;
    /// assert_eq!(picture, Picture { height: 1, width: 2, rgb: vec![255, 0, 0, 0, 0, 255] });
    /// # Ok::<(), tapetum::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the bytes are no such picture, are damaged, or are beyond the limits.
    pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Picture> {
        Ok(decode(bytes, limits).map_err(|reason| Error::data(reason.to_string()))?.picture)
    }
}

/// [`Picture::open`], with the share of memory that the picture takes.
pub(super) fn open(path: &Path, limits: &DecodeLimits) -> Result<Decoded> {
    read(path, limits).and_then(|bytes| decode(&bytes, limits)).map_err(|reason| Error::file(path, reason))
}

/// The bytes of a file that is not too large.
pub(super) fn read(path: &Path, limits: &DecodeLimits) -> Decoding<Vec<u8>> {
    // Asked before opening: to open a named pipe waits for somebody to write into it.
    if !path.metadata()?.is_file() {
        return Err("not a file".into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limits.file_bytes {
        true => Err(format!("the file is larger than {} bytes", limits.file_bytes).into()),
        false => Ok(bytes),
    }
}

/// [`Picture::decode`], with the share of memory that the picture takes.
pub(super) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Decoding<Decoded> {
    let format = format(bytes).ok_or(match bytes {
        [] => "the file is empty",
        _ => "not a picture, or of a kind that is not known",
    })?;
    let decoder = match format {
        ImageFormat::Jpeg => jpeg::decode,
        _ if format.reading_enabled() => decode_others,
        _ => return Err(format!("{format:?} pictures cannot be read; convert them to PNG or JPEG").into()),
    };
    caught(|| decoder(bytes, format, limits))
}

/// A panic becomes an error. Nothing the decoder has touched is used afterwards.
fn caught(decoder: impl FnOnce() -> Decoding<Decoded>) -> Decoding<Decoded> {
    catch_unwind(AssertUnwindSafe(decoder)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(format!("the decoder panicked: {text}").into())
    })
}

/// What kind of picture these are the first bytes of.
pub(super) fn format(start: &[u8]) -> Option<ImageFormat> {
    image::guess_format(start).ok()
}

/// All formats but JPEG. These decoders tell of damage and of missing bytes themselves.
fn decode_others(bytes: &[u8], format: ImageFormat, limits: &DecodeLimits) -> Decoding<Decoded> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut inner = image::Limits::default();
    inner.max_alloc = Some(limits.memory);
    reader.limits(inner);
    let mut decoder = reader.into_decoder()?;

    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    // GIF and WebP are put together on a canvas of 4 bytes a pixel.
    let canvas = if matches!(format, ImageFormat::Gif | ImageFormat::WebP) { pixels.saturating_mul(4) } else { 0 };
    let decoded = decoder.total_bytes();
    let converted = pixels.saturating_mul(3);
    // The decoder is gone when the pixels are converted, and they are gone when the picture is turned.
    let peak = decoded.max(converted).saturating_add(canvas.max(converted)).saturating_add(bytes.len() as u64);
    let share = limits.admit(width.into(), height.into(), peak)?;

    // Damaged Exif data costs the orientation and not the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let pixels = DynamicImage::from_decoder(decoder)?;
    Ok(Decoded { picture: upright(pixels, orientation), _share: share })
}

/// The picture in RGB, turned as its Exif data asks.
pub(super) fn upright(pixels: DynamicImage, orientation: Orientation) -> Picture {
    let mut pixels = DynamicImage::ImageRgb8(pixels.into_rgb8());
    pixels.apply_orientation(orientation);
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    Picture { height, width, rgb: pixels.into_rgb8().into_raw() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba};

    fn png(pixels: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        pixels.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn decode(bytes: &[u8], limits: DecodeLimits) -> std::result::Result<Picture, String> {
        Picture::decode(bytes, &limits).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_of_pixel_becomes_rgb() {
        let rgb = |bytes: Vec<u8>| decode(&bytes, DecodeLimits::default()).unwrap().rgb;
        assert_eq!(rgb(png(GrayImage::from_pixel(1, 1, Luma([7])))), [7, 7, 7]);
        assert_eq!(rgb(png(ImageBuffer::from_pixel(1, 1, LumaA([7u8, 0])))), [7, 7, 7]);
        assert_eq!(rgb(png(ImageBuffer::from_pixel(1, 1, Rgba([1u8, 2, 3, 0])))), [1, 2, 3]);
        assert_eq!(rgb(png(ImageBuffer::from_pixel(1, 1, Rgb([257u16, 65_535, 25_700])))), [1, 255, 100]);
        assert_eq!(rgb(b"P1 2 1 1 0".to_vec()), [0, 0, 0, 255, 255, 255]);
    }

    #[test]
    fn each_limit_is_told() {
        let bytes = png(RgbImage::new(300, 200));
        let limits = DecodeLimits::default();
        assert_eq!(decode(&bytes, limits).unwrap().shape(), [200, 300, 3]);
        let told = |limits| decode(&bytes, limits).unwrap_err();
        assert_eq!(
            told(DecodeLimits { side: 299, ..limits }),
            "the picture is 300 × 200 pixels, more than 299 on a side"
        );
        assert_eq!(
            told(DecodeLimits { pixels: 59_999, ..limits }),
            "the picture is 300 × 200 pixels, more than 59999 in all"
        );
        let message = told(DecodeLimits { memory: 360_000, ..limits });
        assert!(message.ends_with("bytes to decode, more than 360000"), "{message}");
    }

    #[test]
    fn an_error_names_the_file_and_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let told = |name: &str, bytes: &[u8], limits| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let message = Picture::open(&path, &limits).unwrap_err().to_string();
            message.strip_prefix(&format!("{}: ", path.display())).expect("the file comes first").to_string()
        };
        let limits = DecodeLimits::default();
        assert_eq!(told("a.png", b"", limits), "the file is empty");
        assert_eq!(told("a.png", b"<html>", limits), "not a picture, or of a kind that is not known");
        assert_eq!(told("a.png", b"II*\0....", limits), "Tiff pictures cannot be read; convert them to PNG or JPEG");
        let small = DecodeLimits { file_bytes: 9, ..limits };
        assert_eq!(told("a.png", b"P1 2 1 1 0", small), "the file is larger than 9 bytes");
        assert!(Picture::open(folder.path(), &limits).unwrap_err().to_string().ends_with("not a file"));
        assert!(Picture::open(folder.path().join("none"), &limits).is_err());
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let reason = caught(|| panic!("index {} out of range", 3)).err().unwrap();
        assert_eq!(reason.to_string(), "the decoder panicked: index 3 out of range");
    }
}
