use super::*;

fn render(page: &str) -> String {
    let document = document("page.1", page);
    let section = |section: &Section| format!("# {}\n{}", section.heading, section.text.trim());
    let sections: Vec<String> = document.sections.iter().map(section).collect();
    format!("{}\n{}", document.title, sections.join("\n"))
}

#[test]
fn man_pages_become_text() {
    let page = r#".\" a comment
.TH LSBLK 8 "2024" "util-linux"
.SH NAME
lsblk \- list block devices
.SH OPTIONS
.TP
.BR \-a ", " \-\-all
Also list \fIempty\fR devices and
RAM disk devices.
.IP "\fB\-b\fR" 4
Print in bytes.
.nf
  one
  two
.fi
.ie n \{\
yes
.\}
.el \{\
no
.\}
.if t nor this
.de XX
not this
..
.ds Xy "a string
It is \*(Xy\(em\[aq]so\[aq]."#;
    let expected = "lsblk(8) - list block devices\n\
        # NAME\nlsblk - list block devices\n\
        # OPTIONS\n-a, --all\nAlso list empty devices and RAM disk devices.\n\n\
        -b\nPrint in bytes.\n\n  one\n  two\n\nyes It is a string-'so'.";
    assert_eq!(render(page), expected);
}

#[test]
fn mdoc_pages_become_text() {
    let page = ".Dd May 2024\n.Dt NC 1\n.Os\n.Sh NAME\n.Nm nc\n.Nd connections and listens\n\
        .Sh SYNOPSIS\n.Nm\n.Op Fl 46 Ar port\n.Sh DESCRIPTION\nSee\n.Xr ssh 1 ,\n\
        .Dq quoted text .\n.Bl -tag\n.It Fl l\nListen.\n.El";
    let expected = "nc(1) - connections and listens\n\
        # NAME\nnc - connections and listens\n\
        # SYNOPSIS\nnc [-46 port]\n\
        # DESCRIPTION\nSee ssh(1), \"quoted text\".\n\n\n-l\nListen.";
    assert_eq!(render(page), expected);
}

#[test]
fn nothing_breaks_it() {
    let pages = [
        ".TH",
        ".",
        "\\",
        ".\\",
        ".SH",
        ".TP",
        ".if",
        ".ie n \\{",
        ".el",
        ".de",
        "\\f",
        "\\*(",
        "\\[",
        ".BR \"",
        ".ds",
        ".Xr",
        ".It Fl",
        ".Op Op Op Op",
        "\\s",
        ".TS\na\nb",
        ".so man1/x",
        "\\h'",
        ".if n .if n .if n text",
        ".EQ\nx",
    ];
    for page in pages {
        document("page.1", page);
        document("page.1", &format!(".TH A 1\n{page}\n{page}\ntext"));
    }
    let deep = ".if n ".repeat(500_000);
    document("page.1", &deep);
    let deep = format!(".Dd x\n{}", ".Op ".to_owned() + &"Op ".repeat(10_000));
    document("page.1", &deep);
}
