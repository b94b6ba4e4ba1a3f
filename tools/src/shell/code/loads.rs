//! Options with which harmless programs run or load something else.

use super::{Command, Word};

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
    (
        "apt-cache",
        &["-o", "-c", "-p", "-s", "--o", "--con", "--p", "--s"],
    ),
    ("apt-mark", &["-o", "-c", "--o", "--con"]),
    ("apt-config", &["-o", "-c", "--o", "--con"]),
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
            "run", "exec", "build", "cp", "commit", "load", "import", "plugin", "-H", "--host",
            "--config", "buildx", "create", "swarm", "service", "stack", "context",
        ],
    ),
    (
        "podman",
        &[
            "run",
            "exec",
            "build",
            "cp",
            "commit",
            "load",
            "import",
            "create",
            "kube",
            "play",
            "machine",
            "--storage-opt",
            "--storage-driver",
            "--runtime",
            "--conmon",
            "--hooks-dir",
            "--network-cmd-path",
            "--root",
            "--runroot",
            "--module",
            "--tmpdir",
            "--imagestore",
            "--identity",
            "--connection",
            "--remote",
            "--url",
        ],
    ),
    ("docker-compose", &["run", "exec", "build", "up"]),
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
    ("tcpdump", &["-z"]),
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
    ("nft", &["-f", "-i", "-I"]),
    ("useradd", &["-o", "--root", "-R", "-P"]),
    ("usermod", &["-o", "-R"]),
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

pub(super) fn option_that_runs(command: &Command) -> Option<&'static str> {
    let (_, options) = OPTIONS.iter().find(|(name, _)| *name == command.name())?;
    let runs = |arg: &Word| match arg {
        // `rpm -qi` shows what is installed.
        Word::Literal(text) if command.name() == "rpm" && only_asks(text) => false,
        Word::Literal(text) => options.iter().any(|option| is_option(text, option)),
        other => other.may_be_option(),
    };
    let args = command.args.as_slice();
    let is_output = |arg: &Word| matches!(arg.text(), "-o" | "--output");
    let found = (0..args.len()).any(|at| {
        // What curl gets is thrown away.
        let to_nowhere = command.name() == "curl"
            && is_output(&args[at])
            && args
                .get(at + 1)
                .is_some_and(|file| file.text() == "/dev/null");
        !to_nowhere && runs(&args[at])
    });
    found.then_some("an option with which the program runs or loads something else")
}

fn only_asks(text: &str) -> bool {
    let letters = text.strip_prefix("-q");
    letters.is_some_and(|letters| letters.chars().all(|c| "ailcdfsR".contains(c)))
}

fn is_option(text: &str, option: &str) -> bool {
    if let Some(exact) = option.strip_prefix('=') {
        return text == exact;
    }
    if option.starts_with("--") {
        // Long options may be shortened as long as they are clear, and have values after `=`.
        let name = text.split('=').next().unwrap_or_default();
        return name.len() > 2
            && (option.starts_with(name) || name == option || name.starts_with(option));
    }
    if let Some(letter) = option.strip_prefix('-').filter(|letter| letter.len() == 1) {
        return text.starts_with('-') && !text.starts_with("--") && text.contains(letter);
    }
    text == option || (option.ends_with(['/', ':']) && text.starts_with(option))
}
