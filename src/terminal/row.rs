//! A row of what is shown, and its character cells.

use super::style::Style;

/// A character cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The character; a wide one, and a tab, has cells without one after it.
    pub character: Option<char>,
    /// What is combined with it.
    pub combined: Option<Box<str>>,
    /// Its look.
    pub style: Style,
}

impl Cell {
    pub(super) fn blank(style: Style) -> Self {
        // What is erased keeps the ground that is set.
        Self { character: Some(' '), combined: None, style: Style { background: style.background, ..Style::default() } }
    }
}

/// A row of what is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// Number of the line that made it.
    pub number: i64,
    /// Rows of that line before it.
    pub nth: u32,
    /// Its characters.
    pub cells: Vec<Cell>,
    /// Characters that had no room.
    pub left_out: usize,
    /// Changed since it was last taken.
    pub(super) changed: bool,
}

impl Row {
    /// Makes blanks of a character that reaches over the border before `x`.
    pub(super) fn part(&mut self, x: usize, style: Style) {
        let is_rest = |cells: &[Cell], at: usize| cells.get(at).is_some_and(|cell| cell.character.is_none());
        if !is_rest(&self.cells, x) {
            return;
        }
        let begin = (0..x).rev().find(|at| !is_rest(&self.cells, *at)).unwrap_or(0);
        let end = (x..self.cells.len()).find(|at| !is_rest(&self.cells, *at)).unwrap_or(self.cells.len());
        self.cells[begin..end].fill(Cell::blank(style));
    }

    /// Without what nobody sees at its end.
    pub(super) fn trimmed(&self) -> &[Cell] {
        let bare = |cell: &Cell| {
            matches!(cell.character, None | Some(' ' | '\t'))
                && cell.combined.is_none()
                && Style { link: 0, ..cell.style } == Style::default()
        };
        let end = self.cells.iter().rposition(|cell| !bare(cell)).map_or(0, |last| last + 1);
        &self.cells[..end]
    }
}
