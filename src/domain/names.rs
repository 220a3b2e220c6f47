//! Names that the service alone gives things: slugs and image references, each with one door. What announcements may
//! hold is in [`limits`](coolops_client::limits).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use coolops_client::limits::invalid;
pub use coolops_client::limits::{
    ENTRIES_MAX, Invalid, VALUE_MAX, build_name, commit, display_name, metadata_key, param, printable, repository,
    value, variable, visible,
};

/// Characters in a reason that somebody gives, at most.
pub const REASON_MAX: usize = 500;

/// A reason that somebody gives, as it is recorded.
///
/// # Errors
/// When it says nothing, or too much.
pub fn reason(text: &str) -> Result<String, Invalid> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(Invalid("the reason is empty; say why, it is recorded".to_owned())),
        length if length > REASON_MAX => {
            Err(Invalid(format!("the reason has {length} characters; it has {REASON_MAX} at most")))
        }
        _ => Ok(text.to_owned()),
    }
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
    if fits {
        Ok(text)
    } else {
        invalid(format!("the slug \"{text}\" may hold 1 to 40 of a-z, 0-9 and - (not at its ends)"))
    }
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

/// Docker's own registry.
const DOCKER_HUB: &str = "docker.io";

/// A registry's host in the one form that hosts are compared in: lower case, and Docker Hub by one name.
pub fn registry(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" | "hub.docker.com" | "registry.hub.docker.com" => {
            DOCKER_HUB.to_owned()
        }
        _ => host,
    }
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
            invalid(format!(
                "\"{}\" is not an image: {why}; write it like registry.example.com/team/deploy:1.2",
                printable(text)
            ))
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
            if tag.is_empty()
                || tag.len() > 128
                || !word(tag.as_bytes()[0])
                || !tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
            {
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
    pub fn registry(&self) -> String {
        match self.host() {
            Some(host) => registry(host),
            None => DOCKER_HUB.to_owned(),
        }
    }

    fn host(&self) -> Option<&str> {
        self.0.split_once('/').map(|(host, _)| host).filter(|host| host.contains(['.', ':']) || *host == "localhost")
    }

    /// The name without tag and digest as Docker lists it: Docker Hub's without their host and `library/`.
    pub fn listed_name(&self) -> String {
        let name = self.name_and_tag().0;
        let Some(host) = self.host() else { return name.strip_prefix("library/").unwrap_or(name).to_owned() };
        let path = &name[host.len() + 1..];
        match registry(host) {
            hub if hub == DOCKER_HUB => path.strip_prefix("library/").unwrap_or(path).to_owned(),
            // As it was written: only Docker Hub has names that Docker lists otherwise.
            _ => name.to_owned(),
        }
    }

    /// Whether its tag is one that stands for the newest image, so that the registry is asked each time.
    pub fn moves(&self) -> bool {
        self.name_and_tag().1 == "latest"
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

/// The one of these that a person who wrote something else most likely meant.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&wrong, &name.to_lowercase());
    let best = known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.75).then_some(best)
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
            ("GHCR.IO/a/b:v1", "GHCR.IO/a/b:v1", "ghcr.io"),
            ("index.docker.io/library/busybox:1", "index.docker.io/library/busybox:1", "docker.io"),
        ] {
            let image = ImageRef::parse(text).unwrap();
            assert_eq!((image.as_str(), image.registry().as_str()), (canonical, registry));
        }
        assert_eq!(
            ImageRef::parse("localhost:5000/deploy").unwrap().name_and_tag(),
            ("localhost:5000/deploy", "latest")
        );
        for (text, listed) in [
            ("busybox", "busybox"),
            ("docker.io/library/busybox:1", "busybox"),
            ("docker.io/team/deploy:1", "team/deploy"),
            ("library/busybox", "busybox"),
            ("ghcr.io/team/deploy:1", "ghcr.io/team/deploy"),
        ] {
            assert_eq!(ImageRef::parse(text).unwrap().listed_name(), listed);
        }
        for bad in ["", "UPPER", "a b", "x:", "x@sha256:12", "-x", "x/", "x:ta g", &"a".repeat(500)] {
            assert!(ImageRef::parse(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_slug_is_made_of_a_name() {
        assert_eq!(slug_from("My Api (v2)"), "my-api-v2");
    }
}
