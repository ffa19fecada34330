//! The arithmetic of placement and balancing, without any state (fair.md G).

/// Load of a CPU that always runs one task of nice 0, and capacity of the fastest CPU.
pub(super) const UNIT: u64 = 1024;
/// A node may have this many more tasks than another without being evened out.
const NUMA_IMBALANCE_MIN: u64 = 2;
/// How much longer a busy CPU waits between balances.
const BUSY_FACTOR: u64 = 16;

/// Whether so much utilisation leaves a fifth of the capacity free.
pub(super) fn fits(util: u64, capacity: u64) -> bool {
    util * 1280 < capacity * UNIT
}

/// Whether a capacity is greater by more than 5 %.
pub(super) fn capacity_greater(one: u64, other: u64) -> bool {
    one * UNIT > other * 1078
}

/// Whether waker and wakee have so many partners that pulling them together would overload one cache:
/// `waker` and `wakee` count changes of partners, lately (G.2).
pub(super) fn wake_wide(waker: u32, wakee: u32, llc_size: u32) -> bool {
    let (most, least) = (waker.max(wakee), waker.min(wakee));
    least >= llc_size && u64::from(most) >= u64::from(least) * u64::from(llc_size)
}

/// What a CPU brings into the comparison of [`wakes_here`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) load: u64,
    pub(super) capacity: u64,
}

/// Whether a wakee of this load does better on the waker's CPU than on its previous one, by weights
/// (G.2). `sync` is the load of a waker that is about to sleep.
pub(super) fn wakes_here(
    this: Side,
    prev: Side,
    wakee: u64,
    sync: Option<u64>,
    imbalance_pct: u32,
) -> bool {
    let mut here = this.load as i64;
    if let Some(waker) = sync {
        if waker as i64 > here {
            return true;
        }
        here -= waker as i64;
    }
    let here = (here + wakee as i64) * 100 * prev.capacity as i64;
    let bias = 100 + i64::from(imbalance_pct - 100) / 2;
    let there = (prev.load as i64 - wakee as i64) * bias * this.capacity as i64;
    here < there + i64::from(sync.is_some())
}

/// How many CPUs of a last-level cache a wakeup looks at: the fewer the busier they are (SIS_UTIL).
pub(super) fn idle_scan(util_sum: u64, llc_size: u32, imbalance_pct: u32) -> u32 {
    let size = u64::from(llc_size.max(1));
    let (util, pct) = (util_sum / size, u64::from(imbalance_pct));
    let busy = util * util * pct * pct / (10_000 * UNIT);
    ((UNIT - busy.min(UNIT)) * size / UNIT) as u32
}

/// What of an imbalance between nodes matters, where the destination has so many running tasks.
pub(super) fn numa_imbalance(imbalance: u64, dst_running: u32, allowed: u32) -> u64 {
    if dst_running > allowed || imbalance > NUMA_IMBALANCE_MIN { imbalance } else { 0 }
}

/// Running tasks and cores of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    pub(super) running: u32,
    pub(super) cores: u32,
}

/// How many tasks the busiest group has more than its cores' share (6.6 and later).
pub(super) fn sibling_imbalance(local: Crowd, busiest: Crowd) -> u64 {
    let [l, b] = [local, busiest].map(|crowd| u64::from(crowd.cores));
    let [in_l, in_b] = [local, busiest].map(|crowd| u64::from(crowd.running));
    if l == b {
        return in_b.saturating_sub(in_l);
    }
    let more = (l * in_b).saturating_sub(b * in_l);
    let imbalance = (2 * more + l + b) / (l + b).max(1);
    if imbalance <= 1 && in_l == 0 && in_b > 1 { 2 } else { imbalance }
}

/// Ticks between two balances of a domain; `interval_ms` is what it has backed off to, `max` the
/// longest in ticks.
pub(super) fn balance_interval(interval_ms: u32, busy: bool, hz: u64, max: u64) -> u64 {
    let ms = u64::from(interval_ms) * if busy { BUSY_FACTOR } else { 1 };
    let ticks = (ms * hz).div_ceil(1000);
    // One less, so that domains of the same length do not fall into step.
    (if busy { ticks.saturating_sub(1) } else { ticks }).clamp(1, max.max(1))
}

/// A running average of how long a CPU stays idle.
pub(super) fn average_idle(average: u64, idle_ns: u64, limit: u64) -> u64 {
    let step = (idle_ns as i64).wrapping_sub(average as i64) / 8;
    (average as i64).saturating_add(step).clamp(0, limit as i64) as u64
}

