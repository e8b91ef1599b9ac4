//! Which system calls a submission may not make.
//!
//! A list of what is refused: languages differ in what they need, and namespaces, no capabilities and no new
//! privileges already bound what a call can reach. Refused is what reaches into other processes, makes namespaces,
//! takes memory that no limit counts, or is a large attack surface that no exchange needs.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    sock_filter,
};

/// Refused with EPERM, whatever the arguments.
const REFUSED: &[libc::c_long] = &[
    // Into other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    // The kernel and its machine.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_vhangup,
];

/// Refused with ENOSYS, so that runtimes take their other way: `clone` is checked for namespaces, `clone3` hides its
/// flags from a filter; io_uring's work is done past this filter; memory of memfd and System V, semaphores included,
/// belongs to no process.
const MISSING: &[libc::c_long] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_shmget,
    libc::SYS_semget,
    libc::SYS_msgget,
];

const NEW_NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u64;

/// The filter as bubblewrap takes it: `struct sock_filter`s, one after the other.
pub(crate) fn filter() -> Result<Vec<u8>> {
    let mut program = Vec::new();
    if cfg!(target_arch = "x86_64") {
        program.extend(no_x32());
    }
    program.extend(compile(MISSING.iter().map(|call| (*call, Vec::new())), libc::ENOSYS)?);
    // The two filters are one program: where the first allows, the second decides.
    let first = allowed_to_next(program)?;
    let refused = REFUSED.iter().map(|call| (*call, Vec::new()));
    let second = compile(
        refused.chain([(libc::SYS_clone, namespaces()?), (libc::SYS_socket, sockets()?)]),
        libc::EPERM,
    )?;
    Ok(first.into_iter().chain(second).flat_map(|step| bytes(&step)).collect())
}

fn compile(calls: impl Iterator<Item = (libc::c_long, Vec<SeccompRule>)>, errno: i32) -> Result<BpfProgram> {
    let rules: BTreeMap<i64, Vec<SeccompRule>> = calls.collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        std::env::consts::ARCH.try_into().context("seccomp: this processor")?,
    )
    .context("seccomp")?;
    filter.try_into().context("seccomp")
}

/// `clone` into a new namespace; its flags are the first argument.
fn namespaces() -> Result<Vec<SeccompRule>> {
    let flags: Vec<u64> = (0..u64::BITS)
        .map(|bit| 1 << bit)
        .filter(|bit| NEW_NAMESPACES & bit != 0)
        .collect();
    flags
        .into_iter()
        .map(|flag| rule(SeccompCmpOp::MaskedEq(flag), flag))
        .collect()
}

/// Sockets of the families that an exchange has a use for are allowed; the families up to the largest one that the
/// kernel knows are refused one by one.
fn sockets() -> Result<Vec<SeccompRule>> {
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    (0..=FAMILY_MAX)
        .filter(|family| !families.contains(family))
        .map(|family| rule(SeccompCmpOp::Eq, family.unsigned_abs().into()))
        .collect()
}

/// Above the last family of any kernel so far (AF_MCTP is 45).
const FAMILY_MAX: i32 = 63;

fn rule(operator: SeccompCmpOp, value: u64) -> Result<SeccompRule> {
    let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value).context("seccomp")?;
    SeccompRule::new(vec![condition]).context("seccomp")
}

const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Numbers of x32 are other names of the same calls, under the same architecture: none of them passes.
fn no_x32() -> [sock_filter; 3] {
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    [
        step(LOAD_WORD, 0, 0, 0),
        step(JUMP_IF_AT_LEAST, 0, 1, 0x4000_0000),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
    ]
}

/// Where the program allows, it goes on behind its end instead.
fn allowed_to_next(program: BpfProgram) -> Result<BpfProgram> {
    let length = u32::try_from(program.len())?;
    Ok((1..)
        .zip(program)
        .map(
            |(next, step)| match step.code == RETURN && step.k == libc::SECCOMP_RET_ALLOW {
                true => sock_filter {
                    code: JUMP,
                    jt: 0,
                    jf: 0,
                    k: length - next,
                },
                false => step,
            },
        )
        .collect())
}

fn bytes(step: &sock_filter) -> [u8; 8] {
    let [code_0, code_1] = step.code.to_ne_bytes();
    let [k_0, k_1, k_2, k_3] = step.k.to_ne_bytes();
    [code_0, code_1, step.jt, step.jf, k_0, k_1, k_2, k_3]
}
