//! What cats and dogs have in common: the poses. What differs comes from the [`Animal`]: heads, proportions, tails.
//!
//! The unit is the half width of a head; the head's centre is the origin, except in `walking`.

use super::canvas::{Canvas, Frame};
use super::coat::Coat;
use super::colour::between;
use super::shapes::{Point, Shape, at, capsule, curve, ellipse, union};
use crate::random::Random;

/// Proportions, in half widths of a head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Build {
    /// From hip to shoulder.
    pub torso: f32,
    /// Radii of the torso at shoulder and hip.
    pub chest: f32,
    pub hip: f32,
    /// Length and radius of a leg.
    pub leg: f32,
    pub leg_radius: f32,
    /// From shoulder to head.
    pub neck: f32,
    /// How far the tail's middle and end lie from its root, walking: x away from the body, y down.
    pub tail: [Point; 2],
    /// Radii of the tail at root and end.
    pub tail_radii: [f32; 2],
}

/// One animal as it was drawn from the dice.
pub(super) trait Animal {
    fn build(&self) -> Build;
    fn coat(&self) -> &Coat;
    /// The head from the front, turned to one side by `turn`, −1 to 1.
    fn face(&self, canvas: &mut Canvas, frame: &Frame, turn: f32);
    /// The head from the side, looking to the right.
    fn profile(&self, canvas: &mut Canvas, frame: &Frame);
}

/// How an animal holds itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pose {
    Portrait,
    Sitting,
    Lying,
    Walking,
}

impl Pose {
    /// The corners of a box that the pose fills, roughly.
    pub fn extent(self, build: &Build) -> [Point; 2] {
        match self {
            Self::Portrait => [at(-1.3, -1.5), at(1.3, 1.3)],
            Self::Sitting => [at(-1.7, -1.5), at(1.9, 3.8)],
            Self::Lying => [at(-1.5, -1.5), at(build.torso + 0.9, 2.1)],
            Self::Walking => {
                let half = build.torso / 2.0;
                [at(-half - 1.2, -build.neck - 1.5), at(half + build.neck * 0.7 + 1.8, build.leg + 0.9)]
            }
        }
    }

    pub fn draw(self, canvas: &mut Canvas, frame: &Frame, animal: &dyn Animal, random: &mut Random) {
        let turn = between(random, -0.6, 0.6);
        match self {
            Self::Portrait if random.chance(0.12) => {
                shoulders(canvas, frame, animal, at(-0.9, 2.0));
                animal.profile(canvas, frame);
            }
            Self::Portrait => {
                shoulders(canvas, frame, animal, at(-0.4 * turn, 2.0));
                animal.face(canvas, frame, turn);
            }
            Self::Sitting => sitting(canvas, frame, animal, turn, random),
            Self::Lying => lying(canvas, frame, animal, turn, random),
            Self::Walking => walking(canvas, frame, animal, turn, random),
        }
    }
}

fn shoulders(canvas: &mut Canvas, frame: &Frame, animal: &dyn Animal, chest: Point) {
    let radius = animal.build().chest;
    let neck = capsule(at(0.0, 0.3), chest, 0.7, radius);
    animal.coat().draw(canvas, frame, &union(neck, ellipse(chest.x, 2.6, radius * 1.3, 1.2), 0.6));
}

fn sitting(canvas: &mut Canvas, frame: &Frame, animal: &dyn Animal, turn: f32, random: &mut Random) {
    let (build, coat) = (animal.build(), animal.coat());
    let light = coat.plain(coat.light);
    shadow(canvas, frame, at(0.2, 3.65), build.chest * 1.9);
    let [root, end] = build.tail_radii;
    let reach = -build.tail[1].x.min(-1.0);
    let tip = at(0.8 + 0.7 * reach, 3.0 + build.tail[1].y * 0.5);
    coat.draw(canvas, frame, &curve(at(0.6, 3.2), at(0.9 + reach, 3.7), tip, root, end));
    let (chest, leg) = (build.chest, build.leg_radius);
    let belly = ellipse(0.0, 2.75, chest * 1.2, 0.95);
    coat.draw(canvas, frame, &union(ellipse(0.0, 1.9, chest * 0.95, 1.3), belly, 0.5));
    for side in [-1.0, 1.0] {
        coat.draw(canvas, frame, &ellipse(side * chest, 3.0, 0.55, 0.65));
        light.draw(canvas, frame, &ellipse(side * chest * 1.1, 3.55, 0.4, 0.2));
    }
    light.draw(canvas, frame, &ellipse(0.0, 1.7, chest * 0.55, 0.8));
    for side in [-1.0, 1.0] {
        let x = side * chest * 0.4 + 0.2 * turn;
        coat.draw(canvas, frame, &capsule(at(x, 1.9), at(x, 3.45), leg * 1.25, leg));
        light.draw(canvas, frame, &ellipse(x, 3.55, leg * 1.25, 0.18));
    }
    coat.draw(canvas, frame, &capsule(at(0.0, 0.3), at(0.0, 1.2), 0.68, chest * 0.8));
    look(canvas, frame, animal, turn, 0.15, random);
}

