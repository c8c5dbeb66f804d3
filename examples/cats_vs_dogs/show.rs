//! Pictures for the eye: side by side in a file, and in a terminal.

use image::{RgbImage, imageops};
use std::io::{IsTerminal, stdout};
use tapetum::data::{Picture, ResizeFilter};

const GAP: u32 = 4;

/// All pictures in one row, twice as large.
pub fn contact_sheet(pictures: &[Picture]) -> Result<RgbImage, String> {
    let width: u32 = pictures.iter().map(|picture| 2 * picture.width as u32 + GAP).sum();
    let height = pictures.iter().map(|picture| 2 * picture.height as u32).max().unwrap_or(0);
    let mut sheet = RgbImage::from_pixel(width, height, image::Rgb([255; 3]));
    let mut left = 0;
    for picture in pictures {
        let (w, h) = (picture.width as u32, picture.height as u32);
        let picture = RgbImage::from_raw(w, h, picture.rgb.clone()).ok_or("a picture has another size than it says")?;
        let twice = imageops::resize(&picture, 2 * w, 2 * h, imageops::FilterType::Nearest);
        imageops::replace(&mut sheet, &twice, i64::from(left), 0);
        left += 2 * w + GAP;
    }
    Ok(sheet)
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
