//! Texts that are made of a job's variables, as data: the program and the portable script read the same ones.
//!
//! `{NAME}` is a variable's value; without one there is no such text. After a colon stands what is made of it: `:path` a
//! part of an address, `:trimmed` without slashes at its end, `:number` none when it says `false`, `:pull` the number in
//! `refs/pull/7/merge`, `:fork` the word `fork` when it says `True`. `{event:/a/b}` is a text of GitHub's description of what the job runs for;
//! `{event:/a/b:fork}` the word `fork` where there is one.

use crate::presets::Surroundings;

/// A piece of such a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it stands there.
    Plain(&'a str),
    /// What a variable says, and what is made of that.
    Variable(&'a str, Made),
    /// What GitHub's event says at a place.
    Event(&'a str),
    /// The word `fork`, where the event says anything there.
    Fork(&'a str),
}

/// What is made of a variable's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "see the module")]
pub enum Made {
    AsItIs,
    Path,
    Trimmed,
    Number,
    Pull,
    Fork,
}

/// The pieces of a text.
///
/// # Panics
/// When it is not written as above: the texts are constants, and a test reads them all.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('{') {
        if !plain.is_empty() {
            all.push(Piece::Plain(plain));
        }
        let (name, after) = after.split_once('}').expect("a brace that opens is closed");
        all.push(match name.split_once(':') {
            None => Piece::Variable(name, Made::AsItIs),
            Some(("event", pointer)) => match pointer.strip_suffix(":fork") {
                Some(pointer) => Piece::Fork(pointer),
                None => Piece::Event(pointer),
            },
            Some((name, "path")) => Piece::Variable(name, Made::Path),
            Some((name, "trimmed")) => Piece::Variable(name, Made::Trimmed),
            Some((name, "number")) => Piece::Variable(name, Made::Number),
            Some((name, "pull")) => Piece::Variable(name, Made::Pull),
            Some((name, "fork")) => Piece::Variable(name, Made::Fork),
            Some((_, made)) => panic!("nothing is made by {made}"),
        });
        rest = after;
    }
    if !rest.is_empty() {
        all.push(Piece::Plain(rest));
    }
    all
}

/// The first of these texts whose pieces are all there.
pub fn first(texts: &[&str], s: &Surroundings<'_>) -> Option<String> {
    texts.iter().find_map(|text| pieces(text).into_iter().map(|piece| value(piece, s)).collect())
}

fn value(piece: Piece<'_>, s: &Surroundings<'_>) -> Option<String> {
    let (name, made) = match piece {
        Piece::Plain(text) => return Some(text.to_owned()),
        Piece::Event(pointer) => return s.of_event(&[pointer]),
        Piece::Fork(pointer) => return s.of_event(&[pointer]).map(|_| "fork".to_owned()),
        Piece::Variable(name, made) => (name, made),
    };
    let value = (s.variable)(name)?;
    Some(match made {
        Made::AsItIs => value,
        Made::Path => in_a_path(&value),
        Made::Trimmed => value.trim_end_matches('/').to_owned(),
        Made::Number => Some(value).filter(|value| value != "false")?,
        Made::Fork => Some("fork".to_owned()).filter(|_| value == "True")?,
        Made::Pull => value.strip_prefix("refs/pull/")?.split('/').next()?.to_owned(),
    })
}

/// A part of an address.
fn in_a_path(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
