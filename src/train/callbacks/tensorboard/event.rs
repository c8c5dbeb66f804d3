//! What TensorBoard reads, as protocol buffers. Of its messages, these fields are written, by their numbers:
//!
//! Event      1 wall_time (double)  2 step (int64)  3 file_version (string)  5 summary (Summary)  7 session_log
//! Summary    1 value (repeated Value: 1 tag (string), 2 simple_value (float))
//! SessionLog 1 status (1: START)

/// How a field's bytes are to be read.
enum Wire {
    Varint = 0,
    Bytes8 = 1,
    Counted = 2,
    Bytes4 = 5,
}

/// A message under construction.
struct Message(Vec<u8>);

impl Message {
    fn event(wall_time: f64) -> Self {
        let mut event = Self(Vec::new());
        event.key(1, Wire::Bytes8);
        event.0.extend(wall_time.to_le_bytes());
        event
    }

    fn key(&mut self, field: u64, wire: Wire) {
        self.varint(field << 3 | wire as u64);
    }

    /// Seven bits in a byte, the lowest first; the eighth says that there are more.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.key(field, Wire::Varint);
        self.varint(value);
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.key(field, Wire::Bytes4);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.key(field, Wire::Counted);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }
}

/// The first event of a file.
pub(super) fn file_version(wall_time: f64) -> Vec<u8> {
    Message::event(wall_time).bytes(3, b"brain.Event:2").0
}

/// Training begins, or begins again, with this step: what other files say of it and of later ones no longer holds.
pub(super) fn start(wall_time: f64, step: u64) -> Vec<u8> {
    let session = Message(Vec::new()).number(1, 1);
    Message::event(wall_time).number(2, step).bytes(7, &session.0).0
}

/// Numbers with names, measured after a step.
pub(super) fn scalars(wall_time: f64, step: u64, values: &[(&str, f64)]) -> Vec<u8> {
    let value = |(tag, value): &(&str, f64)| Message(Vec::new()).bytes(1, tag.as_bytes()).float(2, *value as f32);
    let summary = values.iter().fold(Message(Vec::new()), |summary, named| summary.bytes(1, &value(named).0));
    Message::event(wall_time).number(2, step).bytes(5, &summary.0).0
}
