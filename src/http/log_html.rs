//! A log's lines as HTML, so much of it at a time. Pure.
//!
//! **Invariant:** a piece is bounded whatever was printed: a line that is only its end takes a hundred times its bytes
//! in HTML, and a million of them would be one answer.

use super::ansi::{self, Look};

/// Most HTML of one piece, in bytes; a single line may take more.
pub const PIECE_MAX: usize = 64 * 1024;

/// Lines as HTML.
pub struct Painted {
    /// The markup.
    pub html: String,
    /// The number of the last line in it, or of the one before where it has none.
    pub last: i64,
    /// Whether that was all.
    pub whole: bool,
}

/// The lines after number `after`, the first one being numbered `first`; as many as fit into so many bytes. What is
/// passed over costs a look for line ends and no more.
pub fn paint(first: i64, lines: &[u8], after: i64, limit: usize, look: &mut Look) -> Painted {
    let body = lines.strip_suffix(b"\n").unwrap_or(lines);
    let mut painted = Painted { html: String::new(), last: after.max(first - 1), whole: true };
    let passed = usize::try_from(painted.last - first + 1).unwrap_or(0);
    let body = match passed.checked_sub(1) {
        None => body,
        Some(nth) => match body.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(nth) {
            Some((end, _)) => &body[end + 1..],
            None => return painted,
        },
    };
    for line in body.split(|b| *b == b'\n') {
        if painted.html.len() >= limit {
            painted.whole = false;
            break;
        }
        painted.last += 1;
        let (number, text) = (painted.last, ansi::line(line, look));
        painted.html.push_str(&format!(
            "<div class=\"l\" id=\"L{number}\"><a href=\"#L{number}\">{number}</a><span>{text}</span></div>"
        ));
    }
    painted
}

/// The line that stands where lines were passed over, because they came faster than they can be shown.
pub fn passed_over(lines: i64) -> String {
    format!("<div class=\"note\">{lines} lines were passed over here; the download has them.</div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_bounded_and_the_next_one_goes_on_after_it() {
        let lines = b"\n".repeat(100_000);
        let (mut after, mut pieces, mut look) = (0, 0, Look::default());
        loop {
            let painted = paint(1, &lines, after, PIECE_MAX, &mut look);
            assert!(painted.html.len() < PIECE_MAX + 200, "{}", painted.html.len());
            assert!(painted.html.starts_with(&format!("<div class=\"l\" id=\"L{}\">", after + 1)));
            (after, pieces) = (painted.last, pieces + 1);
            if painted.whole {
                break;
            }
        }
        assert_eq!(after, 100_000);
        assert!(pieces > 100, "{pieces}");
    }

    #[test]
    fn lines_keep_their_numbers_and_their_colours_over_pieces() {
        let mut look = Look::default();
        let painted = paint(7, b"\x1b[31mred\nstill\n", 0, 1, &mut look);
        assert!(painted.html.contains("id=\"L7\"") && !painted.whole);
        let rest = paint(7, b"\x1b[31mred\nstill\n", painted.last, 1, &mut look);
        assert!(rest.html.contains("id=\"L8\"") && rest.html.contains("class=\"f1\">still"), "{}", rest.html);
        assert!(rest.whole);
        let nothing = paint(7, b"a\nb\n", 8, 1, &mut look);
        assert!(nothing.html.is_empty() && nothing.whole && nothing.last == 8);
    }
}
