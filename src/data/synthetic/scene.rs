//! Around the animal: what stands behind it, what stands before it, and the camera.

use super::canvas::{Canvas, Frame};
use super::colour::{Rgb, between, hash, hsv, mix, noise, shade};
use super::shapes::{Point, Polygon, at, capsule, ellipse, polygon};
use crate::random::Random;

/// A colour of a room or a garden.
fn any_colour(random: &mut Random) -> Rgb {
    hsv(between(random, 0.0, 1.0), between(random, 0.0, 0.75).powi(2), between(random, 0.2, 0.95))
}

fn seed(random: &mut Random) -> u32 {
    random.below(1 << 31) as u32
}

/// Fills the canvas with a room or a garden.
pub(super) fn background(canvas: &mut Canvas, random: &mut Random) {
    let (height, width) = (canvas.height as f32, canvas.width as f32);
    let unit = height.min(width);
    let (a, b, seed) = (any_colour(random), any_colour(random), seed(random));
    let horizon = height * between(random, 0.35, 0.85);
    let kind = random.below(6);
    let frequency = between(random, 4.0, 22.0) / unit;
    let slope = at(between(random, -1.0, 1.0) / width, between(random, -1.0, 1.0) / height);
    let grass = [between(random, 0.2, 0.5), between(random, 0.4, 0.65), between(random, 0.1, 0.3)];
    canvas.paint(|p| match kind {
        // A wall in changing light.
        0 => mix(a, b, (0.5 + p.dot(slope)).clamp(0.0, 1.0)),
        // A wall and a floor.
        1 if p.y < horizon => shade(a, 0.8 + 0.3 * p.x / width),
        1 => shade(b, 0.9 + 0.2 * noise(at(p.x * frequency * 0.3, p.y * frequency * 2.0), seed)),
        // Grass, perhaps with something above it.
        2 | 3 if p.y > horizon - height * 0.4 * (kind - 2) as f32 => {
            let blades = noise(at(p.x * frequency * 2.5, p.y * frequency * 0.7), seed);
            shade(grass, 0.6 + 0.7 * blades)
        }
        2 | 3 => mix(a, b, p.y / height),
        // Cloth, carpet, gravel.
        4 => mix(a, shade(a, 0.55), noise(p * frequency, seed) * 0.7 + 0.3 * noise(p * (frequency * 2.3), seed ^ 9)),
        // Boards or tiles.
        _ => {
            let across = p.turned(slope.x * width).x / (unit * (0.15 + 1.0 / (frequency * unit)));
            let seam = ((across - across.round()).abs() * 12.0).min(1.0);
            shade(mix(a, b, 0.3 * noise(p * frequency, seed)), 0.7 + 0.3 * seam)
        }
    });
    for _ in 0..random.below(3) {
        clutter(canvas, unit, random);
    }
}

/// A box, a cushion, a wedge, a stick somewhere behind the animal.
fn clutter(canvas: &mut Canvas, unit: f32, random: &mut Random) {
    let place = at(between(random, 0.0, canvas.width as f32), between(random, 0.0, canvas.height as f32));
    let frame = Frame::new(place, unit * between(random, 0.08, 0.35)).turned(between(random, -3.0, 3.0));
    let (colour, far) = (any_colour(random), between(random, 0.0, 0.3));
    let ink = |_: Point, distance: f32| (shade(colour, 0.75 + 0.35 * (-distance * 2.0).clamp(0.0, 1.0)), 1.0);
    match random.below(4) {
        0 => canvas.draw(&frame, &rectangle(1.0, 0.7), far, ink),
        1 => canvas.draw(&frame, &ellipse(0.0, 0.0, 1.0, between(random, 0.4, 1.0)), far, ink),
        2 => canvas.draw(&frame, &polygon([at(-0.9, 0.6), at(0.9, 0.6), at(0.0, -0.9)], 0.1), far, ink),
        _ => canvas.draw(&frame, &capsule(at(-2.0, 0.0), at(2.0, 0.0), 0.1, 0.15), far, ink),
    }
}

/// Something in front of the animal.
pub(super) fn foreground(canvas: &mut Canvas, random: &mut Random) {
    let unit = canvas.height.min(canvas.width) as f32;
    match random.below(4) {
        0 => blades(canvas, unit, random),
        1 => bars(canvas, unit, random),
        2 => blanket(canvas, unit, random),
        _ => ball(canvas, unit, random),
    }
}

