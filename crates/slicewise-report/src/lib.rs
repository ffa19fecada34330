//! Analyses of the event stream and their renderings.
//!
//! [`Metrics`] listens to a stream and makes a [`RunReport`], the figures of one run as plain
//! values. [`render_run`] shows it to people, [`CompareReport`] and [`render_compare`] put several
//! side by side, [`ExplainReport`] and [`render_explain`] say why the scheduler picked a task. All
//! reports can be serialised; their field names are a contract.

mod compare;
mod explain;
mod groups;
mod histogram;
mod kube;
mod memory;
mod metrics;
mod place;
mod report;
mod rt;
mod summary;
mod table;
mod text;
mod topology;
mod whatif;
mod why;

pub use compare::{
    Better, CompareReport, ComparedGroup, ComparedTask, Comparison, Unit, Value, render_compare,
};
pub use explain::{ExplainReport, ExplainedCandidate, ExplainedFair, render_explain};
pub use groups::{GroupFacts, GroupFigures, GroupMeter};
pub use histogram::{Histogram, Log2Histogram};
pub use kube::{
    KubeBaseline, KubeContainer, KubeFinding, KubeLaunch, KubeNeighbour, KubeNode, KubeOther,
    KubePart, KubeQuota, KubeReport, KubeRequests, KubeSaturated, KubeService, KubeSuggestion,
    KubeTimes, KubeTrial, KubeTrialFigures, KubeWait, KubeWidth, render_kube,
};
pub use metrics::{Metrics, RunInfo};
pub use place::{
    PlaceCandidate, PlaceFigures, PlaceLines, PlaceMask, PlaceReport, PlaceRole, render_place,
};
pub use report::{
    CgroupFile, CpuReport, DeadlineReport, DelayReport, DeviceReport, GroupReport,
    InterruptedReport, JobReport, MemoryReport, PressureReport, QueueReport, RtThrottleReport,
    RunReport, RunqlatRow, SharedMemoryReport, SignalReport, SwitchReport, TaskMemoryReport,
    TaskReport,
};
pub use rt::{
    RtCore, RtKernel, RtPriority, RtReport, RtStretch, RtSuggestion, RtTask, RtTimeline, RtUnknown,
    render_rt,
};
pub use summary::{
    SummaryCpu, SummaryDelay, SummaryLeft, SummaryMatrix, SummaryReport, SummaryRow, render_summary,
};
pub use table::{render_run, render_runqlat};
pub use text::Style;
pub use topology::{
    TaskPlaces, TopologyCache, TopologyCpu, TopologyNode, TopologyReport, TopologyTasks,
    render_topology, topology_svg,
};
pub use whatif::{
    WhatifError, WhatifFigures, WhatifRebuilt, WhatifRecording, WhatifReport, WhatifTask,
    WhatifTimer, WhatifWorse, render_whatif,
};
pub use why::{WhyCause, WhyPart, WhyReport, WhyTask, WhyTrial, WhyWait, WhyWho, render_why};
