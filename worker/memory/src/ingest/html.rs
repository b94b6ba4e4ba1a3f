//! HTML, by a library; but first a look whether it is nested as no page is, since a parser takes
//! longer for each element the deeper it is. The parser itself says how deep that is: which tags
//! close what is beyond guessing.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use html5ever::interface::{ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::{ByteTendril, StrTendril, TendrilSink};
use html5ever::tree_builder::TreeBuilderOpts;
use html5ever::{Attribute, ExpandedName, LocalName, ParseOpts, QualName, ns};

use super::markdown;
use super::read::Document;
use super::walk::{Skip, broken};

/// How wide a page is rendered.
const COLUMNS: usize = 200;
/// The deepest nesting that a page has.
const DEPTH_MAX: usize = 512;
/// After how many bytes it is looked how deep they lead.
const LOOK_BYTES: usize = 4096;
/// How many elements a page has besides those that it spells out.
const IMPLIED_MAX: usize = 1024;

pub(super) fn document(name: &str, bytes: &[u8]) -> Result<Document, Skip> {
    check(bytes)?;
    let config = html2text::config::plain()
        .link_footnotes(false)
        .allow_width_overflow()
        .no_table_borders();
    let text = config.string_from_read(bytes, COLUMNS).map_err(broken)?;
    Ok(markdown::document(name, &text))
}

/// Refuses what is deeper than a page is, or grows: an element that is left open may be made anew
/// in each paragraph.
fn check(bytes: &[u8]) -> Result<(), Skip> {
    let (deepest, made) = (Rc::<Cell<usize>>::default(), Rc::<Cell<usize>>::default());
    let outline = Outline {
        document: Node::new(0, LocalName::from(""), false),
        deepest: Rc::clone(&deepest),
        made: Rc::clone(&made),
    };
    let options = ParseOpts {
        tree_builder: TreeBuilderOpts {
            // As the library has it that renders the page.
            scripting_enabled: false,
            ..TreeBuilderOpts::default()
        },
        ..ParseOpts::default()
    };
    let mut parser = html5ever::parse_document(outline, options).from_utf8();
    for part in bytes.chunks(LOOK_BYTES) {
        parser.process(ByteTendril::from_slice(part));
        if deepest.get() > DEPTH_MAX {
            let why = format!("its elements are nested more than {DEPTH_MAX} deep");
            return Err(broken(why));
        }
        if made.get() > bytes.len() + IMPLIED_MAX {
            return Err(broken("it has more elements than bytes"));
        }
    }
    Ok(())
}

/// How deep everything is, and nothing else of a page.
struct Outline {
    document: Node,
    deepest: Rc<Cell<usize>>,
    made: Rc<Cell<usize>>,
}

#[derive(Clone)]
struct Node(Rc<Inner>);

struct Inner {
    name: QualName,
    depth: Cell<usize>,
    holds_html: bool,
}

impl Node {
    fn new(depth: usize, name: LocalName, holds_html: bool) -> Self {
        Self::named(depth, QualName::new(None, ns!(html), name), holds_html)
    }

    fn named(depth: usize, name: QualName, holds_html: bool) -> Self {
        let depth = Cell::new(depth);
        Self(Rc::new(Inner {
            name,
            depth,
            holds_html,
        }))
    }
}

impl Outline {
    fn put(&self, beside: usize, child: &NodeOrText<Node>) {
        if let NodeOrText::AppendNode(child) = child {
            child.0.depth.set(beside + 1);
            self.deepest.set(self.deepest.get().max(beside + 1));
        }
    }
}

impl TreeSink for Outline {
    type Handle = Node;
    type Output = ();
    type ElemName<'a> = ExpandedName<'a>;

    fn finish(self) {}

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Node {
        self.document.clone()
    }

    fn elem_name<'a>(&'a self, target: &'a Node) -> ExpandedName<'a> {
        target.0.name.expanded()
    }

    fn create_element(&self, name: QualName, _: Vec<Attribute>, flags: ElementFlags) -> Node {
        self.made.set(self.made.get() + 1);
        Node::named(0, name, flags.mathml_annotation_xml_integration_point)
    }

    fn create_comment(&self, _: StrTendril) -> Node {
        Node::new(0, LocalName::from(""), false)
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Node {
        Node::new(0, LocalName::from(""), false)
    }

    fn append(&self, parent: &Node, child: NodeOrText<Node>) {
        self.put(parent.0.depth.get(), &child);
    }

    fn append_based_on_parent_node(&self, element: &Node, _: &Node, child: NodeOrText<Node>) {
        // It goes before a table, but is open inside it.
        self.put(element.0.depth.get(), &child);
    }

    fn append_before_sibling(&self, sibling: &Node, child: NodeOrText<Node>) {
        self.put(sibling.0.depth.get(), &child);
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &Node) -> Node {
        target.clone()
    }

    fn same_node(&self, one: &Node, other: &Node) -> bool {
        Rc::ptr_eq(&one.0, &other.0)
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn add_attrs_if_missing(&self, _: &Node, _: Vec<Attribute>) {}

    fn remove_from_parent(&self, _: &Node) {}

    fn reparent_children(&self, _: &Node, _: &Node) {}

    fn is_mathml_annotation_xml_integration_point(&self, node: &Node) -> bool {
        node.0.holds_html
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(page: &str) -> bool {
        check(page.as_bytes()).is_err()
    }

    #[test]
    fn only_what_nests_is_counted() {
        for page in [
            "",
            "a < b <",
            "<html><body><p>one<p>two<br><IMG src=x></body></html>",
            &"<div></div>".repeat(100_000),
            &"</div>".repeat(100_000),
            &"<p>one<li>two<td>three<br>".repeat(10_000),
            &"<ul><li><a href=x>y</a></ul>".repeat(10_000),
            &"<table><tr><td><font>x</table>".repeat(10_000),
            &"<div><span>x</div>".repeat(10_000),
            &"<b><i>x</b></i>".repeat(10_000),
            &format!("<svg>{}</svg>", "<path d='M0'/>".repeat(10_000)),
            &format!("<script>{}</script>", "'<div>';".repeat(10_000)),
            &format!("<!-- {} -->", "<div>".repeat(10_000)),
            &"<div>".repeat(400),
        ] {
            assert!(!refused(page), "{}", &page[..page.len().min(99)]);
        }
    }

    #[test]
    fn whatever_nests_is_refused() {
        for part in [
            "<div>",
            "<div></a>",
            "<div></span></p>",
            "<div><!--</div>-->",
            "<div><script>'</div>'</script>",
            "<div title='</div>'>",
            "<span><div></span>",
            "<a><div></a>",
            "<dd><ul>",
            "<path/>",
            "<optgroup>",
            "<table><td>",
            "<font a=1>",
            "<template>",
        ] {
            assert!(refused(&part.repeat(80_000)), "{part}");
        }
        let inside = |begin: &str, part: &str| begin.to_owned() + &part.repeat(80_000);
        assert!(refused(&inside("<svg>", "<td>")));
        assert!(refused(&inside("<svg></p>", "<path/>")));
        assert!(refused(&inside("<svg><foreignObject>", "<div/>")));
        // None is deep, but each paragraph has all of them.
        let open: String = (0..400).map(|n| format!("<b n={n}>")).collect();
        assert!(refused(&inside(&format!("<p>{open}"), "<p>x")));
    }
}
