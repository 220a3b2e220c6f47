//! A terminal's screen that lines of a log are shown on.

use vte::Parser;

use super::row::Row;
use super::view::View;

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

impl Screen {
    /// An empty one.
    pub fn new() -> Self {
        Self { parser: Parser::new(), view: View::new() }
    }

    /// Shows a line, given without its end.
    pub fn line(&mut self, number: i64, line: &[u8]) {
        self.begin(number, line);
        // A sequence does not go over a line's end: whoever cuts a log at lines sees the same as who doesn't.
        self.parser = Parser::new();
        self.view.end();
    }

    /// Shows the beginning of a line. What follows is given with the next call, as after a pause.
    pub fn begin(&mut self, number: i64, line: &[u8]) {
        self.view.begin(number);
        self.parser.advance(&mut self.view, line);
    }

    /// Whether a line does no more than move a full screen up by one: what is drawn after it is drawn at the same places
    /// whether it was shown or passed over.
    pub fn only_moves(&self, line: &[u8]) -> bool {
        // A control character is below a blank, or the second byte after 0xc2.
        self.view.is_at_end() && line.iter().all(|b| *b >= b' ' && *b != 0x7f && *b != 0xc2)
    }

    /// The address of a link, if it is still known.
    pub fn link(&self, link: u32) -> Option<&str> {
        self.view.link(link)
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

#[cfg(test)]
mod tests {
    use super::super::{ROW_MAX, ROWS};
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
