//! The command `explain`: what a network saw in pictures, as pictures.

use crate::args::ExplainArgs;
use crate::colour::overlay;
use crate::show::{contact_sheet, pixels};
use crate::sight::{enlarged, stages, where_from};
use crate::{Outcome, write_json};
use image::{Rgb, RgbImage, imageops};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tapetum::data::DecodeLimits;
use tapetum::prelude::*;

/// The longer side of the picture beside its heat map.
const SIDE: usize = 480;
/// How wide a contact sheet may become, where a single map is not wider.
const SHEET: usize = 1200;
/// Feature maps are enlarged to at least this.
const MAP: usize = 64;
/// Between the picture, its heat map and the scale, in pixels.
const GAP: u32 = 8;

/// What `--json` holds for each picture.
#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Explained { path: String, class: String, probability: f64, files: Vec<PathBuf> },
    Failure { path: String, error: String },
}

pub fn run(args: &ExplainArgs) -> Outcome {
    let bundle = Bundle::load(&args.model)?;
    let bar = ProgressBar::new(args.pictures.len() as u64).with_style(
        ProgressStyle::with_template("{pos}/{len} pictures [{bar:30}] ETA {eta}").expect("a valid template"),
    );
    let mut folders = HashSet::new();
    let found: Vec<Found> = args
        .pictures
        .iter()
        .map(|file| {
            let folder = args.out.join(unused_name(file, &mut folders));
            let found = told(file, explain(&bundle, file, args.layer.as_deref(), &folder), &bar);
            bar.inc(1);
            found
        })
        .collect();
    bar.finish_and_clear();
    write_json(args.json.as_deref(), &found)?;
    let failed = found.iter().any(|found| matches!(found, Found::Failure { .. }));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Says what came of one picture; a bad file does not stop the others.
fn told(
    file: &Path,
    outcome: Result<(Prediction, Vec<PathBuf>), Box<dyn std::error::Error>>,
    bar: &ProgressBar,
) -> Found {
    let path = file.display().to_string();
    match outcome {
        Ok((Prediction { class, probability, .. }, files)) => {
            bar.suspend(|| {
                println!("{path}: {class} ({:.1} %)", 100.0 * probability);
                files.iter().for_each(|file| println!("  {}", file.display()));
            });
            Found::Explained { path, class, probability, files }
        }
        Err(error) => {
            bar.suspend(|| eprintln!("error: {error}"));
            Found::Failure { path, error: error.to_string() }
        }
    }
}

/// Writes the heat map and the feature maps of one picture.
fn explain(
    bundle: &Bundle,
    file: &Path,
    layer: Option<&str>,
    folder: &Path,
) -> Result<(Prediction, Vec<PathBuf>), Box<dyn std::error::Error>> {
    let picture = Picture::open(file, &DecodeLimits::default())?;
    let prediction = bundle.predict_picture(&picture)?;
    let heat = where_from(bundle, &picture, prediction.label, layer, SIDE)?;
    let mut sheets = vec![("grad_cam.png".to_string(), beside(&enlarged(&picture, SIDE)?, &heat)?)];
    for (number, stage) in (1..).zip(stages(bundle, &picture, usize::MAX)?) {
        let [_, width, _] = stage.shape;
        let times = MAP.div_ceil(width);
        // Layers mostly have a power of two of maps: no ragged last row.
        let columns = 1 << (SHEET / (times * width)).max(1).ilog2();
        let name = format!("stage_{number}_{}.png", plain(&stage.layers.replace(" → ", "-")));
        sheets.push((name, contact_sheet(&stage.maps, columns, times)?));
    }
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files = Vec::new();
    for (name, sheet) in sheets {
        let path = folder.join(name);
        sheet.save(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        files.push(path);
    }
    Ok((prediction, files))
}

/// The picture, the same under its heat map, and the scale: 1 is at the top.
fn beside(picture: &Picture, heat: &Picture) -> Result<RgbImage, String> {
    let (picture, heat) = (pixels(picture)?, pixels(heat)?);
    let (width, height) = picture.dimensions();
    let mut sheet = RgbImage::from_pixel(2 * width + 4 * GAP, height, Rgb([255; 3]));
    imageops::replace(&mut sheet, &picture, 0, 0);
    imageops::replace(&mut sheet, &heat, i64::from(width + GAP), 0);
    imageops::replace(&mut sheet, &pixels(&scale(height))?, i64::from(2 * width + 2 * GAP), 0);
    Ok(sheet)
}

/// The colours from 1 at the top to 0 at the bottom, over mid-grey.
fn scale(height: u32) -> Picture {
    let length = height.max(2);
    let rows = (0..length).map(|y| (255 - 255 * y / (length - 1)) as u8);
    let (height, width) = (length as usize, 2 * GAP as usize);
    let heat = Picture { height, width, rgb: rows.flat_map(|value| vec![value; 3 * width]).collect() };
    overlay(&Picture { rgb: vec![128; heat.rgb.len()], height, width }, &heat)
}

/// A folder's name for the files about `file`: its name, and a number where another picture has that name.
fn unused_name(file: &Path, used: &mut HashSet<String>) -> String {
    let stem = file.file_stem().map_or("picture".into(), |stem| plain(&stem.to_string_lossy()));
    let names = std::iter::once(stem.clone()).chain((2..).map(|number| format!("{stem}_{number}")));
    let name = names.into_iter().find(|name| !used.contains(name)).expect("the numbers do not end");
    used.insert(name.clone());
    name
}

/// Text as part of a file's name, on any system.
fn plain(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_alphanumeric() || "_-".contains(c) { c } else { '_' }).collect();
    if plain.is_empty() { "_".into() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_one_name_get_folders_of_their_own() {
        let mut used = HashSet::new();
        let names = ["a/cat.1.jpg", "b/cat.1.png", "cat_1_2.jpg", "..", "c/cat.1.jpg"];
        let names = names.map(|file| unused_name(Path::new(file), &mut used));
        assert_eq!(names, ["cat_1", "cat_1_2", "cat_1_2_2", "picture", "cat_1_3"]);
        assert_eq!(plain("../x y"), "___x_y");
    }

    #[test]
    fn every_picture_is_written_and_a_bad_one_does_not_stop_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let model = Sequential::builder([16, 16, 3])
            .add(Conv2D::new(5, 3))
            .add(ReLU)
            .add(MaxPool2D::new(2))
            .add(Flatten)
            .add(Dense::new(1))
            .add(Sigmoid)
            .build(1)
            .unwrap();
        let bundle = Bundle::new(model).preprocessing(Preprocessing::new(16, 16)).class_names(["cat", "../dog"]);
        bundle.save(file("model.safetensors")).unwrap();
        RgbImage::from_fn(30, 20, |x, y| Rgb([8 * x as u8, 8 * y as u8, 0])).save(file("a b.png")).unwrap();
        std::fs::write(file("bad.jpg"), "no picture").unwrap();
        let args = |layer: Option<&str>| ExplainArgs {
            model: file("model.safetensors"),
            pictures: vec![file("bad.jpg"), file("a b.png")],
            out: file("out"),
            layer: layer.map(String::from),
            json: Some(file("found.json")),
        };
        assert_eq!(run(&args(None)).unwrap(), ExitCode::FAILURE);
        let found: serde_json::Value = serde_json::from_slice(&std::fs::read(file("found.json")).unwrap()).unwrap();
        assert!(found[0]["error"].as_str().unwrap().contains("bad.jpg: not a picture"));
        assert_eq!(found[1]["files"].as_array().unwrap().len(), 3);
        let size = |name: &str| image::open(file("out").join("a_b").join(name)).unwrap().into_rgb8().dimensions();
        assert_eq!(size("grad_cam.png"), (2 * 480 + 32, 320));
        assert_eq!(size("stage_1_conv2d_1-relu_1.png"), (5 * 70 + 4 * 4, 70));
        assert_eq!(size("stage_2_maxpool2d_1.png"), (5 * 70 + 4 * 4, 70));
        run(&args(Some("nothing"))).unwrap();
        let found = std::fs::read_to_string(file("found.json")).unwrap();
        assert!(found.contains("there is conv2d_1, relu_1, maxpool2d_1"), "{found}");
    }
}
