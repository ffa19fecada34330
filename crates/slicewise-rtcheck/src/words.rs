//! Where the kernel's verdict and the true one differ, in words.

use crate::check::{CoreVerdict, Settled, TaskVerdict};
use crate::cpu::all;
use crate::edf::Demand;
use crate::kernel::{Errno, KernelRules};
use crate::model::Policy;
use crate::verdict::KernelVerdict;

/// A duration as a person would write it, exactly.
pub fn show_ns(ns: u64) -> String {
    for (unit_ns, unit) in [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")] {
        if ns >= unit_ns && u128::from(ns) * 1000 % u128::from(unit_ns) == 0 {
            let thousandths = ns % unit_ns / (unit_ns / 1000);
            let fraction = format!(".{thousandths:03}");
            let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
            return format!("{}{fraction} {unit}", ns / unit_ns);
        }
    }
    format!("{ns} ns")
}

/// A share of 2^20 as a percentage, rounded down.
fn share(bandwidth: u64) -> String {
    let hundredths = (u128::from(bandwidth) * 10_000) >> 20;
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

pub(crate) fn remarks(
    settled: &Settled<'_>,
    tasks: &[TaskVerdict],
    cores: &[CoreVerdict],
    schedulable: Option<bool>,
    kernel: &KernelVerdict,
    rules: &KernelRules,
) -> Vec<String> {
    let mut remarks = Vec::new();
    let deadline: Vec<usize> = (0..tasks.len()).filter(|at| settled.is_deadline(*at)).collect();
    if !deadline.is_empty() {
        let met = all(deadline.iter().map(|at| tasks[*at].meets));
        match (kernel.first_refused, met) {
            (None, Some(true)) => {}
            (None, met) => remarks.push(admitted_but(settled, tasks, cores, &deadline, met)),
            (Some(refused), met) => remarks.push(refused_and(settled, refused, met, kernel)),
        }
        budgets(settled, &deadline, &mut remarks);
    }
    if deadline.len() < tasks.len() && schedulable != Some(true) {
        let of_fixed = |at: usize| !settled.is_deadline(at) && tasks[at].meets == Some(false);
        if (0..tasks.len()).any(of_fixed) {
            remarks.push(
                "The kernel never refuses SCHED_FIFO or SCHED_RR for lack of time: it would start \
                 this set and deadlines would be missed."
                    .to_owned(),
            );
        }
    }
    safety_net(settled, kernel, rules, &mut remarks);
    for unknown in &settled.set.unknown {
        remarks.push(format!("{} is not in the analysis: {}.", unknown.name, unknown.reason));
    }
    remarks
}

fn admitted_but(
    settled: &Settled<'_>,
    tasks: &[TaskVerdict],
    cores: &[CoreVerdict],
    deadline: &[usize],
    met: Option<bool>,
) -> String {
    let rule = "The kernel admits the deadline tasks: it adds up runtime / period and looks neither \
                at deadlines nor at how EDF shares several CPUs.";
    let exceeds = cores.iter().find_map(|core| match core.demand {
        Some(Demand::Exceeds { interval_ns, demand_ns }) => Some((interval_ns, demand_ns)),
        _ => None,
    });
    if let Some((interval_ns, demand_ns)) = exceeds {
        let demand = show_ns(u64::try_from(demand_ns).unwrap_or(u64::MAX));
        let interval = show_ns(interval_ns);
        return format!(
            "{rule} But {demand} of work can be released and due within {interval}: admitted is \
             not schedulable."
        );
    }
    let late = deadline.iter().find(|at| tasks[**at].meets == Some(false));
    let several = deadline.iter().any(|at| settled.core_of(*at).is_none());
    match (late, several, met) {
        (Some(late), true, _) => {
            let name = &settled.task(*late).name;
            format!(
                "{rule} But {name} is late when all are released together, though the load is \
                 below the number of CPUs (Dhall's effect): admitted is not schedulable."
            )
        }
        (Some(late), false, _) => {
            format!("{rule} But {} can be late.", settled.task(*late).name)
        }
        (None, true, _) => format!(
            "{rule} On several CPUs that bounds how late a job can be, but does not prove that \
             none is; no test here proves this set."
        ),
        (None, false, _) => format!("{rule} Whether all deadlines are met was not decided."),
    }
}

fn refused_and(
    settled: &Settled<'_>,
    refused: usize,
    met: Option<bool>,
    kernel: &KernelVerdict,
) -> String {
    let name = &settled.task(refused).name;
    let errno = kernel.errno().map_or("", Errno::name);
    let rule = kernel.refusal.map_or("", |refusal| refusal.rule);
    let mut text = format!("The kernel refuses {name} with {errno}: {rule}.");
    match kernel.errno() {
        Some(Errno::Ebusy) => {
            let cpus = u64::from(settled.set.cpus);
            let asked = kernel.bandwidth[refused].unwrap_or(0);
            text.push_str(&format!(
                " {name} asks for {} of a CPU; {} of {} are taken",
                share(asked),
                share(kernel.total),
                share(kernel.limit),
            ));
            let server = kernel.rules.fair_server() * cpus;
            if server > 0 {
                text.push_str(&format!(", {} of them by the fair servers", share(server)));
            }
            text.push('.');
            if met == Some(true) {
                text.push_str(
                    " EDF would meet every deadline: the kernel keeps time for other tasks, which \
                     the test does not need.",
                );
            }
        }
        Some(Errno::Eperm) => text.push_str(
            " A deadline task can only be kept to some CPUs by an exclusive cpuset (a partition), \
             which makes them a root domain of their own.",
        ),
        _ if met == Some(true) => {
            text.push_str(" The parameters are outside the kernel's limits, not beyond the CPU's.");
        }
        _ => {}
    }
    text
}

fn budgets(settled: &Settled<'_>, deadline: &[usize], remarks: &mut Vec<String>) {
    for at in deadline {
        let task = settled.task(*at);
        if task.reserved_ns() < task.wcet_ns {
            remarks.push(format!(
                "{} needs up to {} a job but reserves {}: the kernel stops it until its next \
                 period.",
                task.name,
                show_ns(task.wcet_ns),
                show_ns(task.reserved_ns()),
            ));
        }
    }
}

fn safety_net(
    settled: &Settled<'_>,
    kernel: &KernelVerdict,
    rules: &KernelRules,
    remarks: &mut Vec<String>,
) {
    for net in kernel.safety_net.iter().filter(|net| !net.stays_out()) {
        let (_, fixed) = settled.members(Some(net.core));
        if !fixed.iter().any(|at| settled.task(*at).policy != Policy::Deadline) {
            continue;
        }
        let limit = show_ns(net.limit_ns);
        let rest = show_ns(1_000_000_000 - net.limit_ns);
        remarks.push(match rules.rt_throttling {
            true => format!(
                "CPU {}: real-time work may fill more than {limit} of a second. RT throttling \
                 would then stop FIFO and RR tasks for up to {rest}, which the responses above \
                 do not include.",
                net.core
            ),
            false => format!(
                "CPU {}: real-time work may fill {limit} of a second. While ordinary tasks wait, \
                 the fair server would then take up to {rest} a second from FIFO and RR tasks, \
                 which the responses above do not include.",
                net.core
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_exactly() {
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_500, "1.5 us"),
            (12_345_678, "12345.678 us"),
            (50_000_000, "50 ms"),
            (1_250_000_000, "1.25 s"),
            (1_000_000_001, "1000000.001 us"),
        ] {
            assert_eq!(show_ns(ns), text);
        }
        assert_eq!(share(943_719), "90.00 %");
    }
}
