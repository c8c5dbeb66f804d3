//! Cats: pointed ears, round short face, large eyes with slits, small nose, whiskers, slim tail.

use super::animal::{Animal, Build};
use super::canvas::{Canvas, Frame};
use super::coat::{Coat, Pattern};
use super::colour::{Rgb, between, mix, pick, shade};
use super::shapes::{Point, at, capsule, ellipse, polygon, union};
use crate::random::Random;

/// Green, yellow, copper, blue, dull green.
const IRISES: [Rgb; 5] = [[0.55, 0.65, 0.2], [0.8, 0.65, 0.15], [0.75, 0.45, 0.15], [0.35, 0.6, 0.75], [0.4, 0.6, 0.4]];
const NOSES: [Rgb; 3] = [[0.85, 0.55, 0.55], [0.7, 0.4, 0.4], [0.2, 0.15, 0.15]];
const LIPS: Rgb = [0.15, 0.1, 0.1];

pub(super) struct Cat {
    coat: Coat,
    build: Build,
    /// The right ear's tip: how far to the right of the head's centre, and how far above it.
    ear: Point,
    /// Half width of the head.
    width: f32,
    iris: Rgb,
    /// Half width of the pupil as a part of the eye.
    pupil: f32,
    /// Half height of the eye.
    eye: f32,
    asleep: bool,
    nose: Rgb,
    whisker: Rgb,
}

impl Cat {
    pub fn drawn(random: &mut Random) -> Self {
        use Pattern::{Patches, Saddle, Solid, Spots, Tabby};
        let coat = Coat::drawn(random, &[Tabby, Tabby, Tabby, Solid, Solid, Patches, Patches, Spots, Saddle]);
        let tail = between(random, 2.2, 3.2);
        let raised = random.chance(0.6);
        let build = Build {
            torso: between(random, 3.0, 3.8),
            chest: between(random, 0.8, 1.0),
            hip: between(random, 0.75, 1.05),
            leg: between(random, 1.3, 1.8),
            leg_radius: between(random, 0.2, 0.26),
            neck: between(random, 0.5, 0.9),
            tail: if raised {
                [at(-1.3, -0.4), at(between(random, -1.2, -0.3), -tail)]
            } else {
                [at(-1.2, 0.3), at(-tail, between(random, -0.3, 1.2))]
            },
            tail_radii: [between(random, 0.15, 0.22), between(random, 0.1, 0.2)],
        };
        let dark = coat.base[1] < 0.3;
        Self {
            coat,
            build,
            ear: at(between(random, 0.68, 0.95), between(random, 1.2, 1.65)),
            width: between(random, 0.94, 1.12),
            iris: pick(random, &IRISES),
            pupil: between(random, 0.2, 0.75),
            eye: between(random, 0.21, 0.29),
            asleep: random.chance(0.06),
            nose: pick(random, &NOSES),
            whisker: if dark || random.chance(0.6) { [0.95; 3] } else { [0.2; 3] },
        }
    }

    fn ear(&self, canvas: &mut Canvas, frame: &Frame, [inner, outer, tip]: [Point; 3]) {
        self.coat.draw(canvas, frame, &polygon([inner, outer, tip], 0.06));
        let centre = (inner + outer + tip) * (1.0 / 3.0);
        let inside = [inner, outer, tip].map(|corner| centre + (corner - centre) * 0.5);
        canvas.glaze(frame, &polygon(inside, 0.03), mix([0.8, 0.55, 0.5], self.coat.base, 0.35), 0.85);
    }

    /// An eye about the frame's origin, `width` as a part of its height.
    fn eye(&self, canvas: &mut Canvas, frame: &Frame, width: f32) {
        let r = self.eye;
        if self.asleep {
            return canvas.fill(frame, &capsule(at(-r * width, 0.03), at(r * width, 0.06), 0.035, 0.035), [0.1; 3]);
        }
        canvas.fill(frame, &ellipse(0.0, 0.0, r * width * 1.2, r * 1.02), shade(self.coat.base, 0.3));
        canvas.fill(frame, &ellipse(0.0, 0.0, r * width, r * 0.84), self.iris);
        canvas.fill(frame, &ellipse(0.0, 0.0, r * width * self.pupil, r * 0.8), [0.03; 3]);
        canvas.fill(frame, &ellipse(-0.06, -0.08, 0.05, 0.05), [1.0; 3]);
    }

