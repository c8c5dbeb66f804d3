//! When two pictures are the same one: a hash finds candidates, a thumbnail decides.
//!
//! A thumbnail g [32, 32] in grey has the discrete cosine transform
//!
//! X[u,v] = Σ_{i,j} g[i,j] · cos(π(2i+1)u / 64) · cos(π(2j+1)v / 64)
//!
//! The hash is the signs of its lowest 8 × 8 frequencies, without the mean X[0,0] (C. Zauner, *Implementation and
//! Benchmarking of Perceptual Image Hash Functions*, 2010, section 3.2.1, with the median there instead of 0). A
//! brighter picture has another mean only, one with more contrast the same signs; another size or a strong
//! compression turns few. In a mirrored picture X[u,v] becomes (−1)ᵛ·X[u,v], so its hash is known too.
//!
//! Different pictures can agree in that. So thumbnails a, b with n pixels must also correlate:
//!
//! r = (n·Σab − Σa·Σb) / √((n·Σa² − (Σa)²) · (n·Σb² − (Σb)²))

use crate::data::{Picture, ResizeFilter};
use crate::error::Result;
use std::f64::consts::PI;

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
/// Frequencies in each direction.
const LOW: usize = 8;
/// The bits with odd v, the horizontal frequency: those that mirroring turns.
const ODD: u64 = 0xAAAA_AAAA_AAAA_AAAA;
/// Candidates agree in all but so many of 63 bits.
const MOST_BITS: u32 = 12;
/// The same picture correlates at least so well. Among 10,000 photographs of cats and dogs, seven pairs that are the
/// same to the eye reach 0.997 and more, with 2 differing bits at most; the best of all others reaches 0.922.
const LEAST_CORRELATION: f64 = 0.97;

/// How two pictures are the same, from closest to loosest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likeness {
    File,
    Pixels,
    Near,
    Mirrored,
}

impl Likeness {
    pub fn words(self) -> &'static str {
        match self {
            Self::File => "the same file",
            Self::Pixels => "the same pixels in different files",
            Self::Near => "nearly the same picture",
            Self::Mirrored => "nearly the same picture, mirrored",
        }
    }
}

/// What a picture is recognised by.
pub(super) struct Fingerprint {
    hash: u64,
    /// Grey, from the top.
    thumbnail: Box<[u8; PIXELS]>,
    /// Σa
    sum: i64,
    /// √(n·Σa² − (Σa)²)
    norm: f64,
}

impl Fingerprint {
    /// # Errors
    /// Where the picture has no pixels.
    pub fn of(picture: &Picture) -> Result<Self> {
        let small = picture.resized(SIDE, SIDE, ResizeFilter::Bilinear)?;
        let mut thumbnail = Box::new([0; PIXELS]);
        // The brightness of ITU-R BT.601, in thousandths.
        for (grey, &[r, g, b]) in thumbnail.iter_mut().zip(small.rgb.as_chunks().0) {
            *grey = ((299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b) + 500) / 1000) as u8;
        }
        let values = || thumbnail.iter().map(|&value| i64::from(value));
        let sum: i64 = values().sum();
        let squares: i64 = values().map(|value| value * value).sum();
        let norm = ((PIXELS as i64 * squares - sum * sum) as f64).sqrt();
        Ok(Self { hash: hash(&thumbnail), thumbnail, sum, norm })
    }

    /// Whether the two show the same picture.
    pub fn likeness(&self, other: &Self) -> Option<Likeness> {
        let differing = self.hash ^ other.hash;
        if differing.count_ones() <= MOST_BITS && self.correlates(other, false) {
            return Some(Likeness::Near);
        }
        let mirrored = (differing ^ ODD).count_ones() <= MOST_BITS;
        (mirrored && self.correlates(other, true)).then_some(Likeness::Mirrored)
    }

    fn correlates(&self, other: &Self, mirrored: bool) -> bool {
        let rows = self.thumbnail.chunks_exact(SIDE).zip(other.thumbnail.chunks_exact(SIDE));
        let products: i64 = match mirrored {
            false => rows.map(|(a, b)| dot(a, b.iter())).sum(),
            true => rows.map(|(a, b)| dot(a, b.iter().rev())).sum(),
        };
        let covariance = PIXELS as i64 * products - self.sum * other.sum;
        covariance as f64 >= LEAST_CORRELATION * self.norm * other.norm
    }
}

