//! One file of the embedded store: frames, each whole by its checksum or not there.
//!
//! A frame is the length of its body, the CRC-32 of its body, and the body: a letter for what it
//! is, and then that. A process that is killed leaves at most half a frame at the end. It is moved
//! to a file beside this one, for whoever wants to look, and the log goes on before it.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::Stamp;
use super::vectors::Coded;
use crate::embed;
use crate::error::{MemoryError, Result, io};
use crate::filter::Face;
use crate::record::{Id, Record};

/// What every file begins with.
const MAGIC: &[u8; 8] = b"FAZMEM1\n";
const HEAD_BYTES: usize = 8;
/// A body that claims to be longer is no body.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How much is read before it is parsed, in parallel.
const BLOCK_BYTES: usize = 8 << 20;

const PUT: u8 = b'P';
const REMOVE: u8 = b'R';
const DIMENSIONS: u8 = b'D';

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) bytes: u32,
}

/// What a frame says.
pub(super) enum Frame<'a> {
    Put(Box<Brief<'a>>),
    Remove(Id),
    Dimensions(usize),
}

/// What is kept in memory of a record.
pub(super) struct Brief<'a> {
    pub(super) id: Id,
    pub(super) stamp: Stamp,
    pub(super) face: Face<'a>,
    pub(super) vector: Option<Coded>,
}

/// Frames that are to be written together.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    lengths: Vec<u32>,
    stamps: Vec<Stamp>,
}

/// The file, open for appending.
pub(super) struct Log {
    path: PathBuf,
    file: Arc<File>,
    end: u64,
    /// A write failed, so that there may be half a frame behind the end.
    broken: bool,
}

impl Batch {
    pub(super) fn put(&mut self, record: &Record) -> Result<()> {
        let mut body = vec![PUT];
        body.extend(record.id.to_bytes());
        let vector = record.vector.as_deref().unwrap_or_default();
        body.extend(
            u32::try_from(vector.len())
                .unwrap_or(u32::MAX)
                .to_le_bytes(),
        );
        body.extend(vector.iter().flat_map(|x| x.to_le_bytes()));
        serde_json::to_writer(&mut body, &record.payload).map_err(|error| {
            crate::error::invalid("payload", format!("can't be written: {error}"))
        })?;
        self.push(&body)
    }

    pub(super) fn remove(&mut self, id: Id) -> Result<()> {
        let mut body = vec![REMOVE];
        body.extend(id.to_bytes());
        self.push(&body)
    }

    pub(super) fn dimensions(&mut self, dimensions: usize) -> Result<()> {
        let mut body = vec![DIMENSIONS];
        body.extend(u32::try_from(dimensions).unwrap_or(u32::MAX).to_le_bytes());
        self.push(&body)
    }

    /// What tells the frames' contents apart.
    pub(super) fn stamps(&self) -> impl Iterator<Item = Stamp> {
        self.stamps.iter().copied()
    }

    fn push(&mut self, body: &[u8]) -> Result<()> {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        if body.len() > BODY_BYTES_MAX {
            let why = format!("takes {length} bytes; the limit is {BODY_BYTES_MAX}");
            return Err(crate::error::invalid("record", why));
        }
        let before = self.bytes.len();
        self.bytes.extend(length.to_le_bytes());
        let crc = crc32fast::hash(body);
        self.bytes.extend(crc.to_le_bytes());
        self.stamps.push(crc);
        self.bytes.extend(body);
        let frame = self.bytes.len() - before;
        self.lengths.push(u32::try_from(frame).unwrap_or(u32::MAX));
        Ok(())
    }
}

impl Log {
    /// Opens a log or begins one, and hands over every frame in order.
    pub(super) fn open(path: &Path, mut each: impl FnMut(Place, Frame<'_>)) -> Result<Self> {
        let file = open_file(path)?;
        let bytes = file.metadata().map_err(io(path))?.len();
        let mut log = Self {
            path: path.into(),
            file: Arc::new(file),
            end: 0,
            broken: false,
        };
        if bytes < MAGIC.len() as u64 {
            log.begin()?;
        }
        log.end = log.replay(&mut each)?;
        log.cut()?;
        Ok(log)
    }

    /// What reads go through, also while the log is being written.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Appends frames and waits until the disk has them.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<Vec<Place>> {
        if self.broken {
            self.file.set_len(self.end).map_err(io(&self.path))?;
        }
        self.broken = true;
        let written = self.file.write_all_at(&batch.bytes, self.end);
        written
            .and_then(|()| self.file.sync_data())
            .map_err(io(&self.path))?;
        self.broken = false;
        let places = places(self.end, &batch.lengths);
        self.end += batch.bytes.len() as u64;
        Ok(places)
    }

