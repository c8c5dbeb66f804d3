//! Output o meets pixel (o·m + u·d − p)/q with tap u, where that is a whole number and inside the picture.
//!
//! One axis of a sliding window, for both ways through it: from a picture to the output of a convolution or pooling
//! (m is the stride and q is 1), and, with the taps in reverse order, back to the picture (q is the stride and m is 1).

use crate::shape::Geometry2D;
use std::ops::Range;

#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    /// Pixels read.
    pub input: usize,
    /// Pixels written.
    pub output: usize,
    /// Taps of the window.
    pub taps: usize,
    /// m
    multiplier: usize,
    /// q: outputs o and o + q meet the picture with taps from the same set.
    pub divisor: usize,
    /// d
    dilation: usize,
    /// p
    before: isize,
    /// Every `period`-th tap meets a pixel, if any does.
    period: usize,
}

/// Outputs `to`, `to` + `to_step` … that meet the picture with the same taps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub count: usize,
    /// Seen from the first of all outputs that were asked for.
    pub to: usize,
    pub to_step: usize,
    /// The pixel that the first output meets with the first tap; 0 without taps.
    pub from: usize,
    pub from_step: usize,
    /// Number of taps.
    pub taps: usize,
    /// The first tap.
    pub tap: usize,
    pub tap_step: usize,
    /// Pixels from one tap to the next.
    pub pixel_step: usize,
}

impl Axis {
    /// Output i meets pixel i·s + u·d − p.
    pub fn forward(geometry: &Geometry2D, axis: usize) -> Self {
        Self {
            input: geometry.input[axis],
            output: geometry.output[axis],
            taps: geometry.kernel[axis],
            multiplier: geometry.stride[axis],
            divisor: 1,
            dilation: geometry.dilation[axis],
            before: geometry.before[axis] as isize,
            period: 1,
        }
    }

    /// Pixel h was met by output (h + p − u·d)/s, which is (h + u'·d − p')/s for tap u' = KH − 1 − u.
    pub fn backward(geometry: &Geometry2D, axis: usize) -> Self {
        let (stride, dilation, taps) = (geometry.stride[axis], geometry.dilation[axis], geometry.kernel[axis]);
        Self {
            input: geometry.output[axis],
            output: geometry.input[axis],
            taps,
            multiplier: 1,
            divisor: stride,
            dilation,
            before: ((taps - 1) * dilation) as isize - geometry.before[axis] as isize,
            period: (1..stride).find(|tap| (tap * dilation).is_multiple_of(stride)).unwrap_or(stride),
        }
    }

    /// p, where three neighbouring taps move on from pixel to pixel: output o meets pixel o + u − p with tap u.
    pub fn steps_by_one(self) -> Option<isize> {
        let Self { taps, multiplier, divisor, dilation, before, .. } = self;
        ([taps, multiplier, divisor, dilation] == [3, 1, 1, 1]).then_some(before)
    }

    /// The outputs `range` and what they meet with these taps, cut into runs.
    pub fn runs(self, range: Range<usize>, taps: Range<usize>) -> impl Iterator<Item = Run> {
        let firsts = range.start..range.end.min(range.start + self.divisor);
        firsts.flat_map(move |first| {
            let (mut rest, start, taps) = (first..range.end, range.start, taps.clone());
            std::iter::from_fn(move || (!rest.is_empty()).then(|| self.run(&mut rest, start, &taps)))
        })
    }

