//! Per-entity load tracking: how much something ran, wanted to run and weighed lately, as averages
//! in which 32 ms ago counts half (fair.md F).
//!
//! Time is cut into windows of 1024 units of 1024 ns. A sum is Σ contribution · y^age with the age
//! in windows and y^32 = 1/2, all in the kernel's integers; an average is the sum over what it could
//! have been at most.

/// ns in a unit.
const UNIT_SHIFT: u32 = 10;
/// Units in a window.
const WINDOW: u64 = 1024;
/// The greatest sum of a signal that is 1 all the time.
const SUM_MAX: u64 = 47_742;
/// The same without the window under way.
const DIVIDER_MIN: u64 = SUM_MAX - WINDOW;
/// Windows after which nothing is left.
const FORGOTTEN: u64 = 2016;

/// y^n · 2^32 for n from 0 to 31, with y = 2^(-1/32).
const Y_POWERS: [u64; 32] = [
    0xffff_ffff,
    0xfa83_b2da,
    0xf525_7d14,
    0xefe4_b99a,
    0xeac0_c6e6,
    0xe5b9_06e6,
    0xe0cc_deeb,
    0xdbfb_b796,
    0xd744_fcc9,
    0xd2a8_1d91,
    0xce24_8c14,
    0xc9b9_bd85,
    0xc567_2a10,
    0xc12c_4cc9,
    0xbd08_a39e,
    0xb8fb_af46,
    0xb504_f333,
    0xb123_f581,
    0xad58_3ee9,
    0xa9a1_5ab4,
    0xa5fe_d6a9,
    0xa270_4302,
    0x9ef5_325f,
    0x9b8d_39b9,
    0x9837_f050,
    0x94f4_efa8,
    0x91c3_d373,
    0x8ea4_398a,
    0x8b95_c1e3,
    0x8898_0e80,
    0x85aa_c367,
    0x82cd_8698,
];

/// value · y^windows.
fn decay(value: u64, windows: u64) -> u64 {
    if windows > FORGOTTEN {
        return 0;
    }
    let halved = value >> (windows / 32);
    ((u128::from(halved) * u128::from(Y_POWERS[(windows % 32) as usize])) >> 32) as u64
}

/// What a signal was since the last update.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Signals {
    /// A task or group entity: 1 while it is queued, else 0. A queue: its weight, unscaled.
    pub load: u64,
    /// How many want to run.
    pub runnable: u64,
    /// Whether it runs.
    pub running: bool,
}

/// The averages of a task, a group entity or a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoadAverage {
    updated_ns: u64,
    /// Units of the window under way that are accounted.
    in_window: u64,
    load_sum: u64,
    runnable_sum: u64,
    util_sum: u64,
    /// Weight times how much of the time it was queued.
    pub load_avg: u64,
    /// 1024 for each that wanted to run all the time.
    pub runnable_avg: u64,
    /// 1024 for running all the time.
    pub util_avg: u64,
}

impl LoadAverage {
    /// Nothing so far, at this time of the PELT clock.
    pub fn new(now_ns: u64) -> Self {
        Self { updated_ns: now_ns, ..Self::default() }
    }

    /// A new task (F.6): as if it had always been queued, with a share of what utilisation its queue
    /// has left. `weight` is unscaled; `capacity` is 1024 for the fastest CPU.
    pub fn of_new_task(now_ns: u64, weight: u64, queue: &Self, capacity: u64) -> Self {
        let mut new = Self::new(now_ns);
        new.load_avg = weight;
        let left = capacity.saturating_sub(queue.util_avg) / 2;
        if left > 0 {
            let share = match queue.util_avg {
                0 => left,
                util => util.saturating_mul(weight) / (queue.load_avg + 1),
            };
            new.util_avg = share.min(left);
        }
        new.runnable_avg = new.util_avg;
        new.sums_from_averages(weight);
        new
    }

    /// Takes in the time since the last update (F.2). `weight` is what the average of the load is
    /// multiplied with: the unscaled weight of an entity, 1 for a queue. Whether a window ended, so
    /// that the averages are new. Time that goes back counts as none.
    pub fn update(&mut self, now_ns: u64, weight: u64, signals: Signals) -> bool {
        if now_ns < self.updated_ns {
            self.updated_ns = now_ns;
            return false;
        }
        let units = (now_ns - self.updated_ns) >> UNIT_SHIFT;
        if units == 0 {
            return false;
        }
        self.updated_ns += units << UNIT_SHIFT;
        let Signals { load, runnable, running } =
            if signals.load == 0 { Signals::default() } else { signals };
        let total = units + self.in_window;
        let windows = total / WINDOW;
        let contribution = if windows == 0 {
            units
        } else {
            for sum in [&mut self.load_sum, &mut self.runnable_sum, &mut self.util_sum] {
                *sum = decay(*sum, windows);
            }
            // The rest of the old window, the whole windows between, the beginning of the new one.
            let old = decay(WINDOW - self.in_window, windows);
            let between = SUM_MAX - decay(SUM_MAX, windows) - WINDOW;
            old + between + total % WINDOW
        };
        self.in_window = total % WINDOW;
        let add = |sum: &mut u64, times: u64| {
            *sum = sum.saturating_add(times.saturating_mul(contribution));
        };
        add(&mut self.load_sum, load);
        add(&mut self.runnable_sum, runnable.saturating_mul(WINDOW));
        add(&mut self.util_sum, u64::from(running) * WINDOW);
        if windows > 0 {
            let divider = self.divider();
            self.load_avg = scaled(self.load_sum, weight, divider);
            self.runnable_avg = self.runnable_sum / divider;
            self.util_avg = self.util_sum / divider;
        }
        windows > 0
    }

