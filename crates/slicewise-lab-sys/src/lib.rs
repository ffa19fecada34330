//! What the lab needs of the system and no safe crate offers: `sched_setattr` for the calling thread
//! (fair tasks with a slice, deadline tasks), mutexes with priority inheritance, and [`calls`] for
//! recording what kernels refuse.

pub mod calls;
mod mutex;

use std::io;

pub use mutex::PiMutex;

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
    /// `SCHED_OTHER` 0, `SCHED_FIFO` 1, `SCHED_RR` 2, `SCHED_BATCH` 3, `SCHED_IDLE` 5,
    /// `SCHED_DEADLINE` 6.
    pub policy: u32,
    /// −20 to 19, for fair policies.
    pub nice: i32,
    /// 1 to 99 for real-time policies, otherwise 0.
    pub priority: u32,
    /// A slice of its own, ns (kernels from 6.12); 0 for the base slice.
    pub slice_ns: u64,
    /// Children start as `SCHED_OTHER`.
    pub reset_on_fork: bool,
    /// What `SCHED_DEADLINE` (6) takes.
    pub deadline: Option<Deadline>,
}

/// The parameters of a deadline thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadline {
    /// Budget of a period, ns.
    pub runtime_ns: u64,
    /// By when after a release, ns.
    pub deadline_ns: u64,
    /// Period, ns; 0 takes the deadline.
    pub period_ns: u64,
    /// It may use what others leave (`SCHED_FLAG_RECLAIM`).
    pub reclaim: bool,
    /// `SIGXCPU` after an overrun (`SCHED_FLAG_DL_OVERRUN`).
    pub overrun_signal: bool,
}

const RESET_ON_FORK: u64 = 0x01;
const RECLAIM: u64 = 0x02;
const DL_OVERRUN: u64 = 0x04;

impl ThreadAttr {
    fn raw(self) -> RawAttr {
        let mut raw = RawAttr {
            size: SIZE as u32,
            policy: self.policy,
            flags: if self.reset_on_fork { RESET_ON_FORK } else { 0 },
            nice: self.nice,
            priority: self.priority,
            runtime_ns: self.slice_ns,
            ..RawAttr::default()
        };
        if let Some(deadline) = self.deadline {
            raw.runtime_ns = deadline.runtime_ns;
            raw.deadline_ns = deadline.deadline_ns;
            raw.period_ns = deadline.period_ns;
            raw.flags |= if deadline.reclaim { RECLAIM } else { 0 };
            raw.flags |= if deadline.overrun_signal { DL_OVERRUN } else { 0 };
        }
        raw
    }
}

/// This process takes no notice of `SIGXCPU`, which would end it.
#[allow(unsafe_code, reason = "the libraries at hand have no safe wrapper for it")]
pub fn ignore_sigxcpu() {
    // SAFETY: no handler of ours runs; the call has no other precondition and cannot fail for this
    // signal.
    unsafe {
        libc::signal(libc::SIGXCPU, libc::SIG_IGN);
    }
}

/// Sets the attributes of the calling thread.
///
/// # Errors
/// Whatever the kernel says, such as `EPERM` without `CAP_SYS_NICE`.
#[allow(unsafe_code, reason = "a system call without a safe wrapper")]
pub fn set_own_attr(attr: ThreadAttr) -> io::Result<()> {
    let own_thread: libc::pid_t = 0;
    // SAFETY: the kernel reads `size` bytes from a live, initialised, repr(C) value of just that
    // size, keeps no pointer, and writes at most `size` back, within the same value's first field
    // (on E2BIG), which is why the pointer comes from a mutable binding.
    let result = unsafe {
        let mut raw = attr.raw();
        libc::syscall(libc::SYS_sched_setattr, own_thread, &raw mut raw, 0_u32)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::{Deadline, ThreadAttr, set_own_attr};

    const PLAIN: ThreadAttr = ThreadAttr {
        policy: 0,
        nice: 0,
        priority: 0,
        slice_ns: 0,
        reset_on_fork: false,
        deadline: None,
    };

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

    #[test]
    fn a_budget_longer_than_its_deadline_is_refused() {
        let deadline = Deadline {
            runtime_ns: 2_000_000,
            deadline_ns: 1_000_000,
            period_ns: 0,
            reclaim: true,
            overrun_signal: true,
        };
        let refused = in_thread(ThreadAttr { policy: 6, deadline: Some(deadline), ..PLAIN });
        assert_eq!(refused, Err(Some(libc::EINVAL)));
    }
}
