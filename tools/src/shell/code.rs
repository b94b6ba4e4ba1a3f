//! Programs that run code which is no shell text, and options that make harmless programs do so.
//!
//! Everything that is found here is asked for. The lists follow the public collections of such
//! programs (GTFOBins); a program that is in none of them is as harmless as the policy says.

use super::inner::SHELLS;
use super::{Command, Word};

/// Programs that run code, whatever their arguments are.
const INTERPRETERS: &[&str] = &[
    // Languages.
    "python",
    "python2",
    "python3",
    "pypy",
    "pypy3",
    "perl",
    "perl5",
    "ruby",
    "irb",
    "jruby",
    "node",
    "nodejs",
    "deno",
    "bun",
    "php",
    "lua",
    "luajit",
    "tclsh",
    "wish",
    "awk",
    "gawk",
    "mawk",
    "nawk",
    "guile",
    "scheme",
    "racket",
    "sbcl",
    "clisp",
    "ghci",
    "runghc",
    "erl",
    "elixir",
    "iex",
    "julia",
    "R",
    "Rscript",
    "octave",
    "java",
    "jshell",
    "jrunscript",
    "groovy",
    "scala",
    "kotlin",
    "dotnet",
    "pwsh",
    "powershell",
    "osascript",
    "gjs",
    "js",
    "rhino",
    "qjs",
    "ocaml",
    "swift",
    "raku",
    "nim",
    "m4",
    "bc",
    "dc",
    "gdb",
    "lldb",
    "pdb",
    "cdb",
    "ipython",
    "ipython3",
    "jupyter",
    "ansible",
    "ansible-playbook",
    "puppet",
    "chef-client",
    "salt",
    "salt-call",
    "terraform",
    "go",
    "cargo",
    "rustc",
    "gcc",
    "g++",
    "cc",
    "c++",
    "clang",
    "tcc",
    "ld",
    "as",
    "make",
    "gmake",
    "cmake",
    "ninja",
    "rake",
    "ant",
    "mvn",
    "gradle",
    "npm",
    "npx",
    "yarn",
    "pnpm",
    "pip",
    "pip3",
    "pipx",
    "uv",
    "uvx",
    "gem",
    "bundle",
    "bundler",
    "composer",
    "cpan",
    "cpanm",
    "easy_install",
    "conda",
    "nix",
    "nix-shell",
    "nix-env",
    "guix",
    "snap",
    "flatpak",
    "snapcraft",
    // Editors and pagers with a shell in them.
    "vi",
    "vim",
    "vimdiff",
    "view",
    "rvim",
    "nvim",
    "ex",
    "ed",
    "red",
    "emacs",
    "emacsclient",
    "nano",
    "patch",
    "pico",
    "joe",
    "jed",
    "mcedit",
    "mc",
    "micro",
    "kak",
    "more",
    "most",
    "pg",
    "less",
    "w3m",
    "lynx",
    "elinks",
    "links",
    "mutt",
    "neomutt",
    "alpine",
    "pine",
    "mail",
    "mailx",
    "telnet",
    "ftp",
    "lftp",
    "tftp",
    "sftp",
    "irssi",
    "weechat",
    "rlogin",
    "ranger",
    "nnn",
    "vifm",
    // Databases that start programs.
    "psql",
    "mysql",
    "mariadb",
    "sqlite3",
    "sqlplus",
    "mongo",
    "mongosh",
    "redis-cli",
    "cqlsh",
    "mysqldump",
    // Later, elsewhere, or as somebody else.
    "at",
    "batch",
    "crontab",
    "atrm",
    "incrontab",
    "run-parts",
    "start-stop-daemon",
    "daemonize",
    "inotifywait",
    "fswatch",
    "socat",
    "nc",
    "ncat",
    "netcat",
    "nc.traditional",
    "nc.openbsd",
    "openvpn",
    "pppd",
    "rsh",
    "rexec",
    "dbus-send",
    "busctl",
    "gdbus",
    "qdbus",
    "loginctl",
    "machinectl",
    "cgexec",
    "bwrap",
    "firejail",
    "proot",
    "runc",
    "ctr",
    "nerdctl",
    "lxc",
    "lxd",
    "lxc-attach",
    "virsh",
    "qemu-system-x86_64",
    "qemu-x86_64",
    "vagrant",
    "kubectl",
    "helm",
    "aws",
    "gcloud",
    "az",
    "capsh",
    "newgrp",
    "gosu",
    "su-exec",
    "chpst",
    "softlimit",
    "setlock",
    "logsave",
    "cpulimit",
    "rlwrap",
    "script",
    "scriptreplay",
    "wine",
    "valgrind",
    "perf",
    "bpftrace",
    "bpftool",
    "stap",
    "dtrace",
    "trace-cmd",
    "facter",
    "ginsh",
    "gimp",
    "latex",
    "pdflatex",
    "lualatex",
    "xelatex",
    "tex",
    "dvips",
    "gs",
    "ghostscript",
    "inkscape",
    "yelp",
    "zathura",
    "sash",
    "posh",
    "elvish",
    "nu",
    "xonsh",
    "restic",
    "borg",
    "rclone",
    "exiftool",
    "ffmpeg",
    "convert",
    "magick",
    "distcc",
    "check_by_ssh",
    "slsh",
    "msfconsole",
    "nmap",
    "tcpdump",
    "tshark",
    "wireshark",
    "ettercap",
    "opkg",
    "rpmbuild",
    "rpmdb",
    "rpmquery",
    "rpmverify",
    "dpkg-reconfigure",
    "debconf",
    "alien",
    "update-alternatives",
    "visudo",
    "vipw",
    "vigr",
    "sudoedit",
    "crash",
    "kexec",
    "debugfs",
    "fsck",
    "xfs_db",
    "systemd-nspawn",
    "varnishncsa",
    "whiptail",
    "dialog",
    "xterm",
    "xdotool",
    "x-terminal-emulator",
    "gnome-terminal",
    "konsole",
    "zsoelim",
    "multitime",
    "hping3",
    "byebug",
    "cowsay",
    "cowthink",
    "cpio",
    "csvtool",
    "ash",
    "aria2c",
    "torify",
    "genie",
    "grc",
    "hashcat",
    "ksshell",
    "logrotate",
    "man",
    "apropos",
    "nroff",
    "troff",
    "groff",
    "openssl",
    "pandoc",
    "pax",
    "pexec",
    "pkg",
    "plymouth",
    "psftp",
    "pry",
    "run-mailcap",
    "xdg-open",
    "see",
    "smbclient",
    "task",
    "terminator",
    "tasksh",
    "watchexec",
    "autossh",
    "sshpass",
    "ssh-agent",
    "scp",
    "ld.so",
    "gtester",
];

