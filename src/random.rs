//! Random numbers that depend on what they are for and on nothing else.
//!
//! A [`Key`] is derived from the seed by names and numbers, as in
//! `Key::new(seed).named("augment").at(epoch).at(sample)`. Whoever asks for the same key gets the
//! same numbers: on any thread, in any order, after a stop and a resume.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// The name of one stream of random numbers.
///
/// ```
/// use tapetum::prelude::*;
/// let number = |sample| Key::new(1).named("augment").at(sample).stream().unit();
/// assert_eq!(number(7), number(7));
/// assert_ne!(number(7), number(8));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// The root of all keys of one seed.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x7461_7065_7475_6d00))
    }

    /// The key for one purpose.
    pub fn named(self, purpose: &str) -> Self {
        let Self(key) = purpose.bytes().fold(self, |key, byte| key.at(u64::from(byte)));
        // The end of the name, in a step that `at` does not take: no number continues a name into a longer one.
        Self(mix(key.rotate_left(41) ^ mix((purpose.len() as u64).wrapping_add(0x6e61_6d65_6400_0000))))
    }

    /// The key for one epoch, sample or layer.
    pub fn at(self, index: u64) -> Self {
        Self(mix(self.0.rotate_left(23) ^ mix(index.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    /// 64 random bits for each index, from anywhere at once: SplitMix64, started at the key.
    #[inline(always)]
    pub(crate) fn bits(self, index: u64) -> u64 {
        mix(self.0.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// What `bits` begins with, for a device that draws them itself.
    #[cfg(feature = "cuda")]
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The stream itself, from its start.
    pub fn stream(self) -> Random {
        Random(ChaCha8Rng::seed_from_u64(self.0))
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every input bit moves every output bit.
#[inline(always)]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of random numbers: ChaCha with 8 rounds, the same on every platform.
///
/// ```
/// use tapetum::{Key, Random};
/// let mut random: Random = Key::new(1).stream();
/// assert!(random.below(6) < 6 && (2.0..3.0).contains(&random.uniform(2.0, 3.0)));
/// let mut cards = [1, 2, 3, 4];
/// random.shuffle(&mut cards);
/// cards.sort();
/// assert_eq!(cards, [1, 2, 3, 4]);
/// ```
#[derive(Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// A number in [0, 1), uniform over multiples of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number in [low, high), uniform.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A number from the normal distribution with mean 0 and variance 1 (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// An integer in 0..n, uniform (Lemire, arXiv:1805.10941). 0 where n is 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        loop {
            let product = u128::from(self.0.next_u64()) * u128::from(n);
            let low = product as u64;
            if low >= n || low >= n.wrapping_neg() % n.max(1) {
                return (product >> 64) as usize;
            }
        }
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Puts `items` in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_gives_the_same_numbers() {
        let key = Key::new(1).named("augment").at(3);
        let draw = |key: Key| (0..8).map(|_| key.stream().unit()).collect::<Vec<_>>();
        assert_eq!(draw(key), draw(Key::new(1).named("augment").at(3)));
        assert_ne!(draw(key), draw(Key::new(1).named("augment").at(4)));
        assert_ne!(draw(key), draw(Key::new(2).named("augment").at(3)));
        assert_ne!(Key::new(1).at(1).at(2), Key::new(1).at(2).at(1));
    }

    #[test]
    fn a_name_is_no_row_of_numbers() {
        let key = Key::new(1);
        let (a, b) = (u64::from(b'a'), u64::from(b'b'));
        let others = [key.named("a").at(b), key.at(a).named("b"), key.named("a").named("b"), key.at(a).at(b)];
        assert!(!others.contains(&key.named("ab")));
        assert_ne!(key.named(""), key);
    }

    // The reference implementation's first numbers for the seed 1234567 (Vigna, splitmix64.c).
    #[test]
    fn bits_are_splitmix64() {
        let bits = [0, 1, 2].map(|index| Key(1_234_567).bits(index));
        assert_eq!(bits, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    // The first numbers of one stream, so that an update of the generator that changed every training is noticed.
    #[test]
    fn the_stream_is_portable() {
        let mut random = Key::new(1).stream();
        assert_eq!([random.below(1000), random.below(1000), random.below(1000)], [203, 545, 632]);
    }

    #[test]
    fn below_is_uniform_and_in_range() {
        let mut random = Key::new(5).stream();
        let mut counts = [0usize; 7];
        (0..70_000).for_each(|_| counts[random.below(7)] += 1);
        // 10,000 each, standard deviation 93
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 500), "{counts:?}");
        assert_eq!(random.below(0), 0);
    }

    #[test]
    fn normal_has_mean_0_and_variance_1() {
        let mut random = Key::new(6).stream();
        let draws: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
