//! What a terminal would show of a log. Pure.
//!
//! The log's lines go in with their numbers; rows come out, each with the number of the line that made it. A row that a
//! later line draws over changes; one that has left the screen doesn't any more.
//!
//! **Invariants:** any bytes are taken, and what one line costs is bounded. A line's end leads to the beginning of the
//! next one, as where a terminal's driver is between; lines are not folded at a terminal's width, which a log has not.
//! Sequences are read by the `vte` crate after Paul Williams' parser for DEC's terminals.

pub mod html;
pub mod steps;
pub mod style;
pub mod text;

use std::collections::VecDeque;

use unicode_width::UnicodeWidthChar;
use vte::{Params, Parser, Perform};

use style::Style;

/// Rows of the screen, as programs take it to have where there is none: so far up can what is shown be changed.
pub const ROWS: usize = 24;
/// Most characters of a row; the rest is counted. The download has it.
pub const ROW_MAX: usize = 8 * 1024;
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
    fn blank(style: Style) -> Self {
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
    changed: bool,
}

impl Row {
    /// Makes blanks of a character that reaches over the border before `x`.
    fn part(&mut self, x: usize, style: Style) {
        let is_rest = |cells: &[Cell], at: usize| cells.get(at).is_some_and(|cell| cell.character.is_none());
        if !is_rest(&self.cells, x) {
            return;
        }
        let begin = (0..x).rev().find(|at| !is_rest(&self.cells, *at)).unwrap_or(0);
        let end = (x..self.cells.len()).find(|at| !is_rest(&self.cells, *at)).unwrap_or(self.cells.len());
        self.cells[begin..end].fill(Cell::blank(style));
    }

    /// Without what nobody sees at its end.
    fn trimmed(&self) -> &[Cell] {
        let bare = |cell: &Cell| {
            matches!(cell.character, None | Some(' ' | '\t'))
                && cell.combined.is_none()
                && Style { link: 0, ..cell.style } == Style::default()
        };
        let end = self.cells.iter().rposition(|cell| !bare(cell)).map_or(0, |last| last + 1);
        &self.cells[..end]
    }
}

/// A screen without an end above.
pub struct Screen {
    parser: Parser,
    view: View,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

struct View {
    /// Rows that have left the screen and were not taken yet.
    gone: Vec<Row>,
    screen: VecDeque<Row>,
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

impl Screen {
    /// An empty one.
    pub fn new() -> Self {
        let view = View {
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
        };
        Self { parser: Parser::new(), view }
    }

    /// Shows a line, given without its end.
    pub fn line(&mut self, number: i64, line: &[u8]) {
        self.begin(number, line);
        // A sequence does not go over a line's end: whoever cuts a log at lines sees the same as who doesn't.
        self.parser = Parser::new();
        self.view.work = self.view.work.max(ROWS);
        self.view.row();
        self.view.next_line();
    }

    /// Shows the beginning of a line. What follows is given with the next call, as after a pause.
    pub fn begin(&mut self, number: i64, line: &[u8]) {
        if self.view.number != number {
            (self.view.number, self.view.rows_of_number, self.view.work) = (number, 0, WORK_MAX);
        }
        self.parser.advance(&mut self.view, line);
    }

    /// Whether a line does no more than move a full screen up by one: what is drawn after it is drawn at the same places
    /// whether it was shown or passed over.
    pub fn only_moves(&self, line: &[u8]) -> bool {
        let view = &self.view;
        let is_at_end = view.x == 0 && view.y == ROWS - 1 && view.scrolls == (0, ROWS - 1);
        // A control character is below a blank, or the second byte after 0xc2.
        is_at_end && view.screen.len() >= ROWS - 1 && line.iter().all(|b| *b >= b' ' && *b != 0x7f && *b != 0xc2)
    }

    /// The address of a link, if it is still known.
    pub fn link(&self, link: u32) -> Option<&str> {
        let at = link.checked_sub(self.view.first_link)?;
        self.view.links.get(usize::try_from(at).ok()?).map(AsRef::as_ref)
    }

    /// Takes the rows that have left the screen: they don't change any more.
    pub fn take_gone(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.view.gone)
    }

