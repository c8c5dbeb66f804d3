//! Dogs: long muzzle, large nose, floppy, folded or upright ears, small dark eyes, a tongue, a thick or short tail.

use super::animal::{Animal, Build};
use super::canvas::{Canvas, Frame};
use super::coat::{Coat, Pattern};
use super::colour::{Rgb, between, mix, pick, shade};
use super::shapes::{Point, at, capsule, ellipse, polygon, union};
use crate::random::Random;

/// Browns, and now and then blue.
const IRISES: [Rgb; 6] =
    [[0.3, 0.18, 0.08], [0.2, 0.12, 0.06], [0.15, 0.1, 0.05], [0.45, 0.28, 0.1], [0.25, 0.15, 0.08], [0.4, 0.6, 0.75]];
const LIPS: Rgb = [0.1; 3];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ears {
    Floppy,
    Folded,
    Upright,
}

pub(super) struct Dog {
    coat: Coat,
    build: Build,
    ears: Ears,
    /// Length of the ears.
    ear: f32,
    ear_coat: Coat,
    /// Half width of the skull, half width and length of the muzzle.
    width: f32,
    muzzle: f32,
    snout: f32,
    iris: Rgb,
    /// Radius of the eye.
    eye: f32,
    tongue: bool,
    /// A light stripe from the forehead to the muzzle.
    blaze: bool,
}

impl Dog {
    pub fn drawn(random: &mut Random) -> Self {
        use Pattern::{Patches, Saddle, Solid, Spots, Tabby};
        let coat = Coat::drawn(random, &[Solid, Solid, Solid, Saddle, Saddle, Patches, Patches, Spots, Tabby]);
        let tail = between(random, 1.0, 2.2);
        let build = Build {
            torso: between(random, 3.0, 4.4),
            chest: between(random, 0.9, 1.25),
            hip: between(random, 0.7, 0.95),
            leg: between(random, 1.2, 2.4),
            leg_radius: between(random, 0.22, 0.32),
            neck: between(random, 0.8, 1.4),
            tail: match random.below(3) {
                0 => [at(-0.9, -0.5), at(-0.5, -tail)],
                1 => [at(-0.8, 0.2), at(-tail, -0.2)],
                _ => [at(-0.9, 0.1), at(-0.8, tail)],
            },
            tail_radii: [between(random, 0.2, 0.32), between(random, 0.06, 0.25)],
        };
        let ear_coat = if random.chance(0.5) { coat.plain(coat.second) } else { coat.plain(shade(coat.base, 0.75)) };
        Self {
            coat,
            build,
            ears: match random.below(6) {
                0..3 => Ears::Floppy,
                3..5 => Ears::Folded,
                _ => Ears::Upright,
            },
            ear: between(random, 0.75, 1.35),
            ear_coat,
            width: between(random, 0.76, 0.95),
            muzzle: between(random, 0.38, 0.52),
            snout: between(random, 0.9, 1.5),
            iris: pick(random, &IRISES),
            eye: between(random, 0.11, 0.16),
            tongue: random.chance(0.5),
            blaze: random.chance(0.35),
        }
    }

    /// One ear whose root is the frame's origin, on the right side of the head.
    fn ear(&self, canvas: &mut Canvas, frame: &Frame) {
        let length = self.ear;
        match self.ears {
            Ears::Floppy => {
                let tip = at(0.28, length * 0.95);
                let ear =
                    union(capsule(at(0.0, 0.05), tip, 0.2, 0.3), ellipse(0.2, length * 0.6, 0.3, length * 0.45), 0.2);
                self.ear_coat.draw(canvas, frame, &ear);
            }
            Ears::Folded => {
                let corners = [at(-0.35, -0.1), at(0.2, -0.2), at(0.5, 0.0), at(0.42, length * 0.55)];
                self.ear_coat.draw(canvas, frame, &polygon(corners, 0.08));
            }
            Ears::Upright => {
                let corners = [at(-0.38, 0.0), at(0.2, 0.35), at(0.12, -length * 0.8)];
                self.ear_coat.draw(canvas, frame, &polygon(corners, 0.1));
                let inside = [at(-0.15, 0.0), at(0.1, 0.15), at(0.08, -length * 0.45)];
                canvas.glaze(frame, &polygon(inside, 0.05), mix([0.7, 0.5, 0.45], self.coat.base, 0.4), 0.8);
            }
        }
    }

    fn eye(&self, canvas: &mut Canvas, frame: &Frame) {
        let r = self.eye;
        canvas.fill(frame, &ellipse(0.0, 0.0, r * 1.3, r * 1.1), shade(self.coat.base, 0.3));
        canvas.fill(frame, &ellipse(0.0, 0.0, r, r), self.iris);
        canvas.fill(frame, &ellipse(0.0, 0.0, r * 0.6, r * 0.6), [0.02; 3]);
        canvas.fill(frame, &ellipse(-0.04, -0.05, 0.04, 0.04), [1.0; 3]);
    }

