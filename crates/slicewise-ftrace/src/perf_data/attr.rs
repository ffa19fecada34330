//! What a recorded event's samples are made of.

use std::collections::HashMap;

use super::sample::{Id, Layout};
use crate::bytes::Endian;

/// `type` and `config` of the event that only carries names and mappings: it is never sampled.
const TYPE_SOFTWARE: u32 = 1;
const SOFTWARE_DUMMY: u64 = 9;
/// Bit of the flags: other records have a trailer, too.
const SAMPLE_ID_ALL: u64 = 1 << 18;
/// More events than this are not kept.
const ATTRS_MAX: usize = 1 << 16;
const IDS_MAX: usize = 1 << 20;

/// All recorded events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attrs {
    layouts: Vec<Layout>,
    by_id: HashMap<u64, usize>,
    /// All that are sampled have the same layout.
    sampled: Option<Layout>,
    is_mixed: bool,
    has_trailers: bool,
}

impl Attrs {
    /// An event's `perf_event_attr`, and its numbers.
    pub(super) fn add(
        &mut self,
        endian: Endian,
        attr: &[u8],
        ids: impl Iterator<Item = u64>,
    ) -> bool {
        let parts = || {
            let (kind, config) = (endian.u32(attr, 0)?, endian.u64(attr, 8)?);
            let (sample_type, read_format) = (endian.u64(attr, 24)?, endian.u64(attr, 32)?);
            Some((kind, config, Layout { sample_type, read_format }, endian.u64(attr, 40)?))
        };
        let Some((kind, config, layout, flags)) = parts() else { return false };
        if self.layouts.len() >= ATTRS_MAX {
            return false;
        }
        self.has_trailers |= flags & SAMPLE_ID_ALL != 0;
        for id in ids.take(IDS_MAX.saturating_sub(self.by_id.len())) {
            self.by_id.insert(id, self.layouts.len());
        }
        self.layouts.push(layout);
        if (kind, config) != (TYPE_SOFTWARE, SOFTWARE_DUMMY) {
            self.is_mixed |= self.sampled.is_some_and(|known| known != layout);
            self.sampled = Some(layout);
        }
        true
    }

    /// The same, as it comes through a pipe: the numbers follow.
    pub(super) fn add_record(&mut self, endian: Endian, body: &[u8]) -> bool {
        let Some(size) = endian.u32(body, 4).map(|size| size as usize) else { return false };
        let Some(ids) = body.get(size..).filter(|_| size >= 48) else { return false };
        let ids: Vec<u64> = ids.chunks_exact(8).filter_map(|id| endian.u64(id, 0)).collect();
        self.add(endian, &body[..size], ids.into_iter())
    }

    /// A sample's parts, and its raw data if it has some.
    #[inline]
    pub(super) fn sample<'b>(
        &self,
        endian: Endian,
        body: &'b [u8],
    ) -> Option<(Id, Option<&'b [u8]>)> {
        let layout = match self.is_mixed {
            false => self.sampled?,
            true => {
                // All layouts of a file have the number at the same place, if they differ.
                let at = self.layouts.first()?.id_at()?;
                let number = endian.u64(body, at)?;
                self.layouts[*self.by_id.get(&number)?]
            }
        };
        layout.sample(endian, body)
    }

    /// What stands at the end of a record that is no sample.
    pub(super) fn trailer(&self, endian: Endian, body: &[u8]) -> Id {
        if !self.has_trailers {
            return Id::default();
        }
        let Some(first) = self.layouts.first() else { return Id::default() };
        let layout = match first.has_identifier() && body.len() >= 8 {
            true => endian
                .u64(body, body.len() - 8)
                .and_then(|id| self.by_id.get(&id))
                .map_or(first, |at| &self.layouts[*at]),
            false => first,
        };
        layout.trailer(endian, body).unwrap_or_default()
    }
}
