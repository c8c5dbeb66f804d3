//! What is wrong with the classes.

use super::{Finding, FindingKind, SetReport};

/// From here on, unequal classes are a finding.
const MOST_IMBALANCE: f64 = 4.0;

pub(super) fn judge(sets: &[SetReport]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = sets.iter().flat_map(set).collect();
    if let [training, test] = sets {
        findings.extend(only_in(training, test));
        findings.extend(only_in(test, training));
    }
    findings
}

fn set(set: &SetReport) -> Vec<Finding> {
    let mut findings = Vec::new();
    if set.classes.len() < 2 {
        let found = set.classes.first().map_or("none".into(), |class| format!("only {:?}", class.name));
        findings.push(Finding::at(FindingKind::FewClasses, &set.path, format!("found {found}")));
    }
    for class in set.classes.iter().filter(|class| class.pictures == 0) {
        let detail = match class.unusable {
            0 => "it has no pictures".to_string(),
            files => format!("none of its {files} files could be decoded"),
        };
        findings.push(Finding::at(FindingKind::EmptyClass, &class.path, detail));
    }
    if let Some(imbalance) = set.imbalance.filter(|&imbalance| imbalance >= MOST_IMBALANCE) {
        let counts = set.classes.iter().map(|class| format!("{} {}", class.name, class.pictures));
        let detail =
            format!("{} : the largest has {imbalance:.1} times as many", counts.collect::<Vec<_>>().join(", "));
        findings.push(Finding::at(FindingKind::Imbalance, &set.path, detail));
    }
    findings
}

fn only_in(one: &SetReport, other: &SetReport) -> Vec<Finding> {
    let missing = |name: &String| other.classes.iter().all(|class| class.name != *name);
    let only = one.classes.iter().filter(|class| missing(&class.name));
    let finding = |detail: String, path| Finding::at(FindingKind::ClassMismatch, path, detail);
    only.map(|class| finding(format!("{} has no class {:?}", other.name, class.name), &class.path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ClassReport;

    /// A set with so many usable and unusable pictures in each class.
    fn report(name: &str, classes: &[(&str, usize, usize)]) -> SetReport {
        let class = |&(name, pictures, unusable): &(&str, usize, usize)| ClassReport {
            name: name.into(),
            path: name.into(),
            pictures,
            unusable,
        };
        let classes = classes.iter().map(class).collect();
        let name = name.to_string();
        let mut set = SetReport { path: (&name).into(), name, classes, imbalance: None, hidden: 0, others: 0 };
        set.weigh();
        set
    }

    fn told(sets: &[SetReport]) -> Vec<(FindingKind, String)> {
        judge(sets).into_iter().map(|finding| (finding.kind, finding.detail)).collect()
    }

    #[test]
    fn classes_that_cannot_serve() {
        assert_eq!(told(&[report("a", &[("cats", 3, 0), ("dogs", 11, 0)])]), []);
        assert_eq!(told(&[report("a", &[])]), [(FindingKind::FewClasses, "found none".into())]);
        let found = told(&[report("a", &[("cats", 3, 0), ("dogs", 0, 2), ("none", 0, 0), ("seals", 12, 1)])]);
        let expected = [
            (FindingKind::EmptyClass, "none of its 2 files could be decoded"),
            (FindingKind::EmptyClass, "it has no pictures"),
            (FindingKind::Imbalance, "cats 3, dogs 0, none 0, seals 12 : the largest has 4.0 times as many"),
        ];
        assert_eq!(found, expected.map(|(kind, detail)| (kind, detail.to_string())));
    }

    #[test]
    fn training_and_test_need_the_same_classes() {
        let training = report("training_set", &[("Cats", 1, 0), ("dogs", 1, 0)]);
        let test = report("test_set", &[("cats", 1, 0), ("dogs", 1, 0)]);
        let found = told(&[training.clone(), test]);
        let expected = [r#"test_set has no class "Cats""#, r#"training_set has no class "cats""#];
        assert_eq!(found, expected.map(|detail| (FindingKind::ClassMismatch, detail.to_string())));
        assert_eq!(told(&[training.clone(), training]), []);
    }
}
