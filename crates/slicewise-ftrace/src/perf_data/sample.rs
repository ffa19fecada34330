//! A sample's parts, as `sample_type` says (perf_event_open(2), `PERF_RECORD_SAMPLE`).

use crate::bytes::Endian;

const IP: u64 = 1;
const TID: u64 = 1 << 1;
const TIME: u64 = 1 << 2;
const ADDR: u64 = 1 << 3;
const READ: u64 = 1 << 4;
const CALLCHAIN: u64 = 1 << 5;
const ID: u64 = 1 << 6;
const CPU: u64 = 1 << 7;
const PERIOD: u64 = 1 << 8;
const STREAM_ID: u64 = 1 << 9;
const RAW: u64 = 1 << 10;
const IDENTIFIER: u64 = 1 << 16;

const READ_TIME_ENABLED: u64 = 1;
const READ_TIME_RUNNING: u64 = 1 << 1;
const READ_ID: u64 = 1 << 2;
const READ_GROUP: u64 = 1 << 3;
const READ_LOST: u64 = 1 << 4;

/// When and where, and who ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Id {
    pub(super) time_ns: u64,
    pub(super) cpu: u32,
    pub(super) pid: Option<i32>,
    pub(super) tgid: Option<i32>,
}

/// What an event's samples hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    pub(super) sample_type: u64,
    pub(super) read_format: u64,
}

impl Layout {
    fn has(self, part: u64) -> bool {
        self.sample_type & part != 0
    }

    pub(super) fn has_identifier(self) -> bool {
        self.has(IDENTIFIER)
    }

    /// Where a sample has the number of its event.
    pub(super) fn id_at(self) -> Option<usize> {
        if self.has(IDENTIFIER) {
            return Some(0);
        }
        let before = [IP, TID, TIME, ADDR].into_iter().filter(|part| self.has(*part)).count();
        self.has(ID).then_some(before * 8)
    }

    /// A sample: all of it up to the raw data.
    #[inline]
    pub(super) fn sample(self, endian: Endian, body: &[u8]) -> Option<(Id, Option<&[u8]>)> {
        let mut id = Id::default();
        let mut at = 0;
        let skip = |part: u64, at: &mut usize| *at += usize::from(self.has(part)) * 8;
        skip(IDENTIFIER, &mut at);
        skip(IP, &mut at);
        if self.has(TID) {
            id.tgid = Some(endian.u32(body, at)? as i32);
            id.pid = Some(endian.u32(body, at + 4)? as i32);
            at += 8;
        }
        if self.has(TIME) {
            id.time_ns = endian.u64(body, at)?;
            at += 8;
        }
        for part in [ADDR, ID, STREAM_ID] {
            skip(part, &mut at);
        }
        if self.has(CPU) {
            id.cpu = endian.u32(body, at)?;
            at += 8;
        }
        skip(PERIOD, &mut at);
        if self.has(READ) {
            at = at.checked_add(self.read_bytes(endian, body, at)?)?;
        }
        if self.has(CALLCHAIN) {
            let count = usize::try_from(endian.u64(body, at)?).ok()?;
            at = at.checked_add(8)?.checked_add(count.checked_mul(8)?)?;
        }
        if !self.has(RAW) {
            return Some((id, None));
        }
        let size = endian.u32(body, at)? as usize;
        let raw = body.get(at + 4..)?.get(..size)?;
        Some((id, Some(raw)))
    }

    fn read_bytes(self, endian: Endian, body: &[u8], at: usize) -> Option<usize> {
        let has = |part: u64| usize::from(self.read_format & part != 0);
        let times = has(READ_TIME_ENABLED) + has(READ_TIME_RUNNING);
        let each = 1 + has(READ_ID) + has(READ_LOST);
        let words = match has(READ_GROUP) {
            0 => times + each,
            _ => {
                let count = usize::try_from(endian.u64(body, at)?).ok()?;
                1 + times + count.checked_mul(each)?
            }
        };
        words.checked_mul(8)
    }

    /// The trailer of another record: the same, in another order, at its end.
    pub(super) fn trailer(self, endian: Endian, body: &[u8]) -> Option<Id> {
        let parts = [TID, TIME, ID, STREAM_ID, CPU, IDENTIFIER];
        let bytes = parts.into_iter().filter(|part| self.has(*part)).count() * 8;
        let mut at = body.len().checked_sub(bytes)?;
        let mut id = Id::default();
        if self.has(TID) {
            id.tgid = Some(endian.u32(body, at)? as i32);
            id.pid = Some(endian.u32(body, at + 4)? as i32);
            at += 8;
        }
        if self.has(TIME) {
            id.time_ns = endian.u64(body, at)?;
            at += 8;
        }
        at += usize::from(self.has(ID)) * 8 + usize::from(self.has(STREAM_ID)) * 8;
        if self.has(CPU) {
            id.cpu = endian.u32(body, at)?;
        }
        Some(id)
    }
}
