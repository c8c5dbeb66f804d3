//! The tables of a report: the confusion matrix, each class, the data.

use super::html::{escape, percent};
use tapetum::data::Skipped;
use tapetum::model::SummaryRow;
use tapetum::prelude::*;

/// How many skipped files are named.
const NAMED: usize = 100;

/// The confusion matrix: a row for each true class, a column for each answer.
pub fn confusion(said: &Classification, classes: &[String]) -> String {
    let head: String = classes.iter().map(|class| format!("<th scope=\"col\">{}</th>", escape(class))).collect();
    let row = |(class, counts): (&String, &Vec<usize>)| {
        let all = counts.iter().sum::<usize>().max(1) as f64;
        let cell = |&count: &usize| {
            let share = count as f64 / all;
            format!("<td style=\"--share:{share:.3}\">{count}<small>{}</small></td>", percent(share))
        };
        let cells: String = counts.iter().map(cell).collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", escape(class))
    };
    let rows: String = classes.iter().zip(&said.confusion()).map(row).collect();
    table("confusion", "Rows: what it is. Columns: what the network said.", &format!("<td></td>{head}"), &rows)
}

/// Precision, recall and F1.
pub fn per_class(said: &Classification, classes: &[String]) -> String {
    let cell = |estimate: Estimate| {
        let interval = estimate.interval.map_or(String::new(), |[low, high]| format!("{low:.3}–{high:.3}"));
        format!("<td>{:.3}<small>{interval}</small></td>", estimate.value)
    };
    let row = |(class, of): (&String, ClassMetrics)| {
        let cells = [of.precision, of.recall, of.f1].map(cell).concat();
        format!("<tr><th scope=\"row\">{}</th>{cells}<td>{}</td></tr>", escape(class), of.support)
    };
    let rows: String = classes.iter().zip(said.per_class()).map(row).collect();
    let head = ["class", "precision", "recall", "F1", "pictures"].map(|name| format!("<th scope=\"col\">{name}</th>"));
    table("numbers", "Each with its 95 % interval.", &head.concat(), &rows)
}

/// The pictures of each class.
pub fn data(train: &ImageSet, validation: &ImageSet, skipped: &[Skipped]) -> String {
    let count = |set: &ImageSet, class: usize| set.labels().into_iter().filter(|&label| label == class).count();
    let row = |name: &str, [train, validation]: [usize; 2]| {
        format!("<tr><th scope=\"row\">{}</th><td>{train}</td><td>{validation}</td></tr>", escape(name))
    };
    let classes = train.class_names().iter().enumerate();
    let mut rows: String =
        classes.map(|(class, name)| row(name, [train, validation].map(|set| count(set, class)))).collect();
    rows += &row("all", [train.len(), validation.len()]);
    let head = ["class", "training", "validation"].map(|name| format!("<th scope=\"col\">{name}</th>")).concat();
    let Preprocessing { height, width, .. } = train.preprocessing();
    let caption = format!("Every picture is resized to {height} × {width}.");
    table("numbers", &caption, &head, &rows) + &left_out(skipped)
}

/// The layers, what they make of a picture, and their parameters.
pub fn network(model: &Sequential) -> String {
    let summary = model.summary();
    let row = |row: &SummaryRow| {
        let shape = row.output.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
        format!("<tr><th scope=\"row\">{}</th><td>{shape}</td><td>{}</td></tr>", escape(&row.name), row.parameters)
    };
    let rows: String = summary.rows.iter().map(row).collect();
    let head = ["layer", "output", "parameters"].map(|name| format!("<th scope=\"col\">{name}</th>")).concat();
    let caption = format!("{} parameters, {:.2} MB.", summary.parameters, summary.bytes as f64 / 1e6);
    table("numbers", &caption, &head, &rows)
}

/// The files that could not be used.
fn left_out(skipped: &[Skipped]) -> String {
    if skipped.is_empty() {
        return "<p>No picture file was left out.</p>".into();
    }
    let entry = |of: &Skipped| format!("<li>{}: {}</li>", escape(&of.path.display().to_string()), escape(&of.reason));
    let entries: String = skipped.iter().take(NAMED).map(entry).collect();
    let more = match skipped.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("<li>and {more} more</li>"),
    };
    let files = if skipped.len() == 1 { "file" } else { "files" };
    format!("<details><summary>{} {files} left out</summary><ul>{entries}{more}</ul></details>", skipped.len())
}

/// A table that scrolls inside its box where it is wider than the page.
fn table(class: &str, caption: &str, head: &str, rows: &str) -> String {
    format!(
        "<div class=\"wide\"><table class=\"{class}\"><caption>{caption}</caption><thead><tr>{head}</tr></thead>\
         <tbody>{rows}</tbody></table></div>"
    )
}
