//! What a trace lacks, or has that is not understood.

use std::collections::BTreeMap;

/// At most so many names are kept of one kind of finding; what is beyond is only counted.
const NAMES_MAX: usize = 64;

/// What a trace lacks, or has that is not understood. Complete once the trace has been read to its
/// end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// Events delivered.
    pub events: u64,
    /// Events the ring buffer lost on the way, as far as it said how many.
    pub lost_events: u64,
    /// Places where events were lost, whether or not it is known how many.
    pub lost_places: u64,
    /// Events overwritten by later ones before the recording was read: it begins late.
    pub overwritten_events: u64,
    /// Events earlier than the one before on the same CPU. They are delivered as they come.
    pub backwards: u64,
    /// Records, pages or lines that make no sense. Skipped.
    pub malformed: u64,
    /// Records whose event is described neither in the file nor here. Skipped.
    pub unknown_formats: u64,
    /// The file ends before it should.
    pub truncated: bool,
    /// Other trace instances in the file; only the main one is read.
    pub other_instances: u64,
    /// Known events whose fields are not as expected, by name. They are delivered as
    /// [`Kind::Other`](crate::Kind::Other).
    pub unexpected_layouts: BTreeMap<String, u64>,
    /// First thing that was malformed: where and what.
    pub first_malformed: Option<String>,
}

impl Findings {
    /// Whether the trace is whole and was understood. A late beginning is no fault.
    pub fn is_clean(&self) -> bool {
        let Self {
            events: _,
            lost_events,
            lost_places,
            overwritten_events: _,
            backwards,
            malformed,
            unknown_formats,
            truncated,
            other_instances: _,
            unexpected_layouts,
            first_malformed: _,
        } = self;
        lost_events + lost_places + backwards + malformed + unknown_formats == 0
            && !truncated
            && unexpected_layouts.is_empty()
    }

    pub(crate) fn malformed(&mut self, what: impl FnOnce() -> String) {
        self.malformed += 1;
        if self.first_malformed.is_none() {
            self.first_malformed = Some(what());
        }
    }

    pub(crate) fn unexpected_layout(&mut self, name: &str) {
        if let Some(count) = self.unexpected_layouts.get_mut(name) {
            *count += 1;
        } else if self.unexpected_layouts.len() < NAMES_MAX {
            self.unexpected_layouts.insert(name.to_owned(), 1);
        } else {
            self.malformed += 1;
        }
    }
}
