//! Names and values that people give, each with one door: `parse`. What is refused says the limit and the actual size.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

/// Why a name or a value is refused; the text is a sentence for whoever gave it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

fn invalid<T>(text: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(text.into()))
}

/// Longest value of a param, a metadata entry or a variable, in bytes.
pub const VALUE_MAX: usize = 10_000;
/// Most params, and most metadata entries, of one build.
pub const ENTRIES_MAX: usize = 100;

/// Checks a display name: 1 to `max` graphemes, no control characters, not only blanks.
///
/// # Errors
/// A sentence that says the limit and the actual size.
pub fn display_name<'a>(what: &str, text: &'a str, max: usize) -> Result<&'a str, Invalid> {
    if text.trim().is_empty() {
        return invalid(format!("{what} is empty; give 1 to {max} characters"));
    }
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return invalid(format!("{what} holds the control character U+{:04X}; leave it out", bad as u32));
    }
    // A grapheme may be made of any number of code points, so bytes are bounded as well.
    let length = if text.len() > max * 32 { text.len() } else { text.graphemes(true).count() };
    if length > max {
        return invalid(format!("{what} has {length} characters; at most {max} are allowed"));
    }
    Ok(text)
}

/// Checks a build's name: 1 to 200 graphemes.
///
/// # Errors
/// A sentence that says the limit and the actual size.
pub fn build_name(text: &str) -> Result<&str, Invalid> {
    display_name("name", text, 200)
}

/// Checks a project's slug: `a-z 0-9 -`, 1 to 40 characters, not starting or ending with a dash.
///
/// # Errors
/// A sentence that says the limit and the actual size.
pub fn slug(text: &str) -> Result<&str, Invalid> {
    let fits = (1..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if fits { Ok(text) } else { invalid(format!("the slug \"{text}\" may hold 1 to 40 of a-z, 0-9 and - (not at its ends)")) }
}

/// A slug made from a display name: what `project create Api` uses when none is given.
pub fn slug_from(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(40);
    slug.trim_end_matches('-').to_owned()
}

/// Variables that change how programs are loaded or how shells run: setting one is running code. Params come from CI,
/// whose token may leak, and run beside production's secrets.
const DANGEROUS: &[&str] = &[
    "PATH",
    "IFS",
    "ENV",
    "BASH_ENV",
    "SHELLOPTS",
    "BASHOPTS",
    "PS4",
    "PROMPT_COMMAND",
    "CDPATH",
    "GLOBIGNORE",
    "SHELL",
    "HOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PERL5LIB",
    "PERL5OPT",
    "PERL5DB",
    "PERLLIB",
    "RUBYLIB",
    "RUBYOPT",
    "NODE_OPTIONS",
    "NODE_PATH",
    "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "CLASSPATH",
    "GCONV_PATH",
    "LOCPATH",
    "HOSTALIASES",
    "RESOLV_HOST_CONF",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_EXEC_PATH",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_COUNT",
    "GIT_EXTERNAL_DIFF",
    "GIT_PROXY_COMMAND",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "BROWSER",
    "TERMINFO",
    "MALLOC_CHECK_",
    "NLSPATH",
    "OPENSSL_CONF",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "KUBECONFIG",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
];

fn variable_shape(text: &str) -> Result<(), Invalid> {
    let mut bytes = text.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if text.len() > 100 {
        return invalid(format!("the name of {} bytes is too long; at most 100 are allowed", text.len()));
    }
    if !starts || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return invalid(format!("\"{}\" is not a variable name; use letters, digits and _, not starting with a digit", printable(text)));
    }
    if text.to_ascii_uppercase().starts_with("COOLOPS_") {
        return invalid(format!("{text} is reserved: coolops sets the COOLOPS_* variables itself; choose another name"));
    }
    Ok(())
}

/// Checks the name of an environment's variable. The operator sets those, so only shape and reservation are checked.
///
/// # Errors
/// A sentence that says the limit and the actual size.
pub fn variable(text: &str) -> Result<&str, Invalid> {
    variable_shape(text).map(|()| text)
}

/// Checks the name of a build's param: like a variable's, and not one that changes how programs load or run.
///
/// # Errors
/// A sentence that says the limit and the actual size.
pub fn param(text: &str) -> Result<&str, Invalid> {
    variable_shape(text)?;
    let upper = text.to_ascii_uppercase();
    if DANGEROUS.contains(&upper.as_str()) || ["LD_", "DYLD_", "BASH_FUNC_", "GIT_CONFIG_"].iter().any(|p| upper.starts_with(p)) {
        return invalid(format!("{text} changes how programs load or run and can't come from CI; set it on the environment instead"));
    }
    Ok(text)
}

/// Checks the key of a metadata entry: 1 to 100 graphemes.
///
/// # Errors
/// A sentence that says the limit and the actual size.
pub fn metadata_key(text: &str) -> Result<&str, Invalid> {
    display_name("the metadata key", text, 100)
}

