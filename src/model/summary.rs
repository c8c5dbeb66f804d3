//! A network as a table, like Keras' `summary()`.

use super::Sequential;
use crate::element::Element;
use crate::layers::Layer;
use std::fmt;

/// Layers, output shapes and parameter counts. `Display` draws the table.
///
/// ```
/// use tapetum::prelude::*;
/// let summary = Sequential::builder([4]).add(Dense::new(2)).add(Softmax).build(1)?.summary();
/// println!("{summary}");
/// assert_eq!((summary.parameters, summary.bytes), (10, 40));
/// assert_eq!((summary.rows[0].name.as_str(), summary.rows[0].parameters), ("dense_1", 10));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// One row for each layer.
    pub rows: Vec<SummaryRow>,
    /// Numbers that training changes by gradients.
    pub parameters: usize,
    /// Numbers that training changes otherwise, as moving averages.
    pub state: usize,
    /// Bytes of both together.
    pub bytes: usize,
}

/// One layer of a [`Summary`].
///
/// See [`Summary`] for an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRow {
    /// As in `conv2d_1`.
    pub name: String,
    /// As in `Conv2D`.
    pub kind: &'static str,
    /// Without the batch axis.
    pub output: Vec<usize>,
    /// Trained numbers.
    pub parameters: usize,
}

impl Summary {
    pub(super) fn of<E: Element>(model: &Sequential<E>) -> Self {
        let mut shape = model.input_shape().to_vec();
        let rows: Vec<SummaryRow> = model
            .layers()
            .map(|(name, layer)| {
                shape = layer.output_shape(&shape).expect("shapes were checked when the network was built");
                let parameters = layer.parameters().iter().map(|(_, view)| view.len()).sum();
                SummaryRow { name: name.to_string(), kind: layer.kind(), output: shape.clone(), parameters }
            })
            .collect();
        let parameters = rows.iter().map(|row| row.parameters).sum();
        let state = model.state().iter().map(|(_, view)| view.len()).sum();
        Self { rows, parameters, state, bytes: (parameters + state) * size_of::<E>() }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells: Vec<[String; 3]> = self
            .rows
            .iter()
            .map(|row| {
                let axes: Vec<String> = row.output.iter().map(usize::to_string).collect();
                [format!("{} ({})", row.name, row.kind), axes.join(" × "), grouped(row.parameters)]
            })
            .collect();
        let heads = ["Layer", "Output", "Parameters"];
        let width = |column: usize| {
            let longest = cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            longest.max(heads[column].len())
        };
        let [a, b, c] = [width(0), width(1), width(2)];
        writeln!(f, "{:<a$}   {:<b$}   {:>c$}", heads[0], heads[1], heads[2])?;
        writeln!(f, "{}", "─".repeat(a + b + c + 6))?;
        for [layer, output, parameters] in &cells {
            writeln!(f, "{layer:<a$}   {output:<b$}   {parameters:>c$}")?;
        }
        writeln!(f, "{}", "─".repeat(a + b + c + 6))?;
        write!(f, "{} parameters", grouped(self.parameters))?;
        if self.state > 0 {
            write!(f, ", {} moving averages", grouped(self.state))?;
        }
        write!(f, ", {:.2} MB", self.bytes as f64 / 1e6)
    }
}

/// 813217 as "813,217".
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 12, 896, 9248, 813_217].map(grouped), ["0", "12", "896", "9,248", "813,217"]);
    }
}
