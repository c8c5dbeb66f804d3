//! Cats and dogs drawn by the program, so that a fresh machine can train without any file.
//!
//! These pictures are **synthetic**: ellipses, strokes and triangles with fur noise on them. A network that tells
//! them apart has learned to tell these drawings apart; it proves nothing about photographs. They exercise the
//! whole pipeline, and they are not trivial: both species share coats, colours, poses and surroundings, and differ
//! as real ones do, in ears, muzzle, eyes, nose, whiskers, tail and proportions.
//!
//! `shapes` are signed distances, `canvas` turns them into pixels, `colour` and `coat` hold noise and fur, `animal`
//! the poses, `cat` and `dog` what makes each of them, `scene` the surroundings and the camera.

mod animal;
mod canvas;
mod cat;
mod coat;
mod colour;
mod dog;
mod scene;
mod shapes;

use super::Picture;
use crate::error::{Error, Result};
use crate::random::{Key, Random};
use animal::{Animal, Pose};
use canvas::{Canvas, Frame};
use cat::Cat;
use colour::between;
use dog::Dog;
use shapes::{Point, at};

/// What a synthetic picture shows. As a number it is the label of the thesis.
///
/// ```
/// use tapetum::data::Species;
/// assert_eq!([Species::Cat, Species::Dog].map(|species| species as usize), [0, 1]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Species {
    /// A cat.
    Cat,
    /// A dog.
    Dog,
}

/// Draws a picture of a cat or a dog: another one for each key, the same for the same key.
///
/// Synthetic: good for trying the library, no evidence about photographs.
///
/// ```
/// use tapetum::data::{Species, synthetic};
/// use tapetum::prelude::*;
/// let cat = synthetic(Species::Cat, 64, 64, Key::new(1).named("train").at(0))?;
/// assert_eq!(cat.shape(), [64, 64, 3]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// Where `height` or `width` is above 4096.
pub fn synthetic(species: Species, height: usize, width: usize, key: Key) -> Result<Picture> {
    if height.max(width) > 4096 {
        return Err(Error::shape("synthetic", "at most 4096 rows and columns", &[height, width]));
    }
    let mut canvas = Canvas::new(height, width);
    if height > 0 && width > 0 {
        // Surroundings come from a stream of their own: they cannot tell the species.
        let mut random = key.named("surroundings").stream();
        scene::background(&mut canvas, &mut random);
        draw_animal(&mut canvas, species, key);
        if random.chance(0.25) {
            scene::foreground(&mut canvas, &mut random);
        }
        scene::expose(&mut canvas, &mut random);
    }
    let rgb = canvas.pixels.iter().flatten().map(|&value| (value * 255.0 + 0.5) as u8).collect();
    Ok(Picture { height, width, rgb })
}

fn draw_animal(canvas: &mut Canvas, species: Species, key: Key) {
    let mut random = key.named("animal").stream();
    let animal: Box<dyn Animal> = match species {
        Species::Cat => Box::new(Cat::drawn(&mut random)),
        Species::Dog => Box::new(Dog::drawn(&mut random)),
    };
    // Nor can the pose.
    let mut random = key.named("pose").stream();
    let pose = match random.below(12) {
        0..9 => Pose::Portrait,
        9 => Pose::Sitting,
        10 => Pose::Lying,
        _ => Pose::Walking,
    };
    let frame = framed(canvas, pose.extent(&animal.build()), &mut random);
    pose.draw(canvas, &frame, animal.as_ref(), &mut random);
}

/// A frame in which a box from `low` to `high` fills the canvas more or less: smaller or larger, a little off the
/// middle, tilted, and half the time mirrored.
fn framed(canvas: &Canvas, [low, high]: [Point; 2], random: &mut Random) -> Frame {
    let (width, height) = (canvas.width as f32, canvas.height as f32);
    let fit = (width / (high.x - low.x)).min(height / (high.y - low.y));
    let scale = fit * between(random, 0.9, 1.15);
    let middle = at(width * between(random, 0.44, 0.56), height * between(random, 0.44, 0.56));
    let mirror = if random.chance(0.5) { -1.0 } else { 1.0 };
    let frame = Frame::new(middle, scale).turned(between(random, -0.13, 0.13)).scaled(mirror, 1.0);
    frame.moved((low + high) * -0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(species: Species, seed: u64) -> Picture {
        synthetic(species, 64, 64, Key::new(seed)).unwrap()
    }

    #[test]
    fn a_key_is_a_picture() {
        assert_eq!(drawn(Species::Cat, 1), drawn(Species::Cat, 1));
        assert_ne!(drawn(Species::Cat, 1), drawn(Species::Cat, 2));
        assert_ne!(drawn(Species::Cat, 1), drawn(Species::Dog, 1));
    }

    #[test]
    fn any_size_will_do() {
        for (height, width) in [(0, 7), (7, 0), (1, 1), (1, 300), (300, 1), (17, 40)] {
            for seed in 0..60 {
                let picture = synthetic(Species::Dog, height, width, Key::new(seed)).unwrap();
                assert_eq!(picture.rgb.len(), height * width * 3);
            }
        }
        assert!(synthetic(Species::Cat, 4097, 1, Key::new(1)).is_err());
        assert!(synthetic(Species::Cat, 1, usize::MAX, Key::new(1)).is_err());
    }

    /// The mean red, green and blue of a picture.
    fn mean(picture: &Picture) -> [f64; 3] {
        let pixels = (picture.height * picture.width) as f64;
        [0, 1, 2].map(|k| picture.rgb.iter().skip(k).step_by(3).map(|&x| f64::from(x)).sum::<f64>() / pixels)
    }

    // Nearest mean colour: trained on 200 of each, tried on 200 others of each.
    #[test]
    fn colour_alone_does_not_tell_them_apart() {
        let means = |species, seeds: std::ops::Range<u64>| -> Vec<[f64; 3]> {
            seeds.map(|seed| mean(&drawn(species, seed))).collect()
        };
        let species = [Species::Cat, Species::Dog];
        let centres = species.map(|species| {
            let means = means(species, 0..200);
            [0, 1, 2].map(|k| means.iter().map(|mean| mean[k]).sum::<f64>() / 200.0)
        });
        let right = species.into_iter().enumerate().map(|(label, species)| {
            let far =
                |mean: &[f64; 3], label: usize| (0..3).map(|k| (mean[k] - centres[label][k]).powi(2)).sum::<f64>();
            means(species, 1000..1200).iter().filter(|mean| far(mean, label) < far(mean, 1 - label)).count()
        });
        let right: usize = right.sum();
        assert!((140..260).contains(&right), "{right} of 400");
    }
}
