//! HTML, by a library; but first a look whether it is nested as no page is, since a parser takes
//! longer for each element the deeper it is.

use super::markdown;
use super::read::Document;
use super::walk::{Skip, broken};

/// How wide a page is rendered.
const COLUMNS: usize = 200;
/// The deepest nesting that a page has.
const DEPTH_MAX: usize = 512;
/// Elements that nothing is in, or that end without saying so: they don't nest.
const FLAT: [&[u8]; 29] = [
    b"area",
    b"base",
    b"br",
    b"col",
    b"embed",
    b"hr",
    b"img",
    b"input",
    b"link",
    b"meta",
    b"param",
    b"source",
    b"track",
    b"wbr",
    b"p",
    b"li",
    b"dt",
    b"dd",
    b"tr",
    b"td",
    b"th",
    b"thead",
    b"tbody",
    b"tfoot",
    b"option",
    b"optgroup",
    b"rt",
    b"rp",
    b"colgroup",
];

pub(super) fn document(name: &str, bytes: &[u8]) -> Result<Document, Skip> {
    if depth(bytes) > DEPTH_MAX {
        let why = format!("its elements are nested more than {DEPTH_MAX} deep");
        return Err(broken(why));
    }
    let config = html2text::config::plain()
        .link_footnotes(false)
        .allow_width_overflow()
        .no_table_borders();
    let text = config.string_from_read(bytes, COLUMNS).map_err(broken)?;
    Ok(markdown::document(name, &text))
}

/// How deep elements are nested, roughly.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for tag in bytes.split(|byte| *byte == b'<').skip(1) {
        let (name, ends) = match tag.strip_prefix(b"/") {
            Some(name) => (name, true),
            None => (tag, false),
        };
        let end = name.iter().position(|byte| !byte.is_ascii_alphanumeric());
        let name = name[..end.unwrap_or(name.len())].to_ascii_lowercase();
        if name.is_empty() || FLAT.contains(&name.as_slice()) {
            continue;
        }
        depth = if ends {
            depth.saturating_sub(1)
        } else {
            depth + 1
        };
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str, expected: usize) {
        assert_eq!(depth(page.as_bytes()), expected, "{page}");
    }

    #[test]
    fn only_what_nests_is_counted() {
        check("", 0);
        check("a < b <", 0);
        check("<html><body><p>one<p>two<br><IMG src=x></body></html>", 2);
        check(&"<div>".repeat(1000), 1000);
        check(&"<div></div>".repeat(1000), 1);
        check(&"</div>".repeat(9), 0);
    }
}
