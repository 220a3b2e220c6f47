//! Text for Slack: escaped, cut at grapheme borders, without characters that reorder or hide what is read.

use unicode_segmentation::UnicodeSegmentation;

/// Removes what changes how *other* text is read: controls (line breaks stay), bidirectional controls, invisible
/// spaces. Letters of right-to-left scripts stay, and so does the joiner inside emoji.
pub fn clean(text: &str) -> String {
    let bad = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().filter(|c| !bad(*c)).collect()
}

fn width(c: char) -> usize {
    match c {
        '&' => 5,
        '<' | '>' => 4,
        c => c.len_utf16(),
    }
}

/// Cuts a text to at most `graphemes` graphemes and `units` UTF-16 units as they count after escaping; what was cut is
/// marked with an ellipsis.
pub fn cut(text: &str, graphemes: usize, units: usize) -> String {
    // Nearly every text is short and plain; then there is nothing to look for grapheme by grapheme.
    if text.len() <= graphemes && text.bytes().all(|b| (b' '..=b'~').contains(&b)) && text.chars().map(width).sum::<usize>() <= units {
        return text.to_owned();
    }
    let text = clean(text);
    let mut end = 0;
    let mut last_that_fits_with_mark = 0;
    let mut used = 0;
    for (count, grapheme) in text.graphemes(true).enumerate() {
        if count + 1 < graphemes && used < units {
            last_that_fits_with_mark = end;
        }
        let more = grapheme.chars().map(width).sum::<usize>();
        if count >= graphemes || used + more > units {
            return format!("{}…", &text[..last_that_fits_with_mark.min(end)]);
        }
        used += more;
        end += grapheme.len();
        if count + 1 < graphemes && used < units {
            last_that_fits_with_mark = end;
        }
    }
    text
}

/// Escapes the three characters that Slack gives a meaning; nothing else is an entity there.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Untrusted text inside mrkdwn that stands between marks of ours (`*bold*`): one line, in which no mark can end ours.
pub fn word(text: &str, graphemes: usize, units: usize) -> String {
    let flat: String = text.chars().map(|c| if c == '\n' || c == '\t' { ' ' } else { c }).collect();
    let mut out = String::new();
    // There is no escape for the marks; a full-width look-alike keeps the text readable and the layout ours.
    for c in escape(&cut(&flat, graphemes, units)).chars() {
        out.push(match c {
            '*' => '∗',
            '`' => 'ˋ',
            '~' => '∼',
            c => c,
        });
    }
    out
}

/// A mention of a person.
pub fn mention(user: &str) -> String {
    let id: String = user.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("<@{id}>")
}

/// A link with a label of ours.
pub fn link(url: &str, label: &str) -> String {
    let url = url.replace('&', "&amp;").replace('<', "%3C").replace('>', "%3E").replace('|', "%7C");
    format!("<{url}|{label}>")
}

/// A time in the reader's own time zone, with a fallback in UTC.
pub fn local_time(at: chrono::DateTime<chrono::Utc>) -> String {
    format!("<!date^{}^{{date_short_pretty}} at {{time}}|{} UTC>", at.timestamp(), at.format("%Y-%m-%d %H:%M"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_can_ping_a_channel() {
        assert_eq!(escape("<!channel> & <@U1>"), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
        assert_eq!(word("a*b`c\n<!here>", 50, 100), "a∗bˋc &lt;!here&gt;");
    }

    #[test]
    fn a_cut_never_splits_what_people_see_as_one_character() {
        let family = "👨‍👩‍👧‍👦";
        assert_eq!(cut(&family.repeat(5), 3, 1_000), format!("{}…", family.repeat(2)));
        assert_eq!(cut(&family.repeat(3), 3, 1_000), family.repeat(3));
        assert_eq!(cut("abc", 10, 2), "a…");
        assert_eq!(cut("&&&", 10, 11), "&&…");
        assert_eq!(cut("", 10, 10), "");
    }

    #[test]
    fn hidden_and_reordering_characters_are_dropped_and_hebrew_stays() {
        assert_eq!(clean("a\u{202e}b\u{200b}c\u{7}"), "abc");
        assert_eq!(clean("שלום"), "שלום");
    }
}
