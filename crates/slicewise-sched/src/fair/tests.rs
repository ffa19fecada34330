//! The worked examples of fair.md on single queues: WX-5 to WX-24 and WX-46 to WX-50, and the
//! cases of cases.md 3.B and 3.C.

use super::cfs::period_ns;
use super::*;
use crate::weight::NICE_0_LOAD;
use crate::{Nice, Policy, Profile};

const MS: u64 = 1_000_000;

/// A queue with its entities, set up by hand.
struct Bench {
    params: FairParams,
    entities: Vec<Entity>,
    queue: FairQueue,
    now_ns: u64,
}

impl Bench {
    fn new(kernel: &str, cpus: u32, hz: u32) -> Self {
        let profile = Profile::named(kernel).unwrap();
        let params = FairParams::new(profile.fair, profile.features, cpus, hz, None);
        let mut queue = FairQueue::new();
        queue.zero = 0;
        Self { params, entities: Vec::new(), queue, now_ns: 0 }
    }

    fn with_base(kernel: &str, hz: u32, base_slice_ns: u64) -> Self {
        let mut bench = Self::new(kernel, 1, hz);
        if let Algorithm::Eevdf(eevdf) = &mut bench.params.algorithm {
            eevdf.base_slice_ns = base_slice_ns;
        }
        bench
    }

    fn features(mut self, words: &[&str]) -> Self {
        words.iter().for_each(|word| self.params.features.set(word).unwrap());
        self
    }

    fn cfs(&self) -> CfsParams {
        match self.params.algorithm {
            Algorithm::Cfs(cfs) => cfs,
            Algorithm::Eevdf(_) => unreachable!("a CFS profile"),
        }
    }

    fn eevdf(&self) -> EevdfParams {
        match self.params.algorithm {
            Algorithm::Eevdf(eevdf) => eevdf,
            Algorithm::Cfs(_) => unreachable!("an EEVDF profile"),
        }
    }

    /// An entity that is not queued.
    fn outside(&mut self, load: Load) -> u32 {
        self.entities.push(Entity::new(load, &self.params));
        (self.entities.len() - 1) as u32
    }

    /// A waiting entity with this virtual runtime and deadline.
    fn waiting(&mut self, load: Load, vruntime: u64, deadline: u64) -> u32 {
        let id = self.outside(load);
        let entity = &mut self.entities[id as usize];
        (entity.vruntime, entity.deadline, entity.on_rq) = (vruntime, deadline, true);
        self.queue.nr_queued += 1;
        self.queue.nr_runnable += 1;
        self.queue.load_weight += load.weight;
        self.queue.tree_insert(&self.params, &mut self.entities, id);
        self.queue.join_sums(&self.entities[id as usize]);
        id
    }

    /// The same, running since now.
    fn running(&mut self, load: Load, vruntime: u64, deadline: u64) -> u32 {
        let id = self.waiting(load, vruntime, deadline);
        self.set_next(id);
        id
    }

    /// A slice of its own for an entity that waits or runs.
    fn slice(&mut self, id: u32, slice: u64) {
        let current = self.queue.curr == id;
        if !current {
            self.queue.tree_remove(&self.params, &self.entities, id);
        }
        let entity = &mut self.entities[id as usize];
        self.queue.nr_custom_slice += u32::from(!entity.custom_slice);
        (entity.slice, entity.custom_slice) = (slice, true);
        if !current {
            self.queue.tree_insert(&self.params, &mut self.entities, id);
        }
    }

    fn set_next(&mut self, id: u32) {
        self.queue.put_prev(&self.params, &mut self.entities, self.now_ns);
        self.queue.set_next(&self.params, &mut self.entities, id, self.now_ns);
    }

    fn run_for(&mut self, ns: u64) {
        self.now_ns += ns;
        self.queue.account(&self.params, &mut self.entities, self.now_ns);
    }

    fn enqueue(&mut self, id: u32, how: Enqueue) {
        self.queue.enqueue(&self.params, &mut self.entities, id, how, self.now_ns);
    }

    fn dequeue(&mut self, id: u32, how: Dequeue) -> bool {
        self.queue.dequeue(&self.params, &mut self.entities, id, how, self.now_ns)
    }

    fn pick(&mut self) -> (u32, Rule) {
        self.queue.pick(&self.params, &mut self.entities, self.now_ns).expect("someone is queued")
    }

    /// Whether a wakeup of `wakee`, queued already, preempts.
    fn preempts(&mut self, wakee: u32) -> bool {
        self.queue.resched = false;
        let wakeup = Wakeup::default();
        self.queue.wakeup_preempt(&self.params, &mut self.entities, wakee, wakeup, self.now_ns);
        core::mem::take(&mut self.queue.resched)
    }

    fn average(&self) -> u64 {
        self.queue.average_vruntime()
    }

    fn entity(&self, id: u32) -> &Entity {
        &self.entities[id as usize]
    }

    fn lag(&self, id: u32) -> i64 {
        self.average().wrapping_sub(self.entity(id).vruntime) as i64
    }