/// Builtins of the shell that change what later words mean.
const BUILTINS: &[&str] = &[
    "source",
    ".",
    "alias",
    "unalias",
    "shopt",
    "enable",
    "hash",
    "bind",
    "complete",
    "compgen",
    "compopt",
    "mapfile",
    "readarray",
    "fc",
    "let",
    "coproc",
    "select",
    "function",
    "caller",
    "dirs",
    "pushd",
    "popd",
    "getopts",
];

/// Builtins that take the name of a variable, where a subscript may run commands.
const NAMING_BUILTINS: &[&str] = &["test", "[", "printf", "read", "unset", "wait"];

/// Builtins that give the variables that they are told another value, or none.
const SETTING_BUILTINS: &[&str] = &["read", "unset", "wait"];

/// Beginnings of options with which a program runs something else or loads code, and its own
/// words that do. A `=` or more may follow.
const OPTIONS: &[(&str, &[&str])] = &[
    ("nginx", &["-g", "-c", "-p", "-e"]),
    ("apachectl", &["-f", "-c", "-C", "-d"]),
    ("apache2ctl", &["-f", "-c", "-C", "-d"]),
    (
        "apt",
        &[
            "-o",
            "-c",
            "--option",
            "--config-file",
            "./",
            "../",
            "~/",
            "/",
            "changelog",
            "edit-sources",
        ],
    ),
    (
        "apt-get",
        &[
            "-o",
            "-c",
            "--option",
            "--config-file",
            "changelog",
            "./",
            "../",
            "~/",
            "/",
        ],
    ),
    ("aptitude", &["-o", "changelog"]),
    ("apt-cache", &["-o", "-c", "--o", "--con"]),
    ("apt-mark", &["-o", "-c", "--o", "--con"]),
    ("apt-config", &["-o", "-c", "--o", "--con"]),
    ("bzip2", &["--use-compress"]),
    (
        "curl",
        &[
            "-K",
            "--config",
            "--libcurl",
            "--engine",
            "-o",
            "-O",
            "--output",
            "--remote-name",
        ],
    ),
    (
        "dnf",
        &["-c", "--config", "--setopt", "--plugin", "./", "/"],
    ),
    (
        "yum",
        &["-c", "--config", "--setopt", "--plugin", "./", "/"],
    ),
    (
        "docker",
        &[
            "run",
            "exec",
            "build",
            "compose",
            "cp",
            "commit",
            "load",
            "import",
            "plugin",
            "-H",
            "--host",
            "--config",
            "buildx",
            "container",
            "create",
            "swarm",
            "service",
            "stack",
            "context",
        ],
    ),
    (
        "podman",
        &[
            "run",
            "exec",
            "build",
            "compose",
            "cp",
            "commit",
            "load",
            "import",
            "create",
            "container",
            "kube",
            "play",
            "machine",
            "--remote",
            "--url",
        ],
    ),
    ("docker-compose", &["run", "exec", "build", "up", "-f"]),
    (
        "dmesg",
        &[
            "-H",
            "--human",
            "-C",
            "--clear",
            "-c",
            "--read-clear",
            "-n",
            "-E",
            "-D",
            "--console-on",
            "--console-off",
            "--console-level",
        ],
    ),
    (
        "dpkg",
        &[
            "-i",
            "--install",
            "--unpack",
            "--configure",
            "--pre-invoke",
            "--post-invoke",
            "--root",
            "--admindir",
            "--instdir",
        ],
    ),
    (
        "git",
        &[
            "remote-ext",
            "remote-fd",
            "merge-index",
            "filter-branch",
            "-c",
            "-C",
            "--exec-path",
            "--config-env",
            "--git-dir",
            "--work-tree",
            "-p",
            "--paginate",
            "config",
            "clone",
            "submodule",
            "ext::",
            "rebase",
            "bisect",
            "filter-branch",
            "difftool",
            "mergetool",
            "help",
            "daemon",
            "archive",
            "hook",
            "instaweb",
            "shell",
            "upload-pack",
            "--upload-pack",
            "--receive-pack",
            "--ext-diff",
            "--template",
            "--open-files-in-pager",
            "-O",
            "--output",
            "credential",
            "send-email",
            "sh-setup",
            "web--browse",
            "p4",
            "svn",
        ],
    ),
    ("hg", &["--config", "--cwd", "-R"]),
    ("gzip", &["--use-compress"]),
    (
        "ip",
        &[
            "netns", "=-b", "=-ba", "=-bat", "=-batc", "=-batch", "=-force", "=--b", "=--ba",
            "=--bat", "=--batc", "=--batch", "=--force", "vrf",
        ],
    ),
    ("iptables", &["--modprobe", "-M"]),
    (
        "journalctl",
        &[
            "--vacuum",
            "--rotate",
            "--flush",
            "--sync",
            "--setup-keys",
            "--relinquish-var",
            "--smart-relinquish-var",
            "--update-catalog",
            "--root",
            "--image",
            "--machine",
            "-M",
        ],
    ),
    ("ldconfig", &["-f", "-C", "-r"]),
    ("mount", &["-o", "--options", "-t", "--types"]),
    (
        "rpm",
        &[
            "--eval", "-E", "--define", "-D", "--pipe", "--macros", "--root", "-i", "-U", "-F",
            "--load",
        ],
    ),
    ("rsync", &["-e", "--rsh", "--rsync-path", "--daemon"]),
    ("rg", &["--pre", "--hostname-bin", "--search-zip", "-z"]),
    ("sort", &["--compress-program"]),
    ("split", &["--filter"]),
    ("sysctl", &["-w", "-p", "--load", "--system", "--write"]),
    (
        "systemctl",
        &[
            "edit",
            "link",
            "set-property",
            "set-environment",
            "import-environment",
            "kexec",
            "--root",
            "-H",
            "--host",
            "-M",
            "--machine",
            "/",
            "./",
            "../",
            "~/",
            "--image",
            "--job-mode",
            "switch-root",
            "soft-reboot",
            "preset",
            "add-wants",
            "add-requires",
            "revert",
            "bind",
            "mount-image",
        ],
    ),
    (
        "systemd-analyze",
        &["verify", "unit-shell", "-H", "-M", "--host", "--machine"],
    ),
    (
        "tar",
        &[
            "--checkpoint-action",
            "--to-command",
            "-I",
            "--use-compress-program",
            "--rsh-command",
            "-F",
            "--info-script",
            "--new-volume-script",
            "--rmt-command",
            "-T",
            "--files-from",
            "--transform",
            "--xform",
            "-P",
            "--absolute-names",
        ],
    ),
    ("tcpdump", &["-z"]),
    ("unzip", &["-K", "-:"]),
    (
        "wget",
        &[
            "--use-askpass",
            "--post-file",
            "--body-file",
            "-e",
            "--execute",
            "--config",
            "-O",
            "--output-document",
            "-P",
            "-i",
        ],
    ),
    (
        "zip",
        &[
            "-T",
            "-TT",
            "--unzip-command",
            "--test",
            "-@",
            "--names-stdin",
        ],
    ),
    ("date", &["-f", "--file"]),
    ("file", &["-m", "--magic-file", "-C"]),
    ("nft", &["-f", "-i", "-I"]),
    ("tee", &["-p"]),
    ("tail", &["--pid"]),
    ("useradd", &["-o", "--root", "-R", "-P"]),
    ("usermod", &["-o", "-R"]),
    ("ss", &["-K", "--kill", "-D", "--diag", "-F", "--filter"]),
    ("tree", &["--fromfile", "-R"]),
    ("ssh-keygen", &["-D"]),
    ("ssh-add", &["-s", "-S"]),
    ("hostnamectl", &["-H", "-M", "--host", "--machine"]),
    ("timedatectl", &["-H", "-M", "--host", "--machine"]),
    ("localectl", &["-H", "-M", "--host", "--machine"]),
    (
        "coredumpctl",
        &[
            "-M",
            "--machine",
            "--debugger",
            "-A",
            "--debugger-arguments",
        ],
    ),
    ("zypper", &["--root", "-R", "--plus-repo", "./", "/"]),
    (
        "apk",
        &["--root", "-p", "--allow-untrusted", "--repository", "-X"],
    ),
    ("pidstat", &["-e"]),
];

