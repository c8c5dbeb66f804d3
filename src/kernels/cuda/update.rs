//! One step of an optimizer over flat arenas: `src/kernels/cpu/update.rs` on a GPU.

use super::call::Parameter;
use super::tile::whole;
use super::{Gpu, Span};
use crate::error::Result;
use std::ops::Range;

/// How parameters move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// With m and v.
    Adam,
    Descend,
    /// With u.
    Roll {
        nesterov: bool,
    },
}

/// Numbers in a step's row, `struct Row` of rule.cuh: what decayed entries and what others are multiplied by, η or
/// Adam's α, ε (at least 2⁻⁵⁰), 1 − β₁, 1 − β₂ or μ, the average's c, and the largest norm of all gradients (0 for any).
pub(crate) const ROW: usize = 8;

/// What moves in a step, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moving<'a> {
    pub rule: Rule,
    /// [steps, ROW]
    pub rows: Span<'a, f32>,
    pub control: Span<'a, u32>,
    /// θ [D], of which the first `decayed` entries are decayed.
    pub theta: Span<'a, f32>,
    pub decayed: usize,
    /// m or u, and v, as far as the rule knows them: [D]
    pub moments: [Span<'a, f32>; 2],
    /// [D], or none
    pub average: Span<'a, f32>,
}

/// `struct Arena` of rule.cuh.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arena {
    rows: u64,
    control: u64,
    theta: u64,
    moments: [u64; 2],
    average: u64,
    steps: i32,
    decayed: i32,
}

// SAFETY: `Arena` is laid out as in rule.cuh.
unsafe impl Parameter for Moving<'_> {
    type Passed = Arena;

    fn passed(self) -> Arena {
        let used = self.rule.moments();
        let count = self.theta.len();
        assert!(self.moments[..used].iter().all(|moment| moment.len() == count) && self.decayed <= count);
        assert!(self.average.len() == count || self.average.len() == 0);
        assert!(self.control.len() == 4 && self.rows.len() >= ROW && self.rows.len().is_multiple_of(ROW));
        Arena {
            rows: self.rows.passed(),
            control: self.control.passed(),
            theta: self.theta.passed(),
            moments: self.moments.map(Span::passed),
            average: self.average.passed(),
            steps: whole(self.rows.len() / ROW),
            decayed: whole(self.decayed),
        }
    }
}

impl<'a> Moving<'a> {
    /// Some of the entries alone.
    pub fn part(self, range: Range<usize>) -> Self {
        let Range { start, end } = range;
        let of = |span: Span<'a, f32>| if span.len() == 0 { span } else { span.part(start..end) };
        let decayed = self.decayed.clamp(start, end) - start;
        let (theta, moments, average) = (of(self.theta), self.moments.map(of), of(self.average));
        Self { decayed, theta, moments, average, ..self }
    }
}

impl Rule {
    /// How many moments it has.
    fn moments(self) -> usize {
        match self {
            Self::Adam => 2,
            Self::Descend => 0,
            Self::Roll { .. } => 1,
        }
    }

    /// Its number among the `RuleKind`s of move.cuh.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Adam => 0,
            Self::Descend => 1,
            Self::Roll { nesterov } => 2 + i32::from(nesterov),
        }
    }
}

/// Moves all that moves by `g` [D]. `norm` is Σ g² of all gradients. Where the training is halted, nothing moves.
pub(crate) fn apply(gpu: &Gpu, moving: &Moving<'_>, g: Span<'_, f32>, norm: Span<'_, f64>) -> Result<()> {
    let kernel = match moving.rule {
        Rule::Adam => "update_adam",
        Rule::Descend => "update_descend",
        Rule::Roll { nesterov: false } => "update_roll",
        Rule::Roll { nesterov: true } => "update_roll_nesterov",
    };
    let count = moving.theta.len();
    assert!(g.len() == count && norm.len() == 1);
    let call = gpu.call("update", kernel)?.with(*moving).size(count).with(g).with(norm);
    // SAFETY: a thread moves one entry, of which there is one in each tensor that the rule knows.
    unsafe { call.for_each(count) }
}

/// On to the next row of all tables, unless the training is halted.
pub(crate) fn advance(gpu: &Gpu, control: Span<'_, u32>) -> Result<()> {
    assert_eq!(control.len(), 4);
    let call = gpu.call("update", "update_advance")?.with(control);
    // SAFETY: one thread, and `control` is one.
    unsafe { call.launch([1, 1, 1], 1) }
}

#[cfg(test)]
mod tests {
    use super::super::Buffer;
    use super::super::testing::{gpu, same_bits};
    use super::*;
    use crate::kernels::cpu::testing::{cast, close, draw, magnitudes};
    use crate::kernels::cpu::update as cpu;
    use crate::random::{Key, Random};

