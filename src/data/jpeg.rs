//! JPEG, decoded strictly: of half a file, lenient decoders show half a picture over grey and call it whole.

use super::decode::{DecodeLimits, Decoded, Decoding, upright};
use super::jpeg_markers::Markers;
use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, RgbImage};
use std::borrow::Cow;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// In strict mode the decoder also stops, with this message, at bytes between two segments that belong to
/// neither. Cameras and editors leave such bytes, and they harm nothing.
const STRAY_BYTES: &str = "Extra bytes between headers";

/// Ones, more than the decoder reads ahead and a code's bits take. In a file FF is followed by 00.
const NO_CODE: [u8; 64] = {
    let mut ones = [0xFF; 64];
    let mut at = 1;
    while at < ones.len() {
        ones[at] = 0;
        at += 2;
    }
    ones
};

pub(super) fn decode(bytes: &[u8], _format: ImageFormat, limits: &DecodeLimits) -> Decoding<Decoded> {
    let markers = Markers::of(bytes);
    let end = markers.end.ok_or("the JPEG is truncated: its end is missing")?;
    if !markers.all_is_coded() {
        return Err("the JPEG is truncated: scans are missing before its end".into());
    }
    // Where the pixels end too early, the decoder reads zeros up to the last one, and grey comes out. A code of ones
    // alone does not exist (T.81, C.2). Put before the end, it is never read of a whole file, and stops the decoder
    // in any other.
    let probed = match markers.probe {
        true => Cow::Owned([&bytes[..end], &NO_CODE, &bytes[end..]].concat()),
        false => Cow::Borrowed(bytes),
    };
    match decode_in_mode(&probed, &markers, limits, true) {
        Err(reason) if reason.to_string().contains(STRAY_BYTES) => decode_in_mode(&probed, &markers, limits, false),
        decoded => decoded,
    }
}

fn decode_in_mode(bytes: &[u8], markers: &Markers, limits: &DecodeLimits, strict: bool) -> Decoding<Decoded> {
    let any_size = usize::from(u16::MAX);
    let options = DecoderOptions::default()
        .set_strict_mode(strict)
        .set_max_width(any_size)
        .set_max_height(any_size)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let damaged = |error: DecodeErrors| format!("the JPEG is damaged: {}", error.to_string().trim_matches('"'));
    decoder.decode_headers().map_err(damaged)?;

    let (width, height) = decoder.dimensions().ok_or("the JPEG has no size")?;
    let pixels = width as u64 * height as u64;
    // Coefficients of 2 bytes are kept for all the picture where a block's arrive bit by bit.
    let coefficients = if markers.several_scans { 2 * pixels * u64::from(markers.components) } else { 0 };
    // The file is there twice.
    let peak = 3 * pixels + coefficients.max(3 * pixels) + 2 * bytes.len() as u64;
    let share = limits.admit(width as u64, height as u64, peak)?;

    let rgb = decoder.decode().map_err(damaged)?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    drop(decoder);
    let pixels = RgbImage::from_raw(width as u32, height as u32, rgb).ok_or("the JPEG's pixels are incomplete")?;
    Ok(Decoded {
        picture: upright(DynamicImage::ImageRgb8(pixels), orientation.unwrap_or(Orientation::NoTransforms)),
        _share: share,
    })
}

#[cfg(test)]
mod tests {
    use crate::data::{DecodeLimits, Picture};
    use image::codecs::jpeg::JpegEncoder;

    /// A JPEG of 40 rows and 30 columns, red above and blue below.
    fn jpeg() -> Vec<u8> {
        let rgb: Vec<u8> = (0..40 * 30).flat_map(|at| if at < 600 { [255, 0, 0] } else { [0, 0, 255] }).collect();
        let mut bytes = Vec::new();
        let color = image::ExtendedColorType::Rgb8;
        JpegEncoder::new_with_quality(&mut bytes, 90).encode(&rgb, 30, 40, color).unwrap();
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Picture, String> {
        Picture::decode(bytes, &DecodeLimits::default()).map_err(|error| error.to_string())
    }

    /// The file with `segment` put in behind its first one (JFIF, 18 bytes).
    fn with(segment: &[u8]) -> Vec<u8> {
        [&jpeg()[..20], segment, &jpeg()[20..]].concat()
    }

    #[test]
    fn a_truncated_file_is_no_picture_at_any_length() {
        let whole = jpeg();
        assert_eq!(decode(&whole).unwrap().shape(), [40, 30, 3]);
        assert!((0..whole.len()).all(|length| decode(&whole[..length]).is_err()));
        let message = decode(&whole[..whole.len() / 2]).unwrap_err();
        assert_eq!(message, "the JPEG is truncated: its end is missing");
    }

    // The last byte may hold nothing but the bits that fill it up.
    #[test]
    fn an_end_marker_does_not_make_half_a_file_whole() {
        let whole = jpeg();
        let pixels = whole.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
        for length in pixels..whole.len() - 3 {
            let ended = [&whole[..length], &[0xFF, 0xD9]].concat();
            assert!(decode(&ended).is_err(), "{length} of {}", whole.len());
        }
        assert!(image::load_from_memory(&[&whole[..whole.len() - 60], &[0xFF, 0xD9]].concat()).is_ok());
    }

    // Sixteen ones in a row are no code of any table. Lenient decoders leave out what follows.
    #[test]
    fn codes_that_do_not_exist_are_damage() {
        let mut bytes = jpeg();
        let end = bytes.len() - 2;
        bytes[end - 16..end].copy_from_slice(&[0xFF, 0].repeat(8));
        assert!(image::load_from_memory(&bytes).is_ok());
        let message = decode(&bytes).unwrap_err();
        assert!(message.starts_with("the JPEG is damaged: "), "{message}");
    }

    #[test]
    fn harmless_oddities_stay_harmless() {
        let picture = decode(&jpeg()).unwrap();
        assert_eq!(decode(&[&jpeg()[..], b"trailing bytes"].concat()).unwrap(), picture);
        assert_eq!(decode(&with(b"stray bytes between two segments")).unwrap(), picture);
        assert_eq!(decode(&with(b"\xFF\xFE\x00\x06note")).unwrap(), picture);
        // a thumbnail's end marker inside a segment does not end the file
        assert!(decode(&with(b"\xFF\xE5\x00\x04\xFF\xD9")[..200]).is_err());
    }

    #[test]
    fn the_exif_orientation_is_applied() {
        let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let exif = [&b"\xFF\xE1\0\x22Exif\0\0"[..], tiff].concat();
        let picture = decode(&with(&exif)).unwrap();
        // 6: to be turned clockwise, so what was above is now to the right
        assert_eq!(picture.shape(), [30, 40, 3]);
        assert!(picture.rgb[2] > 200 && picture.rgb[39 * 3] > 200, "{:?}", &picture.rgb[..120]);
    }
}
