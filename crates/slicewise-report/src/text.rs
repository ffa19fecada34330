//! Numbers, bars and tables as text.

/// How text is to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// Use terminal colours.
    pub color: bool,
    /// Columns of the terminal. Less important table columns are left out until lines fit;
    /// histograms keep the width their readers know.
    pub width: usize,
}

/// What a piece of text is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Paint {
    Heading,
    Faint,
    Bar,
    Good,
    Bad,
    Notable,
}

impl Style {
    /// The text, in its colour if colours are wanted.
    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Heading => "1",
            Paint::Faint => "2",
            Paint::Bar => "36",
            Paint::Good => "32",
            Paint::Bad => "31",
            Paint::Notable => "33",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// A duration with three significant digits in the unit that suits it: `999 ns`, `1.00 us`,
/// `12.3 ms`, `123  s`. Units take two columns, so that right-aligned figures stand below each
/// other.
pub(crate) fn duration(ns: u64) -> String {
    if ns < 1_000 {
        return format!("{ns} ns");
    }
    let rounded = |unit_ns: u64, parts: u64| {
        (u128::from(ns) * u128::from(parts) + u128::from(unit_ns / 2)) / u128::from(unit_ns)
    };
    for (unit, unit_ns) in [("us", 1_000), ("ms", 1_000_000), (" s", 1_000_000_000)] {
        let hundredths = rounded(unit_ns, 100);
        if hundredths < 1_000 {
            return format!("{}.{:02} {unit}", hundredths / 100, hundredths % 100);
        }
        let tenths = rounded(unit_ns, 10);
        if tenths < 1_000 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        let whole = rounded(unit_ns, 1);
        if whole < 1_000 || unit == " s" {
            return format!("{whole} {unit}");
        }
    }
    unreachable!("seconds take every value")
}

/// The same for running text, where nothing has to line up.
pub(crate) fn duration_inline(ns: u64) -> String {
    duration(ns).replace("  ", " ")
}

/// With a sign, `0 ns` without.
pub(crate) fn signed_duration(ns: i128) -> String {
    let size = u64::try_from(ns.unsigned_abs()).unwrap_or(u64::MAX);
    match ns {
        0 => duration(0),
        1.. => format!("+{}", duration(size)),
        _ => format!("-{}", duration(size)),
    }
}

/// A share as `top` prints it, with one digit after the point.
pub(crate) fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.000_5 {
        return "<0.1 %".to_owned();
    }
    format!("{:.1} %", share * 100.0)
}

/// A bar of `width` columns at most, in steps of an eighth of a column. What is not nothing shows.
pub(crate) fn bar(share: f64, width: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if share <= 0.0 {
        return String::new();
    }
    let eighths = ((share.min(1.0) * (width * 8) as f64).round() as usize).max(1);
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

/// A value for each column, in eighths of its height; `top` is the full height. What is not nothing shows.
pub(crate) fn sparkline(values: &[f64], top: f64) -> String {
    const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let step = |value: &f64| match *value > 0.0 {
        true => ((value / top).clamp(0.0, 1.0) * 8.0).round().max(1.0) as usize,
        false => 0,
    };
    values.iter().map(|value| STEPS[step(value)]).collect()
}

/// A name as it may stand in a terminal: no control characters, and not too long.
pub(crate) fn shown_name(name: &str) -> String {
    const NAME_COLUMNS_MAX: usize = 28;
    let mut shown: String =
        name.chars().map(|c| if c.is_control() { '?' } else { c }).take(NAME_COLUMNS_MAX).collect();
    if name.chars().count() > NAME_COLUMNS_MAX {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// The path of a group as it may stand in a terminal: of a long one the end, which tells most.
pub(crate) fn shown_path(path: &str) -> String {
    const PATH_COLUMNS_MAX: usize = 40;
    let shown = |c: char| if c.is_control() { '?' } else { c };
    let columns = path.chars().count();
    if columns <= PATH_COLUMNS_MAX {
        return path.chars().map(shown).collect();
    }
    let end = path.chars().skip(columns + 1 - PATH_COLUMNS_MAX).map(shown);
    core::iter::once('…').chain(end).collect()
}

/// How a column stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    head: String,
    /// A heading over this column and its neighbours with the same one.
    group: &'static str,
    align: Align,
    /// Columns with 0 are always shown, the others in ascending order as long as there is room.
    expendable: u8,
    paint: Option<Paint>,
}

impl Column {
    pub(crate) fn left(head: impl Into<String>) -> Self {
        let head = head.into();
        Self { head, group: "", align: Align::Left, expendable: 0, paint: None }
    }

    pub(crate) fn right(head: impl Into<String>) -> Self {
        Self { align: Align::Right, ..Self::left(head) }
    }

    pub(crate) fn group(self, group: &'static str) -> Self {
        Self { group, ..self }
    }

    pub(crate) fn expendable(self, expendable: u8) -> Self {
        Self { expendable, ..self }
    }

    pub(crate) fn paint(self, paint: Paint) -> Self {
        Self { paint: Some(paint), ..self }
    }
}

/// A field of a table.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    paint: Option<Paint>,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), paint: None }
    }
}

