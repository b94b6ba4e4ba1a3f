//! Where the words of a command lead: as they are written, and on the disk.
//!
//! What is judged has to be what the kernel opens, so a word keeps its raw text until the disk has
//! been asked: `link/../x` is beside the place that the link leads to, not beside the link.

use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::path::{leaves_home, lexical, names_overlap};
use crate::shell::{Access, NESTING_MAX, Script, Word};

/// How many names in directories are looked at for one pattern.
const NAMES_MAX: usize = 10_000;
/// To how many places one pattern may lead through links.
const PLACES_MAX: usize = 500;

/// The directories in which the words of a script may be meant, and the disk, if it may be asked.
pub(crate) struct Reach<'a> {
    disk: Option<&'a dyn Disk>,
    directories: Vec<String>,
    /// Whether all directories are known.
    pub(crate) is_whole: bool,
}

/// One path that a word may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Resolved as text.
    pub(crate) written: Word,
    /// Where that leads, if elsewhere.
    pub(crate) real: Vec<Word>,
    /// Why it can't be told where it leads, if so.
    pub(crate) unclear: Option<&'static str>,
}

impl Place {
    /// Each form of the path.
    pub(crate) fn forms(&self) -> impl Iterator<Item = &Word> {
        std::iter::once(&self.written).chain(&self.real)
    }
}

impl<'a> Reach<'a> {
    /// The words of a script that starts in a directory.
    pub(crate) fn of_script(disk: Option<&'a dyn Disk>, script: &Script, cwd: &str) -> Self {
        let mut reach = Self {
            disk,
            directories: vec![lexical("/", cwd)],
            is_whole: true,
        };
        reach.directories.extend(reach.led(cwd));
        reach.is_whole = reach.moves(script).is_some();
        reach
    }

    /// Paths that are named by themselves.
    pub(crate) fn of_path(disk: Option<&'a dyn Disk>) -> Self {
        Self {
            disk,
            directories: vec!["/".into()],
            is_whole: true,
        }
    }

    /// Adds where the script goes by `cd`; `None` if it goes somewhere unknown.
    fn moves(&mut self, script: &Script) -> Option<()> {
        let commands = script.commands.iter();
        for command in commands.filter(|it| matches!(it.name(), "cd" | "pushd" | "popd")) {
            let mut args = command.args.iter();
            let target = match args.find(|arg| !matches!(arg.text(), "--" | "-P" | "-L")) {
                None => "~",
                Some(target) => target.literal().filter(|text| !text.starts_with('-'))?,
            };
            let mut reached: Vec<String> = Vec::new();
            for from in &self.directories {
                reached.push(lexical(from, target));
                // Without a home that is known, the text loses what comes after `~/..`.
                if leaves_home(target) {
                    reached.push(self.absolute(from, target)?);
                }
                // A shell goes up as text, `cd -P` as the kernel does.
                reached.extend(self.led(&self.absolute(from, target).unwrap_or_default()));
            }
            self.directories.extend(reached);
            self.directories.sort();
            self.directories.dedup();
            if self.directories.len() > NESTING_MAX {
                return None;
            }
        }
        Some(())
    }

    /// Where a path with `..` in it leads, if that is not where its text does.
    fn led(&self, path: &str) -> Option<String> {
        let real = self.disk?.real(Path::new(path))?.into_os_string();
        let as_text = self.disk?.real(Path::new(&lexical("/", path)));
        let real = real.into_string().ok()?;
        (as_text.as_deref() != Some(Path::new(&real))).then_some(real)
    }

    /// Every path that a word may mean for a program, in each of the directories: itself, and for
    /// what may be a path also what stands after `=`, `@`, `:` or an option's letter.
    pub(crate) fn places(&self, word: &Word, access: Access) -> Vec<Place> {
        let text = match word {
            Word::Literal(text) | Word::Glob(text) => text,
            Word::Unknown { .. } => return vec![Place::plain(word.clone())],
        };
        let mut texts = vec![text.as_str()];
        if access == Access::Mention {
            let marks = text.match_indices(['=', '@', ':']);
            texts.extend(marks.map(|(at, _)| &text[at + 1..]));
            let letter = text.strip_prefix('-').filter(|text| !text.starts_with('-'));
            texts.extend(
                letter
                    .and_then(|text| text.get(1..))
                    .filter(|it| !it.is_empty()),
            );
            let option = text.find(['/', '~']).filter(|_| text.starts_with('-'));
            texts.extend(option.map(|at| &text[at..]));
        }
        let is_glob = matches!(word, Word::Glob(_));
        let mut places: Vec<Place> = Vec::new();
        for text in texts {
            let is_absolute = text.starts_with('/');
            let count = if is_absolute { 1 } else { usize::MAX };
            for cwd in self.directories.iter().take(count) {
                places.push(self.place(cwd, text, is_glob, access));
            }
        }
        places
    }

