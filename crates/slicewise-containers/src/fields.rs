//! Typed access to maps that reports what does not fit, with its place.

use crate::diagnostic::{Sink, Span, did_you_mean, shorten};
use crate::quantity::Quantity;
use crate::yaml::{Map, Node};

pub(crate) fn wrong_kind(sink: &mut Sink, what: &str, node: &Node<'_>, wanted: &str) {
    let found = node.kind();
    sink.error(node.span, format!("`{what}` must be {wanted}, not {found}"), "");
}

/// The map under a key; nothing there is nothing wrong.
pub(crate) fn map<'n, 't>(
    sink: &mut Sink,
    parent: &'n Map<'t>,
    key: &str,
) -> Option<(&'n Map<'t>, Span)> {
    let node = parent.get(key)?;
    if node.as_map().is_none() {
        wrong_kind(sink, key, node, "a map");
    }
    Some((node.as_map()?, node.span))
}

/// The list under a key; nothing there is an empty list.
pub(crate) fn list<'n, 't>(sink: &mut Sink, parent: &'n Map<'t>, key: &str) -> &'n [Node<'t>] {
    let Some(node) = parent.get(key) else { return &[] };
    if node.as_list().is_none() {
        wrong_kind(sink, key, node, "a list");
    }
    node.as_list().unwrap_or(&[])
}

/// A text, quoted or not.
pub(crate) fn text<'n>(sink: &mut Sink, parent: &'n Map<'_>, key: &str) -> Option<(&'n str, Span)> {
    let node = parent.get(key)?;
    let Some(scalar) = node.as_scalar() else {
        wrong_kind(sink, key, node, "a text");
        return None;
    };
    Some((scalar.text.as_ref(), node.span))
}

/// A text where nobody is interested in what is wrong with it.
pub(crate) fn quiet_text<'n>(parent: &'n Map<'_>, key: &str) -> Option<&'n str> {
    parent.get(key)?.as_scalar().map(|scalar| scalar.text.as_ref())
}

pub(crate) fn boolean(sink: &mut Sink, parent: &Map<'_>, key: &str) -> Option<bool> {
    let node = parent.get(key)?;
    let scalar = node.as_scalar().filter(|scalar| scalar.is_plain());
    match scalar.map(|scalar| scalar.text.as_ref()) {
        Some("true" | "True" | "TRUE") => Some(true),
        Some("false" | "False" | "FALSE") => Some(false),
        _ => {
            wrong_kind(sink, key, node, "true or false");
            None
        }
    }
}

/// A whole number.
pub(crate) fn integer(
    sink: &mut Sink,
    parent: &Map<'_>,
    key: &str,
    allowed: std::ops::RangeInclusive<u64>,
) -> Option<u64> {
    let node = parent.get(key)?;
    let range = format!("{} to {}", allowed.start(), allowed.end());
    let Some(scalar) = node.as_scalar() else {
        wrong_kind(sink, key, node, &format!("a whole number from {range}"));
        return None;
    };
    let text = scalar.text.as_ref();
    match text.parse::<u64>() {
        Ok(number) if allowed.contains(&number) && !is_octal(text) => Some(number),
        _ => {
            let message = format!("`{key}` cannot be `{}`", shorten(text));
            sink.error(node.span, message, format!("allowed: {range}"));
            None
        }
    }
}

/// `010` is 8 to some readers of YAML and 10 to others.
fn is_octal(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A Kubernetes quantity.
pub(crate) fn quantity(sink: &mut Sink, what: &str, node: &Node<'_>) -> Option<Quantity> {
    if node.is_null() {
        let message = format!("`{what}` has no value: the API server reads it as 0");
        sink.warn(node.span, message, "write a quantity, or leave the line out");
        return Some(Quantity::ZERO);
    }
    let Some(scalar) = node.as_scalar() else {
        wrong_kind(sink, what, node, "a quantity such as `500m`");
        return None;
    };
    let text = scalar.text.as_ref();
    if scalar.is_plain() && is_octal(text) {
        let message = format!("`{what}`: YAML reads `{}` as an octal number", shorten(text));
        sink.error(node.span, message, format!("write `{}`", text.trim_start_matches('0')));
        return None;
    }
    match Quantity::parse(text) {
        Ok(quantity) => Some(quantity),
        Err(bad) => {
            sink.error(node.span, format!("`{what}`: {}", bad.message), bad.help);
            None
        }
    }
}

/// Reports keys that mean nothing.
pub(crate) fn only(sink: &mut Sink, map: &Map<'_>, what: &str, keys: &[&str]) {
    for key in map.keys() {
        if !keys.contains(&key.name.as_ref()) {
            let message = format!("unknown key `{}` in {what}", shorten(&key.name));
            sink.error(key.span, message, did_you_mean(&key.name, keys));
        }
    }
}