    /// Ticks, rescheduling when asked; who ran in each tick, as letters.
    fn drive(&mut self, ticks: usize) -> String {
        let mut ran = String::new();
        for _ in 0..ticks {
            let curr = self.queue.curr().expect("someone runs");
            ran.push((b'A' + curr as u8) as char);
            self.now_ns += self.params.tick_ns;
            self.queue.tick(&self.params, &mut self.entities, self.now_ns);
            if core::mem::take(&mut self.queue.resched) {
                let (next, _) = self.pick();
                if next != curr {
                    self.set_next(next);
                }
            }
        }
        ran
    }
}

fn nice(value: i64) -> Load {
    Load::of(Policy::Normal, Nice::new(value).unwrap())
}

fn idle_load() -> Load {
    Load::of(Policy::Idle, Nice::default())
}

// ---- CFS ----

#[test]
fn case_19_cfs_tunables_grow_with_the_cpus() {
    for (cpus, latency, min_gran, wakeup_gran) in [
        (1, 6_000, 750, 1_000),
        (2, 12_000, 1_500, 2_000),
        (4, 18_000, 2_250, 3_000),
        (8, 24_000, 3_000, 4_000),
        (64, 24_000, 3_000, 4_000),
    ] {
        let cfs = Bench::new("6.1", cpus, 250).cfs();
        let us =
            [cfs.latency_ns, cfs.min_granularity_ns, cfs.wakeup_granularity_ns].map(|ns| ns / 1000);
        assert_eq!(us, [latency, min_gran, wakeup_gran], "{cpus} CPUs");
    }
}

#[test]
fn case_20_the_period_stretches_beyond_eight_tasks() {
    let one = Bench::new("6.1", 1, 250).cfs();
    assert_eq!([8, 10].map(|n| period_ns(&one, n)), [6 * MS, 7_500_000]);
    let eight = Bench::new("6.1", 8, 250).cfs();
    assert_eq!([8, 20].map(|n| period_ns(&eight, n)), [24 * MS, 60 * MS]);
}

#[test]
fn case_24_the_textbook_slices() {
    let mut bench = Bench::new("6.1", 1, 250);
    bench.params.algorithm = Algorithm::Cfs(CfsParams {
        latency_ns: 48 * MS,
        min_granularity_ns: 6 * MS,
        wakeup_granularity_ns: MS,
        idle_min_granularity_ns: MS,
    });
    let slices = |nices: &[i64]| -> Vec<f64> {
        let mut bench =
            Bench { params: bench.params, entities: vec![], queue: FairQueue::new(), now_ns: 0 };
        let ids: Vec<u32> = nices.iter().map(|n| bench.waiting(nice(*n), 0, 0)).collect();
        ids.iter()
            .map(|id| bench.queue.slice_of(&bench.params, &bench.entities, *id) as f64 / 1e6)
            .collect()
    };
    let close = |got: Vec<f64>, expected: &[f64]| {
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.005), "{got:?}");
    };
    close(slices(&[0; 4]), &[12.0; 4]);
    close(slices(&[0; 2]), &[24.0; 2]);
    close(slices(&[0; 10]), &[6.0; 10]);
    close(slices(&[-5, 0]), &[36.14, 11.86]);
}

#[test]
fn case_21_eight_equal_tasks_share_the_latency() {
    for (cpus, slice_ns) in [(8, 3 * MS), (1, 750_000)] {
        let mut bench = Bench::new("6.1", cpus, 250);
        let ids: Vec<u32> = (0..8).map(|_| bench.waiting(nice(0), 0, 0)).collect();
        let slice = bench.queue.slice_of(&bench.params, &bench.entities, ids[0]);
        assert_eq!(slice, slice_ns, "the minimum granularity lifts the rounded quotient");
    }
}

#[test]
fn wx5_slices_by_weight_with_the_rounding_of_the_inverse() {
    let slices = |cpus, nices: &[i64]| -> Vec<u64> {
        let mut bench = Bench::new("6.1", cpus, 250);
        let ids: Vec<u32> = nices.iter().map(|n| bench.waiting(nice(*n), 0, 0)).collect();
        ids.iter().map(|id| bench.queue.slice_of(&bench.params, &bench.entities, *id)).collect()
    };
    assert_eq!(slices(8, &[0, 0]), [11_999_994; 2]);
    assert_eq!(slices(8, &[0, 0, 0]), [7_999_998; 3]);
    assert_eq!(slices(8, &[0, 5]), [18_083_885, 5_916_114]);
    assert_eq!(slices(4, &[0, 0, 5]), [7_734_786, 7_734_786, 2_530_423]);
    assert_eq!(slices(4, &[0; 10]), [2_250_000; 10]);
    let raw = Bench::new("6.1", 4, 250).features(&["NO_BASE_SLICE"]);
    let mut raw = Bench { ..raw };
    let ids: Vec<u32> = (0..10).map(|_| raw.waiting(nice(0), 0, 0)).collect();
    assert_eq!(raw.queue.slice_of(&raw.params, &raw.entities, ids[0]), 2_249_997);
}

