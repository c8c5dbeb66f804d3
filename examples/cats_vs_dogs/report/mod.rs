//! `report.html`: a training on one page, to read on a screen, on a telephone and on paper.
//!
//! One file: its pictures and its style are inside, it runs no scripts, and a line at its top forbids the browser to
//! load anything.

mod charts;
mod curves;
mod html;
mod seen;
mod tables;
mod thumbnails;

use crate::run_folder::{CONFIG, replace};
use html::{escape, fill, percent};
use std::path::{Path, PathBuf};
use tapetum::data::Skipped;
use tapetum::inspect::simd_path;
use tapetum::prelude::*;

/// The name of the report in the run's folder.
pub const FILE: &str = "report.html";

/// All that a report tells of.
pub struct Run<'a> {
    /// The trained network, as it was saved.
    pub bundle: &'a Bundle,
    pub history: &'a History,
    /// What the network says of `validation`.
    pub said: &'a Classification,
    pub train: &'a ImageSet,
    pub validation: &'a ImageSet,
    pub skipped: &'a [Skipped],
    /// The settings, as text.
    pub settings: &'a str,
    /// The command line that repeats the run.
    pub command: &'a str,
    pub threads: usize,
}

/// Writes `report.html` into the run's folder; returns its path.
pub fn write(folder: &Path, run: &Run<'_>) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let path = folder.join(FILE);
    replace(&path, &page(run)?)?;
    Ok(path)
}

