//! The charts of a report: what a training did epoch by epoch, and how far its answers can be trusted.

use super::charts::{Bar, CURVES, Chart, Curve, around, svg};
use super::html::{escape, percent};
use tapetum::prelude::*;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
type Points = Vec<(f64, f64)>;

/// Up to so many epochs, each has a dot.
const DOTS: usize = 30;
/// The bins of the reliability diagram, as in Guo et al. (arXiv:1706.04599).
const BINS: usize = 15;

/// Loss, accuracy and learning rate over the epochs.
pub fn learning(history: &History) -> Outcome<String> {
    let epochs = &history.epochs;
    if epochs.is_empty() {
        return Ok("<p>No epoch was finished.</p>".into());
    }
    let each = |of: fn(&EpochReport) -> Option<f64>| -> Points {
        let points = epochs.iter().map(|epoch| (epoch.epoch as f64, of(epoch).unwrap_or(f64::NAN)));
        points.filter(|(_, value)| value.is_finite()).collect()
    };
    let loss = [each(|epoch| epoch.val_loss), each(|epoch| Some(epoch.loss))];
    let accuracy = [each(|epoch| epoch.val_acc), each(|epoch| epoch.acc)];
    let keys = key(0, false, "validation") + &key(1, true, "training");
    let mut figures = String::new();
    for (name, [validation, training]) in [("loss", loss), ("accuracy", accuracy)] {
        let chart = over_epochs(name, vec![(validation, false), (training, true)]);
        figures += &figure(&svg(&chart, &format!("{name} over the epochs"))?, &keys);
    }
    let chart = over_epochs("learning rate", vec![(each(|epoch| Some(epoch.learning_rate)), false)]);
    figures += &figure(&svg(&chart, "learning rate over the epochs")?, "Learning rate of each epoch's last step");
    Ok(format!(r#"<div class="charts">{figures}</div>{}"#, numbers(epochs)))
}

fn over_epochs(name: &str, curves: Vec<(Points, bool)>) -> Chart<'_> {
    let points = || curves.iter().flat_map(|(points, _)| points);
    let (x, y) = (around(points().map(|point| point.0)), around(points().map(|point| point.1)));
    // Epochs count from 1: there is nothing at 0.
    let x = x.start.max(0.5)..x.end;
    let curve = |(points, dashed): (Points, bool)| Curve { dots: points.len() <= DOTS, points, dashed };
    let curves = curves.into_iter().map(curve).collect();
    Chart { axes: ["epoch", name], x, y, whole: true, curves, bars: Vec::new(), diagonal: false }
}

/// All numbers, for those who cannot see curves, or want to know them.
fn numbers(epochs: &[EpochReport]) -> String {
    let number = |value: Option<f64>| value.map_or("–".to_string(), |value| format!("{value:.4}"));
    let row = |epoch: &EpochReport| {
        let cells = [Some(epoch.loss), epoch.acc, epoch.val_loss, epoch.val_acc].map(number);
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", epoch.epoch)
    };
    let rows: String = epochs.iter().map(row).collect();
    let head = ["epoch", "loss", "acc", "val_loss", "val_acc"].map(|name| format!("<th scope=\"col\">{name}</th>"));
    let head = head.concat();
    format!(
        "<details><summary>All numbers</summary><div class=\"wide\"><table class=\"numbers\"><thead><tr>{head}</tr>\
         </thead><tbody>{rows}</tbody></table></div></details>"
    )
}

/// The ROC curve: of two classes that of the second, of more one for each, as far as their colours reach.
pub fn roc(said: &Classification, classes: &[String]) -> Outcome<String> {
    let shown = if said.classes() == 2 { 1..2 } else { 0..said.classes().min(CURVES) };
    let (mut curves, mut keys) = (Vec::new(), String::new());
    for class in shown {
        let name = escape(classes.get(class).map_or("", String::as_str));
        // Without a picture of the class there is no curve.
        let Ok(roc) = said.roc(class) else { continue };
        let points = roc.points.iter().map(|point| (point.false_positive_rate, point.true_positive_rate));
        keys += &key(curves.len(), false, &format!("{name}: AUC {}", roc.auc));
        curves.push(Curve { points: thinned(points), dashed: false, dots: false });
    }
    let axes = ["false positive rate", "true positive rate"];
    let chart = Chart { axes, x: 0.0..1.0, y: 0.0..1.0, whole: false, curves, bars: Vec::new(), diagonal: true };
    Ok(figure(&svg(&chart, "ROC curve")?, &keys))
}

/// Leaves out what falls on the same spot.
fn thinned(points: impl Iterator<Item = (f64, f64)>) -> Points {
    let mut points: Points = points.collect();
    points.dedup_by_key(|(x, y)| [*x, *y].map(|rate| (1000.0 * rate).round() as u32));
    points
}

/// How often answers of a certainty are right.
pub fn reliability(said: &Classification) -> Outcome<String> {
    let calibration = said.calibration(BINS)?;
    let most = calibration.bins.iter().map(|bin| bin.samples).max().unwrap_or(1) as f64;
    let bar = |bin: &CalibrationBin| Bar {
        low: bin.low,
        high: bin.high,
        height: bin.accuracy,
        weight: bin.samples as f64 / most,
    };
    let bars = calibration.bins.iter().map(bar).collect();
    let axes = ["probability of the answer", "share that is right"];
    // No answer of the most probable class is less certain than chance.
    let x = calibration.bins.first().map_or(0.0, |bin| bin.low)..1.0;
    let y = calibration.bins.iter().fold(x.start, |low, bin| low.min(bin.accuracy))..1.0;
    let chart = Chart { axes, x, y, whole: false, curves: Vec::new(), bars, diagonal: true };
    let mut caption = format!(
        "Expected calibration error {}, over {BINS} bins. The stronger the colour, the more pictures in the bin.",
        percent(calibration.expected_error)
    );
    if let Ok(Temperature { value }) = Temperature::fit(said) {
        caption +=
            &format!(" Temperature {value:.2}: above 1 a network is too sure of itself, below 1 not sure enough.");
    }
    Ok(figure(&svg(&chart, "Reliability diagram")?, &caption))
}

/// The legend's entry of the curve of this number.
fn key(curve: usize, dashed: bool, name: &str) -> String {
    let dashed = if dashed { " dashed" } else { "" };
    format!(r#"<span class="key"><i class="line curve{curve}{dashed}"></i>{name}</span> "#)
}

fn figure(inside: &str, caption: &str) -> String {
    format!("<figure>{inside}<figcaption>{caption}</figcaption></figure>")
}
