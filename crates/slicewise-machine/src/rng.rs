//! Random numbers: xoshiro256++ seeded by splitmix64, one independent stream per purpose.

/// What a stream is for. Streams of different kinds or indices have nothing to do with each other,
/// so that a task more in a workload leaves the draws of all others as they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub(crate) enum Stream {
    /// A task that is there from the start; index in the workload.
    Task = 1,
    /// A forked task: template in the high half, number of the fork in the low.
    Fork = 2,
    /// Interarrival times of a queue.
    Arrival = 3,
    /// Service times of a queue.
    Service = 4,
    /// How long interrupts go on.
    Interrupt = 5,
    /// Where the grid of a group's periods begins; index of the group.
    Period = 6,
    /// Time between interrupts of a source; index in the workload.
    IrqArrival = 7,
    /// How long they take.
    IrqDuration = 8,
}

/// xoshiro256++ 1.0 (Blackman and Vigna).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Rng {
    state: [u64; 4],
}

/// splitmix64: spreads similar seeds over unrelated states.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The generator for one seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut mix = seed;
        let state = [(); 4].map(|()| splitmix64(&mut mix));
        Self { state }
    }

    /// The stream of one purpose.
    pub(crate) fn stream(seed: u64, kind: Stream, index: u64) -> Self {
        let mut mix = seed;
        let mut mix = splitmix64(&mut mix) ^ kind as u64;
        let mut mix = splitmix64(&mut mix) ^ index;
        Self::new(splitmix64(&mut mix))
    }

    /// Sixty-four fair bits.
    #[inline]
    pub(crate) fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ shifted, d.rotate_left(45)];
        result
    }

    /// A number from 0 to `bound` − 1, each equally often; 0 for a bound of 0 (Lemire).
    #[inline]
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        if (product as u64) < bound {
            let uneven = bound.wrapping_neg() % bound;
            while (product as u64) < uneven {
                product = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// A number in (0, 1], on a grid of 2⁻⁵³.
    #[inline]
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next_u64() >> 11) + 1) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_numbers() {
        // The reference output for seed 1234567.
        let mut state = 1_234_567;
        let got = [(); 5].map(|()| splitmix64(&mut state));
        assert_eq!(
            got,
            [
                6457827717110365317,
                3203168211198807973,
                9817491932198370423,
                4593380528125082431,
                16408922859458223821
            ]
        );
    }

    #[test]
    fn xoshiro_gives_the_published_numbers() {
        // The reference output for the state 1, 2, 3, 4.
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let got = [(); 10].map(|()| rng.next_u64());
        assert_eq!(
            got,
            [
                41943041,
                58720359,
                3588806011781223,
                3591011842654386,
                9228616714210784205,
                9973669472204895162,
                14011001112246962877,
                12406186145184390807,
                15849039046786891736,
                10450023813501588000
            ]
        );
    }

    #[test]
    fn streams_differ_by_seed_kind_and_index_and_are_repeatable() {
        let first = |seed, kind, index| Rng::stream(seed, kind, index).next_u64();
        let all = [
            first(1, Stream::Task, 0),
            first(2, Stream::Task, 0),
            first(1, Stream::Fork, 0),
            first(1, Stream::Task, 1),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
        assert_eq!(first(1, Stream::Task, 1), all[3]);
    }

    #[test]
    fn bounded_numbers_stay_below_the_bound_and_reach_every_value() {
        let mut rng = Rng::new(7);
        let mut seen = [0u32; 5];
        for _ in 0..10_000 {
            seen[rng.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (1_800..2_200).contains(n)), "{seen:?}");
        assert_eq!((rng.below(0), rng.below(1)), (0, 0));
        assert!((0..1000).all(|_| {
            let u = rng.unit();
            u > 0.0 && u <= 1.0
        }));
    }
}