/// Checks a value: at most 10 kB, no NUL byte (neither Postgres nor a process's environment can hold one).
///
/// # Errors
/// A sentence that says the limit and the actual size.
pub fn value<'a>(of: &str, text: &'a str) -> Result<&'a str, Invalid> {
    if text.len() > VALUE_MAX {
        return invalid(format!("the value of {} has {} bytes; at most {VALUE_MAX} are allowed", printable(of), text.len()));
    }
    if text.contains('\0') {
        return invalid(format!("the value of {} holds a NUL byte; leave it out", printable(of)));
    }
    Ok(text)
}

/// A short, control-free form of a text for an error message.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.len() <= 60 && !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut short: String = text.graphemes(true).take(40).flat_map(str::chars).take(60).flat_map(char::escape_default).collect();
    short.push('…');
    Cow::Owned(short)
}

/// A container image's reference in canonical form, as Docker reads it: `registry/repository:tag` or `…@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ImageRef(String);

impl ImageRef {
    /// Parses a reference by the grammar of the distribution project. A missing tag means `latest`.
    ///
    /// # Errors
    /// A sentence that says what can't be read.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let refuse = |why: &str| {
            invalid(format!("\"{}\" is not an image: {why}; write it like registry.example.com/team/deploy:1.2", printable(text)))
        };
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > 400 {
            return refuse("it is longer than 400 characters");
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if let Some(digest) = digest {
            let hex = digest.strip_prefix("sha256:").unwrap_or_default();
            if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
                return refuse("the digest is not sha256: and 64 hex digits");
            }
        }
        let slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (path, tag) = match rest[slash..].find(':') {
            Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
            None => (rest, None),
        };
        if let Some(tag) = tag {
            let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if tag.is_empty() || tag.len() > 128 || !word(tag.as_bytes()[0]) || !tag.bytes().all(|b| word(b) || b == b'.' || b == b'-') {
                return refuse("the tag holds characters that no tag may hold");
            }
        }
        let parts: Vec<&str> = path.split('/').collect();
        let has_host = parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost");
        if has_host && !parts[0].bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b)) {
            return refuse("the registry's host can't be read");
        }
        for part in &parts[usize::from(has_host)..] {
            let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            let fits = part.bytes().next().is_some_and(word)
                && part.bytes().last().is_some_and(word)
                && part.bytes().all(|b| word(b) || b"._-".contains(&b));
            if !fits {
                return refuse("a repository holds a-z, 0-9 and . _ - between them");
            }
        }
        let tag = match (tag, digest) {
            (None, None) => ":latest".to_owned(),
            (None, Some(_)) => String::new(),
            (Some(tag), _) => format!(":{tag}"),
        };
        Ok(Self(format!("{path}{tag}{}", digest.map(|d| format!("@{d}")).unwrap_or_default())))
    }

    /// The whole reference.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The registry's host, as credentials are filed under it; `docker.io` where the reference names none.
    pub fn registry(&self) -> &str {
        match self.0.split_once('/') {
            Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
            _ => "docker.io",
        }
    }

    /// The reference without tag and digest, and the tag or digest to ask the registry for.
    pub fn name_and_tag(&self) -> (&str, &str) {
        if let Some((name, digest)) = self.0.split_once('@') {
            let slash = name.rfind('/').map_or(0, |at| at + 1);
            let name = name[slash..].find(':').map_or(name, |colon| &name[..slash + colon]);
            return (name, digest);
        }
        let slash = self.0.rfind('/').map_or(0, |at| at + 1);
        match self.0[slash..].find(':') {
            Some(colon) => (&self.0[..slash + colon], &self.0[slash + colon + 1..]),
            None => (&self.0, "latest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_as_docker_reads_them() {
        for (text, canonical, registry) in [
            ("busybox", "busybox:latest", "docker.io"),
            ("team/deploy:1.2", "team/deploy:1.2", "docker.io"),
            ("localhost:5000/deploy", "localhost:5000/deploy:latest", "localhost:5000"),
            ("registry.example.com/a/b:v1", "registry.example.com/a/b:v1", "registry.example.com"),
        ] {
            let image = ImageRef::parse(text).unwrap();
            assert_eq!((image.as_str(), image.registry()), (canonical, registry));
        }
        assert_eq!(ImageRef::parse("localhost:5000/deploy").unwrap().name_and_tag(), ("localhost:5000/deploy", "latest"));
        for bad in ["", "UPPER", "a b", "x:", "x@sha256:12", "-x", "x/", "x:ta g", &"a".repeat(500)] {
            assert!(ImageRef::parse(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_leaked_ci_token_cannot_choose_what_runs() {
        for bad in ["LD_PRELOAD", "PATH", "path", "BASH_ENV", "IFS", "NODE_OPTIONS", "COOLOPS_PROJECT", "coolops_x", "1A", "A-B", ""] {
            assert!(param(bad).is_err(), "{bad:?} must be refused");
        }
        assert!(param("DOCKER_TAG").is_ok() && variable("PATH").is_ok() && variable("COOLOPS_X").is_err());
    }

    #[test]
    fn names_are_counted_as_people_count_them() {
        assert!(build_name(&"👨‍👩‍👧‍👦".repeat(200)).is_ok());
        assert_eq!(build_name(&"x".repeat(300)).unwrap_err().0, "name has 300 characters; at most 200 are allowed");
        assert!(build_name("a\0b").is_err() && build_name("  ").is_err());
        assert_eq!(slug_from("My Api (v2)"), "my-api-v2");
    }
}
