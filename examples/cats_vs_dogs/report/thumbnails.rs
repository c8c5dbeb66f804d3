//! The pictures that tell most about a network: where it was sure and wrong, and where it did not know.

use super::html::{escape, img_of, percent};
use std::path::Path;
use tapetum::prelude::*;

/// How many pictures of each kind.
const MOST: usize = 12;

/// What was said of one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// The picture's place in the set.
    pub place: usize,
    pub label: usize,
    pub class: usize,
    /// Of the answer.
    pub probability: f64,
    /// How far the second class is behind.
    pub lead: f64,
}

/// All answers, in the order of the pictures.
pub fn answers(said: &Classification) -> Vec<Answer> {
    let rows = said.probabilities();
    let answer = |(place, (&label, class)): (usize, (&usize, usize))| {
        let probability = rows[[place, class]];
        let others = rows.row(place).into_iter().enumerate().filter(|(other, _)| *other != class);
        let second = others.map(|(_, &p)| p).fold(0.0, f64::max);
        Answer { place, label, class, probability, lead: probability - second }
    };
    said.labels().iter().zip(said.predicted()).enumerate().map(answer).collect()
}

/// The wrong answers, the surest first.
pub fn mistakes(answers: &[Answer]) -> Vec<Answer> {
    let wrong = answers.iter().filter(|answer| answer.class != answer.label).copied();
    sorted(wrong, |answer| -answer.probability)
}

/// The right answers, the surest first.
pub fn surest(answers: &[Answer]) -> Vec<Answer> {
    let right = answers.iter().filter(|answer| answer.class == answer.label).copied();
    sorted(right, |answer| -answer.probability)
}

/// All answers, those first whose two best classes are closest.
pub fn least_certain(answers: &[Answer]) -> Vec<Answer> {
    sorted(answers.iter().copied(), |answer| answer.lead)
}

fn sorted(answers: impl Iterator<Item = Answer>, by: impl Fn(&Answer) -> f64) -> Vec<Answer> {
    let mut answers: Vec<Answer> = answers.collect();
    // Stable: equal ones stay in the order of the pictures.
    answers.sort_by(|a, b| by(a).total_cmp(&by(b)));
    answers
}

/// The first of some answers as thumbnails.
pub fn thumbnails(answers: &[Answer], pictures: &ImageSet) -> Result<String, Box<dyn std::error::Error>> {
    if answers.is_empty() {
        return Ok("<p>There are none.</p>".into());
    }
    let figures = answers.iter().take(MOST).map(|answer| thumbnail(answer, pictures));
    Ok(format!(r#"<div class="thumbs">{}</div>"#, figures.collect::<Result<String, _>>()?))
}

fn thumbnail(answer: &Answer, pictures: &ImageSet) -> Result<String, Box<dyn std::error::Error>> {
    let (file, verdict) = (name(answer, pictures), verdict(answer, pictures.class_names()));
    let image = match pictures.picture(answer.place) {
        Ok(picture) => img_of(&picture, &file, "photo")?,
        // A picture that has gone since it was learned from costs its place and not the report.
        Err(error) => format!(r#"<p class="gone">{}</p>"#, escape(&error.to_string())),
    };
    Ok(format!("<figure>{image}<figcaption>{verdict}<small>{}</small></figcaption></figure>", escape(&file)))
}

/// What it is, and what the network said, as HTML.
pub fn verdict(answer: &Answer, classes: &[String]) -> String {
    let name = |class: usize| escape(classes.get(class).map_or("?", String::as_str));
    let (mark, said) = (if answer.class == answer.label { "right" } else { "wrong" }, percent(answer.probability));
    let (label, class) = (name(answer.label), name(answer.class));
    format!(r#"<span class="{mark}">is <b>{label}</b>, said <b>{class}</b> {said}</span>"#)
}

/// The name of the picture's file.
pub fn name(answer: &Answer, pictures: &ImageSet) -> String {
    let file = pictures.path(answer.place).and_then(Path::file_name);
    file.map_or_else(|| format!("drawn picture {}", answer.place + 1), |file| file.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn each_list_begins_with_what_it_is_for() {
        let said = array![[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.5, 0.1, 0.4], [0.05, 0.05, 0.9], [0.1, 0.0, 0.9]];
        let answers = answers(&Classification::new(said.view(), &[0, 0, 2, 2, 1]).unwrap());
        let places = |list: Vec<Answer>| list.iter().map(|answer| answer.place).collect::<Vec<_>>();
        assert_eq!(places(mistakes(&answers)), [4, 1, 2]);
        assert_eq!(places(surest(&answers)), [3, 0]);
        assert_eq!(places(least_certain(&answers))[..2], [2, 0]);
        assert!((answers[2].lead - 0.1).abs() < 1e-12);
    }
}
