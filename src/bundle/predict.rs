//! From a picture to a class and its probability, with the preprocessing that the model carries.

use super::Bundle;
use crate::data::Picture;
use crate::error::{Error, Result};
use crate::model::Head;
use ndarray::Axis;
use serde::Serialize;

/// What a network says about one picture.
///
/// ```
/// use ndarray::array;
/// use tapetum::prelude::*;
/// // It sees nothing, and says "dog" with probability σ(2).
/// let dense = Dense::from_weights(ndarray::Array2::zeros((12, 1)), Some(array![2.0]))?;
/// let model = Sequential::from_layers([2, 2, 3], vec![Box::new(Flatten), Box::new(dense), Box::new(Sigmoid)])?;
/// let bundle = Bundle::new(model).preprocessing(Preprocessing::new(2, 2)).class_names(["cat", "dog"]);
/// let prediction = bundle.predict_picture(&Picture { height: 1, width: 1, rgb: vec![255, 0, 0] })?;
/// assert_eq!((prediction.label, prediction.class.as_str()), (1, "dog"));
/// assert!((prediction.probability - 0.8808).abs() < 1e-4);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The class, counted from 0.
    pub label: usize,
    /// Its name; its number where the model has no names.
    pub class: String,
    /// How sure the network is of it.
    pub probability: f64,
    /// The probability of every class.
    pub probabilities: Vec<f64>,
}

impl Bundle {
    /// The class of a picture of any size.
    ///
    /// # Errors
    /// Where the model has no preprocessing, or does not classify.
    pub fn predict_picture(&self, picture: &Picture) -> Result<Prediction> {
        let no_pictures = || Error::data("this model carries no preprocessing: it was not made for pictures");
        let preprocessing = self.preprocessing.as_ref().ok_or_else(no_pictures)?;
        let y = self.model.predict(preprocessing.sample(picture)?.insert_axis(Axis(0)).view())?;
        let probabilities = Head::of(&self.model, false).probabilities(y.view())?.into_raw_vec_and_offset().0;
        let best = probabilities.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
        let (label, &probability) = best.expect("a network has outputs");
        let class = self.class_names.get(label).cloned().unwrap_or_else(|| label.to_string());
        Ok(Prediction { label, class, probability, probabilities })
    }
}
