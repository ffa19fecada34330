//! Lists of CPUs and memory nodes as the kernel reads them: `0-3,8`, `0-31:2/4`, `0-N`, `all`.

use core::fmt;

use slicewise_sched::{CPUS_MAX, CpuId, CpuSet};

use crate::Errno;
use crate::number::is_space;

/// What is wrong with a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListProblem {
    /// A number is expected here, or `N`, or `all`.
    NoNumber,
    /// More than 32 bits.
    NumberTooLarge,
    /// Something else than a comma or a space after a range.
    AfterRange,
    /// A stride that is not `:USED/GROUP`.
    Stride,
    /// The first is above the last.
    Backwards(u32, u32),
    /// None of a group is used, or more than all.
    Group(u32, u32),
    /// Beyond the last there may be.
    TooHigh(u32, u32),
}

/// A list that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListError {
    /// What the kernel says to it.
    pub errno: Errno,
    /// Where, in bytes from 0.
    pub at: usize,
    /// What is wrong.
    pub problem: ListProblem,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.at + 1, self.problem)
    }
}

impl fmt::Display for ListProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoNumber => {
                f.write_str("a number is missing: a list is as in `0-3,8`, and `N` is the last")
            }
            Self::NumberTooLarge => f.write_str("the number has more than 32 bits"),
            Self::AfterRange => f.write_str("a comma or the end must follow: `0-3,8`"),
            Self::Stride => {
                f.write_str("a stride is `:USED/GROUP`: `0-7:1/2` is every second of them")
            }
            Self::Backwards(first, last) => {
                write!(f, "the range {first}-{last} runs backwards: write {last}-{first}")
            }
            Self::Group(used, group) => {
                write!(f, "{used} of each {group} cannot be: at least 1, at most the group")
            }
            Self::TooHigh(number, size) => {
                write!(f, "{number} is too high: the last is {}", size.saturating_sub(1))
            }
        }
    }
}

impl core::error::Error for ListError {}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    size: u32,
}

fn is_gap(byte: u8) -> bool {
    byte == b',' || is_space(byte)
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied().filter(|byte| *byte != 0)
    }

    fn error(&self, at: usize, problem: ListProblem) -> ListError {
        let errno = match problem {
            ListProblem::NumberTooLarge => Errno::EOVERFLOW,
            ListProblem::TooHigh(..) => Errno::ERANGE,
            _ => Errno::EINVAL,
        };
        ListError { errno, at, problem }
    }

    fn number(&mut self) -> Result<u32, ListError> {
        if self.peek() == Some(b'N') {
            self.at += 1;
            return Ok(self.size.saturating_sub(1));
        }
        let start = self.at;
        let mut number = 0_u64;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            number = number * 10 + u64::from(digit - b'0');
            if number > u64::from(u32::MAX) {
                return Err(self.error(start, ListProblem::NumberTooLarge));
            }
            self.at += 1;
        }
        if self.at == start {
            return Err(self.error(start, ListProblem::NoNumber));
        }
        Ok(number as u32)
    }

    /// `0-7`, `all` and the like: first and last.
    fn range(&mut self) -> Result<(u32, u32), ListError> {
        let word = self.text.get(self.at..self.at + 3);
        if word.is_some_and(|word| word.eq_ignore_ascii_case(b"all")) {
            self.at += 3;
            return Ok((0, self.size.saturating_sub(1)));
        }
        let first = self.number()?;
        if self.peek() != Some(b'-') {
            return Ok((first, first));
        }
        self.at += 1;
        Ok((first, self.number()?))
    }

    fn region(&mut self) -> Result<impl Iterator<Item = CpuId> + use<>, ListError> {
        let start = self.at;
        let (first, last) = self.range()?;
        let (mut used, mut group) = (1, 1);
        if self.peek() == Some(b':') {
            self.at += 1;
            used = self.number()?;
            if self.peek() != Some(b'/') {
                return Err(self.error(self.at, ListProblem::Stride));
            }
            self.at += 1;
            group = self.number()?;
        }
        if self.peek().is_some_and(|byte| !is_gap(byte)) {
            return Err(self.error(self.at, ListProblem::AfterRange));
        }
        if first > last {
            return Err(self.error(start, ListProblem::Backwards(first, last)));
        }
        if group == 0 || used == 0 || used > group {
            return Err(self.error(start, ListProblem::Group(used, group)));
        }
        if last >= self.size {
            return Err(self.error(start, ListProblem::TooHigh(last, self.size)));
        }
        Ok((first..=last).filter(move |cpu| (cpu - first) % group < used).map(CpuId))
    }
}

/// The numbers below `size` that a list names; none if it is empty.
///
/// # Errors
/// As the kernel refuses it: `EINVAL`, `ERANGE`, `EOVERFLOW`.
pub fn parse_list(text: &[u8], size: u32) -> Result<CpuSet, ListError> {
    let mut reader = Reader { text, at: 0, size: size.min(CPUS_MAX) };
    let mut set = CpuSet::Inline(0);
    loop {
        while reader.peek().is_some_and(is_gap) {
            reader.at += 1;
        }
        if reader.peek().is_none() {
            return Ok(set);
        }
        set = set.or(&CpuSet::of(reader.region()?));
    }
}
