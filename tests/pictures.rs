//! Real picture files, good and bad. They lie beside the repository; where they do not, these tests say so and pass.
#![cfg(feature = "images")]

use std::path::PathBuf;
use tapetum::data::{Damaged, Dataset, DecodeLimits, ImageFolder, LoadOptions, Picture, Preprocessing, ResizeFilter};

/// A path below `../shared/data`, if it is there.
fn shared(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(path);
    if !path.exists() {
        eprintln!("skipped: there is no {}", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn every_bad_file_is_a_picture_or_an_error_that_names_it() {
    let Some(folder) = shared("bad_images/files") else { return };
    let (mut pictures, mut errors, mut good) = (0, 0, 0);
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match Picture::open(&path, &DecodeLimits::default()) {
            Ok(picture) => {
                assert_eq!(picture.rgb.len(), picture.shape().iter().product::<usize>(), "{name}");
                assert!(picture.resized(64, 64, ResizeFilter::Bilinear).is_ok(), "{name}");
                assert!(!name.starts_with("made_trunc"), "{name} is only a part of a picture");
                pictures += 1;
                good += usize::from(name.starts_with("made_good_") || name.contains("_trailing."));
            }
            Err(error) => {
                assert!(error.to_string().contains(name), "{name} is not in: {error}");
                errors += 1;
            }
        }
    }
    println!("{pictures} pictures, {errors} errors");
    assert_eq!(good, 17 + 5, "valid files that load");
}

#[test]
fn a_real_folder_loads_without_a_loss() {
    let Some(folder) = shared("cats_vs_dogs/test_set") else { return };
    let options = LoadOptions { damaged: Damaged::Refuse, ..LoadOptions::default() };
    let set = ImageFolder::open(folder).unwrap().load(&Preprocessing::new(64, 64), &options).unwrap();
    assert_eq!((set.len(), set.skipped().len()), (2000, 0));
    assert_eq!(set.class_names(), ["cats", "dogs"]);
    assert_eq!(set.labels().iter().sum::<usize>(), 1000);
}

// Pillow 12.3 gives these bytes. Figure 9 of the thesis shows [54, 58, 7] and [58, 63, 9] of the same picture:
// each is within 2 of the first row here.
#[test]
fn the_picture_of_the_thesis() {
    let Some(path) = shared("cats_vs_dogs/single_prediction/thesis_dog.jpg") else { return };
    let picture = Picture::open(path, &DecodeLimits::default()).unwrap();
    let first = |filter| picture.resized(64, 64, filter).unwrap().rgb[..6].to_vec();
    assert_eq!(first(ResizeFilter::Nearest), [55, 59, 9, 58, 63, 9]);
    assert_eq!(first(ResizeFilter::Bilinear), [53, 58, 7, 57, 61, 8]);
}
