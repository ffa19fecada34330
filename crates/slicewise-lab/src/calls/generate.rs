//! Scripts of calls: a table of what the rules are about, then random calls. One seed is one script.
//!
//! The model is asked what is reserved so far, so that reservations come close to the limit; what the
//! kernel makes of them is the kernel's.

use std::fmt::Write as _;

use slicewise_syscalls::script::{Replay, parse_line};
use slicewise_syscalls::{Rules, policy};

use crate::failure::{Failure, Result};

const TABLE: &str = include_str!("table.txt");

/// How many random reservations, and how many other random calls.
const RESERVATIONS: u32 = 220;
const OTHERS: u32 = 300;

struct Random(u64);

impl Random {
    /// `SplitMix64`.
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.next(of.len() as u64) as usize]
    }

    fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.next(most - least + 1)
    }
}

struct Generator {
    random: Random,
    replay: Replay,
    cpus: u32,
    text: String,
}

/// The steps for a kernel.
pub(crate) fn script(series: &str, cpus: u32, seed: u64) -> Result<String> {
    let rules = Rules::named(series)
        .ok_or_else(|| Failure::new(format!("there are no rules for kernel {series}")))?;
    let mut generator = Generator {
        random: Random(seed.wrapping_mul(31).wrapping_add(cpus.into())),
        replay: Replay::new(rules, cpus),
        cpus,
        text: String::new(),
    };
    for line in TABLE.lines() {
        generator.line(line)?;
    }
    let domain = generator.replay.system.domains().first();
    if domain.and_then(|domain| domain.limit()).is_none_or(|limit| limit == 0) {
        return Err(Failure::new("the table leaves reservations without a limit"));
    }
    generator.reservations()?;
    generator.others()?;
    Ok(generator.text)
}

/// Targets of reservations: they do not run.
const RESERVING: [u32; 8] = [10, 11, 12, 13, 14, 15, 16, 17];
/// With less, a task that is woken once would sleep off its debt for minutes.
const RUNTIME_TO_RUN_NS: u64 = 1_500_000;
/// Everybody else of the random part.
const CALLERS: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

impl Generator {
    fn line(&mut self, line: &str) -> Result<()> {
        let broken = |error: String| Failure::new(format!("{line}: {error}"));
        if let Some((step, _)) = parse_line(line).map_err(broken)? {
            self.replay.perform(&step);
            let _ = writeln!(self.text, "{step}");
        } else {
            let _ = writeln!(self.text, "{line}");
        }
        Ok(())
    }

    /// Reservations by the superuser for tasks that sleep: new ones, changed ones, some that leave,
    /// most of them around what is left.
    fn reservations(&mut self) -> Result<()> {
        self.line("# random reservations")?;
        for task in RESERVING {
            self.line(&format!("t{task} spawn uid=0"))?;
        }
        for at in 0..RESERVATIONS {
            let task = self.random.one(&RESERVING);
            match self.random.next(20) {
                0..4 => self.leave(task, at)?,
                4 if self.random.next(2) == 0 => self.limits()?,
                5 => {
                    let mask = self.random.within(1, (1 << self.cpus) - 1);
                    self.line(&format!("t0 setaffinity t{task} x{mask:02x}"))?;
                    let line = self.reservation(task);
                    self.line(&line)?;
                    self.line(&format!("t0 setaffinity t{task} xff"))?;
                }
                _ => {
                    let line = self.reservation(task);
                    self.line(&line)?;
                }
            }
        }
        for task in RESERVING {
            self.end(task)?;
        }
        let default = self.replay.system.rules().rt.runtime_us.unwrap_or(950_000);
        self.line(&format!("write sched_rt_runtime_us {default}"))
    }

    /// The budget is enough for a task to wake and do something.
    fn can_run(&self, task: u32) -> bool {
        let task = self.replay.task(task);
        task.is_none_or(|task| {
            task.policy != policy::DEADLINE || task.deadline.runtime_ns >= RUNTIME_TO_RUN_NS
        })
    }

