//! The doctor, on a healthy folder that is then spoiled in known ways: each is found, and nothing else.
#![cfg(all(feature = "images", unix))]

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, RgbImage};
use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use tapetum::data::FindingKind::{self, *};
use tapetum::data::{DoctorOptions, Picture, ResizeFilter, Species, examine, synthetic};
use tapetum::{Key, with_threads};

/// Drawn pictures, another one for each number.
fn drawn(number: u64) -> Picture {
    let species = if number.is_multiple_of(2) { Species::Cat } else { Species::Dog };
    synthetic(species, 90, 120, Key::new(7).at(number)).unwrap()
}

fn pixels(picture: &Picture) -> RgbImage {
    RgbImage::from_raw(picture.width as u32, picture.height as u32, picture.rgb.clone()).unwrap()
}

fn encoded(picture: &Picture, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(pixels(picture)).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpeg(picture: &Picture, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(&pixels(picture)).unwrap();
    bytes
}

fn plain(height: usize, width: usize, value: impl Fn(usize) -> u8) -> Picture {
    Picture { height, width, rgb: (0..height * width * 3).map(value).collect() }
}

fn write(root: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Training and test, two classes, and all that is odd and harmless.
fn healthy() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for number in 0..32 {
        let (class, set) = (["cats", "dogs"][number as usize % 2], ["training_set", "test_set"][number as usize / 24]);
        let (name, bytes) = match number % 8 {
            0 => ("png", encoded(&drawn(number), ImageFormat::Png)),
            1 => ("bmp", encoded(&drawn(number), ImageFormat::Bmp)),
            2 => ("gif", encoded(&drawn(number), ImageFormat::Gif)),
            3 => ("JPG", jpeg(&drawn(number), 20)),
            4 => ("jpeg", [jpeg(&drawn(number), 90), b"trailing bytes".to_vec()].concat()),
            // without its JFIF header: 18 bytes behind the first two
            5 => ("jpg", [&[0xFF, 0xD8], &jpeg(&drawn(number), 90)[20..]].concat()),
            6 => ("webp", encoded(&drawn(number), ImageFormat::WebP)),
            _ => ("jpg", [&jpeg(&drawn(number), 90)[..20], b"stray", &jpeg(&drawn(number), 90)[20..]].concat()),
        };
        write(root.path(), &format!("{set}/{class}/deep er/{number}.{name}"), bytes);
    }
    write(root.path(), "training_set/.DS_Store", "");
    write(root.path(), "training_set/cats/.hidden/1.jpg", "");
    root
}

fn found(root: &Path) -> Vec<(FindingKind, BTreeSet<PathBuf>)> {
    let diagnosis = examine(root, &DoctorOptions::default()).unwrap();
    let below = |path: &PathBuf| path.strip_prefix(root).unwrap().to_path_buf();
    diagnosis.findings.iter().map(|finding| (finding.kind, finding.paths.iter().map(below).collect())).collect()
}

#[test]
fn a_healthy_folder_is_healthy() {
    let root = healthy();
    let diagnosis = examine(root.path(), &DoctorOptions::default()).unwrap();
    assert_eq!(diagnosis.findings, [], "{diagnosis}");
    assert!(diagnosis.is_healthy());
    let counts: Vec<_> = diagnosis.sets.iter().flat_map(|set| set.classes.iter().map(|class| class.pictures)).collect();
    assert_eq!((counts, diagnosis.sets[0].hidden), (vec![12, 12, 4, 4], 2));
    let sizes = diagnosis.sizes.unwrap();
    assert_eq!((sizes.width.min, sizes.height.median, sizes.aspect_ratio.max), (120.0, 90.0, 120.0 / 90.0));
}

/// A way to spoil the folder: what is done, and what must be found, for which files beside those that were there.
type Spoiling = (fn(&Path), FindingKind, &'static [&'static str]);

