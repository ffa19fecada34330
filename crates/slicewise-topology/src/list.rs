//! Lists of CPUs as the kernel prints and takes them: `0-3,8`.

use slicewise_sched::CPUS_MAX;

/// Why a text is no list, and where in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListError {
    /// Bytes from the start of the text.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
}

/// The CPUs of a list, in order and each once. Empty texts and `(null)`, which kernels before 7.0 print for
/// an empty set, are empty lists. A stride (`0-6:2/4`) is not taken: sysfs has none.
///
/// ```
/// assert_eq!(slicewise_topology::parse_list("0-2,8").unwrap(), [0, 1, 2, 8]);
/// let error = slicewise_topology::parse_list("0-2,9000").unwrap_err();
/// assert_eq!(error.message, "there is no CPU 9000: CPUs are numbered 0 to 8191");
/// assert_eq!(error.offset, 4);
/// ```
///
/// # Errors
/// The first part that is no CPU or range of CPUs.
pub fn parse_list(text: &str) -> Result<Vec<u32>, ListError> {
    let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    if trimmed.is_empty() || trimmed == "(null)" {
        return Ok(Vec::new());
    }
    let mut ranges = Vec::new();
    let mut offset = text.find(trimmed).unwrap_or(0);
    for part in trimmed.split(',') {
        let failed = |message| ListError { offset, message };
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first).map_err(failed)?, number(last).map_err(failed)?),
            None => number(part).map(|cpu| (cpu, cpu)).map_err(failed)?,
        };
        if first > last {
            return Err(failed(format!("{first}-{last} is the wrong way round")));
        }
        ranges.push((first, last));
        offset += part.len() + 1;
    }
    // In order, each CPU is named once, however often the list does.
    ranges.sort_unstable();
    let mut cpus = Vec::new();
    let mut next = 0;
    for (first, last) in ranges {
        cpus.extend(first.max(next)..=last);
        next = next.max(last + 1);
    }
    Ok(cpus)
}

fn number(text: &str) -> Result<u32, String> {
    let text = text.trim();
    let shown = slicewise_input::shorten(text);
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{shown}` is no CPU: write a list such as 0-3,8"));
    }
    match text.parse() {
        Ok(cpu) if cpu < CPUS_MAX => Ok(cpu),
        _ => Err(format!("there is no CPU {shown}: CPUs are numbered 0 to {}", CPUS_MAX - 1)),
    }
}

/// The list of these CPUs, which are in order.
///
/// ```
/// assert_eq!(slicewise_topology::format_list([0, 1, 2, 8]), "0-2,8");
/// ```
pub fn format_list(cpus: impl IntoIterator<Item = u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let shown = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(shown).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_what_are_no_cpus_is_refused_with_the_place() {
        for (text, offset, message) in [
            ("0-", 0, "`` is no CPU: write a list such as 0-3,8"),
            ("1,,2", 2, "`` is no CPU: write a list such as 0-3,8"),
            (" 1,x", 3, "`x` is no CPU: write a list such as 0-3,8"),
            ("3-1", 0, "3-1 is the wrong way round"),
            ("0-6:2/4", 0, "`6:2/4` is no CPU: write a list such as 0-3,8"),
            ("1000000000", 0, "there is no CPU 1000000000: CPUs are numbered 0 to 8191"),
            (
                "0,99999999999999999999",
                2,
                "there is no CPU 99999999999999999999: CPUs are numbered 0 to 8191",
            ),
        ] {
            let error = parse_list(text).unwrap_err();
            assert_eq!((error.offset, error.message.as_str()), (offset, message), "{text}");
        }
    }

    #[test]
    fn an_empty_set_is_printed_in_two_ways() {
        assert!(parse_list("\n").unwrap().is_empty());
        assert!(parse_list("  (null)\n").unwrap().is_empty());
        assert_eq!(format_list([]), "");
    }

    #[test]
    fn ranges_may_overlap_and_come_in_any_order() {
        assert_eq!(parse_list("4,0-2,1-3\0\0").unwrap(), [0, 1, 2, 3, 4]);
    }
}