impl Cell {
    pub(crate) fn painted(text: impl Into<String>, paint: Paint) -> Self {
        Self { text: text.into(), paint: Some(paint) }
    }
}

/// Columns below headings, two spaces apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

const GAP: usize = 2;

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

fn columns_of(text: &str) -> usize {
    text.chars().count()
}

impl Table {
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// A row with a field for every column; missing fields at the end are empty.
    pub(crate) fn row(&mut self, mut cells: Vec<Cell>) {
        cells.resize(self.columns.len(), Cell::from(""));
        self.rows.push(cells);
    }

    /// Lines, each ended, not wider than the style says if leaving columns out can help.
    pub(crate) fn render(&self, style: Style) -> String {
        let mut shown = self.columns_with(|expendable| expendable == 0);
        let mut ranks: Vec<u8> = self.columns.iter().map(|column| column.expendable).collect();
        ranks.sort_unstable();
        ranks.dedup();
        for rank in ranks {
            let more = self.columns_with(|expendable| {
                expendable == rank
                    || shown.iter().any(|at| self.columns[*at].expendable == expendable)
            });
            if total(&self.widths(&more)) <= style.width {
                shown = more;
            }
        }
        self.lines(&shown, &self.widths(&shown), style)
    }

    fn columns_with(&self, wanted: impl Fn(u8) -> bool) -> Vec<usize> {
        (0..self.columns.len()).filter(|at| wanted(self.columns[*at].expendable)).collect()
    }

    /// How wide the table is with all its columns.
    pub(crate) fn width(&self) -> usize {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        total(&self.widths(&all))
    }

    fn widths(&self, shown: &[usize]) -> Vec<usize> {
        let of_column = |column: usize| {
            let cells = self.rows.iter().map(|row| columns_of(&row[column].text));
            cells.max().unwrap_or(0).max(columns_of(&self.columns[column].head))
        };
        let mut widths: Vec<usize> = shown.iter().map(|column| of_column(*column)).collect();
        for (group, first, last) in self.groups(shown) {
            let span = widths[first..=last].iter().sum::<usize>() + GAP * (last - first);
            widths[first] += columns_of(group).saturating_sub(span);
        }
        widths
    }

