//! Requests that arrive on their own, and the tasks that serve them.

use std::collections::VecDeque;

use slicewise_trace::{Event, Sink, Slot};

use crate::Queue;
use crate::error::{Done, RunError};
use crate::machine::Machine;
use crate::rng::{Rng, Stream};
use crate::summary::QueueSummary;
use crate::task::{Request, Then};

/// A request queue at work.
#[derive(Clone, Debug)]
pub(crate) struct QueueState {
    arrivals: Rng,
    services: Rng,
    backlog: VecDeque<Request>,
    pub(crate) counts: QueueSummary,
}

impl QueueState {
    pub(crate) fn new(seed: u64, index: usize) -> Self {
        Self {
            arrivals: Rng::stream(seed, Stream::Arrival, index as u64),
            services: Rng::stream(seed, Stream::Service, index as u64),
            backlog: VecDeque::new(),
            counts: QueueSummary::default(),
        }
    }

    /// When the next request comes, if there is one more.
    pub(crate) fn next_arrival(&mut self, queue: &Queue, after_ns: u64) -> Option<u64> {
        if queue.requests.is_some_and(|requests| self.counts.arrived >= requests) {
            return None;
        }
        Some(after_ns.saturating_add(queue.interarrival.sample(&mut self.arrivals)))
    }
}

impl<S: Sink> Machine<'_, S> {
    /// A request arrives.
    pub(crate) fn arrival(&mut self, index: u32) -> Done {
        let queue = &self.workload.queues[index as usize];
        let state = &mut self.queues[index as usize];
        let service_ns = queue.service.sample(&mut state.services);
        let request = Request { queue: index, arrival_ns: self.now, service_ns };
        state.counts.arrived += 1;
        let next = state.next_arrival(queue, self.now);
        let room = state.backlog.len() < queue.depth as usize;
        let slot = self.layout.queue(index);
        self.events.arm(slot, next.unwrap_or(u64::MAX));
        self.instant_steps += 1;
        if self.instant_steps > self.instant_limit() {
            let task = self.workload.queues[index as usize].name.clone();
            let at_ns = self.now;
            return Err(Box::new(RunError::NoProgress { task, origin: Default::default(), at_ns }));
        }
        if let Some(task) = self.leave_first(self.map.receivers + index) {
            self.hand_over(task, request);
            return self.interrupt_wake(task);
        }
        let state = &mut self.queues[index as usize];
        if room {
            state.backlog.push_back(request);
        } else {
            state.counts.dropped += 1;
        }
        Ok(())
    }

    fn hand_over(&mut self, task: u32, request: Request) {
        self.details[task as usize].dealings().request = request;
        self.tasks[task as usize].has_request = true;
    }

    /// Takes the next request or waits for one.
    pub(crate) fn receive(&mut self, cpu: u32, task: u32, index: u32) -> Done {
        if let Some(request) = self.queues[index as usize].backlog.pop_front() {
            self.hand_over(task, request);
            return Ok(());
        }
        self.join(self.map.receivers + index, task);
        self.block(cpu, task)
    }

    /// Works on the request taken last.
    pub(crate) fn serve(&mut self, task: u32) -> Done {
        if !self.tasks[task as usize].has_request {
            return Err(self.misuse(task, "serves a request without having one".to_owned()));
        }
        let service_ns = self.details[task as usize].dealings().request.service_ns;
        let task = &mut self.tasks[task as usize];
        (task.left, task.then) = (service_ns, Then::Fetch);
        Ok(())
    }

    /// Answers the request taken last.
    pub(crate) fn reply(&mut self, task: u32) -> Done {
        if !self.tasks[task as usize].has_request {
            return Err(self.misuse(task, "answers a request without having one".to_owned()));
        }
        self.tasks[task as usize].has_request = false;
        let Request { queue, arrival_ns, .. } = self.details[task as usize].dealings().request;
        self.queues[queue as usize].counts.served += 1;
        let response_ns = self.now - arrival_ns;
        self.emit(Event::Response { task: Slot(task), response_ns });
        Ok(())
    }
}
