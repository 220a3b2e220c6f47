//! Rows as HTML: looks become a closed set of classes, links lead to http and https only, the rest is text.

use super::style::{Colour, Style, Underline};
use super::{Cell, Row};

/// Most markup of a row, in bytes: each look of a few characters takes a hundred.
const ROW_MAX: usize = 64 * 1024;

impl Row {
    /// The markup of its text; `link` tells a link's address.
    pub fn html<'a>(&self, link: impl Fn(u32) -> Option<&'a str>) -> String {
        let mut html = String::with_capacity(self.cells.len() + 16);
        let (mut cells, mut linked, mut left_out) = (self.trimmed(), 0, self.left_out);
        while let Some(first) = cells.first() {
            if html.len() > ROW_MAX {
                left_out += cells.len();
                break;
            }
            let style = first.style;
            let same = cells.iter().position(|cell| cell.style != style).unwrap_or(cells.len());
            let (run, rest) = cells.split_at(same);
            cells = rest;
            let address = link(style.link);
            let number = if address.is_some() { style.link } else { 0 };
            if number != linked {
                if linked > 0 {
                    html.push_str("</a>");
                }
                if let Some(address) = address {
                    html.push_str("<a rel=\"noopener noreferrer nofollow\" target=\"_blank\" href=\"");
                    address.chars().for_each(|c| escape(c, &mut html));
                    html.push_str("\">");
                }
                linked = number;
            }
            let open = open(style, &mut html);
            run.iter().for_each(|cell| write(cell, &mut html));
            if open {
                html.push_str("</span>");
            }
        }
        if linked > 0 {
            html.push_str("</a>");
        }
        if left_out > 0 {
            html.push_str(&format!("<i>… {left_out} more characters; the raw download has them</i>"));
        }
        html
    }
}

fn open(style: Style, html: &mut String) -> bool {
    let style = Style { link: 0, ..style };
    if style == Style::default() {
        return false;
    }
    let (mut foreground, mut background) = (style.foreground, style.background);
    let mut classes: Vec<String> = Vec::new();
    if style.reverse {
        (foreground, background) = (background, foreground);
        // What has no colour of its own has the page's, the other way round.
        classes.extend(foreground.is_none().then(|| "fr".to_owned()));
        classes.extend(background.is_none().then(|| "br".to_owned()));
    }
    classes.extend(foreground.map(|colour| format!("f{}", nearest(colour))));
    classes.extend(background.map(|colour| format!("b{}", nearest(colour))));
    let underline = match style.underline {
        Underline::None => None,
        Underline::Single => Some("un"),
        Underline::Double => Some("ud"),
        Underline::Curly => Some("uc"),
        Underline::Dotted => Some("ut"),
        Underline::Dashed => Some("ua"),
    };
    classes.extend(underline.map(str::to_owned));
    classes.extend(style.underline_colour.map(|colour| format!("u{}", nearest(colour))));
    let switches = [
        (style.bold, "bo"),
        (style.faint, "di"),
        (style.italic, "it"),
        (style.concealed, "co"),
        (style.struck, "st"),
        (style.overlined, "ov"),
    ];
    classes.extend(switches.into_iter().filter(|(on, _)| *on).map(|(_, class)| class.to_owned()));
    html.push_str(&format!("<span class=\"{}\"", classes.join(" ")));
    // Exactly, where the page's script runs: an inline style would not be let through.
    for (colour, name) in [(foreground, "f"), (background, "b"), (style.underline_colour, "u")] {
        if let Some(Colour::True(r, g, b)) = colour {
            html.push_str(&format!(" data-{name}=\"#{r:02x}{g:02x}{b:02x}\""));
        }
    }
    html.push('>');
    true
}

fn write(cell: &Cell, html: &mut String) {
    if let Some(c) = cell.character {
        escape(c, html);
    }
    if let Some(combined) = &cell.combined {
        combined.chars().for_each(|c| escape(c, html));
    }
}

/// One character of text.
pub fn escape(c: char, html: &mut String) {
    match c {
        '&' => html.push_str("&amp;"),
        '<' => html.push_str("&lt;"),
        '>' => html.push_str("&gt;"),
        '"' => html.push_str("&quot;"),
        c => html.push(c),
    }
}

/// The nearest colour of the palette of 256.
fn nearest(colour: Colour) -> u8 {
    let (r, g, b) = match colour {
        Colour::Indexed(n) => return n,
        Colour::True(r, g, b) => (r, g, b),
    };
    let apart = |one: u8, other: u8| (i32::from(one) - i32::from(other)).pow(2);
    let distance = |n: u8| {
        let of = palette(n);
        apart(r, of.0) + apart(g, of.1) + apart(b, of.2)
    };
    (16..=255).min_by_key(|n| distance(*n)).unwrap_or(16)
}

/// A colour of the palette from 16 on: a cube of six steps a side, and greys. Source: xterm's 256 colours.
pub fn palette(n: u8) -> (u8, u8, u8) {
    let step = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
    match n {
        0..16 => (0, 0, 0),
        16..232 => (step((n - 16) / 36), step((n - 16) / 6 % 6), step((n - 16) % 6)),
        _ => (8 + 10 * (n - 232), 8 + 10 * (n - 232), 8 + 10 * (n - 232)),
    }
}

/// The style sheet of the palette from 16 on. What is light on a light ground is darkened, and the other way round.
pub fn style_sheet() -> String {
    (16..=255_u8)
        .map(|n| {
            let (r, g, b) = palette(n);
            let colour = format!("#{r:02x}{g:02x}{b:02x}");
            let bright = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
            let on_light = if bright > 130_000 { format!("color-mix(in srgb, {colour} 55%, #000)") } else { colour.clone() };
            let on_dark = if bright < 90_000 { format!("color-mix(in srgb, {colour} 55%, #fff)") } else { colour.clone() };
            let ink = if bright > 130_000 { "#000" } else { "#fff" };
            format!(
                ".f{n} {{ color: light-dark({on_light}, {on_dark}); }}\n.b{n} {{ background: {colour}; color: {ink}; }}\n.u{n} {{ text-decoration-color: {colour}; }}\n"
            )
        })
        .collect()
}
