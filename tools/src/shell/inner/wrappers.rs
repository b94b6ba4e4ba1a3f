//! Where the command of each wrapper begins.

use super::super::options::{NONE, Options};

/// Programs that run the rest of their words, with the options that come before. Options that
/// change the directory or the root are left out, so that they are asked for: with them, paths
/// would mean other files.
pub(super) fn wrapper(name: &str) -> Option<Options> {
    Some(match name {
        "sudo" => Options {
            flags: "AbEHnPkSis",
            values: "gpTtUu",
            long_flags: &[
                "askpass",
                "background",
                "preserve-env",
                "set-home",
                "login",
                "reset-timestamp",
                "non-interactive",
                "preserve-groups",
                "stdin",
                "shell",
            ],
            long_values: &["group", "prompt", "user", "preserve-env"],
            assignments: true,
            ..NONE
        },
        "doas" => Options {
            flags: "nL",
            values: "u",
            ..NONE
        },
        "pkexec" => Options {
            long_values: &["user"],
            long_flags: &["keep-cwd"],
            ..NONE
        },
        "nohup" | "builtin" | "fakeroot" | "proxychains" | "proxychains4" | "torsocks"
        | "unbuffer" | "dbus-run-session" | "linux32" | "linux64" | "coproc" | "catchsegv" => NONE,
        "exec" => Options {
            flags: "cl",
            values: "a",
            ..NONE
        },
        "time" => Options {
            flags: "pvaq",
            values: "f",
            long_values: &["format"],
            ..NONE
        },
        "setsid" => Options {
            flags: "cfw",
            long_flags: &["ctty", "fork", "wait"],
            ..NONE
        },
        "nice" => Options {
            flags: "0123456789",
            values: "n",
            long_values: &["adjustment"],
            ..NONE
        },
        "ionice" => Options {
            flags: "t",
            values: "cn",
            long_values: &["class", "classdata"],
            ..NONE
        },
        "timeout" => Options {
            flags: "v",
            values: "ks",
            long_flags: &["foreground", "preserve-status", "verbose"],
            long_values: &["kill-after", "signal"],
            positionals: 1,
            ..NONE
        },
        "stdbuf" => Options {
            values: "ioe",
            long_values: &["input", "output", "error"],
            ..NONE
        },
        "chrt" => Options {
            flags: "abdfiorR",
            positionals: 1,
            ..NONE
        },
        "taskset" => Options {
            flags: "ac",
            positionals: 1,
            ..NONE
        },
        "flock" => Options {
            flags: "sxenFou",
            values: "wE",
            long_flags: &["shared", "exclusive", "nonblock", "close", "no-fork"],
            long_values: &["timeout", "wait"],
            positionals: 1,
            ..NONE
        },
        "setarch" => Options {
            flags: "R",
            positionals: 1,
            ..NONE
        },
        "chroot" => Options {
            long_values: &["userspec", "groups"],
            positionals: 1,
            ..NONE
        },
        "nsenter" => Options {
            flags: "amuinpCUTF",
            values: "tSG",
            long_flags: &[
                "all",
                "mount",
                "uts",
                "ipc",
                "net",
                "pid",
                "cgroup",
                "user",
                "time",
                "no-fork",
                "preserve-credentials",
            ],
            long_values: &["target", "setuid", "setgid"],
            ..NONE
        },
        "unshare" => Options {
            flags: "muinpCUTfrc",
            values: "SG",
            long_flags: &[
                "mount",
                "uts",
                "ipc",
                "net",
                "pid",
                "cgroup",
                "user",
                "time",
                "fork",
                "map-root-user",
                "map-current-user",
                "mount-proc",
                "keep-caps",
                "kill-child",
            ],
            long_values: &["setuid", "setgid", "propagation", "setgroups"],
            ..NONE
        },
        "systemd-run" => Options {
            flags: "dGPqtrS",
            values: "puEMH",
            long_flags: &[
                "user",
                "system",
                "scope",
                "remain-after-exit",
                "wait",
                "pipe",
                "pty",
                "quiet",
                "collect",
                "no-block",
                "same-dir",
                "shell",
                "no-ask-password",
            ],
            long_values: &[
                "unit",
                "property",
                "description",
                "slice",
                "uid",
                "gid",
                "nice",
                "setenv",
                "service-type",
                "on-active",
                "on-boot",
                "on-calendar",
            ],
            ..NONE
        },
        "prlimit" => Options {
            long_values: &[
                "nofile", "nproc", "as", "core", "cpu", "data", "fsize", "stack",
            ],
            ..NONE
        },
        "numactl" => Options {
            values: "NmCip",
            long_values: &[
                "cpunodebind",
                "membind",
                "physcpubind",
                "interleave",
                "preferred",
            ],
            ..NONE
        },
        "setpriv" => Options {
            long_flags: &["no-new-privs", "clear-groups", "init-groups", "keep-groups"],
            long_values: &[
                "reuid",
                "regid",
                "groups",
                "inh-caps",
                "bounding-set",
                "ambient-caps",
            ],
            ..NONE
        },
        _ => return None,
    })
}