#[test]
fn wx6_three_hogs_take_turns_of_two_ticks() {
    let mut bench = Bench::new("6.1", 8, 250);
    bench.running(nice(0), 0, 0);
    bench.waiting(nice(0), 0, 0);
    bench.waiting(nice(0), 0, 0);
    assert_eq!(bench.drive(12), "AABBCCAABBCC");
}

#[test]
fn wx7_sleepers_are_placed_up_to_half_a_latency_back() {
    let woken = |v_ms: u64, load: Load| {
        let mut bench = Bench::new("6.1", 8, 250);
        bench.running(nice(0), 100 * MS, 0);
        bench.queue.cfs_update_min_vruntime(&bench.entities);
        let id = bench.outside(load);
        bench.entities[id as usize].vruntime = v_ms * MS;
        bench.entities[id as usize].idle = load == idle_load();
        bench.enqueue(id, Enqueue::Wakeup);
        bench.entity(id).vruntime
    };
    assert_eq!(woken(20, nice(0)), 88 * MS);
    assert_eq!(woken(95, nice(0)), 95 * MS);
    assert_eq!(woken(20, idle_load()), 98_500_000);
}

#[test]
fn case_22_the_sleepers_credit_grows_with_the_cpus() {
    for (cpus, credit_ms) in [(1, 3), (2, 6), (4, 9), (8, 12)] {
        let mut bench = Bench::new("6.1", cpus, 250);
        bench.running(nice(0), 100 * MS, 0);
        bench.queue.cfs_update_min_vruntime(&bench.entities);
        let id = bench.outside(nice(0));
        bench.enqueue(id, Enqueue::Wakeup);
        assert_eq!(bench.entity(id).vruntime, (100 - credit_ms) * MS);
    }
}

#[test]
fn wx8_and_case_23_a_wakee_preempts_only_from_beyond_the_granularity() {
    let preempts = |v_ns: u64, load: Load, batch: bool| {
        let mut bench = Bench::new("6.1", 8, 250);
        bench.running(nice(0), 100 * MS, 0);
        let wakee = bench.waiting(load, v_ns, 0);
        bench.entities[wakee as usize].batch = batch;
        bench.preempts(wakee)
    };
    assert!(preempts(88 * MS, nice(0), false));
    assert!(!preempts(97 * MS, nice(0), false));
    assert!(!preempts(88 * MS, nice(5), false));
    assert!(preempts(98_500_000, nice(-5), false));
    assert!(!preempts(10 * MS, nice(0), true), "BATCH never");
}

#[test]
fn wx9_a_fork_starts_a_slice_behind() {
    let forked = |child_nice| {
        let mut bench = Bench::new("6.1", 8, 250);
        bench.running(nice(0), 50 * MS, 0);
        bench.queue.cfs_update_min_vruntime(&bench.entities);
        let id = bench.outside(nice(child_nice));
        let cfs = bench.cfs();
        bench.queue.cfs_fork(&bench.params, &cfs, &mut bench.entities, id, 0);
        bench.enqueue(id, Enqueue::Initial);
        bench.entity(id).vruntime
    };
    assert_eq!(forked(0), 61_999_994);
    assert_eq!(forked(5), 68_083_882);
}

#[test]
fn wx10_a_yield_passes_to_a_second_that_is_close() {
    let after_yield = |second_ms: u64| {
        let mut bench = Bench::new("6.1", 8, 250);
        bench.running(nice(0), 10 * MS, 0);
        bench.waiting(nice(0), second_ms * MS, 0);
        bench.queue.yield_curr(&bench.params, &mut bench.entities, 0);
        bench.pick()
    };
    assert_eq!(after_yield(13), (1, Rule::SecondVruntime));
    assert_eq!(after_yield(15), (0, Rule::LeastVruntime));
}

#[test]
fn case_25_the_last_of_eight_waits_at_most_seven_slices() {
    let mut bench = Bench::new("6.1", 8, 1000);
    bench.running(nice(0), 0, 0);
    for i in 1..7 {
        bench.waiting(nice(0), i * 1000, 0);
    }
    let newcomer = bench.waiting(nice(0), 7_000, 0);
    let (mut waited, mut longest) = (0, 0);
    for _ in 0..240 {
        let ran = bench.drive(1);
        waited = if ran == "H" { 0 } else { waited + 1 };
        longest = longest.max(waited);
    }
    assert_eq!(newcomer, 7);
    assert!(longest <= 28, "{longest} ms: seven stints of a slice rounded up to a tick");
}

// ---- EEVDF ----

#[test]
fn case_26_base_slices_grow_with_the_cpus() {
    for (kernel, slices_us) in [
        ("6.12", [700, 1400, 2100, 2800]),
        ("6.18", [700, 1400, 2100, 2800]),
        ("6.6", [750, 1500, 2250, 3000]),
    ] {
        let got =
            [1, 2, 4, 8].map(|cpus| Bench::new(kernel, cpus, 250).eevdf().base_slice_ns / 1000);
        assert_eq!(got, slices_us, "{kernel}");
    }
}

