//! rt-app's log files: one for each thread, one line for each loop.

/// A loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Loop {
    /// Time from the first to the last run event, waits included, us.
    pub(crate) run_us: u64,
    /// Wakeup latency after timers, us; rt-app's own cost is in it.
    pub(crate) wakeup_us: u64,
}

/// Reads a log: the loops, and how many lines could not be understood. Columns are found by their
/// names in the head line.
pub(crate) fn parse(text: &str) -> (Vec<Loop>, u64) {
    let (mut loops, mut malformed) = (Vec::new(), 0);
    let mut columns: Option<(usize, usize)> = None;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(head) = line.trim().strip_prefix('#') {
            let names: Vec<&str> = head.split_whitespace().collect();
            let at = |name| names.iter().position(|column| *column == name);
            columns = at("run").zip(at("wu_lat")).or(columns);
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |at: usize| words.get(at).and_then(|word| word.parse().ok());
        match columns.and_then(|(run, wakeup)| word(run).zip(word(wakeup))) {
            Some((run_us, wakeup_us)) => loops.push(Loop { run_us, wakeup_us }),
            None => malformed += 1,
        }
    }
    (loops, malformed)
}

#[cfg(test)]
mod tests {
    use super::{Loop, parse};

    const TEXT: &str = "\
# Policy : SCHED_OTHER priority : 0
#idx     perf      run   period           start             end          rel_st      slack c_duration   c_period     wu_lat
   0     1861     3575     4311         4089862         4094173            6496        519        700      10000        215
   0     1861     3556     9847         4094175         4104022           10809       6226        700      10000         64
";

    #[test]
    fn columns_are_found_by_their_names() {
        let (loops, malformed) = parse(TEXT);
        assert_eq!(malformed, 0);
        assert_eq!(loops[1], Loop { run_us: 3556, wakeup_us: 64 });
        assert_eq!(loops.len(), 2);
    }

    #[test]
    fn broken_lines_are_counted() {
        assert_eq!(parse(&format!("{TEXT}   0  1861\n")).1, 1);
        assert_eq!(parse("0 1 2 3\n"), (Vec::new(), 1));
    }
}
