//! How many floating-point operations a network asks for, whoever computes it.

use tapetum::prelude::*;

/// For one picture: two for each multiply-add of a convolution or a dense layer. What remains is next to nothing.
pub struct Operations {
    pub forward: u64,
    /// Forward and backward.
    pub training: u64,
}

impl Operations {
    pub fn of(model: &Sequential) -> Self {
        let rows = model.summary().rows;
        let with_weights = model.layers().zip(&rows).filter(|(_, row)| matches!(row.kind, "Conv2D" | "Dense"));
        // Every weight is used once at each place of the output.
        let products = with_weights.map(|((_, layer), row)| {
            let places: usize = row.output[..row.output.len() - 1].iter().product();
            let weights: usize =
                layer.parameters().iter().filter(|(name, _)| name == "weight").map(|(_, w)| w.len()).sum();
            2 * (places * weights) as u64
        });
        let forward: Vec<u64> = products.collect();
        let all = forward.iter().sum::<u64>();
        // ∂L/∂w and ∂L/∂x take as many as y, and nobody needs the first ∂L/∂x.
        Self { forward: all, training: 3 * all - forward.first().unwrap_or(&0) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Measured, network};
    use super::Operations;

    // 2·(62·62·32·27 + 29·29·32·288 + 6272·128 + 128) forward; counted by hand for the wide network too.
    #[test]
    fn both_networks_counted_by_hand() {
        let count = |measured| {
            let Operations { forward, training } = Operations::of(&network(measured).unwrap());
            (forward, training)
        };
        assert_eq!(count(Measured::Thesis), (23_749_632, 64_606_464));
        assert_eq!(count(Measured::Wide), (309_068_032, 920_126_208));
    }
}