/// Variables that are known to be harmless, besides those in small letters.
const VARIABLES: &[&str] = &[
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_TIME",
    "LC_NUMERIC",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_MESSAGES",
    "TZ",
    "TERM",
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "SYSTEMD_COLORS",
    "RUST_LOG",
    "RUST_BACKTRACE",
];

/// Small letters that shells or programs obey.
const VARIABLES_OBEYED: &[&str] = &["path", "cdpath", "fpath", "histchars", "module_path"];

/// Whether it is a name that a variable can have.
pub(super) fn is_variable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether giving the variable this value can't make a program run something else; none: nobody knows
/// the value.
pub(crate) fn harmless_assignment(name: &str, value: Option<&str>) -> bool {
    match name {
        // debconf evaluates what it does not know.
        "DEBIAN_FRONTEND" => matches!(value, Some("noninteractive" | "readline" | "teletype")),
        _ => harmless_variable(name),
    }
}

/// Whether setting the variable can't make a program run something else.
pub(crate) fn harmless_variable(name: &str) -> bool {
    let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    VARIABLES.contains(&name)
        || (name.chars().all(small)
            && !name.ends_with("_proxy")
            && !VARIABLES_OBEYED.contains(&name))
}

/// `python3 --version` runs no code.
pub(crate) fn only_asks_about_itself(command: &Command) -> bool {
    let [only] = command.args.as_slice() else {
        return false;
    };
    let asks = matches!(only.literal(), Some("--version" | "--help"));
    asks && !command.program.contains('/')
}