    fn whiskers(&self, canvas: &mut Canvas, frame: &Frame, root: Point, side: f32) {
        for (rise, length) in [(-0.22, 0.85), (-0.02, 0.95), (0.18, 0.85)] {
            let end = root + at(side * length, rise);
            canvas.glaze(frame, &capsule(root + at(0.0, rise * 0.3), end, 0.022, 0.012), self.whisker, 0.9);
        }
    }
}

impl Animal for Cat {
    fn build(&self) -> Build {
        self.build
    }

    fn coat(&self) -> &Coat {
        &self.coat
    }

    fn face(&self, canvas: &mut Canvas, frame: &Frame, turn: f32) {
        // What stands out from the face moves to the side that the head is turned to.
        let x = |x: f32, depth: f32| x * (1.0 - 0.15 * turn.abs()) + turn * depth;
        for side in [-1.0, 1.0] {
            let corner = |across: f32, up: f32| at(x(side * across, 0.05), -up);
            self.ear(canvas, frame, [corner(0.2, 0.7), corner(0.93, 0.2), corner(self.ear.x, self.ear.y)]);
        }
        let cheeks = ellipse(x(0.0, 0.1), 0.32, self.width * 0.92, 0.55);
        self.coat.draw(canvas, frame, &union(ellipse(0.0, -0.05, self.width, 0.84), cheeks, 0.3));
        if self.coat.pattern == Pattern::Tabby {
            for (across, lean) in [(-0.25, -0.08), (0.0, 0.0), (0.25, 0.08)] {
                let (from, to) = (at(x(across, 0.15), -0.75), at(x(across - lean, 0.2), -0.38));
                canvas.glaze(frame, &capsule(from, to, 0.07, 0.03), self.coat.second, 0.8);
            }
        }
        let light = self.coat.plain(self.coat.light);
        light.draw(canvas, frame, &ellipse(x(0.0, 0.25), 0.62, 0.25, 0.17));
        for side in [-1.0, 1.0] {
            light.draw(canvas, frame, &ellipse(x(side * 0.2, 0.27), 0.43, 0.27, 0.21));
        }
        let nose = at(x(0.0, 0.32), 0.25);
        let line = |canvas: &mut Canvas, from, to| canvas.glaze(frame, &capsule(from, to, 0.03, 0.02), LIPS, 0.8);
        line(canvas, nose + at(0.0, 0.1), nose + at(0.0, 0.24));
        for side in [-1.0, 1.0] {
            line(canvas, nose + at(0.0, 0.24), nose + at(side * 0.17, 0.32));
            self.whiskers(canvas, frame, at(x(side * 0.3, 0.27), 0.42), side);
            let eye = frame.moved(at(x(side * 0.43, 0.13), -0.1)).turned(side * -0.25);
            self.eye(canvas, &eye, 1.05);
        }
        let corners = [at(-0.1, -0.04), at(0.1, -0.04), at(0.0, 0.08)].map(|corner| nose + corner);
        canvas.fill(frame, &polygon(corners, 0.04), self.nose);
    }

    fn profile(&self, canvas: &mut Canvas, frame: &Frame) {
        let tip = at(-0.1, -self.ear.y);
        self.coat.draw(canvas, frame, &polygon([at(0.0, -0.6), at(0.55, -0.6), tip + at(0.5, 0.05)], 0.06));
        let head = union(ellipse(0.0, 0.0, 0.95, 0.84), ellipse(0.7, 0.27, 0.36, 0.32), 0.25);
        self.coat.draw(canvas, frame, &head);
        self.ear(canvas, frame, [at(-0.5, -0.45), at(0.2, -0.7), tip]);
        self.coat.plain(self.coat.light).draw(canvas, frame, &ellipse(0.78, 0.4, 0.27, 0.2));
        self.eye(canvas, &frame.moved(at(0.47, -0.1)), 0.75);
        canvas.fill(frame, &ellipse(1.02, 0.16, 0.08, 0.08), self.nose);
        canvas.glaze(frame, &capsule(at(1.0, 0.36), at(0.72, 0.45), 0.03, 0.02), LIPS, 0.8);
        self.whiskers(canvas, frame, at(0.8, 0.36), 1.0);
        self.whiskers(canvas, frame, at(0.7, 0.38), -0.7);
    }
}
