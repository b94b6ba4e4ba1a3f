//! seccomp: which system calls fail.
//!
//! They fail with EPERM, so that a module can say what it was not allowed to do. Everything that
//! starts programs, opens sockets, or reaches other processes, the kernel's settings or its less
//! tested parts is closed; the rest is what the user of the process may do anyway.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::State;
use crate::manifest::Capabilities;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What no module needs.
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
    libc::SYS_mq_open,
    libc::SYS_msgget,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_semget,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    // All that it starts stays in its process group, which ends with it.
    libc::SYS_setpgid,
    libc::SYS_setsid,
    libc::SYS_settimeofday,
    libc::SYS_shmget,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_tkill,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

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

pub(super) fn enter(capabilities: &Capabilities) -> Result<State, String> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(State::Off(format!(
            "no filter for {} was written",
            std::env::consts::ARCH
        )));
    };
    // The C library falls back to clone, whose flags a filter can see.
    let missing = Rules::from([(libc::SYS_clone3, Vec::new())]);
    for (rules, errno) in [
        (denied(capabilities)?, libc::EPERM),
        (missing, libc::ENOSYS),
    ] {
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

fn denied(capabilities: &Capabilities) -> Result<Rules, String> {
    let mut rules = Rules::new();
    let mut always = NEVER.to_vec();
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

    if capabilities.network {
        // The worker and other services listen on Unix sockets, so those are none of them. Asking
        // the kernel for its routes is part of looking up a name.
        let (inet, inet6, netlink) = (
            libc::AF_INET.cast_unsigned().into(),
            libc::AF_INET6.cast_unsigned().into(),
            libc::AF_NETLINK.cast_unsigned().into(),
        );
        rules.insert(
            libc::SYS_socket,
            vec![
                all([(0, Op::Ne, inet), (0, Op::Ne, inet6), (0, Op::Ne, netlink)])?,
                all([(0, Op::Eq, netlink), (2, Op::Ne, 0)])?,
            ],
        );
    } else {
        always.push(libc::SYS_socket);
    }

    if capabilities.exec {
        // Any of the flags will do, and a rule can only ask for all or none: one rule for each.
        let mut any = Vec::new();
        for bit in (0..64)
            .map(|shift| 1 << shift)
            .filter(|bit| NAMESPACES & bit != 0)
        {
            any.push(all([(0, Op::MaskedEq(bit), bit)])?);
        }
        rules.insert(libc::SYS_clone, any);
    } else {
        let thread = libc::CLONE_THREAD.cast_unsigned().into();
        rules.insert(libc::SYS_clone, vec![all([(0, Op::MaskedEq(thread), 0)])?]);
        always.extend([libc::SYS_execve, libc::SYS_execveat]);
        #[cfg(target_arch = "x86_64")]
        always.extend([libc::SYS_fork, libc::SYS_vfork]);
    }
    #[cfg(target_arch = "x86_64")]
    always.extend([libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_modify_ldt]);
    rules.extend(always.into_iter().map(|call| (call, Vec::new())));
    #[cfg(target_arch = "x86_64")]
    close_x32(&mut rules);
    Ok(rules)
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