/// Whether a CPU that idles for so long on average has time for another search, after those that took
/// `spent_ns`.
pub(super) fn has_time(avg_idle_ns: u64, spent_ns: u64, cost_ns: u64) -> bool {
    avg_idle_ns >= spent_ns + cost_ns
}

/// What newly idle CPUs of a domain have found lately: how often looking is worth it (NI_RANDOM).
#[derive(Clone, Copy, Debug)]
pub(super) struct NewidleOdds {
    calls: u32,
    successes: u32,
    ratio: u32,
}

impl Default for NewidleOdds {
    fn default() -> Self {
        Self { calls: 512, successes: 256, ratio: 512 }
    }
}

impl NewidleOdds {
    /// Whether a throw of 0 to 1023 says to look.
    pub(super) fn look(&self, thrown: u32) -> bool {
        thrown <= 1 + self.ratio
    }

    /// What one success stands for, since not every chance was taken.
    pub(super) fn worth(&self) -> u32 {
        let weight = 1 + self.ratio;
        (1024 + weight / 2) / weight
    }

    pub(super) fn note(&mut self, success: u32) {
        self.calls += 1;
        self.successes += success;
        if self.calls >= 1024 {
            self.ratio = self.successes;
            self.calls /= 2;
            self.successes /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wx36_the_busier_a_cache_the_fewer_cpus_are_looked_at() {
        let scan = |util: u64| idle_scan(util * 16, 16, 117);
        assert_eq!([0, 256, 512, 700, 800, 870, 1024].map(scan), [16, 14, 10, 5, 2, 0, 0]);
    }

    #[test]
    fn wx37_a_wakee_goes_where_weights_are_less() {
        let side = |load| Side { load, capacity: 1024 };
        assert!(!wakes_here(side(1024), side(2048), 1024, None, 117));
        assert!(wakes_here(side(1024), side(3072), 1024, None, 117));
        assert!(wakes_here(side(1024), side(2048), 1024, Some(1024), 117));
        assert!(
            wakes_here(side(1024), side(0), 1024, Some(1025), 117),
            "the waker is all there is"
        );
    }

    #[test]
    fn wx38_wide_is_who_has_many_partners_on_both_sides() {
        assert!(wake_wide(64, 8, 8));
        assert!(wake_wide(8, 64, 8));
        assert!(!wake_wide(63, 8, 8));
        assert!(!wake_wide(200, 7, 8));
    }

    #[test]
    fn wx39_intervals_in_ticks() {
        let ticks = |span, busy, hz| balance_interval(span, busy, hz, hz * 16 / 10);
        assert_eq!([ticks(16, false, 250), ticks(16, true, 250)], [4, 63]);
        assert_eq!([ticks(16, false, 1000), ticks(16, true, 1000)], [16, 255]);
        assert_eq!([ticks(2, false, 250), ticks(2, true, 250)], [1, 7]);
    }

    #[test]
    fn wx40_siblings_that_share_a_parent_even_out_by_two() {
        let four = |running| Crowd { running, cores: 4 };
        assert_eq!(sibling_imbalance(four(1), four(4)), 3);
        assert_eq!(sibling_imbalance(four(1), four(2)), 1);
        // More cores take more; an empty group takes from any that has two.
        assert_eq!(sibling_imbalance(Crowd { running: 0, cores: 8 }, four(2)), 3);
        assert_eq!(sibling_imbalance(Crowd { running: 0, cores: 1 }, four(2)), 2);
    }

    #[test]
    fn wx41_nodes_keep_pairs_together() {
        assert_eq!(numa_imbalance(3 - 1, 2, 2), 0);
        assert_eq!(numa_imbalance(5 - 1, 2, 2) >> 1, 2);
        assert_eq!(numa_imbalance(2, 3, 2), 2, "the destination is full enough");
    }

    #[test]
    fn wx43_a_short_idleness_is_not_spent_on_wide_searches() {
        assert!(has_time(100_000, 0, 30_000), "the narrow domain");
        assert!(!has_time(100_000, 25_000, 90_000), "the wide one, after what that took");
    }

    #[test]
    fn wx44_the_average_of_idle_times() {
        assert_eq!(average_idle(1_000_000, 200_000, 1_000_000), 900_000);
        assert_eq!(average_idle(1_000_000, 50_000_000, 1_000_000), 1_000_000);
    }

    #[test]
    fn chances_follow_what_was_found() {
        let mut odds = NewidleOdds::default();
        assert!(odds.look(513) && !odds.look(514));
        (0..512).for_each(|_| odds.note(0));
        assert_eq!(odds.ratio, 256);
        assert_eq!(odds.worth(), 4);
        (0..512).for_each(|_| odds.note(4));
        assert_eq!(odds.ratio, 128 + 2048);
        assert!(odds.look(1023), "always");
    }
}
