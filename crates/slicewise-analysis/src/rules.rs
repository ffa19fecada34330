//! What counts as a delay.

/// What counts as a delay. `perf` has changed its mind; its old mind is kept to compare with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rules {
    /// All that is one: from any wakeup (`sched_waking`, where it was recorded, else `sched_wakeup`), and from
    /// when a task is taken off its CPU though it could go on, in a program or inside the kernel (`R+`).
    #[default]
    All,
    /// As `perf` 6.1 counts. Its `latency` does not look at `sched_waking`, though its `record` takes that in
    /// place of `sched_wakeup`, and takes `R+` for sleep. Its `timehist` begins no delay when a task is taken
    /// off its CPU, and has the state letters of kernels before 4.14.
    Perf6_1,
}

impl Rules {
    /// The letter of how a task left its CPU.
    pub(crate) fn letter(self, letter: u8, preempted_in_kernel: bool) -> u8 {
        match (self, letter) {
            (Self::All, letter) => letter,
            (Self::Perf6_1, b'R') if preempted_in_kernel => b'W',
            (Self::Perf6_1, b'X') => b'Z',
            (Self::Perf6_1, b'Z') => b'X',
            (Self::Perf6_1, b'P') => b'x',
            (Self::Perf6_1, b'I') => b'K',
            (Self::Perf6_1, letter) => letter,
        }
    }
}