    const ALL: [Rule; 4] = [Rule::Adam, Rule::Descend, Rule::Roll { nesterov: false }, Rule::Roll { nesterov: true }];

    /// A step's numbers, its entries, and where the decayed ones end.
    #[derive(Clone)]
    struct Case {
        rule: Rule,
        row: [f32; ROW],
        decayed: usize,
        theta: Vec<f32>,
        g: Vec<f32>,
        moments: [Vec<f32>; 2],
        average: Option<Vec<f32>>,
        halted: u32,
    }

    impl Case {
        fn draw(rule: Rule, len: usize, random: &mut Random) -> Self {
            let row = [(0.9, 1.0), (0.9, 1.0), (1e-4, 0.5), (1e-8, 0.1), (0.01, 1.0), (0.001, 1.0), (0.01, 1.0)];
            let mut row = row.map(|(low, high)| random.uniform(low, high) as f32).to_vec();
            row.push([0.0, 0.5, 1e6][random.below(3)]);
            let [theta, g, m, v] = [(); 4].map(|()| cast::<f32>(&draw(len, random)));
            let average = random.chance(0.5).then(|| cast::<f32>(&draw(len, random)));
            let v = v.iter().map(|v| v.abs()).collect();
            let (row, decayed) = (row.try_into().unwrap(), random.below(len + 1));
            Self { rule, row, decayed, theta, g, moments: [m, v], average, halted: 0 }
        }

        fn used(&self) -> usize {
            self.rule.moments()
        }

        /// θ, the moments that the rule knows, and the average, one after the other.
        fn found(&self) -> Vec<f32> {
            self.found_in(&[0, self.theta.len()])
        }

        /// The same, moved piece by piece.
        fn found_in(&self, ends: &[usize]) -> Vec<f32> {
            let (gpu, nan) = (gpu(), [f32::NAN; ROW]);
            let rows = Buffer::of(&gpu, &[nan, self.row, nan].concat()).unwrap();
            let control = Buffer::of(&gpu, &[1, self.halted, 0, 0]).unwrap();
            let squares = self.g.iter().map(|&g| f64::from(g) * f64::from(g)).sum();
            let (norm, g) = (Buffer::of(&gpu, &[squares]).unwrap(), Buffer::of(&gpu, &self.g).unwrap());
            same_bits(|| {
                let of = |numbers: &[f32]| Buffer::of(&gpu, numbers).unwrap();
                let (theta, [m, v]) = (of(&self.theta), self.moments.each_ref().map(|moment| of(moment)));
                let average = self.average.as_deref().map(of);
                let moments = [0, 1].map(|k| if k < self.used() { [m.span(), v.span()][k] } else { Span::none() });
                let average = average.as_ref().map_or(Span::none(), Buffer::span);
                let (rule, decayed, theta) = (self.rule, self.decayed, theta.span());
                let (rows, control) = (rows.span(), control.span());
                let moving = Moving { rule, rows, control, theta, decayed, moments, average };
                for piece in ends.windows(2).map(|ends| ends[0]..ends[1]) {
                    apply(&gpu, &moving.part(piece.clone()), g.span().part(piece), norm.span()).unwrap();
                }
                let all = [theta, moments[0], moments[1], average];
                all.into_iter().flat_map(|span| span.read(&gpu).unwrap()).collect()
            })
        }

        /// The same by the rules in f64, and the sizes of the terms.
        fn expected(&self) -> [Vec<f64>; 2] {
            let row = self.row.map(f64::from);
            let [_, _, rate, epsilon, c1, c2, c, clip] = row;
            let norm = self.g.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let factor = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
            let mut columns = [(); 4].map(|()| Vec::new());
            for i in 0..self.theta.len() {
                let [theta, g, m, v] =
                    [&self.theta, &self.g, &self.moments[0], &self.moments[1]].map(|of| f64::from(of[i]));
                let (theta, g) = (theta * if i < self.decayed { row[0] } else { row[1] }, g * factor);
                let (mut entries, moved) = match self.rule {
                    Rule::Adam => {
                        let (moved, [m_new, v_new]) =
                            cpu::Rule::entry(cpu::Adam::new(rate, epsilon, [c1, c2]), theta, g, [m, v]);
                        let [m_size, v_size] = [m.abs() + g.abs(), v + g * g];
                        // An error of v, relative to v, is that of the quotient.
                        let size = rate * m_size * (1.0 + v_size / v_new) / (v_new.sqrt() + epsilon);
                        (vec![[moved, theta.abs() + size], [m_new, m_size], [v_new, v_size]], moved)
                    }
                    Rule::Descend => {
                        let (moved, []) = cpu::Rule::entry(cpu::Descend { rate }, theta, g, []);
                        (vec![[moved, theta.abs() + rate * g.abs()]], moved)
                    }
                    Rule::Roll { nesterov } => {
                        let (moved, [u]) = cpu::Rule::entry(cpu::Roll { rate, mu: c2, nesterov }, theta, g, [m]);
                        let size = c2 * m.abs() + rate * g.abs();
                        (vec![[moved, theta.abs() + size + rate * g.abs()], [u, size]], moved)
                    }
                };
                if let Some(average) = &self.average {
                    let a = f64::from(average[i]);
                    let size = a.abs() + entries[0][1];
                    entries.push([cpu::Rule::entry(cpu::Average { c }, a, moved, []).0, size]);
                }
                columns.iter_mut().zip(entries).for_each(|(column, entry)| column.push(entry));
            }
            [0, 1].map(|of| columns.iter().flatten().map(|entry: &[f64; 2]| entry[of]).collect())
        }
    }

