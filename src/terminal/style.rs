//! How text looks at one point, and what `SGR` changes about it. Source: ECMA-48, 8.3.117; ISO 8613-6 for the colon's
//! spelling; kitty and VTE for underline styles and colours.

use vte::Params;

/// A colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Colour {
    /// One of the 256 of a palette; the first sixteen are the reader's own.
    Indexed(u8),
    /// Red, green, blue.
    True(u8, u8, u8),
}

/// Lines under text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "plain words")]
pub enum Underline {
    #[default]
    None,
    Single,
    Double,
    Curly,
    Dotted,
    Dashed,
}

/// The look of text at one point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "plain words")]
#[expect(clippy::struct_excessive_bools, reason = "a terminal has as many switches")]
pub struct Style {
    pub foreground: Option<Colour>,
    pub background: Option<Colour>,
    pub underline_colour: Option<Colour>,
    pub underline: Underline,
    pub bold: bool,
    pub faint: bool,
    pub italic: bool,
    pub reverse: bool,
    pub concealed: bool,
    pub struck: bool,
    pub overlined: bool,
    /// Which of the links that were opened it belongs to, from 1.
    pub link: u32,
}

impl Style {
    /// Nothing but its link.
    fn plain(self) -> Self {
        Self { link: self.link, ..Self::default() }
    }

    /// Applies a select-graphic-rendition sequence.
    pub fn apply(&mut self, params: &Params) {
        let mut codes = params.iter();
        let mut any = false;
        while let Some(code) = codes.next() {
            any = true;
            let more = &code[1..];
            match code[0] {
                0 => *self = self.plain(),
                1 => self.bold = true,
                2 => self.faint = true,
                3 => self.italic = true,
                4 => {
                    self.underline = match more.first() {
                        None | Some(1) => Underline::Single,
                        Some(0) => Underline::None,
                        Some(2) => Underline::Double,
                        Some(3) => Underline::Curly,
                        Some(4) => Underline::Dotted,
                        Some(5) => Underline::Dashed,
                        Some(_) => self.underline,
                    }
                }
                7 => self.reverse = true,
                8 => self.concealed = true,
                9 => self.struck = true,
                21 => self.underline = Underline::Double,
                22 => (self.bold, self.faint) = (false, false),
                23 => self.italic = false,
                24 => self.underline = Underline::None,
                27 => self.reverse = false,
                28 => self.concealed = false,
                29 => self.struck = false,
                53 => self.overlined = true,
                55 => self.overlined = false,
                n @ 30..=37 => self.foreground = Some(indexed(n - 30)),
                n @ 90..=97 => self.foreground = Some(indexed(n - 90 + 8)),
                39 => self.foreground = None,
                n @ 40..=47 => self.background = Some(indexed(n - 40)),
                n @ 100..=107 => self.background = Some(indexed(n - 100 + 8)),
                49 => self.background = None,
                59 => self.underline_colour = None,
                of @ (38 | 48 | 58) => {
                    let colour = match more {
                        // The old spelling has its numbers beside each other.
                        [] => apart(&mut codes),
                        _ => together(more),
                    };
                    if let Some(colour) = colour {
                        match of {
                            38 => self.foreground = Some(colour),
                            48 => self.background = Some(colour),
                            _ => self.underline_colour = Some(colour),
                        }
                    }
                }
                _ => {}
            }
        }
        if !any {
            *self = self.plain();
        }
    }
}

fn indexed(n: u16) -> Colour {
    Colour::Indexed(u8::try_from(n).unwrap_or_default())
}

fn byte(n: u16) -> Option<u8> {
    u8::try_from(n).ok()
}

/// `38;5;n` and `38;2;r;g;b`.
fn apart<'a>(codes: &mut impl Iterator<Item = &'a [u16]>) -> Option<Colour> {
    let mut next = || codes.next().and_then(|code| code.first().copied());
    match next()? {
        5 => Some(Colour::Indexed(byte(next()?)?)),
        2 => {
            let (r, g, b) = (next()?, next()?, next()?);
            Some(Colour::True(byte(r)?, byte(g)?, byte(b)?))
        }
        _ => None,
    }
}

/// `38:5:n`, `38:2:r:g:b` and `38:2:space:r:g:b`, which may have a tolerance after it.
fn together(more: &[u16]) -> Option<Colour> {
    match *more {
        [5, n, ..] => Some(Colour::Indexed(byte(n)?)),
        [2, r, g, b] | [2, _, r, g, b, ..] => Some(Colour::True(byte(r)?, byte(g)?, byte(b)?)),
        _ => None,
    }
}
