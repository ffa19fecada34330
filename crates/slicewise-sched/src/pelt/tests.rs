use proptest::prelude::*;

use super::*;

mod plain;

use plain::Plain;

const WINDOW_NS: u64 = 1024 * 1024;
const RUNS: Signals = Signals { load: 1, runnable: 1, running: true };

fn util_after(windows: u64) -> u64 {
    let mut average = LoadAverage::new(0);
    average.update(windows * WINDOW_NS, 1024, RUNS);
    average.util_avg()
}

#[test]
fn wx34_sums_and_averages_of_fresh_windows() {
    let decayed = |value, windows| Decay::over(windows).of(value);
    assert_eq!([decayed(1024, 1), decayed(47_742, 1), decayed(1024, 32)], [1002, 46_718, 511]);
    assert_eq!([1, 16, 32, 345].map(util_after), [21, 299, 512, 1023]);
    let mut average = LoadAverage::new(0);
    average.update(32 * WINDOW_NS, 1024, RUNS);
    assert_eq!(average.util_sum, 23_919_616);
    let mut average = LoadAverage::new(0);
    average.update(345 * WINDOW_NS, 1024, RUNS);
    average.update(377 * WINDOW_NS, 1024, Signals::default());
    assert_eq!(average.util_avg(), 511);
}

#[test]
fn wx34_utilisation_at_ticks_of_four_milliseconds() {
    let mut average = LoadAverage::new(0);
    let at_tick = (1..=25).map(|tick| {
        average.update(tick * 4_000_000, 1024, RUNS);
        average.util_avg()
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
            task.util_avg()
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
    assert!((2040..=2048).contains(&queue.load_avg()), "{queue:?}");
    assert!((2040..=2048).contains(&queue.runnable_avg()), "{queue:?}");
}

#[test]
fn who_leaves_takes_along_what_it_brought() {
    let mut queue = LoadAverage::new(0);
    let mut task = LoadAverage::of_new_task(0, 335, &queue, 1024);
    queue.attach(&mut task, 335);
    queue.detach(&task, 335);
    assert_eq!((queue.load_avg(), queue.util_avg(), queue.runnable_avg()), (0, 0, 0));
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
            prop_assert!(average.util_avg() <= 1024, "{average:?}");
            prop_assert!(average.util_avg() <= average.runnable_avg(), "{average:?}");
            prop_assert!(average.load_avg() <= weight, "{average:?}");
        }
    }

    #[test]
    fn averages_equal_those_of_the_plain_rule(
        steps in proptest::collection::vec(any::<(u64, u8, u64)>(), 1..60),
        lone_weight in (any::<u64>(), 0..64_u32).prop_map(|(weight, shift)| weight >> shift),
    ) {
        let (mut quick, mut plain) = (LoadAverage::new(7), Plain::new(7));
        let (mut lone, mut lone_plain) = (quick, plain);
        let mut members: Vec<(LoadAverage, Plain, u64)> = Vec::new();
        let mut now_ns = 7_u64;
        for (pause_ns, action, number) in steps {
            // Pauses of all sizes, most of them around a window; some times go back.
            let pause_ns = pause_ns >> (16 + pause_ns % 48);
            now_ns = match pause_ns % 31 {
                0 => now_ns.saturating_sub(pause_ns),
                _ => now_ns.saturating_add(pause_ns),
            };
            let weight = number % 100_000 + 2;
            let signals = Signals {
                load: if action % 5 == 0 { 0 } else { number >> (number % 64) },
                runnable: number % 1000,
                running: action & 64 == 0,
            };
            match action % 4 {
                3 if action > 128 && members.len() < 50 => {
                    let mut task = LoadAverage::of_new_task(now_ns, weight, &quick, 1024);
                    let mut as_plain = Plain::of_new_task(now_ns, weight, &plain, 1024);
                    quick.attach(&mut task, weight);
                    plain.attach(&mut as_plain, weight);
                    members.push((task, as_plain, weight));
                }
                3 => {
                    if let Some((task, as_plain, weight)) = members.pop() {
                        quick.detach(&task, weight);
                        plain.detach(&as_plain, weight);
                    }
                }
                2 => {
                    if let Some((task, as_plain, weight)) = members.last_mut() {
                        let signals = Signals {
                            load: u64::from(action > 50),
                            runnable: number % 2,
                            ..signals
                        };
                        prop_assert_eq!(
                            task.update(now_ns, *weight, signals),
                            as_plain.update(now_ns, *weight, signals)
                        );
                        prop_assert_eq!(as_plain_of(task), *as_plain);
                    }
                }
                1 => {
                    let signals = Signals { load: signals.load >> 20, ..signals };
                    prop_assert_eq!(
                        quick.update(now_ns, 1, signals),
                        plain.update(now_ns, 1, signals)
                    );
                }
                _ => {
                    prop_assert_eq!(
                        lone.update(now_ns, lone_weight, signals),
                        lone_plain.update(now_ns, lone_weight, signals)
                    );
                    prop_assert_eq!(as_plain_of(&lone), lone_plain);
                }
            }
            prop_assert_eq!(as_plain_of(&quick), plain);
        }
    }

    #[test]
    fn one_division_serves_for_sums_of_any_size(
        in_window in 0..WINDOW,
        sum in any::<u64>(),
        shift in 0..64_u32,
        off in 0..3_u64,
    ) {
        let divider = DIVIDER_MIN + in_window;
        let reciprocal = Reciprocal::of(divider);
        let sum = sum >> shift;
        // Beside a multiple of the divider an error would show.
        let beside = (sum - sum % divider).saturating_add(off).saturating_sub(1);
        for sum in [sum, beside] {
            prop_assert_eq!(reciprocal.of_sum(sum), sum / divider);
        }
    }
}

fn as_plain_of(quick: &LoadAverage) -> Plain {
    Plain {
        updated_ns: quick.updated_ns,
        in_window: quick.in_window.into(),
        load_sum: quick.load_sum,
        runnable_sum: quick.runnable_sum,
        util_sum: quick.util_sum.into(),
        load_avg: quick.load_avg,
        runnable_avg: quick.runnable_avg.into(),
        util_avg: quick.util_avg.into(),
    }
}