    /// Takes of the rows that have left the screen those that are new or have changed since it was last asked.
    pub fn take_settled(&mut self) -> Vec<Row> {
        let mut gone = self.take_gone();
        gone.retain(|row| row.changed);
        gone
    }

    /// The rows that may still change.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.view.screen.iter()
    }

    /// Takes what is new or has changed since it was last asked: rows that have left the screen, and rows on it.
    pub fn take_changed(&mut self) -> Vec<Row> {
        let mut changed = self.take_settled();
        for row in &mut self.view.screen {
            if std::mem::take(&mut row.changed) {
                changed.push(row.clone());
            }
        }
        changed
    }
}

impl View {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of some lines, and their rows.
    fn shown(log: &str) -> Vec<Row> {
        let mut screen = Screen::new();
        for (n, line) in log.split_terminator('\n').enumerate() {
            screen.line(n as i64 + 1, line.as_bytes());
        }
        let gone = screen.take_gone();
        gone.into_iter().chain(screen.rows().cloned()).collect()
    }

    fn text(log: &str) -> String {
        shown(log).iter().map(Row::text).collect::<Vec<_>>().join("\n")
    }

    fn html(log: &str) -> String {
        let mut screen = Screen::new();
        screen.line(1, log.as_bytes());
        screen.rows().map(|row| row.html(|link| screen.link(link))).collect()
    }

    #[test]
    fn a_progress_bar_shows_its_last_state_however_many_it_had() {
        assert_eq!(text("10%\r50%\r100%\r\nnext\n"), "100%\nnext");
        assert_eq!(text("a long one\rshort\x1b[K\n"), "short");
        assert_eq!(text("downloading\rdone\n"), "doneloading", "as a terminal shows it");
        let states: String = (0..30_000).map(|n| format!("\r{n} of 30000\x1b[K")).collect();
        assert_eq!(text(&states), "29999 of 30000");
    }

    #[test]
    fn lines_that_are_drawn_over_change_and_keep_the_number_of_the_line_that_made_them() {
        // As docker compose does it.
        let log = "web  pulling\ndb   pulling\n\x1b[2A\x1b[2Kweb  done\n\x1b[2Kdb   done\nall up\n";
        let rows: Vec<_> = shown(log).iter().map(|row| (row.number, row.text())).collect();
        assert_eq!(rows, [(1, "web  done".into()), (2, "db   done".into()), (5, "all up".into())]);
    }

    #[test]
    fn what_has_left_the_screen_does_not_change_any_more() {
        let mut log: String = (1..=40).map(|n| format!("line {n}\n")).collect();
        log.push_str("\x1b[100A\x1b[2Kover\n");
        let rows = shown(&log);
        assert_eq!(rows.iter().filter(|row| row.text() == "over").count(), 1);
        assert_eq!(rows.iter().position(|row| row.text() == "over"), Some(40 - (ROWS - 1)));
    }

    #[test]
    fn nobody_erases_a_log() {
        assert_eq!(text("first\n\x1b[2J\x1b[Hsecond\n\x1bcthird\n"), "first\nsecond\nthird");
    }

    #[test]
    fn titles_modes_and_what_is_not_known_are_not_shown() {
        assert_eq!(text("\x1b]0;a title\x07\x1b[?25l\x1b[?1049ha\x1bPq#0\x1b\\\x1b(Bb\x1b[>4;2mc\x07\n"), "abc");
        assert_eq!(
            text("\x1b]8;;https://a.example\n still there\n"),
            "\n still there",
            "a sequence ends with its line"
        );
    }

    #[test]
    fn nothing_printed_becomes_markup_or_turns_text_around() {
        assert_eq!(html("<script>\"&"), "&lt;script&gt;&quot;&amp;");
        assert_eq!(html("\u{202e}evil\u{0}\u{feff}"), "evil");
    }