#[test]
fn wx12_only_the_eligible_compete_by_deadline() {
    let mut bench = Bench::new("6.12", 8, 250);
    bench.waiting(nice(0), 10 * MS, 12 * MS);
    let b = bench.waiting(nice(0), 4 * MS, 15 * MS);
    bench.waiting(nice(5), 20 * MS, 11 * MS);
    let (sum, weight) = bench.queue.eevdf_sums();
    assert_eq!((sum, weight), (21_036_000_000, 2383));
    assert_eq!(bench.average(), 8_827_528);
    let eligible: Vec<bool> = (0..3).map(|id| bench.queue.eligible(&bench.entities, id)).collect();
    assert_eq!(eligible, [false, true, false]);
    assert_eq!(bench.pick(), (b, Rule::EarliestDeadline));
}

#[test]
fn wx13_the_average_is_rounded_down() {
    let mut bench = Bench::new("6.12", 8, 250);
    bench.queue.zero = 10;
    bench.waiting(nice(0), 7, 100);
    bench.waiting(nice(0), 10, 100);
    let (sum, weight) = bench.queue.eevdf_sums();
    assert_eq!((sum, weight, bench.average()), (-3072, 2048, 8));
    assert!(bench.queue.vruntime_eligible((sum, weight), 8));
    assert!(!bench.queue.vruntime_eligible((sum, weight), 9));
}

/// Places an entity with this lag beside two nice-0 entities at 100 ms: (v, d, V, lag after).
fn placed(kernel: &str, vlag: i64, load: Load) -> (u64, u64, u64, i64) {
    let mut bench = Bench::with_base(kernel, 250, 2_800_000);
    bench.waiting(nice(0), 100 * MS, 103 * MS);
    bench.waiting(nice(0), 100 * MS, 103 * MS);
    let id = bench.outside(load);
    bench.entities[id as usize].vlag = vlag;
    bench.enqueue(id, Enqueue::Wakeup);
    let entity = bench.entity(id);
    (entity.vruntime, entity.deadline, bench.average(), bench.lag(id))
}

#[test]
fn wx14_placement_keeps_the_lag() {
    assert_eq!(
        placed("6.12", -1_000_000, nice(0)),
        (101_500_000, 104_300_000, 100_500_000, -1_000_000)
    );
    assert_eq!(placed("6.12", 1_000_000, nice(0)).0, 98_500_000);
    let (v, d, ..) = placed("6.12", -1_000_000, nice(5));
    assert_eq!((v, d), (101_163_574, 109_722_380));
    let (v, d, ..) = placed("7.2", -1_000_000, nice(5));
    assert_eq!((v, d), (101_163_574, 109_722_379));
    let (v, _, _, lag) = placed("6.12", 300_000, nice(-5));
    assert_eq!((v, lag), (99_242_823, 299_999));
}

#[test]
fn wx49_a_heavy_newcomer_is_placed_alike_by_the_newer_formula() {
    assert_eq!(placed("7.2", 300_000, nice(-5)).0, 99_242_823);
}

#[test]
fn case_38_lag_is_stretched_by_the_weight_that_joins() {
    for (others, behind_ns) in [(1, 2_000_000), (3, 1_333_333)] {
        let mut bench = Bench::new("6.12", 8, 250);
        for _ in 0..others {
            bench.waiting(nice(0), 100 * MS, 103 * MS);
        }
        let id = bench.outside(nice(0));
        bench.entities[id as usize].vlag = 1_000_000;
        bench.enqueue(id, Enqueue::Wakeup);
        assert_eq!(100 * MS - bench.entity(id).vruntime, behind_ns);
        assert!((bench.lag(id) - 1_000_000).abs() <= 1);
    }
}

#[test]
fn wx15_and_case_39_a_fork_gets_half_a_slice_at_first() {
    let forked = |kernel, base, load: Load| {
        let mut bench = Bench::with_base(kernel, 250, base);
        bench.waiting(nice(0), 50 * MS, 52 * MS);
        let id = bench.outside(load);
        bench.enqueue(id, Enqueue::Initial);
        (bench.entity(id).vruntime, bench.entity(id).deadline)
    };
    assert_eq!(forked("6.12", 2_800_000, nice(0)), (50_000_000, 51_400_000));
    assert_eq!(forked("6.12", 2_800_000, nice(5)), (50_000_000, 50_000_000 + 4_279_403));
    assert_eq!(forked("6.6", 3_000_000, nice(0)), (50_000_000, 53_000_000));
}