/// Whether a command runs what stands in the files that it is given.
pub(crate) fn runs_its_files(command: &Command) -> bool {
    let name = command.name();
    let interprets = |name| INTERPRETERS.contains(&name) || SHELLS.contains(&name);
    interprets(name) || interprets(unversioned(name)) || matches!(name, "." | "source" | "sed")
}

/// Why it can't be known what a command does, if so.
pub(super) fn reason(command: &Command) -> Option<&'static str> {
    let name = unversioned(command.name());
    let program = command.program.as_str();
    if is_elsewhere(program) {
        return Some("a program outside of the system's directories");
    }
    if INTERPRETERS.contains(&command.name()) || INTERPRETERS.contains(&name) {
        return Some("a program that runs code which is not understood");
    }
    if BUILTINS.contains(&program) {
        return Some("a builtin that changes what later commands mean");
    }
    if name.starts_with("ld-linux") || name.starts_with("ld-") || name.starts_with("ld.so") {
        return Some("the dynamic loader, which starts any file");
    }
    if NAMING_BUILTINS.contains(&program) && names_a_variable(command) {
        return Some("a subscript that the shell evaluates");
    }
    if SETTING_BUILTINS.contains(&program) && sets_what_is_obeyed(command) {
        return Some("a variable that programs may obey");
    }
    if program == "set" && command.args.iter().any(takes_words_as_variables) {
        return Some("a mode in which words are variables for the program that follows");
    }
    if name == "ps" && shows_environments(command) {
        return Some("the environment of other processes, where secrets are");
    }
    if name == "jq" && command.args.iter().any(imports) {
        return Some("a jq program that may read files which are not named");
    }
    if name == "sed" && !sed_is_plain(command) {
        return Some("a sed script that may write files or run commands");
    }
    if takes_a_mode(command) {
        return Some("the mode of another file, which may give its rights away");
    }
    if name == "tar" && command.args.iter().map(Word::text).any(names_a_machine) {
        return Some("an archive on another machine");
    }
    if names_are_in_a_file(command) {
        return Some("files whose names are in another file");
    }
    if name == "ip" && !ip_only_shows(command) {
        return Some("a verb of ip that is not known to only show");
    }
    option_that_runs(command)
}

