//! The period of a task's jobs, where its program has one.

use std::collections::BTreeMap;

use slicewise_machine::{Op, Program, Workload};

/// The period of each task that does one job in a period, by name: its program waits in one place
/// only, for one timer of its own. It may take mutexes, wake others and hand work to devices
/// meanwhile, but not sleep or wait for them.
///
/// ```
/// use slicewise_workload::{Format, job_periods, load};
///
/// let text = "[[task]]\nname = \"tick\"\nperiodic = { run = \"2ms\", period = \"10ms\" }\n";
/// let loaded = load(text, Format::Auto).unwrap();
/// assert_eq!(job_periods(&loaded.workload)["tick"], 10_000_000);
/// ```
pub fn job_periods(workload: &Workload) -> BTreeMap<String, u64> {
    let periods: Vec<Option<u64>> =
        workload.programs.iter().map(|program| period_of(program, workload)).collect();
    let mut named = BTreeMap::new();
    for task in &workload.tasks {
        let period_ns = periods.get(task.program as usize).copied().flatten();
        // Of several files, two threads may have one name: what they do not have in common is not
        // known of either.
        let known = named.entry(task.name.clone()).or_insert(period_ns);
        if *known != period_ns {
            *known = None;
        }
    }
    named.into_iter().filter_map(|(name, period_ns)| Some((name, period_ns?))).collect()
}

fn period_of(program: &Program, workload: &Workload) -> Option<u64> {
    let mut found = None;
    for op in &program.ops {
        match op {
            Op::Timer { timer, period_ns, .. } => {
                let shared = workload.timers.get(*timer as usize).is_some_and(|timer| timer.shared);
                if shared || *period_ns == 0 || found.replace(*period_ns).is_some() {
                    return None;
                }
            }
            Op::Sleep { .. }
            | Op::SleepUntil { .. }
            | Op::SemWait(_)
            | Op::Wait { .. }
            | Op::Barrier(_)
            | Op::Suspend
            | Op::Receive(_)
            | Op::Serve
            | Op::Reply
            | Op::Synchronize(_)
            | Op::RunForever => return None,
            Op::Run { .. }
            | Op::RunUntil { .. }
            | Op::Lock(_)
            | Op::Unlock(_)
            | Op::Signal(_)
            | Op::Broadcast(_)
            | Op::SemPost(_)
            | Op::Resume(_)
            | Op::Yield
            | Op::Fork(_)
            | Op::Submit { .. }
            | Op::SetAttr(_)
            | Op::SetAffinity(_)
            | Op::LoopBegin { .. }
            | Op::LoopEnd { .. }
            | Op::LogBegin
            | Op::LogEnd { .. }
            | Op::Exit => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, load};

    fn periods(text: &str) -> Vec<(String, u64)> {
        let loaded = load(text, Format::Auto).expect("a scenario");
        job_periods(&loaded.workload).into_iter().collect()
    }

    #[test]
    fn a_loop_around_one_timer_has_its_period() {
        let found = periods(
            "[[task]]\nname = \"a\"\ncount = 2\nperiodic = { run = \"1ms\", period = \"5ms\" }\n\
             [[task]]\nname = \"b\"\n\
             program = [{ lock = \"m\" }, { run = \"1ms\" }, { unlock = \"m\" }, \
             { timer = { period = \"7ms\" } }]\n",
        );
        let expected = [("a-0", 5), ("a-1", 5), ("b", 7)];
        assert_eq!(found, expected.map(|(name, ms)| (name.to_owned(), ms * 1_000_000)));
    }

    #[test]
    fn who_sleeps_waits_elsewhere_or_has_two_timers_has_none() {
        let found = periods(
            "[[task]]\nname = \"hog\"\nhog = true\n\
             [[task]]\nname = \"sleeper\"\nprogram = [{ run = \"1ms\" }, { sleep = \"1ms\" }]\n\
             [[task]]\nname = \"both\"\n\
             program = [{ sleep = \"1ms\" }, { timer = { period = \"7ms\" } }]\n\
             [[task]]\nname = \"two\"\nprogram = [{ timer = { name = \"x\", period = \"7ms\" } }, \
             { run = \"1ms\" }, { timer = { name = \"y\", period = \"5ms\" } }]\n",
        );
        assert_eq!(found, []);
    }
}
