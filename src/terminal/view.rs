//! What the sequences in a line do to a screen.

use std::collections::VecDeque;

use unicode_width::UnicodeWidthChar;
use vte::{Params, Perform};

use super::row::{Cell, Row};
use super::style::Style;
use super::{ROW_MAX, ROWS};

/// The cursor goes so far to the right of what is printed, at most.
const COLUMNS: usize = 512;
/// Most cells that one line may touch, and rows that it may make: drawing costs at most so much, whatever is printed.
const WORK_MAX: usize = 2_000_000;
const ROWS_OF_LINE_MAX: u32 = 256;
/// Most combining characters on one character.
const COMBINED_MAX: usize = 8;
/// Longest address of a link, in bytes.
const LINK_MAX: usize = 2_048;
/// Most links that are remembered; an older one is text.
const LINKS_MAX: usize = 512;

/// What is on the screen and what has left it, and where the next character goes.
pub(super) struct View {
    /// Rows that have left the screen and were not taken yet.
    pub(super) gone: Vec<Row>,
    pub(super) screen: VecDeque<Row>,
    x: usize,
    y: usize,
    style: Style,
    saved: (usize, usize, Style),
    /// First and last row of the part that scrolls.
    scrolls: (usize, usize),
    number: i64,
    rows_of_number: u32,
    /// Cells that the line may still touch.
    work: usize,
    last: char,
    /// The addresses of links, the newest last, and the number of the first of them.
    links: VecDeque<Box<str>>,
    first_link: u32,
}

