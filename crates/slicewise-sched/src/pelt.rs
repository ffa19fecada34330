//! Per-entity load tracking: how much something ran, wanted to run and weighed lately, as averages
//! in which 32 ms ago counts half (fair.md F).
//!
//! Time is cut into windows of 1024 units of 1024 ns. A sum is Σ contribution · y^age with the age
//! in windows and y^32 = 1/2, all in the kernel's integers; an average is the sum over what it could
//! have been at most.

use core::hint::cold_path;

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
const Y_POWERS: [u32; 32] = [
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

/// What so many windows leave of whole windows between the first and the last of them, in units.
const BETWEEN: [u32; 32] = {
    let mut between = [0; 32];
    let mut windows = 1;
    while windows < 32 {
        let left = (SUM_MAX * Y_POWERS[windows] as u64) >> 32;
        between[windows] = (SUM_MAX - WINDOW - left) as u32;
        windows += 1;
    }
    between
};

/// y to the power of a number of windows.
#[derive(Clone, Copy)]
struct Decay {
    halvings: u32,
    /// What is left after the halvings, of 2^32.
    rest: u32,
}

impl Decay {
    #[inline]
    fn over(windows: u64) -> Self {
        if windows > FORGOTTEN {
            return Self { halvings: 0, rest: 0 };
        }
        let rest = Y_POWERS[(windows % 32) as usize];
        Self { halvings: (windows / 32) as u32, rest }
    }

    #[inline]
    fn of(self, value: u64) -> u64 {
        ((u128::from(value >> self.halvings) * u128::from(self.rest)) >> 32) as u64
    }

    #[inline]
    fn of_narrow(self, value: u32) -> u32 {
        (((u64::from(value) >> self.halvings) * u64::from(self.rest)) >> 32) as u32
    }
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
///
/// Each is that of the last update in which a window ended. Sums and averages of utilisation and the
/// average of what is runnable have 32 bits, and do not pass their greatest value: a queue joined by
/// tasks that filled 89 CPUs, or 4 million that want to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoadAverage {
    updated_ns: u64,
    load_sum: u64,
    runnable_sum: u64,
    load_avg: u64,
    util_sum: u32,
    runnable_avg: u32,
    util_avg: u32,
    /// Units of the window under way that are accounted.
    in_window: u32,
}

impl LoadAverage {
    /// Nothing so far, at time 0.
    pub(crate) const NONE: Self = Self {
        updated_ns: 0,
        load_sum: 0,
        runnable_sum: 0,
        load_avg: 0,
        util_sum: 0,
        runnable_avg: 0,
        util_avg: 0,
        in_window: 0,
    };

    /// Nothing so far, at this time of the PELT clock.
    pub fn new(now_ns: u64) -> Self {
        Self { updated_ns: now_ns, ..Self::NONE }
    }

    /// A new task (F.6): as if it had always been queued, with a share of what utilisation its queue
    /// has left. `weight` is unscaled; `capacity` is 1024 for the fastest CPU.
    pub fn of_new_task(now_ns: u64, weight: u64, queue: &Self, capacity: u64) -> Self {
        let mut new = Self::new(now_ns);
        new.load_avg = weight;
        let left = capacity.saturating_sub(queue.util_avg()) / 2;
        if left > 0 {
            let share = match queue.util_avg() {
                0 => left,
                util => util.saturating_mul(weight) / (queue.load_avg + 1),
            };
            new.util_avg = narrow(share.min(left));
        }
        new.runnable_avg = new.util_avg;
        new.sums_from_averages(weight);
        new
    }

    /// Weight times how much of the time it was queued.
    #[inline]
    pub fn load_avg(&self) -> u64 {
        self.load_avg
    }

    /// 1024 for each that wanted to run all the time.
    #[inline]
    pub fn runnable_avg(&self) -> u64 {
        self.runnable_avg.into()
    }

    /// 1024 for running all the time.
    #[inline]
    pub fn util_avg(&self) -> u64 {
        self.util_avg.into()
    }

    /// Takes in the time since the last update (F.2). `weight` is what the average of the load is
    /// multiplied with: the unscaled weight of an entity, 1 for a queue. Whether a window ended, so
    /// that the averages are new. Time that goes back counts as none.
    #[inline]
    pub fn update(&mut self, now_ns: u64, weight: u64, signals: Signals) -> bool {
        self.update_with(now_ns, || weight, || signals)
    }

    /// The same, where weight and signals are asked for only if there is anything to take in: while a
    /// window lasts, that is three additions.
    #[inline(always)]
    pub(crate) fn update_with(
        &mut self,
        now_ns: u64,
        weight: impl FnOnce() -> u64,
        signals: impl FnOnce() -> Signals,
    ) -> bool {
        let units = now_ns.wrapping_sub(self.updated_ns) >> UNIT_SHIFT;
        if units == 0 {
            return false;
        }
        if now_ns < self.updated_ns {
            cold_path();
            self.updated_ns = now_ns;
            return false;
        }
        self.updated_ns += units << UNIT_SHIFT;
        let total = units + u64::from(self.in_window);
        let signals = signals();
        if total < WINDOW {
            self.in_window = total as u32;
            self.add(units, signals);
            return false;
        }
        self.end_windows(total, weight(), signals.load, signals.runnable, signals.running);
        true
    }

    /// The same where every signal was 0.
    #[inline(always)]
    pub(crate) fn decay(&mut self, now_ns: u64, weight: impl FnOnce() -> u64) -> bool {
        let units = now_ns.wrapping_sub(self.updated_ns) >> UNIT_SHIFT;
        let total = units + u64::from(self.in_window);
        if units == 0 || total < WINDOW || now_ns < self.updated_ns {
            return self.update_with(now_ns, weight, Signals::default);
        }
        self.updated_ns += units << UNIT_SHIFT;
        self.decay_windows(total, weight());
        true
    }

    /// As [`end_windows`](Self::end_windows), without anything to add.
    #[inline(never)]
    fn decay_windows(&mut self, total: u64, weight: u64) {
        let (windows, rest) = (total / WINDOW, total % WINDOW);
        let Some(power) = Y_POWERS.get(windows as usize) else {
            cold_path();
            return self.end_many_windows(total, weight, Signals::default());
        };
        let decayed = |sum: u64| ((u128::from(sum) * u128::from(*power)) >> 32) as u64;
        let per_divider = Reciprocal::of(DIVIDER_MIN + rest);
        self.in_window = rest as u32;
        self.load_sum = decayed(self.load_sum);
        self.load_avg = match self.load_sum.checked_mul(weight) {
            Some(product) => per_divider.of_sum(product),
            None => scaled(self.load_sum, weight, per_divider.divider),
        };
        self.runnable_sum = decayed(self.runnable_sum);
        self.runnable_avg = narrow(per_divider.of_sum(self.runnable_sum));
        self.util_sum = decayed(self.util_sum.into()) as u32;
        self.util_avg = narrow(per_divider.of_sum(self.util_sum.into()));
    }

    /// As many units, now with those of the window under way, end it and maybe others. Signals come one
    /// by one, in registers, and one sum is done after the other, so that there are enough of them.
    #[inline(never)]
    fn end_windows(&mut self, total: u64, weight: u64, load: u64, runnable: u64, running: bool) {
        let (windows, rest) = (total / WINDOW, total % WINDOW);
        let Some(power) = Y_POWERS.get(windows as usize) else {
            cold_path();
            return self.end_many_windows(total, weight, Signals { load, runnable, running });
        };
        // Nothing is halved: what is left is the power of y.
        let decayed = |sum: u64| ((u128::from(sum) * u128::from(*power)) >> 32) as u64;
        let per_divider = Reciprocal::of(DIVIDER_MIN + rest);
        // The rest of the old window, the whole windows between, the beginning of the new one.
        let old = decayed(WINDOW - u64::from(self.in_window));
        let units = old + u64::from(BETWEEN[windows as usize % 32]) + rest;
        self.in_window = rest as u32;

        let sum = decayed(self.load_sum).saturating_add(load.saturating_mul(units));
        self.load_sum = sum;
        self.load_avg = match sum.checked_mul(weight) {
            Some(product) => per_divider.of_sum(product),
            None => scaled(sum, weight, per_divider.divider),
        };
        let runnable = if load == 0 { 0 } else { runnable.saturating_mul(WINDOW) };
        let sum = decayed(self.runnable_sum).saturating_add(runnable.saturating_mul(units));
        self.runnable_sum = sum;
        self.runnable_avg = narrow(per_divider.of_sum(sum));
        let mut sum = decayed(self.util_sum.into()) as u32;
        if running && load != 0 {
            sum = sum.saturating_add((WINDOW * units) as u32);
        }
        self.util_sum = sum;
        self.util_avg = narrow(per_divider.of_sum(sum.into()));
    }

    /// The same for any number of windows.
    #[cold]
    fn end_many_windows(&mut self, total: u64, weight: u64, signals: Signals) {
        let (windows, rest) = (total / WINDOW, total % WINDOW);
        let decay = Decay::over(windows);
        let old = decay.of_narrow(WINDOW as u32 - self.in_window);
        let between = (SUM_MAX - WINDOW) as u32 - decay.of_narrow(SUM_MAX as u32);
        self.load_sum = decay.of(self.load_sum);
        self.runnable_sum = decay.of(self.runnable_sum);
        self.util_sum = decay.of_narrow(self.util_sum);
        self.in_window = rest as u32;
        self.add(u64::from(old + between) + rest, signals);
        self.average(weight, &Reciprocal::of(self.divider()));
    }

    /// The averages that these sums are of.
    #[inline(always)]
    fn average(&mut self, weight: u64, per_divider: &Reciprocal) {
        self.load_avg = match self.load_sum.checked_mul(weight) {
            Some(product) => per_divider.of_sum(product),
            None => scaled(self.load_sum, weight, per_divider.divider),
        };
        self.runnable_avg = narrow(per_divider.of_sum(self.runnable_sum));
        self.util_avg = narrow(per_divider.of_sum(self.util_sum.into()));
    }

    /// The signals over a time that counts as this many units.
    #[inline(always)]
    fn add(&mut self, units: u64, Signals { load, runnable, running }: Signals) {
        if load == 0 {
            return;
        }
        self.load_sum = self.load_sum.saturating_add(load.saturating_mul(units));
        let runnable = runnable.saturating_mul(WINDOW).saturating_mul(units);
        self.runnable_sum = self.runnable_sum.saturating_add(runnable);
        if running {
            self.util_sum = self.util_sum.saturating_add((WINDOW * units) as u32);
        }
    }

    /// An entity joins this queue (F.5): it takes over the queue's position in time, and its
    /// averages are added. `weight` is the entity's, unscaled.
    pub fn attach(&mut self, entity: &mut Self, weight: u64) {
        (entity.updated_ns, entity.in_window) = (self.updated_ns, self.in_window);
        entity.sums_from_averages(weight);
        self.load_avg = self.load_avg.saturating_add(entity.load_avg);
        self.load_sum = self.load_sum.saturating_add(weight.saturating_mul(entity.load_sum));
        self.runnable_avg = self.runnable_avg.saturating_add(entity.runnable_avg);
        self.runnable_sum = self.runnable_sum.saturating_add(entity.runnable_sum);
        self.util_avg = self.util_avg.saturating_add(entity.util_avg);
        self.util_sum = self.util_sum.saturating_add(entity.util_sum);
    }

    /// An entity leaves this queue. Sums never fall below what the averages left stand for.
    pub fn detach(&mut self, entity: &Self, weight: u64) {
        let floor = |average: u64| average.saturating_mul(DIVIDER_MIN);
        self.load_avg = self.load_avg.saturating_sub(entity.load_avg);
        self.load_sum = self
            .load_sum
            .saturating_sub(weight.saturating_mul(entity.load_sum))
            .max(floor(self.load_avg));
        self.runnable_avg = self.runnable_avg.saturating_sub(entity.runnable_avg);
        self.runnable_sum =
            self.runnable_sum.saturating_sub(entity.runnable_sum).max(floor(self.runnable_avg()));
        self.util_avg = self.util_avg.saturating_sub(entity.util_avg);
        let util_sum = self.util_sum.saturating_sub(entity.util_sum);
        self.util_sum = util_sum.max(narrow(floor(self.util_avg())));
    }

    /// An entity joined or left further down: what that changes here at once (D.4).
    pub(crate) fn shift(&mut self, load: i64, runnable: i64, util: i64) {
        let divider = self.divider();
        self.load_avg = self.load_avg.saturating_add_signed(load);
        self.load_sum = self.load_avg.saturating_mul(divider);
        self.runnable_avg = narrow(self.runnable_avg().saturating_add_signed(runnable));
        self.runnable_sum = self.runnable_avg() * divider;
        self.util_avg = narrow(self.util_avg().saturating_add_signed(util));
        self.util_sum = narrow(self.util_avg() * divider);
    }

    /// Whether the last update was longer ago.
    pub(crate) fn is_older(&self, now_ns: u64, age_ns: u64) -> bool {
        now_ns.saturating_sub(self.updated_ns) >= age_ns
    }

    fn sums_from_averages(&mut self, weight: u64) {
        let divider = self.divider();
        self.util_sum = narrow(self.util_avg() * divider);
        self.runnable_sum = self.runnable_avg() * divider;
        let product = self.load_avg.saturating_mul(divider);
        self.load_sum = if product > weight { product / weight.max(1) } else { 1 };
    }

    /// What a sum of a signal that is 1 all the time would be now.
    #[inline]
    fn divider(&self) -> u64 {
        DIVIDER_MIN + u64::from(self.in_window)
    }
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Divides several sums by one divider at the price of one division.
struct Reciprocal {
    divider: u64,
    /// 2^64 / divider, rounded up.
    inverse: u64,
}

impl Reciprocal {
    /// A divider of sums: between [`DIVIDER_MIN`] and [`SUM_MAX`].
    #[inline]
    fn of(divider: u64) -> Self {
        Self { divider, inverse: u64::MAX / divider + 1 }
    }

    /// sum / divider, truncated. The inverse is too great by less than 1, so sum · inverse / 2^64 is
    /// by less than sum / 2^64. From a fraction of the divider to the next whole number it is 1 /
    /// divider at least, which is more while sum · divider ≤ 2^64.
    #[inline(always)]
    fn of_sum(&self, sum: u64) -> u64 {
        const EXACT: u64 = 1 << 48;
        if sum > EXACT {
            cold_path();
            return sum / self.divider;
        }
        ((u128::from(sum) * u128::from(self.inverse)) >> 64) as u64
    }
}

/// sum · weight / divider, truncated, where the product needs more than 64 bits.
#[cold]
fn scaled(sum: u64, weight: u64, divider: u64) -> u64 {
    let wide = u128::from(sum) * u128::from(weight) / u128::from(divider);
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
