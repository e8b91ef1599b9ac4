//! The table, for the terminal and for `exchange/BENCHMARKS.md`.
//!
//! The file is written by people and by this program: what stands between [`BEGIN`] and [`END`] is
//! replaced, the rest stays. A run of some benchmarks leaves the rows of the others as they are.

use super::row::Row;

const BEGIN: &str = "<!-- begin: written by cargo xtask bench -->";
const END: &str = "<!-- end: written by cargo xtask bench -->";
const HEADER: [&str; 8] = ["bench", "case", "median", "spread", "baseline", "ratio", "goal", "met"];

/// What a file begins with that is not there yet.
const PREFACE: &str = "# Benchmarks

`cargo xtask bench [NAME…] [--quick]` runs them and renews the table below.

- Every benchmark runs its baseline in the same process or in the same rounds, in turn. What counts is the
  **ratio**: the median over the rounds of own ÷ baseline. It survives a machine that does other things
  as well; the absolute numbers do not.
- **spread** is (most − least) ÷ median of the rounds. Above a third, the machine was busy, or the thing itself is uneven.
- **met** compares with the goal, and says so where it was busy: that row is no finding. A row without a goal is there to
  be read beside another.
";

/// The rows as a table with aligned columns.
pub(crate) fn table(rows: &[Row]) -> String {
    lines(rows.iter().map(Row::columns).collect()).join("\n")
}

/// The file's text with these rows instead of those of the same benchmarks.
pub(crate) fn renewed(old: &str, machine: &str, rows: &[Row]) -> String {
    let (before, between, after) = match old.split_once(BEGIN) {
        Some((before, rest)) => {
            let (between, after) = rest.split_once(END).unwrap_or((rest, "\n"));
            (before.to_owned(), between, after)
        }
        None if old.is_empty() => (format!("{PREFACE}\n"), "", "\n"),
        None => (format!("{}\n\n", old.trim_end()), "", "\n"),
    };
    let is_renewed = |bench: &str| rows.iter().any(|row| row.bench == bench);
    let mut cells: Vec<[String; 8]> = kept(between).filter(|cells| !is_renewed(&cells[0])).collect();
    cells.extend(rows.iter().map(Row::columns));
    cells.sort_by(|a, b| a[0].cmp(&b[0]));
    let table = lines(cells).join("\n");
    format!("{before}{BEGIN}\nLast run: {machine}.\n\n{table}\n{END}{after}")
}

/// The rows of a table that was written before.
fn kept(text: &str) -> impl Iterator<Item = [String; 8]> {
    text.lines()
        .skip_while(|line| !line.starts_with("|-"))
        .skip(1)
        .filter_map(|line| {
            let cells: Vec<String> = line
                .strip_prefix('|')?
                .strip_suffix('|')?
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect();
            cells.try_into().ok()
        })
}

fn lines(rows: Vec<[String; 8]>) -> Vec<String> {
    let header = HEADER.map(str::to_owned);
    let mut widths = [0; 8];
    for cells in rows.iter().chain([&header]) {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; 8]| {
        let mut line = "|".to_owned();
        for (cell, width) in cells.iter().zip(widths) {
            line += &format!(" {cell:width$} |");
        }
        line
    };
    let rule = widths
        .iter()
        .fold("|".to_owned(), |rule, width| rule + &"-".repeat(width + 2) + "|");
    let mut lines = vec![line(&header), rule];
    lines.extend(rows.iter().map(line));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bench: &str, case: &str, median: f64) -> Row {
        Row {
            bench: bench.to_owned(),
            case: case.to_owned(),
            unit: "s".to_owned(),
            median,
            spread: Some(0.1),
            baseline: None,
            ratio: None,
            goal: None,
            met: Some(true),
        }
    }

    #[test]
    fn only_what_ran_is_renewed() {
        let first = renewed("", "machine A", &[row("book", "x", 1.0), row("fanout", "y", 2.0)]);
        assert!(first.starts_with("# Benchmarks"));
        let told = format!("{first}\n## What was tried\n");
        let second = renewed(&told, "machine B", &[row("book", "z", 3.0)]);
        assert!(second.contains("Last run: machine B."));
        assert!(!second.contains("machine A"));
        let cells: Vec<_> = kept(&second).map(|cells| cells[1].clone()).collect();
        assert_eq!(cells, ["z", "y"]);
        assert!(second.ends_with("\n## What was tried\n"));
        assert_eq!(renewed(&second, "machine B", &[row("book", "z", 3.0)]), second);
    }
}