    /// Writes the frames of these places, after those of a batch, to a new file that takes this
    /// one's place. Answers where they are now.
    pub(super) fn rewrite(&mut self, first: &Batch, kept: &[Place]) -> Result<Vec<Place>> {
        let path = self.path.with_extension("new");
        // What a crash left of an earlier one is of no use.
        let _ = fs::remove_file(&path);
        let file = open_file(&path)?;
        let mut out = std::io::BufWriter::with_capacity(1 << 20, &file);
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(io(&path));
        write(MAGIC)?;
        write(&first.bytes)?;
        let mut frame = Vec::new();
        for place in kept {
            frame.resize(place.bytes as usize, 0);
            self.file
                .read_exact_at(&mut frame, place.offset)
                .map_err(io(&self.path))?;
            write(&frame)?;
        }
        out.flush().map_err(io(&path))?;
        drop(out);
        file.sync_all().map_err(io(&path))?;
        fs::rename(&path, &self.path).map_err(io(&self.path))?;
        sync_directory(&self.path)?;
        let start = (MAGIC.len() + first.bytes.len()) as u64;
        let lengths: Vec<u32> = kept.iter().map(|place| place.bytes).collect();
        self.end = start + lengths.iter().map(|bytes| u64::from(*bytes)).sum::<u64>();
        self.file = Arc::new(file);
        self.broken = false;
        Ok(places(start, &lengths))
    }

    /// Puts another file in the place of this one, for tests of what a disk can do.
    #[cfg(test)]
    pub(super) fn swap_file(&mut self, file: File) -> Arc<File> {
        std::mem::replace(&mut self.file, Arc::new(file))
    }

    #[cfg(test)]
    pub(super) fn restore_file(&mut self, file: Arc<File>) {
        self.file = file;
    }

    fn begin(&mut self) -> Result<()> {
        let file = &self.file;
        file.set_len(0)
            .and_then(|()| file.write_all_at(MAGIC, 0))
            .and_then(|()| file.sync_all())
            .map_err(io(&self.path))?;
        sync_directory(&self.path)
    }

    /// Reads all whole frames, and answers where they end.
    fn replay(&self, each: &mut impl FnMut(Place, Frame<'_>)) -> Result<u64> {
        let mut reader = BufReader::with_capacity(1 << 20, &*self.file);
        reader.seek(SeekFrom::Start(0)).map_err(io(&self.path))?;
        let mut magic = [0; MAGIC.len()];
        reader.read_exact(&mut magic).map_err(io(&self.path))?;
        if magic != *MAGIC {
            return Err(self.damaged("it does not begin as a memory does".into()));
        }
        let mut offset = MAGIC.len() as u64;
        loop {
            let (bodies, whole) = read_block(&mut reader).map_err(io(&self.path))?;
            let frames: Vec<Option<Frame<'_>>> = bodies
                .par_iter()
                .map(|(crc, body)| decode(*crc, body))
                .collect();
            let bad = frames.iter().position(Option::is_none);
            // After what a crash left there is nothing. If there is, the disk has lost something.
            if let Some(bad) = bad
                && (frames[bad..].iter().any(Option::is_some) || whole)
            {
                let at = offset + length(&bodies[..bad]);
                return Err(self.damaged(format!("the frame at byte {at} is not what was written")));
            }
            for ((_, body), frame) in bodies.iter().zip(frames) {
                let Some(frame) = frame else {
                    return Ok(offset);
                };
                let bytes = u32::try_from(body.len() + HEAD_BYTES).unwrap_or(u32::MAX);
                each(Place { offset, bytes }, frame);
                offset += u64::from(bytes);
            }
            if !whole {
                return Ok(offset);
            }
        }
    }

    /// Moves half a frame behind the end to a file of its own.
    fn cut(&self) -> Result<()> {
        let bytes = self.file.metadata().map_err(io(&self.path))?.len();
        if bytes <= self.end {
            return Ok(());
        }
        let path = self.path.with_extension("cut");
        let mut half = Vec::new();
        let mut reader = &*self.file;
        reader
            .seek(SeekFrom::Start(self.end))
            .map_err(io(&self.path))?;
        reader
            .take(2 * BLOCK_BYTES as u64)
            .read_to_end(&mut half)
            .map_err(io(&self.path))?;
        fs::write(&path, half).map_err(io(&path))?;
        self.file
            .set_len(self.end)
            .and_then(|()| self.file.sync_all())
            .map_err(io(&self.path))
    }

    fn damaged(&self, what: String) -> MemoryError {
        MemoryError::Damaged {
            path: self.path.clone(),
            what,
        }
    }
}

/// Reads the record of a place.
pub(super) fn read(file: &File, place: Place) -> std::io::Result<Record> {
    let frame = read_frame(file, place)?;
    let (id, vector, json) = parts(&frame[HEAD_BYTES..]).ok_or_else(wrong)?;
    Ok(Record {
        id,
        vector: (!vector.is_empty()).then(|| floats(vector)),
        payload: serde_json::from_slice(json).map_err(|_| wrong())?,
    })
}

/// Reads the vector of a place.
pub(super) fn read_vector(file: &File, place: Place) -> std::io::Result<Vec<f32>> {
    let frame = read_frame(file, place)?;
    let (_, vector, _) = parts(&frame[HEAD_BYTES..]).ok_or_else(wrong)?;
    Ok(floats(vector))
}

/// A frame that is whole.
fn read_frame(file: &File, place: Place) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; place.bytes as usize];
    file.read_exact_at(&mut frame, place.offset)?;
    let crc = frame.get(4..HEAD_BYTES).and_then(|crc| crc.try_into().ok());
    let is_whole = |crc| frame.get(HEAD_BYTES..).map(crc32fast::hash) == Some(crc);
    match crc.map(u32::from_le_bytes).is_some_and(is_whole) {
        true => Ok(frame),
        false => Err(wrong()),
    }
}