#[test]
fn wx16_and_case_37_lag_is_limited() {
    let limit = |kernel, cpus, hz, load: Load| {
        let mut bench = Bench::new(kernel, cpus, hz);
        let ahead = bench.waiting(load, 1_000 * MS, 2_000 * MS);
        bench.waiting(nice(-20), 0, MS);
        bench.dequeue(ahead, Dequeue::Move);
        -bench.entity(ahead).vlag
    };
    assert_eq!(limit("6.18", 2, 250, nice(0)), 5_400_000);
    assert_eq!(limit("6.18", 2, 250, nice(5)), 16_506_268);
    assert_eq!(limit("6.18", 2, 250, nice(-5)), 1_771_739);
    assert_eq!(limit("6.12", 2, 250, nice(0)), 4_000_000);
    assert_eq!(limit("6.12", 2, 250, nice(5)), 12_226_865);
    assert_eq!(limit("6.12", 2, 250, nice(-5)), 1_312_399);
    assert_eq!(limit("6.18", 8, 250, nice(0)), 6_800_000);
    assert_eq!(limit("6.12", 8, 250, nice(0)), 5_600_000);
    assert_eq!(limit("6.12", 8, 1000, nice(0)), 5_600_000);
}

#[test]
fn wx17_two_hogs_alternate_and_on_6_6_the_running_one_wins_ties() {
    let pattern = |kernel, base: u64| {
        let mut bench = Bench::with_base(kernel, 250, base);
        bench.running(nice(0), 0, base);
        bench.waiting(nice(0), 0, base);
        bench.drive(7)
    };
    assert_eq!(pattern("6.12", 2_800_000), "ABABABA");
    assert_eq!(pattern("6.18", 2_800_000), "ABABABA");
    assert_eq!(pattern("6.6", 3_000_000), "ABBAABB");
}

#[test]
fn wx18_nice_0_and_nice_5_in_a_pattern_of_four_ticks() {
    let mut bench = Bench::with_base("6.18", 250, 2_800_000);
    bench.running(nice(0), 0, 2_800_000);
    bench.waiting(nice(5), 0, 8_558_806);
    assert_eq!(bench.drive(1), "A");
    assert_eq!((bench.entity(0).vruntime, bench.entity(0).deadline), (4_000_000, 6_800_000));
    assert_eq!(bench.average(), 3_013_980);
    assert_eq!(bench.drive(1), "B");
    assert_eq!((bench.entity(1).vruntime, bench.entity(1).deadline), (12_226_865, 20_785_671));
    let ran = format!("AB{}", bench.drive(398));
    assert!(ran.starts_with("ABAAABAAAB"), "{ran}");
    let ms = |who| 4 * ran.chars().filter(|c| *c == who).count();
    assert_eq!((ms('A'), ms('B')), (1204, 396));
}

/// C has run 0.5 ms of its slice among two others at 2 ms.
fn wx19_scene(kernel: &str) -> Bench {
    let mut bench = Bench::with_base(kernel, 250, 2_800_000);
    bench.running(nice(0), 0, 2_800_000);
    bench.waiting(nice(0), 2 * MS, 4_800_000);
    bench.waiting(nice(0), 2 * MS, 4_800_000);
    bench.run_for(500_000);
    assert_eq!(bench.average(), 1_500_000);
    bench
}

#[test]
fn wx19_protection_yields_only_to_a_shorter_slice() {
    let mut bench = wx19_scene("6.18");
    assert_eq!(bench.entity(0).vprot, 2_800_000);
    let same = bench.outside(nice(0));
    bench.enqueue(same, Enqueue::Wakeup);
    assert_eq!((bench.entity(same).vruntime, bench.entity(same).deadline), (1_500_000, 4_300_000));
    assert!(!bench.preempts(same));
    assert_eq!(bench.entity(0).vprot, 2_800_000);

    for kernel in ["6.18", "6.12"] {
        let mut bench = wx19_scene(kernel);
        let short = bench.outside(nice(0));
        bench.entities[short as usize].slice = 100_000;
        bench.entities[short as usize].custom_slice = true;
        bench.enqueue(short, Enqueue::Wakeup);
        let entity = bench.entity(short);
        assert_eq!((entity.vruntime, entity.deadline), (1_500_000, 1_600_000));
        assert!(bench.preempts(short), "{kernel}");
        assert!(!bench.queue.protected(&bench.params, &bench.entities), "{kernel}");
        if kernel == "6.18" {
            assert_eq!(bench.entity(0).vprot, 500_000);
        }
    }
}

#[test]
fn wx20_protection_lasts_the_shortest_slice_from_6_18() {
    let scene = |kernel| {
        let mut bench = Bench::with_base(kernel, 250, 2_800_000);
        let x = bench.waiting(nice(0), 2 * MS, 2_500_000);
        bench.slice(x, 500_000);
        let c = bench.running(nice(0), 0, 2_800_000);
        (bench, c)
    };
    let (bench, c) = scene("6.18");
    assert_eq!(bench.entity(c).vprot, 500_000);
    let (mut bench, _) = scene("6.12");
    bench.run_for(2_000_000);
    assert!(bench.queue.protected(&bench.params, &bench.entities), "for the whole slice");
}

