//! Fur: the coats that both species wear.

use super::canvas::{Canvas, Frame};
use super::colour::{Rgb, between, mix, noise, pick, shade};
use super::shapes::{Point, Shape, at};
use crate::random::Random;

/// The drawing on a coat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pattern {
    Solid,
    /// Dark stripes, across the body and on the forehead.
    Tabby,
    /// Large fields of the second colour.
    Patches,
    /// Small fields of the second colour.
    Spots,
    /// The back in the second colour.
    Saddle,
}

/// Fur: colours, pattern, roughness.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coat {
    pub base: Rgb,
    pub second: Rgb,
    /// Of chest, muzzle and paws.
    pub light: Rgb,
    pub pattern: Pattern,
    /// How far hairs stand out, in units of the head.
    pub fluff: f32,
    seed: u32,
}

/// The colours of fur: black, grey, silver, chocolate, brown, red, tan, cream, white.
const FURS: [Rgb; 9] = [
    [0.13, 0.12, 0.13],
    [0.42, 0.42, 0.45],
    [0.68, 0.68, 0.70],
    [0.30, 0.19, 0.13],
    [0.48, 0.33, 0.21],
    [0.78, 0.48, 0.22],
    [0.76, 0.60, 0.40],
    [0.90, 0.80, 0.64],
    [0.94, 0.93, 0.90],
];

impl Coat {
    /// A coat with one of these patterns.
    pub fn drawn(random: &mut Random, patterns: &[Pattern]) -> Self {
        let mut fur = || {
            let vary = [0.0; 3].map(|_: f32| between(random, -0.04, 0.04));
            let brightness = between(random, 0.85, 1.12);
            let colour = pick(random, &FURS);
            std::array::from_fn(|k| (colour[k] * brightness + vary[k]).clamp(0.04, 0.97))
        };
        let (base, other): (Rgb, Rgb) = (fur(), fur());
        let pattern = pick(random, patterns);
        let second = match pattern {
            Pattern::Tabby => shade(base, if base[1] > 0.25 { 0.5 } else { 1.9 }),
            _ => other,
        };
        let light = match random.below(3) {
            0 => base,
            1 => mix(base, [0.95, 0.93, 0.90], 0.45),
            _ => [0.94, 0.92, 0.88],
        };
        let fluff = between(random, 0.02, 0.16);
        Self { base, second, light, pattern, fluff, seed: random.below(1 << 31) as u32 }
    }

    /// The same fur all in one colour.
    pub fn plain(&self, colour: Rgb) -> Self {
        Self { base: colour, pattern: Pattern::Solid, ..*self }
    }

    /// The same fur in less light.
    pub fn shaded(&self, factor: f32) -> Self {
        let [base, second, light] = [self.base, self.second, self.light].map(|colour| shade(colour, factor));
        Self { base, second, light, ..*self }
    }

    fn colour(&self, p: Point) -> Rgb {
        let part = match self.pattern {
            Pattern::Solid => 0.0,
            Pattern::Tabby => {
                let wave = (p.x * 7.0 + 2.2 * (p.y * 1.3).sin() + 3.0 * noise(p * 1.7, self.seed)).sin();
                ((wave + 0.1) * 1.6).clamp(0.0, 0.85)
            }
            Pattern::Patches => ((noise(p * 0.9, self.seed) - 0.52) * 14.0).clamp(0.0, 1.0),
            Pattern::Spots => ((noise(p * 2.6, self.seed) - 0.62) * 10.0).clamp(0.0, 1.0),
            Pattern::Saddle => ((0.9 - p.y + 0.5 * noise(p * 1.5, self.seed)) * 4.0).clamp(0.0, 1.0),
        };
        let hair = 0.88 + 0.24 * noise(at(p.x * 9.0, p.y * 5.0), self.seed ^ 1);
        shade(mix(self.base, self.second, part), hair)
    }

    /// Draws a part of the body: rounded by darker rims, with hair at the edge.
    pub fn draw(&self, canvas: &mut Canvas, frame: &Frame, shape: &impl Shape) {
        let furry = Furry { shape, fluff: self.fluff, seed: self.seed };
        canvas.draw(frame, &furry, 0.0, |p, distance| {
            let rim = 0.7 + 0.3 * (-distance * 3.5).clamp(0.0, 1.0);
            (shade(self.colour(p), rim), 1.0)
        });
    }
}

/// A shape with a rough edge.
struct Furry<'a, S> {
    shape: &'a S,
    fluff: f32,
    seed: u32,
}

impl<S: Shape> Shape for Furry<'_, S> {
    fn distance(&self, p: Point) -> f32 {
        let distance = self.shape.distance(p);
        // Hair matters only near the edge.
        if distance.abs() > self.fluff { distance } else { distance - self.fluff * (noise(p * 6.0, self.seed) - 0.5) }
    }

    fn bounds(&self) -> [Point; 2] {
        let [low, high] = self.shape.bounds();
        let hair = at(self.fluff, self.fluff) * 0.5;
        [low - hair, high + hair]
    }
}
