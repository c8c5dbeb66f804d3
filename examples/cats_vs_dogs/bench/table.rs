//! What was found, for a terminal of 80 columns.

use super::{Found, Operations, PICTURE, StepTime, Times};
use tapetum::prelude::*;

/// How wide a table is, and how wide its columns of numbers are.
const WIDTH: usize = 79;
const SPEEDS: [usize; 5] = [11, 12, 13, 11, 11];
const LAYERS: [usize; 5] = [9, 8, 11, 8, 9];

pub fn show(found: &Found, model: &Sequential, operations: &Operations) {
    let Found { network, path, threads, peak_gflops, .. } = found;
    let [height, width, channels] = PICTURE;
    let parameters = grouped(model.count_parameters() as f64);
    println!("The {network} network, {parameters} parameters, pictures of {height} × {width} × {channels}");
    let threads = if *threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
    println!("{path}, {threads}, at most {peak_gflops:.1} GFLOP/s: multiply-adds in registers");

    speeds("training step", found.train.iter().map(|train| &train.times), operations.training, *peak_gflops);
    speeds("inference", found.infer.iter(), operations.forward, *peak_gflops);
    if let (Some(train), false) = (found.train.first(), found.layers.is_empty()) {
        layers(&found.layers, train.times.batch, *peak_gflops);
    }
    println!("\nGFLOP/s are those of the fastest run: two operations for each multiply-add of a");
    println!("convolution or dense layer, also for those left out because a factor is 0.");
}

/// One line for each batch size.
fn speeds<'a>(name: &str, times: impl ExactSizeIterator<Item = &'a Times>, operations: u64, peak_gflops: f64) {
    if times.len() == 0 {
        return;
    }
    head(SPEEDS, name, ["fastest", "median", "pictures/s", "GFLOP/s", "of peak"]);
    for &Times { batch, min_ms, median_ms } in times {
        let gflops = batch as f64 * operations as f64 / min_ms / 1e6;
        let pictures = grouped(1e3 * batch as f64 / min_ms);
        let speed = [format!("{gflops:.1}"), share(gflops / peak_gflops)];
        line(SPEEDS, &format!("batch {batch}"), [&ms(min_ms), &ms(median_ms), &pictures, &speed[0], &speed[1]]);
    }
}

/// Where the time of a training step goes.
fn layers(steps: &[StepTime], batch: usize, peak_gflops: f64) {
    let sum = |of: fn(&StepTime) -> f64| steps.iter().map(of).sum();
    let all = StepTime {
        name: "together".into(),
        forward_ms: sum(|step| step.forward_ms),
        backward_ms: sum(|step| step.backward_ms),
        forward_flops: sum(|step| step.forward_flops),
        backward_flops: sum(|step| step.backward_flops),
    };
    // Nothing for what takes no time, as an optimizer on the way forward, or has no products.
    let time = |time: f64| if time > 0.0 { ms(time) } else { String::new() };
    let speed = |flops: f64, ms: f64| if flops > 0.0 { share(flops / ms / 1e6 / peak_gflops) } else { String::new() };
    let row = |step: &StepTime| {
        let &StepTime { ref name, forward_ms, backward_ms, forward_flops, backward_flops } = step;
        let speeds = [speed(forward_flops, forward_ms), speed(backward_flops, backward_ms)];
        let part = share((forward_ms + backward_ms) / (all.forward_ms + all.backward_ms));
        line(LAYERS, name, [&time(forward_ms), &speeds[0], &time(backward_ms), &speeds[1], &part]);
    };
    head(LAYERS, &format!("layers, batch {batch}"), ["forward", "of peak", "backward", "of peak", "of step"]);
    steps.iter().for_each(row);
    println!("{}", "─".repeat(WIDTH));
    row(&all);
}

fn head(widths: [usize; 5], name: &str, columns: [&str; 5]) {
    println!();
    line(widths, name, columns);
    println!("{}", "─".repeat(WIDTH));
}

/// A name that is too long has a line of its own.
fn line(widths: [usize; 5], name: &str, numbers: [&str; 5]) {
    let left = WIDTH - widths.iter().sum::<usize>();
    match name.chars().count() <= left {
        true => print!("{name:<left$}"),
        false => print!("{name}\n{:left$}", ""),
    }
    numbers.iter().zip(widths).for_each(|(number, width)| print!("{number:>width$}"));
    println!();
}

/// Milliseconds, with four digits that count.
fn ms(ms: f64) -> String {
    let decimals = match ms {
        ..10.0 => 3,
        ..100.0 => 2,
        ..1000.0 => 1,
        _ => 0,
    };
    format!("{ms:.decimals$} ms")
}

fn share(part: f64) -> String {
    format!("{:.1} %", 100.0 * part)
}

/// 27800.4 as "27,800".
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let groups = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or("?"));
    groups.collect::<Vec<_>>().join(",")
}
