//! The sentence about a container.

use super::{KubeContainer, KubePart, KubeTimes};
use crate::text::duration_inline;

/// A loss that is worth a word: a twentieth.
const NOTABLE: f64 = 0.05;

impl KubeContainer {
    /// What to make of its figures, in a sentence that begins with its name.
    pub fn sentence(&self) -> String {
        if !self.has_load {
            return format!("{}: nobody says what it does.", self.label);
        }
        let mut clauses = Vec::new();
        if self.nr_throttled > 0 {
            clauses.push(self.throttling());
        }
        for part in &self.parts {
            clauses.extend(self.overload(part));
            clauses.extend(part.times());
            clauses.extend(part.device());
        }
        clauses.extend(self.waiting());
        if self.nr_throttled == 0 && self.quota.is_some() {
            clauses.push("never throttled".to_owned());
        }
        if clauses.is_empty() {
            clauses.push(format!("uses {} and hardly waits for others", cpus(self.used_cpus)));
        }
        format!("{}: {}.", self.label, clauses.join("; "))
    }

    fn throttling(&self) -> String {
        let share = percent(self.throttled_share);
        let by = match &self.quota {
            Some(quota) if !quota.is_own => " by a quota around it",
            _ => "",
        };
        let hit = match self.stalls.count {
            0 => String::new(),
            _ => format!(
                "; each hit stops a thread for {}, {} at most",
                duration_inline(self.stalls.p50_ns),
                duration_inline(self.stalls.max_ns)
            ),
        };
        format!("throttled{by} in {share} of periods{hit}")
    }

    fn overload(&self, part: &KubePart) -> Option<String> {
        let requests = part.requests.as_ref()?;
        if requests.dropped > 0 {
            let share = requests.dropped as f64 / requests.arrived.max(1) as f64;
            return Some(format!("drops {} of its requests", percent(share)));
        }
        let backlog = format!("{} requests wait at the end", requests.unanswered);
        part.is_overloaded().then(|| format!("cannot keep up: {backlog}"))
    }

    /// Whom it waits for, if that is much: a twentieth of its CPU time, and mostly others.
    fn waiting(&self) -> Option<String> {
        let wait = &self.wait;
        let first = wait.others.first()?;
        let much = wait.other_containers_ns as f64 > self.cpu_ns as f64 * NOTABLE;
        let mostly = wait.other_containers_ns * 2 > wait.total_ns;
        (much && mostly).then(|| {
            let share = wait.other_containers_ns as f64 / wait.total_ns.max(1) as f64;
            let name = &first.container;
            format!("{} of its waiting is for other containers, most for {name}", percent(share))
        })
    }
}

/// A loss against bare metal that is worth a mark: a tenth.
const MARKED: f64 = 0.1;

impl KubeContainer {
    /// Whether it loses much against bare metal, or without limits: more than a tenth of its steps,
    /// or of the time its requests may take.
    pub fn loses_much(&self) -> bool {
        self.parts.iter().any(|part| {
            let best = part.alone.as_ref().or(part.without_limits.as_ref());
            best.is_some_and(|best| {
                let steps = part.launch.as_ref().zip(best.steps_per_s);
                let slower =
                    steps.is_some_and(|(own, best)| own.steps_per_s < best * (1.0 - MARKED));
                let (own, best) = (part.durations.p99_ns as f64, best.durations.p99_ns as f64);
                slower || part.requests.is_some() && best > 0.0 && own > best * (1.0 + MARKED)
            })
        })
    }
}

impl KubePart {
    /// More requests are left than can be in the midst of being served, and they are many.
    pub fn is_overloaded(&self) -> bool {
        self.requests.is_some_and(|requests| {
            let in_hand = u64::from(self.threads) * 2;
            requests.unanswered > in_hand && requests.unanswered * 50 > requests.arrived
        })
    }

    /// The 99th percentile against that without limits or alone, whichever tells more.
    fn times(&self) -> Option<String> {
        self.requests.as_ref().filter(|_| self.durations.count > 0)?;
        let p99_ns = self.durations.p99_ns;
        let mut text = format!("p99 {}", duration_inline(p99_ns));
        let of = |times: &KubeTimes| times.p99_ns;
        let mut against = Vec::new();
        let mut last_ns = p99_ns;
        for (baseline, what) in [(&self.without_limits, "without a limit"), (&self.alone, "alone")]
        {
            let Some(other_ns) = baseline.as_ref().map(|it| of(&it.durations)) else { continue };
            if (last_ns as f64) > other_ns as f64 * (1.0 + NOTABLE) {
                against.push(format!("{} {what}", duration_inline(other_ns)));
                last_ns = other_ns;
            }
        }
        if !against.is_empty() {
            text = format!("{text} against {}", against.join(" and "));
        }
        Some(text)
    }

    fn device(&self) -> Option<String> {
        let launch = self.launch.as_ref()?;
        let share = percent(launch.device_busy_share);
        let mut text = format!("{} works {share} of the time", launch.device);
        let best = self.alone.as_ref().or(self.without_limits.as_ref());
        let rates = best.and_then(|it| Some((it.device_busy_share?, it.steps_per_s?)));
        if let Some((busy, steps)) = rates {
            let ratio = launch.steps_per_s / steps.max(f64::MIN_POSITIVE);
            text = format!(
                "{text}, {} on bare metal, which is {} of its steps",
                percent(busy),
                percent(ratio)
            );
        }
        Some(text)
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if p > 0.0 && p < 0.95 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}

fn cpus(cpus: f64) -> String {
    format!("{cpus:.2} CPUs")
}