const SPOILINGS: [Spoiling; 26] = [
    (|root| write(root, "training_set/cats/half.jpg", half()), Damaged, &["training_set/cats/half.jpg"]),
    (
        |root| write(root, "training_set/cats/ended.jpg", [half(), vec![0xFF, 0xD9]].concat()),
        Damaged,
        &["training_set/cats/ended.jpg"],
    ),
    (|root| write(root, "training_set/cats/grey.jpg", codes_destroyed()), Damaged, &["training_set/cats/grey.jpg"]),
    (|root| write(root, "training_set/cats/empty.png", ""), Damaged, &["training_set/cats/empty.png"]),
    (|root| write(root, "training_set/cats/page.jpg", "<html>404"), Damaged, &["training_set/cats/page.jpg"]),
    (|root| write(root, "training_set/cats/cut.png", &png(100)[..9000]), Damaged, &["training_set/cats/cut.png"]),
    (|root| write(root, "training_set/cats/flip.png", byte_flipped()), Damaged, &["training_set/cats/flip.png"]),
    (|root| write(root, "training_set/cats/scan.tif", b"II*\0\x08\0\0\0"), Damaged, &["training_set/cats/scan.tif"]),
    (broken_link, Unreadable, &["training_set/cats/link.jpg"]),
    (|root| write(root, "training_set/dogs/a.png", jpeg(&drawn(101), 90)), WrongEnding, &["training_set/dogs/a.png"]),
    (|root| write(root, "training_set/dogs/none", png(103)), WrongEnding, &["training_set/dogs/none"]),
    (
        |root| copies(root, ["training_set/dogs/b.png", "training_set/dogs/copy.png"], 105),
        Duplicate,
        &["training_set/dogs/b.png", "training_set/dogs/copy.png"],
    ),
    (
        |root| pair(root, ["test_set/dogs/c.png", "test_set/dogs/c.bmp"], 107, |c| encoded(c, ImageFormat::Bmp)),
        Duplicate,
        &["test_set/dogs/c.png", "test_set/dogs/c.bmp"],
    ),
    (
        |root| pair(root, ["training_set/dogs/d.png", "training_set/dogs/d.jpg"], 109, |d| jpeg(&smaller(d), 60)),
        NearDuplicate,
        &["training_set/dogs/d.png", "training_set/dogs/d.jpg"],
    ),
    (
        |root| pair(root, ["training_set/dogs/e.png", "training_set/dogs/e.jpg"], 111, |e| jpeg(&mirrored(e), 90)),
        NearDuplicate,
        &["training_set/dogs/e.png", "training_set/dogs/e.jpg"],
    ),
    (
        |root| copies(root, ["training_set/cats/f.png", "training_set/dogs/f.png"], 112),
        ConflictingLabels,
        &["training_set/cats/f.png", "training_set/dogs/f.png"],
    ),
    (
        |root| pair(root, ["test_set/cats/g.png", "test_set/dogs/g.jpg"], 113, |g| jpeg(g, 50)),
        ConflictingLabels,
        &["test_set/cats/g.png", "test_set/dogs/g.jpg"],
    ),
    (
        |root| copies(root, ["training_set/cats/h.png", "test_set/cats/h.png"], 114),
        Leak,
        &["training_set/cats/h.png", "test_set/cats/h.png"],
    ),
    (
        |root| {
            pair(root, ["training_set/cats/i.png", "test_set/cats/i.jpg"], 116, |i| jpeg(&brighter(&smaller(i)), 70))
        },
        Leak,
        &["training_set/cats/i.png", "test_set/cats/i.jpg"],
    ),
    (
        |root| write(root, "training_set/cats/white.jpg", jpeg(&plain(90, 120, |_| 255), 90)),
        Blank,
        &["training_set/cats/white.jpg"],
    ),
    (
        |root| write(root, "training_set/dogs/noise.png", encoded(&plain(90, 120, noise), ImageFormat::Png)),
        Blank,
        &["training_set/dogs/noise.png"],
    ),
    (
        |root| write(root, "training_set/cats/icon.png", encoded(&resized(120, 16, 16), ImageFormat::Png)),
        Tiny,
        &["training_set/cats/icon.png"],
    ),
    (
        |root| write(root, "training_set/cats/banner.png", encoded(&resized(122, 40, 400), ImageFormat::Png)),
        Stretched,
        &["training_set/cats/banner.png"],
    ),
    (|root| write(root, "test_set/cats/notes.txt", "two cats"), NotAPicture, &["test_set/cats/notes.txt"]),
    (|root| write(root, "test_set/lost.png", png(124)), OutsideClasses, &["test_set/lost.png"]),
    (|root| write(root, "more/1.png", png(126)), OutsideClasses, &["more"]),
];

