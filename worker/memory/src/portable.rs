//! A memory as lines of JSON: out of one store and into another, without loss.
//!
//! The first line says what follows: `{"fazai_memory":1,"dimensions":{"fazai_kb":384}}`. Every
//! other line is a record: `{"collection":"fazai_kb","id":...,"payload":{...},"vector":[...]}`. The
//! last one, `{"end":{"records":1234}}`, says how many there were: without it the file is cut off.

use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{MemoryError, Result, io};
use crate::memory::Memory;
use crate::record::Record;
use crate::store::{Collection, Store, each_page};

/// The version of the format.
const FORMAT: u32 = 1;
/// The longest line.
pub const LINE_BYTES_MAX: usize = 2 << 20;
/// How many records are imported together.
const BATCH: usize = 512;

/// What becomes of the vectors of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vectors {
    /// They stay. Another size than the collection's is an error.
    Keep,
    /// The memory's embedding model makes new ones; without a model there are none.
    Recompute,
}

#[derive(Serialize, Deserialize)]
struct Header {
    fazai_memory: u32,
    dimensions: BTreeMap<Collection, usize>,
}

#[derive(Serialize, Deserialize)]
struct Line<R> {
    collection: Collection,
    #[serde(flatten)]
    record: R,
}

/// The last line.
#[derive(Serialize, Deserialize)]
struct Trailer {
    end: End,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct End {
    records: usize,
}

/// How the last line begins.
const TRAILER: &[u8] = b"{\"end\":";

/// Writes every record of a store; answers how many.
pub fn export(store: &dyn Store, out: &mut dyn Write) -> Result<usize> {
    let mut dimensions = BTreeMap::new();
    for collection in Collection::ALL {
        if let Some(found) = store.prepare(collection, None)? {
            dimensions.insert(collection, found);
        }
    }
    let header = Header {
        fazai_memory: FORMAT,
        dimensions,
    };
    write_line(out, &header)?;
    let mut written = 0;
    for collection in Collection::ALL {
        each_page(store, collection, true, |records| {
            written += records.len();
            records
                .iter()
                .try_for_each(|record| write_line(out, &Line { collection, record }))
        })?;
    }
    let end = End { records: written };
    write_line(out, &Trailer { end })?;
    out.flush().map_err(io(Path::new("export")))?;
    Ok(written)
}

/// Reads an export and hands its records over, some at a time; answers how many. The collections
/// get the sizes of the export's vectors where these are kept.
fn import(
    from: &mut dyn BufRead,
    mut prepare: impl FnMut(Collection, usize) -> Result<()>,
    mut add: impl FnMut(Collection, Vec<Record>) -> Result<()>,
) -> Result<usize> {
    let (mut number, mut imported) = (1, 0);
    let header: Header = match read_line(from, number)? {
        Some(line) => parse(&line, number)?,
        None => return Err(wrong(number, "there is nothing".into())),
    };
    if header.fazai_memory != FORMAT {
        let why = format!(
            "the format is {}, and only {FORMAT} is known",
            header.fazai_memory
        );
        return Err(wrong(number, why));
    }
    for (collection, dimensions) in header.dimensions {
        prepare(collection, dimensions)?;
    }
    let mut batch: Vec<Record> = Vec::new();
    let (mut batch_of, mut read) = (Collection::Memory, 0);
    loop {
        number += 1;
        let line = read_line(from, number)?;
        let end = match &line {
            Some(line) if line.starts_with(TRAILER) => Some(parse::<Trailer>(line, number)?.end),
            _ => None,
        };
        let line: Option<Line<Record>> = match &line {
            Some(line) if end.is_none() => Some(parse(line, number)?),
            _ => None,
        };
        let other = line.as_ref().is_none_or(|line| line.collection != batch_of);
        if (other || batch.len() == BATCH) && !batch.is_empty() {
            imported += batch.len();
            add(batch_of, std::mem::take(&mut batch))?;
        }
        let Some(Line { collection, record }) = line else {
            check_end(from, number, end, read)?;
            return Ok(imported);
        };
        record
            .payload
            .check()
            .map_err(|error| wrong(number, error.to_string()))?;
        batch_of = collection;
        batch.push(record);
        read += 1;
    }
}

/// Whether an export is whole, after its last line.
fn check_end(from: &mut dyn BufRead, number: usize, end: Option<End>, read: usize) -> Result<()> {
    let Some(End { records }) = end else {
        let why = format!(
            "the export ends here without its last line, which says how many records there are: it \
             is cut off; {read} were imported, and a whole copy of the file brings the others"
        );
        return Err(wrong(number, why));
    };
    if records != read {
        let why = format!(
            "the export had {records} records, and there are {read}: some were lost on the way; \
             import a whole copy of the file"
        );
        return Err(wrong(number, why));
    }
    match read_line(from, number + 1)? {
        Some(_) => Err(wrong(
            number + 1,
            "there is more after the last line".into(),
        )),
        None => Ok(()),
    }
}

/// Copies every record of a store to another; answers how many.
pub fn migrate(from: &dyn Store, to: &dyn Store) -> Result<usize> {
    let mut copied = 0;
    for collection in Collection::ALL {
        let dimensions = from.prepare(collection, None)?;
        to.prepare(collection, dimensions)?;
        each_page(from, collection, true, |records| {
            copied += records.len();
            to.upsert(collection, &records)
        })?;
    }
    Ok(copied)
}

impl Memory {
    /// Writes everything as lines of JSON; answers how many records.
    pub fn export(&self, out: &mut dyn Write) -> Result<usize> {
        export(&*self.store, out)
    }

    /// Takes an export in; answers how many records. Those of the same id are replaced.
    pub fn import(&self, from: &mut dyn BufRead, vectors: Vectors) -> Result<usize> {
        self.make_ready()?;
        let prepare = |collection, dimensions| match vectors {
            Vectors::Keep => self.store.prepare(collection, Some(dimensions)).map(drop),
            Vectors::Recompute => Ok(()),
        };
        import(from, prepare, |collection, mut records| {
            if vectors == Vectors::Recompute {
                records.iter_mut().for_each(|record| record.vector = None);
                // What gets none now is found by its words, and gets one by `embed_missing`.
                drop(self.embed(&mut records));
            }
            let _writes = self.write();
            self.insert(collection, &records)
        })
    }
}

fn write_line(out: &mut dyn Write, value: &impl Serialize) -> Result<()> {
    let name = Path::new("export");
    let mut line = serde_json::to_vec(value).map_err(|error| io(name)(error.into()))?;
    line.push(b'\n');
    out.write_all(&line).map_err(io(name))
}

/// The next line; `None` at the end.
fn read_line(from: &mut dyn BufRead, number: usize) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut limited = from.take(LINE_BYTES_MAX as u64 + 1);
    let bytes = limited
        .read_until(b'\n', &mut line)
        .map_err(io(Path::new("import")))?;
    if bytes > LINE_BYTES_MAX {
        let why = format!("it is longer than {LINE_BYTES_MAX} bytes");
        return Err(wrong(number, why));
    }
    // The end of a file may lack its line end, if everything else is there.
    if bytes > 0 && line.last() != Some(&b'\n') && !line.ends_with(b"}") {
        let why = "the file ends within this line: it is cut off".into();
        return Err(wrong(number, why));
    }
    Ok((bytes > 0).then_some(line))
}

fn parse<T: serde::de::DeserializeOwned>(line: &[u8], number: usize) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| wrong(number, error.to_string()))
}

fn wrong(line: usize, why: String) -> MemoryError {
    MemoryError::Import { line, why }
}