    fn leave(&mut self, task: u32, at: u32) -> Result<()> {
        let by = if self.can_run(task) { task } else { 0 };
        match self.random.next(8) {
            0 => {
                self.end(task)?;
                self.line(&format!("t{task} spawn uid=0"))
            }
            1 => self.line(&format!("t{by} setscheduler t{task} 1 {}", 1 + at % 99)),
            2 => self.line(&format!("t0 setattr t{task} policy=3 nice=1")),
            _ => self.line(&format!("t{by} setattr t{task}")),
        }
    }

    fn end(&mut self, task: u32) -> Result<()> {
        if !self.can_run(task) {
            self.line(&format!("t0 setscheduler t{task} 0 0"))?;
        }
        self.line(&format!("t{task} end"))
    }

    fn limits(&mut self) -> Result<()> {
        let us = self.random.one(&[950_000, 1_000_000, 900_000, 800_000, 500_000, 999_999]);
        self.line(&format!("write sched_rt_runtime_us {us}"))
    }

    fn reservation(&mut self, task: u32) -> String {
        let random = &mut self.random;
        let period = match random.next(8) {
            0 => random.within(100_000, 1_000_000),
            1 => random.one(&[16_666_666, 33_333_333, 1_000_000, 10_000_000, 100_000_000]),
            2 => random.within(200_000_000, 1_000_000_000),
            _ => random.within(1_000_000, 200_000_000),
        };
        let domain = self.replay.system.domains().first();
        let (total, limit) =
            domain.map_or((0, 0), |d| (d.total(), d.limit().unwrap_or(u64::MAX >> 24)));
        let own = self.replay.task(task).map_or(0, |t| t.bandwidth());
        let left = limit.saturating_sub(total - own).min(1 << 20);
        // The least runtime of a bandwidth is its product with the period, rounded up.
        let of = |bandwidth: u64| {
            ((u128::from(bandwidth) * u128::from(period)).div_ceil(1 << 20)) as u64
        };
        let runtime = match random.next(6) {
            0 => of(left) + random.within(0, 4),
            1 => of(left + 1).saturating_sub(random.within(0, 2)),
            2 => of(left.saturating_sub(random.within(0, 3))),
            3 => random.within(1, period),
            4 => random.within(500, 3_000),
            _ => of(random.within(1, 1 << 18)),
        };
        let deadline = match random.next(5) {
            0 => random.within(runtime.min(period), period),
            1 => random.within(1, period),
            _ => period,
        };
        let mut line = format!("t0 setattr t{task} policy=6 run={runtime} dl={deadline}");
        if deadline != period || random.next(4) > 0 {
            let _ = write!(line, " per={period}");
        }
        match random.next(12) {
            0 => line.push_str(" sflags=2"),
            1 => line.push_str(" sflags=7"),
            2 => line.push_str(" prio=1"),
            3 => line.push_str(" sflags=8"),
            _ => {}
        }
        line
    }

    /// Calls of everybody on everybody.
    fn others(&mut self) -> Result<()> {
        self.line("# random calls")?;
        for task in [2, 3, 4, 5, 6, 7] {
            self.end(task)?;
        }
        for task in [2, 3, 4, 5, 6, 7] {
            let random = &mut self.random;
            let (uid, euid) = (random.one(&[1000, 1000, 1001]), random.one(&[1000, 1000, 1001]));
            let (rtprio, nice) =
                (random.one(&[0, 0, 10, 50, 99]), random.one(&[0, 15, 20, 25, 40]));
            let keep = if random.next(5) == 0 { " keepcaps" } else { "" };
            let line =
                format!("t{task} spawn uid={uid} euid={euid} rtprio={rtprio} nice={nice}{keep}");
            self.line(&line)?;
        }
        for _ in 0..OTHERS {
            let line = self.other();
            self.line(&line)?;
        }
        Ok(())
    }

