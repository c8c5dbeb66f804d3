//! The diagnosis as a text for people.

use super::{Diagnosis, Finding, SetReport, Severity, Sizes, Spread};
use std::fmt;
use std::path::Path;

/// So many findings of one kind are shown; the others are counted.
const SHOWN: usize = 10;
/// So many files of one finding are shown.
const SHOWN_FILES: usize = 4;

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.folder.display())?;
        self.sets.iter().try_for_each(|set| write!(f, "{set}"))?;
        if let Some(sizes) = &self.sizes {
            write!(f, "{sizes}")?;
        }
        for findings in self.findings.chunk_by(|a, b| a.kind == b.kind) {
            kind(findings, &self.folder, f)?;
        }
        let [harmful, notes] = [Severity::Harmful, Severity::Note].map(|severity| self.count(severity));
        match harmful {
            0 => write!(f, "\nHealthy: nothing would harm training, {notes} worth a look.")?,
            _ => write!(f, "\nNot healthy: {harmful} would harm training, {notes} worth a look.")?,
        }
        Ok(())
    }
}

impl fmt::Display for SetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pictures: usize = self.classes.iter().map(|class| class.pictures).sum();
        let classes: Vec<String> =
            self.classes.iter().map(|class| format!("{} {}", class.name, class.pictures)).collect();
        write!(f, "{:<16}{pictures}: {}", self.name, classes.join(", "))?;
        match self.imbalance {
            Some(imbalance) if imbalance > 1.0 => write!(f, " ({imbalance:.2} : 1)")?,
            _ => {}
        }
        writeln!(f, "; left out: {} hidden, {} other files", self.hidden, self.others)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<16}{:.0} pixels", "width", self.width)?;
        writeln!(f, "{:<16}{:.0} pixels", "height", self.height)?;
        writeln!(f, "{:<16}{:.3} megapixels", "size", self.megapixels)?;
        writeln!(f, "{:<16}{:.2}", "width : height", self.aspect_ratio)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$} to {:.digits$}, median {:.digits$}", self.min, self.max, self.median)
    }
}

/// The findings of one kind.
fn kind(findings: &[Finding], folder: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(Finding { kind, severity, advice, .. }) = findings.first() else { return Ok(()) };
    let severity = match severity {
        Severity::Harmful => "harmful",
        Severity::Note => "note",
    };
    writeln!(f, "\n{} ({severity}): {}\n  {advice}", kind.title(), findings.len())?;
    for finding in findings.iter().take(SHOWN) {
        let below = |path: &Path| match path.strip_prefix(folder) {
            Ok(below) if below.as_os_str().is_empty() => ".".to_string(),
            Ok(below) => below.display().to_string(),
            Err(_) => path.display().to_string(),
        };
        let mut paths: Vec<String> = finding.paths.iter().take(SHOWN_FILES).map(|path| below(path)).collect();
        if finding.paths.len() > SHOWN_FILES {
            paths.push(format!("{} more", finding.paths.len() - SHOWN_FILES));
        }
        writeln!(f, "    {}: {}", paths.join(" = "), finding.detail)?;
    }
    match findings.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(f, "    … and {more} more; --json FILE lists all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ClassReport, FindingKind};
    use std::path::PathBuf;

    #[test]
    fn long_lists_are_cut_and_counted() {
        let path = |number: usize| PathBuf::from(format!("pets/cats/{number}.jpg"));
        let mut findings = vec![Finding::at(FindingKind::FewClasses, Path::new("pets"), "found only \"cats\"")];
        findings.extend((0..12).map(|n| Finding::at(FindingKind::Damaged, &path(n), "the file is empty")));
        findings.push(Finding::new(FindingKind::Duplicate, (0..6).map(path).collect(), "the same file"));
        let class = ClassReport { name: "cats".into(), path: "pets/cats".into(), pictures: 6, unusable: 12 };
        let set = SetReport {
            name: "pictures".into(),
            path: "pets".into(),
            classes: vec![class],
            imbalance: Some(1.0),
            hidden: 2,
            others: 0,
        };
        let text = Diagnosis { folder: "pets".into(), sets: vec![set], sizes: None, findings }.to_string();
        for line in [
            "pictures        6: cats 6; left out: 2 hidden, 0 other files",
            "    .: found only \"cats\"",
            "damaged files (harmful): 12",
            "  Fetch them again, or delete them: training leaves them out.",
            "    cats/9.jpg: the file is empty",
            "    … and 2 more; --json FILE lists all",
            "    cats/0.jpg = cats/1.jpg = cats/2.jpg = cats/3.jpg = 2 more: the same file",
            "Not healthy: 13 would harm training, 1 worth a look.",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
        assert!(!text.contains("10.jpg"));
    }
}
