//! What a pod asks for as a whole, and its class.
//!
//! Sources: the resource calculation of pods with init containers and sidecars, the QoS classes and
//! pod-level resources as Kubernetes documents them (specification F.4, F.5).

use crate::model::{Container, Pod, Resources, Role};
use crate::quantity::Quantity;

/// Quality of service: which branch of the cgroup tree a pod is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QosClass {
    /// Every container has CPU and memory limits that equal its requests.
    Guaranteed,
    /// Something is asked for.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl std::fmt::Display for QosClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        })
    }
}

impl Resources {
    fn map2(self, other: Self, f: impl Fn(Quantity, Quantity) -> Quantity) -> Self {
        let both = |a: Option<Quantity>, b: Option<Quantity>| match (a, b) {
            (Some(a), Some(b)) => Some(f(a, b)),
            (a, b) => a.or(b),
        };
        Self {
            cpu_request: both(self.cpu_request, other.cpu_request),
            cpu_limit: both(self.cpu_limit, other.cpu_limit),
            memory_request: both(self.memory_request, other.memory_request),
            memory_limit: both(self.memory_limit, other.memory_limit),
        }
    }

    fn plus(self, other: Self) -> Self {
        self.map2(other, Quantity::plus)
    }

    fn max(self, other: Self) -> Self {
        self.map2(other, Ord::max)
    }

    fn class(&self) -> QosClass {
        let amount = |quantity: Option<Quantity>| quantity.filter(|quantity| !quantity.is_zero());
        let cpu = (amount(self.cpu_request), amount(self.cpu_limit));
        let memory = (amount(self.memory_request), amount(self.memory_limit));
        if [cpu, memory].iter().all(|pair| *pair == (None, None)) {
            QosClass::BestEffort
        } else if [cpu, memory].iter().all(|(request, limit)| limit.is_some() && request == limit) {
            QosClass::Guaranteed
        } else {
            QosClass::Burstable
        }
    }
}

impl Pod {
    /// The containers that run as long as the pod does: ordinary ones, then sidecars.
    pub fn running(&self) -> impl Iterator<Item = &Container> {
        let sidecars = self.init.iter().filter(|container| container.role == Role::Sidecar);
        self.containers.iter().chain(sidecars)
    }

    /// Its class. Pod-level resources decide where there are any.
    pub fn qos_class(&self) -> QosClass {
        if let Some(resources) = &self.resources {
            return resources.class();
        }
        let mut classes =
            self.containers.iter().chain(&self.init).map(|container| container.resources.class());
        let first = classes.next().unwrap_or(QosClass::BestEffort);
        if classes.all(|class| class == first) { first } else { QosClass::Burstable }
    }

    /// Requests and limits of all containers together: the sum of those that run at a time, at its
    /// highest. While an init container runs, the sidecars before it do too.
    pub(crate) fn sums(&self) -> Resources {
        let mut total = Resources::default();
        for container in self.running() {
            total = total.plus(container.resources);
        }
        let (mut sidecars, mut most) = (Resources::default(), Resources::default());
        for container in &self.init {
            let while_it_starts = sidecars.plus(container.resources);
            if container.role == Role::Sidecar {
                sidecars = while_it_starts;
            }
            most = most.max(while_it_starts);
        }
        total.max(most)
    }

    /// CPUs the pod asks for, overhead included.
    pub fn cpu_request(&self) -> Quantity {
        let own = self.resources.and_then(|resources| resources.cpu_request);
        let request = own.or(self.sums().cpu_request).unwrap_or(Quantity::ZERO);
        request.plus(self.overhead_cpu)
    }

    /// CPUs the pod may use, overhead included; `None` if a container has no limit and the pod has
    /// none of its own.
    pub fn cpu_limit(&self) -> Option<Quantity> {
        let has = |limit: Option<Quantity>| limit.filter(|limit| !limit.is_zero());
        let own = has(self.resources.and_then(|resources| resources.cpu_limit));
        let mut all = self.containers.iter().chain(&self.init);
        let limited = all.all(|container| has(container.resources.cpu_limit).is_some());
        let limit = own.or(limited.then_some(()).and(self.sums().cpu_limit))?;
        Some(limit.plus(self.overhead_cpu))
    }

    /// The limit that a container is held to: its own, or else the pod's.
    pub fn container_cpu_limit(&self, container: &Container) -> Option<Quantity> {
        let has = |limit: Option<Quantity>| limit.filter(|limit| !limit.is_zero());
        let pod = self.resources.and_then(|resources| resources.cpu_limit);
        has(container.resources.cpu_limit).or(has(pod))
    }
}