impl View {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self {
            gone: Vec::new(),
            screen: VecDeque::new(),
            x: 0,
            y: 0,
            style: Style::default(),
            saved: (0, 0, Style::default()),
            scrolls: (0, ROWS - 1),
            number: 0,
            rows_of_number: 0,
            work: WORK_MAX,
            last: ' ',
            links: VecDeque::new(),
            first_link: 1,
        }
    }

    /// What comes is of the line of this number.
    pub(super) fn begin(&mut self, number: i64) {
        if self.number != number {
            (self.number, self.rows_of_number, self.work) = (number, 0, WORK_MAX);
        }
    }

    /// The line ends here.
    pub(super) fn end(&mut self) {
        self.work = self.work.max(ROWS);
        self.row();
        self.next_line();
    }

    /// Whether the cursor is where it is after a line that was the last of a full screen, with nothing set.
    pub(super) fn is_at_end(&self) -> bool {
        let is_last = self.x == 0 && self.y == ROWS - 1 && self.scrolls == (0, ROWS - 1);
        is_last && self.screen.len() >= ROWS - 1
    }

    /// The address of a link, if it is still known.
    pub(super) fn link(&self, link: u32) -> Option<&str> {
        let at = link.checked_sub(self.first_link)?;
        self.links.get(usize::try_from(at).ok()?).map(AsRef::as_ref)
    }

    /// Takes what something costs from what the line may; `false` when it has had it all.
    fn may(&mut self, cells: usize) -> bool {
        let may = self.work > 0 && self.rows_of_number <= ROWS_OF_LINE_MAX;
        self.work = if may { self.work.saturating_sub(cells + 1) } else { 0 };
        may
    }

    /// Characters in the cursor's row.
    fn printed(&self) -> usize {
        self.screen.get(self.y).map_or(0, |row| row.cells.len())
    }

    /// The row of the cursor.
    fn row(&mut self) -> &mut Row {
        while self.screen.len() <= self.y {
            let row = self.new_row();
            self.screen.push_back(row);
        }
        &mut self.screen[self.y]
    }

    fn new_row(&mut self) -> Row {
        let nth = self.rows_of_number;
        self.rows_of_number += 1;
        Row { number: self.number, nth, cells: Vec::new(), left_out: 0, changed: true }
    }

    /// The row, for being changed.
    fn draw(&mut self) -> &mut Row {
        let row = self.row();
        row.changed = true;
        row
    }

    fn put(&mut self, cell: Cell) {
        // Where the cursor came from another row it is no further to the right than it may go.
        self.x = self.x.min(self.printed().max(COLUMNS - 1));
        let (x, style) = (self.x, self.style);
        let row = self.draw();
        while row.cells.len() < x {
            row.cells.push(Cell::blank(Style::default()));
        }
        if x < row.cells.len() {
            // Half a wide character is none.
            if cell.character.is_some() {
                row.part(x, style);
            }
            row.part(x + 1, style);
            row.cells[x] = cell;
        } else {
            row.cells.push(cell);
        }
        self.x += 1;
    }

    /// To the next column of eight. Where nothing stands it is kept as what it is, for whoever copies it.
    fn tab(&mut self) {
        let (x, style) = (self.x, self.style);
        let to = (x / 8 + 1) * 8;
        if self.printed() == x && to <= ROW_MAX {
            self.put(Cell { character: Some('\t'), ..Cell::blank(style) });
            let rest = Cell { character: None, ..Cell::blank(style) };
            (x + 1..to).for_each(|_| self.put(rest.clone()));
        } else {
            self.move_to(Some(to), None);
        }
    }

    fn next_line(&mut self) {
        self.x = 0;
        self.down();
    }

    /// One row down; at the end of what scrolls everything moves up.
    fn down(&mut self) {
        let (top, bottom) = self.scrolls;
        if self.y != bottom {
            self.y = (self.y + 1).min(ROWS - 1);
            return;
        }
        if self.screen.len() <= bottom {
            self.row();
        }
        let left = self.screen.remove(top);
        if top == 0 {
            self.gone.extend(left);
        }
        if bottom < self.screen.len() {
            let row = self.new_row();
            self.screen.insert(bottom, row);
        }
    }

    fn up(&mut self) {
        let (top, bottom) = self.scrolls;
        if self.y != top {
            self.y = self.y.saturating_sub(1);
            return;
        }
        if self.screen.len() > bottom {
            self.screen.remove(bottom);
        }
        let row = self.new_row();
        self.screen.insert(top.min(self.screen.len()), row);
    }

    fn move_to(&mut self, x: Option<usize>, y: Option<usize>) {
        if let Some(x) = x {
            self.x = x.min(self.printed().max(COLUMNS - 1));
        }
        if let Some(y) = y {
            self.y = y.min(ROWS - 1);
        }
    }

    /// Erases a part of the cursor's row.
    fn erase(&mut self, from: usize, to: usize) {
        let style = self.style;
        let y = self.y;
        let Some(row) = self.screen.get_mut(y) else { return };
        row.changed = true;
        if to >= row.cells.len() {
            row.part(from, style);
            row.cells.truncate(from);
            row.left_out = 0;
        } else {
            row.part(from, style);
            row.part(to, style);
            (from..to).for_each(|x| row.cells[x] = Cell::blank(style));
        }
    }

    fn erase_row(&mut self, y: usize) {
        if let Some(row) = self.screen.get_mut(y) {
            row.cells.clear();
            row.left_out = 0;
            row.changed = true;
        }
    }

    /// What was on the screen stays above it: nobody erases a log.
    fn clear(&mut self) {
        while self.screen.back().is_some_and(|row| row.trimmed().is_empty()) {
            self.screen.pop_back();
        }
        self.gone.extend(self.screen.drain(..));
    }

    fn insert_rows(&mut self, many: usize) {
        let (top, bottom) = self.scrolls;
        if self.y < top || self.y > bottom {
            return;
        }
        for _ in 0..many.min(bottom + 1 - self.y) {
            if self.screen.len() > bottom {
                self.screen.remove(bottom);
            }
            let row = self.new_row();
            self.screen.insert(self.y.min(self.screen.len()), row);
        }
        self.x = 0;
    }

    fn delete_rows(&mut self, many: usize) {
        let (top, bottom) = self.scrolls;
        if self.y < top || self.y > bottom {
            return;
        }
        for _ in 0..many.min(bottom + 1 - self.y) {
            if self.y < self.screen.len() {
                self.screen.remove(self.y);
                if bottom <= self.screen.len() {
                    let row = self.new_row();
                    self.screen.insert(bottom, row);
                }
            }
        }
        self.x = 0;
    }

    fn open_link(&mut self, address: &[u8]) {
        let address = std::str::from_utf8(address).unwrap_or_default();
        let lower = address.get(..8).unwrap_or(address).to_ascii_lowercase();
        let web = lower.starts_with("http://") || lower.starts_with("https://");
        if !web || address.len() > LINK_MAX || address.chars().any(|c| c.is_control() || c.is_whitespace()) {
            self.style.link = 0;
            return;
        }
        if self.links.back().is_none_or(|last| **last != *address) {
            self.links.push_back(address.into());
            if self.links.len() > LINKS_MAX {
                self.links.pop_front();
                self.first_link += 1;
            }
        }
        self.style.link = self.first_link + u32::try_from(self.links.len()).unwrap_or_default() - 1;
    }
}

/// Marks that turn the direction of text around, and what is not seen: a log is read as it stands.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

impl Perform for View {
    fn print(&mut self, c: char) {
        if is_hidden(c) {
            return;
        }
        let style = self.style;
        match c.width().unwrap_or(0) {
            0 => {
                let x = self.x;
                let row = self.draw();
                let before = x.min(row.cells.len());
                let base = row.cells[..before].iter_mut().rfind(|cell| cell.character.is_some());
                if let Some(cell) = base {
                    let mut combined = cell.combined.take().map_or_else(String::new, Into::into);
                    if combined.chars().count() < COMBINED_MAX {
                        combined.push(c);
                    }
                    cell.combined = Some(combined.into());
                }
            }
            width => {
                self.last = c;
                if !self.may(1) || self.x >= ROW_MAX {
                    self.draw().left_out += 1;
                    return;
                }
                self.put(Cell { character: Some(c), combined: None, style });
                if width > 1 {
                    self.put(Cell { character: None, combined: None, style });
                }
            }
        }
    }

