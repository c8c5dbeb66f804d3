//! What the markers of a JPEG tell without decoding it (ITU-T T.81, annexes B and G).
//!
//! A progressive file sends its coefficients in several scans: a band Ss..=Se of them, of one or more components,
//! without their lowest Al bits; later scans send the bits that are missing. When all is told, no coefficient that
//! was begun still lacks bits, and every component has its means (coefficient 0).

/// The markers of one file, up to its end.
#[derive(Default)]
pub(super) struct Markers {
    /// Colour components, 3 in most files.
    pub components: u8,
    /// Whether the pixels are spread over several scans, as in a progressive file.
    pub several_scans: bool,
    /// Where the end marker stands that follows the pixels.
    pub end: Option<usize>,
    /// Whether the decoder can be asked if it reads beyond the pixels. After the only scan of a progressive file it
    /// insists on a marker at once.
    pub probe: bool,
    /// For each component and coefficient: the bits that are still missing; none before it was first sent.
    missing: Vec<(u8, [Option<u8>; 64])>,
}

impl Markers {
    pub fn of(bytes: &[u8]) -> Self {
        let mut markers = Self::default();
        let (mut progressive, mut scans, mut at) = (false, 0, 0);
        while let Some(start) = next_marker(&bytes[at..]) {
            at += start + 2;
            let segment = &bytes[at..];
            match bytes[at - 1] {
                // Start of frame: length (2), precision, height (2), width (2), components
                frame @ 0xC0..=0xC3 => {
                    markers.components = segment.get(7).copied().unwrap_or(0);
                    progressive = frame == 0xC2;
                }
                0xDA => {
                    markers.scan(segment);
                    scans += 1;
                }
                // Inside pixels FF is followed by 00 or a restart marker, so this is the end and nothing else.
                0xD9 if scans > 0 => {
                    markers.end = Some(at - 2);
                    break;
                }
                // stand-alone markers have no length
                0x01 | 0xD0..=0xD9 => continue,
                _ => {}
            }
            let length = segment.first_chunk().map_or(0, |&length| u16::from_be_bytes(length));
            at = bytes.len().min(at + usize::from(length));
        }
        markers.several_scans = progressive || scans > 1;
        markers.probe = !progressive || scans > 1;
        markers
    }

    /// Whether no scan is missing.
    pub fn all_is_coded(&self) -> bool {
        let done = |(_, missing): &(u8, [Option<u8>; 64])| {
            missing[0].is_some() && missing.iter().flatten().all(|&bits| bits == 0)
        };
        self.missing.len() >= usize::from(self.components) && self.missing.iter().all(done)
    }

    // length (2), count, count · (component, tables), Ss, Se, Ah and Al in 4 bits each
    fn scan(&mut self, segment: &[u8]) {
        let count = segment.get(2).map_or(0, |&count| usize::from(count));
        let Some(&[first, last, bits]) = segment.get(3 + 2 * count..).and_then(<[u8]>::first_chunk) else { return };
        for id in segment[3..].iter().step_by(2).take(count) {
            let known = self.missing.iter().position(|(component, _)| component == id);
            let place = known.unwrap_or_else(|| {
                self.missing.push((*id, [None; 64]));
                self.missing.len() - 1
            });
            let sent = self.missing[place].1.iter_mut().take(usize::from(last) + 1).skip(first.into());
            sent.for_each(|missing| *missing = Some(bits & 15));
        }
    }
}

/// Where the next two bytes are that can be a marker.
fn next_marker(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a scan's header and of some pixels: component, Ss, Se, Al.
    fn scan([component, first, last, bits]: [u8; 4]) -> Vec<u8> {
        [&[0xFF, 0xDA, 0, 8, 1, component, 0, first, last, bits][..], &[1, 0xFF, 0, 0xFF, 0xD0, 2]].concat()
    }

    fn markers(frame: u8, components: u8, scans: &[[u8; 4]]) -> Markers {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, frame, 0, 8, 8, 0, 9, 0, 9, components];
        scans.iter().for_each(|&it| bytes.extend(scan(it)));
        Markers::of(&[&bytes[..], &[0xFF, 0xD9, 7, 7]].concat())
    }

    #[test]
    fn scans_that_leave_bits_or_components_out_are_seen() {
        let whole = [[1, 0, 0, 1], [2, 0, 0, 0], [1, 1, 63, 1], [1, 0, 0, 0x10], [1, 1, 63, 0x10]];
        let told = |scans: &[[u8; 4]]| markers(0xC2, 2, scans).all_is_coded();
        assert!(told(&whole));
        assert!((0..whole.len()).all(|count| !told(&whole[..count])));
        assert!(markers(0xC0, 1, &[[1, 0, 63, 0]]).all_is_coded());
        assert!(!markers(0xC0, 3, &[[1, 0, 63, 0], [2, 0, 63, 0]]).all_is_coded());
    }

    #[test]
    fn the_end_is_behind_the_pixels() {
        let found = markers(0xC0, 1, &[[1, 0, 63, 0]]);
        assert_eq!((found.end, found.several_scans, found.probe), (Some(12 + 16), false, true));
        let found = markers(0xC2, 1, &[[1, 0, 0, 0]]);
        assert_eq!((found.several_scans, found.probe), (true, false));
        assert_eq!(markers(0xC0, 1, &[]).end, None);
        assert_eq!(Markers::of(&[]).end, None);
    }
}