/// What repeats this process's training, as a shell takes it: its command line, or, where it went on with a training in
/// the folder `resumed`, one with that training's settings.
pub fn command_line(resumed: Option<&Path>) -> String {
    let mut words: Vec<_> = std::env::args_os().collect();
    if let Some(folder) = resumed {
        words.truncate(1);
        words.extend(["train".into(), "--config".into(), folder.join(CONFIG).into_os_string()]);
    }
    words.iter().map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

fn page(run: &Run<'_>) -> Result<String, Box<dyn std::error::Error>> {
    let (said, classes) = (run.said, run.validation.class_names());
    if said.len() != run.validation.len() {
        return Err(format!("{} answers for {} validation pictures", said.len(), run.validation.len()).into());
    }
    let answers = thumbnails::answers(said);
    let (mistakes, surest) = (thumbnails::mistakes(&answers), thumbnails::surest(&answers));
    let parts = [
        ("style", include_str!("style.css").to_string()),
        ("classes", escape(&listed(classes))),
        ("headline", headline(run)),
        ("learning", curves::learning(run.history)?),
        ("confusion", tables::confusion(said, classes)),
        ("per_class", tables::per_class(said, classes)),
        ("roc", curves::roc(said, classes)?),
        ("reliability", curves::reliability(said)?),
        ("mistakes", thumbnails::thumbnails(&mistakes, run.validation)?),
        ("least_certain", thumbnails::thumbnails(&thumbnails::least_certain(&answers), run.validation)?),
        ("heat", seen::heat(run.bundle, &answers, run.validation)?),
        ("filters", seen::first_filters(&run.bundle.model)?),
        ("maps", seen::maps(run.bundle, surest.first().unwrap_or(&answers[0]), run.validation)?),
        ("data", tables::data(run.train, run.validation, run.skipped)),
        ("settings", escape(run.settings)),
        ("command", escape(run.command)),
        ("network", tables::network(&run.bundle.model)),
        ("facts", facts(run)),
    ];
    Ok(fill(include_str!("template.html"), &parts))
}

/// As in `cats, dogs and birds`.
fn listed(names: &[String]) -> String {
    const MOST: usize = 6;
    let more = (names.len() > MOST).then(|| format!("{} more", names.len() - MOST));
    let mut names: Vec<&str> = names.iter().take(MOST).map(String::as_str).chain(more.as_deref()).collect();
    match names.pop() {
        Some(last) if !names.is_empty() => format!("{} and {last}", names.join(", ")),
        last => last.unwrap_or_default().to_string(),
    }
}

/// The numbers that everybody asks for first.
fn headline(run: &Run<'_>) -> String {
    let accuracy = run.said.accuracy();
    let interval = accuracy
        .interval
        .map_or(String::new(), |[low, high]| format!("95\u{a0}% interval {} to {}", percent(low), percent(high)));
    let wrong = thumbnails::mistakes(&thumbnails::answers(run.said)).len();
    let seconds: f64 = run.history.epochs.iter().map(|epoch| epoch.seconds).sum();
    let best = run.history.best().map_or(String::new(), |best| {
        format!("best val_acc {:.4} after epoch {}", best.val_acc.unwrap_or(0.0), best.epoch)
    });
    let tiles = [
        ("accuracy", percent(accuracy.value), interval),
        ("mistakes", wrong.to_string(), format!("of {} validation pictures", run.said.len())),
        ("epochs", run.history.epochs.len().to_string(), best),
        ("training", duration(seconds), format!("on {} training pictures", run.train.len())),
    ];
    let tile = |(name, value, more)| format!("<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>");
    tiles.into_iter().map(tile).collect()
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.1} s"),
        ..3600.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// What else decides the numbers.
fn facts(run: &Run<'_>) -> String {
    let facts = [
        ("weights_sha256", weights_sha256(&run.bundle.model)),
        ("tapetum", env!("CARGO_PKG_VERSION").to_string()),
        ("instruction set", simd_path().to_string()),
        ("threads", run.threads.to_string()),
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        ("written", jiff::Zoned::now().strftime("%Y-%m-%d %H:%M").to_string()),
    ];
    facts.map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(&value))).concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn noise(number: usize) -> Picture {
        let mut random = Key::new(number as u64).stream();
        Picture { height: 12, width: 12, rgb: (0..12 * 12 * 3).map(|_| random.below(256) as u8).collect() }
    }

    /// The page of a network that sees nothing yet, with answers given by hand.
    fn page_of(body: SequentialBuilder<f32>, epochs: Vec<EpochReport>) -> String {
        let names = ["<cats>", "dogs & \"co\"", "fish"].map(String::from);
        let model = body.add(Flatten).add(Dense::new(3)).add(Softmax).build(1).unwrap();
        let bundle = Bundle::new(model).preprocessing(Preprocessing::new(12, 12)).class_names(names.clone());
        let pictures = (0..4).map(noise).collect();
        let set =
            ImageSet::from_pictures(pictures, vec![0, 0, 1, 1], names.to_vec(), Preprocessing::new(12, 12)).unwrap();
        let said = array![[0.9, 0.1, 0.0], [0.2, 0.1, 0.7], [0.5, 0.25, 0.25], [0.0, 1.0, 0.0]];
        let skipped = [Skipped { path: "a<b>.jpg".into(), reason: "no \"picture\"".into() }];
        let run = Run {
            bundle: &bundle,
            history: &History { epochs },
            said: &Classification::new(said.view(), &[0, 0, 1, 1]).unwrap(),
            train: &set,
            validation: &set,
            skipped: &skipped,
            settings: "name = \"<&>\"",
            command: "cats_vs_dogs train --data 'a & b'",
            threads: 1,
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::read_to_string(write(folder.path(), &run).unwrap()).unwrap()
    }

    fn epoch(epoch: usize) -> EpochReport {
        EpochReport {
            epoch,
            steps: 1,
            loss: 0.5,
            acc: Some(0.75),
            val_loss: Some(f64::NAN),
            val_acc: None,
            learning_rate: 1e-3,
            seconds: 1.0,
            ms_per_step: 1.0,
        }
    }

    #[test]
    fn all_text_is_escaped_and_nothing_is_loaded() {
        let body = Sequential::builder([12, 12, 3]).add(Conv2D::new(4, 3)).add(ReLU).add(MaxPool2D::new(2));
        let page = page_of(body, vec![epoch(1), epoch(2)]);
        for raw in ["<cats>", "dogs & ", "\"co\"", "a<b>", "<&>", "'a & b'"] {
            assert!(!page.contains(raw), "{raw}");
        }
        for escaped in ["&lt;cats&gt;", "a&lt;b&gt;.jpg: no &quot;picture&quot;", "name = &quot;&lt;&amp;&gt;&quot;"] {
            assert!(page.contains(escaped), "{escaped}");
        }
        assert!(page.contains("50.0\u{a0}%") && page.contains("is <b>&lt;cats&gt;</b>, said <b>fish</b> 70.0\u{a0}%"));
        assert!(page.contains("conv2d_1 → relu_1") && !page.contains("<script"));
        let loaded = page.split("src=\"").skip(1).all(|source| source.starts_with("data:image/png;base64,"));
        assert!(loaded && !page.contains("url(") && !page.contains("{{"));
        assert_eq!(page.matches("<img").count(), page.matches(" alt=\"").count());
    }

    #[test]
    fn what_there_is_not_is_said() {
        let page = page_of(Sequential::builder([12, 12, 3]), Vec::new());
        for text in ["No epoch was finished", "no convolution", "no layer of this network gives a picture"] {
            assert!(page.contains(text), "{text}");
        }
    }

    #[test]
    fn a_shell_understands_the_command() {
        let words = ["train", "a b", "it's", "", "$HOME", "--seed=1"].map(quoted);
        assert_eq!(words, ["train", "'a b'", r"'it'\''s'", "''", "'$HOME'", "--seed=1"]);
    }

    #[test]
    fn names_become_a_list() {
        let list = |count: usize| listed(&(0..count).map(|name| name.to_string()).collect::<Vec<_>>());
        assert_eq!([0, 1, 2, 3, 8].map(list), ["", "0", "0 and 1", "0, 1 and 2", "0, 1, 2, 3, 4, 5 and 2 more"]);
    }
}