    fn place(&self, cwd: &str, text: &str, is_glob: bool, access: Access) -> Place {
        let as_word = |path: String| match is_glob {
            true => Word::Glob(path),
            false => Word::Literal(path),
        };
        let mut place = Place::plain(as_word(lexical(cwd, text)));
        let Some(disk) = self.disk else {
            if leaves_home(text) {
                place.unclear = Some("a directory above a home that is not known");
            }
            return place;
        };
        let may_be_none = access == Access::Mention;
        let Some(raw) = self.absolute(cwd, text) else {
            place.unclear = (!may_be_none).then_some("a home that is not known");
            return place;
        };
        match lead(disk, &raw, &place.written) {
            Some(real) => place.real = real,
            // A word that is no path leads nowhere; what a pattern finds may lead anywhere.
            None if may_be_none && !is_glob => {}
            None => place.unclear = Some("a path that can't be followed"),
        }
        // For a program that no shell started, and in quotes, `~` is a name like any other.
        if text.starts_with('~') {
            let named = PathBuf::from(format!("{cwd}/{text}"));
            match disk.real(&named) {
                Some(real) if real == named => {}
                Some(real) => place.real.extend(real.to_str().map(as_literal)),
                None if may_be_none => {}
                None => place.unclear = Some("a path that can't be followed"),
            }
        }
        place.real.retain(|real| *real != place.written);
        place
    }

    /// The raw text of a path from the root, with the home that `~` stands for.
    fn absolute(&self, cwd: &str, text: &str) -> Option<String> {
        if text.starts_with('/') {
            return Some(text.into());
        }
        if let Some(rest) = text.strip_prefix('~') {
            let (user, rest) = rest.split_once('/').unwrap_or((rest, ""));
            let home = self.disk?.home(user)?;
            return Some(format!("{}/{rest}", home.to_str()?));
        }
        if cwd.starts_with('~') {
            let cwd = self.absolute("/", cwd)?;
            return self.absolute(&cwd, text);
        }
        // A directory that the script makes has no links in it, so that going up from it is known.
        let mut from = PathBuf::from(cwd);
        let mut rest = text;
        if rest.starts_with("..") {
            from = self.disk?.real(&from)?;
        }
        while let Some(after) = rest.strip_prefix("..")
            && (after.is_empty() || after.starts_with('/'))
        {
            from.pop();
            rest = after.trim_start_matches('/');
        }
        Some(format!("{}/{rest}", from.to_str()?))
    }
}

/// The places that a raw path leads to; those of a pattern only if its text does not say them.
fn lead(disk: &dyn Disk, raw: &str, written: &Word) -> Option<Vec<Word>> {
    if !matches!(written, Word::Glob(_)) {
        let real = disk.real(Path::new(raw))?;
        return Some(vec![as_literal(real.to_str()?)]);
    }
    let names = raw.split('/').filter(|name| !matches!(*name, "" | "."));
    let mut found = Found {
        disk,
        places: Vec::new(),
        names_left: NAMES_MAX,
    };
    let is_as_written = lexical("/", raw) == written.text();
    found.walk(Path::new("/"), &names.collect::<Vec<_>>(), is_as_written)?;
    Some(found.places)
}

impl Place {
    fn plain(written: Word) -> Self {
        Self {
            written,
            real: Vec::new(),
            unclear: None,
        }
    }
}

/// What a pattern finds through links. The rest is judged by the pattern itself.
struct Found<'a> {
    disk: &'a dyn Disk,
    places: Vec<Word>,
    names_left: usize,
}

impl Found<'_> {
    /// `None` if there is too much to look at, or something may not be looked at. `is_as_written`:
    /// nothing so far has led elsewhere.
    fn walk(&mut self, from: &Path, names: &[&str], is_as_written: bool) -> Option<()> {
        let is_pattern = |name: &&&str| name.contains(['*', '?', '[']);
        let plain = names.iter().take_while(|name| !is_pattern(name)).count();
        let named = names[..plain]
            .iter()
            .fold(from.to_owned(), |at, name| at.join(name));
        let real = self.disk.real(&named)?;
        let is_as_written = is_as_written && real == named;
        let Some((pattern, rest)) = names[plain..].split_first() else {
            return match is_as_written {
                true => Some(()),
                false => self.add(as_literal(real.to_str()?)),
            };
        };
        if !is_as_written {
            let whole = format!("{}/{}", real.to_str()?, names[plain..].join("/"));
            self.add(Word::Glob(lexical("/", &whole)))?;
        }
        let listed = self.disk.names(&real, self.names_left)?;
        self.names_left -= listed.len();
        for entry in listed {
            // What is no text can still be a link.
            let name = entry.name.to_string_lossy();
            // Which letters a byte above ASCII is part of depends on the locale.
            let may_match = !name.is_ascii() || names_overlap(pattern, &name);
            if !may_match || (rest.is_empty() && !entry.is_link) {
                continue;
            }
            let next = real.join(&entry.name);
            let led = if entry.is_link {
                self.disk.real(&next)?
            } else {
                next.clone()
            };
            self.walk(&led, rest, led == next)?;
        }
        // Some shells find `..` by `.*`.
        if !rest.is_empty() && names_overlap(pattern, "..") {
            let up = real.parent().unwrap_or(&real).to_owned();
            self.walk(&up, rest, false)?;
        }
        Some(())
    }

    fn add(&mut self, place: Word) -> Option<()> {
        if !self.places.contains(&place) {
            self.places.push(place);
        }
        (self.places.len() <= PLACES_MAX).then_some(())
    }
}

fn as_literal(text: &str) -> Word {
    Word::Literal(text.into())
}