    /// An entity joins this queue (F.5): it takes over the queue's position in time, and its
    /// averages are added. `weight` is the entity's, unscaled.
    pub fn attach(&mut self, entity: &mut Self, weight: u64) {
        (entity.updated_ns, entity.in_window) = (self.updated_ns, self.in_window);
        entity.sums_from_averages(weight);
        self.load_avg += entity.load_avg;
        self.load_sum += weight.saturating_mul(entity.load_sum);
        self.runnable_avg += entity.runnable_avg;
        self.runnable_sum += entity.runnable_sum;
        self.util_avg += entity.util_avg;
        self.util_sum += entity.util_sum;
    }

    /// An entity leaves this queue. Sums never fall below what the averages left stand for.
    pub fn detach(&mut self, entity: &Self, weight: u64) {
        let floor = |average: u64| average * DIVIDER_MIN;
        self.load_avg = self.load_avg.saturating_sub(entity.load_avg);
        self.load_sum = self
            .load_sum
            .saturating_sub(weight.saturating_mul(entity.load_sum))
            .max(floor(self.load_avg));
        self.runnable_avg = self.runnable_avg.saturating_sub(entity.runnable_avg);
        self.runnable_sum =
            self.runnable_sum.saturating_sub(entity.runnable_sum).max(floor(self.runnable_avg));
        self.util_avg = self.util_avg.saturating_sub(entity.util_avg);
        self.util_sum = self.util_sum.saturating_sub(entity.util_sum).max(floor(self.util_avg));
    }

    fn sums_from_averages(&mut self, weight: u64) {
        let divider = self.divider();
        self.util_sum = self.util_avg * divider;
        self.runnable_sum = self.runnable_avg * divider;
        let product = self.load_avg.saturating_mul(divider);
        self.load_sum = if product > weight { product / weight.max(1) } else { 1 };
    }

    /// What a sum of a signal that is 1 all the time would be now.
    fn divider(&self) -> u64 {
        DIVIDER_MIN + self.in_window
    }
}

/// sum · weight / divider, truncated.
fn scaled(sum: u64, weight: u64, divider: u64) -> u64 {
    let wide = u128::from(sum) * u128::from(weight) / u128::from(divider.max(1));
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW_NS: u64 = 1024 * 1024;
    const RUNS: Signals = Signals { load: 1, runnable: 1, running: true };

    fn util_after(windows: u64) -> u64 {
        let mut average = LoadAverage::new(0);
        average.update(windows * WINDOW_NS, 1024, RUNS);
        average.util_avg
    }

    #[test]
    fn wx34_sums_and_averages_of_fresh_windows() {
        assert_eq!([decay(1024, 1), decay(47_742, 1), decay(1024, 32)], [1002, 46_718, 511]);
        assert_eq!([1, 16, 32, 345].map(util_after), [21, 299, 512, 1023]);
        let mut average = LoadAverage::new(0);
        average.update(32 * WINDOW_NS, 1024, RUNS);
        assert_eq!(average.util_sum, 23_919_616);
        let mut average = LoadAverage::new(0);
        average.update(345 * WINDOW_NS, 1024, RUNS);
        average.update(377 * WINDOW_NS, 1024, Signals::default());
        assert_eq!(average.util_avg, 511);
    }

    #[test]
    fn wx34_utilisation_at_ticks_of_four_milliseconds() {
        let mut average = LoadAverage::new(0);
        let at_tick = (1..=25).map(|tick| {
            average.update(tick * 4_000_000, 1024, RUNS);
            average.util_avg
        });
        let seen: Vec<u64> = at_tick.collect();
        assert_eq!(seen[..10], [81, 156, 224, 288, 346, 400, 449, 495, 537, 575]);
        assert_eq!(seen[24], 894, "after 100 ms");
    }

    #[test]
    fn wx35_new_tasks_share_what_utilisation_is_left() {
        let mut queue = LoadAverage::new(0);
        let utils: Vec<u64> = (0..3)
            .map(|_| {
                let mut task = LoadAverage::of_new_task(0, 1024, &queue, 1024);
                queue.attach(&mut task, 1024);
                task.util_avg
            })
            .collect();
        assert_eq!(utils, [512, 256, 128]);
    }

    #[test]
    fn a_queue_of_hogs_weighs_what_they_weigh() {
        let mut queue = LoadAverage::new(0);
        for tick in 1..=100 {
            queue.update(tick * 4_000_000, 1, Signals { load: 2048, runnable: 2, running: true });
        }
        assert!((2040..=2048).contains(&queue.load_avg), "{queue:?}");
        assert!((2040..=2048).contains(&queue.runnable_avg), "{queue:?}");
    }

    #[test]
    fn who_leaves_takes_along_what_it_brought() {
        let mut queue = LoadAverage::new(0);
        let mut task = LoadAverage::of_new_task(0, 335, &queue, 1024);
        queue.attach(&mut task, 335);
        queue.detach(&task, 335);
        assert_eq!((queue.load_avg, queue.util_avg, queue.runnable_avg), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn averages_stay_within_what_could_be(
            steps in proptest::collection::vec((0..u64::MAX >> 8, any::<bool>(), any::<bool>()), 1..40),
            weight in 2..100_000_u64,
        ) {
            let mut average = LoadAverage::new(0);
            let mut now_ns = 0_u64;
            for (pause_ns, queued, running) in steps {
                now_ns = now_ns.saturating_add(pause_ns >> (pause_ns % 48));
                let load = u64::from(queued);
                let running = queued && running;
                average.update(now_ns, weight, Signals { load, runnable: load, running });
                prop_assert!(average.util_avg <= 1024, "{average:?}");
                prop_assert!(average.util_avg <= average.runnable_avg, "{average:?}");
                prop_assert!(average.load_avg <= weight, "{average:?}");
            }
        }
    }
}
