//! The arithmetic of NUMA balancing, without any state (fair.md G.11).

use crate::numa::NumaConfig;

/// Scans take no more memory than this in a second, MiB.
const SCAN_RATE_MB: u64 = 2560;
const PERIOD_SLOTS: u64 = 10;
/// Of ten faults, so many make a majority.
const THRESHOLD: u64 = 7;
/// Part of all faults that a weight is counted in.
const WEIGHT: u64 = 1000;
/// Improvements below this are not worth a move.
const SMALL: i64 = 30;
/// A node is active with more than one in so many of the faults of the most active one.
pub(super) const ACTIVE_FRACTION: u64 = 3;
const PAGES_PER_MB: u64 = 256;

/// A number of ms, and what it lies between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Periods {
    pub(super) min_ms: u64,
    pub(super) max_ms: u64,
}

/// How many scans a pass over so much memory takes.
fn windows(resident_pages: u64, config: &NumaConfig) -> u64 {
    let window = (u64::from(config.scan_size_mb) * PAGES_PER_MB).max(1);
    resident_pages.div_ceil(window).max(1)
}

/// Shortest and longest period between scans for a task with so much memory.
pub(super) fn periods(resident_pages: u64, config: &NumaConfig) -> Periods {
    let windows = windows(resident_pages, config);
    let fastest = SCAN_RATE_MB / u64::from(config.scan_size_mb).clamp(1, SCAN_RATE_MB);
    let min_ms = (1000 / fastest).max(u64::from(config.scan_period_min_ms) / windows).max(1);
    let max_ms = min_ms.max(u64::from(config.scan_period_max_ms) / windows);
    Periods { min_ms, max_ms }
}

/// A group of tasks that share memory needs fewer scans of each: by how many there are, and by how
/// much of it they share.
pub(super) fn scaled_by_group(period_ms: u64, tasks: u32, shared: u64, private: u64) -> u64 {
    let scaled = u128::from(period_ms) * u128::from(tasks) * u128::from(shared + 1);
    let scaled = scaled / u128::from(private.saturating_add(shared).saturating_add(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Faults of a task in a pass over its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Pass {
    /// On pages that it alone used, or others did too.
    pub(super) private: u64,
    pub(super) shared: u64,
    /// On memory of the node it ran on, or of others.
    pub(super) local: u64,
    pub(super) remote: u64,
    /// On pages that should have moved and could not.
    pub(super) failed: u64,
}

/// The period after a pass; `None` if there was nothing to go by, and scans become half as frequent.
pub(super) fn adapt_period(period_ms: u64, pass: Pass, limits: Periods) -> Option<u64> {
    if pass.local + pass.shared == 0 || pass.failed > 0 {
        return None;
    }
    let ratio = |part: u64, other: u64| part * PERIOD_SLOTS / (part + other).max(1);
    let alone = ratio(pass.private, pass.shared);
    let local = ratio(pass.local, pass.remote);
    let slot_ms = period_ms.div_ceil(PERIOD_SLOTS);
    let slower = |ratio: u64| period_ms + (ratio - THRESHOLD).max(1) * slot_ms;
    let next_ms = if alone >= THRESHOLD {
        slower(alone)
    } else if local >= THRESHOLD {
        slower(local)
    } else {
        period_ms.saturating_sub((THRESHOLD - local.max(alone)) * slot_ms)
    };
    Some(next_ms.clamp(limits.min_ms, limits.max_ms))
}

/// A count after a pass with so many new ones: what was there counts half.
pub(super) fn decayed(count: u64, fresh: u64) -> u64 {
    count - count / 2 + fresh
}

/// What the faults of a pass on one CPU's side count: more, the more of the time the task ran.
pub(super) fn by_run_time(fresh: u64, total: u64, ran_ns: u64, passed_ns: u64) -> u64 {
    let share = (u128::from(ran_ns) << 16) / (u128::from(passed_ns) + 1);
    (share * u128::from(fresh) / (u128::from(total) + 1)) as u64
}

/// How much of all faults a node has, in thousandths.
pub(super) fn weight(faults: u64, total: u64) -> i64 {
    (WEIGHT * faults).checked_div(total).unwrap_or(0) as i64
}

/// Faults of a group that bear on where a page of its memory should be, on two nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sharing {
    pub(super) cpu_src: u64,
    pub(super) cpu_dst: u64,
    pub(super) memory_src: u64,
    pub(super) memory_dst: u64,
}

/// Whether a page that a group shares should move: where most of its accesses come from, else so that
/// memory is spread as accesses are, with a quarter of slack.
pub(super) fn shared_page_moves(sharing: Sharing) -> bool {
    let Sharing { cpu_src, cpu_dst, memory_src, memory_dst } = sharing;
    if cpu_dst > cpu_src.saturating_mul(ACTIVE_FRACTION) {
        return true;
    }
    let wide = |a: u64, b: u64, times: u64| u128::from(a) * u128::from(b) * u128::from(times);
    wide(cpu_dst, memory_src, 3) > wide(cpu_src, memory_dst, 4)
}

/// Another task that could take this one's place: what both together gain, in thousandths, before what
/// speaks for or against the partner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Swap {
    pub(super) gain: i64,
    pub(super) same_group: bool,
    /// Of tasks that have one group in common, and not none.
    pub(super) in_group: bool,
    pub(super) partner_is_home: bool,
    pub(super) partner_comes_home: bool,
}

impl Swap {
    pub(super) fn improvement(self) -> i64 {
        let mut gain = self.gain;
        if self.same_group && self.in_group {
            gain -= gain / 16;
        }
        if self.partner_is_home {
            gain -= gain / 16;
        }
        if self.partner_comes_home {
            gain += gain / 8;
        }
        gain
    }
}

/// Whether an improvement is worth a swap, where the best so far is `best`.
pub(super) fn worth_a_swap(improvement: i64, best: i64) -> bool {
    improvement >= SMALL && improvement > best + SMALL / 2
}

/// Load and capacity of a node before a task moves, and its load after.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeLoad {
    pub(super) before: i64,
    pub(super) after: i64,
    pub(super) capacity: i64,
}

