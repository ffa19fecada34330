//! The kernel's verdict on a set: who is refused, and what its safety net would do.

use crate::check::{Settled, TaskVerdict};
use crate::global::Carried;
use crate::kernel::{Errno, KernelRules, Refusal, Reservation, RootDomain};
use crate::model::Policy;

/// What the kernel says to the tasks, asked in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelVerdict {
    /// The version asked.
    pub rules: KernelRules,
    /// Nobody is refused.
    pub admitted: bool,
    /// The first task that is refused.
    pub first_refused: Option<usize>,
    /// How.
    pub refusal: Option<Refusal>,
    /// Bandwidth reserved after everyone was asked, fair servers included, 2⁻²⁰ of a CPU.
    pub total: u64,
    /// What may be reserved, 2⁻²⁰ of a CPU.
    pub limit: u64,
    /// What deadline tasks ask for, 2⁻²⁰ of a CPU, by task.
    pub bandwidth: Vec<Option<u64>>,
    /// CPU by CPU: whether real-time work can fill a window so far that the kernel steps in.
    pub safety_net: Vec<SafetyNet>,
}

impl KernelVerdict {
    /// The error of the first refusal.
    pub fn errno(&self) -> Option<Errno> {
        self.refusal.map(|refusal| refusal.errno)
    }
}

/// The kernel keeps a little time of every CPU for ordinary tasks: by RT throttling, or by the
/// fair server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SafetyNet {
    /// Which CPU.
    pub core: u32,
    /// The most real-time work any window of a second can hold, ns; `None` if that is not known.
    pub busy_ns: Option<u64>,
    /// How much is left alone, ns.
    pub limit_ns: u64,
}

impl SafetyNet {
    /// The real-time tasks never get so far.
    pub fn stays_out(&self) -> bool {
        self.busy_ns.is_some_and(|busy_ns| busy_ns < self.limit_ns)
    }
}

pub(crate) fn admission(
    settled: &Settled<'_>,
    tasks: &[TaskVerdict],
    rules: &KernelRules,
) -> KernelVerdict {
    let set = settled.set;
    let mut domain = RootDomain::new(rules, set.cpus);
    let (mut first_refused, mut refusal) = (None, None);
    let mut bandwidth = vec![None; set.tasks.len()];
    for (at, task) in set.tasks.iter().enumerate() {
        if task.policy != Policy::Deadline {
            continue;
        }
        let reservation = Reservation {
            runtime_ns: task.reserved_ns(),
            deadline_ns: task.deadline_ns,
            period_ns: task.period_ns,
            everywhere: task.core.is_none() || set.cpus == 1,
        };
        bandwidth[at] = Some(reservation.bandwidth());
        if let Err(refused) = domain.admit(&reservation)
            && first_refused.is_none()
        {
            (first_refused, refusal) = (Some(at), Some(refused));
        }
    }
    KernelVerdict {
        rules: *rules,
        admitted: first_refused.is_none(),
        first_refused,
        refusal,
        total: domain.total(),
        limit: domain.limit(),
        bandwidth,
        safety_net: safety_nets(settled, tasks, rules),
    }
}

const WINDOW_NS: u64 = 1_000_000_000;

/// In both kernels' ways the net opens when real-time work has filled 950 of 1000 ms: throttling
/// counts it, and the fair server's zero-laxity timer fires when fair tasks could not get their
/// 50 ms of the second otherwise (classes.md B.4, C.10).
fn safety_nets(
    settled: &Settled<'_>,
    tasks: &[TaskVerdict],
    rules: &KernelRules,
) -> Vec<SafetyNet> {
    let limit_ns = match (rules.rt_throttling, rules.fair_server_ns) {
        (true, _) => rules.rt_runtime_us * 1000,
        (_, Some((runtime_ns, period_ns))) => period_ns - runtime_ns,
        (false, None) => return Vec::new(),
    };
    let several = settled.set.cpus > 1;
    let visited = several && settled.set.tasks.iter().any(|task| task.core.is_none());
    if visited || !settled.set.unknown.is_empty() {
        return Vec::new();
    }
    let net = |core: u32| {
        let (edf, fixed) = settled.members(Some(core));
        let mut busy_ns = Some(0_u128);
        for at in edf.iter().chain(&fixed) {
            let (load, response) = (settled.load(*at), tasks[*at].response_bound_ns);
            busy_ns = busy_ns.zip(response).map(|(busy_ns, response_ns)| {
                busy_ns + Carried { load, response_ns }.workload(WINDOW_NS)
            });
        }
        let busy_ns = busy_ns.map(|busy_ns| busy_ns.min(u128::from(WINDOW_NS)) as u64);
        SafetyNet { core, busy_ns, limit_ns }
    };
    settled.cores().into_iter().map(net).collect()
}
