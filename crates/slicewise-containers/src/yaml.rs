//! YAML as a tree with places. The only module that knows the parser.
//!
//! Untrusted text costs bounded memory and time: nesting is 64 deep at most, what aliases repeat is
//! counted, and so is every node. After a broken document the next one is read.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError};

use crate::diagnostic::{Origin, Sink, Span, shorten};

/// How deep lists and maps may be nested, those behind aliases included.
const DEPTH_MAX: usize = 64;

/// How many values a document may have.
const NODES_MAX: usize = 4_000_000;

/// How many values the aliases of all inputs together may repeat.
const ALIASED_NODES_MAX: usize = 500_000;

/// How many documents a text may have.
const DOCUMENTS_MAX: usize = 200_000;

/// How many broken documents are reported before reading stops.
const BROKEN_DOCUMENTS_MAX: usize = 20;

/// A value and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Node<'t> {
    pub(crate) value: Value<'t>,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum Value<'t> {
    Scalar(Scalar<'t>),
    List(Vec<Node<'t>>),
    Map(Map<'t>),
}

#[derive(Clone, Debug)]
pub(crate) struct Scalar<'t> {
    pub(crate) text: Cow<'t, str>,
    style: ScalarStyle,
}

impl Scalar<'_> {
    /// Whether it has no quotes: only then it can be a number, true, false or nothing.
    pub(crate) fn is_plain(&self) -> bool {
        self.style == ScalarStyle::Plain
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Map<'t> {
    pub(crate) entries: Vec<(Key<'t>, Node<'t>)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Key<'t> {
    pub(crate) name: Cow<'t, str>,
    pub(crate) span: Span,
}

impl<'t> Map<'t> {
    /// The value of a key, unless it is nothing.
    pub(crate) fn get(&self, key: &str) -> Option<&Node<'t>> {
        self.get_or_null(key).filter(|node| !node.is_null())
    }

    /// The value of a key, whatever it is.
    pub(crate) fn get_or_null(&self, key: &str) -> Option<&Node<'t>> {
        self.entries.iter().find(|(name, _)| name.name == key).map(|(_, node)| node)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key<'t>> {
        self.entries.iter().map(|(key, _)| key)
    }
}

impl<'t> Node<'t> {
    /// Nothing: `key:` with no value, `null`, `~`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_plain()
            && matches!(scalar.text.as_ref(), "" | "~" | "null" | "Null" | "NULL"))
    }

    pub(crate) fn as_map(&self) -> Option<&Map<'t>> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Node<'t>]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    pub(crate) fn as_scalar(&self) -> Option<&Scalar<'t>> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// What it is, with an article.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar(scalar) if scalar.is_plain() => {
                let text = scalar.text.as_ref();
                if matches!(text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE") {
                    "true or false"
                } else if text.starts_with(|c: char| c.is_ascii_digit()) {
                    "a number"
                } else {
                    "a text"
                }
            }
            Value::Scalar(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// How many values it has, and how deep they are nested.
    fn measure(&self) -> (usize, usize) {
        let children: &mut dyn Iterator<Item = &Node<'t>> = match &self.value {
            Value::Scalar(_) => return (1, 0),
            Value::List(list) => &mut list.iter(),
            Value::Map(map) => &mut map.entries.iter().map(|(_, node)| node),
        };
        children
            .map(Node::measure)
            .fold((1, 1), |(count, depth), (more, deep)| (count + more, depth.max(deep + 1)))
    }

    /// Where the characters of a block text come from, so that places inside it can be shown.
    pub(crate) fn origin(&self, source: &str) -> Origin {
        self.lines_of(source).map_or(Origin::Whole(self.span), Origin::Lines)
    }

    fn lines_of(&self, source: &str) -> Option<Vec<(u32, u32)>> {
        let scalar = self.as_scalar().filter(|scalar| scalar.style == ScalarStyle::Literal)?;
        // The lines of a literal block are the lines of the source behind its header, less the
        // indentation.
        let from = (self.span.start as usize).min(source.len());
        let line = source[..from].rfind('\n').map_or(0, |at| at + 1);
        let mut lines = source[line..].split_inclusive('\n');
        let mut at = line;
        if source[line..].starts_with(scalar.text.lines().next()?) {
            return None;
        }
        let (mut result, mut inner) = (Vec::new(), 0_usize);
        // The span begins at the header or at the first line: take the first line that fits.
        let mut pending = lines.next()?;
        let mut skipped = false;
        for text in scalar.text.split_inclusive('\n') {
            loop {
                let bare = pending.trim_end_matches(['\n', '\r']);
                let wanted = text.trim_end_matches(['\n', '\r']);
                let fits = bare.ends_with(wanted)
                    && bare[..bare.len() - wanted.len()].bytes().all(|byte| byte == b' ');
                if fits {
                    let indent = bare.len() - wanted.len();
                    result.push((u32::try_from(inner).ok()?, u32::try_from(at + indent).ok()?));
                    at += pending.len();
                    pending = lines.next().unwrap_or("");
                    break;
                }
                if skipped {
                    return None;
                }
                skipped = true;
                at += pending.len();
                pending = lines.next()?;
            }
            inner += text.len();
        }
        Some(result)
    }
}

