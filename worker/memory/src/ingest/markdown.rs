//! Markdown's headings, and nothing else of it: people read the rest as it stands.

use super::read::{Document, Section};

/// Cuts a text at its headings. The first one is the title.
pub(super) fn document(name: &str, text: &str) -> Document {
    let mut document = Document {
        title: name.to_owned(),
        ..Document::default()
    };
    let mut section = Section::default();
    let (mut fence, mut titled) = (None, false);
    for line in text.lines() {
        let line = line.trim_end();
        if let Some(mark) = fence_mark(line) {
            match fence {
                None => fence = Some(mark),
                Some(open) if open == mark => fence = None,
                Some(_) => {}
            }
        }
        match heading(line).filter(|_| fence.is_none()) {
            Some(heading) => {
                let heading = heading.to_owned();
                if !titled && document.sections.is_empty() && section.text.trim().is_empty() {
                    document.title.clone_from(&heading);
                }
                titled = true;
                document.sections.push(std::mem::replace(
                    &mut section,
                    Section {
                        heading,
                        text: String::new(),
                    },
                ));
            }
            None => {
                section.text.push_str(line);
                section.text.push('\n');
            }
        }
    }
    document.sections.push(section);
    let headings: Vec<&str> = document
        .sections
        .iter()
        .map(|section| section.heading.as_str())
        .filter(|heading| !heading.is_empty())
        .collect();
    let headings = headings.join("\n\n");
    document
        .sections
        .retain(|section| !section.text.trim().is_empty());
    // A list of headings says something, too.
    if document.sections.is_empty() && !headings.is_empty() {
        document.sections.push(Section {
            heading: String::new(),
            text: headings,
        });
    }
    document
}

fn heading(line: &str) -> Option<&str> {
    let rest = line.trim_start_matches('#');
    let depth = line.len() - rest.len();
    let heading = rest.strip_prefix(' ')?.trim().trim_end_matches('#').trim();
    ((1..=6).contains(&depth) && !heading.is_empty()).then_some(heading)
}

fn fence_mark(line: &str) -> Option<&'static str> {
    ["```", "~~~"]
        .into_iter()
        .find(|mark| line.trim_start().starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_cut_and_code_does_not() {
        let text = "# Disks\nintro\n\n## Full\nrun\n```\n# not a heading\n```\n## Slow ##\nwait\n";
        let document = document("disks.md", text);
        assert_eq!(document.title, "Disks");
        let headings: Vec<&str> = document
            .sections
            .iter()
            .map(|s| s.heading.as_str())
            .collect();
        assert_eq!(headings, ["Disks", "Full", "Slow"]);
        assert!(document.sections[1].text.contains("# not a heading"));
    }

    #[test]
    fn headings_alone_are_text() {
        let all = document("todo.md", "# Disks\n\n## Replace sdb\n## Grow md0\n");
        assert_eq!(all.title, "Disks");
        assert_eq!(all.sections.len(), 1);
        assert_eq!(all.sections[0].text, "Disks\n\nReplace sdb\n\nGrow md0");
        assert_eq!(document("blank.md", " \n#\n").sections[0].text.trim(), "#");
        assert_eq!(document("blank.md", " \n\n").sections, []);
    }
}
