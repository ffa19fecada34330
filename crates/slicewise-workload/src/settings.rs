//! What a workload file says about the machine: all of it optional, all of it overridable.

use slicewise_machine::{Costs, Preemption, Share, SpeedModel};
use slicewise_sched::RtRules;
use slicewise_sched::deadline::{PERIOD_MAX_NS, PERIOD_MIN_NS};
use slicewise_topology::Machine;

use crate::cpusets::BootText;
use crate::units::show_ns;

/// What the file (or [`apply_set`](crate::apply_set)) says about the machine and the run. `None`
/// leaves the choice to the caller.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings {
    /// The kernel's name, one that [`Profile::named`](slicewise_sched::Profile::named) knows.
    pub kernel: Option<String>,
    /// How many CPUs, 1 to [`CPUS_MAX`](slicewise_sched::CPUS_MAX).
    pub cpus: Option<u32>,
    /// What the machine looks like. It has [`cpus`](Self::cpus) CPUs then.
    pub topology: Option<Machine>,
    /// Ticks a second.
    pub hz: Option<u32>,
    /// How long to run, ns.
    pub duration_ns: Option<u64>,
    /// Seeds every random draw.
    pub seed: Option<u64>,
    /// Feature switches in the order written, `NAME` or `NO_NAME`.
    pub features: Vec<String>,
    /// Base slice, ns.
    pub base_slice_ns: Option<u64>,
    /// When CPU 0 has its first tick, ns.
    pub tick_phase_ns: Option<u64>,
    /// How much later each further CPU ticks, ns.
    pub tick_skew_ns: Option<u64>,
    /// Whether each session is a task group (`kernel.sched_autogroup_enabled`).
    pub autogroup: Option<bool>,
    /// The preemption model.
    pub preemption: Option<Preemption>,
    /// What the machine costs.
    pub costs: CostOverrides,
    /// Whether memory and tasks follow each other (`kernel.numa_balancing`); kernels with NUMA do so
    /// where there are several nodes.
    pub numa_balancing: Option<bool>,
    /// Whether tasks wake where that costs the least energy (`kernel.sched_energy_aware`), where the
    /// machine has an energy model; kernels do, with the governor schedutil.
    pub energy_aware: Option<bool>,
    /// What slows programs.
    pub speed: SpeedOverrides,
    /// Real-time limits and the fair server.
    pub rt: RtOverrides,
    /// `isolcpus=` of the kernel's command line.
    pub isolcpus: Option<BootText>,
    /// `nohz_full=` of the kernel's command line.
    pub nohz_full: Option<BootText>,
    /// rt-app's `logdir`.
    pub log_dir: Option<String>,
    /// rt-app's `log_basename`.
    pub log_basename: Option<String>,
    /// rt-app's `calibration`, if it is a number: ns of one turn of its loop.
    pub rtapp_loop_ns: Option<u64>,
    /// rt-app's `cumulative_slack`: already in the programs, kept for reports.
    pub cumulative_slack: bool,
}

impl Settings {
    /// Has the workload run on this machine, whatever was said of CPUs before.
    pub fn set_topology(&mut self, machine: Machine) {
        self.cpus = Some(machine.topology().nr_cpus());
        self.topology = Some(machine);
    }
}

/// The real-time sysctls that are given, and the fair server; the others stay as the kernel has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RtOverrides {
    /// `sched_rt_runtime_us`; `Some(None)` is -1.
    pub runtime_us: Option<Option<u64>>,
    /// `sched_rt_period_us`.
    pub period_us: Option<u64>,
    /// `sched_rr_timeslice_ms`.
    pub rr_timeslice_ms: Option<u32>,
    /// Runtime of the fair server, ns; 0 switches it off.
    pub fair_server_runtime_ns: Option<u64>,
    /// Its period, ns.
    pub fair_server_period_ns: Option<u64>,
    /// Built with RT_GROUP_SCHED.
    pub group_sched: Option<bool>,
}

impl RtOverrides {
    /// Whether the kernel takes these together, on top of `rules`.
    ///
    /// # Errors
    /// What it refuses (`EINVAL`), and what is allowed.
    pub fn check(self, rules: RtRules) -> Result<(), String> {
        let rules = self.over(rules);
        let period_us = rules.period_us;
        if let Some(runtime_us) = rules.runtime_us.filter(|us| *us > period_us) {
            return Err(format!(
                "`sched_rt_runtime_us` of {runtime_us} is more than the period (EINVAL); allowed: -1 to \
                 {period_us}"
            ));
        }
        let Some(server) = rules.fair_server else { return Ok(()) };
        let (runtime, period) = (show_ns(server.runtime_ns), show_ns(server.period_ns));
        if server.runtime_ns > server.period_ns {
            return Err(format!(
                "`fair_server_runtime` of {runtime} is more than its period (EINVAL); allowed: 0 to {period}"
            ));
        }
        if !(PERIOD_MIN_NS..=PERIOD_MAX_NS).contains(&server.period_ns) {
            return Err(format!(
                "`fair_server_period` of {period} is refused (EINVAL); allowed: 0.1ms to 4194.304ms"
            ));
        }
        Ok(())
    }

