// SPDX-License-Identifier: BSD-2-Clause
//! The figures, side by side with what they should be.

use std::fmt;

use super::run::Figure;

/// One kernel's figures.
#[derive(Debug)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) kernel: String,
    /// Operations in instructions.
    pub(crate) instructions: Vec<Figure>,
    /// Operations in nanoseconds.
    pub(crate) wall: Vec<Figure>,
    /// Host CPU that an idle Linux takes, in percent.
    pub(crate) idle: Option<f64>,
}

/// All kernels.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Column>);

/// The goals, in instructions where there is one (issue 2 of the project).
const GOALS: [(&str, &str); 6] = [
    ("hypercall", "2600"),
    ("mmio_read", "3300"),
    ("gic_read", "3500"),
    ("eoi", "23"),
    ("timer", ""),
    ("ipi", "60 µs"),
];

impl Table {
    /// Adds a kernel.
    pub(crate) fn add(&mut self, column: Column) {
        self.0.push(column);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "| operation | goal |")?;
        for column in &self.0 {
            write!(formatter, " {0}, instructions | {0}, µs |", column.kernel)?;
        }
        write!(formatter, "\n|---|---|")?;
        for _ in &self.0 {
            write!(formatter, "---|---|")?;
        }
        writeln!(formatter)?;
        for (name, goal) in GOALS {
            write!(formatter, "| {name} | {goal} |")?;
            for column in &self.0 {
                let instructions = find(&column.instructions, name);
                let wall = find(&column.wall, name).map(|nanoseconds| nanoseconds / 1000.0);
                write!(
                    formatter,
                    " {} | {} |",
                    cell(instructions, 0),
                    cell(wall, 1)
                )?;
            }
            writeln!(formatter)?;
        }
        write!(formatter, "| idle Linux, host CPU | 1 % |")?;
        for column in &self.0 {
            match column.idle {
                Some(percent) => write!(formatter, " {percent:.2} % | |")?,
                None => write!(formatter, " | |")?,
            }
        }
        Ok(())
    }
}

fn find(figures: &[Figure], name: &str) -> Option<f64> {
    figures
        .iter()
        .find(|figure| figure.name == name)
        .map(|figure| figure.average)
}

fn cell(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_row_and_every_kernel_two_columns() {
        let figure = |average| Figure {
            name: "hypercall".to_owned(),
            average,
            longest: 0,
        };
        let mut table = Table::default();
        table.add(Column {
            kernel: "embedded".to_owned(),
            instructions: vec![figure(2599.6)],
            wall: vec![figure(31_000.0)],
            idle: Some(0.25),
        });
        let text = table.to_string();
        assert!(
            text.contains("| hypercall | 2600 | 2600 | 31.0 |"),
            "{text}"
        );
        assert!(text.contains("| eoi | 23 |  |  |"), "{text}");
        assert!(
            text.ends_with("| idle Linux, host CPU | 1 % | 0.25 % | |"),
            "{text}"
        );
    }
}
