//! Boot parameters that set CPUs apart: `isolcpus=`, `nohz_full=`, `maxcpus=`.

use core::fmt;

use slicewise_sched::{CpuId, CpuSet};

use super::{ListError, NONE, parse_list};
use crate::number;

/// What a kernel's command line says about its CPUs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Boot {
    /// In no scheduling domain: `isolcpus=` with the flag `domain`, or without flags.
    pub isolated_domain: CpuSet,
    /// Without a tick while at most one task is runnable: `nohz_full=`, or `isolcpus=nohz,`.
    pub nohz_full: CpuSet,
    /// Without managed interrupts as far as possible: `isolcpus=managed_irq,`.
    pub managed_irq: CpuSet,
    /// So many CPUs are brought up at boot: `maxcpus=`.
    pub online_max: Option<u32>,
}

impl Default for Boot {
    fn default() -> Self {
        Self::none()
    }
}

/// What is wrong with a parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BootProblem {
    /// The list; where in it is part of the place.
    List(ListError),
    /// No CPUs are said.
    NoCpus,
    /// Not a flag of `isolcpus=`.
    Flag(String),
    /// No CPU would be left for the rest of the system.
    NothingLeft,
    /// `nohz_full=` and `isolcpus=nohz,` say different CPUs.
    Differs,
    /// Not a number.
    NotANumber,
}

/// A parameter that the kernel would not take, or only in part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootError {
    /// `isolcpus`, `nohz_full` or `maxcpus`.
    pub parameter: &'static str,
    /// Where in the text that was read, bytes from 0.
    pub at: usize,
    /// What is wrong.
    pub problem: BootProblem,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}: ", self.at + 1, self.parameter)?;
        match &self.problem {
            // The place is said already.
            BootProblem::List(error) => write!(f, "{}", error.problem),
            BootProblem::NoCpus => f.write_str("no CPUs: a list is as in `2-7`"),
            BootProblem::Flag(flag) => {
                write!(
                    f,
                    "`{flag}` is no flag: `nohz`, `domain` and `managed_irq` are, before the list"
                )
            }
            BootProblem::NothingLeft => {
                f.write_str("a CPU must be left for everything else: take one out")
            }
            BootProblem::Differs => f.write_str(
                "not the CPUs of the other parameter that stops their tick: say the same",
            ),
            BootProblem::NotANumber => f.write_str("not a number of CPUs"),
        }
    }
}

impl core::error::Error for BootError {}

/// A parameter's name, its value and where that begins.
type Parameter<'t> = (&'t str, &'t str, usize);

fn parameters(line: &str) -> impl Iterator<Item = Parameter<'_>> {
    let mut at = 0;
    line.split(' ').filter_map(move |word| {
        let begin = at;
        at += word.len() + 1;
        let (name, value) = word.split_once('=')?;
        Some((name, value, begin + name.len() + 1))
    })
}

impl Boot {
    /// Nothing is set apart.
    pub fn none() -> Self {
        Self { isolated_domain: NONE, nohz_full: NONE, managed_irq: NONE, online_max: None }
    }

    /// Reads a command line for a machine of so many CPUs. Other parameters are left alone; of the
    /// same parameter said twice, the first counts, as in a kernel.
    ///
    /// # Errors
    /// All that is wrong, in the order of the text.
    pub fn parse(line: &str, cpus: u32) -> Result<Self, Vec<BootError>> {
        let (mut boot, mut errors) = (Self::none(), Vec::new());
        let mut seen: Vec<&str> = Vec::new();
        for (name, value, at) in parameters(line) {
            if seen.contains(&name) {
                continue;
            }
            let read = match name {
                "isolcpus" => boot.isolcpus(value, cpus),
                "nohz_full" => boot.set_nohz_full(value, cpus),
                "maxcpus" => boot.set_maxcpus(value),
                _ => continue,
            };
            seen.push(name);
            if let Err(mut error) = read {
                error.at += at;
                errors.push(error);
            }
        }
        if errors.is_empty() { Ok(boot) } else { Err(errors) }
    }

    /// Reads the value of `isolcpus=`: flags, then a list.
    ///
    /// # Errors
    /// What is wrong, with its place in the value.
    pub fn isolcpus(&mut self, value: &str, cpus: u32) -> Result<(), BootError> {
        let error = |at, problem| BootError { parameter: "isolcpus", at, problem };
        let (mut nohz, mut domain, mut managed_irq) = (false, false, false);
        let mut rest = value;
        while rest.starts_with(|c: char| c.is_ascii_alphabetic())
            && !rest.to_ascii_lowercase().starts_with("all")
            && !rest.starts_with('N')
        {
            let (flag, after) = rest.split_once(',').unwrap_or((rest, ""));
            match flag {
                "nohz" => nohz = true,
                "domain" => domain = true,
                "managed_irq" => managed_irq = true,
                _ => {
                    let flag = flag.chars().take(40).collect();
                    return Err(error(value.len() - rest.len(), BootProblem::Flag(flag)));
                }
            }
            rest = after;
        }
        let list = read_list("isolcpus", rest, cpus).map_err(|mut error| {
            error.at += value.len() - rest.len();
            error
        })?;
        if nohz {
            self.stop_ticks("isolcpus", &list)?;
        }
        if domain || !(nohz || managed_irq) {
            self.isolated_domain = list.clone();
        }
        if managed_irq {
            self.managed_irq = list;
        }
        Ok(())
    }

