//! The scheduling system calls as they are, for recording what a kernel says to arguments of all
//! kinds. An error is its number.

use std::io;

/// A pointer argument.
#[derive(Debug)]
pub enum Address<T> {
    /// NULL.
    Null,
    /// Nothing is mapped there.
    Bad,
    /// What it leads to.
    Of(T),
}

/// As much memory as any kernel reads or writes for one structure, and more.
pub const MEMORY_BYTES: usize = 8192;

/// Kernels take structures of up to a page.
const PAGE: u32 = 4096;

/// In the first page, which no program has.
const UNMAPPED: usize = 8;

type Outcome = Result<i64, i32>;

fn outcome(result: libc::c_long) -> Outcome {
    match result {
        -1 => Err(io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        number => Ok(number),
    }
}

impl<T> Address<&mut T> {
    fn raw(&mut self) -> *mut T {
        match self {
            Self::Null => std::ptr::null_mut(),
            Self::Bad => std::ptr::without_provenance_mut(UNMAPPED),
            Self::Of(value) => *value,
        }
    }
}

/// `sched_setattr`.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call without a safe wrapper")]
pub fn sched_setattr(pid: i32, mut attr: Address<&mut [u8; MEMORY_BYTES]>, flags: u32) -> Outcome {
    // SAFETY: the kernel reads at most a page from a pointer to more than a page, and writes at most
    // the first four bytes; other pointers lead nowhere, which it checks. It keeps none.
    outcome(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, attr.raw(), flags) })
}

/// `sched_getattr`.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call without a safe wrapper")]
pub fn sched_getattr(
    pid: i32,
    mut attr: Address<&mut [u8; MEMORY_BYTES]>,
    size: u32,
    flags: u32,
) -> Outcome {
    assert!(size as usize <= MEMORY_BYTES || size > PAGE, "the memory is too small");
    // SAFETY: as above; the kernel refuses sizes above a page, and writes at most `size` bytes.
    outcome(unsafe { libc::syscall(libc::SYS_sched_getattr, pid, attr.raw(), size, flags) })
}

/// `sched_setscheduler`.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call without a safe wrapper")]
pub fn sched_setscheduler(pid: i32, policy: i32, mut priority: Address<&mut i32>) -> Outcome {
    let param = priority.raw();
    // SAFETY: `struct sched_param` is one int; the kernel only reads it.
    outcome(unsafe { libc::syscall(libc::SYS_sched_setscheduler, pid, policy, param) })
}

/// `sched_getscheduler`.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call without a safe wrapper")]
pub fn sched_getscheduler(pid: i32) -> Outcome {
    // SAFETY: no pointers.
    outcome(unsafe { libc::syscall(libc::SYS_sched_getscheduler, pid) })
}

/// `sched_setparam`.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call without a safe wrapper")]
pub fn sched_setparam(pid: i32, mut priority: Address<&mut i32>) -> Outcome {
    // SAFETY: `struct sched_param` is one int; the kernel only reads it.
    outcome(unsafe { libc::syscall(libc::SYS_sched_setparam, pid, priority.raw()) })
}

/// `sched_getparam`.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call without a safe wrapper")]
pub fn sched_getparam(pid: i32, mut priority: Address<&mut i32>) -> Outcome {
    // SAFETY: `struct sched_param` is one int, which the kernel writes.
    outcome(unsafe { libc::syscall(libc::SYS_sched_getparam, pid, priority.raw()) })
}

/// `sched_setaffinity`; `None` is a bad pointer.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call with lengths of all kinds")]
pub fn sched_setaffinity(pid: i32, mask: Option<&[u8]>) -> Outcome {
    let (len, pointer) = match mask {
        Some(mask) => (mask.len(), mask.as_ptr()),
        None => (8, std::ptr::without_provenance(UNMAPPED)),
    };
    // SAFETY: the kernel reads at most `len` bytes.
    outcome(unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, len, pointer) })
}

/// `sched_getaffinity` with this length of the mask; returns how many bytes were written.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call with lengths of all kinds")]
pub fn sched_getaffinity(pid: i32, len: u32, mask: &mut [u8; MEMORY_BYTES]) -> Outcome {
    let len = (len as usize).min(MEMORY_BYTES);
    // SAFETY: the kernel writes at most `len` bytes, which are there.
    outcome(unsafe { libc::syscall(libc::SYS_sched_getaffinity, pid, len, mask.as_mut_ptr()) })
}

/// `setpriority`.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call as it is")]
pub fn setpriority(which: i32, who: i32, nice: i32) -> Outcome {
    // SAFETY: no pointers.
    outcome(unsafe { libc::syscall(libc::SYS_setpriority, which, who, nice) })
}

/// `getpriority` as the kernel returns it, 20 minus the nice value.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call as it is")]
pub fn getpriority(which: i32, who: i32) -> Outcome {
    // SAFETY: no pointers.
    outcome(unsafe { libc::syscall(libc::SYS_getpriority, which, who) })
}

/// `sched_get_priority_max`.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call as it is")]
pub fn sched_get_priority_max(policy: i32) -> Outcome {
    // SAFETY: no pointers.
    outcome(unsafe { libc::syscall(libc::SYS_sched_get_priority_max, policy) })
}

/// `sched_get_priority_min`.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call as it is")]
pub fn sched_get_priority_min(policy: i32) -> Outcome {
    // SAFETY: no pointers.
    outcome(unsafe { libc::syscall(libc::SYS_sched_get_priority_min, policy) })
}

/// `sched_rr_get_interval`: seconds and nanoseconds are written.
///
/// # Errors
/// The error's number.
#[allow(unsafe_code, reason = "a system call as it is")]
pub fn sched_rr_get_interval(pid: i32, mut interval: Address<&mut [i64; 2]>) -> Outcome {
    // SAFETY: on 64-bit machines `struct timespec` is two 64-bit numbers, which the kernel writes.
    outcome(unsafe { libc::syscall(libc::SYS_sched_rr_get_interval, pid, interval.raw()) })
}

/// The calling process, which has one thread, becomes another user. With `keep`, it keeps the
/// capabilities it could use.
///
/// # Errors
/// What the kernel says.
#[allow(unsafe_code, reason = "system calls as they are")]
pub fn become_user(uid: u32, euid: u32, keep: bool) -> io::Result<()> {
    // SAFETY: numbers only; the C library's call is for all threads, of which there is one.
    let result = unsafe {
        if keep && libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::setresuid(uid, euid, euid)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The calling process is not ended by `SIGXCPU`, which deadline tasks get that have asked for it.
#[allow(unsafe_code, reason = "a system call without a safe wrapper")]
pub fn ignore_overruns() {
    // SAFETY: no handler is installed, so none can be unsound.
    unsafe { libc::signal(libc::SIGXCPU, libc::SIG_IGN) };
}

/// Sets `RLIMIT_RTPRIO` and `RLIMIT_NICE` of the calling process, soft and hard.
///
/// # Errors
/// What the kernel says.
#[allow(unsafe_code, reason = "system calls as they are")]
pub fn limit(rtprio: u64, nice: u64) -> io::Result<()> {
    for (resource, value) in [(libc::RLIMIT_RTPRIO, rtprio), (libc::RLIMIT_NICE, nice)] {
        let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        // SAFETY: the structure lives, and the kernel only reads it.
        if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
