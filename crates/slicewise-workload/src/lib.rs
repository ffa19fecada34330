//! Workload formats.
