//! Sets of CPUs, and the kernel's list format for them (`0,3,7-11`, `0-31:2/4`).

use core::fmt;

use crate::CpuId;

/// The highest number of CPUs a machine may have (the kernel's largest `NR_CPUS` on x86-64).
pub const CPUS_MAX: u32 = 8192;

/// A set of CPUs. A task that may run anywhere costs nothing; sets within CPUs 0 to 63 are inline.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum CpuSet {
    /// Every CPU there is, and every one that is added later.
    #[default]
    All,
    /// Bit `n` stands for CPU `n`.
    Inline(u64),
    /// Word `n / 64`, bit `n % 64` stands for CPU `n`.
    ///
    /// Twice apart: every task has a set, and few have one of these.
    Words(Box<Box<[u64]>>),
}

impl CpuSet {
    /// The set of exactly these CPUs.
    pub fn of(cpus: impl IntoIterator<Item = CpuId>) -> Self {
        let mut words: Vec<u64> = Vec::new();
        for cpu in cpus {
            let word = cpu.index() / 64;
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1 << (cpu.index() % 64);
        }
        Self::from_words(words)
    }

    /// The set with one CPU.
    pub fn one(cpu: CpuId) -> Self {
        Self::of([cpu])
    }

    fn from_words(mut words: Vec<u64>) -> Self {
        // Equal sets are equal values: no zeros at the end.
        words.truncate(words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1));
        match words.as_slice() {
            [] => Self::Inline(0),
            [word] => Self::Inline(*word),
            _ => Self::Words(Box::new(words.into_boxed_slice())),
        }
    }

    /// Whether `cpu` is in the set.
    #[inline]
    pub fn contains(&self, cpu: CpuId) -> bool {
        match self {
            Self::All => true,
            Self::Inline(word) => cpu.0 < 64 && word >> cpu.0 & 1 == 1,
            Self::Words(words) => {
                words.get(cpu.index() / 64).is_some_and(|word| word >> (cpu.index() % 64) & 1 == 1)
            }
        }
    }

    /// The 64 CPUs from `64 * word` on, as bits.
    #[inline]
    pub fn word(&self, word: usize) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::Inline(bits) => {
                if word == 0 {
                    *bits
                } else {
                    0
                }
            }
            Self::Words(words) => words.get(word).copied().unwrap_or(0),
        }
    }

    /// The CPUs `0` to `cpus - 1`, each by itself: what [`CpuSet::All`] is on such a machine.
    pub fn first(cpus: u32) -> Self {
        Self::of((0..cpus.min(CPUS_MAX)).map(CpuId))
    }

    /// Whether there is no CPU in the set.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::All => false,
            Self::Inline(word) => *word == 0,
            Self::Words(words) => words.iter().all(|word| *word == 0),
        }
    }

    /// The CPUs of the set, lowest first; of [`CpuSet::All`], all below [`CPUS_MAX`].
    pub fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        (0..self.nr_words()).flat_map(|at| {
            let mut bits = self.word(at);
            core::iter::from_fn(move || {
                let bit = bits.trailing_zeros();
                bits &= bits.wrapping_sub(1);
                (bit < 64).then(|| CpuId(at as u32 * 64 + bit))
            })
        })
    }

    /// CPUs that are in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, set) | (set, Self::All) => set.clone(),
            _ => self.combined(other, |one, other| one & other),
        }
    }

    /// CPUs that are in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            _ => self.combined(other, |one, other| one | other),
        }
    }

    /// CPUs that are in this set and not in `other`; [`CpuSet::All`] is taken for all below
    /// [`CPUS_MAX`].
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.combined(other, |one, other| one & !other)
    }

    /// Whether all its CPUs are in `other`.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::All) => true,
            (Self::All, _) => false,
            _ => (0..self.nr_words()).all(|word| self.word(word) & !other.word(word) == 0),
        }
    }

    /// Whether a CPU is in both.
    pub fn intersects(&self, other: &Self) -> bool {
        let words = self.nr_words().min(other.nr_words());
        (0..words).any(|word| self.word(word) & other.word(word) != 0)
    }

    fn nr_words(&self) -> usize {
        match self {
            Self::All => CPUS_MAX as usize / 64,
            Self::Inline(_) => 1,
            Self::Words(words) => words.len(),
        }
    }

    fn combined(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        if let (Self::Inline(one), Self::Inline(other)) = (self, other) {
            return Self::Inline(combine(*one, *other));
        }
        let words = 0..self.nr_words().max(other.nr_words());
        Self::from_words(words.map(|word| combine(self.word(word), other.word(word))).collect())
    }

    /// How many of the first `cpus` CPUs are in the set.
    pub fn count_within(&self, cpus: u32) -> u32 {
        let mut count = 0;
        for word in 0..cpus.div_ceil(64) {
            let left = cpus - word * 64;
            let mask = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
            count += (self.word(word as usize) & mask).count_ones();
        }
        count
    }

    /// The only CPU of the set below `cpus`, if there is just one.
    #[inline]
    pub(crate) fn only_within(&self, cpus: u32) -> Option<u32> {
        let mut found = None;
        for word in 0..cpus.div_ceil(64) {
            let left = cpus - word * 64;
            let mask = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
            let bits = self.word(word as usize) & mask;
            if bits != 0 {
                if found.is_some() || !bits.is_power_of_two() {
                    return None;
                }
                found = Some(word * 64 + bits.trailing_zeros());
            }
        }
        found
    }

    /// The lowest CPU of the set below `cpus`, if any.
    pub fn first_within(&self, cpus: u32) -> Option<CpuId> {
        (0..cpus.div_ceil(64)).find_map(|word| {
            let bits = self.word(word as usize);
            let cpu = word * 64 + bits.trailing_zeros();
            (bits != 0 && cpu < cpus).then_some(CpuId(cpu))
        })
    }

    /// Reads the kernel's list format: `0,3,7-11`, with optional strides `0-31:2` (every second)
    /// and `0-31:2/4` (two of every four).
    ///
    /// # Errors
    /// Says which part of the list is wrong and what is allowed.
    pub fn parse_list(list: &str) -> Result<Self, String> {
        let number = |text: &str| -> Result<u32, String> {
            let text = text.trim();
            match text.parse::<u32>() {
                Ok(n) if n < CPUS_MAX => Ok(n),
                Ok(n) => {
                    Err(format!("CPU {n} is beyond the highest possible CPU {}", CPUS_MAX - 1))
                }
                Err(_) => Err(format!("`{text}` is not a CPU number")),
            }
        };
        let mut cpus = Vec::new();
        for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (range, stride) = match part.split_once(':') {
                Some((range, stride)) => (range, Some(stride)),
                None => (part, None),
            };
            let (first, last) = match range.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(range)?, number(range)?),
            };
            if first > last {
                return Err(format!("the range `{range}` runs backwards"));
            }
            let (used, group) = match stride {
                None => (1, 1),
                Some(stride) => match stride.split_once('/') {
                    Some((used, group)) => (number(used)?, number(group)?),
                    None => (1, number(stride)?),
                },
            };
            if used == 0 || group == 0 || used > group {
                return Err(format!("the stride of `{part}` must be 1 or more"));
            }
            cpus.extend((first..=last).filter(|cpu| (cpu - first) % group < used).map(CpuId));
        }
        if cpus.is_empty() {
            return Err("the CPU list is empty".to_owned());
        }
        Ok(Self::of(cpus))
    }
}

