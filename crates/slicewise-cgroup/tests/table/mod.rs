//! The tables of recorded truth: a step a line, and what a real kernel did with it.
//!
//! ```text
//! group a = ok
//! write a cpu.max "50000 1000001\n" = EINVAL
//! read a cpu.max = "max 100000\n"
//! remove a = ok
//! ```

/// A step of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Makes a group.
    Group(String),
    /// Removes a group.
    Remove(String),
    /// One write(2) of these bytes to a file of a group.
    Write(String, String, Vec<u8>),
    /// Reads a file of a group.
    Read(String, String),
}

/// A line's step, and what came of it; `None` for a comment or an empty line.
pub fn parse_step(line: &str) -> Option<(Step, &str)> {
    let line = line.trim_end();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (step, result) = line.split_once(" = ").unwrap_or((line, ""));
    let mut words = step.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let step = match word().as_str() {
        "group" => Step::Group(word()),
        "remove" => Step::Remove(word()),
        "write" => Step::Write(word(), word(), unquoted(&word())),
        "read" => Step::Read(word(), word()),
        other => panic!("no such step: {other}"),
    };
    Some((step, result))
}

/// Bytes in quotes, with `\n`, `\t`, `\\`, `\"` and `\xNN`; ` = ` never appears bare.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\\' => out.push_str("\\\\"),
            b'"' => out.push_str("\\\""),
            b'=' => out.push_str("\\x3d"),
            0x20..=0x7e => out.push(char::from(*byte)),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out.push('"');
    out
}

/// The bytes of a quoted text.
pub fn unquoted(text: &str) -> Vec<u8> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let mut rest = inner.unwrap_or_else(|| panic!("not quoted: {text}")).bytes();
    let mut out = Vec::new();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'x') => {
                    let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16));
                    let (high, low) = (digit(), digit());
                    (high.expect("hex") * 16 + low.expect("hex")) as u8
                }
                Some(other) => other,
                None => panic!("a backslash at the end: {text}"),
            },
            other => other,
        };
        out.push(byte);
    }
    out
}