fn png(number: u64) -> Vec<u8> {
    encoded(&drawn(number), ImageFormat::Png)
}

fn half() -> Vec<u8> {
    let whole = jpeg(&drawn(128), 90);
    whole[..whole.len() / 2].to_vec()
}

/// A JPEG with sixteen ones in a row, which are no code of any table.
fn codes_destroyed() -> Vec<u8> {
    let mut bytes = jpeg(&drawn(130), 90);
    let middle = bytes.len() * 3 / 4;
    bytes[middle..middle + 16].copy_from_slice(&[0xFF, 0].repeat(8));
    bytes
}

fn byte_flipped() -> Vec<u8> {
    let mut bytes = png(132);
    bytes[9000] ^= 1;
    bytes
}

fn broken_link(root: &Path) {
    std::os::unix::fs::symlink("nowhere.jpg", root.join("training_set/cats/link.jpg")).unwrap();
}

fn copies(root: &Path, names: [&str; 2], number: u64) {
    names.iter().for_each(|name| write(root, name, png(number)));
}

/// A picture, and the same again, changed.
fn pair(root: &Path, [name, again]: [&str; 2], number: u64, changed: impl Fn(&Picture) -> Vec<u8>) {
    write(root, name, png(number));
    write(root, again, changed(&drawn(number)));
}

fn resized(number: u64, height: usize, width: usize) -> Picture {
    drawn(number).resized(height, width, ResizeFilter::Bilinear).unwrap()
}

fn smaller(picture: &Picture) -> Picture {
    picture.resized(60, 77, ResizeFilter::Bilinear).unwrap()
}

fn brighter(picture: &Picture) -> Picture {
    Picture { rgb: picture.rgb.iter().map(|&value| value.saturating_add(20)).collect(), ..picture.clone() }
}

fn mirrored(picture: &Picture) -> Picture {
    let rgb = image::imageops::flip_horizontal(&pixels(picture)).into_raw();
    Picture { rgb, ..picture.clone() }
}

fn noise(at: usize) -> u8 {
    100 + (at * at / 7 % 4) as u8
}

#[test]
fn what_was_spoiled_is_found_and_nothing_else() {
    let root = healthy();
    let mut expected = Vec::new();
    for (spoil, kind, paths) in SPOILINGS {
        spoil(root.path());
        expected.push((kind, paths.iter().map(PathBuf::from).collect::<BTreeSet<_>>()));
    }
    let mut found = found(root.path());
    found.sort();
    expected.sort();
    for one in &expected {
        assert!(found.contains(one), "not found: {one:?}");
    }
    assert_eq!(found, expected);
}

