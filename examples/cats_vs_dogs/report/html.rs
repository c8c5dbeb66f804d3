//! Text as HTML.

use crate::show::pixels;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::{ImageFormat, RgbImage};
use std::io::Cursor;
use tapetum::data::Picture;

/// Text that a browser shows as it is, also between quotation marks.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(c),
        }
    }
    safe
}

/// The template with each `{{name}}` replaced by the part of that name; parts are not searched themselves.
pub fn fill(template: &str, parts: &[(&str, String)]) -> String {
    let mut pieces = template.split("{{");
    let mut filled = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").expect("the template closes what it opens");
        let (_, part) = parts.iter().find(|(other, _)| *other == name).expect("every name of the template has a part");
        filled.push_str(part);
        filled.push_str(rest);
    }
    filled
}

/// A picture inside the page, of so many of its pixels.
pub fn img(picture: &RgbImage, alt: &str, class: &str) -> Result<String, image::ImageError> {
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    let ((width, height), png) = (picture.dimensions(), BASE64_STANDARD.encode(png.into_inner()));
    let (alt, source) = (escape(alt), format!("data:image/png;base64,{png}"));
    Ok(format!(r#"<img class="{class}" width="{width}" height="{height}" alt="{alt}" src="{source}">"#))
}

/// The same of the library's pictures.
pub fn img_of(picture: &Picture, alt: &str, class: &str) -> Result<String, Box<dyn std::error::Error>> {
    Ok(img(&pixels(picture)?, alt, class)?)
}

/// A share as people say it, in one piece.
pub fn percent(share: f64) -> String {
    // What is not quite everything, or nothing, is not rounded to it.
    match 100.0 * share {
        almost @ 99.95..100.0 => format!("{:.2}\u{a0}%", (100.0 * almost).floor() / 100.0),
        percent => format!("{percent:.1}\u{a0}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(escape(r#"<b>&"cats" 'n dogs"#), "&lt;b&gt;&amp;&quot;cats&quot; &#39;n dogs");
        let parts = [("a", "{{b}}".to_string()), ("b", "2".to_string())];
        assert_eq!(fill("1 {{a}} {{b}} }} 3", &parts), "1 {{b}} 2 }} 3");
    }

    #[test]
    fn almost_all_is_not_all() {
        assert_eq!(
            [1.0, 0.99999, 0.9994, 0.5].map(percent),
            ["100.0\u{a0}%", "99.99\u{a0}%", "99.9\u{a0}%", "50.0\u{a0}%"]
        );
    }
}
