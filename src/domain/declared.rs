//! The variables that a deployment image says it reads, in its label [`LABEL`], and what of them is there. Pure.
//!
//! In the label, names stand with blanks between them: `NAME` has to be there, `NAME?` need not be, of `NAME|OTHER` one has
//! to be, `NAME@build` is for builds to bring and the others are the environment's, and `*` (`*@build`) says that the image
//! reads others too. Where nothing is marked so, builds may bring anything.

/// The label of an image.
pub const LABEL: &str = "io.coolops.variables";

/// What an image reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// What has to be there: one of the names of each.
    needed: Vec<Vec<String>>,
    optional: Vec<String>,
    /// What builds bring.
    of_build: Vec<String>,
    /// Whether the label tells that at all.
    marked: bool,
    /// Whether it reads others too.
    open: bool,
}

impl Declared {
    /// Reads a label.
    ///
    /// # Errors
    /// The word that is no name of a variable, as a sentence.
    pub fn parse(label: &str) -> Result<Self, String> {
        let mut declared = Self { needed: vec![], optional: vec![], of_build: vec![], marked: false, open: false };
        for word in label.split_whitespace() {
            if matches!(word, "*" | "*@build") {
                declared.open = true;
                declared.marked |= word != "*";
                continue;
            }
            let (names, is_optional) = word.strip_suffix('?').map_or((word, false), |names| (names, true));
            let (names, is_build_s) = names.strip_suffix("@build").map_or((names, false), |names| (names, true));
            let names: Vec<String> = names.split('|').map(str::to_owned).collect();
            if let Some(wrong) = names.iter().find(|name| !is_name(name)) {
                let wrong = super::names::printable(wrong);
                return Err(format!("the image's label {LABEL} holds \"{wrong}\", which is no name of a variable"));
            }
            if is_build_s {
                declared.of_build.extend(names.iter().cloned());
                declared.marked = true;
            }
            if is_optional {
                declared.optional.extend(names);
            } else {
                declared.needed.push(names);
            }
        }
        Ok(declared)
    }

    /// Whether the image takes a variable from a build.
    pub fn takes_of_build(&self, name: &str) -> bool {
        let is_known = || self.needed.iter().flatten().chain(&self.optional).any(|known| known == name);
        !self.marked || self.of_build.iter().any(|own| own == name) || (self.open && !is_known())
    }

    /// What has to be there and is not, `|` between the names of one.
    pub fn missing(&self, is_there: impl Fn(&str) -> bool) -> Vec<String> {
        self.needed.iter().filter(|names| !names.iter().any(|n| is_there(n))).map(|names| names.join("|")).collect()
    }

    /// Which of these it does not read, each with the name that may be meant.
    pub fn unknown<'a>(&'a self, names: impl Iterator<Item = &'a str>) -> Vec<(&'a str, Option<&'a str>)> {
        if self.open {
            return vec![];
        }
        let known: Vec<&str> = self.needed.iter().flatten().chain(&self.optional).map(String::as_str).collect();
        let near = |name: &str| super::names::nearest(name, known.iter().copied());
        names.filter(|name| !known.contains(name)).map(|name| (name, near(name))).collect()
    }
}

fn is_name(text: &str) -> bool {
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins_well && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_not_read_shows() {
        let declared = Declared::parse("TAG ZONE|REGION\n  LIMIT?").unwrap();
        assert_eq!(declared.missing(|_| false), ["TAG", "ZONE|REGION"]);
        assert_eq!(declared.missing(|name| ["REGION", "TAG"].contains(&name)), Vec::<String>::new());
        assert_eq!(
            declared.unknown(["TAG", "LIMTI", "OTHER"].into_iter()),
            [("LIMTI", Some("LIMIT")), ("OTHER", None)]
        );
        assert_eq!(Declared::parse("TAG *").unwrap().unknown(["OTHER"].into_iter()), []);
    }

    #[test]
    fn what_a_build_may_bring_is_marked() {
        let declared = Declared::parse("TAG@build ZONE SUM@build?").unwrap();
        let taken = |name| declared.takes_of_build(name);
        assert_eq!((taken("TAG"), taken("SUM"), taken("ZONE"), taken("OTHER")), (true, true, false, false));
        assert!(Declared::parse("TAG ZONE").unwrap().takes_of_build("ZONE"), "where nothing is marked, all may");
        let open = Declared::parse("ZONE *@build").unwrap();
        assert!(open.takes_of_build("OTHER") && !open.takes_of_build("ZONE"));
    }

    #[test]
    fn a_label_that_holds_no_names_says_which_word() {
        for (label, wrong) in [("TAG, ZONE", "TAG,"), ("1A", "1A"), ("A||B", ""), ("$(id)", "$(id)"), ("?", "")] {
            assert!(Declared::parse(label).unwrap_err().contains(&format!("holds \"{wrong}\"")), "{label}");
        }
        assert_eq!(Declared::parse("").unwrap().missing(|_| false), Vec::<String>::new());
    }
}