const TEMPLATE_HELP: &str = "this looks like a template: render it first, as with `helm template`";

/// Reads all documents of a text, one after the other.
pub(crate) fn documents<'t>(
    text: &'t str,
    sink: &mut Sink,
    mut each: impl FnMut(Node<'t>, &mut Sink),
) {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    options.emit_unresolved_aliases = true;
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder::new(text);
    let (mut count, mut broken) = (0, 0);
    loop {
        match parser.next_event() {
            None | Some(Ok((Event::StreamEnd, _))) => return,
            Some(Ok((event, span))) => {
                let offset = |marker: granit_parser::Marker| marker.byte_offset().unwrap_or(0);
                let span = Span::new(offset(span.start), offset(span.end));
                if let Err(refusal) = builder.event(event, span, sink) {
                    sink.error(refusal.span, refusal.message, refusal.help);
                    // What follows such a document is not worth the work.
                    return;
                }
                if let Some(document) = builder.finished.take() {
                    count += 1;
                    if count > DOCUMENTS_MAX {
                        let help = format!("{DOCUMENTS_MAX} are the most: split the file");
                        sink.error(document.span, "there are too many documents", help);
                        return;
                    }
                    each(document, sink);
                }
            }
            Some(Err(error)) => {
                syntax(text, &error, sink);
                broken += 1;
                builder = Builder::new(text);
                if broken == BROKEN_DOCUMENTS_MAX
                    || !matches!(parser.proceed_next_document(), Ok(true))
                {
                    return;
                }
            }
        }
    }
}

/// Reports what is no YAML.
fn syntax(text: &str, error: &ScanError, sink: &mut Sink) {
    let start = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    let start = slicewise_input::floor_boundary(text, start);
    let length = text[start..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    // Only the neighbourhood of an endless line is looked at.
    let near_start =
        slicewise_input::floor_boundary(text, start.saturating_sub(200).max(line_start));
    let near_end = slicewise_input::floor_boundary(text, (start + 200).min(line_end));
    let near = &text[near_start..near_end];
    let before = &text[near_start..start];
    let help = if near.contains("{{") {
        TEMPLATE_HELP
    } else if error.info().contains(" tab")
        || before.contains('\t')
        || text[start..near_end].starts_with('\t')
    {
        "YAML is indented with spaces, not tabs"
    } else {
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => "64 levels are the most there can be",
            ErrorKind::UnclosedQuotedScalar => "close the quotes",
            ErrorKind::UnclosedFlowCollection { .. } => "close the bracket",
            _ => "check the indentation here and in the line above",
        }
    };
    let message = format!("this is no YAML: {}", shorten_long(&error.info()));
    sink.error(Span::new(start, start + length), message, help);
}

fn shorten_long(text: &str) -> String {
    const SHOWN_MAX: usize = 200;
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    shown.retain(|c| !c.is_control());
    shown
}

/// Why a document is not built.
struct Refusal {
    span: Span,
    message: String,
    help: String,
}

fn refuse<T>(
    span: Span,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Result<T, Refusal> {
    Err(Refusal { span, message: message.into(), help: help.into() })
}

struct Frame<'t> {
    holds: Holds<'t>,
    anchor: usize,
    span: Span,
}

