//! The keys of a table.

use std::ops::Range;

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue};

use crate::Problem;

/// A table, and where it is.
pub(super) struct Fields<'t, 'v> {
    table: &'t DeTable<'v>,
    pub(super) span: Range<usize>,
}

impl<'t, 'v> Fields<'t, 'v> {
    /// The table; reports keys that nobody knows.
    pub(super) fn new(
        table: &'t DeTable<'v>,
        span: Range<usize>,
        what: &str,
        known: &[&str],
        problems: &mut Vec<Problem>,
    ) -> Self {
        for (key, _) in table.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let word = key.get_ref().as_ref();
            let help = match slicewise_input::closest(word, known.iter().copied()) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("allowed: {}", known.join(", ")),
            };
            let message = format!("unknown key `{}` in {what}", slicewise_input::shorten(word));
            problems.push(Problem::error(key.span(), message).help(help));
        }
        Self { table, span }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'v>>> {
        self.table.get(key)
    }
}