    fn nose(&self, canvas: &mut Canvas, frame: &Frame, centre: Point, width: f32) {
        canvas.fill(frame, &ellipse(centre.x, centre.y, width, width * 0.72), [0.07, 0.06, 0.07]);
        canvas.glaze(frame, &ellipse(centre.x - 0.05, centre.y - 0.07, width * 0.4, width * 0.18), [0.8; 3], 0.5);
    }

    /// The muzzle from the front, its middle at x = 0, with the nose's tip `lead` beside it.
    fn muzzle(&self, canvas: &mut Canvas, frame: &Frame, lead: f32) {
        let (m, light) = (self.muzzle, self.coat.plain(self.coat.light));
        if self.tongue {
            canvas.fill(frame, &ellipse(0.0, 0.82, m * 0.6, 0.2), [0.25, 0.1, 0.1]);
            self.hanging_tongue(canvas, frame, at(0.0, 0.85));
        } else {
            light.draw(canvas, frame, &ellipse(0.0, 0.84, m * 0.6, 0.2));
        }
        let jowl = |side: f32| ellipse(side * m * 0.45, 0.66, m * 0.6, 0.27);
        let bridge = ellipse(0.0, 0.42, m * 0.85, 0.36);
        light.draw(canvas, frame, &union(union(jowl(-1.0), jowl(1.0), 0.1), bridge, 0.2));
        let (nose, lip) = (at(lead, 0.32), at(lead, 0.74));
        canvas.glaze(frame, &capsule(nose, lip, 0.03, 0.03), LIPS, 0.8);
        for side in [-1.0, 1.0] {
            canvas.glaze(frame, &capsule(lip, lip + at(side * m * 0.7, 0.08), 0.03, 0.02), LIPS, 0.8);
        }
        self.nose(canvas, frame, nose, m * 0.5);
    }

    fn hanging_tongue(&self, canvas: &mut Canvas, frame: &Frame, root: Point) {
        canvas.fill(frame, &capsule(root, root + at(0.02, 0.38), 0.15, 0.17), [0.86, 0.42, 0.46]);
        canvas.glaze(frame, &capsule(root, root + at(0.02, 0.34), 0.02, 0.02), [0.6, 0.25, 0.3], 0.8);
    }
}

impl Animal for Dog {
    fn build(&self) -> Build {
        self.build
    }

    fn coat(&self) -> &Coat {
        &self.coat
    }

    fn face(&self, canvas: &mut Canvas, frame: &Frame, turn: f32) {
        // What stands out from the face moves to the side that the head is turned to; a muzzle most of all.
        let x = |x: f32, depth: f32| x * (1.0 - 0.15 * turn.abs()) + turn * depth;
        let ears = |canvas: &mut Canvas| {
            for side in [-1.0, 1.0] {
                let root = at(x(side * self.width * 0.8, -0.05), -0.55);
                self.ear(canvas, &frame.moved(root).scaled(side, 1.0));
            }
        };
        if self.ears == Ears::Upright {
            ears(canvas);
        }
        let depth = 0.3 * self.snout;
        let cheeks = ellipse(x(0.0, 0.15), 0.35, self.width * 0.75, 0.6);
        self.coat.draw(canvas, frame, &union(ellipse(0.0, -0.12, self.width, 0.86), cheeks, 0.3));
        if self.blaze {
            let stripe = capsule(at(x(0.0, 0.1), -0.75), at(x(0.0, depth), 0.3), 0.1, 0.2);
            self.coat.plain(self.coat.light).draw(canvas, frame, &stripe);
        }
        if self.ears != Ears::Upright {
            ears(canvas);
        }
        for side in [-1.0, 1.0] {
            self.eye(canvas, &frame.moved(at(x(side * 0.36, 0.15), -0.15)));
        }
        self.muzzle(canvas, &frame.moved(at(x(0.0, depth), 0.0)), 0.2 * depth * turn);
    }

    fn profile(&self, canvas: &mut Canvas, frame: &Frame) {
        let tip = at(0.35 + self.snout * 0.8, 0.3);
        if self.ears == Ears::Upright {
            self.ear(canvas, &frame.moved(at(0.1, -0.55)));
        }
        let snout = capsule(at(0.3, 0.15), tip, 0.48, self.muzzle * 0.62);
        if self.tongue {
            self.hanging_tongue(canvas, frame, at(tip.x - 0.2, 0.5));
        }
        self.coat.draw(canvas, frame, &union(ellipse(-0.05, -0.05, 0.82, 0.8), snout, 0.25));
        let light = self.coat.plain(self.coat.light);
        light.draw(canvas, frame, &capsule(at(0.7, 0.4), tip + at(-0.1, 0.08), 0.2, self.muzzle * 0.42));
        canvas.glaze(frame, &capsule(tip + at(0.12, 0.17), at(0.55, 0.52), 0.03, 0.03), LIPS, 0.8);
        self.nose(canvas, frame, tip + at(self.muzzle * 0.5, -0.1), 0.17);
        self.eye(canvas, &frame.moved(at(0.42, -0.22)));
        self.ear(canvas, &frame.moved(at(-0.28, -0.45)).scaled(-1.0, 1.0));
    }
}