/// Programs that open the files of a list in a file, by an option that begins so. It may be
/// shortened, and what is in the list is not looked at.
const LISTS: &[(&[&str], &str)] = &[
    (
        &[
            "xz", "unxz", "xzcat", "lzma", "unlzma", "lzcat", "zstd", "unzstd", "zstdcat",
            "zstdmt", "pzstd", "wc", "du", "sort", "rsync",
        ],
        "--fi",
    ),
    (&["find"], "-files0"),
    // Those of binutils complain about each word of it.
    (&["strings", "nm", "objdump", "readelf", "size", "ar"], "@"),
];

fn names_are_in_a_file(command: &Command) -> bool {
    let lists = LISTS
        .iter()
        .filter(|(names, _)| names.contains(&command.name()));
    let mut starts = lists.map(|(_, start)| start);
    starts.any(|start| command.args.iter().any(|arg| arg.text().starts_with(start)))
}

/// tar reaches `machine:path` by a program that it starts.
fn names_a_machine(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(machine, _)| !machine.contains('/'))
}

/// `ip a a ADDRESS` adds one: all words may be shortened, so that only some verbs are clear.
fn ip_only_shows(command: &Command) -> bool {
    let mut words = command.args.iter().map(Word::text);
    let mut words = words.by_ref().skip_while(|text| text.starts_with('-'));
    let (_, verb) = (words.next(), words.next());
    verb.is_none_or(|verb| matches!(verb, "show" | "sh" | "list" | "lst" | "ls" | "get" | "help"))
}