#[test]
fn wx21_a_yield_gives_up_the_slice() {
    let after = |kernel, other_v| {
        let mut bench = Bench::with_base(kernel, 250, 2_800_000);
        bench.waiting(nice(0), other_v, other_v + 3 * MS);
        let id = bench.running(nice(0), 10 * MS, 12_800_000);
        bench.queue.yield_curr(&bench.params, &mut bench.entities, 0);
        (bench.entity(id).vruntime, bench.entity(id).deadline)
    };
    assert_eq!(after("6.6", 11 * MS), (10_000_000, 15_600_000));
    assert_eq!(after("6.12", 11 * MS), (12_800_000, 15_600_000));
    assert_eq!(after("6.12", 9 * MS), (10_000_000, 12_800_000), "not eligible: unchanged");
}

/// A has blocked owing 0.5 ms; B runs.
fn wx22_scene() -> Bench {
    wx22_scene_of("6.12")
}

fn wx22_scene_of(kernel: &str) -> Bench {
    let mut bench = Bench::with_base(kernel, 250, 1_400_000);
    bench.waiting(nice(0), 10 * MS, 11_400_000);
    bench.waiting(nice(0), 10 * MS, 11_400_000);
    bench.set_next(0);
    bench.run_for(1_000_000);
    assert_eq!((bench.entity(0).vruntime, bench.average()), (11_000_000, 10_500_000));
    assert!(!bench.dequeue(0, Dequeue::Sleep), "it owes service, so it stays");
    assert_eq!((bench.queue.nr_runnable, bench.queue.nr_queued), (1, 2));
    assert!(bench.entity(0).delayed);
    bench.set_next(1);
    bench
}

#[test]
fn wx22_a_sleeper_in_debt_stays_until_it_is_eligible() {
    let mut bench = wx22_scene();
    bench.run_for(999_999);
    assert!(!bench.queue.eligible(&bench.entities, 0));
    assert_eq!(bench.average(), 10_999_999);
    bench.run_for(1);
    assert_eq!(bench.average(), 11_000_000);
    assert!(bench.queue.eligible(&bench.entities, 0));

    bench.run_for(400_000);
    assert_eq!((bench.entity(1).deadline, bench.average()), (12_800_000, 11_200_000));
    let mut finished = Vec::new();
    let now_ns = bench.now_ns;
    bench.queue.drop_paid(&bench.params, &mut bench.entities, now_ns, |id| finished.push(id));
    let picked = bench.queue.pick(&bench.params, &mut bench.entities, now_ns);
    assert_eq!((picked.map(|(id, _)| id), finished), (Some(1), vec![0]));
    let sleeper = bench.entity(0);
    assert_eq!((sleeper.vlag, sleeper.on_rq, sleeper.delayed), (0, false, false));
}

#[test]
fn wx22_a_delayed_sleeper_wakes_where_it_is_unless_owed() {
    let woken_after = |ns| {
        let mut bench = wx22_scene();
        bench.run_for(ns);
        let (eevdf, now_ns) = (bench.eevdf(), bench.now_ns);
        bench.queue.eevdf_wake_delayed(&bench.params, &eevdf, &mut bench.entities, 0, now_ns);
        assert_eq!((bench.queue.nr_runnable, bench.queue.nr_queued), (2, 2));
        (bench.entity(0).vruntime, bench.entity(0).deadline)
    };
    assert_eq!(woken_after(600_000), (11_000_000, 11_400_000));
    assert_eq!(woken_after(1_300_000), (11_300_000, 12_700_000));
}

/// Seen on 6.12 and 6.18: the running task's time since its last charge is not in the average yet.
#[test]
fn a_delayed_sleeper_that_wakes_is_placed_by_the_last_charge_before_7_2() {
    let placed = |kernel| {
        let mut bench = wx22_scene_of(kernel);
        bench.run_for(1_300_000);
        let (eevdf, now_ns) = (bench.eevdf(), bench.now_ns + 1_000_000);
        let average = bench.average();
        bench.queue.eevdf_wake_delayed(&bench.params, &eevdf, &mut bench.entities, 0, now_ns);
        (average, bench.entity(0).vruntime)
    };
    for kernel in ["6.12", "6.18"] {
        let (_, vruntime) = placed(kernel);
        assert_eq!(vruntime, 11_300_000, "{kernel}: where the others were 1 ms ago");
    }
    let (average, vruntime) = placed("7.2");
    assert!(vruntime > average + 200_000, "7.2 charges first: {vruntime}");
}

#[test]
fn wx23_a_queued_entity_keeps_what_it_is_owed_when_its_weight_changes() {
    let scene = |kernel| {
        let mut bench = Bench::new(kernel, 8, 250);
        bench.waiting(nice(0), 10 * MS, 12_800_000);
        bench.waiting(nice(0), 12 * MS, 14_800_000);
        let eevdf = bench.eevdf();
        bench.queue.eevdf_reweight_queued(
            &bench.params,
            &eevdf,
            &mut bench.entities,
            0,
            nice(5),
            0,
        );
        bench
    };
    let bench = scene("6.18");
    assert_eq!((bench.entity(0).vruntime, bench.entity(0).deadline), (7_943_285, 16_502_090));
    assert_eq!((bench.average(), bench.lag(0)), (11_000_000, 3_056_715));
    let bench = scene("7.2");
    assert_eq!((bench.entity(0).vruntime, bench.entity(0).deadline), (7_943_284, 16_502_089));
    for kernel in ["6.6", "6.12"] {
        let bench = scene(kernel);
        assert!((bench.average() as i64 - 11 * MS as i64).abs() <= 1, "{kernel}: V stays");
        assert_eq!(bench.entity(0).vruntime, 7_943_284, "{kernel}");
        assert_eq!(bench.entity(0).deadline, 16_502_089, "{kernel}");
    }
}

