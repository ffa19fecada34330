//! A manifest of many pods.

/// So many pods: seven in ten serve requests under a limit, two in ten do small jobs without one, one
/// in ten does larger jobs under a limit.
pub(crate) fn manifest(count: u32) -> String {
    let mut text = String::new();
    for number in 0..count {
        let (load, resources) = match number % 10 {
            0..7 => (
                "requests: {rate: 20/s, service: {dist: exponential, mean: 2ms}, workers: 4}",
                "{requests: {cpu: 50m, memory: 64Mi}, limits: {cpu: 200m, memory: 64Mi}}",
            ),
            7 | 8 => (
                "batch: {threads: 2, run: 2ms, sleep: 98ms}",
                "{requests: {cpu: 50m, memory: 64Mi}}",
            ),
            _ => (
                "batch: {threads: 2, run: 10ms, sleep: 90ms}",
                "{limits: {cpu: 100m, memory: 64Mi}}",
            ),
        };
        text.push_str(&format!(
            "---
apiVersion: v1
kind: Pod
metadata:
  name: pod-{number}
  annotations:
    slicewise.dev/load: |
      main: {{{load}}}
spec:
  containers:
  - name: main
    resources: {resources}
"
        ));
    }
    text
}