    #[test]
    fn drawn_steps_agree_with_the_rules() {
        let mut random = Key::new(1).named("update").stream();
        for (round, rule) in (0..20).flat_map(|round| ALL.map(|rule| (round, rule))) {
            let len = [0, 1, 256, 257, 3000].get(round).copied().unwrap_or(random.below(600));
            let mut case = Case::draw(rule, len, &mut random);
            let [expected, sizes] = case.expected();
            close(&case.found(), &expected, &sizes, &format!("{rule:?} of {len}"));
            case.halted = 1;
            let mut kept = case.theta.clone();
            case.moments[..case.used()].iter().for_each(|moment| kept.extend(moment));
            kept.extend(case.average.iter().flatten());
            assert_eq!(case.found(), kept, "a training that is halted");
        }
    }

    #[test]
    fn pieces_move_as_the_whole() {
        let mut random = Key::new(3).named("update").stream();
        for rule in (0..5).flat_map(|_| ALL) {
            let case = Case::draw(rule, 700, &mut random);
            let mut ends = [0, random.below(701), random.below(701), 700];
            ends.sort_unstable();
            assert!(case.found_in(&ends) == case.found(), "{rule:?} {ends:?}, {} decayed", case.decayed);
        }
    }

    #[test]
    fn what_dies_becomes_0_where_the_cpu_has_it_so() {
        for rule in ALL {
            // Powers of two, so that nothing is rounded.
            let powers: Vec<_> = (0..60).map(|i| 2f32.powi(-2 * i)).collect();
            let [theta, g, m, v] = [0, 7, 13, 29].map(|by| [&powers[by..], &powers[..by]].concat());
            let row = [0.5, 0.5, 0.25, 1e-7, 0.5, 0.25, 0.5, 0.0];
            let case = Case { rule, row, decayed: 0, theta, g, moments: [m, v], average: None, halted: 0 };
            let mut theta = case.theta.clone();
            let [m, v] = &mut case.moments.clone();
            match rule {
                Rule::Adam => cpu::apply(cpu::Adam::new(0.25, 1e-7, [0.5, 0.25]), 0.5, &mut theta, &case.g, [m, v]),
                Rule::Descend => cpu::apply(cpu::Descend { rate: 0.25 }, 0.5, &mut theta, &case.g, []),
                Rule::Roll { nesterov } => {
                    cpu::apply(cpu::Roll { rate: 0.25, mu: 0.25, nesterov }, 0.5, &mut theta, &case.g, [m]);
                }
            }
            let zeros = |numbers: &[f32]| numbers.iter().map(|&number| number == 0.0).collect::<Vec<_>>();
            let moments = [m.as_slice(), v][..case.used()].concat();
            let found = zeros(&case.found());
            assert!(found.contains(&true) && found == zeros(&[theta, moments].concat()), "{rule:?}");
        }
    }

    #[test]
    fn a_step_counts_unless_halted() {
        let gpu = gpu();
        for (halted, step) in [(0, 8), (3, 7)] {
            let control = Buffer::of(&gpu, &[7, halted, 0, 0]).unwrap();
            advance(&gpu, control.span()).unwrap();
            assert_eq!(control.read(&gpu).unwrap(), [step, halted, 0, 0]);
        }
    }

    #[test]
    fn the_norm_is_as_large_as_f64_can_hold() {
        let mut case = Case::draw(Rule::Descend, 3, &mut Key::new(2).stream());
        (case.g, case.row[7], case.average) = (vec![3e38; 3], 0.5, None);
        let [expected, sizes] = case.expected();
        close(&case.found(), &expected, &sizes, "clipped");
        assert!(magnitudes(&case.found()).iter().all(|theta| *theta < 2.0));
    }
}
