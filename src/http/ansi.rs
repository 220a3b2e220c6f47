//! Terminal output as HTML: colours and weight become a closed set of classes, every other escape sequence is dropped.

/// The look of text at one point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    foreground: Option<u8>,
    background: Option<u8>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
}

impl Look {
    fn classes(self) -> String {
        let mut classes = Vec::new();
        classes.extend(self.foreground.map(|n| format!("f{n}")));
        classes.extend(self.background.map(|n| format!("b{n}")));
        for (on, class) in [(self.bold, "bo"), (self.dim, "di"), (self.italic, "it"), (self.underline, "un")] {
            if on {
                classes.push(class.to_owned());
            }
        }
        classes.join(" ")
    }

    fn apply(&mut self, codes: &str) {
        let mut codes = codes.split([';', ':']).map(|c| c.parse::<u8>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                30..=37 => self.foreground = Some(code - 30),
                90..=97 => self.foreground = Some(code - 82),
                39 => self.foreground = None,
                40..=47 => self.background = Some(code - 40),
                100..=107 => self.background = Some(code - 92),
                49 => self.background = None,
                38 | 48 => {
                    let colour = extended(&mut codes);
                    if code == 38 { self.foreground = colour } else { self.background = colour }
                }
                _ => {}
            }
        }
    }
}

/// The nearest of the sixteen colours to a 256-colour or 24-bit one.
fn extended(codes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let (r, g, b) = match codes.next()? {
        5 => match codes.next()? {
            n @ 0..16 => return Some(n),
            n @ 16..232 => ((n - 16) / 36 * 51, (n - 16) / 6 % 6 * 51, (n - 16) % 6 * 51),
            n => ((n - 232) * 10 + 8, (n - 232) * 10 + 8, (n - 232) * 10 + 8),
        },
        2 => (codes.next()?, codes.next()?, codes.next()?),
        _ => return None,
    };
    let bit = |c: u8, n: u8| if c > 100 { n } else { 0 };
    let bright = if r.max(g).max(b) > 200 { 8 } else { 0 };
    Some((bit(r, 1) | bit(g, 2) | bit(b, 4)) + bright)
}

/// One line (without its end) as HTML. The look carries over to the next line, as on a terminal.
pub fn line(bytes: &[u8], look: &mut Look) -> String {
    let text = String::from_utf8_lossy(bytes);
    // A carriage return draws over what was there, as progress bars do.
    let text = text.trim_end_matches('\r');
    let text = text.rsplit('\r').next().unwrap_or(text);
    let mut html = String::with_capacity(text.len() + 16);
    let mut open = false;
    let mut shown = Look::default();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => escape(&mut chars, look),
            '\u{9b}' => control(&mut chars, look),
            '\t' => html.push('\t'),
            c if c.is_control() || is_bidi(c) => {}
            c => {
                if shown != *look || (!open && *look != Look::default()) {
                    if open {
                        html.push_str("</span>");
                    }
                    open = *look != Look::default();
                    if open {
                        html.push_str(&format!("<span class=\"{}\">", look.classes()));
                    }
                    shown = *look;
                }
                match c {
                    '&' => html.push_str("&amp;"),
                    '<' => html.push_str("&lt;"),
                    '>' => html.push_str("&gt;"),
                    '"' => html.push_str("&quot;"),
                    c => html.push(c),
                }
            }
        }
    }
    if open {
        html.push_str("</span>");
    }
    html
}

fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
}

fn escape(chars: &mut std::str::Chars<'_>, look: &mut Look) {
    match chars.next() {
        Some('[') => control(chars, look),
        // Titles, links and other strings: to the bell, or to the string terminator.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || c == '\u{9c}' {
                    return;
                }
                if c == '\u{1b}' {
                    chars.next();
                    return;
                }
            }
        }
        Some('(' | ')' | '*' | '+' | '#' | '%') => drop(chars.next()),
        _ => {}
    }
}

fn control(chars: &mut std::str::Chars<'_>, look: &mut Look) {
    let mut codes = String::new();
    for c in chars.by_ref() {
        match c {
            '0'..='9' | ';' | ':' => codes.push(c),
            '\u{40}'..='\u{7e}' => {
                if c == 'm' && codes.len() < 100 {
                    look.apply(&codes);
                }
                return;
            }
            '\u{20}'..='\u{3f}' => codes.push('?'),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(text: &str) -> String {
        line(text.as_bytes(), &mut Look::default())
    }

    #[test]
    fn colours_become_classes_and_carry_over_lines() {
        assert_eq!(html("a \u{1b}[1;32mok\u{1b}[0m b"), "a <span class=\"f2 bo\">ok</span> b");
        assert_eq!(html("\u{1b}[38;5;196mred\u{1b}[39m"), "<span class=\"f9\">red</span>");
        let mut look = Look::default();
        assert_eq!(line(b"\x1b[31mfirst", &mut look), "<span class=\"f1\">first</span>");
        assert_eq!(line(b"second", &mut look), "<span class=\"f1\">second</span>");
    }

    #[test]
    fn nothing_printed_becomes_markup_or_moves_anything() {
        assert_eq!(html("<script>\"&"), "&lt;script&gt;&quot;&amp;");
        assert_eq!(html("\u{1b}]8;;javascript:alert(1)\u{7}x\u{1b}]8;;\u{1b}\\y"), "xy");
        assert_eq!(html("\u{1b}[2J\u{1b}[10;3Hhome\u{1b}(B\u{7}"), "home");
        assert_eq!(html("\u{202e}evil\u{0}"), "evil");
        assert_eq!(html("10%\r50%\r100%\r"), "100%");
        assert_eq!(line(&[0xff, b'a', 0x1b], &mut Look::default()), "\u{fffd}a");
    }
}