enum Holds<'t> {
    List(Vec<Node<'t>>),
    Map { map: Map<'t>, key: Option<Key<'t>>, merge: Vec<Node<'t>> },
}

/// Makes trees of events.
struct Builder<'t> {
    text: &'t str,
    stack: Vec<Frame<'t>>,
    anchors: BTreeMap<usize, (Node<'t>, usize, usize)>,
    nodes: usize,
    finished: Option<Node<'t>>,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, stack: Vec::new(), anchors: BTreeMap::new(), nodes: 0, finished: None }
    }

    fn event(&mut self, event: Event<'t>, span: Span, sink: &mut Sink) -> Result<(), Refusal> {
        match event {
            Event::DocumentStart(..) => {
                *self = Self::new(self.text);
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                // `!!str 5` is a text even without quotes.
                let text_tag = tag.is_some_and(|tag| tag.core_suffix() == Some("str"));
                let style = if text_tag { ScalarStyle::DoubleQuoted } else { style };
                let value = Value::Scalar(Scalar { text, style });
                self.add(Node { value, span }, anchor, sink)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.stack.push(Frame { holds: Holds::List(Vec::new()), anchor, span });
                Ok(())
            }
            Event::MappingStart(_, anchor, _) => {
                let holds = Holds::Map { map: Map::default(), key: None, merge: Vec::new() };
                self.stack.push(Frame { holds, anchor, span });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span, sink),
            Event::Alias(anchor) => self.alias(anchor, span, sink),
            Event::UnresolvedAlias(name) => {
                let message = format!("`*{}` refers to nothing", shorten(&name));
                sink.error(span, message, "give the value a name first: `&name value`");
                let value = Value::Scalar(Scalar { text: "".into(), style: ScalarStyle::Plain });
                self.add(Node { value, span }, 0, sink)
            }
            _ => Ok(()),
        }
    }

    fn alias(&mut self, anchor: usize, span: Span, sink: &mut Sink) -> Result<(), Refusal> {
        let Some((node, count, depth)) = self.anchors.get(&anchor) else {
            return refuse(span, "this value contains itself", "name a value that is complete");
        };
        if self.stack.len() + depth > DEPTH_MAX {
            let help = format!("{DEPTH_MAX} levels are the most there can be");
            return refuse(span, "this is nested too deep", help);
        }
        sink.aliased += count;
        if sink.aliased > ALIASED_NODES_MAX {
            let help = format!("aliases may repeat {ALIASED_NODES_MAX} values in all");
            return refuse(span, "the aliases repeat too much", help);
        }
        // What is wrong with a repeated value is told where it is repeated.
        let node = Node { value: node.value.clone(), span: node.span };
        self.add(node, 0, sink)
    }

    fn close(&mut self, end: Span, sink: &mut Sink) -> Result<(), Refusal> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.holds {
            Holds::List(list) => Value::List(list),
            Holds::Map { mut map, merge, .. } => {
                self.merge(&mut map, &merge, sink);
                report_duplicates(&map, sink);
                Value::Map(map)
            }
        };
        // One line is enough to show where it is.
        let (start, end) = (frame.span.start as usize, end.end as usize);
        let rest = self.text.get(start..end).unwrap_or("");
        let length = rest.find('\n').unwrap_or(rest.len());
        let length = rest[..length].trim_end().len();
        let span = Span::new(start, start + length);
        self.add(Node { value, span }, frame.anchor, sink)
    }

    /// `<<: *defaults`: keys that are not there already.
    fn merge(&mut self, map: &mut Map<'t>, merge: &[Node<'t>], sink: &mut Sink) {
        let own = map.entries.len();
        let mut names: HashSet<Cow<'t, str>> = map.keys().map(|key| key.name.clone()).collect();
        for node in merge {
            let maps = match &node.value {
                Value::List(list) => list.as_slice(),
                _ => std::slice::from_ref(node),
            };
            for node in maps {
                let Some(other) = node.as_map() else {
                    let message = format!("`<<` takes a map, not {}", node.kind());
                    sink.error(node.span, message, "write `<<: *name`, where `&name` is a map");
                    continue;
                };
                for (key, value) in &other.entries {
                    if names.insert(key.name.clone()) {
                        map.entries.push((key.clone(), value.clone()));
                    }
                }
            }
        }
        debug_assert!(map.entries.len() >= own);
    }

    fn add(&mut self, node: Node<'t>, anchor: usize, sink: &mut Sink) -> Result<(), Refusal> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let help = format!("a document has {NODES_MAX} values at most: split it");
            return refuse(node.span, "the document is too large", help);
        }
        if anchor != 0 {
            let (count, depth) = node.measure();
            sink.aliased += count;
            if sink.aliased > ALIASED_NODES_MAX {
                let help = format!("aliases may repeat {ALIASED_NODES_MAX} values in all");
                return refuse(node.span, "the named values are too large", help);
            }
            self.anchors.insert(anchor, (node.clone(), count, depth));
        }
        match self.stack.last_mut().map(|frame| &mut frame.holds) {
            None => self.finished = Some(node),
            Some(Holds::List(list)) => list.push(node),
            Some(Holds::Map { map, key, merge }) => match key.take() {
                None => {
                    let Value::Scalar(Scalar { text, .. }) = node.value else {
                        let message = format!("a key must be a text, not {}", node.kind());
                        let before = self.text.get(..node.span.start as usize).unwrap_or("");
                        let help = match before.ends_with('{') && node.as_map().is_some() {
                            true => TEMPLATE_HELP,
                            false => "write `key: value`",
                        };
                        sink.error(node.span, message, help);
                        *key = Some(Key { name: "".into(), span: node.span });
                        return Ok(());
                    };
                    *key = Some(Key { name: text, span: node.span });
                }
                Some(name) if name.name == "<<" => merge.push(node),
                Some(name) => map.entries.push((name, node)),
            },
        }
        Ok(())
    }
}

