//! Random erasing: a rectangle of the picture is painted over, so that a network cannot rely on one detail
//! (Zhong et al., arXiv:1708.04896, algorithm 1, which draws until a rectangle fits; here it is cut to fit).

use crate::random::Key;

/// The smallest part of a picture that is erased.
pub(super) const SMALLEST: f64 = 0.02;

/// Height over width lies between this and its inverse.
const FLATTEST: f64 = 0.3;

/// Paints, in every second picture [H, W, C], over a rectangle of at most the part `largest`, all of it in one drawn
/// colour on the scale 0 to 255.
pub(super) fn erase(largest: f64, [height, width, channels]: [usize; 3], key: Key, picture: &mut [f32]) {
    let mut random = key.stream();
    if picture.is_empty() || random.chance(0.5) {
        return;
    }
    let part = random.uniform(SMALLEST, largest);
    let aspect = random.uniform(FLATTEST.ln(), -FLATTEST.ln()).exp();
    let side = |length: usize, part: f64| ((length as f64 * part.sqrt()).round() as usize).clamp(1, length);
    let (rows, columns) = (side(height, part * aspect), side(width, part / aspect));
    let (top, left) = (random.below(height - rows + 1), random.below(width - columns + 1));
    let colour: Vec<f32> = (0..channels).map(|_| (255.0 * random.unit()) as f32).collect();
    for row in picture.chunks_exact_mut(width * channels).skip(top).take(rows) {
        row[left * channels..][..columns * channels]
            .chunks_exact_mut(channels)
            .for_each(|x| x.copy_from_slice(&colour));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_pictures_lose_one_rectangle_of_one_colour() {
        let (shape, mut erased) = ([20, 30, 2], 0);
        for seed in 0..400 {
            let mut picture = vec![-1.0; 20 * 30 * 2];
            erase(0.25, shape, Key::new(seed), &mut picture);
            let pixels: Vec<&[f32]> = picture.chunks(2).collect();
            let painted: Vec<usize> = (0..600).filter(|&at| pixels[at][0] >= 0.0).collect();
            let Some((&first, &last)) = painted.first().zip(painted.last()) else { continue };
            erased += 1;
            let (rows, columns) = (last / 30 - first / 30 + 1, last % 30 - first % 30 + 1);
            assert_eq!(painted.len(), rows * columns, "the rectangle is full");
            assert!(painted.iter().all(|&at| pixels[at] == pixels[first]));
            assert!((0.01..0.28).contains(&(painted.len() as f64 / 600.0)));
        }
        assert!((160..240).contains(&erased), "{erased}");
    }

    #[test]
    fn any_shape_and_part_fit() {
        for shape in [[1, 1, 3], [1, 500, 1], [300, 2, 4], [0, 5, 3], [5, 0, 3], [5, 5, 0]] {
            for seed in 0..50 {
                let mut picture = vec![0.0; shape.iter().product()];
                erase(1.0, shape, Key::new(seed), &mut picture);
                assert!(picture.iter().all(|x| (0.0..=255.0).contains(x)));
            }
        }
    }
}