    #[test]
    fn links_lead_to_the_web_and_nowhere_else() {
        let link = |address: &str| html(&format!("\x1b]8;;{address}\x1b\\here\x1b]8;;\x1b\\ there"));
        assert!(link("https://a.example/?b=1;2&c").starts_with(
            "<a rel=\"noopener noreferrer nofollow\" target=\"_blank\" href=\"https://a.example/?b=1;2&amp;c\">here</a> there"
        ), "{}", link("https://a.example/?b=1;2&c"));
        for other in ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "https://a b", "//a.example"] {
            assert_eq!(link(other), "here there");
        }
    }

    #[test]
    fn every_look_has_its_classes() {
        let class = |codes: &str| html(&format!("\x1b[{codes}mx")).split('"').nth(1).unwrap_or_default().to_owned();
        for (codes, classes) in [
            ("1;32", "f2 bo"),
            ("91", "f9"),
            ("38;5;196", "f196"),
            ("38:5:196", "f196"),
            ("38;2;255;0;0", "f196"),
            ("38:2::255:0:0", "f196"),
            ("38:2:255:0:0", "f196"),
            ("48;5;21", "b21"),
            ("4", "un"),
            ("4:3", "uc"),
            ("21", "ud"),
            ("4:4;58;5;9", "ut u9"),
            ("7", "fr br"),
            ("31;7", "fr b1"),
            ("1;2;3;8;9;53", "bo di it co st ov"),
            ("1;22;3;23;4;24;7;27;9;29;31;39;44;49;35", "f5"),
            ("38;5;300;1", "bo"),
        ] {
            assert_eq!(class(codes), classes, "{codes}");
        }
        assert!(html("\x1b[38;2;255;136;0mx").contains("data-f=\"#ff8800\""));
        assert_eq!(html("\x1b[31;0mx\x1b[1;mx\x1b[mx"), "xxx");
    }

    #[test]
    fn wide_and_combined_characters_keep_their_columns() {
        assert_eq!(text("日本\x1b[3Gx\n"), "日x");
        assert_eq!(text("日本\x1b[2Gx\n"), " x本");
        assert_eq!(text("e\u{301}a\rE\n"), "Ea");
        assert_eq!(text("a\tb\n"), "a\tb");
        assert_eq!(text("a\tb\x1b[4Gx\n"), "   x    b".replacen("   x", "a  x", 1));
    }

    #[test]
    fn a_line_costs_what_is_bounded() {
        let wide = "\x1b[60000Cx".repeat(1_000);
        assert!(shown(&wide)[0].cells.len() < 2_000);
        let long = "y".repeat(500_000);
        let row = &shown(&long)[0];
        assert_eq!((row.cells.len(), row.left_out), (ROW_MAX, 500_000 - ROW_MAX));
        let combined = format!("a{}", "\u{301}".repeat(100_000));
        assert!(shown(&combined)[0].text().len() < 100);
        for piece in [
            "\x1b[99999b\x1b[99999L\x1b[99999S",
            "\x08\x1bDx",
            "\x1b[500Cx\x1bE",
            "\x1b[24S",
            "x\x0b",
            "\x1b8x\x0b",
            "\x1b[P\x1b[@",
            "\x1b[1K",
        ] {
            let line = format!("{}\x1b7{}", "y".repeat(8_192), piece.repeat(100_000));
            let begun = std::time::Instant::now();
            let rows = shown(&line);
            let cells: usize = rows.iter().map(|row| row.cells.len()).sum();
            assert!(rows.len() < 400 && cells < 200_000, "{piece:?}: {} rows, {cells} cells", rows.len());
            assert!(begun.elapsed().as_secs() < 5, "{piece:?}: {:?}", begun.elapsed());
        }
        // The next line has its own.
        assert_eq!(shown(&format!("{}\nnext\n", "\x1bD".repeat(10_000))).last().unwrap().text(), "next");
    }

    #[test]
    fn what_changed_is_told_once() {
        let mut screen = Screen::new();
        let texts = |rows: Vec<Row>| rows.iter().map(Row::text).collect::<Vec<_>>();
        screen.line(1, b"one");
        screen.line(2, b"two");
        assert_eq!(texts(screen.take_changed()), ["one", "two"]);
        screen.line(3, b"\x1b[2A\x1b[2KONE");
        assert_eq!(texts(screen.take_changed()), ["ONE"]);
        (4..40).for_each(|n| screen.line(n, b"more"));
        assert_eq!(screen.take_changed().len(), 36);
        assert!(screen.take_changed().is_empty());
    }
}
