//! Until the trainer profiles itself: each layer on its own, forward and backward.

use serde::Serialize;
use std::time::Instant;
use tapetum::data::Batch;
use tapetum::prelude::*;

#[derive(Debug, Clone, Serialize)]
pub struct StepTime {
    pub name: String,
    pub forward_ms: f64,
    pub backward_ms: f64,
    pub forward_flops: f64,
    pub backward_flops: f64,
}

pub fn profile(trainer: &mut Trainer, batch: &Batch) -> Result<Vec<StepTime>> {
    let model = trainer.model();
    let n = batch.x.shape()[0] as f64;
    let rows = model.summary().rows;
    let layers: Vec<_> = model.layers().take(rows.len() - 1).collect();
    let mut steps: Vec<StepTime> = layers
        .iter()
        .zip(&rows)
        .enumerate()
        .map(|(at, ((name, layer), row))| {
            let weights = match row.kind {
                "Conv2D" | "Dense" => layer.parameters()[0].1.len(),
                _ => 0,
            };
            let places: usize = row.output[..row.output.len() - 1].iter().product();
            let flops = 2.0 * n * (places * weights) as f64;
            StepTime {
                name: name.to_string(),
                forward_ms: f64::INFINITY,
                backward_ms: f64::INFINITY,
                forward_flops: flops,
                backward_flops: if at == 0 { flops } else { 2.0 * flops },
            }
        })
        .collect();
    for _ in 0..8 {
        let (mut x, mut kept) = (batch.x.clone(), Vec::new());
        for ((_, layer), step) in layers.iter().zip(&mut steps) {
            let begin = Instant::now();
            let (y, saved) = layer.forward_train_owned(x, Key::new(1))?;
            step.forward_ms = step.forward_ms.min(1e3 * begin.elapsed().as_secs_f64());
            kept.push(saved);
            x = y;
        }
        for (at, (saved, step)) in kept.into_iter().zip(&mut steps).enumerate().rev() {
            let begin = Instant::now();
            let back = match at {
                0 => layers[at].1.backward_first(saved, x.view())?,
                _ => layers[at].1.backward(saved, x.view())?,
            };
            step.backward_ms = step.backward_ms.min(1e3 * begin.elapsed().as_secs_f64());
            x = back.dx;
        }
    }
    Ok(steps)
}
