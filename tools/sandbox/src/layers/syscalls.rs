//! seccomp: which system calls fail.
//!
//! They fail with EPERM, so that a program can say what it was not allowed to do. The rest is what
//! the user of the process may do anyway.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use serde::{Deserialize, Serialize};

use super::State;

/// Which system calls a process needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Calls {
    /// Those of a library that computes. Everything that starts programs, opens sockets, or reaches
    /// other processes, the kernel's settings or its less tested parts is closed.
    Module {
        /// It may have sockets of IPv4 and IPv6.
        network: bool,
        /// It may start programs.
        exec: bool,
    },
    /// Those of any program that looks at the machine and changes nothing. Besides the kernel's
    /// settings, its less tested parts and other processes, closed is what changes files whatever
    /// Landlock says: their owner, mode, times and attributes.
    Reader {
        /// Whom it may speak to.
        sockets: Sockets,
    },
}

/// Which sockets a process may have. Pairs of its own are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sockets {
    /// Any, so that services which listen on Unix sockets can be asked.
    All,
    /// Those of IPv4 and IPv6.
    Ip,
    /// None.
    None,
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What neither a module nor a command that only looks needs.
const NEVER: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    // Its requests are not seen by seccomp.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// What no module needs besides.
const NO_MODULE: &[i64] = &[
    libc::SYS_mq_open,
    libc::SYS_msgget,
    libc::SYS_name_to_handle_at,
    libc::SYS_personality,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_semget,
    // All that it starts stays in its process group, which ends with it.
    libc::SYS_setpgid,
    libc::SYS_setsid,
    libc::SYS_shmget,
    libc::SYS_syslog,
    libc::SYS_tkill,
];

/// What changes files whatever Landlock says.
const NO_READER: &[i64] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_kexec_file_load,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_setxattr,
    // Before Linux 6.2 Landlock knew only of files that are opened.
    libc::SYS_truncate,
    libc::SYS_utimensat,
];

/// The same by calls that only this architecture has.
#[cfg(target_arch = "x86_64")]
const NO_READER_HERE: &[i64] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_futimesat,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
];
#[cfg(not(target_arch = "x86_64"))]
const NO_READER_HERE: &[i64] = &[];

/// Requests of ioctl that no reader makes: typing into a terminal, and the attributes of files.
const NO_READER_REQUESTS: &[u64] = &[libc::TIOCSTI, FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR];
const FS_IOC_SETFLAGS: u64 = 0x4008_6602;
const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;

/// What takes nothing but the number of another process to reach it.
const OWN_PROCESS_ONLY: &[i64] = &[libc::SYS_kill, libc::SYS_tgkill];

const NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP)
    .cast_unsigned() as u64;

pub(super) fn enter(calls: &Calls) -> Result<State, String> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(State::Off(format!(
            "no filter for {} was written",
            std::env::consts::ARCH
        )));
    };
    // The C library falls back to clone, whose flags a filter can see.
    let missing = Rules::from([(libc::SYS_clone3, Vec::new())]);
    for (rules, errno) in [(denied(*calls)?, libc::EPERM), (missing, libc::ENOSYS)] {
        let action = SeccompAction::Errno(errno.cast_unsigned());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch)
            .map_err(|error| error.to_string())?;
        let program = BpfProgram::try_from(filter).map_err(|error| error.to_string())?;
        match seccompiler::apply_filter(&program) {
            Ok(()) => {}
            Err(seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error))
                if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) =>
            {
                return Ok(State::Off(
                    "this kernel was built without seccomp filters".into(),
                ));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(State::On)
}

fn denied(calls: Calls) -> Result<Rules, String> {
    let mut rules = match calls {
        Calls::Module { network, exec } => denied_to_module(network, exec)?,
        Calls::Reader { sockets } => denied_to_reader(sockets)?,
    };
    deny(&mut rules, NEVER);
    #[cfg(target_arch = "x86_64")]
    {
        deny(
            &mut rules,
            &[libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_modify_ldt],
        );
        close_x32(&mut rules);
    }
    Ok(rules)
}

/// Adds calls that always fail.
fn deny(rules: &mut Rules, calls: &[i64]) {
    rules.extend(calls.iter().map(|call| (*call, Vec::new())));
}