fn lying(canvas: &mut Canvas, frame: &Frame, animal: &dyn Animal, turn: f32, random: &mut Random) {
    let (build, coat) = (animal.build(), animal.coat());
    let light = coat.plain(coat.light);
    let (length, leg) = (build.torso, build.leg_radius);
    shadow(canvas, frame, at(length * 0.5, 1.85), length * 0.8);
    let [root, end] = build.tail_radii;
    let tip = if random.chance(0.5) { at(length - 1.0, 2.0) } else { at(length + 1.2, 1.2 + 0.3 * build.tail[1].y) };
    coat.draw(canvas, frame, &curve(at(length, 1.5), at(length + 1.0, 2.0), tip, root, end));
    let trunk = capsule(at(0.5, 1.0), at(length - 0.5, 1.05), build.chest * 0.9, build.hip);
    coat.draw(canvas, frame, &union(trunk, ellipse(length - 0.4, 1.15, build.hip * 1.1, 0.8), 0.4));
    coat.draw(canvas, frame, &ellipse(length - 0.6, 1.3, 0.75, 0.6));
    light.draw(canvas, frame, &ellipse(length - 1.0, 1.8, 0.5, 0.2));
    let reach = between(random, -1.0, 0.1);
    for shift in [0.45, 0.0] {
        coat.draw(canvas, frame, &capsule(at(0.5 + shift, 1.5), at(reach + shift, 1.75), leg * 1.1, leg));
        light.draw(canvas, frame, &ellipse(reach + shift - 0.1, 1.77, leg * 1.2, 0.2));
    }
    coat.draw(canvas, frame, &capsule(at(0.0, 0.2), at(0.5, 1.0), 0.66, build.chest * 0.8));
    look(canvas, frame, animal, turn, 0.2, random);
}

/// The origin is the middle of the torso.
fn walking(canvas: &mut Canvas, frame: &Frame, animal: &dyn Animal, turn: f32, random: &mut Random) {
    let (build, coat) = (animal.build(), animal.coat());
    let half = build.torso / 2.0;
    shadow(canvas, frame, at(0.0, build.leg + 0.65), half + 0.8);
    let step = between(random, -0.5, 0.5);
    let far = coat.shaded(0.7);
    for (hip, step) in [(0.25 - half, -step), (half - 0.05, step)] {
        far.draw(canvas, frame, &leg(&build, hip, step));
        far.plain(far.light).draw(canvas, frame, &paw(&build, hip, step));
    }
    let [root, end] = build.tail_radii;
    let hip = at(-half - build.hip * 0.75, -0.3);
    coat.draw(canvas, frame, &curve(hip, hip + build.tail[0], hip + build.tail[1], root, end));
    let torso = capsule(at(-half, 0.0), at(half, 0.0), build.hip, build.chest);
    let head = at(half + 0.35 + build.neck * 0.7, -build.neck - between(random, -0.5, 0.4));
    let trunk = union(torso, capsule(at(half, -0.2), head, build.chest * 0.7, 0.6), 0.5);
    let legs = union(leg(&build, -half, step), leg(&build, half - 0.2, -step), 0.1);
    coat.draw(canvas, frame, &union(trunk, legs, 0.4));
    for (hip, step) in [(-half, step), (half - 0.2, -step)] {
        coat.plain(coat.light).draw(canvas, frame, &paw(&build, hip, step));
    }
    look(canvas, &frame.moved(head), animal, turn, 0.5, random);
}

/// A leg in two pieces; `step` moves its foot forward.
fn leg(build: &Build, hip: f32, step: f32) -> impl Shape + use<> {
    let (hip, foot) = (at(hip, 0.2), at(hip + step, build.leg + 0.5));
    let knee = (hip + foot) * 0.5 + at(0.12 - 0.3 * step.abs(), 0.1);
    let r = build.leg_radius;
    union(capsule(hip, knee, r * 1.9, r * 1.1), capsule(knee, foot, r * 1.05, r * 0.85), 0.15)
}

fn paw(build: &Build, hip: f32, step: f32) -> impl Shape + use<> {
    ellipse(hip + step + 0.12, build.leg + 0.55, build.leg_radius * 1.3, build.leg_radius * 0.75)
}

/// The head, a little larger than life: from the side with probability `profile`, else from the front.
fn look(canvas: &mut Canvas, frame: &Frame, animal: &dyn Animal, turn: f32, profile: f64, random: &mut Random) {
    let frame = frame.turned(between(random, -0.2, 0.2)).scaled(1.35, 1.35);
    if !random.chance(profile) {
        animal.face(canvas, &frame, turn);
    } else if random.chance(0.25) {
        animal.profile(canvas, &frame.scaled(-1.0, 1.0));
    } else {
        animal.profile(canvas, &frame);
    }
}

fn shadow(canvas: &mut Canvas, frame: &Frame, centre: Point, radius: f32) {
    canvas.draw(frame, &ellipse(centre.x, centre.y, radius, 0.35), 0.3, |_, _| ([0.05, 0.05, 0.08], 0.4));
}
