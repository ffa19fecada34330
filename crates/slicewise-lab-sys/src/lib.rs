//! System calls without a safe wrapper: `sched_setattr` for the calling thread (no crate offers it for
//! fair tasks with a slice), and [`calls`] for recording what kernels refuse.

pub mod calls;

use std::io;

/// The attributes as the kernel takes them, in its first published size, 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RawAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

const SIZE: usize = size_of::<RawAttr>();
const _: () = assert!(SIZE == 48, "the kernel calls this SCHED_ATTR_SIZE_VER0");

/// What a thread asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadAttr {
    /// `SCHED_OTHER` 0, `SCHED_FIFO` 1, `SCHED_RR` 2, `SCHED_BATCH` 3, `SCHED_IDLE` 5.
    pub policy: u32,
    /// −20 to 19, for fair policies.
    pub nice: i32,
    /// 1 to 99 for real-time policies, otherwise 0.
    pub priority: u32,
    /// A slice of its own, ns (kernels from 6.12); 0 for the base slice.
    pub slice_ns: u64,
    /// Children start as `SCHED_OTHER`.
    pub reset_on_fork: bool,
}

/// Sets the attributes of the calling thread.
///
/// # Errors
/// Whatever the kernel says, such as `EPERM` without `CAP_SYS_NICE`.
#[allow(unsafe_code, reason = "a system call without a safe wrapper")]
pub fn set_own_attr(attr: ThreadAttr) -> io::Result<()> {
    let raw = RawAttr {
        size: SIZE as u32,
        policy: attr.policy,
        flags: u64::from(attr.reset_on_fork),
        nice: attr.nice,
        priority: attr.priority,
        runtime_ns: attr.slice_ns,
        ..RawAttr::default()
    };
    let own_thread: libc::pid_t = 0;
    // SAFETY: the kernel reads `size` bytes from a live, initialised, repr(C) value of just that
    // size, keeps no pointer, and writes at most `size` back, within the same value's first field
    // (on E2BIG), which is why the pointer comes from a mutable binding.
    let result = unsafe {
        let mut raw = raw;
        libc::syscall(libc::SYS_sched_setattr, own_thread, &raw mut raw, 0_u32)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::{ThreadAttr, set_own_attr};

    const PLAIN: ThreadAttr =
        ThreadAttr { policy: 0, nice: 0, priority: 0, slice_ns: 0, reset_on_fork: false };

    /// In a thread of its own: what it sets stays there.
    fn in_thread(attr: ThreadAttr) -> Result<(), Option<i32>> {
        let set = move || set_own_attr(attr).map_err(|error| error.raw_os_error());
        std::thread::spawn(set).join().expect("no panic")
    }

    #[test]
    fn a_thread_may_be_nicer() {
        assert_eq!(in_thread(ThreadAttr { nice: 1, ..PLAIN }), Ok(()));
    }

    #[test]
    fn what_no_kernel_knows_is_refused() {
        let refused = in_thread(ThreadAttr { policy: 99, ..PLAIN });
        assert_eq!(refused, Err(Some(libc::EINVAL)));
    }
}
