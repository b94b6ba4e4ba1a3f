//! From a file's bytes to a document: by its name, and by its first bytes where the name says
//! nothing.

use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::walk::{self, Found, Skip, broken, unopened};
use super::{IngestOptions, code, html, man, markdown, root};

/// A text with its structure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Document {
    /// What it is about.
    pub(super) title: String,
    pub(super) sections: Vec<Section>,
    /// It was not UTF-8, so that something in it was replaced.
    pub(super) lossy: bool,
}

/// What stands under a heading; paragraphs are apart by an empty line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) heading: String,
    pub(super) text: String,
}

/// How many bytes of a program are a token, rather less than more.
const BYTES_OF_TOKEN: usize = 3;
/// How much of a file says whether it is text.
const SNIFF_BYTES: usize = 8 << 10;

impl Document {
    pub(super) fn plain(title: String, text: String) -> Self {
        let heading = String::new();
        Self {
            title,
            sections: vec![Section { heading, text }],
            lossy: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.sections
            .iter()
            .all(|section| section.text.trim().is_empty())
    }
}

/// Reads a file. It is looked at once more after it was opened: it may be another one by now, or
/// elsewhere.
pub(super) fn file(found: &Found, options: &IngestOptions) -> Result<Document, Skip> {
    let path = &found.path;
    let mut file = found.root.read(path).map_err(unopened)?;
    let metadata = file.metadata().map_err(broken)?;
    walk::check(metadata.file_type(), metadata.len(), options)?;
    // That it may be read where it was found was asked before.
    let place = root::place(&file);
    if place.is_ok_and(|place| place != *path && !(options.may_read)(&place)) {
        return Err(Skip::Denied);
    }
    reader(path, &mut file, options)
}

/// Reads what a reader gives.
pub(super) fn reader(
    path: &Path,
    reader: &mut dyn Read,
    options: &IngestOptions,
) -> Result<Document, Skip> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let max = options.file_bytes_max;
    let bytes = read_all(reader, max)?;
    let (name, bytes) = match name.strip_suffix(".gz") {
        Some(inner) => (
            inner.to_owned(),
            read_all(&mut MultiGzDecoder::new(&*bytes), max)?,
        ),
        None => (name, bytes),
    };
    let document = parse(&name, &bytes, options)?;
    match document.is_empty() {
        true => Err(Skip::Empty),
        false => Ok(document),
    }
}

fn parse(name: &str, bytes: &[u8], options: &IngestOptions) -> Result<Document, Skip> {
    let ending = name
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_ascii_lowercase());
    let ending = ending.unwrap_or_default();
    if bytes.starts_with(b"%PDF-") || ending == "pdf" {
        return pdf(name, bytes, options);
    }
    if bytes[..bytes.len().min(SNIFF_BYTES)].contains(&0) {
        return Err(Skip::Binary);
    }
    let text = String::from_utf8_lossy(bytes);
    let lossy = matches!(text, std::borrow::Cow::Owned(_));
    let document = match ending.as_str() {
        "md" | "markdown" | "mdown" => markdown::document(name, &text),
        "html" | "htm" | "xhtml" => html::document(name, bytes)?,
        section if section.starts_with(|c: char| c.is_ascii_digit()) && man::is_man(&text) => {
            man::document(name, &text)
        }
        ending if code::is_code(ending, &text) => {
            let text = text.replace('\r', "");
            code::document(name, &text, options.chunk_tokens * BYTES_OF_TOKEN)
        }
        _ => Document::plain(name.to_owned(), text.replace('\r', "")),
    };
    Ok(Document { lossy, ..document })
}

#[cfg(feature = "pdf")]
fn pdf(name: &str, bytes: &[u8], options: &IngestOptions) -> Result<Document, Skip> {
    super::pdf::document(name, bytes, options)
}

#[cfg(not(feature = "pdf"))]
fn pdf(_: &str, _: &[u8], _: &IngestOptions) -> Result<Document, Skip> {
    Err(broken("this program was built without the feature `pdf`"))
}

/// Reads up to the limit; a packed file may claim to be small.
fn read_all(reader: &mut dyn Read, max: u64) -> Result<Vec<u8>, Skip> {
    let mut bytes = Vec::new();
    reader
        .take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(broken)?;
    match bytes.len() as u64 {
        0 => Err(Skip::Empty),
        bytes if bytes > max => Err(Skip::TooLarge { bytes, max }),
        _ => Ok(bytes),
    }
}