    /// Group headings with the first and last place they stand over.
    fn groups(&self, shown: &[usize]) -> Vec<(&'static str, usize, usize)> {
        let mut groups: Vec<(&'static str, usize, usize)> = Vec::new();
        for (place, column) in shown.iter().enumerate() {
            let group = self.columns[*column].group;
            match groups.last_mut() {
                Some((open, _, last)) if *open == group && *last + 1 == place => *last = place,
                _ => groups.push((group, place, place)),
            }
        }
        groups.retain(|(group, ..)| !group.is_empty());
        groups
    }

    fn lines(&self, shown: &[usize], widths: &[usize], style: Style) -> String {
        let mut out = String::new();
        let groups = self.groups(shown);
        if !groups.is_empty() {
            let mut line = String::new();
            for (group, first, last) in groups {
                let start = widths[..first].iter().sum::<usize>() + GAP * first;
                let span = widths[first..=last].iter().sum::<usize>() + GAP * (last - first);
                let padding = start.saturating_sub(columns_of(&line));
                line.push_str(&" ".repeat(padding));
                line.push_str(&format!("{group:─^span$}"));
            }
            out.push_str(&style.paint(Paint::Faint, &line));
            out.push('\n');
        }
        let heads = shown.iter().map(|column| {
            let column = &self.columns[*column];
            (column.head.as_str(), Some(Paint::Heading), column.align)
        });
        if self.columns.iter().any(|column| !column.head.is_empty()) {
            push_line(&mut out, heads.collect(), widths, style);
        }
        for row in &self.rows {
            let cells = shown.iter().map(|at| {
                let (cell, column) = (&row[*at], &self.columns[*at]);
                (cell.text.as_str(), cell.paint.or(column.paint), column.align)
            });
            push_line(&mut out, cells.collect(), widths, style);
        }
        out
    }
}

/// Pads with spaces outside of the colours and leaves none at the end.
fn push_line(
    out: &mut String,
    cells: Vec<(&str, Option<Paint>, Align)>,
    widths: &[usize],
    style: Style,
) {
    let mut blank = 0;
    for ((text, paint, align), width) in cells.into_iter().zip(widths) {
        let free = width.saturating_sub(columns_of(text));
        if align == Align::Right {
            blank += free;
        }
        if !text.is_empty() {
            out.push_str(&" ".repeat(blank));
            out.push_str(&paint.map_or_else(|| text.to_owned(), |paint| style.paint(paint, text)));
            blank = 0;
        }
        if align == Align::Left || text.is_empty() {
            blank += if align == Align::Right { width - free } else { free };
        }
        blank += GAP;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_the_unit_that_suits() {
        let shown = [
            0,
            999,
            1_000,
            1_234,
            9_994,
            9_995,
            99_949,
            99_950,
            999_499,
            999_500,
            12_345_678,
            999_999_999,
            61_000_000_000,
            12_345_000_000_000,
        ]
        .map(duration);
        let expected = [
            "0 ns", "999 ns", "1.00 us", "1.23 us", "9.99 us", "10.0 us", "99.9 us", "100 us",
            "999 us", "1.00 ms", "12.3 ms", "1.00  s", "61.0  s", "12345  s",
        ];
        assert_eq!(shown, expected);
        assert_eq!(duration_inline(61_000_000_000), "61.0 s");
        assert_eq!(duration(u64::MAX), "18446744074  s");
    }

    #[test]
    fn signs_are_shown_except_for_nothing() {
        assert_eq!([-1_500, 0, 2].map(signed_duration), ["-1.50 us", "0 ns", "+2 ns"]);
    }

    #[test]
    fn a_small_share_is_not_nothing() {
        assert_eq!(
            [0.0, 0.000_1, 0.333, 1.0].map(percent),
            ["0.0 %", "<0.1 %", "33.3 %", "100.0 %"]
        );
        assert_eq!([0.0, 0.000_1, 0.5, 2.0].map(|share| bar(share, 3)), ["", "▏", "█▌", "███"]);
    }

    #[test]
    fn a_sparkline_shows_what_is_not_nothing() {
        assert_eq!(sparkline(&[0.0, 0.001, 0.5, 1.0, 7.0], 1.0), " ▁▄██");
        assert_eq!(sparkline(&[1.0, 2.0], 2.0), "▄█");
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(shown_name("a\x1b[31m\n"), "a?[31m?");
        assert_eq!(shown_name(&"x".repeat(40)).chars().count(), 28);
        assert_eq!(shown_path("a\x1b[31m/b"), "a?[31m/b");
    }

    #[test]
    fn of_a_long_path_the_end_is_shown() {
        let path = format!("kubepods.slice/{}/web", "x".repeat(40));
        let shown = shown_path(&path);
        assert_eq!(shown.chars().count(), 40);
        assert!(shown.starts_with("…x") && shown.ends_with("x/web"), "{shown}");
    }

    fn table() -> Table {
        let mut table = Table::new(vec![
            Column::left("NAME"),
            Column::right("P50").group("delay").expendable(1),
            Column::right("MAX").group("delay"),
            Column::left("BAR").expendable(2),
        ]);
        table.row(vec!["a".into(), "1 ns".into(), "".into(), Cell::painted("██", Paint::Bar)]);
        table.row(vec!["longer".into(), "".into(), "12 ns".into()]);
        table
    }

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_space() {
        let plain = table().render(Style { color: false, width: 80 });
        insta::assert_snapshot!(plain, @r"
                ───delay───
        NAME     P50    MAX  BAR
        a       1 ns         ██
        longer        12 ns
        ");
        assert!(plain.lines().all(|line| line.trim_end() == line));
    }

    #[test]
    fn expendable_columns_go_until_the_lines_fit() {
        let narrow = table().render(Style { color: false, width: 15 });
        insta::assert_snapshot!(narrow, @r"
                delay
        NAME      MAX
        a
        longer  12 ns
        ");
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let colored = table().render(Style { color: true, width: 80 });
        let mut stripped = String::new();
        for part in colored.split('\x1b') {
            let code = part.split_once('m').filter(|_| part.starts_with('['));
            stripped.push_str(code.map_or(part, |(_, text)| text));
        }
        assert_eq!(stripped, table().render(Style { color: false, width: 80 }));
    }
}
