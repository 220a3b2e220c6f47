//! Where the changes between two builds can be looked at.
//!
//! Sources: the vendors' own links between two commits (GitHub, GitLab, Bitbucket Cloud, Azure Repos, Forgejo).

use crate::domain::build::Source;

/// The address of a comparison, where both are commits of one repository on a site that is known.
pub fn url(from: &Source, to: &Source) -> Option<String> {
    let (repository, there) = (to.repository.as_ref()?, from.repository.as_ref()?);
    let (a, b) = (from.commit.as_ref()?, to.commit.as_ref()?);
    if !repository.eq_ignore_ascii_case(there) || a.starts_with(b.as_str()) || b.starts_with(a.as_str()) {
        return None;
    }
    let host = repository.split_once("://")?.1.split('/').next()?.to_ascii_lowercase();
    let is = |name: &str| host.split(['.', ':', '-']).any(|part| part == name);
    if is("github") || is("codeberg") || is("gitea") || is("forgejo") {
        Some(format!("{repository}/compare/{a}...{b}"))
    } else if is("gitlab") {
        Some(format!("{repository}/-/compare/{a}...{b}"))
    } else if host == "bitbucket.org" {
        Some(format!("{repository}/branches/compare/{b}%0D{a}#diff"))
    } else if host == "dev.azure.com" || host.ends_with(".visualstudio.com") {
        Some(format!("{repository}/branchCompare?baseVersion=GC{a}&targetVersion=GC{b}&_a=commits"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(repository: &str, commit: &str) -> Source {
        Source { repository: Some(repository.into()), commit: Some(commit.into()) }
    }

    #[test]
    fn the_sites_that_are_known_compare_two_commits() {
        let of = |repository: &str| url(&source(repository, "aaaaaaa"), &source(repository, "bbbbbbb"));
        for (repository, there) in [
            ("https://github.com/o/r", "/compare/aaaaaaa...bbbbbbb"),
            ("https://github.example.com/o/r", "/compare/aaaaaaa...bbbbbbb"),
            ("https://gitlab.example.com/g/s/r", "/-/compare/aaaaaaa...bbbbbbb"),
            ("https://bitbucket.org/w/r", "/branches/compare/bbbbbbb%0Daaaaaaa#diff"),
            (
                "https://dev.azure.com/o/p/_git/r",
                "/branchCompare?baseVersion=GCaaaaaaa&targetVersion=GCbbbbbbb&_a=commits",
            ),
        ] {
            assert_eq!(of(repository), Some(format!("{repository}{there}")));
        }
        assert_eq!(of("https://git.example.com/o/r"), None, "a site that nobody knows");
        assert_eq!(of("https://notgithub.evil.example/o/r"), None);
    }

    #[test]
    fn what_is_not_known_or_not_comparable_has_no_address() {
        let (a, b) = (source("https://github.com/o/r", "aaaaaaa"), source("https://github.com/o/r", "bbbbbbb"));
        assert_eq!(url(&a, &source("https://github.com/o/other", "bbbbbbb")), None);
        assert_eq!(url(&a, &a), None);
        assert_eq!(url(&Source { commit: None, ..a }, &b), None);
    }
}
