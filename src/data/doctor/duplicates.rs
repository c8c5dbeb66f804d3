//! Pictures that are there more than once, and what that means where they are.

use super::likeness::Likeness;
use super::look::Look;
use super::survey::File;
use super::{Finding, FindingKind, SetReport};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

pub(super) fn judge(sets: &[SetReport], files: &[File], looks: &[Option<Look>]) -> Vec<Finding> {
    groups(looks).iter().flat_map(|group| group_findings(group, sets, files)).collect()
}

fn group_findings(group: &Group, sets: &[SetReport], files: &[File]) -> Vec<Finding> {
    let members = || group.members.iter().map(|&member| &files[member]);
    let paths: Vec<PathBuf> = members().map(|file| file.path.clone()).collect();
    let classes: BTreeSet<&str> = members().map(|file| sets[file.set].classes[file.class].name.as_str()).collect();
    let in_sets: BTreeSet<usize> = members().map(|file| file.set).collect();
    let words = group.likeness.words();

    let mut findings = Vec::new();
    if in_sets.len() > 1 {
        findings.push(Finding::new(FindingKind::Leak, paths.clone(), words));
    }
    if classes.len() > 1 {
        let classes = Vec::from_iter(classes).join(" and ");
        findings.push(Finding::new(FindingKind::ConflictingLabels, paths.clone(), format!("{classes}: {words}")));
    }
    if findings.is_empty() {
        let kind = match group.likeness {
            Likeness::File | Likeness::Pixels => FindingKind::Duplicate,
            Likeness::Near | Likeness::Mirrored => FindingKind::NearDuplicate,
        };
        findings.push(Finding::new(kind, paths, words));
    }
    findings
}

/// Pictures that are the same, each like at least one other of the group.
struct Group {
    members: Vec<usize>,
    /// The loosest link that holds it together.
    likeness: Likeness,
}

fn groups(looks: &[Option<Look>]) -> Vec<Group> {
    let mut links = Links::new(looks.len());
    let mut first_with = HashMap::new();
    let mut different = Vec::new();
    for (place, look) in looks.iter().enumerate().filter_map(|(place, look)| Some((place, look.as_ref()?))) {
        let first = *first_with.entry(look.pixels).or_insert(place);
        if first != place {
            let same_file = looks[first].as_ref().is_some_and(|first| first.file == look.file);
            links.join(first, place, if same_file { Likeness::File } else { Likeness::Pixels });
        } else if !look.is_blank() {
            // Of blank pictures only noise would be compared.
            different.push((place, &look.fingerprint));
        }
    }
    // All with all: an exclusive or and two counts of bits for most pairs. In portions, so that what is found stays
    // small, however often a picture is there.
    let places: Vec<usize> = (0..different.len()).collect();
    for portion in places.chunks(256) {
        let like = |&at: &usize| -> Vec<(usize, usize, Likeness)> {
            let (place, print) = different[at];
            let later = different[at + 1..].iter();
            later.filter_map(|&(other, theirs)| Some((place, other, print.likeness(theirs)?))).collect()
        };
        for (a, b, likeness) in portion.par_iter().map(like).collect::<Vec<_>>().concat() {
            links.join(a, b, likeness);
        }
    }
    links.groups()
}

/// Which pictures hang together (Tarjan's union by path halving).
struct Links {
    /// A picture that this one hangs on, itself for the first of a group.
    towards: Vec<usize>,
    /// The loosest link below a first one.
    loosest: Vec<Likeness>,
}

impl Links {
    fn new(count: usize) -> Self {
        Self { towards: (0..count).collect(), loosest: vec![Likeness::File; count] }
    }

    fn first(&mut self, mut at: usize) -> usize {
        while self.towards[at] != at {
            self.towards[at] = self.towards[self.towards[at]];
            at = self.towards[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize, likeness: Likeness) {
        let (a, b) = (self.first(a), self.first(b));
        if a != b {
            let (first, later) = (a.min(b), a.max(b));
            self.towards[later] = first;
            self.loosest[first] = likeness.max(self.loosest[a]).max(self.loosest[b]);
        }
    }

    /// The groups of two and more, in the order of their first members.
    fn groups(mut self) -> Vec<Group> {
        let mut groups = BTreeMap::<usize, Vec<usize>>::new();
        (0..self.towards.len()).for_each(|place| groups.entry(self.first(place)).or_default().push(place));
        let several = groups.into_iter().filter(|(_, members)| members.len() > 1);
        several.map(|(first, members)| Group { members, likeness: self.loosest[first] }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Picture, ResizeFilter, Species, synthetic};
    use crate::random::Key;

    fn drawn(seed: u64) -> Picture {
        synthetic(Species::Cat, 64, 64, Key::new(seed)).unwrap()
    }

    fn look(picture: &Picture, bytes: &[u8]) -> Option<Look> {
        Some(Look::of(picture, bytes).unwrap())
    }

    fn found(looks: &[Option<Look>]) -> Vec<(Vec<usize>, Likeness)> {
        groups(looks).into_iter().map(|group| (group.members, group.likeness)).collect()
    }

    #[test]
    fn groups_by_their_loosest_link() {
        let smaller = |seed| drawn(seed).resized(50, 50, ResizeFilter::Bilinear).unwrap();
        let looks = [
            look(&drawn(1), b"1"),
            look(&drawn(2), b"2"),
            None,
            look(&drawn(3), b"3"),
            look(&drawn(2), b"2"),
            look(&drawn(3), b"3 again"),
            look(&smaller(4), b"4"),
            look(&drawn(4), b"44"),
            look(&drawn(4), b"44"),
            look(&drawn(5), b"5"),
        ];
        let expected = [(vec![1, 4], Likeness::File), (vec![3, 5], Likeness::Pixels), (vec![6, 7, 8], Likeness::Near)];
        assert_eq!(found(&looks), expected);
    }

    #[test]
    fn blank_pictures_are_the_same_only_to_the_byte() {
        let blank = |value| Picture { height: 40, width: 40, rgb: vec![value; 4800] };
        let looks = [look(&blank(1), b"1"), look(&blank(2), b"2"), look(&blank(1), b"1")];
        assert_eq!(found(&looks), [(vec![0, 2], Likeness::File)]);
    }

    // 1-2, 3-4, 2-4 in any order is one group.
    #[test]
    fn links_join_groups() {
        let near = Likeness::Near;
        for pairs in [[(1, 2), (3, 4), (4, 2)], [(2, 4), (2, 1), (4, 3)], [(4, 3), (4, 2), (1, 2)]] {
            let mut links = Links::new(6);
            pairs.into_iter().for_each(|(a, b)| links.join(a, b, near));
            let groups = links.groups();
            assert_eq!((groups.len(), &groups[0].members), (1, &vec![1, 2, 3, 4]));
        }
    }
}
