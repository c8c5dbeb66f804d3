//! Colours and noise.

use super::shapes::Point;
use crate::random::Random;

/// Red, green and blue from 0 to 1.
pub(super) type Rgb = [f32; 3];

pub(super) fn mix(a: Rgb, b: Rgb, part: f32) -> Rgb {
    std::array::from_fn(|k| a[k] + (b[k] - a[k]) * part)
}

pub(super) fn shade(colour: Rgb, factor: f32) -> Rgb {
    colour.map(|x| (x * factor).min(1.0))
}

/// A colour of this hue (0 to 1 around the circle), saturation and value.
pub(super) fn hsv(hue: f32, saturation: f32, value: f32) -> Rgb {
    [0.0, 2.0 / 3.0, 1.0 / 3.0].map(|offset: f32| {
        let tent = (((hue + offset).fract() * 6.0 - 3.0).abs() - 1.0).clamp(0.0, 1.0);
        value * (1.0 - saturation * (1.0 - tent))
    })
}

pub(super) fn between(random: &mut Random, low: f32, high: f32) -> f32 {
    low + (high - low) * random.unit() as f32
}

pub(super) fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len())]
}

/// Random bits for a point of a grid: the same for the same seed.
pub(super) fn hash(x: i32, y: i32, seed: u32) -> u32 {
    let mut z = (x as u32).wrapping_mul(0x8da6_b343) ^ (y as u32).wrapping_mul(0xd816_3841) ^ seed;
    z = (z ^ (z >> 15)).wrapping_mul(0x2c1b_3c6d);
    z = (z ^ (z >> 12)).wrapping_mul(0x297a_2d39);
    z ^ (z >> 15)
}

/// Smooth noise from 0 to 1 with features about one unit wide.
pub(super) fn noise(p: Point, seed: u32) -> f32 {
    // The whole number below; `floor` would be a call where the processor's baseline has no instruction for it.
    let below = |t: f32| t as i32 - i32::from(t < 0.0);
    let (x, y) = (below(p.x), below(p.y));
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (smooth(p.x - x as f32), smooth(p.y - y as f32));
    let value = |x: i32, y: i32| (hash(x, y, seed) >> 8) as f32 / (1 << 24) as f32;
    let line = |y: i32| value(x, y) * (1.0 - u) + value(x.wrapping_add(1), y) * u;
    line(y) * (1.0 - v) + line(y.wrapping_add(1)) * v
}

#[cfg(test)]
mod tests {
    use super::super::shapes::at;
    use super::*;

    #[test]
    fn noise_is_smooth_and_fills_its_range() {
        let line: Vec<f32> = (-5000..5000).map(|i| noise(at(i as f32 * 0.01, 0.37), 7)).collect();
        assert!(line.iter().all(|value| (0.0..=1.0).contains(value)));
        assert!(line.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 0.02));
        let mean = line.iter().sum::<f32>() / 10_000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
        assert!(line.iter().any(|&value| value < 0.2) && line.iter().any(|&value| value > 0.8));
    }

    #[test]
    fn hues_go_around_the_circle() {
        assert_eq!(hsv(0.0, 1.0, 1.0), [1.0, 0.0, 0.0]);
        assert_eq!(hsv(0.3, 0.0, 0.5), [0.5; 3]);
        let green = hsv(1.0 / 3.0, 1.0, 1.0);
        assert!(green[1] > 0.999 && green[0] < 1e-5 && green[2] < 1e-5, "{green:?}");
    }
}