    /// Takes the first run off the outputs `rest.start`, `rest.start` + q …
    fn run(&self, rest: &mut Range<usize>, start: usize, taps: &Range<usize>) -> Run {
        let first = rest.start;
        // (o·m + u·d − p)/q, where it is a whole number
        let pixel = |tap: usize| {
            let distance = (first * self.multiplier + tap * self.dilation) as isize - self.before;
            let (whole, rest) = divided(distance, self.divisor as isize);
            (rest == 0).then_some(whole)
        };
        let mut run = Run {
            count: divided((rest.len() - 1) as isize, self.divisor as isize).0 as usize + 1,
            to: first - start,
            to_step: self.divisor,
            from: 0,
            from_step: self.multiplier,
            taps: 0,
            tap: 0,
            tap_step: self.period,
            pixel_step: divided((self.period * self.dilation) as isize, self.divisor as isize).0 as usize,
        };
        let whole = taps.clone().take(self.period).find(|&tap| pixel(tap).is_some()).unwrap_or(taps.end);
        for tap in (whole..taps.end).step_by(self.period) {
            let pixel = pixel(tap).expect("one tap of each period meets a whole pixel");
            // The first output, counted from here, that meets pixel `bound` or a later one
            let reaches = |bound: usize| {
                let (count, rest) = divided(bound as isize - pixel, self.multiplier as isize);
                count as usize + usize::from(rest > 0)
            };
            if pixel < 0 {
                run.count = run.count.min(reaches(0));
            } else if (pixel as usize) < self.input {
                run.count = run.count.min(reaches(self.input));
                if run.taps == 0 {
                    (run.from, run.tap) = (pixel as usize, tap);
                }
                run.taps += 1;
            }
        }
        rest.start += run.count * self.divisor;
        run
    }
}

/// a / b and a % b. b is mostly 1, and a division takes long.
fn divided(a: isize, b: isize) -> (isize, isize) {
    if b == 1 { (a, 0) } else { (a / b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Key;
    use crate::shape::{Padding, Window2D};

    /// Every (output, tap, pixel) of the outputs `range`.
    fn met(axis: Axis, range: Range<usize>, taps: Range<usize>) -> Vec<[usize; 3]> {
        let mut met = Vec::new();
        let mut seen = vec![0; range.len()];
        for run in axis.runs(range.clone(), taps.clone()) {
            for t in 0..run.count {
                seen[run.to + t * run.to_step] += 1;
                let output = range.start + run.to + t * run.to_step;
                met.extend((0..run.taps).map(|m| {
                    let pixel = run.from + t * run.from_step + m * run.pixel_step;
                    [output, run.tap + m * run.tap_step, pixel]
                }));
            }
        }
        assert!(seen.iter().all(|&times| times == 1), "each output is in one run");
        met.sort();
        met
    }

    #[test]
    fn runs_meet_what_the_geometry_says() {
        let mut random = Key::new(1).named("axis").stream();
        for _ in 0..3000 {
            let window = Window2D {
                stride: [1 + random.below(5), 1],
                dilation: [1 + random.below(4), 1],
                padding: [Padding::Valid, Padding::Same, Padding::all(random.below(9))][random.below(3)],
                ..Window2D::new((1 + random.below(5), 1))
            };
            let Ok(geometry) = window.over("axis", [1 + random.below(20), 1]) else { continue };
            let ranges = [geometry.output[0], geometry.input[0]].map(|len| {
                let start = random.below(len);
                start..start + 1 + random.below(len - start)
            });
            let taps = random.below(geometry.kernel[0]);
            let taps = taps..taps + 1 + random.below(geometry.kernel[0] - taps);
            let products = (0..geometry.output[0]).flat_map(|output| {
                (0..geometry.kernel[0])
                    .filter_map(move |tap| geometry.meets(0, output, tap).map(|pixel| [output, tap, pixel]))
            });
            let reversed = products.clone().map(|[output, tap, pixel]| [pixel, geometry.kernel[0] - 1 - tap, output]);
            let axes = [Axis::forward(&geometry, 0), Axis::backward(&geometry, 0)];
            for ((axis, range), products) in
                axes.into_iter().zip(ranges).zip([products.collect(), reversed.collect::<Vec<_>>()])
            {
                let mut expected: Vec<_> = products
                    .into_iter()
                    .filter(|[output, tap, _]| range.contains(output) && taps.contains(tap))
                    .collect();
                expected.sort();
                assert_eq!(met(axis, range, taps.clone()), expected, "{geometry:?}");
            }
        }
    }
}