fn denied_to_reader(sockets: Sockets) -> Result<Rules, String> {
    let mut rules = Rules::new();
    deny_sockets(&mut rules, sockets)?;
    deny(&mut rules, NO_READER);
    deny(&mut rules, NO_READER_HERE);
    let requests = NO_READER_REQUESTS.iter();
    let requests: Result<_, _> = requests.map(|code| all([(1, Op::Eq, *code)])).collect();
    rules.insert(libc::SYS_ioctl, requests?);
    // Limits of its own are for it to set; those of others are not its business.
    rules.insert(libc::SYS_prlimit64, vec![all([(0, Op::Ne, 0)])?]);
    rules.insert(libc::SYS_clone, new_namespaces()?);
    Ok(rules)
}

fn denied_to_module(network: bool, exec: bool) -> Result<Rules, String> {
    let mut rules = Rules::new();
    deny(&mut rules, NO_MODULE);
    let own = u64::from(std::process::id());
    for call in OWN_PROCESS_ONLY {
        rules.insert(*call, vec![all([(0, Op::Ne, own)])?]);
    }
    // Limits of its own are for it to see; those of others are not its business.
    rules.insert(
        libc::SYS_prlimit64,
        vec![all([(0, Op::Ne, 0), (0, Op::Ne, own)])?],
    );
    // It ends with the host, whatever it does.
    let death_signal = libc::PR_SET_PDEATHSIG.cast_unsigned().into();
    rules.insert(libc::SYS_prctl, vec![all([(0, Op::Eq, death_signal)])?]);
    let sockets = if network { Sockets::Ip } else { Sockets::None };
    deny_sockets(&mut rules, sockets)?;
    if exec {
        rules.insert(libc::SYS_clone, new_namespaces()?);
    } else {
        let thread = libc::CLONE_THREAD.cast_unsigned().into();
        rules.insert(libc::SYS_clone, vec![all([(0, Op::MaskedEq(thread), 0)])?]);
        deny(&mut rules, &[libc::SYS_execve, libc::SYS_execveat]);
        #[cfg(target_arch = "x86_64")]
        deny(&mut rules, &[libc::SYS_fork, libc::SYS_vfork]);
    }
    Ok(rules)
}

fn deny_sockets(rules: &mut Rules, sockets: Sockets) -> Result<(), String> {
    match sockets {
        Sockets::All => {}
        Sockets::Ip => {
            rules.insert(libc::SYS_socket, other_sockets()?);
        }
        Sockets::None => deny(rules, &[libc::SYS_socket]),
    }
    Ok(())
}

/// All sockets but those of IP. The worker and other services listen on Unix sockets, so those are
/// none of a module's. Asking the kernel for its routes is part of looking up a name.
fn other_sockets() -> Result<Vec<SeccompRule>, String> {
    let (inet, inet6, netlink) = (
        libc::AF_INET.cast_unsigned().into(),
        libc::AF_INET6.cast_unsigned().into(),
        libc::AF_NETLINK.cast_unsigned().into(),
    );
    Ok(vec![
        all([(0, Op::Ne, inet), (0, Op::Ne, inet6), (0, Op::Ne, netlink)])?,
        all([(0, Op::Eq, netlink), (2, Op::Ne, 0)])?,
    ])
}

/// A process in a namespace of its own. Any of the flags will do, and a rule can only ask for all
/// or none: one rule for each.
fn new_namespaces() -> Result<Vec<SeccompRule>, String> {
    let bits = (0..64).map(|shift| 1 << shift);
    bits.filter(|bit| NAMESPACES & bit != 0)
        .map(|bit| all([(0, Op::MaskedEq(bit), bit)]))
        .collect()
}

/// The x32 numbers are a second way to the same calls on some kernels, which a filter that knows
/// only the ordinary numbers would let through.
#[cfg(target_arch = "x86_64")]
fn close_x32(rules: &mut Rules) {
    const X32: i64 = 0x4000_0000;
    let ordinary: Vec<i64> = rules.keys().copied().collect();
    rules.extend(
        ordinary
            .into_iter()
            .chain(512..548)
            .map(|call| (call | X32, Vec::new())),
    );
}

/// A rule that is met when all of these are: the argument, how it compares, with what.
fn all<const N: usize>(conditions: [(u8, Op, u64); N]) -> Result<SeccompRule, String> {
    let conditions = conditions
        .into_iter()
        .map(|(argument, op, value)| SeccompCondition::new(argument, Len::Dword, op, value))
        .collect::<Result<_, _>>();
    conditions
        .and_then(SeccompRule::new)
        .map_err(|error| error.to_string())
}