    /// These, and `rules` where nothing is given.
    pub fn over(self, rules: RtRules) -> RtRules {
        let mut rules = rules;
        rules.runtime_us = self.runtime_us.unwrap_or(rules.runtime_us);
        rules.period_us = self.period_us.unwrap_or(rules.period_us);
        rules.rt_group_sched = self.group_sched.unwrap_or(rules.rt_group_sched);
        rules.rr_timeslice_ms = self.rr_timeslice_ms.unwrap_or(rules.rr_timeslice_ms);
        if let Some(server) = &mut rules.fair_server {
            server.runtime_ns = self.fair_server_runtime_ns.unwrap_or(server.runtime_ns);
            server.period_ns = self.fair_server_period_ns.unwrap_or(server.period_ns);
        }
        rules.fair_server = rules.fair_server.filter(|server| server.runtime_ns > 0);
        rules
    }
}

/// The costs that are given; the others stay as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CostOverrides {
    /// Of a context switch, ns.
    pub context_switch_ns: Option<u64>,
    /// Of a wakeup, ns.
    pub wakeup_ns: Option<u64>,
    /// Of a tick, ns.
    pub tick_ns: Option<u64>,
    /// How long idle CPUs take to choose, ns.
    pub idle_exit_ns: Option<u64>,
}

impl CostOverrides {
    /// These costs, and `costs` where none is given.
    pub fn over(self, costs: Costs) -> Costs {
        Costs {
            context_switch_ns: self.context_switch_ns.unwrap_or(costs.context_switch_ns),
            wakeup_ns: self.wakeup_ns.unwrap_or(costs.wakeup_ns),
            tick_ns: self.tick_ns.unwrap_or(costs.tick_ns),
            idle_exit_ns: self.idle_exit_ns.unwrap_or(costs.idle_exit_ns),
            ..costs
        }
    }
}

/// What is said of the speed of programs. Without any of it, work takes as much CPU time everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SpeedOverrides {
    /// The others are on top of [`SpeedModel::typical`].
    pub typical: bool,
    /// Speed of each of two siblings that both run something.
    pub smt: Option<Share>,
    /// Whether CPUs are as fast as their capacity says.
    pub capacity: Option<bool>,
    /// Work after a move within a last-level cache, ns.
    pub warm_up_core_ns: Option<u64>,
    /// And beyond, ns.
    pub warm_up_llc_ns: Option<u64>,
    /// How much of their time tasks wait for memory.
    pub memory_bound: Option<Share>,
}

impl SpeedOverrides {
    /// The model, on this machine if it was described.
    pub fn model(self, machine: Option<&Machine>) -> SpeedModel {
        let mut model = if self.typical { SpeedModel::typical() } else { SpeedModel::default() };
        model.smt = self.smt.or(model.smt);
        model.capacity = self.capacity.unwrap_or(model.capacity);
        model.memory_bound = self.memory_bound.unwrap_or(model.memory_bound);
        let warm_up = &mut model.warm_up;
        warm_up.core_ns = self.warm_up_core_ns.unwrap_or(warm_up.core_ns);
        warm_up.llc_ns = self.warm_up_llc_ns.unwrap_or(warm_up.llc_ns);
        if let Some(machine) = machine {
            model.latencies_ns = machine.latencies_ns().to_vec();
        }
        model
    }
}

/// A share written as a number of 0 to 1.
pub(crate) fn share(number: f64) -> Share {
    // A float cast saturates.
    Share::from_ppm((number * 1e6).round() as u32).unwrap_or(Share::FULL)
}

/// The least speed a sibling may have.
pub(crate) const SMT_MIN: f64 = 0.01;

/// The highest tick rate a machine may have.
pub(crate) const HZ_MAX: u32 = 10_000;

/// The words for the preemption models.
pub(crate) const PREEMPTIONS: [&str; 4] = ["none", "voluntary", "full", "lazy"];

pub(crate) fn parse_preemption(word: &str) -> Option<Preemption> {
    Some(match word {
        "none" => Preemption::None,
        "voluntary" => Preemption::Voluntary,
        "full" => Preemption::Full,
        "lazy" => Preemption::Lazy,
        _ => return None,
    })
}

/// The names of all kernels there are profiles for.
pub(crate) fn kernel_names() -> Vec<&'static str> {
    slicewise_sched::Profile::ALL.iter().map(|profile| profile.name).collect()
}