    fn other(&mut self) -> String {
        let random = &mut self.random;
        let by = random.one(&CALLERS);
        // The superuser changes others for the better part, or nothing would be left to refuse.
        let target = random.one(&CALLERS);
        let whom = match random.next(14) {
            0 => "999999".to_owned(),
            1..5 => "self".to_owned(),
            _ => format!("t{target}"),
        };
        let own = whom == "self";
        let priority = random.one(&[0, 1, 5, 10, 11, 49, 50, 51, 98, 99, 100]);
        match random.next(16) {
            0..6 => {
                let line = self.random_attr(own);
                format!("t{by} setattr {whom}{line}")
            }
            6..9 => {
                let number = random.one(&[0, 1, 1, 2, 2, 3, 5, 6, 7]);
                let reset = if random.next(6) == 0 { policy::RESET_ON_FORK } else { 0 };
                let priority =
                    if random.next(4) > 0 && !(1..=2).contains(&number) { 0 } else { priority };
                format!("t{by} setscheduler {whom} {} {priority}", number | reset)
            }
            9 => format!("t{by} setparam {whom} {priority}"),
            10 => {
                let mask = random.within(0, (1 << self.cpus) - 1);
                format!("t{by} setaffinity {whom} x{mask:02x}")
            }
            11 | 12 => {
                let nice = random.next(44).cast_signed() - 22;
                format!("t{by} setpriority 0 {whom} {nice}")
            }
            13 => format!("t{by} getattr {whom} {} 0", random.one(&[48, 52, 56, 60])),
            14 => format!("t{by} getaffinity {whom} 8"),
            _ if random.next(2) == 0 => format!("t{by} getparam {whom}"),
            _ => format!("t{by} fork"),
        }
    }

    /// A policy and what may or may not go with it. Who reserves for itself has to get on with it.
    fn random_attr(&mut self, own: bool) -> String {
        let random = &mut self.random;
        let number = random.one(&[0, 0, 0, 1, 1, 2, 2, 3, 5, 6, 6, 7]);
        let mut line = format!(" policy={number}");
        let fits = random.next(8) > 0;
        if (1..=2).contains(&number) == fits || number == 0 && random.next(16) == 0 {
            let _ = write!(line, " prio={}", random.one(&[1, 5, 10, 20, 50, 51, 99]));
        }
        if random.next(2) == 0 {
            let _ = write!(line, " nice={}", random.next(44).cast_signed() - 22);
        }
        let flags = random.one(&[0, 0, 0, 0, 0, 1, 1, 8, 16, 24, 9, 32, 64, 96, 2, 128]);
        if flags > 0 {
            let _ = write!(line, " sflags={flags}");
        }
        if flags & 96 != 0 {
            let ends = [0, 1, 300, 512, 1023, 1024, 1025, u32::MAX];
            let _ = write!(line, " umin={} umax={}", random.one(&ends), random.one(&ends));
        }
        if number == policy::DEADLINE {
            let period = random.within(40, 120) * 1_000_000;
            let share = if own { random.within(4, 8) } else { random.within(1, 12) };
            let _ = write!(line, " run={} dl={period}", period / 10 * share);
        } else if random.next(4) == 0 {
            let _ = write!(line, " run={}", random.within(0, 120_000_000));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::{OTHERS, RESERVATIONS, script};

    #[test]
    fn one_seed_is_one_script_and_another_seed_another() {
        for (series, cpus) in [("6.1", 1), ("6.12", 2), ("6.18", 1), ("7.2", 4)] {
            let first = script(series, cpus, 1).unwrap();
            assert_eq!(first, script(series, cpus, 1).unwrap());
            assert_ne!(first, script(series, cpus, 2).unwrap());
            assert!(first.lines().count() > (RESERVATIONS + OTHERS) as usize);
        }
    }
}
