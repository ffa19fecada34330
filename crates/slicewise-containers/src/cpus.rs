//! Sets of CPUs in the format of `cpuset.cpus`: `0-3,8`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diagnostic::shorten;

/// No Linux machine has more CPUs.
pub const CPUS_MAX: u32 = 8192;

/// CPUs by number. A copy costs nothing: thousands of containers share one list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CpuList {
    cpus: Arc<BTreeSet<u32>>,
}

impl CpuList {
    /// CPUs 0 to `count - 1`.
    pub fn first(count: u32) -> Self {
        (0..count.min(CPUS_MAX)).collect()
    }

    /// Reads `0-3,8`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        const TEXT_BYTES_MAX: usize = 4096;
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("the list is longer than {TEXT_BYTES_MAX} bytes"));
        }
        let mut cpus = BTreeSet::new();
        for part in text.split(',') {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high) = (number(low)?, number(high)?);
            if low > high {
                return Err(format!("the range `{}` runs backwards", shorten(part.trim())));
            }
            cpus.extend(low..=high);
        }
        Ok(Self { cpus: Arc::new(cpus) })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.cpus.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cpus.is_empty()
    }

    /// Whether this one is among them.
    pub fn contains(&self, cpu: u32) -> bool {
        self.cpus.contains(&cpu)
    }

    /// From the lowest to the highest.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.cpus.iter().copied()
    }

    /// The highest.
    pub fn last(&self) -> Option<u32> {
        self.cpus.last().copied()
    }

    /// Those that are in one of the two.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        self.cpus.union(&other.cpus).copied().collect()
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.cpus.difference(&other.cpus).copied().collect()
    }
}

fn number(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(cpu) if digits && cpu < CPUS_MAX => Ok(cpu),
        _ if digits => {
            Err(format!("there is no CPU {}: the highest is {}", shorten(text), CPUS_MAX - 1))
        }
        _ if text.is_empty() => Err("a CPU number is missing".to_owned()),
        _ => Err(format!("`{}` is no CPU number", shorten(text))),
    }
}

impl FromIterator<u32> for CpuList {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        let cpus = cpus.into_iter().filter(|cpu| *cpu < CPUS_MAX).collect();
        Self { cpus: Arc::new(cpus) }
    }
}

impl std::fmt::Display for CpuList {
    /// The kernel's list format.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.iter().peekable();
        let mut comma = "";
        while let Some(low) = rest.next() {
            let mut high = low;
            while rest.peek() == Some(&(high + 1)) {
                high += 1;
                rest.next();
            }
            match high - low {
                0 => write!(f, "{comma}{low}")?,
                _ => write!(f, "{comma}{low}-{high}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_is_read_and_shown_as_the_kernel_does() {
        for (text, shown) in
            [("0", "0"), ("3,0-1", "0-1,3"), ("0-0", "0"), (" 2 - 3 ", "2-3"), ("1,2", "1-2")]
        {
            assert_eq!(CpuList::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for (text, problem) in [
            ("", "number is missing"),
            ("0,", "number is missing"),
            ("3-1", "backwards"),
            ("8192", "there is no CPU 8192"),
            ("99999999999999999999", "there is no CPU"),
            ("a", "`a` is no CPU number"),
            ("-1", "number is missing"),
            ("+1", "no CPU number"),
        ] {
            let error = CpuList::parse(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        assert!(CpuList::parse(&"0,".repeat(1 << 20)).unwrap_err().contains("4096 bytes"));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(cpus in proptest::collection::btree_set(0_u32..CPUS_MAX, 1..40)) {
            let list: CpuList = cpus.into_iter().collect();
            prop_assert_eq!(CpuList::parse(&list.to_string()), Ok(list));
        }
    }
}