    fn execute(&mut self, byte: u8) {
        if !self.may(8) {
            return;
        }
        match byte {
            b'\r' => self.x = 0,
            b'\n' | 0x0b | 0x0c => self.next_line(),
            0x08 => self.x = self.x.saturating_sub(1),
            b'\t' => self.tab(),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        // Private modes and what we don't know: nothing of it is shown.
        if ignore || !intermediates.is_empty() {
            return;
        }
        // Most of them touch a part of a row, at most.
        let cost = if action == 'm' { 0 } else { self.printed() };
        if !self.may(cost) {
            return;
        }
        let param = |n: usize| params.iter().nth(n).and_then(|p| p.first().copied()).map_or(0, usize::from);
        let count = param(0).max(1);
        let (x, y) = (self.x, self.y);
        match action {
            'm' => self.style.apply(params),
            'A' | 'F' => {
                // Not out of the part that scrolls.
                let top = if y >= self.scrolls.0 { self.scrolls.0 } else { 0 };
                self.y = y.saturating_sub(count).max(top);
                if action == 'F' {
                    self.x = 0;
                }
            }
            'B' | 'e' | 'E' => {
                let bottom = if y <= self.scrolls.1 { self.scrolls.1 } else { ROWS - 1 };
                self.y = (y + count).min(bottom);
                if action == 'E' {
                    self.x = 0;
                }
            }
            'C' | 'a' => self.move_to(Some(x + count), None),
            'D' => self.x = x.saturating_sub(count),
            'G' | '`' => self.move_to(Some(count - 1), None),
            'd' => self.move_to(None, Some(count - 1)),
            'H' | 'f' => {
                self.move_to(None, Some(count - 1));
                self.move_to(Some(param(1).max(1) - 1), None);
            }
            'K' => match param(0) {
                0 => self.erase(x, usize::MAX),
                1 => self.erase(0, x + 1),
                2 => self.erase(0, usize::MAX),
                _ => {}
            },
            'J' => match param(0) {
                0 => {
                    self.erase(x, usize::MAX);
                    (y + 1..ROWS).for_each(|y| self.erase_row(y));
                }
                1 => {
                    self.erase(0, x + 1);
                    (0..y).for_each(|y| self.erase_row(y));
                }
                2 | 3 => self.clear(),
                _ => {}
            },
            'X' => {
                let length = self.screen.get(y).map_or(0, |row| row.cells.len());
                if x < length {
                    let to = (x + count).min(length);
                    self.erase(x, if to == length { usize::MAX } else { to });
                }
            }
            'P' => {
                let style = self.style;
                let row = self.draw();
                let from = x.min(row.cells.len());
                row.part(from, style);
                row.part(x + count, style);
                row.cells.drain(from..(x + count).min(row.cells.len()).max(from));
            }
            '@' => {
                let blank = Cell::blank(self.style);
                let row = self.draw();
                if x < row.cells.len() {
                    row.part(x, Style::default());
                    let many = count.min(ROW_MAX.saturating_sub(row.cells.len()));
                    row.cells.splice(x..x, std::iter::repeat_n(blank, many));
                }
            }
            'L' => self.insert_rows(count),
            'M' => self.delete_rows(count),
            'S' | 'T' => {
                for _ in 0..count.min(ROWS) {
                    let at = self.y;
                    if action == 'S' {
                        self.y = self.scrolls.1;
                        self.down();
                    } else {
                        self.y = self.scrolls.0;
                        self.up();
                    }
                    self.y = at;
                }
            }
            'b' => {
                let last = self.last;
                (0..count.min(COLUMNS)).for_each(|_| self.print(last));
            }
            'r' => {
                let (top, bottom) = (count - 1, if param(1) == 0 { ROWS } else { param(1).min(ROWS) });
                if top + 1 < bottom {
                    self.scrolls = (top, bottom - 1);
                    (self.x, self.y) = (0, 0);
                }
            }
            's' => self.saved = (x, y, self.style),
            'u' => (self.x, self.y, self.style) = self.saved,
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        if !self.may(8) {
            return;
        }
        match (intermediates, byte) {
            ([], b'7') => self.saved = (self.x, self.y, self.style),
            ([], b'8') => (self.x, self.y, self.style) = self.saved,
            ([], b'D') => self.down(),
            ([], b'E') => self.next_line(),
            ([], b'M') => self.up(),
            ([], b'c') => {
                self.clear();
                (self.x, self.y, self.style, self.scrolls) = (0, 0, Style::default(), (0, ROWS - 1));
            }
            _ => {}
        }
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _bell_terminated: bool) {
        // A link: parameters, and its address, which may have semicolons in it. Titles and the rest are not shown.
        if let [b"8", _, address @ ..] = params {
            self.open_link(&address.join(&b';'));
        }
    }
}
