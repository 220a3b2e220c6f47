//! Rows as text: plain, and with the colours of the reader's terminal. Nothing else of what was printed gets through.

use super::style::{Colour, Style, Underline};
use super::{Cell, Row, Screen};

impl Row {
    /// The text, without what nobody sees at its end.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.cells.len());
        self.trimmed().iter().for_each(|cell| write(cell, &mut text));
        self.note(&mut text);
        text
    }

    /// The text with colours and weight, and the usual look after it.
    pub fn coloured(&self) -> String {
        let (mut text, mut look) = (String::with_capacity(self.cells.len() + 16), Style::default());
        for cell in self.trimmed() {
            let style = Style { link: 0, ..cell.style };
            if style != look {
                text.push_str(&sequence(style));
                look = style;
            }
            write(cell, &mut text);
        }
        if look != Style::default() {
            text.push_str("\x1b[0m");
        }
        self.note(&mut text);
        text
    }

    fn note(&self, text: &mut String) {
        if self.left_out > 0 {
            text.push_str(&format!("… [{} more characters; the raw log has them]", self.left_out));
        }
    }
}

fn write(cell: &Cell, text: &mut String) {
    // What is concealed is not to be read by somebody who looks over a shoulder; whoever copies it has it.
    text.extend(cell.character);
    if let Some(combined) = &cell.combined {
        text.push_str(combined);
    }
}

/// The sequence that leads from anything to this look.
fn sequence(style: Style) -> String {
    let mut codes = vec!["0".to_owned()];
    let mut on = |set: bool, code: &str| codes.extend(set.then(|| code.to_owned()));
    on(style.bold, "1");
    on(style.faint, "2");
    on(style.italic, "3");
    on(style.underline != Underline::None, "4");
    on(style.reverse, "7");
    on(style.concealed, "8");
    on(style.struck, "9");
    for (colour, base) in [(style.foreground, 30), (style.background, 40)] {
        codes.extend(colour.map(|colour| match colour {
            Colour::Indexed(n @ 0..8) => format!("{}", base + u16::from(n)),
            Colour::Indexed(n @ 8..16) => format!("{}", base + 60 + u16::from(n) - 8),
            Colour::Indexed(n) => format!("{};5;{n}", base + 8),
            Colour::True(r, g, b) => format!("{};2;{r};{g};{b}", base + 8),
        }));
    }
    format!("\x1b[{}m", codes.join(";"))
}

/// Whether a line is shown as it is.
pub fn is_plain(line: &[u8]) -> bool {
    line.len() <= super::ROW_MAX && line.iter().all(|b| (0x20..0x7f).contains(b))
}

/// A line by itself, as text: what is left of it when all that moves, colours and rewrites is done.
pub fn of_line(line: &[u8]) -> String {
    if is_plain(line) {
        return String::from_utf8_lossy(line).trim_end_matches(' ').to_owned();
    }
    let mut screen = Screen::new();
    screen.line(1, line);
    let rows: Vec<String> = screen.take_gone().iter().map(Row::text).chain(screen.rows().map(Row::text)).collect();
    rows.join("\n")
}
