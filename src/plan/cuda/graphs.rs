//! What is launched for a batch, written down once for each size of batch that is met.

use crate::error::Result;
use crate::kernels::cuda::{Gpu, Graph};
use std::collections::HashMap;

/// By the size of the batch; none after the first time.
#[derive(Debug, Default)]
pub(super) struct Graphs(HashMap<usize, Option<Graph>>);

impl Graphs {
    /// Does what `launch` launches for batches of this size: one by one the first time, since kernels may be loaded then,
    /// which must not happen while they are captured; written down and replayed from there on.
    pub fn run(&mut self, gpu: &Gpu, batch: usize, launch: impl FnOnce() -> Result<()>) -> Result<()> {
        let graph = match self.0.remove(&batch) {
            None => {
                launch()?;
                None
            }
            Some(graph) => {
                let mut graph = graph.map_or_else(|| Graph::capture(gpu, launch), Ok)?;
                graph.launch(gpu)?;
                Some(graph)
            }
        };
        self.0.insert(batch, graph);
        Ok(())
    }

    /// The graph of a batch size, once it was written down.
    pub fn of(&mut self, batch: usize) -> Option<&mut Graph> {
        self.0.get_mut(&batch).and_then(Option::as_mut)
    }
}
