//! What a network sees in one picture: its feature maps stage by stage, and where the answer comes from.

use crate::colour::{coloured, overlay};
use ndarray::{ArrayD, Axis};
use tapetum::data::ResizeFilter;
use tapetum::inspect::{feature_maps, grad_cam_at, grey_picture, last_picture};
use tapetum::prelude::*;

/// Layers that change each number on its own: what stands before them shows the same picture.
const FINISHING: [&str; 7] = ["BatchNorm", "Dropout", "LeakyReLU", "ReLU", "Sigmoid", "Softmax", "Tanh"];

/// The layers from one picture to the next that is worth looking at.
pub struct Stage {
    /// As in `conv2d_1 → relu_1`.
    pub layers: String,
    /// [H, W, C]
    pub shape: [usize; 3],
    /// The first so many channels, each in colours from its least number to its largest.
    pub maps: Vec<Picture>,
}

/// The feature maps of a picture after each stage, at most `most` of each.
pub fn stages(bundle: &Bundle, picture: &Picture, most: usize) -> Result<Vec<Stage>> {
    let all = feature_maps(&bundle.model, input(bundle, picture)?.view())?;
    let (mut stages, mut layers) = (Vec::new(), Vec::new());
    for (place, of) in all.iter().enumerate() {
        layers.push(of.layer.as_str());
        if all.get(place + 1).is_some_and(|next| FINISHING.contains(&next.kind)) {
            continue;
        }
        let (_, height, width, channels) = of.maps.dim();
        let maps =
            (0..channels.min(most)).map(|channel| Ok(coloured(&of.picture(0, channel)?))).collect::<Result<_>>()?;
        stages.push(Stage { layers: layers.join(" → "), shape: [height, width, channels], maps });
        layers.clear();
    }
    Ok(stages)
}

/// Where in `picture` the network sees `class`: a heat map over it, `side` pixels along the longer side. The layer is
/// the last that shows a picture, unless another is named.
pub fn where_from(
    bundle: &Bundle,
    picture: &Picture,
    class: usize,
    layer: Option<&str>,
    side: usize,
) -> Result<Picture> {
    let layer = layer.map_or_else(|| last_picture(&bundle.model), Ok)?;
    let map = grad_cam_at(&bundle.model, layer, input(bundle, picture)?.view(), class)?;
    let picture = enlarged(picture, side)?;
    let heat = grey_picture(map.view(), [0.0, 1.0])?;
    Ok(overlay(&picture, &heat.resized(picture.height, picture.width, ResizeFilter::Bilinear)?))
}

/// The picture with its longer side of so many pixels.
pub fn enlarged(picture: &Picture, side: usize) -> Result<Picture> {
    let longer = picture.height.max(picture.width).max(1);
    let [height, width] = [picture.height, picture.width].map(|length| (length * side).div_ceil(longer));
    picture.resized(height, width, ResizeFilter::Bilinear)
}

/// [1, H, W, 3]
fn input(bundle: &Bundle, picture: &Picture) -> Result<ArrayD<f32>> {
    let preprocessing = bundle.preprocessing.clone().unwrap_or_else(|| {
        // A network that was not made for pictures says so when it gets one of its input's size.
        let shape = bundle.model.input_shape();
        Preprocessing::new(shape[0], shape.get(1).copied().unwrap_or(1))
    });
    Ok(preprocessing.sample(picture)?.insert_axis(Axis(0)))
}