/// `python3.12` is `python3`.
fn unversioned(name: &str) -> &str {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-')
}

/// A path of a program that no package manager put there.
fn is_elsewhere(program: &str) -> bool {
    const SYSTEM: &[&str] = &[
        "bin",
        "sbin",
        "usr/bin",
        "usr/sbin",
        "usr/local/bin",
        "usr/local/sbin",
    ];
    let Some((directory, _)) = program.rsplit_once('/') else {
        return false;
    };
    let Some(absolute) = directory.strip_prefix('/') else {
        return true;
    };
    let parts = absolute
        .split('/')
        .filter(|part| !matches!(*part, "" | "."));
    !SYSTEM.contains(&parts.collect::<Vec<_>>().join("/").as_str())
}

/// Whether a builtin may be given the name of a variable that is not plainly written.
fn names_a_variable(command: &Command) -> bool {
    let args = &command.args;
    let unknown = |arg: &Word| matches!(arg, Word::Unknown { .. });
    args.iter().any(subscript)
        || match command.program.as_str() {
            "printf" => args.first().is_some_and(|arg| {
                arg.text().starts_with("-v") || (unknown(arg) && arg.may_be_option())
            }),
            "test" | "[" => {
                args.iter().any(|arg| arg.text() == "-v")
                    || args.first().is_some_and(unknown) && args.len() <= 3
            }
            // What the shell knows by that name may itself have a subscript in it.
            _ => args
                .iter()
                .any(|arg| unknown(arg) || arg.text().contains('[')),
        }
}

/// Whether one of the variables that a builtin sets or forgets, named by itself or right behind its
/// option, is obeyed by programs or the shell.
fn sets_what_is_obeyed(command: &Command) -> bool {
    command.args.iter().map(Word::text).any(|text| {
        let name = match text.strip_prefix('-') {
            Some(option) => option.get(1..).unwrap_or_default(),
            None => text,
        };
        is_variable(name) && !harmless_variable(name) && name != "REPLY"
    })
}

/// Whether `ps` shows what processes were told in their variables: `ps auxe`, `ps E`, `-o environ`.
/// Words without a dash are its old options, if they are no lists and no values of others.
fn shows_environments(command: &Command) -> bool {
    let mut is_value = false;
    command.args.iter().any(|arg| {
        let Some(text) = arg.literal() else {
            return true;
        };
        let was_value = std::mem::replace(&mut is_value, has_value_after(text));
        let old = !was_value && !text.starts_with('-') && !text.contains(',');
        text.contains("env") || (old && text.contains(['e', 'E']))
    })
}

/// Whether the value of an option of `ps` is the next word.
fn has_value_after(text: &str) -> bool {
    const LONG: &[&str] = &[
        "cols",
        "columns",
        "format",
        "lines",
        "pid",
        "ppid",
        "quick-pid",
        "rows",
        "sort",
        "tty",
        "user",
        "group",
        "User",
        "Group",
        "sid",
        "width",
    ];
    let (options, values) = match text.strip_prefix("--") {
        Some(name) => return LONG.contains(&name),
        None => match text.strip_prefix('-') {
            Some(options) => (options, "opuUgGCtksOq"),
            None => (text, "oOpUtkq"),
        },
    };
    options
        .find(|c| values.contains(c))
        .is_some_and(|at| at + 1 == options.len())
}

/// Whether a file gets the mode of another one and keeps its own content: of a program with
/// set-user-ID, that would be anybody's.
fn takes_a_mode(command: &Command) -> bool {
    let option = match command.name() {
        "chmod" => "--ref",
        "cp" => "--at",
        _ => return false,
    };
    command
        .args
        .iter()
        .any(|arg| arg.text().starts_with(option))
}

/// Words of a jq program that read a file beside those of the command.
fn imports(word: &Word) -> bool {
    word.literal().is_none_or(|text| {
        let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|word| matches!(word, "import" | "include"))
    })
}