fn dot<'a>(a: &[u8], b: impl Iterator<Item = &'a u8>) -> i64 {
    let sum: u32 = a.iter().zip(b).map(|(&a, &b)| u32::from(a) * u32::from(b)).sum();
    sum.into()
}

// Along the rows, then along the columns: h[i,v] = Σⱼ g[i,j]·c[v,j], X[u,v] = Σᵢ h[i,v]·c[u,i].
fn hash(thumbnail: &[u8; PIXELS]) -> u64 {
    let cosine = |k: usize, at: usize| (PI * ((2 * at + 1) * k) as f64 / (2 * SIDE) as f64).cos();
    let cosines: [[f64; SIDE]; LOW] = std::array::from_fn(|k| std::array::from_fn(|at| cosine(k, at)));
    let rows = thumbnail.as_chunks::<SIDE>().0.iter();
    let along_rows: Vec<[f64; LOW]> = rows
        .map(|row| cosines.map(|cosines| cosines.iter().zip(row).map(|(c, &value)| c * f64::from(value)).sum()))
        .collect();
    let transformed =
        |u: usize, v: usize| -> f64 { cosines[u].iter().zip(&along_rows).map(|(c, row)| c * row[v]).sum() };
    (1..LOW * LOW).filter(|bit| transformed(bit / LOW, bit % LOW) > 0.0).map(|bit| 1 << bit).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Species, synthetic};
    use crate::random::Key;

    fn drawn(number: u64) -> Picture {
        let species = if number.is_multiple_of(2) { Species::Cat } else { Species::Dog };
        synthetic(species, 90, 120, Key::new(number)).unwrap()
    }

    fn likeness(a: &Picture, b: &Picture) -> Option<Likeness> {
        Fingerprint::of(a).unwrap().likeness(&Fingerprint::of(b).unwrap())
    }

    fn mirrored(picture: &Picture) -> Picture {
        let rows = picture.rgb.chunks_exact(3 * picture.width);
        let rgb = rows.flat_map(|row| row.as_chunks::<3>().0.iter().rev().flatten().copied()).collect();
        Picture { rgb, ..picture.clone() }
    }

    #[test]
    fn a_picture_is_known_again() {
        for number in 0..20 {
            let picture = drawn(number);
            let smaller = picture.resized(50, 71, ResizeFilter::Bilinear).unwrap();
            let brighter = Picture { rgb: picture.rgb.iter().map(|&x| x - x / 10 + 20).collect(), ..picture.clone() };
            let grey =
                |p: &[u8; 3]| [(0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2])) as u8; 3];
            let rgb = picture.rgb.as_chunks().0.iter().flat_map(grey).collect();
            let grey = Picture { rgb, ..picture.clone() };
            for changed in [&smaller, &brighter, &grey] {
                assert_eq!(likeness(&picture, changed), Some(Likeness::Near), "{number}");
                assert_eq!(likeness(&mirrored(changed), &picture), Some(Likeness::Mirrored), "{number}");
            }
        }
    }

    #[test]
    fn different_pictures_are_different() {
        let prints: Vec<Fingerprint> = (0..300).map(|number| Fingerprint::of(&drawn(number)).unwrap()).collect();
        for (at, one) in prints.iter().enumerate() {
            assert!(prints[..at].iter().all(|other| one.likeness(other).is_none()), "{at}");
        }
    }

    // Signs from the sum as it stands above; those near 0 may turn by rounding.
    #[test]
    fn the_hash_is_the_signs_of_the_cosine_transform() {
        let print = Fingerprint::of(&drawn(3)).unwrap();
        for (u, v) in (1..64).map(|bit| (bit / 8, bit % 8)) {
            let term = |at: usize| {
                let (i, j) = ((at / 32) as f64, (at % 32) as f64);
                let angle = |at: f64, k: usize| PI * (2.0 * at + 1.0) * k as f64 / 64.0;
                f64::from(print.thumbnail[at]) * angle(i, u).cos() * angle(j, v).cos()
            };
            let sum: f64 = (0..1024).map(term).sum();
            assert!(sum.abs() < 1e-6 || (sum > 0.0) == (print.hash >> (8 * u + v) & 1 == 1), "{u} {v}");
        }
        let turned = Fingerprint::of(&mirrored(&drawn(3))).unwrap();
        assert!((turned.hash ^ print.hash ^ ODD).count_ones() <= 1, "X[0,0] has no bit");
    }
}
