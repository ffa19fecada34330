//! `struct sched_attr` as it lies in memory, and what the kernel reads of it for which `size`.

use crate::refusal::{Refusal, Rule};

/// The size of the structure when it was first published: the least a kernel takes.
pub const ATTR_SIZE_FIRST: u32 = 48;
/// The size kernels from 5.3 on know, with utilisation clamps.
pub const ATTR_SIZE: u32 = 56;
/// The most a kernel takes: a page.
pub const ATTR_SIZE_MAX: u32 = 4096;

/// `sched_flags` of `struct sched_attr`.
pub mod flags {
    /// Children start as `SCHED_OTHER`.
    pub const RESET_ON_FORK: u64 = 0x01;
    /// `SCHED_DEADLINE`: use what others have reserved and leave unused (GRUB).
    pub const RECLAIM: u64 = 0x02;
    /// `SCHED_DEADLINE`: SIGXCPU when the runtime is overrun.
    pub const DL_OVERRUN: u64 = 0x04;
    /// The policy stays what it is.
    pub const KEEP_POLICY: u64 = 0x08;
    /// The parameters stay what they are.
    pub const KEEP_PARAMS: u64 = 0x10;
    /// `sched_util_min` is meant.
    pub const UTIL_CLAMP_MIN: u64 = 0x20;
    /// `sched_util_max` is meant.
    pub const UTIL_CLAMP_MAX: u64 = 0x40;
    /// Either clamp.
    pub const UTIL_CLAMP: u64 = UTIL_CLAMP_MIN | UTIL_CLAMP_MAX;
    /// All that user space may set.
    pub const ALL: u64 = 0x7f;
    /// The kernel's own, for the threads that set CPU frequencies.
    pub const SUGOV: u64 = 0x1000_0000;
    /// Those a deadline task keeps.
    pub const DEADLINE: u64 = RECLAIM | DL_OVERRUN;
}

/// The fields of `struct sched_attr`, native byte order in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RawAttr {
    /// How many bytes the caller's structure has; 0 stands for 48.
    pub size: u32,
    /// The policy's number.
    pub policy: u32,
    /// See [`flags`].
    pub flags: u64,
    /// For `SCHED_OTHER` and `SCHED_BATCH`.
    pub nice: i32,
    /// For `SCHED_FIFO` and `SCHED_RR`.
    pub priority: u32,
    /// ns: of `SCHED_DEADLINE`, and from 6.12 on the slice of `SCHED_OTHER` and `SCHED_BATCH`.
    pub runtime: u64,
    /// ns.
    pub deadline: u64,
    /// ns; 0 stands for the deadline.
    pub period: u64,
    /// 0 to 1024; all bits set asks for the default.
    pub util_min: u32,
    /// 0 to 1024; all bits set asks for the default.
    pub util_max: u32,
}

impl RawAttr {
    /// The structure's 56 bytes.
    pub fn to_bytes(&self) -> [u8; ATTR_SIZE as usize] {
        let mut bytes = [0; ATTR_SIZE as usize];
        let fields: [(usize, &[u8]); 10] = [
            (0, &self.size.to_ne_bytes()),
            (4, &self.policy.to_ne_bytes()),
            (8, &self.flags.to_ne_bytes()),
            (16, &self.nice.to_ne_bytes()),
            (20, &self.priority.to_ne_bytes()),
            (24, &self.runtime.to_ne_bytes()),
            (32, &self.deadline.to_ne_bytes()),
            (40, &self.period.to_ne_bytes()),
            (48, &self.util_min.to_ne_bytes()),
            (52, &self.util_max.to_ne_bytes()),
        ];
        for (at, field) in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
        }
        bytes
    }

    /// The structure in the first bytes of `bytes`; what is missing is 0.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut whole = [0; ATTR_SIZE as usize];
        let known = bytes.len().min(whole.len());
        whole[..known].copy_from_slice(&bytes[..known]);
        let u32_at = |at: usize| u32::from_ne_bytes(std_array(&whole[at..at + 4]));
        let u64_at = |at: usize| u64::from_ne_bytes(std_array(&whole[at..at + 8]));
        Self {
            size: u32_at(0),
            policy: u32_at(4),
            flags: u64_at(8),
            nice: u32_at(16).cast_signed(),
            priority: u32_at(20),
            runtime: u64_at(24),
            deadline: u64_at(32),
            period: u64_at(40),
            util_min: u32_at(48),
            util_max: u32_at(52),
        }
    }

    /// What the kernel takes from memory of which `memory` may be read: everything beyond is not
    /// the caller's (classes.md A.9, rows 2 to 4).
    ///
    /// # Errors
    /// The rule of the size that is broken. For `E2BIG` the kernel writes its own size, 56, into
    /// the caller's `size`.
    pub(crate) fn read(memory: &[u8]) -> Result<Self, Refusal> {
        let fault = || {
            let detail = format!("only {} bytes from there on can be read", memory.len());
            Refusal::new(Rule::BadAddress, detail)
        };
        let Some(first) = memory.get(..4) else { return Err(fault()) };
        let size = match u32::from_ne_bytes(std_array(first)) {
            0 => ATTR_SIZE_FIRST,
            size => size,
        };
        if !(ATTR_SIZE_FIRST..=ATTR_SIZE_MAX).contains(&size) {
            let detail = format!("size is {size}, and 48 to 4096 are taken (0 stands for 48)");
            return Err(Refusal::new(Rule::AttrSize, detail).fact("size", size.into()));
        }
        if size > ATTR_SIZE {
            let readable = memory.len().min(size as usize);
            let beyond = memory.get(ATTR_SIZE as usize..readable).unwrap_or(&[]);
            if let Some(at) = beyond.iter().position(|byte| *byte != 0) {
                let offset = at as i128 + i128::from(ATTR_SIZE);
                let detail = format!("size is {size}, and byte {offset} is not 0");
                return Err(Refusal::new(Rule::AttrTail, detail).fact("offset", offset));
            }
        }
        let Some(bytes) = memory.get(..size as usize) else { return Err(fault()) };
        let attr = Self { size, ..Self::from_bytes(bytes) };
        if attr.flags & flags::UTIL_CLAMP != 0 && size < ATTR_SIZE {
            let detail = format!("size is {size}, and clamps begin at byte 48 of 56");
            return Err(Refusal::new(Rule::ClampNeedsSize, detail).fact("size", size.into()));
        }
        Ok(attr)
    }
}

/// The bytes of a slice whose length is known.
fn std_array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    let length = bytes.len().min(N);
    array[..length].copy_from_slice(&bytes[..length]);
    array
}
