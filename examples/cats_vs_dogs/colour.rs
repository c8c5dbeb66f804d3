//! Numbers as colours, and colours over a picture.

use tapetum::data::Picture;

/// Matplotlib's viridis at every eighth: equal steps look equally large, also in print and to the colour-blind.
const VIRIDIS: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];

/// From dark violet for 0 to yellow for 255, straight from one anchor to the next.
pub fn viridis(value: u8) -> [u8; 3] {
    let position = f32::from(value) / 255.0 * (VIRIDIS.len() - 1) as f32;
    let below = (position as usize).min(VIRIDIS.len() - 2);
    mixed(VIRIDIS[below], VIRIDIS[below + 1], position - below as f32)
}

/// A grey picture in colours.
pub fn coloured(grey: &Picture) -> Picture {
    Picture { rgb: grey.rgb.iter().step_by(3).flat_map(|&value| viridis(value)).collect(), ..*grey }
}

/// `heat`, a grey picture of the same size, in colours over `picture` in grey: where nothing is hot the picture stays.
pub fn overlay(picture: &Picture, heat: &Picture) -> Picture {
    let pixels = picture.rgb.chunks_exact(3).zip(heat.rgb.chunks_exact(3));
    let pixel = |(picture, heat): (&[u8], &[u8])| {
        let [red, green, blue] = [picture[0], picture[1], picture[2]].map(f32::from);
        let grey = (0.299 * red + 0.587 * green + 0.114 * blue) as u8; // the luma of ITU-R BT.601
        mixed([grey; 3], viridis(heat[0]), 0.6 * f32::from(heat[0]) / 255.0)
    };
    Picture { rgb: pixels.flat_map(pixel).collect(), ..*picture }
}

fn mixed(a: [u8; 3], b: [u8; 3], share: f32) -> [u8; 3] {
    std::array::from_fn(|channel| {
        let [a, b] = [a[channel], b[channel]].map(f32::from);
        (a + share * (b - a)).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_goes_through_its_anchors_and_grows_lighter() {
        assert_eq!((viridis(0), viridis(255)), (VIRIDIS[0], VIRIDIS[8]));
        let light =
            |value| viridis(value).iter().zip([0.299, 0.587, 0.114]).map(|(&c, w)| f32::from(c) * w).sum::<f32>();
        assert!((1..=255).all(|value| light(value) > light(value - 1) - 0.6), "rounding moves it by half a step");
    }

    #[test]
    fn cold_places_show_the_picture() {
        let picture = Picture { height: 1, width: 2, rgb: vec![90, 90, 90, 90, 90, 90] };
        let heat = Picture { height: 1, width: 2, rgb: vec![0, 0, 0, 255, 255, 255] };
        assert_eq!(overlay(&picture, &heat).rgb, [90, 90, 90, 188, 175, 58]);
    }
}