#[test]
fn wx46_on_an_empty_queue_lag_does_not_count() {
    let mut bench = Bench::with_base("6.18", 250, 2_800_000);
    bench.queue.zero = 7 * MS;
    let (t, u) = (bench.outside(nice(0)), bench.outside(nice(0)));
    bench.entities[t as usize].vlag = -3 * MS as i64;
    bench.entities[u as usize].vlag = -3 * MS as i64;
    bench.enqueue(t, Enqueue::Wakeup);
    assert_eq!((bench.entity(t).vruntime, bench.entity(t).deadline), (7 * MS, 9_800_000));
    bench.set_next(t);
    bench.enqueue(u, Enqueue::Wakeup);
    assert_eq!(bench.entity(u).vruntime, 13 * MS);
    assert_eq!((bench.average(), bench.lag(u)), (10 * MS, -3 * MS as i64));
    assert!(!bench.preempts(u));
}

#[test]
fn wx47_leaving_and_returning_keeps_the_distance_to_the_average() {
    for kernel in ["6.6", "6.12", "6.18", "7.2"] {
        let mut bench = Bench::new(kernel, 8, 250);
        bench.waiting(nice(0), 100 * MS, 104 * MS);
        bench.waiting(nice(3), 101 * MS, 104 * MS);
        let id = bench.waiting(nice(-2), 100 * MS + 123_457, 104 * MS);
        let before = bench.lag(id);
        bench.dequeue(id, Dequeue::Move);
        bench.enqueue(id, Enqueue::Restore);
        assert!((bench.lag(id) - before).abs() <= 1, "{kernel}");
    }
}

#[test]
fn wx48_a_move_keeps_the_distance_to_the_deadline() {
    let moved = |kernel| {
        let mut bench = Bench::new(kernel, 8, 250);
        bench.waiting(nice(0), 9 * MS, 12 * MS);
        let id = bench.waiting(nice(0), 10 * MS, 12_800_000);
        bench.dequeue(id, Dequeue::Move);
        bench.enqueue(id, Enqueue::Restore);
        (bench.entity(id).vruntime, bench.entity(id).deadline)
    };
    assert_eq!(moved("6.12"), (10_000_000, 12_800_000));
    assert_eq!(moved("6.6"), (10_000_000, 13_000_000));
}

#[test]
fn wx50_the_slice_timer_runs_to_the_deadline() {
    let delay = |load: Load, left: u64| {
        let mut bench = Bench::new("7.2", 8, 250);
        bench.waiting(nice(0), 0, 9 * MS);
        bench.running(load, MS, MS + left);
        bench.queue.hrtick_delay(&bench.params, &bench.entities, bench.queue.nr_queued)
    };
    assert_eq!(delay(nice(5), 8_558_806), Some(Ok(2_800_000)));
    assert_eq!(delay(nice(0), 5_000), Some(Ok(10_000)));
    assert_eq!(delay(nice(0), 0), Some(Err(())));
}

#[test]
fn case_27_who_has_had_more_than_its_share_waits_for_the_last() {
    let mut bench = Bench::with_base("6.12", 250, 30 * MS);
    let (a, b, c) = (
        bench.waiting(nice(0), 0, 30 * MS),
        bench.waiting(nice(0), 0, 30 * MS),
        bench.waiting(nice(0), 0, 30 * MS),
    );
    bench.set_next(a);
    bench.run_for(30 * MS);
    let lags = |bench: &Bench| [a, b, c].map(|id| bench.lag(id) / MS as i64);
    assert_eq!(lags(&bench), [-20, 10, 10]);
    bench.set_next(b);
    bench.run_for(30 * MS);
    assert_eq!(lags(&bench), [-10, -10, 20]);
    let eligible = [a, b, c].map(|id| bench.queue.eligible(&bench.entities, id));
    assert_eq!(eligible, [false, false, true]);
}

#[test]
fn case_29_ineligible_tasks_lose_whatever_their_deadline() {
    // Lags +5, +1, −2 ms with deadlines 2, 8, 1 ms from now; the rest is one heavy balance.
    let pick = |third_v: u64| {
        let mut bench = Bench::new("6.12", 8, 250);
        bench.waiting(nice(0), 95 * MS, 102 * MS);
        bench.waiting(nice(0), 99 * MS, 108 * MS);
        bench.waiting(nice(0), third_v, 101 * MS);
        bench.waiting(Load::summed(1000 * NICE_0_LOAD), 100 * MS + 4_000, 300 * MS);
        bench.pick().0
    };
    assert_eq!(pick(102 * MS), 0, "C is not eligible, A has the earliest deadline");
    assert_eq!(pick(100 * MS - 2 * MS), 2, "C is eligible and earliest");
}

