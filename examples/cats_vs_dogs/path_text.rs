//! A path in TOML: as text, or, where its bytes are no text, as the list of these bytes.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::PathBuf;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(Vec<u8>),
}

pub fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
    let written = path.as_ref().map(|path| match path.to_str() {
        Some(text) => Written::Text(text.to_string()),
        None => Written::Bytes(path.as_os_str().as_encoded_bytes().to_vec()),
    });
    written.serialize(to)
}

pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    match Option::deserialize(from)? {
        Some(Written::Text(text)) => Ok(Some(text.into())),
        Some(Written::Bytes(bytes)) => from_bytes(bytes).map(Some).ok_or_else(|| D::Error::custom("no path here")),
        None => Ok(None),
    }
}

#[cfg(unix)]
fn from_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Some(std::ffi::OsString::from_vec(bytes).into())
}

/// Where paths are no bytes, only text is one.
#[cfg(not(unix))]
fn from_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(bytes).ok().map(PathBuf::from)
}
