//! A picture in memory.

/// A picture as bytes: rows from the top, pixels from the left, red, green and blue in 0..=255 (sRGB).
///
/// `rgb` holds `height · width · 3` bytes: the layout [H, W, C] of a sample.
///
/// ```
/// use tapetum::data::Picture;
/// let red = Picture { height: 1, width: 2, rgb: vec![255, 0, 0, 255, 0, 0] };
/// assert_eq!(red.shape(), [1, 2, 3]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height · width · 3` bytes.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// Height, width and 3 channels.
    pub fn shape(&self) -> [usize; 3] {
        [self.height, self.width, 3]
    }
}