#[test]
fn classes_that_cannot_serve_are_findings_and_no_errors() {
    let told = |spoil: fn(&Path) -> std::io::Result<()>| {
        let root = healthy();
        spoil(root.path()).unwrap();
        found(root.path())
    };
    let at = |kind, path: &str| (kind, BTreeSet::from([PathBuf::from(path)]));

    let found = told(|root| fs::create_dir(root.join("test_set/seals")));
    assert_eq!(found, [at(EmptyClass, "test_set/seals"), at(ClassMismatch, "test_set/seals")]);
    let found = told(|root| fs::rename(root.join("test_set/dogs"), root.join("test_set/Dogs")));
    assert_eq!(found, [at(ClassMismatch, "training_set/dogs"), at(ClassMismatch, "test_set/Dogs")]);
    let found = told(|root| fs::remove_dir_all(root.join("test_set/dogs")));
    assert_eq!(found, [at(FewClasses, "test_set"), at(ClassMismatch, "training_set/dogs")]);
    // Without a test set, training_set is the only class.
    assert_eq!(told(|root| fs::remove_dir_all(root.join("test_set"))), [at(FewClasses, "")]);
    let found = told(|root| {
        (150..162).try_for_each(|number| fs::write(root.join(format!("test_set/cats/{number}.png")), png(number)))
    });
    assert_eq!(found, [at(Imbalance, "test_set")]);
}

#[test]
fn a_missing_folder_is_an_error_that_names_it() {
    let root = healthy();
    let message = examine(root.path().join("no such"), &DoctorOptions::default()).unwrap_err().to_string();
    assert!(message.contains("no such"), "{message}");
}

#[test]
fn a_name_that_is_no_text_fails_no_report() {
    use std::os::unix::ffi::OsStrExt;
    let root = healthy();
    fs::write(root.path().join("test_set/cats").join(std::ffi::OsStr::from_bytes(b"\xFF 1.jpg")), "").unwrap();
    let diagnosis = examine(root.path(), &DoctorOptions::default()).unwrap();
    assert_eq!(diagnosis.findings[0].detail, "the file is empty");
    assert!(serde_json::to_string(&diagnosis).unwrap().contains("/\u{FFFD} 1.jpg"));
    assert!(diagnosis.to_string().contains("cats/\u{FFFD} 1.jpg: the file is empty"));
}

#[test]
fn the_same_findings_for_any_number_of_threads() {
    let root = healthy();
    SPOILINGS.iter().for_each(|(spoil, ..)| spoil(root.path()));
    let examined = |threads| with_threads(Some(threads), || examine(root.path(), &DoctorOptions::default())).unwrap();
    assert_eq!(examined(1).unwrap(), examined(3).unwrap());
}

// All of these were looked at: the pairs are the same photographs, dog.4367 is the logo of a mail service.
#[test]
fn what_is_really_in_the_photographs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/cats_vs_dogs");
    if !folder.exists() {
        eprintln!("skipped: there is no {}", folder.display());
        return;
    }
    let expected: [(FindingKind, &[&str]); 10] = [
        (Leak, &["training_set/cats/cat.2580.jpg", "test_set/cats/cat.4726.jpg"]),
        (Leak, &["training_set/cats/cat.3411.jpg", "test_set/cats/cat.4435.jpg"]),
        (Duplicate, &["training_set/dogs/dog.2027.jpg", "training_set/dogs/dog.3082.jpg"]),
        (NearDuplicate, &["training_set/cats/cat.2565.jpg", "training_set/cats/cat.3565.jpg"]),
        (NearDuplicate, &["training_set/dogs/dog.1273.jpg", "training_set/dogs/dog.980.jpg"]),
        (NearDuplicate, &["training_set/dogs/dog.180.jpg", "training_set/dogs/dog.74.jpg"]),
        (NearDuplicate, &["test_set/cats/cat.4126.jpg", "test_set/cats/cat.4575.jpg"]),
        (Tiny, &["test_set/dogs/dog.4367.jpg"]),
        (Stretched, &["test_set/dogs/dog.4367.jpg"]),
        (OutsideClasses, &["single_prediction"]),
    ];
    assert_eq!(found(&folder), expected.map(|(kind, paths)| (kind, paths.iter().map(PathBuf::from).collect())));
}
