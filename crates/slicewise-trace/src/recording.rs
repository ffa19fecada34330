//! Slicewise's own trace files (`.swtrace`): the event stream as it is, small and fast to write.
//!
//! # The format, version 4
//!
//! | what | bytes |
//! |---|---|
//! | the text `slicewise trace`, a NUL | 16 |
//! | version, little-endian | 4 |
//! | blocks: length and CRC-32 of what follows, little-endian, then so many bytes of records | 8 + length |
//!
//! A record is a row of numbers in LEB128 (seven bits a byte, the lowest first). The first number is
//! 16 times the ns since the record before, plus the kind:
//!
//! | kind | numbers |
//! |---|---|
//! | 0 names | how many devices, and of each name the length and the bytes; only at the beginning |
//! | 1 task | slot, pid, template + 1 or 0, policy, priority, nice + 20, flags (1: resets on fork, 2: own slice, 4: in a group), slice in ns, the group if it is in one, length of the name, its bytes |
//! | 2 wakeup | slot, 2 × CPU + (1: new), slot of the waker + 1 or 0 |
//! | 3 switch | 8 × CPU + how the task left, slot that left + 1 or 0 (idle), slot that came + 1 or 0 |
//! | 4 migration | slot, from, to |
//! | 5 attributes changed | slot; a task record comes before |
//! | 6 exit | slot |
//! | 7 response | slot, ns |
//! | 8 device | 2 × device + (1: busy) |
//! | 9 end | none; nothing follows |
//! | 10 time | ns to add to the time, for gaps of 2^59 ns and more; no event |
//! | 11 group | parent + 1 or 0 (the root), length of the path, its bytes; groups are numbered in this order, from 0 |
//! | 12 throttle | group, 2 × CPU + (1: stops) |
//! | 13 limit | 0: budget of a deadline task, slot, 2 × CPU + (1: stops); 1: real-time throttling, 2 × CPU + (1: stops); 2: signal, 2 × slot + (1: kills); 3: real-time throttling of a group, group, 2 × CPU + (1: stops) |
//!
//! After the group, task records of `SCHED_DEADLINE` have runtime, deadline and period in ns and flags
//! (1: reclaims, 2: wants a signal when it overruns). Version 1 had no groups, version 2 no deadline
//! tasks and no limits; both were the same otherwise and are still read. There is no version 3, which
//! one flipped bit would turn into 2.
//!
//! Policies are 0 `SCHED_OTHER`, 1 `SCHED_BATCH`, 2 `SCHED_IDLE`, 3 `SCHED_FIFO`, 4 `SCHED_RR`,
//! 5 stop, 6 `SCHED_DEADLINE`. How a task left: 0 preempted, 1 yielded, 2 blocked, 3 exited, 4 idle.
//!
//! [`Event::Values`](crate::Event::Values) and [`Event::Loop`](crate::Event::Loop) are not written:
//! the fingerprint of a stream leaves them out too, so a file that is read back has the fingerprint
//! of the run that wrote it.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{RecordingError, RecordingFault, RecordingReader};
pub use writer::RecordingWriter;

/// How every recording begins.
pub const MAGIC: &[u8; 16] = b"slicewise trace\0";
const VERSION: u32 = 4;
/// The versions that are read.
const VERSIONS: [u32; 3] = [1, 2, VERSION];
/// Blocks are written when they reach this length.
const BLOCK_BYTES: usize = 64 << 10;
/// The longest block a reader takes; a record with many or long names may be longer than others.
const BLOCK_BYTES_MAX: u32 = 16 << 20;
/// The longest name written or read.
const NAME_BYTES_MAX: usize = 4096;
/// The most slots below those of tasks that no task ever has: groups have slots of their own.
const EMPTY_SLOTS_MAX: usize = 1 << 20;

mod kind {
    pub(super) const NAMES: u64 = 0;
    pub(super) const TASK: u64 = 1;
    pub(super) const WAKEUP: u64 = 2;
    pub(super) const SWITCH: u64 = 3;
    pub(super) const MIGRATE: u64 = 4;
    pub(super) const CHANGED: u64 = 5;
    pub(super) const EXIT: u64 = 6;
    pub(super) const RESPONSE: u64 = 7;
    pub(super) const DEVICE: u64 = 8;
    pub(super) const END: u64 = 9;
    pub(super) const TIME: u64 = 10;
    pub(super) const GROUP: u64 = 11;
    pub(super) const THROTTLE: u64 = 12;
    pub(super) const LIMIT: u64 = 13;
}
