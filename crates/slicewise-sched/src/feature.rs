//! The scheduler's feature switches, as `debugfs sched/features` has them.

use core::fmt;

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        /// One switch.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[expect(non_camel_case_types, reason = "the names are the kernel's, as users type them")]
        pub enum Feature { $($(#[$doc])* $name = $bit,)* }

        impl Feature {
            /// Every switch any profile knows.
            pub const ALL: &[Feature] = &[$(Feature::$name,)*];

            /// The name in `debugfs sched/features`.
            pub fn name(self) -> &'static str {
                match self { $(Feature::$name => stringify!($name),)* }
            }
        }
    };
}

features! {
    /// EEVDF: a task keeps its lag over sleep (fair.md C.9).
    PLACE_LAG = 0;
    /// EEVDF: a new task's first deadline is half a slice away (C.9).
    PLACE_DEADLINE_INITIAL = 1;
    /// EEVDF: a move keeps the distance to the deadline (C.11).
    PLACE_REL_DEADLINE = 2;
    /// EEVDF: a task that was picked runs on until its slice protection ends (C.8).
    RUN_TO_PARITY = 3;
    /// EEVDF: a waking task with a shorter slice may break slice protection (C.13).
    PREEMPT_SHORT = 4;
    /// Make the waking task the next buddy (B.6, C.13).
    NEXT_BUDDY = 5;
    /// EEVDF: honour the next buddy when picking (C.7).
    PICK_BUDDY = 6;
    /// EEVDF: a blocking task that owes service stays queued until it is eligible (C.10).
    DELAY_DEQUEUE = 7;
    /// EEVDF: lag won while delayed is dropped (C.10).
    DELAY_ZERO = 8;
    /// Waking tasks may preempt (B.6, C.13).
    WAKEUP_PREEMPTION = 9;
    /// Slices end by a high-resolution timer, not at the tick (C.15).
    HRTICK = 10;
    /// CFS: sleepers get half the latency as credit, not all of it (B.4).
    GENTLE_FAIR_SLEEPERS = 11;
    /// CFS: a new task starts a slice behind (B.4).
    START_DEBIT = 12;
    /// CFS: a preempted task is preferred when the preemptor is done (B.6).
    LAST_BUDDY = 13;
    /// CFS: the period counts all runnable tasks of the CPU (B.3).
    ALT_PERIOD = 14;
    /// CFS: a slice is never below the minimum granularity (B.3).
    BASE_SLICE = 15;
    /// No switch of any kernel, but what kernels before 5.4 did: runtime that a CPU of a group with
    /// a quota holds is lost at the end of the period, so that groups are throttled that use little.
    CFS_SLICE_EXPIRY = 16;
    /// The budget of a deadline task ends by a high-resolution timer, not at the tick (classes.md
    /// A.8).
    HRTICK_DL = 17;
    /// A wakeup looks at fewer CPUs for an idle one the busier they are (G.2).
    SIS_UTIL = 18;
    /// A wakeup compares the waker's CPU and the previous one by whether they idle (G.2).
    WA_IDLE = 19;
    /// A wakeup compares the waker's CPU and the previous one by load (G.2).
    WA_WEIGHT = 20;
    /// The comparison by load favours the waker's CPU by half of the imbalance that is allowed (G.2).
    WA_BIAS = 21;
    /// What a task may use is remembered while it sleeps (F.7).
    UTIL_EST = 22;
    /// CPUs about to idle look for work as often as they have found some lately (G.8).
    NI_RANDOM = 23;
}

/// A set of switches that are on, and of those the kernel has at all.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Features {
    on: u32,
    known: u32,
}

impl Features {
    pub(crate) const fn new(on: &[Feature], off: &[Feature]) -> Self {
        let mut features = Self { on: 0, known: 0 };
        let mut i = 0;
        while i < on.len() {
            features.on |= 1 << on[i] as u32;
            i += 1;
        }
        features.known = features.on;
        let mut i = 0;
        while i < off.len() {
            features.known |= 1 << off[i] as u32;
            i += 1;
        }
        features
    }

    /// Whether the switch is on. A switch the kernel does not have is off.
    #[inline]
    pub fn has(self, feature: Feature) -> bool {
        self.on >> feature as u32 & 1 == 1
    }

    /// Whether the kernel has this switch.
    #[inline]
    pub fn knows(self, feature: Feature) -> bool {
        self.known >> feature as u32 & 1 == 1
    }

    /// Flips one switch as `debugfs sched/features` would: `NAME` on, `NO_NAME` off.
    ///
    /// # Errors
    /// If this kernel has no such switch; the message lists those it has.
    pub fn set(&mut self, word: &str) -> Result<(), String> {
        let word = word.trim();
        let (name, on) = match word.strip_prefix("NO_") {
            Some(name) => (name, false),
            None => (word, true),
        };
        match Feature::ALL.iter().copied().find(|f| f.name() == name && self.knows(*f)) {
            Some(feature) => {
                self.on = self.on & !(1 << feature as u32) | u32::from(on) << feature as u32;
                Ok(())
            }
            None => Err(format!("`{word}` is no feature of this kernel; it has {self}")),
        }
    }
}

impl fmt::Display for Features {
    /// As `debugfs sched/features` prints them: `NAME` if on, `NO_NAME` if off.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for feature in Feature::ALL.iter().filter(|feature| self.knows(**feature)) {
            let no = if self.has(*feature) { "" } else { "NO_" };
            write!(f, "{separator}{no}{}", feature.name())?;
            separator = " ";
        }
        Ok(())
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Features({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_flip_like_debugfs_and_refuse_what_the_kernel_lacks() {
        let mut features = Features::new(&[Feature::PLACE_LAG], &[Feature::NEXT_BUDDY]);
        assert_eq!(features.to_string(), "PLACE_LAG NO_NEXT_BUDDY");
        features.set("NO_PLACE_LAG").unwrap();
        features.set("NEXT_BUDDY").unwrap();
        assert_eq!(features.to_string(), "NO_PLACE_LAG NEXT_BUDDY");
        assert!(features.set("START_DEBIT").is_err());
        assert!(features.set("place_lag").is_err());
    }
}
