//! Kubernetes manifests, Compose files and `docker run`: what they turn into cgroups.
//!
//! [`load`] reads untrusted texts into a checked [`Manifest`]; [`tree`] turns it into the [`Group`]s
//! that a [`Node`]'s kubelet and runtime would make, and the containers in them with their loads.
//! Nothing here knows the simulator: a tree is what a scenario needs to be made of it.
//!
//! The crate does no IO but [`Source::open`], prints nothing and never panics; what is wrong comes
//! back as [`Diagnostic`]s with byte ranges, several at once.
//!
//! ```
//! use slicewise_containers::{Node, QosClass, Source, load, tree};
//!
//! let text = "\
//! apiVersion: v1
//! kind: Pod
//! metadata: {name: api}
//! spec:
//!   containers:
//!   - name: api
//!     resources:
//!       requests: {cpu: 500m}
//!       limits: {cpu: 2}
//! ";
//! let manifest = load(&[Source::new("api.yaml", text)]).unwrap();
//! assert_eq!(manifest.workloads[0].pod.qos_class(), QosClass::Burstable);
//!
//! let tree = tree(&manifest, &Node::new(8)).unwrap();
//! let group = &tree.groups[tree.containers[0].group];
//! assert_eq!((group.weight, group.quota_us, group.period_us), (59, Some(200_000), 100_000));
//! ```

mod cgroup;
mod cpus;
mod diagnostic;
mod docker;
mod fields;
mod kube;
mod kubelet;
mod load;
mod model;
mod node;
mod quantity;
mod source;
mod tree;
mod units;
mod yaml;

pub use cgroup::{
    PERIOD_DEFAULT_US, PERIOD_MAX_US, QUOTA_MAX_US, QUOTA_MIN_US, SHARES_DEFAULT, SHARES_MAX,
    SHARES_MIN, WEIGHT_DEFAULT, WeightFormula, kernel_shares, kernel_weight, quota_of_milli,
    shares_of_milli, systemd_quota,
};
pub use cpus::{CPUS_MAX, CpuList};
pub use diagnostic::{Diagnostic, LineCol, Place, Severity, line_col};
pub use docker::docker_run;
pub use kube::{LOAD_API_VERSION, QosClass, REPLICAS_MAX};
pub use kubelet::{
    CpuManagerError, CpuManagerState, NUMA_NODES_MAX, NodeCpu, NodeDevice, NodeTopology,
    NodeTopologyError, StateEntry, StateProblem, TopologyPolicy,
};
pub use load::{
    Batch, Dist, LOAD_ANNOTATION, LOAD_COMPOSE_KEY, Launch, Load, PARTS_MAX, Part, Requests,
    THREADS_MAX,
};
pub use model::{
    Container, Kind, Manifest, Pod, Resources, Role, SkipReason, Skipped, Standalone, Workload,
};
pub use node::{CgroupVersion, Driver, Node, NodeSettings, StaticPolicy, TopologyManager};
pub use quantity::{BadQuantity, Quantity};
pub use source::{FILE_BYTES_MAX, ReadError, Source};
pub use tree::{
    DeviceGrant, GROUPS_MAX, Group, GroupKind, Note, PODS_MAX, Running, Tree, TreeError, tree,
};

use diagnostic::{Sink, Span};

/// Reads Kubernetes and Compose files together: objects, lists of objects, loads for them, and the
/// kubelet's configuration.
///
/// # Errors
/// Everything wrong with the texts, in their order, warnings included.
pub fn load(sources: &[Source]) -> Result<Manifest, Vec<Diagnostic>> {
    let mut sink = Sink::default();
    let mut manifest = Manifest::default();
    let mut reader = kube::Reader::default();
    for (file, source) in sources.iter().enumerate() {
        sink.file = file;
        if source.text.len() as u64 > FILE_BYTES_MAX {
            let message = format!("the text has {} bytes", source.text.len());
            sink.error(Span::default(), message, format!("{FILE_BYTES_MAX} are the most"));
            continue;
        }
        yaml::documents(&source.text, &mut sink, |document, sink| {
            match document.as_map() {
                _ if document.is_null() => {}
                Some(map) if docker::compose::is_compose(map) => {
                    docker::compose::read(sink, map, &source.name, &mut manifest);
                }
                _ => reader.object(sink, &source.text, &document, &mut manifest),
            };
        });
    }
    reader.finish(&mut sink, &mut manifest);
    if manifest.workloads.is_empty() && manifest.standalone.is_empty() && !sink.has_errors() {
        let (message, help) = match manifest.skipped.first() {
            None => ("there is nothing in the input".to_owned(), String::new()),
            Some(first) => (
                format!(
                    "nothing in the input runs: {} objects are skipped",
                    manifest.skipped.len()
                ),
                format!("the first: {} `{}`, {}", first.kind, first.name, first.why),
            ),
        };
        sink.file = 0;
        sink.error(Span::default(), message, help);
    }
    let has_errors = sink.has_errors();
    let texts: Vec<&str> = sources.iter().map(|source| source.text.as_str()).collect();
    let list = sink.finish(&texts);
    if has_errors {
        return Err(list);
    }
    manifest.warnings = list;
    Ok(manifest)
}
