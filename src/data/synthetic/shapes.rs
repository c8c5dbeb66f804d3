//! Points, and shapes as signed distances: negative inside, positive outside.

use std::ops::{Add, Mul, Sub};

/// A place or a direction; x to the right, y down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub x: f32,
    pub y: f32,
}

pub(super) const fn at(x: f32, y: f32) -> Point {
    Point { x, y }
}

impl Add for Point {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        at(self.x + other.x, self.y + other.y)
    }
}

impl Sub for Point {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        at(self.x - other.x, self.y - other.y)
    }
}

impl Mul<f32> for Point {
    type Output = Self;
    fn mul(self, factor: f32) -> Self {
        at(self.x * factor, self.y * factor)
    }
}

impl Point {
    pub fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y
    }

    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    pub fn turned(self, angle: f32) -> Self {
        let (sin, cos) = angle.sin_cos();
        at(cos * self.x - sin * self.y, sin * self.x + cos * self.y)
    }
}

/// Something that can be drawn.
pub(super) trait Shape {
    /// How far `p` lies outside of the shape; negative inside.
    fn distance(&self, p: Point) -> f32;
    /// The upper left and the lower right corner of a box around it.
    fn bounds(&self) -> [Point; 2];
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Ellipse {
    pub centre: Point,
    pub radii: Point,
}

pub(super) fn ellipse(x: f32, y: f32, rx: f32, ry: f32) -> Ellipse {
    Ellipse { centre: at(x, y), radii: at(rx, ry) }
}

impl Shape for Ellipse {
    // k·(k − 1)/|∇k| with k = |p/r|: exact at the edge in the first order (Quílez).
    fn distance(&self, p: Point) -> f32 {
        let (p, r) = (p - self.centre, self.radii);
        let k = at(p.x / r.x, p.y / r.y).length();
        let gradient = at(p.x / (r.x * r.x), p.y / (r.y * r.y)).length();
        if gradient > 0.0 { k * (k - 1.0) / gradient } else { -r.x.min(r.y) }
    }

    fn bounds(&self) -> [Point; 2] {
        [self.centre - self.radii, self.centre + self.radii]
    }
}

/// A stroke from `from` to `to` whose radius changes from one end to the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capsule {
    pub from: Point,
    pub to: Point,
    pub radii: [f32; 2],
}

pub(super) fn capsule(from: Point, to: Point, r0: f32, r1: f32) -> Capsule {
    Capsule { from, to, radii: [r0, r1] }
}

impl Shape for Capsule {
    fn distance(&self, p: Point) -> f32 {
        let (p, axis) = (p - self.from, self.to - self.from);
        let along = (p.dot(axis) / axis.dot(axis).max(1e-9)).clamp(0.0, 1.0);
        (p - axis * along).length() - (self.radii[0] + (self.radii[1] - self.radii[0]) * along)
    }

    fn bounds(&self) -> [Point; 2] {
        let r = at(1.0, 1.0) * self.radii[0].max(self.radii[1]);
        let [low, high] = around(&[self.from, self.to]);
        [low - r, high + r]
    }
}

/// A curved stroke (Bézier, quadratic), as tails are, in straight pieces.
pub(super) struct Curve([Capsule; PIECES]);

const PIECES: usize = 10;

pub(super) fn curve(p0: Point, p1: Point, p2: Point, r0: f32, r1: f32) -> Curve {
    let place = |t: f32| p0 * ((1.0 - t) * (1.0 - t)) + p1 * (2.0 * t * (1.0 - t)) + p2 * (t * t);
    let radius = |t: f32| r0 + (r1 - r0) * t;
    Curve(std::array::from_fn(|i| {
        let (t, u) = (i as f32 / PIECES as f32, (i + 1) as f32 / PIECES as f32);
        capsule(place(t), place(u), radius(t), radius(u))
    }))
}

impl Shape for Curve {
    fn distance(&self, p: Point) -> f32 {
        self.0.iter().map(|part| part.distance(p)).fold(f32::INFINITY, f32::min)
    }

    fn bounds(&self) -> [Point; 2] {
        let corners: [Point; 2 * PIECES] = std::array::from_fn(|i| self.0[i / 2].bounds()[i % 2]);
        around(&corners)
    }
}

/// A polygon with rounded corners.
#[derive(Debug, Clone, Copy)]
pub(super) struct Polygon<const N: usize> {
    pub corners: [Point; N],
    pub rounding: f32,
}

pub(super) fn polygon<const N: usize>(corners: [Point; N], rounding: f32) -> Polygon<N> {
    Polygon { corners, rounding }
}

impl<const N: usize> Shape for Polygon<N> {
    // The nearest edge; inside where a ray to the right crosses an odd number of edges.
    fn distance(&self, p: Point) -> f32 {
        let (mut nearest, mut inside) = (f32::INFINITY, false);
        for i in 0..N {
            let (a, b) = (self.corners[i], self.corners[(i + 1) % N]);
            nearest = nearest.min(capsule(a, b, 0.0, 0.0).distance(p));
            if (a.y > p.y) != (b.y > p.y) && p.x < a.x + (p.y - a.y) / (b.y - a.y) * (b.x - a.x) {
                inside = !inside;
            }
        }
        (if inside { -nearest } else { nearest }) - self.rounding
    }

    fn bounds(&self) -> [Point; 2] {
        let [low, high] = around(&self.corners);
        let r = at(self.rounding, self.rounding);
        [low - r, high + r]
    }
}

/// Two shapes grown together; `softness` is the width of the seam (smooth minimum, Quílez).
pub(super) struct Union<A, B> {
    pub shapes: (A, B),
    pub softness: f32,
}

pub(super) fn union<A: Shape, B: Shape>(a: A, b: B, softness: f32) -> Union<A, B> {
    Union { shapes: (a, b), softness }
}

impl<A: Shape, B: Shape> Shape for Union<A, B> {
    fn distance(&self, p: Point) -> f32 {
        let (a, b) = (self.shapes.0.distance(p), self.shapes.1.distance(p));
        let overlap = (self.softness - (a - b).abs()).max(0.0);
        a.min(b) - overlap * overlap / (4.0 * self.softness)
    }

    fn bounds(&self) -> [Point; 2] {
        let ([a, b], [c, d]) = (self.shapes.0.bounds(), self.shapes.1.bounds());
        let [low, high] = around(&[a, b, c, d]);
        let seam = at(self.softness, self.softness) * 0.25;
        [low - seam, high + seam]
    }
}

pub(super) fn around(points: &[Point]) -> [Point; 2] {
    let start = [at(f32::INFINITY, f32::INFINITY), at(f32::NEG_INFINITY, f32::NEG_INFINITY)];
    points
        .iter()
        .fold(start, |[low, high], p| [at(low.x.min(p.x), low.y.min(p.y)), at(high.x.max(p.x), high.y.max(p.y))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_union_is_at_least_its_parts() {
        let (a, b) = (ellipse(-0.5, 0.0, 1.0, 0.7), ellipse(0.6, 0.1, 0.8, 0.9));
        let both = union(a, b, 0.4);
        for (x, y) in (-20..20).flat_map(|x| (-15..15).map(move |y| (x, y))) {
            let p = at(x as f32 * 0.1, y as f32 * 0.1);
            let sharp = a.distance(p).min(b.distance(p));
            assert!((sharp - 0.1..=sharp).contains(&both.distance(p)));
        }
    }
}
