//! What CPUs draw: the energy model that energy-aware placement goes by (fair.md G.9).

/// What the CPUs of a machine draw at each of their frequencies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EnergyModel {
    /// CPUs that change frequency together. Each CPU must be in one.
    pub domains: Vec<PerfDomain>,
}

/// CPUs with one clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PerfDomain {
    /// The CPUs, which have the same capacity.
    pub cpus: Vec<u32>,
    /// What they can do and draw at each frequency, slowest first; the last is their whole capacity.
    pub states: Vec<CapacityState>,
}

/// A frequency.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CapacityState {
    /// What a CPU can do, of 1024.
    pub capacity: u32,
    /// What it draws while it is busy, in any unit that all domains share: mW, say.
    pub power: u32,
}

impl EnergyModel {
    /// Whether the model is of a machine with these capacities: each CPU in one domain, with states that
    /// rise to its capacity.
    pub fn fits(&self, capacities: &[u32]) -> bool {
        let mut seen = vec![false; capacities.len()];
        let known = self.domains.iter().all(|domain| {
            let rising = domain.states.windows(2).all(|pair| pair[0].capacity < pair[1].capacity);
            let (first, last) = (domain.states.first(), domain.states.last());
            rising
                && first.is_some_and(|state| state.capacity > 0)
                && domain.cpus.iter().all(|cpu| {
                    let capacity = capacities.get(*cpu as usize).copied();
                    let new =
                        seen.get_mut(*cpu as usize).map(|seen| core::mem::replace(seen, true));
                    new == Some(false) && capacity == last.map(|state| state.capacity)
                })
        });
        known && seen.iter().all(|seen| *seen)
    }
}

impl PerfDomain {
    /// What the domain draws while its CPUs are busy for so much in sum, at the frequency that the
    /// busiest of them needs with a quarter of headroom. Only good to be compared.
    pub(crate) fn energy(&self, most: u64, busy_sum: u64) -> u64 {
        let wanted = most + (most >> 2);
        let enough = self.states.iter().find(|state| u64::from(state.capacity) >= wanted);
        let Some(state) = enough.or(self.states.last()) else { return 0 };
        let cost = (u64::from(state.power) << 20) / u64::from(state.capacity.max(1));
        cost.saturating_mul(busy_sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(cpus: Vec<u32>, states: &[(u32, u32)]) -> PerfDomain {
        let states = states
            .iter()
            .map(|(capacity, power)| CapacityState { capacity: *capacity, power: *power });
        PerfDomain { cpus, states: states.collect() }
    }

    #[test]
    fn the_busiest_cpu_sets_the_frequency_of_all_with_a_quarter_of_headroom() {
        let domain = domain(vec![0, 1], &[(256, 100), (512, 400), (1024, 1600)]);
        let unit = 1 << 20;
        assert_eq!(domain.energy(204, 300), 100 * unit / 256 * 300, "255 is within 256");
        assert_eq!(domain.energy(208, 300), 400 * unit / 512 * 300, "260 is not");
        assert_eq!(domain.energy(1024, 300), 1600 * unit / 1024 * 300, "there is no more");
        assert_eq!(domain.energy(100, 0), 0);
    }

    #[test]
    fn a_model_is_of_one_machine() {
        let model = |domains| EnergyModel { domains };
        let little = || domain(vec![0, 1], &[(100, 1), (400, 5)]);
        let big = |cpus| domain(cpus, &[(1024, 50)]);
        let capacities = [400, 400, 1024];
        assert!(model(vec![little(), big(vec![2])]).fits(&capacities));
        assert!(!model(vec![little()]).fits(&capacities), "CPU 2 is in none");
        assert!(!model(vec![little(), big(vec![1, 2])]).fits(&capacities), "CPU 1 is in two");
        assert!(!model(vec![little(), big(vec![3])]).fits(&capacities), "there is no CPU 3");
        assert!(!model(vec![little(), big(vec![2])]).fits(&[400, 400, 800]), "it is slower");
        let falling = domain(vec![2], &[(1024, 9), (1024, 10)]);
        assert!(!model(vec![little(), falling]).fits(&capacities));
    }
}
