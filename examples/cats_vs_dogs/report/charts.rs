//! Curves as SVG inside the page.
//!
//! Colours are names here: the style sheet gives each its value for light, dark and paper. They are drawn at three
//! times the size that the page shows, so that curves, which plotters rounds to pixels, are smooth.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const SIZE: (u32, u32) = (1080, 760);
const TEXT: i32 = 48;
const INK: RGBColor = BLACK;
const GRID: RGBColor = RGBColor(0x80, 0x80, 0x80);
/// Of the curves, in their order: Okabe and Ito's, which the colour-blind tell apart.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];

/// How many curves can be told apart.
pub const CURVES: usize = COLOURS.len();

/// What a chart shows.
pub struct Chart<'a> {
    /// What the axes mean.
    pub axes: [&'a str; 2],
    pub x: Range<f64>,
    pub y: Range<f64>,
    /// Whether x counts: only whole numbers are named.
    pub whole: bool,
    pub curves: Vec<Curve>,
    pub bars: Vec<Bar>,
    /// A dashed line where x = y.
    pub diagonal: bool,
}

pub struct Curve {
    pub points: Vec<(f64, f64)>,
    pub dashed: bool,
    /// A dot at each point, for few of them.
    pub dots: bool,
}

/// From `low` to `high`, up to `height`.
pub struct Bar {
    pub low: f64,
    pub high: f64,
    pub height: f64,
    /// From 0 to 1: how much colour it gets.
    pub weight: f64,
}

/// The chart as an `<svg>` element, which takes the width that it gets.
pub fn svg(chart: &Chart<'_>, label: &str) -> Outcome<String> {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    draw(chart, &area)?;
    area.present()?;
    drop(area);
    let sized = format!("<svg width=\"{}\" height=\"{}\"", SIZE.0, SIZE.1);
    let label = super::html::escape(label);
    Ok(text.replacen(&sized, &format!(r#"<svg class="chart" role="img" aria-label="{label}""#), 1))
}

fn draw(chart: &Chart<'_>, area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Outcome<()> {
    let font = ("sans-serif", TEXT).into_font().color(&INK);
    let mut context = ChartBuilder::on(area)
        .margin(24)
        .margin_right(60)
        .x_label_area_size(130)
        .y_label_area_size(180)
        .build_cartesian_2d(chart.x.clone(), chart.y.clone())?;
    context
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.mix(0.4).stroke_width(2))
        .axis_style(INK.stroke_width(3))
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|value| {
            if chart.whole && value.fract() != 0.0 { String::new() } else { number(*value, &chart.x) }
        })
        .y_label_formatter(&|value| number(*value, &chart.y))
        .x_label_style(font.clone().pos(Pos::new(HPos::Center, VPos::Top)))
        .y_label_style(font.clone())
        .axis_desc_style(font)
        .x_desc(chart.axes[0])
        .y_desc(chart.axes[1])
        .draw()?;
    context.draw_series(chart.bars.iter().map(|bar| {
        let corners = [(bar.low, chart.y.start), (bar.high, bar.height)];
        Rectangle::new(corners, COLOURS[0].mix(0.15 + 0.75 * bar.weight).filled())
    }))?;
    if chart.diagonal {
        let ends = [chart.x.start.max(chart.y.start), chart.x.end.min(chart.y.end)].map(|end| (end, end));
        context.draw_series(DashedLineSeries::new(ends, 16, 16, GRID.stroke_width(4)))?;
    }
    for (curve, colour) in chart.curves.iter().zip(COLOURS) {
        let (points, style) = (curve.points.iter().copied(), colour.stroke_width(7));
        match curve.dashed {
            true => context.draw_series(DashedLineSeries::new(points.clone(), 26, 14, style))?,
            false => context.draw_series(LineSeries::new(points.clone(), style))?,
        };
        if curve.dots {
            context.draw_series(points.map(|point| Circle::new(point, 11, colour.filled())))?;
        }
    }
    Ok(())
}

/// A number on an axis, without digits that say nothing.
fn number(value: f64, axis: &Range<f64>) -> String {
    // Steps of the grid are added up, and miss 0 by a rounding.
    let value = if value.abs() < 1e-9 * (axis.end - axis.start) { 0.0 } else { value };
    if value != 0.0 && value.abs() < 1e-3 {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// A range around all finite numbers, with some room, and never empty.
pub fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let wider = |range: Option<(f64, f64)>, value: f64| match range {
        Some((low, high)) => Some((low.min(value), high.max(value))),
        None => Some((value, value)),
    };
    let (low, high) = values.filter(|value| value.is_finite()).fold(None, wider).unwrap_or((0.0, 1.0));
    let room = match high - low {
        0.0 => {
            if low == 0.0 {
                1.0
            } else {
                0.1 * low.abs()
            }
        }
        span => 0.06 * span,
    };
    low - room..high + room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let text = [0.1 + 0.2, 2.0, -2.7e-20, 1e-4, 2.5e-5].map(|value| number(value, &(0.0..1e-3)));
        assert_eq!(text, ["0.3", "2", "0", "1e-4", "2.5e-5"]);
    }

    #[test]
    fn no_range_is_empty() {
        assert_eq!(around([f64::NAN].into_iter()), -0.06..1.06);
        assert_eq!(around([2.0].into_iter()), 1.8..2.2);
        assert_eq!(around([0.0].into_iter()), -1.0..1.0);
    }

    #[test]
    fn a_chart_is_one_element_that_scales() {
        let curve = Curve { points: vec![(0.0, 0.0), (1.0, 0.5)], dashed: false, dots: true };
        let chart = Chart {
            axes: ["x < y", "y"],
            x: 0.0..1.0,
            y: 0.0..1.0,
            whole: false,
            curves: vec![curve],
            bars: vec![Bar { low: 0.0, high: 0.5, height: 0.5, weight: 1.0 }],
            diagonal: true,
        };
        let svg = svg(&chart, "a \"chart\"").unwrap();
        assert!(svg.starts_with(r#"<svg class="chart" role="img" aria-label="a &quot;chart&quot;" viewBox="0 0 1080"#));
        assert!(svg.trim_end().ends_with("</svg>") && svg.contains("x &lt; y"));
        assert!(svg.contains("<polyline") && svg.contains("<circle") && svg.contains("<rect"));
    }
}
