//! What a network says about labelled data, sample by sample.

use super::evaluation::read_ahead;
use super::trainer::{BATCH_SIZE, Trainer};
use crate::data::{Batches, Dataset, Order};
use crate::error::{Error, Result};
use crate::metrics::Classification;
use crate::model::Head;
use crate::target::Target;
use crate::threads::with_threads;
use ndarray::Array2;

impl Trainer {
    /// The probability of every class for all of `data`, beside the labels: what every metric is computed from.
    ///
    /// A network with one output tells class 1 from class 0. Labels that the loss ignores are left out.
    ///
    /// ```
    /// use ndarray::array;
    /// use tapetum::prelude::*;
    /// let sign = Dense::from_weights(array![[1.0]], None)?; // class 1 where x > 0
    /// let model = Sequential::from_layers([1], vec![Box::new(sign), Box::new(Sigmoid)])?;
    /// let trainer = Trainer::new(model, BinaryCrossEntropy::default(), SGD::new(0.1));
    /// let data = ArraySet::new(array![[-1.0], [1.0], [2.0], [3.0]].into_dyn(), vec![0, 1, 0, 1])?;
    /// let said = trainer.classify(&data)?;
    /// assert_eq!(said.accuracy().value, 0.75);
    /// assert_eq!(said.roc(1)?.auc.value, 0.75); // of four pairs, 1 and 2 are in the wrong order
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Where targets are not labels, the network does not classify, or a probability is not finite.
    pub fn classify(&self, data: &dyn Dataset) -> Result<Classification> {
        self.expect_samples("validation", data)?;
        with_threads(self.threads, || {
            let model = self.averaged_model();
            let skip_last = self.fused.is_some();
            let head = Head::of(&model, skip_last);
            let batches = Batches::new(data, BATCH_SIZE, self.seed, Order::InOrder)?;
            let mut outputs = self.outputs(&model, skip_last)?;
            let (mut rows, mut labels, mut classes) = (Vec::new(), Vec::new(), 0);
            read_ahead(&batches, batches.steps_per_pass() as u64, |batch| {
                let Target::Labels(batch_labels) = &batch.target else {
                    return Err(Error::data("the targets of this data are numbers: only labels can be classified"));
                };
                let p = head.probabilities(outputs.of(&model, batch.x.view())?)?;
                classes = p.ncols();
                for (row, &label) in p.rows().into_iter().zip(batch_labels) {
                    if self.loss.counts(label) {
                        rows.extend(row);
                        labels.push(label);
                    }
                }
                Ok(())
            })?;
            let p = Array2::from_shape_vec((labels.len(), classes), rows).expect("a row for each label");
            Classification::new(p.view(), &labels)
        })?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ArraySet;
    use crate::layers::{Dense, Layer, Sigmoid, Softmax};
    use crate::losses::{BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError};
    use crate::model::Sequential;
    use crate::optimizers::Adam;
    use approx::assert_abs_diff_eq;
    use ndarray::{Array, array};

    fn trainer(units: usize, last: impl Layer<f32> + 'static, loss: impl Loss<f32> + 'static) -> Trainer {
        let model = Sequential::builder([3]).add(Dense::new(units)).add(last).build(4).unwrap();
        Trainer::new(model, loss, Adam::new(0.1))
    }

    /// 70 samples: three batches, the last one partial.
    fn data(classes: usize) -> ArraySet {
        let x = Array::from_shape_fn((70, 3), |(n, d)| ((7 * n + 5 * d) % 23) as f32 / 5.0 - 2.0);
        ArraySet::new(x.into_dyn(), (0..70).map(|n| n * 7 / 5 % classes).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn it_is_what_evaluate_and_predict_find() {
        let networks = [
            (2, trainer(1, Sigmoid, BinaryCrossEntropy::default())),
            (3, trainer(3, Softmax, CrossEntropy::default())),
        ];
        for (classes, trainer) in networks {
            let data = data(classes);
            let (said, found) = (trainer.classify(&data).unwrap(), trainer.evaluate(&data).unwrap());
            assert_eq!((said.len(), said.classes()), (70, classes));
            assert_eq!(said.confusion(), found.confusion);
            assert_abs_diff_eq!(said.accuracy().value, found.accuracy.unwrap(), epsilon = 1e-12);
            assert_abs_diff_eq!(said.log_loss(), found.loss, epsilon = 1e-6);
            let y = trainer.predict(&data).unwrap();
            for (n, row) in said.probabilities().rows().into_iter().enumerate() {
                assert_abs_diff_eq!(row[classes - 1], f64::from(y[[n, y.shape()[1] - 1]]), epsilon = 1e-6);
            }
        }
    }

    #[test]
    fn what_the_loss_ignores_is_left_out() {
        let x = array![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]].into_dyn();
        let data = ArraySet::new(x, vec![0, 9, 2]).unwrap();
        let said = trainer(3, Softmax, CrossEntropy::default().ignore_index(9)).classify(&data).unwrap();
        assert_eq!(said.labels(), [0, 2]);
    }

    #[test]
    fn what_does_not_classify_is_refused() {
        let values = ArraySet::new(Array::zeros((4, 3)).into_dyn(), Array::zeros((4, 1)).into_dyn()).unwrap();
        let error = trainer(1, Sigmoid, MeanSquaredError).classify(&values).unwrap_err();
        assert!(error.to_string().contains("targets of this data are numbers"), "{error}");
        // Three sigmoids are three answers, not one of three.
        let error = trainer(3, Sigmoid, BinaryCrossEntropy::default()).classify(&data(3)).unwrap_err();
        assert!(error.to_string().contains("add up to 1"), "{error}");
        assert!(trainer(1, Sigmoid, BinaryCrossEntropy::default()).classify(&data(3)).is_err());
    }
}
