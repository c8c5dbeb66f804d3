//! Reads event files, for tests: knows nothing of how they are written.

use std::path::Path;

/// CRC-32C bit by bit, and masked.
fn masked_crc(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (first, rest) = bytes.split_at(count);
    *bytes = rest;
    first
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for place in 0.. {
        let byte = take(bytes, 1)[0];
        value |= u64::from(byte & 0x7F) << (7 * place);
        if byte < 0x80 {
            break;
        }
    }
    value
}

type Fields = Vec<(u64, Vec<u8>)>;

/// The fields of a message: number, and bytes (of a varint: its eight).
fn fields(mut bytes: &[u8]) -> Fields {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => varint(&mut bytes).to_le_bytes().to_vec(),
            1 => take(&mut bytes, 8).to_vec(),
            2 => {
                let count = varint(&mut bytes) as usize;
                take(&mut bytes, count).to_vec()
            }
            5 => take(&mut bytes, 4).to_vec(),
            wire => panic!("wire type {wire}"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

fn one(fields: &[(u64, Vec<u8>)], number: u64) -> Option<&[u8]> {
    fields.iter().find(|field| field.0 == number).map(|field| &field.1[..])
}

/// Every event of a file, its checksums being right.
pub fn events(path: &Path) -> Vec<Fields> {
    let file = std::fs::read(path).unwrap();
    let (mut bytes, mut events) = (&file[..], Vec::new());
    while !bytes.is_empty() {
        let mut checked = |count| {
            let data = take(&mut bytes, count);
            assert_eq!(take(&mut bytes, 4), masked_crc(data).to_le_bytes());
            data
        };
        let length = u64::from_le_bytes(checked(8).try_into().unwrap());
        events.push(fields(checked(length as usize)));
    }
    events
}

/// An event in words.
pub fn said(event: &[(u64, Vec<u8>)]) -> String {
    assert!(f64::from_le_bytes(one(event, 1).unwrap().try_into().unwrap()) > 1.7e9, "wall time");
    let step = one(event, 2).map_or(0, |step| u64::from_le_bytes(step.try_into().unwrap()));
    if let Some(version) = one(event, 3) {
        return String::from_utf8(version.to_vec()).unwrap();
    }
    if let Some(session) = one(event, 7) {
        assert_eq!(one(&fields(session), 1).unwrap()[0], 1);
        return format!("{step}: START");
    }
    let value = |(_, value): (u64, Vec<u8>)| {
        let value = fields(&value);
        let tag = std::str::from_utf8(one(&value, 1).unwrap()).unwrap();
        format!(" {tag} {}", f32::from_le_bytes(one(&value, 2).unwrap().try_into().unwrap()))
    };
    format!("{step}:{}", fields(one(event, 5).unwrap()).into_iter().map(value).collect::<String>())
}