    /// Reads the value of `nohz_full=`.
    ///
    /// # Errors
    /// What is wrong, with its place in the value.
    pub fn set_nohz_full(&mut self, value: &str, cpus: u32) -> Result<(), BootError> {
        let list = read_list("nohz_full", value, cpus)?;
        self.stop_ticks("nohz_full", &list)
    }

    fn stop_ticks(&mut self, parameter: &'static str, list: &CpuSet) -> Result<(), BootError> {
        if !self.nohz_full.is_empty() && self.nohz_full != *list {
            return Err(BootError { parameter, at: 0, problem: BootProblem::Differs });
        }
        self.nohz_full = list.clone();
        Ok(())
    }

    fn set_maxcpus(&mut self, value: &str) -> Result<(), BootError> {
        let number = number::unsigned(value.as_bytes()).ok().and_then(|cpus| cpus.try_into().ok());
        let error = BootError { parameter: "maxcpus", at: 0, problem: BootProblem::NotANumber };
        // `maxcpus=0` is one CPU, without SMP.
        self.online_max = Some(number.map(|cpus: u32| cpus.max(1)).ok_or(error)?);
        Ok(())
    }

    /// The CPUs that are online after boot.
    pub fn online(&self, cpus: u32) -> CpuSet {
        CpuSet::first(self.online_max.map_or(cpus, |max| max.min(cpus)))
    }

    /// The CPUs for everything that is not bound elsewhere: without those set apart.
    pub fn housekeeping(&self, cpus: u32) -> CpuSet {
        CpuSet::first(cpus).minus(&self.isolated_domain).minus(&self.nohz_full)
    }
}

fn read_list(parameter: &'static str, text: &str, cpus: u32) -> Result<CpuSet, BootError> {
    let error = |at, problem| BootError { parameter, at, problem };
    let list = parse_list(text.as_bytes(), cpus)
        .map_err(|problem| error(problem.at, BootProblem::List(problem)))?;
    if list.is_empty() {
        return Err(error(0, BootProblem::NoCpus));
    }
    if (0..cpus).all(|cpu| list.contains(CpuId(cpu))) {
        return Err(error(0, BootProblem::NothingLeft));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> CpuSet {
        CpuSet::parse_list(text).unwrap()
    }

    #[test]
    fn isolcpus_without_flags_is_about_domains() {
        let boot = Boot::parse("quiet isolcpus=2-3,6 console=ttyS0", 8).unwrap();
        assert_eq!(boot, Boot { isolated_domain: list("2-3,6"), ..Boot::none() });
        assert_eq!(boot.housekeeping(8), list("0-1,4-5,7"));
    }

    #[test]
    fn flags_of_isolcpus_say_what_the_list_is_for() {
        let boot = Boot::parse("isolcpus=nohz,managed_irq,4-7:1/2 maxcpus=6", 8).unwrap();
        assert_eq!(boot.isolated_domain, NONE);
        assert_eq!((&boot.nohz_full, &boot.managed_irq), (&list("4,6"), &list("4,6")));
        assert_eq!(boot.online(8), list("0-5"));
        let boot = Boot::parse("nohz_full=1-N isolcpus=domain,nohz,1-N", 4).unwrap();
        assert_eq!((boot.isolated_domain, boot.nohz_full), (list("1-3"), list("1-3")));
    }

    #[test]
    fn what_is_wrong_with_a_parameter_is_said_with_its_place() {
        for (line, said) in [
            ("isolcpus=2-", "column 12: isolcpus: a number is missing"),
            ("isolcpus=domian,2", "column 10: isolcpus: `domian` is no flag"),
            ("quiet isolcpus=domain,9", "column 23: isolcpus: 9 is too high: the last is 7"),
            ("nohz_full=", "column 11: nohz_full: no CPUs"),
            ("nohz_full=all", "column 11: nohz_full: a CPU must be left"),
            ("isolcpus=0-3:2", "column 15: isolcpus: a stride is `:USED/GROUP`"),
            ("isolcpus=3-1", "column 10: isolcpus: the range 3-1 runs backwards: write 1-3"),
            ("nohz_full=1-2 isolcpus=nohz,1-3", "column 24: isolcpus: not the CPUs of the other"),
            ("maxcpus=x", "column 9: maxcpus: not a number"),
            ("isolcpus=domain", "column 16: isolcpus: no CPUs"),
        ] {
            let errors = Boot::parse(line, 8).unwrap_err();
            assert!(errors[0].to_string().starts_with(said), "{line}: {}", errors[0]);
        }
        assert_eq!(Boot::parse("isolcpus=x nohz_full=y", 8).unwrap_err().len(), 2);
    }
}
