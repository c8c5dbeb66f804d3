//! Lesson 3: picture filters (thesis, figure 5).
//!
//! A convolution with weights given by hand instead of learned: sharpen, blur, edges. The results stand side by
//! side in `runs/picture_filters.png`.
//!
//!     cargo run --release --example 03_picture_filters

use image::{Rgb, RgbImage};
use ndarray::{Array4, ArrayD, Axis};
use tapetum::data::{Species, synthetic};
use tapetum::prelude::*;

const SIZE: usize = 128;

/// The same 3×3 filter for each of the three colours: groups keep the colours apart.
fn filter(taps: [[f32; 3]; 3]) -> Result<Conv2D<f32>> {
    let weight = Array4::from_shape_fn([3, 3, 1, 3], |(u, v, _, _)| taps[u][v]);
    Ok(Conv2D::from_weights(weight, None)?.groups(3).padding(Padding::Same))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let picture = synthetic(Species::Cat, SIZE, SIZE, Key::new(4))?;
    let pixels = picture.rgb.iter().map(|&value| f32::from(value)).collect();
    let x = ArrayD::from_shape_vec(vec![1, SIZE, SIZE, 3], pixels)?;

    let b = 1.0 / 9.0;
    let filters = [
        ("as it is", [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]),
        ("sharpen", [[0.0, -1.0, 0.0], [-1.0, 5.0, -1.0], [0.0, -1.0, 0.0]]),
        ("blur", [[b, b, b], [b, b, b], [b, b, b]]),
        ("edges", [[-1.0, -1.0, -1.0], [-1.0, 8.0, -1.0], [-1.0, -1.0, -1.0]]),
    ];
    let mut sheet = RgbImage::new((filters.len() * SIZE) as u32, SIZE as u32);
    for (place, (name, taps)) in filters.into_iter().enumerate() {
        // x [1, H, W, 3] * w [3, 3, 1, 3] → y [1, H, W, 3]
        let y = filter(taps)?.forward(x.view())?;
        println!("{name:>8}: {:6.1} on average, from {:6.1} to {:6.1}", mean(&y), least(&y), most(&y));
        for (n, pixel) in y.lanes(Axis(3)).into_iter().enumerate() {
            let colour = Rgb([pixel[0] as u8, pixel[1] as u8, pixel[2] as u8]); // `as` clamps to 0..=255
            sheet.put_pixel((place * SIZE + n % SIZE) as u32, (n / SIZE) as u32, colour);
        }
    }
    std::fs::create_dir_all("runs")?;
    sheet.save("runs/picture_filters.png")?;
    println!("side by side: runs/picture_filters.png");
    Ok(())
}

fn mean(y: &ArrayD<f32>) -> f32 {
    y.mean().unwrap_or(0.0)
}

fn least(y: &ArrayD<f32>) -> f32 {
    y.iter().copied().fold(f32::INFINITY, f32::min)
}

fn most(y: &ArrayD<f32>) -> f32 {
    y.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}
