//! Which reports of a CI system make a build, and what the build is called and carries: a project's rules per provider.
//!
//! **Invariant:** rules that were recorded can be applied: patterns, templates and names are checked when they are set.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::build_events::Entry;
use super::names::{self, Invalid};

/// Most patterns, and most entries, in one list of a project's rules.
const LIST_MAX: usize = 50;

/// A project's rules for one provider. Every list that is empty leaves the provider's default in force.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CiRules {
    /// Which of the provider's events make a build.
    pub events: Vec<String>,
    /// Which repositories, as patterns; all when empty.
    pub repositories: Vec<String>,
    /// Which branches, as patterns; all when empty. A pattern that begins with `!` excludes.
    pub branches: Vec<String>,
    /// Which tags, as patterns; all when neither branches nor tags are chosen, none when only branches are.
    pub tags: Vec<String>,
    /// Which workflows, as patterns; all when empty.
    pub workflows: Vec<String>,
    /// Which conclusions; only `success` when empty.
    pub conclusions: Vec<String>,
    /// Whether pull requests from forks make builds: their code isn't the repository's.
    pub forks: bool,
    /// How a build is named, as a template; `{branch}-{number}` when there is none.
    pub name: Option<String>,
    /// More params, or other ones: name and template. An empty template leaves a default out.
    pub params: Vec<Entry>,
    /// More metadata, or other ones: title and template. An empty template leaves a default out.
    pub metadata: Vec<Entry>,
    /// Where in the body a field is: its name and a JSON pointer, such as `branch` and `/build/ref`.
    pub fields: Vec<Entry>,
}

/// What a report can tell, by the names that templates use.
pub const FIELDS: &[&str] = &[
    "event",
    "repository",
    "workflow",
    "branch",
    "tag",
    "commit",
    "message",
    "author",
    "pull_request",
    "number",
    "attempt",
    "url",
    "conclusion",
];

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
pub enum Part<'a> {
    /// As it stands.
    Text(&'a str),
    /// A field of the report, such as `{branch}`; `{short_commit}` is the first seven characters of the commit.
    Field(&'a str),
    /// A place in the body as a JSON pointer (RFC 6901), such as `{/workflow_run/id}`.
    Pointer(&'a str),
}

/// Takes a template apart.
///
/// # Errors
/// A sentence that names what can't be read.
pub fn template(text: &str) -> Result<Vec<Part<'_>>, Invalid> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        let Some((inside, after)) = after.split_once('}') else {
            return Err(Invalid(format!("the template \"{}\" has a {{ without its }}", names::printable(text))));
        };
        parts.push(match inside {
            pointer if pointer.starts_with('/') => Part::Pointer(pointer),
            field if ["short_commit", "pull_request_link"].contains(&field) || FIELDS.contains(&field) => Part::Field(field),
            other => {
                let known = FIELDS.join(", ");
                return Err(Invalid(format!(
                    "the template \"{}\" asks for {{{}}}; there are {known}, short_commit, and places in the body such as {{/build/id}}",
                    names::printable(text),
                    names::printable(other)
                )));
            }
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

/// Checks rules before they are recorded.
///
/// # Errors
/// A sentence about the first thing that is wrong.
pub fn check(rules: &CiRules) -> Result<(), Invalid> {
    let lists = [
        ("events", &rules.events),
        ("repositories", &rules.repositories),
        ("branches", &rules.branches),
        ("tags", &rules.tags),
        ("workflows", &rules.workflows),
        ("conclusions", &rules.conclusions),
    ];
    for (what, list) in lists {
        if list.len() > LIST_MAX {
            return Err(Invalid(format!("there are {} {what}; at most {LIST_MAX} are allowed", list.len())));
        }
        for pattern in list {
            names::display_name(&format!("each of the {what}"), pattern, 200)?;
        }
    }
    for (what, list) in [("params", &rules.params), ("metadata entries", &rules.metadata), ("fields", &rules.fields)] {
        if list.len() > LIST_MAX {
            return Err(Invalid(format!("there are {} {what}; at most {LIST_MAX} are allowed", list.len())));
        }
    }
    if let Some(name) = &rules.name {
        names::display_name("the template of the name", name, 200)?;
        template(name)?;
    }
    for entry in &rules.params {
        names::param(&entry.name)?;
        names::value(&entry.name, &entry.value)?;
        template(&entry.value)?;
    }
    for entry in &rules.metadata {
        names::metadata_key(&entry.name)?;
        names::value(&entry.name, &entry.value)?;
        template(&entry.value)?;
    }
    for entry in &rules.fields {
        if !FIELDS.contains(&entry.name.as_str()) {
            return Err(Invalid(format!(
                "there is no field \"{}\"; there are: {}",
                names::printable(&entry.name),
                FIELDS.join(", ")
            )));
        }
        if !entry.value.starts_with('/') || entry.value.len() > 200 {
            let value = names::printable(&entry.value);
            return Err(Invalid(format!(
                "\"{value}\" is not a place in the body; write it as a JSON pointer such as /build/ref"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_text_fields_and_places() {
        assert_eq!(
            template("v{number}-{/a/0}.").unwrap(),
            [Part::Text("v"), Part::Field("number"), Part::Text("-"), Part::Pointer("/a/0"), Part::Text(".")]
        );
        assert_eq!(template("plain").unwrap(), [Part::Text("plain")]);
        assert!(template("{nonsense}").unwrap_err().0.contains("asks for {nonsense}; there are event, repository"));
        assert_eq!(template("{branch").unwrap_err().0, "the template \"{branch\" has a { without its }");
    }

    #[test]
    fn rules_that_can_not_be_applied_are_refused() {
        let entry = |name: &str, value: &str| vec![Entry { name: name.into(), value: value.into() }];
        for (rules, why) in [
            (CiRules { params: entry("LD_PRELOAD", "{branch}"), ..CiRules::default() }, "can't come from CI"),
            (CiRules { params: entry("A", "{what}"), ..CiRules::default() }, "asks for {what}"),
            (CiRules { fields: entry("branch", "build.ref"), ..CiRules::default() }, "write it as a JSON pointer"),
            (CiRules { fields: entry("colour", "/c"), ..CiRules::default() }, "there is no field \"colour\""),
            (CiRules { branches: vec![String::new()], ..CiRules::default() }, "each of the branches"),
            (CiRules { branches: vec!["x".into(); 51], ..CiRules::default() }, "at most 50"),
        ] {
            let refusal = check(&rules).unwrap_err().0;
            assert!(refusal.contains(why), "{refusal}");
        }
        assert!(check(&CiRules::default()).is_ok());
    }
}
