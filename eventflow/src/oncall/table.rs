//! Tables that fit the terminal: one line a row, the last column gives way. Piped, nothing is cut and nothing is coloured.

use super::text;
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, presets};
use std::io::IsTerminal;

/// Whether standard output is a terminal that may be coloured.
pub(crate) fn coloured() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns up to this wide are never cut: numbers, states, codes.
const FIXED: usize = 22;

/// A table under construction. Every cell is cleaned.
#[derive(Debug)]
pub(crate) struct TextTable {
    table: Table,
    columns: usize,
    /// Of each column, in characters
    widest: Vec<usize>,
    colours: bool,
}

impl TextTable {
    pub(crate) fn new(head: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let terminal = std::io::stdout().is_terminal();
        let width = if terminal { table.width() } else { None };
        let arrangement = if terminal {
            ContentArrangement::Dynamic
        } else {
            ContentArrangement::Disabled
        };
        table.set_content_arrangement(arrangement).force_no_tty();
        if let Some(width) = width {
            table.set_width(width.max(60));
        }
        let colours = coloured();
        if colours {
            table.enforce_styling();
        }
        table.set_header(
            head.iter()
                .map(|name| Cell::new(name).add_attribute(comfy_table::Attribute::Bold)),
        );
        let widest = head.iter().map(|name| name.len()).collect();
        Self {
            table,
            columns: head.len(),
            widest,
            colours,
        }
    }

    pub(crate) fn add(&mut self, cells: &[String]) {
        for (widest, text) in self.widest.iter_mut().zip(cells) {
            *widest = (*widest).max(text.chars().count());
        }
        let cells = cells.iter().map(|text| {
            let text = text::line(text);
            let colour = colour(&text);
            let cell = Cell::new(text);
            if let Some(colour) = colour.filter(|_| self.colours) {
                cell.fg(colour)
            } else {
                cell
            }
        });
        let mut row = Row::from(cells);
        row.max_height(1);
        self.table.add_row(row);
    }
}

/// States and outcomes, in whatever column they stand.
fn colour(word: &str) -> Option<Color> {
    match word {
        "open" | "failed" | "fail" | "gap" | "double_fate" | "end_behind" | "compacted" => {
            Some(Color::Red)
        }
        "replaying" | "running" | "paused" | "sending" | "sent" | "planned" => Some(Color::Yellow),
        "resolved" | "stored" | "processed" | "store" | "process" | "finished" => {
            Some(Color::Green)
        }
        "discarded" | "duplicate" | "skipped" | "stopped" => Some(Color::DarkGrey),
        _ => None,
    }
}

impl std::fmt::Display for TextTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = self.table.clone();
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index + 1 == self.columns { 0 } else { 2 }));
            // What is wide gives way together with the last column: a vendor's id must not push out why it failed.
            if index + 1 < self.columns && self.widest[index] <= FIXED {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        for line in table.to_string().lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
