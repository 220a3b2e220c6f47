//! Where a commit, a branch, and the changes between two builds can be looked at.
//!
//! Sources: the vendors' own links (GitHub, GitLab, Bitbucket Cloud, Azure Repos, Forgejo).

use crate::domain::build::Source;

/// What serves a repository.
#[derive(Clone, Copy)]
enum Site {
    GitHub,
    /// Forgejo, and Gitea, which it comes from.
    Forgejo,
    GitLab,
    Bitbucket,
    Azure,
}

/// The site of a repository's address, where it is one that is known.
fn site(repository: &str) -> Option<Site> {
    let host = repository.split_once("://")?.1.split('/').next()?.to_ascii_lowercase();
    let is = |name: &str| host.split(['.', ':', '-']).any(|part| part == name);
    if is("github") {
        Some(Site::GitHub)
    } else if is("codeberg") || is("gitea") || is("forgejo") {
        Some(Site::Forgejo)
    } else if is("gitlab") {
        Some(Site::GitLab)
    } else if host == "bitbucket.org" {
        Some(Site::Bitbucket)
    } else if host == "dev.azure.com" || host.ends_with(".visualstudio.com") {
        Some(Site::Azure)
    } else {
        None
    }
}

/// The address of what comes with a build in the place of another; of one that is older, of what leaves with that: sites tell
/// what a commit has that another has not, which is nothing the other way round.
pub fn changes_by(is_older: bool, from: Option<&Source>, to: Option<&Source>) -> Option<String> {
    let (from, to) = if is_older { (to?, from?) } else { (from?, to?) };
    changes(from, to)
}

/// The address of a comparison, where both are commits of one repository on a site that is known.
pub fn changes(from: &Source, to: &Source) -> Option<String> {
    let (repository, there) = (to.repository.as_ref()?, from.repository.as_ref()?);
    let (a, b) = (from.commit.as_ref()?, to.commit.as_ref()?);
    if !repository.eq_ignore_ascii_case(there) || a.starts_with(b.as_str()) || b.starts_with(a.as_str()) {
        return None;
    }
    Some(match site(repository)? {
        Site::GitHub | Site::Forgejo => format!("{repository}/compare/{a}...{b}"),
        Site::GitLab => format!("{repository}/-/compare/{a}...{b}"),
        Site::Bitbucket => format!("{repository}/branches/compare/{b}%0D{a}#diff"),
        Site::Azure => format!("{repository}/branchCompare?baseVersion=GC{a}&targetVersion=GC{b}&_a=commits"),
    })
}

/// The address of a commit.
pub fn commit(of: &Source) -> Option<String> {
    let (repository, commit) = (of.repository.as_ref()?, of.commit.as_ref()?);
    Some(match site(repository)? {
        Site::GitHub | Site::Forgejo | Site::Azure => format!("{repository}/commit/{commit}"),
        Site::GitLab => format!("{repository}/-/commit/{commit}"),
        Site::Bitbucket => format!("{repository}/commits/{commit}"),
    })
}

/// The address of a branch; none when its name has what an address can't have as it is.
pub fn branch(of: &Source, name: &str) -> Option<String> {
    let repository = of.repository.as_ref()?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/".contains(&b);
    if name.is_empty() || !name.bytes().all(is_plain) || name.split('/').any(|part| [".", "..", ""].contains(&part)) {
        return None;
    }
    Some(match site(repository)? {
        Site::GitHub => format!("{repository}/tree/{name}"),
        Site::Forgejo => format!("{repository}/src/branch/{name}"),
        Site::GitLab => format!("{repository}/-/tree/{name}"),
        Site::Bitbucket => format!("{repository}/branch/{name}"),
        Site::Azure => format!("{repository}?version=GB{name}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(repository: &str, commit: &str) -> Source {
        Source { repository: Some(repository.into()), commit: Some(commit.into()) }
    }

    #[test]
    fn the_sites_that_are_known_compare_two_commits() {
        let of = |repository: &str| changes(&source(repository, "aaaaaaa"), &source(repository, "bbbbbbb"));
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
        assert_eq!(changes(&a, &source("https://github.com/o/other", "bbbbbbb")), None);
        assert_eq!(changes(&a, &a), None);
        assert_eq!(changes(&Source { commit: None, ..a }, &b), None);
    }

    #[test]
    fn a_commit_and_a_branch_have_addresses_where_the_site_is_known() {
        let of = |repository: &str| {
            let source = source(repository, "aaaaaaa");
            (commit(&source), branch(&source, "feature/login"))
        };
        for (repository, of_commit, of_branch) in [
            ("https://github.com/o/r", "/commit/aaaaaaa", "/tree/feature/login"),
            ("https://codeberg.org/o/r", "/commit/aaaaaaa", "/src/branch/feature/login"),
            ("https://gitlab.com/o/r", "/-/commit/aaaaaaa", "/-/tree/feature/login"),
            ("https://bitbucket.org/o/r", "/commits/aaaaaaa", "/branch/feature/login"),
            ("https://dev.azure.com/o/p/_git/r", "/commit/aaaaaaa", "?version=GBfeature/login"),
        ] {
            assert_eq!(
                of(repository),
                (Some(format!("{repository}{of_commit}")), Some(format!("{repository}{of_branch}")))
            );
        }
        assert_eq!(of("https://git.example.com/o/r"), (None, None), "a site that nobody knows");
        for hostile in ["", "../../evil", "a b", "a?b", "a#b", "a|b", "//x", "a/./b"] {
            assert_eq!(branch(&source("https://github.com/o/r", "a"), hostile), None, "{hostile}");
        }
    }
}
