//! The texts a workload was read from.

use std::ops::Range;

use slicewise_input::floor_boundary;

/// The file itself and the files it names, in one space of byte offsets: the file's begin at 0,
/// those of each further text after the one before. So one range says both where and in which text.
///
/// ```
/// use slicewise_workload::Sources;
///
/// let mut sources = Sources::new("[[group]]");
/// let start = sources.add("web.json", "{}");
/// assert_eq!(sources.find(2..5).name, None);
/// let found = sources.find(start + 1..start + 2);
/// assert_eq!((found.name, found.text, found.span), (Some("web.json"), "{}", 1..2));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    main: String,
    /// In the order of where they begin.
    more: Vec<Text>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Text {
    name: String,
    start: usize,
    text: String,
}

/// A range in one of the texts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located<'s> {
    /// What the text is called; `None` is the file itself.
    pub name: Option<&'s str>,
    /// The text.
    pub text: &'s str,
    /// Where in it, on character boundaries.
    pub span: Range<usize>,
}

impl Sources {
    /// A file alone.
    pub fn new(text: impl Into<String>) -> Self {
        Self { main: text.into(), more: Vec::new() }
    }

    /// The file itself.
    pub fn main(&self) -> &str {
        &self.main
    }

    /// Another text; where it begins.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> usize {
        // One byte between, so that the end of a text is not the beginning of the next.
        let start =
            self.more.last().map_or(self.main.len(), |last| last.start + last.text.len()) + 1;
        self.more.push(Text { name: name.into(), start, text: text.into() });
        start
    }

    /// All texts together, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.main.len() + self.more.iter().map(|text| text.text.len()).sum::<usize>()
    }

    /// The text a range is in. What is beyond its end is its end.
    pub fn find(&self, span: Range<usize>) -> Located<'_> {
        let after = self.more.partition_point(|text| text.start <= span.start);
        let found = after.checked_sub(1).and_then(|at| self.more.get(at));
        let (name, start, text) = match found {
            Some(found) => (Some(found.name.as_str()), found.start, found.text.as_str()),
            None => (None, 0, self.main.as_str()),
        };
        let from = floor_boundary(text, span.start - start);
        let to = floor_boundary(text, span.end.saturating_sub(start)).max(from);
        Located { name, text, span: from..to }
    }

    /// The range, cut to the text it begins in.
    pub(crate) fn clamp(&self, span: Range<usize>) -> Range<usize> {
        let begin = span.start;
        let located = self.find(span);
        let start = self.more.iter().rev().find(|text| text.start <= begin).map_or(0, |t| t.start);
        located.span.start + start..located.span.end + start
    }
}
