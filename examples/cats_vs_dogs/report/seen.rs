//! What the network sees: its first filters, its feature maps, and where its answers come from.

use super::html::{escape, img};
use super::thumbnails::{Answer, mistakes, name, surest, verdict};
use crate::show::{contact_sheet, pixels};
use crate::sight::{stages, where_from};
use image::{RgbImage, imageops};
use tapetum::inspect::filters;
use tapetum::prelude::*;

type Outcome = Result<String, Box<dyn std::error::Error>>;

/// How many feature maps of each stage.
const MAPS: usize = 32;
/// The longer side of a heat map, in pixels.
const SIDE: usize = 128;

/// The filters of the first convolution, side by side.
pub fn first_filters(model: &Sequential) -> Outcome {
    let Ok(pictures) = filters(model) else {
        return Ok("<p>This network has no convolution.</p>".into());
    };
    let times = 24usize.div_ceil(pictures.iter().map(|picture| picture.width).max().unwrap_or(1));
    let sheet = contact_sheet(&pictures, 8, times)?;
    let alt = format!("{} filters of {} × {} pixels", pictures.len(), pictures[0].height, pictures[0].width);
    Ok(img(&sheet, &alt, "pixels filters")?)
}

/// The maps of one picture after each stage, and the picture.
pub fn maps(bundle: &Bundle, answer: &Answer, pictures: &ImageSet) -> Outcome {
    let Ok(picture) = pictures.picture(answer.place) else {
        return Ok("<p>The picture could not be read again.</p>".into());
    };
    let file = name(answer, pictures);
    let one = format!(
        "<figure class=\"one\">{}<figcaption>{}<small>{}</small></figcaption></figure>",
        img(&pixels(&picture)?, &file, "photo")?,
        verdict(answer, pictures.class_names()),
        escape(&file)
    );
    let mut figures = String::new();
    for stage in stages(bundle, &picture, MAPS)? {
        let [height, width, channels] = stage.shape;
        let sheet = contact_sheet(&stage.maps, 8, 1 + 16 / width.max(1))?;
        let some = if channels > MAPS { format!(", the first {MAPS}") } else { String::new() };
        let caption = format!("{} <small>{height} × {width}, {channels} maps{some}</small>", escape(&stage.layers));
        let sheet = img(&sheet, &format!("feature maps after {}", stage.layers), "pixels sheet")?;
        figures += &format!("<figure>{sheet}<figcaption>{caption}</figcaption></figure>");
    }
    Ok(format!(r#"{one}<div class="stages">{figures}</div>"#))
}

/// Of each of the first classes the surest right and the surest wrong answer, with a heat map over the picture.
pub fn heat(bundle: &Bundle, answers: &[Answer], pictures: &ImageSet) -> Outcome {
    let (right, wrong) = (surest(answers), mistakes(answers));
    let first = |list: &[Answer], class: usize| list.iter().find(|answer| answer.class == class).copied();
    let classes = 0..pictures.class_names().len().min(4);
    let chosen = classes.flat_map(|class| [first(&right, class), first(&wrong, class)]).flatten();
    let mut figures = String::new();
    for answer in chosen {
        let Ok(picture) = pictures.picture(answer.place) else { continue };
        // A network without pictures inside has nothing to show.
        let heat = match where_from(bundle, &picture, answer.class, None, SIDE) {
            Ok(heat) => heat,
            Err(error) => return Ok(format!("<p>{}</p>", escape(&error.to_string()))),
        };
        let file = name(&answer, pictures);
        let sheet = beside(&crate::sight::enlarged(&picture, SIDE)?, &heat)?;
        let image = img(&sheet, &format!("{file}, and where the answer comes from"), "photo")?;
        let verdict = verdict(&answer, pictures.class_names());
        let caption = format!("{verdict}<small>{}</small>", escape(&file));
        figures += &format!("<figure>{image}<figcaption>{caption}</figcaption></figure>");
    }
    Ok(format!(r#"<div class="pairs">{figures}</div>"#))
}

/// Two pictures of one size.
fn beside(left: &Picture, right: &Picture) -> Result<RgbImage, String> {
    let (left, right) = (pixels(left)?, pixels(right)?);
    let (width, height) = left.dimensions();
    let mut both = RgbImage::new(2 * width, height);
    imageops::replace(&mut both, &left, 0, 0);
    imageops::replace(&mut both, &right, i64::from(width), 0);
    Ok(both)
}