fn blades(canvas: &mut Canvas, unit: f32, random: &mut Random) {
    for _ in 0..12 {
        let root = at(between(random, 0.0, canvas.width as f32), canvas.height as f32);
        let tip = at(between(random, -0.1, 0.1), between(random, -0.3, -0.08));
        let green = [between(random, 0.15, 0.4), between(random, 0.4, 0.7), 0.15];
        canvas.fill(&Frame::new(root, unit), &capsule(at(0.0, 0.0), tip, 0.02, 0.003), green);
    }
}

fn bars(canvas: &mut Canvas, unit: f32, random: &mut Random) {
    let (height, width) = (canvas.height as f32 / unit, canvas.width as f32 / unit);
    let (gap, colour) = (between(random, 0.3, 0.6), any_colour(random));
    let mut x = between(random, 0.0, 0.3);
    while x < width {
        canvas.fill(&Frame::new(at(0.0, 0.0), unit), &capsule(at(x, 0.0), at(x, height), 0.022, 0.022), colour);
        x += gap;
    }
}

fn blanket(canvas: &mut Canvas, unit: f32, random: &mut Random) {
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let middle = at(width * 0.5, height * between(random, 0.7, 0.92) + 2.0 * unit);
    let frame = Frame::new(middle, unit).turned(between(random, -0.12, 0.12));
    let colour = any_colour(random);
    let folds = |p: Point, _: f32| (shade(colour, 0.85 + 0.2 * (p.x * 12.0).sin()), 1.0);
    canvas.draw(&frame, &rectangle(2.0 + width / unit, 2.0), 0.0, folds);
}

fn ball(canvas: &mut Canvas, unit: f32, random: &mut Random) {
    let place = at(canvas.width as f32 * between(random, 0.0, 1.0), canvas.height as f32 * between(random, 0.4, 1.0));
    let colour = any_colour(random);
    let lit = |p: Point, _: f32| (shade(colour, 0.9 - 0.3 * (p.x + p.y)), 1.0);
    canvas.draw(&Frame::new(place, unit * between(random, 0.08, 0.2)), &ellipse(0.0, 0.0, 1.0, 1.0), 0.0, lit);
}

/// A rectangle of this half width and half height.
fn rectangle(x: f32, y: f32) -> Polygon<4> {
    polygon([at(-x, -y), at(x, -y), at(x, y), at(-x, y)], 0.03)
}

/// Light, focus, contrast, and the sensor's noise.
pub(super) fn expose(canvas: &mut Canvas, random: &mut Random) {
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let light = at(between(random, -0.35, 0.35) / width, between(random, -0.35, 0.35) / height);
    let middle = at(width, height) * 0.5;
    let exposure = between(random, 0.8, 1.2);
    let tint = [between(random, 0.92, 1.08), 1.0, between(random, 0.92, 1.08)];
    let contrast = between(random, 0.75, 1.1);
    if random.chance(0.5) {
        let focus = between(random, 0.1, 0.8);
        blur(canvas, focus);
    }
    let (noise, seed) = (between(random, 0.0, 0.05) / 255.0, seed(random));
    for (row, pixels) in canvas.pixels.chunks_exact_mut(canvas.width).enumerate() {
        for (column, pixel) in pixels.iter_mut().enumerate() {
            let bright = exposure * (1.0 + (at(column as f32, row as f32) - middle).dot(light));
            // The sum of two uniform numbers for each colour: a triangle about zero.
            let grain = [0, 1].map(|salt| hash(column as i32, row as i32, seed ^ salt).to_le_bytes());
            for (k, value) in pixel.iter_mut().enumerate() {
                let exposed = 0.5 + (*value * bright * tint[k] - 0.5) * contrast;
                *value = exposed + noise * (f32::from(grain[0][k]) + f32::from(grain[1][k]) - 255.0);
            }
        }
    }
}

/// Mixes each pixel with the mean of its neighbours, along the rows and then along the columns.
fn blur(canvas: &mut Canvas, focus: f32) {
    let (width, height) = (canvas.width, canvas.height);
    for down in [false, true] {
        let sharp = canvas.pixels.clone();
        for (index, pixel) in canvas.pixels.iter_mut().enumerate() {
            let (step, place, end) = if down { (width, index / width, height) } else { (1, index % width, width) };
            let before = if place == 0 { index } else { index - step };
            let after = if place + 1 == end { index } else { index + step };
            *pixel = mix(sharp[index], mix(sharp[before], sharp[after], 0.5), 0.6 * focus);
        }
    }
}
