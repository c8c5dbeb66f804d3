//! Lesson 2: a layer of your own, with its gradient check.
//!
//! Swish, y = x·σ(x) (Ramachandran, Zoph and Le, arXiv:1710.05941), is not in this library. A layer is its
//! forward and its backward pass; the gradient check tells whether the two fit each other.
//!
//!     cargo run --release --example 02_layer_of_your_own

use ndarray::{Array, ArrayD, ArrayViewD};
use tapetum::inspect::{GradCheck, check_layer};
use tapetum::prelude::*;

#[derive(Debug, Clone)]
struct Swish;

impl<E: Element> Layer<E> for Swish {
    fn kind(&self) -> &'static str {
        "Swish"
    }

    fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        Ok(input.to_vec())
    }

    // y = x·σ(x)
    fn forward(&self, x: ArrayViewD<'_, E>) -> Result<ArrayD<E>> {
        Ok(x.mapv(|x| x * sigma(x)))
    }

    fn forward_train(&self, x: ArrayViewD<'_, E>, _key: Key) -> Result<(ArrayD<E>, Saved)> {
        Ok((self.forward(x.view())?, Saved::new(x.to_owned())))
    }

    // dx = dy · (σ(x) + x·σ(x)·(1 − σ(x)))
    fn backward(&self, saved: Saved, dy: ArrayViewD<'_, E>) -> Result<Backward<E>> {
        let x = saved.take::<ArrayD<E>>("swish")?;
        let slope = x.mapv(|x| sigma(x) + x * sigma(x) * (E::one() - sigma(x)));
        Ok(Backward::input_only(slope * dy))
    }

    fn clone_box(&self) -> Box<dyn Layer<E>> {
        Box::new(self.clone())
    }
}

fn sigma<E: Element>(x: E) -> E {
    E::one() / (E::one() + (-x).exp())
}

fn main() -> Result<()> {
    let mut random = Key::new(2).stream();
    let x = Array::from_shape_simple_fn((4, 5), || random.normal()).into_dyn();
    println!("alone:        {}", check_layer(&Swish, x.view(), &GradCheck::default())?);

    // And as a part of a network, beside the library's own layers.
    let model = SequentialBuilder::<f64>::new([5]).add(Dense::new(3)).add(Swish).add(Dense::new(2)).build(1)?;
    println!("in a network: {}", check_layer(&model, x.view(), &GradCheck::default())?);
    Ok(())
}