impl fmt::Display for CpuSet {
    /// The kernel's list format; the set of all CPUs is written `all`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if matches!(self, Self::All) {
            return f.write_str("all");
        }
        let mut cpu = 0;
        let mut separator = "";
        while cpu < CPUS_MAX {
            if !self.contains(CpuId(cpu)) {
                cpu += 1;
                continue;
            }
            let first = cpu;
            while cpu + 1 < CPUS_MAX && self.contains(CpuId(cpu + 1)) {
                cpu += 1;
            }
            if first == cpu {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{cpu}")?;
            }
            separator = ",";
            cpu += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_the_kernel_reads_them_and_print_back() {
        for (list, printed) in [
            ("0", "0"),
            ("0,3,7-11", "0,3,7-11"),
            ("3,2,1,0", "0-3"),
            ("0-7:2", "0,2,4,6"),
            ("0-7:2/4", "0-1,4-5"),
            (" 1 , 70-72", "1,70-72"),
        ] {
            assert_eq!(CpuSet::parse_list(list).unwrap().to_string(), printed, "{list}");
        }
        for bad in ["", "a", "3-1", "0-", "99999", "0-3:0", "1--2"] {
            assert!(CpuSet::parse_list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sets_combine_as_sets_of_numbers_do() {
        let low = CpuSet::of([1, 3, 5].map(CpuId));
        let wide = CpuSet::of([3, 70, 130].map(CpuId));
        let list = |set: CpuSet| set.iter().map(|cpu| cpu.0).collect::<Vec<_>>();
        assert_eq!(list(low.and(&wide)), [3]);
        assert_eq!(low.and(&wide), CpuSet::one(CpuId(3)));
        assert_eq!(list(low.or(&wide)), [1, 3, 5, 70, 130]);
        assert_eq!(list(wide.minus(&low)), [70, 130]);
        assert_eq!(wide.minus(&wide), CpuSet::Inline(0));
        assert_eq!(low.or(&wide).minus(&wide), CpuSet::of([1, 5].map(CpuId)));
        assert!(low.and(&wide).is_subset_of(&low) && !low.is_subset_of(&wide));
        assert!(low.intersects(&wide) && !low.intersects(&CpuSet::one(CpuId(70))));
        assert!(CpuSet::Inline(0).is_empty() && CpuSet::Inline(0).is_subset_of(&low));
        assert_eq!(CpuSet::first(66).to_string(), "0-65");
    }

    #[test]
    fn the_set_of_all_cpus_is_a_set_like_others() {
        let some = CpuSet::of([2, 99].map(CpuId));
        assert_eq!(CpuSet::All.and(&some), some);
        assert_eq!(some.or(&CpuSet::All), CpuSet::All);
        assert_eq!(CpuSet::All.minus(&some).iter().count(), CPUS_MAX as usize - 2);
        assert!(some.minus(&CpuSet::All).is_empty() && some.is_subset_of(&CpuSet::All));
        assert!(!CpuSet::All.is_subset_of(&some) && CpuSet::All.intersects(&some));
    }

    #[test]
    fn counting_and_searching_stop_at_the_number_of_cpus() {
        let set = CpuSet::of([CpuId(3), CpuId(64), CpuId(130)]);
        assert_eq!(set.count_within(131), 3);
        assert_eq!(set.count_within(130), 2);
        assert_eq!(set.first_within(3), None);
        assert_eq!(set.first_within(4), Some(CpuId(3)));
        assert_eq!(CpuSet::All.count_within(100), 100);
    }
}