fn wrong() -> std::io::Error {
    std::io::Error::other("a record is not what was written")
}

type Bodies = Vec<(u32, Vec<u8>)>;

/// Reads frames up to the size of a block, and whether there may be more.
fn read_block(reader: &mut impl Read) -> std::io::Result<(Bodies, bool)> {
    let (mut bodies, mut bytes) = (Vec::new(), 0);
    while bytes < BLOCK_BYTES {
        let mut head = [0; HEAD_BYTES];
        if fill(reader, &mut head)? < HEAD_BYTES {
            return Ok((bodies, false));
        }
        let [a, b, c, d, crc @ ..] = head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > BODY_BYTES_MAX {
            return Ok((bodies, false));
        }
        let mut body = vec![0; length];
        if fill(reader, &mut body)? < length {
            return Ok((bodies, false));
        }
        bytes += HEAD_BYTES + length;
        bodies.push((u32::from_le_bytes(crc), body));
    }
    Ok((bodies, true))
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            bytes => filled += bytes,
        }
    }
    Ok(filled)
}

fn decode(crc: u32, body: &[u8]) -> Option<Frame<'_>> {
    if crc32fast::hash(body) != crc {
        return None;
    }
    let (what, rest) = body.split_first()?;
    match *what {
        DIMENSIONS => Some(Frame::Dimensions(number(rest)?)),
        REMOVE => Some(Frame::Remove(Id::from_bytes(
            rest.get(..16)?.try_into().ok()?,
        ))),
        _ => {
            let (id, vector, json) = parts(body)?;
            let code = |bytes| {
                let mut vector = floats(bytes);
                let dimensions = vector.len();
                embed::unit(&mut vector, dimensions).ok()?;
                Some(Coded::of(&vector))
            };
            Some(Frame::Put(Box::new(Brief {
                id,
                stamp: crc,
                face: serde_json::from_slice(json).ok()?,
                vector: match vector.is_empty() {
                    true => None,
                    false => Some(code(vector)?),
                },
            })))
        }
    }
}

/// The id, the vector and the payload of a body that adds a record.
fn parts(body: &[u8]) -> Option<(Id, &[u8], &[u8])> {
    let rest = body.strip_prefix(&[PUT])?;
    let (id, rest) = rest.split_at_checked(16)?;
    let (dimensions, rest) = rest.split_at_checked(4)?;
    let (vector, json) = rest.split_at_checked(number(dimensions)?.checked_mul(4)?)?;
    Some((Id::from_bytes(id.try_into().ok()?), vector, json))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let numbers = bytes.as_chunks().0.iter();
    numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn number(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

fn length(bodies: &[(u32, Vec<u8>)]) -> u64 {
    bodies
        .iter()
        .map(|(_, body)| (body.len() + HEAD_BYTES) as u64)
        .sum()
}

fn places(mut offset: u64, lengths: &[u32]) -> Vec<Place> {
    let place = |bytes: &u32| {
        let place = Place {
            offset,
            bytes: *bytes,
        };
        offset += u64::from(*bytes);
        place
    };
    lengths.iter().map(place).collect()
}

fn open_file(path: &Path) -> Result<File> {
    // A link would send what is remembered elsewhere.
    let no_links = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_links)
        .open(path)
        .map_err(io(path))
}

/// A new file is only there after a crash if its directory was written as well.
fn sync_directory(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(io(directory))
}
