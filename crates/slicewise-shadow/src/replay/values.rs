//! Values in the trace against the core's: they are compared, never taken over.

use slicewise_ftrace::{Other, Value};

use super::Replay;

/// Names under which probes carry them.
const PID: &[&str] = &["pid"];
const VRUNTIME: &[&str] = &["vruntime", "vr"];
const DEADLINE: &[&str] = &["deadline", "dl"];

fn number(other: &Other, names: &[&str]) -> Option<i64> {
    names.iter().find_map(|name| other.field(name)).and_then(Value::as_i64)
}

impl Replay<'_> {
    /// The running task's virtual runtime after a charge. Absolute values mean nothing: only how
    /// (kernel − core) changes from one task to the next is an error.
    pub(super) fn compare_vruntime(&mut self, cpu: usize, pid: i32, vruntime_ns: u64) {
        let Some(known) = self.tasks.get(pid) else { return };
        let Some((own, _)) = self.sched.fair_values(known.id) else { return };
        let offset = vruntime_ns.wrapping_sub(own) as i64;
        let before = self.cpus[cpu].vruntime_offset_ns.replace(offset);
        if let Some(before) = before
            && self.is_judged(cpu)
        {
            self.judge.vruntime.add(offset.wrapping_sub(before).unsigned_abs());
        }
    }

    /// A probe on a function that has the running task, with its values as of its last charge.
    pub(super) fn compare_probe(&mut self, cpu: usize, other: &Other) {
        let (Some(pid), Some(vruntime)) = (number(other, PID), number(other, VRUNTIME)) else {
            return;
        };
        let pid = pid as i32;
        if self.cpus[cpu].current != pid {
            return;
        }
        self.compare_vruntime(cpu, pid, vruntime as u64);
        let Some(deadline) = number(other, DEADLINE) else { return };
        let Some(known) = self.tasks.get(pid) else { return };
        let Ok(queue) = self.sched.inspect(slicewise_sched::CpuId(cpu as u32)) else { return };
        let own = queue.candidates.iter().find(|candidate| candidate.task == known.id);
        if let Some(fair) = own.and_then(|candidate| candidate.fair)
            && let Some(own_deadline) = fair.deadline_ns
            && self.is_judged(cpu)
        {
            let distance = deadline.wrapping_sub(vruntime);
            let own_distance = own_deadline.wrapping_sub(fair.vruntime_ns);
            self.judge.deadline.add(distance.wrapping_sub(own_distance).unsigned_abs());
        }
    }
}
