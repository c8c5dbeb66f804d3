//! What is wrong with a single picture.

use super::look::{Failure, Look};
use super::{Finding, FindingKind};
use image::ImageFormat;
use std::path::Path;

/// Below this deviation from the mean colour, of 255, a picture counts as blank: some noise, nothing to be seen.
const LEAST_CONTRAST: f64 = 2.0;
/// A shorter side with fewer pixels shows little.
const LEAST_SIDE: usize = 32;
/// A long picture: the side that is this many times longer is squeezed as much.
const MOST_STRETCHED: f64 = 4.0;

pub(super) fn judge(path: &Path, look: &Result<Look, Failure>) -> Vec<Finding> {
    let look = match look {
        Ok(look) => look,
        Err(failure) => return vec![Finding::at(failure.kind, path, &failure.reason)],
    };
    let size = format!("{} × {} pixels", look.width, look.height);
    let mut findings = Vec::new();
    if look.is_blank() {
        findings.push(Finding::at(FindingKind::Blank, path, format!("contrast {:.1} of 127.5", look.contrast)));
    }
    let (short, long) = (look.width.min(look.height), look.width.max(look.height));
    if short < LEAST_SIDE {
        findings.push(Finding::at(FindingKind::Tiny, path, size.clone()));
    }
    if long as f64 >= MOST_STRETCHED * short as f64 {
        findings.push(Finding::at(FindingKind::Stretched, path, size));
    }
    findings.extend(wrong_ending(path, look.format));
    findings
}

impl Look {
    /// Whether the picture is one colour, or nearly so.
    pub fn is_blank(&self) -> bool {
        self.contrast < LEAST_CONTRAST
    }
}

fn wrong_ending(path: &Path, format: Option<ImageFormat>) -> Option<Finding> {
    let format = format?;
    let ending = path.extension();
    if ending.is_some_and(|ending| ImageFormat::from_extension(ending) == Some(format)) {
        return None;
    }
    let ending = ending.map_or("no ending".into(), |ending| format!("the ending {:?}", ending.to_string_lossy()));
    let usual = format.extensions_str().first().copied().unwrap_or("none");
    Some(Finding::at(FindingKind::WrongEnding, path, format!("{ending} on a {format:?}; {usual:?} is usual")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Picture;

    fn found(path: &str, height: usize, width: usize, rgb: impl Fn(usize) -> u8) -> Vec<(FindingKind, String)> {
        let picture = Picture { height, width, rgb: (0..height * width * 3).map(rgb).collect() };
        let look = Look::of(&picture, b"\xFF\xD8\xFF").map_err(|_| unreachable!());
        judge(Path::new(path), &look).into_iter().map(|finding| (finding.kind, finding.detail)).collect()
    }

    #[test]
    fn a_healthy_picture_is_left_in_peace() {
        for name in ["a.jpg", "a b.JPEG", "é.jfif"] {
            assert_eq!(found(name, 32, 127, |at| at as u8), []);
        }
    }

    #[test]
    fn each_oddity_is_told() {
        assert_eq!(found("a.jpg", 31, 40, |at| at as u8), [(FindingKind::Tiny, "40 × 31 pixels".into())]);
        assert_eq!(found("a.jpg", 160, 40, |at| at as u8), [(FindingKind::Stretched, "40 × 160 pixels".into())]);
        let noise = |at| 200 + at as u8 % 3;
        assert_eq!(found("a.jpg", 40, 40, |at| noise(at / 3)), [(FindingKind::Blank, "contrast 0.8 of 127.5".into())]);
        let ending = |name| found(name, 40, 40, |at| at as u8).remove(0).1;
        assert_eq!(ending("a.png"), r#"the ending "png" on a Jpeg; "jpg" is usual"#);
        assert_eq!(ending("a"), r#"no ending on a Jpeg; "jpg" is usual"#);
    }
}
