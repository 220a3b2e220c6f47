//! Text for Slack: escaped, cut at grapheme borders, without characters that reorder or hide what is read.

use unicode_segmentation::UnicodeSegmentation;

use coolops_client::limits::visible;

use crate::domain::somebody;

/// The text with everything in it to be seen: see [`visible`].
pub fn clean(text: &str) -> String {
    visible(text).into_owned()
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
    if text.len() <= graphemes
        && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && text.chars().map(width).sum::<usize>() <= units
    {
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

/// Untrusted text of several lines in which the marks of mrkdwn keep their meaning, as CI systems use them; cut by
/// meaning. Code between three backticks is closed again, an address is a link that is whole or none at all.
pub fn rich(text: &str, graphemes: usize, units: usize) -> String {
    let text = clean(text);
    let mut room = Budget { graphemes, units, out: String::new() };
    let mut fenced = false;
    for (n, part) in text.split(FENCE).enumerate() {
        let opens = n > 0;
        fenced ^= opens;
        // What a fence costs is paid at both of its ends when it is opened.
        if opens && fenced && !room.take(2 * FENCE.len()) {
            return room.ended();
        }
        if opens {
            room.out.push_str(FENCE);
        }
        let whole = if fenced { room.text(part) } else { room.linked(part) };
        if !whole {
            let end = if fenced { FENCE } else { "" };
            return format!("{}{end}", room.ended());
        }
    }
    if fenced {
        room.out.push_str(FENCE);
    }
    room.out
}

const FENCE: &str = "```";

/// What a text still may take, and what it took.
struct Budget {
    graphemes: usize,
    units: usize,
    out: String,
}

impl Budget {
    fn take(&mut self, plain: usize) -> bool {
        let fits = self.graphemes > plain && self.units > plain;
        if fits {
            (self.graphemes, self.units) = (self.graphemes - plain, self.units - plain);
        }
        fits
    }

    /// Escaped text as far as it fits; `false` when something had to go.
    fn text(&mut self, text: &str) -> bool {
        for grapheme in text.graphemes(true) {
            let more = grapheme.chars().map(width).sum::<usize>();
            if self.graphemes == 0 || more >= self.units {
                return false;
            }
            (self.graphemes, self.units) = (self.graphemes - 1, self.units - more);
            self.out.push_str(&escape(grapheme));
        }
        true
    }

    /// Escaped text with addresses as links (with `verbatim`, Slack makes none of its own), as far as it fits; `false` when something
    /// had to go.
    fn linked(&mut self, mut text: &str) -> bool {
        while let Some(at) = ["https://", "http://"].iter().filter_map(|scheme| text.find(scheme)).min() {
            if !self.text(&text[..at]) {
                return false;
            }
            let is_end = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '|' | '"' | '`' | '\'');
            let end = text[at..].find(is_end).map_or(text.len(), |n| at + n);
            let address = without_marks(&text[at..end]);
            let link = format!("<{}>", address.replace('&', "&amp;"));
            // Half an address leads nowhere: it stands there as text, as far as it goes. What somebody wrote as a link
            // of Slack's own stays the text that it is, so that no label can lie about it.
            if text[..at].ends_with(|c: char| c == '<' || c.is_alphanumeric()) {
                if !self.text(&text[at..end]) {
                    return false;
                }
                text = &text[end..];
                continue;
            }
            let fits = address.chars().count() < self.graphemes
                && link.chars().map(char::len_utf16).sum::<usize>() < self.units;
            if !fits {
                return self.text(&text[at..]);
            }
            self.graphemes -= address.chars().count();
            self.units -= link.chars().map(char::len_utf16).sum::<usize>();
            self.out.push_str(&link);
            text = &text[at + address.len()..];
        }
        self.text(text)
    }

    fn ended(&mut self) -> String {
        // An entity is one character; a link ends where it ends.
        format!("{}…", self.out)
    }
}

/// An address without the marks that end a sentence or a bracket around it; brackets of its own are its own.
fn without_marks(mut address: &str) -> &str {
    let count = |text: &str, c: char| text.chars().filter(|found| *found == c).count();
    loop {
        let shorter = match address.chars().next_back() {
            Some('.' | ',' | ';' | ':' | '!' | '?' | '*') => true,
            Some(')') => count(address, ')') > count(address, '('),
            Some(']') => count(address, ']') > count(address, '['),
            _ => false,
        };
        if !shorter {
            return address;
        }
        address = &address[..address.len() - 1];
    }
}

/// A mention of a person, by their id; words for one whose id was erased.
pub fn mention(user: &str) -> String {
    if let Some(words) = somebody::nobody(user) {
        return words.to_owned();
    }
    let id: String = user.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("<@{id}>")
}

/// A mention of a channel, by its id.
pub fn channel(id: &str) -> String {
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("<#{id}>")
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
        assert_eq!(clean("a\u{202e}b\u{200b}c\u{7}"), "a⟨U+202E⟩b⟨U+200B⟩c");
        assert_eq!(clean("שלום"), "שלום");
    }

    #[test]
    fn a_cut_closes_its_fence_and_breaks_no_link() {
        let long = format!("```{}```", "x".repeat(500));
        let cut = rich(&long, 50, 900);
        assert!(cut.starts_with("```xxx") && cut.ends_with("x…```") && cut.matches("```").count() == 2, "{cut}");
        assert_eq!(
            rich("see https://ci.example/a?b=1&c=2, then", 300, 900),
            "see <https://ci.example/a?b=1&amp;c=2>, then"
        );
        let cut = rich(&format!("see https://ci.example/{}", "y".repeat(400)), 300, 900);
        assert!(cut.starts_with("see https://ci.example/yyy") && cut.ends_with("y…") && !cut.contains('<'), "{cut}");
        assert_eq!(rich("(see https://x.example/Foo_(bar))", 300, 900), "(see <https://x.example/Foo_(bar)>)");
        assert_eq!(rich("an open ``` fence", 300, 900), "an open ``` fence```");
        assert_eq!(rich("```a``` and ```b```", 300, 900), "```a``` and ```b```");
        assert_eq!(rich("<!channel> & <@U1>", 300, 900), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
        assert_eq!(rich("```https://x.example```", 300, 900), "```https://x.example```");
        for most in 1..60 {
            let cut = rich("a ```code && more``` https://x.example/path tail", most, most);
            assert!(cut.matches("```").count().is_multiple_of(2), "{most}: {cut}");
            assert_eq!(cut.matches('<').count(), cut.matches('>').count(), "{most}: {cut}");
        }
    }
}