/// `set -k`, alone or with other letters, or by its name.
fn takes_words_as_variables(word: &Word) -> bool {
    match word.literal() {
        Some("keyword") => true,
        Some(text) => text.strip_prefix('-').is_some_and(|it| it.contains('k')),
        None => word.may_be_option(),
    }
}

fn subscript(word: &Word) -> bool {
    let text = word.text();
    text.contains('[') && text.len() > 1 && text.contains(['$', '`', '('])
}

fn option_that_runs(command: &Command) -> Option<&'static str> {
    let (_, options) = OPTIONS.iter().find(|(name, _)| *name == command.name())?;
    // `tar cIf` is the old way to write `tar -cIf`.
    let cluster = command
        .args
        .first()
        .map(|first| format!("-{}", first.text()));
    if command.name() == "tar"
        && options.iter().any(|option| {
            option.len() == 2
                && cluster
                    .as_deref()
                    .is_some_and(|text| is_option(text, option))
        })
    {
        return Some("an option with which the program runs or loads something else");
    }
    let runs = |arg: &Word| match arg {
        Word::Literal(text) => options.iter().any(|option| is_option(text, option)),
        other => other.may_be_option(),
    };
    let found = command.args.iter().any(runs);
    found.then_some("an option with which the program runs or loads something else")
}

fn is_option(text: &str, option: &str) -> bool {
    if let Some(exact) = option.strip_prefix('=') {
        return text == exact;
    }
    if option.starts_with("--") {
        // Long options may be shortened as long as they are clear, and have values after `=`.
        let name = text.split('=').next().unwrap_or_default();
        return name.len() > 3
            && (option.starts_with(name) || name == option || name.starts_with(option));
    }
    if let Some(letter) = option.strip_prefix('-').filter(|letter| letter.len() == 1) {
        return text.starts_with('-') && !text.starts_with("--") && text.contains(letter);
    }
    text == option || (option.ends_with(['/', ':']) && text.starts_with(option))
}

/// Whether a sed command only prints, deletes and replaces lines.
fn sed_is_plain(command: &Command) -> bool {
    let mut scripts = Vec::new();
    let mut args = command.args.iter();
    while let Some(arg) = args.next() {
        let Some(text) = arg.literal() else {
            return !scripts.is_empty() && !arg.may_be_option();
        };
        match text {
            "-n" | "-E" | "-r" | "-i" | "-s" | "-u" | "-nE" | "-nr" | "-Ei" => {}
            "-e" | "-ne" | "-Ee" | "-re" | "-nEe" | "-nre" => {
                match args.next().and_then(Word::literal) {
                    Some(script) => scripts.push(script),
                    None => return false,
                }
            }
            _ if text.starts_with("-i.") => {}
            _ if text.starts_with('-') => return false,
            _ if scripts.is_empty() => scripts.push(text),
            _ => {}
        }
    }
    !scripts.is_empty() && scripts.iter().all(|script| sed_script_is_plain(script))
}

fn sed_script_is_plain(script: &str) -> bool {
    let address = |c: char| c.is_ascii_digit() || "$,~+ ".contains(c);
    let rest = script.trim_start_matches(address);
    if let Some(replacement) = rest.strip_prefix('s') {
        return sed_replacement_is_plain(replacement);
    }
    let rest = match rest.strip_prefix('/') {
        Some(pattern) => match pattern.split_once('/') {
            Some((pattern, rest)) if !pattern.contains(['\\', ';', '\n']) => rest,
            _ => return false,
        },
        None => rest,
    };
    matches!(rest, "p" | "d" | "q" | "=" | "!d" | "!p")
}

/// `s/one/two/g` with flags that neither write nor run.
fn sed_replacement_is_plain(text: &str) -> bool {
    let Some(delimiter) = text.chars().next().filter(|c| "/|#,:@".contains(*c)) else {
        return false;
    };
    let parts: Vec<&str> = text[1..].split(delimiter).collect();
    let [_, _, flags] = parts.as_slice() else {
        return false;
    };
    !text.contains(['\n']) && flags.chars().all(|c| "gpIi0123456789".contains(c))
}