/// The same key twice: one of the two values would be lost.
fn report_duplicates(map: &Map<'_>, sink: &mut Sink) {
    let mut names = HashSet::new();
    for key in map.keys() {
        if !names.insert(key.name.as_ref()) {
            let message = format!("the key `{}` is there twice", shorten(&key.name));
            sink.error(key.span, message, "keep one of the two");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Node<'_>>, Vec<crate::Diagnostic>) {
        let mut sink = Sink::default();
        let mut list = Vec::new();
        documents(text, &mut sink, |node, _| list.push(node));
        (list, sink.finish(&[text]))
    }

    fn problem(text: &str) -> String {
        let (_, problems) = read(text);
        problems
            .first()
            .map_or(String::new(), |p| format!("{} @{:?}", p.message, &text[p.span.clone()]))
    }

    #[test]
    fn a_broken_document_does_not_hide_the_others() {
        let (list, problems) = read("a: 1\n---\nb: [\n---\nc: 3\n---\nd: 4\n  x: 5\n---\ne: 5\n");
        assert_eq!(list.len(), 3, "{list:#?}");
        assert_eq!(problems.len(), 2, "{problems:#?}");
    }

    #[test]
    fn aliases_and_merges_repeat_values_and_own_keys_win() {
        let text = "x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\nz: {<<: [*x, {c: 4}]}\n";
        let (list, problems) = read(text);
        assert_eq!(problems, []);
        let map = list[0].as_map().unwrap();
        let value = |map: &str, key: &str| {
            let node = list[0].as_map().unwrap().get(map).unwrap().as_map().unwrap().get(key);
            node.map(|node| node.as_scalar().unwrap().text.to_string())
        };
        assert!(map.get("x").is_some());
        assert_eq!(value("y", "a").as_deref(), Some("1"));
        assert_eq!(value("y", "b").as_deref(), Some("3"));
        assert_eq!(value("z", "c").as_deref(), Some("4"));
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..30 {
            let last = i - 1;
            text += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{last}"); 10].join(", "));
        }
        assert!(problem(&text).contains("repeat too much"), "{}", problem(&text));
        let mut text = "a0: &a0 [x]\n".to_owned();
        for i in 1..200 {
            text += &format!("a{i}: &a{i} [*a{}]\n", i - 1);
        }
        assert!(problem(&text).contains("nested too deep"), "{}", problem(&text));
        assert!(problem("a: &a [*a]").contains("contains itself"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000)] {
            assert!(problem(&text).contains("this is no YAML"), "{}", problem(&text));
        }
        let blocks: String = (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        assert!(problem(&blocks).contains("this is no YAML"), "{}", problem(&blocks));
    }

    #[test]
    fn small_alias_bombs_do_not_add_up() {
        let bomb = "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b]\n---\n";
        let problem = problem(&bomb.repeat(10_000));
        assert!(problem.contains("repeat") || problem.contains("too large"), "{problem}");
    }

    #[test]
    fn there_is_an_end_to_documents() {
        let text = "--- 1\n".repeat(DOCUMENTS_MAX + 2);
        let (list, problems) = read(&text);
        assert_eq!((list.len(), problems.len()), (DOCUMENTS_MAX, 1));
        assert_eq!(problems[0].message, "there are too many documents");
    }

    #[test]
    fn a_key_that_is_there_twice_is_an_error() {
        assert_eq!(problem("a: 1\nb: 2\na: 3\n"), "the key `a` is there twice @\"a\"");
        assert!(problem("{[1]: 2}").contains("a key must be a text"));
        assert!(problem("a: *b").contains("`*b` refers to nothing"));
    }

    #[test]
    fn quotes_make_a_text_of_anything() {
        let (list, _) = read("[null, ~, 'null', !!str null, 5, true]");
        let list = list[0].as_list().unwrap();
        let nulls: Vec<bool> = list.iter().map(Node::is_null).collect();
        assert_eq!(nulls, [true, true, false, false, false, false]);
        assert_eq!(list[4].kind(), "a number");
        assert_eq!(list[5].kind(), "true or false");
    }

    #[test]
    fn a_block_text_knows_its_lines() {
        let source = "a:\n  b: |\n    one\n\n      two\n  c: x\n";
        let (list, _) = read(source);
        let node = list[0].as_map().unwrap().get("a").unwrap().as_map().unwrap().get("b").unwrap();
        let text = node.as_scalar().unwrap().text.to_string();
        assert_eq!(text, "one\n\n  two\n");
        let Origin::Lines(lines) = node.origin(source) else { panic!("{node:?}") };
        for (inner, outer) in lines {
            let line = |text: &str| text.lines().next().unwrap_or("").to_owned();
            assert_eq!(line(&text[inner as usize..]), line(&source[outer as usize..]));
        }
    }
}
