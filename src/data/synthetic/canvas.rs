//! From shapes to pixels.
//!
//! A pixel is covered by the part ½ − distance/pixel of it, cut to 0..1: edges are smooth at any size.

use super::colour::{Rgb, mix};
use super::shapes::{Point, Shape, around, at};

/// A coordinate system: where its origin and its two axes lie on the canvas, in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    origin: Point,
    x: Point,
    y: Point,
}

impl Frame {
    /// Upright, with `scale` pixels to the unit.
    pub fn new(origin: Point, scale: f32) -> Self {
        Self { origin, x: at(scale, 0.0), y: at(0.0, scale) }
    }

    /// Where `p` lies on the canvas.
    pub fn place(&self, p: Point) -> Point {
        self.origin + self.x * p.x + self.y * p.y
    }

    /// The same, moved to `p`.
    pub fn moved(&self, p: Point) -> Self {
        Self { origin: self.place(p), ..*self }
    }

    /// The same, stretched; a negative factor mirrors.
    pub fn scaled(&self, x: f32, y: f32) -> Self {
        Self { x: self.x * x, y: self.y * y, ..*self }
    }

    /// The same, turned clockwise by `angle` radians.
    pub fn turned(&self, angle: f32) -> Self {
        let (a, b) = (at(1.0, 0.0).turned(angle), at(0.0, 1.0).turned(angle));
        Self { x: self.x * a.x + self.y * a.y, y: self.x * b.x + self.y * b.y, ..*self }
    }
}

/// Pixels to draw on.
pub(super) struct Canvas {
    pub height: usize,
    pub width: usize,
    pub pixels: Vec<Rgb>,
}

impl Canvas {
    pub fn new(height: usize, width: usize) -> Self {
        Self { height, width, pixels: vec![[0.0; 3]; height * width] }
    }

    /// Gives each pixel the colour of its place on the canvas.
    pub fn paint(&mut self, colour: impl Fn(Point) -> Rgb) {
        for (index, pixel) in self.pixels.iter_mut().enumerate() {
            *pixel = colour(at((index % self.width) as f32 + 0.5, (index / self.width) as f32 + 0.5));
        }
    }

    /// A shape of one colour.
    pub fn fill(&mut self, frame: &Frame, shape: &impl Shape, colour: Rgb) {
        self.draw(frame, shape, 0.0, |_, _| (colour, 1.0));
    }

    /// A shape of one colour that lets `1 − opacity` of what is below shine through.
    pub fn glaze(&mut self, frame: &Frame, shape: &impl Shape, colour: Rgb, opacity: f32) {
        self.draw(frame, shape, 0.0, |_, _| (colour, opacity));
    }

    /// A shape whose colour and opacity depend on the place and the distance to the edge, in the frame's units; the
    /// edge fades over `softness` to both sides.
    pub fn draw(&mut self, frame: &Frame, shape: &impl Shape, softness: f32, ink: impl Fn(Point, f32) -> (Rgb, f32)) {
        let (fx, fy) = (frame.x, frame.y);
        let area = fx.x * fy.y - fx.y * fy.x;
        if area.abs() < 1e-6 {
            return;
        }
        // A pixel in units of the frame, and the way back from the canvas to the frame.
        let pixel = 1.0 / area.abs().sqrt();
        let (back_x, back_y) = (at(fy.y, -fx.y) * (1.0 / area), at(-fy.x, fx.x) * (1.0 / area));
        let [low, high] = shape.bounds();
        let margin = at(pixel + softness, pixel + softness);
        let (low, high) = (low - margin, high + margin);
        let corners = [low, at(high.x, low.y), high, at(low.x, high.y)].map(|corner| frame.place(corner));
        let [low, high] = around(&corners);
        let range = |low: f32, high: f32, end: usize| (low.max(0.0) as usize)..((high.max(0.0) as usize + 1).min(end));
        let sharpness = 1.0 / (pixel + 2.0 * softness);
        for row in range(low.y, high.y, self.height) {
            for column in range(low.x, high.x, self.width) {
                let p = at(column as f32 + 0.5, row as f32 + 0.5) - frame.origin;
                let p = back_x * p.x + back_y * p.y;
                let distance = shape.distance(p);
                let cover = (0.5 - distance * sharpness).clamp(0.0, 1.0);
                if cover > 0.0 {
                    let (colour, opacity) = ink(p, distance);
                    let below = &mut self.pixels[row * self.width + column];
                    *below = mix(*below, colour, cover * opacity);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shapes::{capsule, ellipse, polygon};
    use super::*;
    use std::f32::consts::PI;

    /// The area that a shape covers, in square units, drawn with 20 pixels to the unit.
    fn area(frame: impl Fn(Frame) -> Frame, shape: &impl Shape) -> f32 {
        let mut canvas = Canvas::new(120, 140);
        canvas.fill(&frame(Frame::new(at(70.0, 60.0), 20.0)), shape, [1.0; 3]);
        canvas.pixels.iter().map(|pixel| pixel[0]).sum::<f32>() / 400.0
    }

    #[test]
    fn shapes_cover_their_area() {
        let triangle = polygon([at(-1.0, 1.0), at(2.0, 1.0), at(0.5, -1.5)], 0.0);
        for frame in [|f: Frame| f, |f: Frame| f.turned(0.7), |f: Frame| f.moved(at(0.3, -0.2)).scaled(-1.0, 1.0)] {
            approx::assert_relative_eq!(area(frame, &ellipse(0.1, 0.2, 2.0, 1.0)), 2.0 * PI, max_relative = 0.01);
            approx::assert_relative_eq!(area(frame, &triangle), 3.75, max_relative = 0.01);
            let stroke = capsule(at(-1.0, 0.0), at(1.0, 0.5), 0.6, 0.6);
            approx::assert_relative_eq!(area(frame, &stroke), 0.36 * PI + 1.2 * 4.25f32.sqrt(), max_relative = 0.01);
        }
    }

    #[test]
    fn outside_of_the_canvas_nothing_happens() {
        let mut canvas = Canvas::new(4, 4);
        for far in [at(-900.0, 2.0), at(900.0, 2.0), at(2.0, -900.0), at(2.0, 900.0)] {
            canvas.fill(&Frame::new(far, 5.0), &ellipse(0.0, 0.0, 1.0, 1.0), [1.0; 3]);
        }
        assert!(canvas.pixels.iter().all(|pixel| *pixel == [0.0; 3]));
    }
}
