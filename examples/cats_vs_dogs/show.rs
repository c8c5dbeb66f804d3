//! Pictures for the eye: side by side in a file, and in a terminal.

use image::{RgbImage, imageops};
use std::io::{IsTerminal, stdout};
use tapetum::data::{Picture, ResizeFilter};

const GAP: u32 = 4;

/// Pictures of one size in rows of `columns`, each pixel `times` as large.
pub fn contact_sheet(pictures: &[Picture], columns: usize, times: usize) -> Result<RgbImage, String> {
    let first = pictures.first().ok_or("there are no pictures to show")?;
    let (width, height) = ((times * first.width) as u32, (times * first.height) as u32);
    let columns = columns.clamp(1, pictures.len());
    let length = |count: usize, side: u32| count as u32 * (side + GAP) - GAP;
    let size = (length(columns, width), length(pictures.len().div_ceil(columns), height));
    let mut sheet = RgbImage::from_pixel(size.0, size.1, image::Rgb([255; 3]));
    for (place, picture) in pictures.iter().enumerate() {
        let picture = imageops::resize(&pixels(picture)?, width, height, imageops::FilterType::Nearest);
        let [left, top] =
            [(place % columns, width), (place / columns, height)].map(|(n, side)| n as u32 * (side + GAP));
        imageops::replace(&mut sheet, &picture, i64::from(left), i64::from(top));
    }
    Ok(sheet)
}

/// The picture as the `image` crate has it.
pub fn pixels(picture: &Picture) -> Result<RgbImage, String> {
    let image = RgbImage::from_raw(picture.width as u32, picture.height as u32, picture.rgb.clone());
    image.ok_or_else(|| "a picture has another size than it says".to_string())
}

/// All pictures in one row of a terminal that knows colours: two pixels in each character, one above the other.
pub fn in_terminal(pictures: &[Picture]) {
    const SIDE: usize = 18;
    if !stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return;
    }
    let small: Vec<Picture> =
        pictures.iter().filter_map(|picture| picture.resized(SIDE, SIDE, ResizeFilter::Bilinear).ok()).collect();
    for row in (0..SIDE).step_by(2) {
        for picture in &small {
            for column in 0..SIDE {
                let pixel = |row: usize| &picture.rgb[3 * (row * SIDE + column)..][..3];
                let (above, below) = (pixel(row), pixel(row + 1));
                print!("\x1b[38;2;{};{};{}m", above[0], above[1], above[2]);
                print!("\x1b[48;2;{};{};{}m▀", below[0], below[1], below[2]);
            }
            print!("\x1b[0m ");
        }
        println!();
    }
}
