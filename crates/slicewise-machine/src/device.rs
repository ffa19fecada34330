//! Devices: work handed over and completed in order, one submission at a time.

use std::collections::VecDeque;

use slicewise_trace::{Event, Sink};

use crate::error::Done;
use crate::machine::Machine;
use crate::task::NONE;

/// A device at work.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeviceState {
    /// Submissions not completed, the one being worked on first.
    pending: VecDeque<u64>,
    submitted: u64,
    completed: u64,
}

impl<S: Sink> Machine<'_, S> {
    /// Hands work to a device, or waits for room.
    pub(crate) fn submit(&mut self, cpu: u32, task: u32, device: u32, work_ns: u64) -> Done {
        let depth = self.workload.devices[device as usize].depth as usize;
        if self.devices[device as usize].pending.len() < depth {
            self.accept(task, device, work_ns);
            return Ok(());
        }
        self.details[task as usize].dealings().submission_ns = work_ns;
        self.join(self.map.rooms + device, task);
        self.block(cpu, task)
    }

    fn accept(&mut self, task: u32, device: u32, work_ns: u64) {
        if self.enqueue(task, device, work_ns) == 1 {
            self.emit(Event::Device { device, busy: true });
            self.start_submission(device, work_ns);
        }
    }

    /// Adds a submission; how many there are now.
    fn enqueue(&mut self, task: u32, device: u32, work_ns: u64) -> usize {
        let state = &mut self.devices[device as usize];
        state.submitted += 1;
        state.pending.push_back(work_ns);
        let submissions = &mut self.details[task as usize].dealings().submissions;
        match submissions.iter_mut().find(|(of, _)| *of == device) {
            Some((_, last)) => *last = state.submitted,
            None => submissions.push((device, state.submitted)),
        }
        state.pending.len()
    }

    fn start_submission(&mut self, device: u32, work_ns: u64) {
        let slot = self.layout.device(device);
        self.events.arm(slot, self.now.saturating_add(work_ns));
    }

    /// Waits until the device is done with all the task submitted.
    pub(crate) fn synchronize(&mut self, cpu: u32, task: u32, device: u32) -> Done {
        if self.done_for(task, device) {
            return Ok(());
        }
        self.join(self.map.syncs + device, task);
        self.block(cpu, task)
    }

    fn done_for(&self, task: u32, device: u32) -> bool {
        let dealings = &self.details[task as usize].dealings;
        let mut submissions = dealings.iter().flat_map(|dealings| &dealings.submissions);
        let last = submissions.find(|(of, _)| *of == device).map_or(0, |(_, last)| *last);
        self.devices[device as usize].completed >= last
    }

    /// The device has completed its oldest submission.
    pub(crate) fn device_done(&mut self, device: u32) -> Done {
        let state = &mut self.devices[device as usize];
        state.pending.pop_front();
        state.completed += 1;
        let next = state.pending.front().copied();
        let submitter = self.leave_first(self.map.rooms + device);
        if let Some(work_ns) = next {
            self.start_submission(device, work_ns);
        }
        if let Some(task) = submitter {
            let work_ns = self.details[task as usize].dealings().submission_ns;
            if self.enqueue(task, device, work_ns) == 1 {
                // A device of depth one: it has run dry, but for no time at all.
                self.start_submission(device, work_ns);
            }
        } else if next.is_none() {
            self.emit(Event::Device { device, busy: false });
        }
        if let Some(task) = submitter {
            self.interrupt_wake(task)?;
        }
        self.wake_synchronized(device)
    }

    fn wake_synchronized(&mut self, device: u32) -> Done {
        let queue = self.map.syncs + device;
        let mut before = NONE;
        let mut task = self.waits[queue as usize].first;
        while task != NONE {
            let next = self.tasks[task as usize].next_waiter;
            if self.done_for(task, device) {
                self.leave_after(queue, before);
                self.interrupt_wake(task)?;
            } else {
                before = task;
            }
            task = next;
        }
        Ok(())
    }
}
