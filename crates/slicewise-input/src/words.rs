//! Values and words in messages.

/// A value as it may stand in a message: one line, not too long.
pub fn shorten(value: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let mut short = String::new();
    for (count, c) in value.chars().enumerate() {
        if count == SHOWN_MAX {
            short.push('…');
            break;
        }
        if c.is_control() {
            short.extend(c.escape_default());
        } else {
            short.push(c);
        }
    }
    short
}

/// The word closest to what was written, if any is close; the first of those alike.
///
/// ```
/// let allowed = ["policy", "priority"];
/// assert_eq!(slicewise_input::closest("polciy", allowed.into_iter()), Some("policy"));
/// assert_eq!(slicewise_input::closest("zzz", allowed.into_iter()), None);
/// ```
pub fn closest<'a>(word: &str, allowed: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const WORD_MAX: usize = 64;
    if word.chars().count() > WORD_MAX {
        return None;
    }
    let word = word.to_lowercase();
    let near = (word.chars().count() / 3).max(1);
    let steps = |other: &'a str| (edit_distance(&word, &other.to_lowercase()), other);
    let (steps, best) = allowed.map(steps).min_by_key(|(steps, _)| *steps)?;
    (steps <= near).then_some(best)
}

/// Levenshtein's, with a swap of neighbours as one step.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// Nanoseconds as a person would write them, exactly.
pub fn show_ns(ns: u64) -> String {
    for (factor, unit) in [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")] {
        if ns >= factor && ns.is_multiple_of(factor) {
            return format!("{}{unit}", ns / factor);
        }
    }
    format!("{ns}ns")
}
