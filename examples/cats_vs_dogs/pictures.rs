//! Where the pictures come from: folders of photographs, or drawn by the program.

use crate::settings::Settings;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use std::path::Path;
use tapetum::data::{LoadOptions, Skipped, Species, synthetic};
use tapetum::prelude::*;

/// How many pictures are drawn to train on, and to validate on, for each class.
const DRAWN: [usize; 2] = [1000, 250];

/// The pictures of one training.
pub struct Pictures {
    pub train: ImageSet,
    pub validation: ImageSet,
    pub skipped: Vec<Skipped>,
}

/// The pictures that the settings ask for.
pub fn for_training(settings: &Settings, preprocessing: &Preprocessing) -> Result<Pictures> {
    let key = Key::new(settings.seed);
    let Some(data) = &settings.data else {
        println!("No --data given: learning from pictures that this program draws. They are synthetic;");
        println!("what is reached on them says nothing about photographs.\n");
        return Ok(Pictures {
            train: drawn(DRAWN[0], key.named("drawn for training"), preprocessing)?,
            validation: drawn(DRAWN[1], key.named("drawn for validation"), preprocessing)?,
            skipped: Vec::new(),
        });
    };
    let (train, test) = ImageFolder::open_train_test(data)?;
    let test = settings.val.as_ref().map(ImageFolder::open).transpose()?.or(test);
    let train = load(&train, data, preprocessing)?;
    let mut skipped = train.skipped().to_vec();
    let (train, validation) = match test {
        Some(test) => {
            let test = load(&test, settings.val.as_ref().unwrap_or(data), preprocessing)?;
            skipped.extend_from_slice(test.skipped());
            (train, test)
        }
        None => train.split(0.2, key.named("validation split"))?,
    };
    Ok(Pictures { train, validation, skipped })
}

/// The pictures of a folder to evaluate on: its `test_set`, if it has one.
pub fn for_evaluation(data: &Path, preprocessing: &Preprocessing) -> Result<ImageSet> {
    let (all, test) = ImageFolder::open_train_test(data)?;
    load(&test.unwrap_or(all), data, preprocessing)
}

/// Reads a folder, showing how far it is and what it had to leave out.
fn load(folder: &ImageFolder, path: &Path, preprocessing: &Preprocessing) -> Result<ImageSet> {
    let bar = reading(path);
    let progress = |done: usize, all: usize| show(&bar, done, all);
    let options = LoadOptions { progress: Some(&progress), ..LoadOptions::default() };
    let set = folder.load(preprocessing, &options)?;
    bar.finish_and_clear();
    let seconds = bar.elapsed().as_secs_f64();
    let ignored = folder.ignored();
    println!("read {} pictures of {} in {seconds:.1} s, {ignored} other files ignored", set.len(), path.display());
    for skipped in set.skipped() {
        println!("skipped {}: {}", skipped.path.display(), skipped.reason);
    }
    Ok(set)
}

/// The bar of a command that reads the pictures of a folder; [`show`] moves it.
pub fn reading(folder: &Path) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {pos}/{len} [{bar:30}] ETA {eta}").expect("a valid template");
    ProgressBar::new(0).with_style(style).with_message(format!("reading {}", folder.display()))
}

/// So many pictures of so many are read.
pub fn show(bar: &ProgressBar, done: usize, all: usize) {
    bar.set_length(all as u64);
    bar.set_position(done as u64);
}

/// `each` drawn cats and `each` drawn dogs.
fn drawn(each: usize, key: Key, preprocessing: &Preprocessing) -> Result<ImageSet> {
    let pictures = (0..2 * each).into_par_iter().map(|n| draw(n, key, preprocessing.height)).collect::<Result<_>>()?;
    let labels = (0..2 * each).map(|n| n % 2).collect();
    ImageSet::from_pictures(pictures, labels, ["cats", "dogs"].map(String::from).to_vec(), preprocessing.clone())
}

/// Even numbers are cats, odd ones dogs.
pub fn draw(number: usize, key: Key, size: usize) -> Result<Picture> {
    let species = if number.is_multiple_of(2) { Species::Cat } else { Species::Dog };
    synthetic(species, size, size, key.at(number as u64))
}
