//! Sets of the CPUs of one machine, a bit each: what domains and groups are made of.

use crate::{CpuId, CpuSet};

/// CPUs, all below a number that is known.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct CpuMask {
    words: Box<[u64]>,
}

impl CpuMask {
    /// No CPU of a machine with so many.
    pub fn none(cpus: u32) -> Self {
        Self { words: vec![0; cpus.div_ceil(64) as usize].into_boxed_slice() }
    }

    /// All of them.
    pub fn all(cpus: u32) -> Self {
        let mut mask = Self::none(cpus);
        (0..cpus).for_each(|cpu| mask.insert(cpu));
        mask
    }

    /// Those of a set that the machine has.
    pub fn of_set(set: &CpuSet, cpus: u32) -> Self {
        let mut mask = Self::none(cpus);
        (0..cpus).filter(|cpu| set.contains(CpuId(*cpu))).for_each(|cpu| mask.insert(cpu));
        mask
    }

    #[inline]
    pub(crate) fn insert(&mut self, cpu: u32) {
        if let Some(word) = self.words.get_mut((cpu / 64) as usize) {
            *word |= 1 << (cpu % 64);
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, cpu: u32) {
        if let Some(word) = self.words.get_mut((cpu / 64) as usize) {
            *word &= !(1 << (cpu % 64));
        }
    }

    /// Whether the CPU is in the set.
    #[inline]
    pub fn contains(&self, cpu: u32) -> bool {
        self.words.get((cpu / 64) as usize).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }

    /// Bits of 64 CPUs.
    #[inline]
    pub(crate) fn word(&self, word: usize) -> u64 {
        self.words.get(word).copied().unwrap_or(0)
    }

    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.words.copy_from_slice(&other.words);
    }

    /// Adds all of another.
    pub(crate) fn join(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, more)| *word |= more);
    }

    /// Removes all of another.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, less)| *word &= !less);
    }

    /// Whether another has all of these.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).all(|(word, other)| word & !other == 0)
    }

    /// How many.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The lowest.
    pub fn first(&self) -> Option<u32> {
        let word = self.words.iter().position(|word| *word != 0)?;
        Some(word as u32 * 64 + self.words[word].trailing_zeros())
    }

    /// All, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut bits = *word;
            core::iter::from_fn(move || {
                let bit = bits.trailing_zeros();
                bits &= bits.wrapping_sub(1);
                (bit < 64).then_some(at as u32 * 64 + bit)
            })
        })
    }

    /// All, from `from` on and round.
    #[inline]
    pub(crate) fn iter_from(&self, from: u32) -> IterFrom<'_> {
        let from = if (from / 64) as usize >= self.words.len() { 0 } else { from };
        let word = (from / 64) as usize;
        let bits = self.word(word) & u64::MAX << (from % 64);
        IterFrom { words: &self.words, from, word, bits, left: self.words.len() }
    }
}

/// See [`CpuMask::iter_from`].
#[derive(Clone, Debug)]
pub(crate) struct IterFrom<'m> {
    words: &'m [u64],
    from: u32,
    /// The word `bits` are left of.
    word: usize,
    bits: u64,
    /// Words to come; the first comes twice.
    left: usize,
}

impl Iterator for IterFrom<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while self.bits == 0 {
            self.left = self.left.checked_sub(1)?;
            self.word = if self.word + 1 < self.words.len() { self.word + 1 } else { 0 };
            self.bits = *self.words.get(self.word)?;
            if self.left == 0 {
                self.bits &= !(u64::MAX << (self.from % 64));
            }
        }
        let bit = self.bits.trailing_zeros();
        self.bits &= self.bits - 1;
        Some(self.word as u32 * 64 + bit)
    }
}

impl Extend<u32> for CpuMask {
    /// Adds CPUs the machine has; others are left out.
    fn extend<I: IntoIterator<Item = u32>>(&mut self, cpus: I) {
        cpus.into_iter().for_each(|cpu| self.insert(cpu));
    }
}

impl FromIterator<u32> for CpuMask {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        let cpus: Vec<u32> = cpus.into_iter().collect();
        let mut mask = Self::none(cpus.iter().max().map_or(0, |last| last + 1));
        cpus.into_iter().for_each(|cpu| mask.insert(cpu));
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_round_meets_every_cpu_once() {
        let mut mask = CpuMask::none(130);
        [0, 3, 63, 64, 129].into_iter().for_each(|cpu| mask.insert(cpu));
        let from = |from| mask.iter_from(from).collect::<Vec<_>>();
        assert_eq!(from(0), [0, 3, 63, 64, 129]);
        assert_eq!(from(4), [63, 64, 129, 0, 3]);
        assert_eq!(from(130), [0, 3, 63, 64, 129]);
        assert_eq!(from(64), [64, 129, 0, 3, 63]);
        assert_eq!(from(1000), [0, 3, 63, 64, 129]);
        let small = CpuMask::all(4);
        assert_eq!(small.iter_from(4).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(small.iter_from(2).collect::<Vec<_>>(), [2, 3, 0, 1]);
        assert_eq!(CpuMask::default().iter_from(0).next(), None);
    }
}
