//! The averages by the letter of the rule, one division for each: what the quick ones must equal.

use crate::pelt::{DIVIDER_MIN, FORGOTTEN, SUM_MAX, Signals, UNIT_SHIFT, WINDOW, Y_POWERS};

/// value · y^windows.
pub(super) fn decay(value: u64, windows: u64) -> u64 {
    if windows > FORGOTTEN {
        return 0;
    }
    let halved = value >> (windows / 32);
    ((u128::from(halved) * u128::from(Y_POWERS[(windows % 32) as usize])) >> 32) as u64
}

/// As [`LoadAverage`], in 64 bits throughout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Plain {
    pub(super) updated_ns: u64,
    /// Units of the window under way that are accounted.
    pub(super) in_window: u64,
    pub(super) load_sum: u64,
    pub(super) runnable_sum: u64,
    pub(super) util_sum: u64,
    /// Weight times how much of the time it was queued.
    pub(super) load_avg: u64,
    /// 1024 for each that wanted to run all the time.
    pub(super) runnable_avg: u64,
    /// 1024 for running all the time.
    pub(super) util_avg: u64,
}

impl Plain {
    /// Nothing so far, at this time of the PELT clock.
    pub(super) fn new(now_ns: u64) -> Self {
        Self { updated_ns: now_ns, ..Self::default() }
    }

    /// A new task (F.6): as if it had always been queued, with a share of what utilisation its queue
    /// has left. `weight` is unscaled; `capacity` is 1024 for the fastest CPU.
    pub(super) fn of_new_task(now_ns: u64, weight: u64, queue: &Self, capacity: u64) -> Self {
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
    pub(super) fn update(&mut self, now_ns: u64, weight: u64, signals: Signals) -> bool {
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
    pub(super) fn attach(&mut self, entity: &mut Self, weight: u64) {
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
    pub(super) fn detach(&mut self, entity: &Self, weight: u64) {
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