/// Whether two nodes would be less even than they are.
pub(super) fn less_even(src: NodeLoad, dst: NodeLoad) -> bool {
    let apart = |src_load: i64, dst_load: i64| {
        let (src_load, dst_load) = (i128::from(src_load), i128::from(dst_load));
        (dst_load * i128::from(src.capacity) - src_load * i128::from(dst.capacity)).abs()
    };
    apart(src.after, dst.after) > apart(src.before, dst.before)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: NumaConfig = NumaConfig {
        scan_delay_ms: 1_000,
        scan_period_min_ms: 1_000,
        scan_period_max_ms: 60_000,
        scan_size_mb: 256,
    };
    const GIB: u64 = 1024 * PAGES_PER_MB;

    #[test]
    fn the_more_memory_the_more_scans_but_ten_a_second_at_most() {
        let of = |pages| {
            let Periods { min_ms, max_ms } = periods(pages, &CONFIG);
            (min_ms, max_ms)
        };
        assert_eq!(of(0), (1000, 60_000));
        assert_eq!(of(GIB / 4), (1000, 60_000), "one window");
        assert_eq!(of(GIB / 4 + 1), (500, 30_000), "a page of the second");
        assert_eq!(of(GIB), (250, 15_000));
        assert_eq!(of(4 * GIB), (100, 3_750), "2560 MiB a second");
        assert_eq!(of(512 * GIB), (100, 100));
    }

    #[test]
    fn groups_scan_less_the_more_they_are_and_share() {
        assert_eq!(scaled_by_group(1000, 4, 0, 99), 40, "all is private");
        assert_eq!(scaled_by_group(1000, 4, 99, 0), 4000, "all is shared");
        assert_eq!(scaled_by_group(1000, 1, 50, 49), 510);
    }

    #[test]
    fn scans_slow_down_where_they_tell_nothing_new_and_speed_up_where_memory_is_far() {
        let limits = Periods { min_ms: 1000, max_ms: 60_000 };
        let next = |private, shared, local, remote| {
            let pass = Pass { private, shared, local, remote, failed: 0 };
            adapt_period(4000, pass, limits)
        };
        assert_eq!(next(0, 0, 0, 0), None);
        assert_eq!(next(10, 0, 0, 10), None, "private and remote: nothing local or shared");
        assert_eq!(next(10, 0, 10, 0), Some(4000 + 3 * 400));
        assert_eq!(next(7, 3, 10, 0), Some(4000 + 400), "one slot at least");
        assert_eq!(next(5, 5, 9, 1), Some(4000 + 2 * 400));
        assert_eq!(next(2, 8, 4, 6), Some(4000 - 3 * 400));
        assert_eq!(next(0, 10, 0, 10), Some(4000 - 7 * 400));
        let pass = Pass { private: 10, shared: 0, local: 10, remote: 0, failed: 1 };
        assert_eq!(adapt_period(4000, pass, limits), None, "pages could not move");
        let pass = Pass { failed: 0, ..pass };
        assert_eq!(adapt_period(59_000, pass, limits), Some(60_000));
        let pass = Pass { private: 0, shared: 10, local: 0, remote: 10, failed: 0 };
        assert_eq!(adapt_period(1100, pass, limits), Some(1000));
    }

    #[test]
    fn old_faults_count_half_for_each_pass_since() {
        assert_eq!(decayed(0, 100), 100);
        assert_eq!(decayed(100, 100), 150);
        assert_eq!(decayed(150, 0), 75);
        assert_eq!(decayed(75, 0), 38);
    }

    #[test]
    fn faults_of_a_task_that_seldom_runs_count_less_for_its_cpus() {
        assert_eq!(by_run_time(100, 100, 1_000_000, 1_000_000), 64_886);
        assert_eq!(by_run_time(100, 100, 500_000, 1_000_000), 32_442);
        assert_eq!(by_run_time(0, 0, 1, 1), 0);
    }

    #[test]
    fn shared_pages_go_where_accesses_come_from_and_else_spread_like_them() {
        let moves = |cpu_src, cpu_dst, memory_src, memory_dst| {
            shared_page_moves(Sharing { cpu_src, cpu_dst, memory_src, memory_dst })
        };
        assert!(moves(10, 31, 0, 100), "three times as many accesses");
        assert!(!moves(10, 30, 0, 100));
        assert!(!moves(50, 50, 50, 50), "spread already");
        assert!(!moves(50, 50, 57, 43), "a quarter more is let be");
        assert!(moves(50, 50, 58, 42));
    }

    #[test]
    fn partners_that_come_home_are_better_than_those_that_leave_it() {
        let swap = Swap {
            gain: 160,
            same_group: false,
            in_group: false,
            partner_is_home: false,
            partner_comes_home: false,
        };
        assert_eq!(swap.improvement(), 160);
        assert_eq!(Swap { same_group: true, ..swap }.improvement(), 160, "no group at all");
        assert_eq!(Swap { same_group: true, in_group: true, ..swap }.improvement(), 150);
        assert_eq!(Swap { partner_is_home: true, ..swap }.improvement(), 150);
        assert_eq!(Swap { partner_comes_home: true, ..swap }.improvement(), 180);
    }

    #[test]
    fn small_improvements_are_no_reason_to_swap() {
        assert!(!worth_a_swap(29, 0));
        assert!(worth_a_swap(30, 0));
        assert!(!worth_a_swap(115, 100));
        assert!(worth_a_swap(116, 100));
    }

    #[test]
    fn a_move_may_not_make_nodes_less_even() {
        let load = |before, after| NodeLoad { before, after, capacity: 2048 };
        assert!(!less_even(load(3072, 2048), load(1024, 2048)));
        assert!(!less_even(load(2048, 1024), load(1024, 2048)), "as uneven the other way");
        assert!(less_even(load(1024, 0), load(1024, 2048)));
        let small = NodeLoad { before: 512, after: 1024, capacity: 1024 };
        assert!(less_even(load(1024, 512), small));
    }
}