/// Quanta of 8 ms with the given weights and request sizes (in ms), starting at v = 0, 1, 2, … ms.
fn quanta(tasks: &[(u64, u64)], quanta: usize) -> (String, Vec<f64>) {
    let mut bench = Bench::new("6.12", 8, 125);
    for (i, (weight, request)) in tasks.iter().enumerate() {
        let load = Load::summed(weight * NICE_0_LOAD);
        let v = i as u64 * MS;
        let asked = virtual_delta(request * MS, load, false);
        let id = bench.waiting(load, v, v + asked);
        bench.slice(id, request * MS);
    }
    let (first, _) = bench.pick();
    bench.set_next(first);
    let mut averages = vec![bench.average() as f64 / 1e6];
    let mut ran = String::new();
    for _ in 0..quanta {
        ran += &bench.drive(1);
        averages.push(bench.average() as f64 / 1e6);
    }
    (ran, averages)
}

#[test]
fn case_30_equal_requests_go_round() {
    let (ran, averages) = quanta(&[(1, 8), (1, 8), (1, 8), (1, 8)], 8);
    assert_eq!(ran, "ABCDABCD");
    for (got, expected) in averages.iter().zip([1.5, 3.5, 5.5, 7.5]) {
        assert!((got - expected).abs() < 1e-3, "{averages:?}");
    }
}

#[test]
fn case_31_requests_of_two_quanta_run_two_quanta() {
    let (ran, averages) = quanta(&[(1, 16), (1, 16), (2, 16)], 8);
    assert_eq!(ran, "AACCBBCC");
    for (got, expected) in averages.iter().step_by(2).zip([1.25, 5.25, 9.25, 13.25]) {
        assert!((got - expected).abs() < 1e-3, "{averages:?}");
    }
}

#[test]
fn case_35_the_example_of_the_paper() {
    // Weights 2 and 2, requests 2 and 1, quantum 1 (here 1 ms); client 2 joins at t = 1. The paper
    // divides exactly, as kernels do from 7.2.
    let mut bench =
        Bench::new("7.2", 8, 1000).features(&["NO_RUN_TO_PARITY", "NO_PLACE_DEADLINE_INITIAL"]);
    let load = Load::summed(2 * NICE_0_LOAD);
    bench.running(load, 0, virtual_delta(2 * MS, load, true));
    bench.slice(0, 2 * MS);
    let mut averages = vec![bench.average()];
    assert_eq!(bench.drive(1), "A");
    averages.push(bench.average());
    let second = bench.outside(load);
    bench.entities[second as usize].slice = MS;
    bench.entities[second as usize].custom_slice = true;
    bench.enqueue(second, Enqueue::Initial);
    let mut ran = String::from("A");
    for _ in 0..5 {
        // Every quantum is a decision.
        let (next, _) = bench.pick();
        if bench.queue.curr != next {
            bench.set_next(next);
        }
        ran += &bench.drive(1);
        averages.push(bench.average());
    }
    assert_eq!(ran, "ABABAB");
    for (got, expected) in averages.iter().zip([0, 500_000, 750_000, 1_000_000, 1_250_000]) {
        assert!(got.abs_diff(expected) < 1_000, "{averages:?}");
    }
}

#[test]
fn case_36_lag_stays_within_the_request_and_the_quantum() {
    for kernel in ["6.6", "6.12", "6.18", "7.2"] {
        for requests_ms in [[3u64, 3, 3, 3], [1, 10, 3, 5]] {
            // Decisions at every quantum of 1 ms, as in the paper: no protection.
            let mut bench = Bench::with_base(kernel, 1000, 3 * MS);
            if kernel != "6.18" && kernel != "7.2" {
                bench = bench.features(&["NO_RUN_TO_PARITY"]);
            }
            for request in requests_ms {
                let id = bench.waiting(nice(0), 0, request * MS);
                bench.slice(id, request * MS);
            }
            bench.set_next(0);
            let bound = *requests_ms.iter().max().unwrap() as i64 * MS as i64 + MS as i64;
            for _ in 0..2_000 {
                bench.drive(1);
                for id in 0..4 {
                    let lag = bench.lag(id);
                    assert!(lag.abs() <= bound, "{kernel} {requests_ms:?}: {lag} ns");
                }
            }
        }
    }
}

#[test]
fn case_41_slices_set_how_often_not_how_much() {
    let mut bench = Bench::new("6.12", 8, 1000);
    let (short, long) = (bench.waiting(nice(0), 0, MS), bench.waiting(nice(0), 0, 10 * MS));
    bench.slice(short, MS);
    bench.slice(long, 10 * MS);
    bench.set_next(short);
    let ran = bench.drive(10_000);
    let share = ran.chars().filter(|c| *c == 'A').count() as f64 / 10_000.0;
    assert!((share - 0.5).abs() < 0.005, "{share}");
}
