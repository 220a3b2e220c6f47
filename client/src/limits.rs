//! What the names and values of an announcement may be: one set of rules for the service and for what CI runs. Pure.
//!
//! What is refused says the limit and the actual size. A name is what people tell things apart by, so nothing may stand
//! in it that they don't see, or that reorders what they see.

use std::borrow::Cow;

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

/// Why a name or a value is refused; the text is a sentence for whoever gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// A refusal.
///
/// # Errors
/// Always: that is what it is for.
pub fn invalid<T>(text: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(text.into()))
}

/// Longest value of a param, a metadata entry or a variable, in bytes.
pub const VALUE_MAX: usize = 10_000;
/// Most params, and most metadata entries, of one build.
pub const ENTRIES_MAX: usize = 100;
/// Most marks on one letter; scripts that are read need three or four.
const MARKS_MAX: usize = 6;

/// Whether a character is not seen, or changes how others are read: Unicode's default-ignorable code points,
/// bidirectional controls, tags, line separators, and blanks that look like nothing. Source: Unicode 16,
/// DerivedCoreProperties.
pub fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn is_mark(c: char) -> bool {
    c > '\u{2ff}' && c.general_category_group() == GeneralCategoryGroup::Mark
}

/// Whether a hidden character does what it is for: it joins emoji, or chooses an emoji's look.
fn belongs_to_an_emoji(before: Option<char>, c: char, after: Option<char>) -> bool {
    // Some symbols count as letters: ℹ Ⓜ 🅰 🅱 🅾 🅿 ㊗ ㊙.
    let is_letter = |c: char| {
        c.is_alphanumeric()
            && !matches!(c, '\u{2139}' | '\u{24c2}' | '\u{1f170}'..='\u{1f171}' | '\u{1f17e}'..='\u{1f17f}' | '\u{3297}' | '\u{3299}')
    };
    let is_symbol = |c: char| c >= '\u{203c}' && !is_letter(c) && !is_hidden(c) && !is_mark(c);
    match c {
        '\u{fe0f}' => {
            after == Some('\u{20e3}') || before.is_some_and(|b| is_symbol(b) || matches!(b, '\u{a9}' | '\u{ae}'))
        }
        '\u{200d}' => before.is_some_and(|b| is_symbol(b) || b == '\u{fe0f}') && after.is_some_and(is_symbol),
        _ => false,
    }
}

/// Each character with whether it is hidden, or one mark too many on a letter.
fn told_apart(text: &str) -> impl Iterator<Item = (char, bool)> {
    let mut chars = text.chars().peekable();
    let (mut before, mut marks) = (None, 0);
    std::iter::from_fn(move || {
        let c = chars.next()?;
        marks = if is_mark(c) { marks + 1 } else { 0 };
        let bad = marks > MARKS_MAX || (is_hidden(c) && !belongs_to_an_emoji(before, c, chars.peek().copied()));
        before = Some(c);
        Some((c, bad))
    })
}

/// A text in which nothing is hidden: what isn't seen, or changes how other text is read, stands there by its number,
/// and a letter has only as many marks as are read. Controls go too, but for line ends and tabs.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| (b' '..=b'~').contains(&b) || b == b'\n' || b == b'\t') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for (c, bad) in told_apart(text) {
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c if bad && is_mark(c) => {}
            c if bad => out.push_str(&format!("⟨U+{:04X}⟩", c as u32)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A text without the carriage return (and the line's end) that shells of Windows leave at its end; other line ends
/// stay.
pub fn without_carriage_return(text: &str) -> &str {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let kept = line.trim_end_matches('\r');
    if kept.len() < line.len() { kept } else { text }
}

/// A text for a terminal: [`visible`], on one line.
pub fn on_a_line(text: &str) -> String {
    visible(text).replace(['\n', '\t'], " ")
}

/// Checks a display name: 1 to `max` graphemes, no control and no hidden characters, not only blanks.
///
/// # Errors
/// A sentence that says the limit and the actual size, or names the character.
pub fn display_name<'a>(what: &str, text: &'a str, max: usize) -> Result<&'a str, Invalid> {
    if text.trim().is_empty() {
        return invalid(format!("{what} is empty; give 1 to {max} characters"));
    }
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return invalid(format!("{what} holds the control character U+{:04X}; leave it out", bad as u32));
    }
    if let Some((bad, _)) = told_apart(text).find(|(_, bad)| *bad) {
        let why = if is_mark(bad) {
            "more marks on one letter than can be read, the last of them"
        } else {
            "a character that nobody sees,"
        };
        return invalid(format!("{what} holds {why} U+{:04X}; leave it out", bad as u32));
    }
    if text.trim() != text {
        return invalid(format!("{what} begins or ends with a blank; leave it out"));
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

/// Whether a variable changes how programs are loaded, how shells and languages run, which configuration or credentials
/// are used, or whom programs talk to: setting one is running code, or sending secrets elsewhere. Params come from CI,
/// whose token may leak, and run beside production's secrets.
pub fn changes_programs(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    if HARMLESS.binary_search(&upper.as_str()).is_ok() {
        return false;
    }
    DANGEROUS.binary_search(&upper.as_str()).is_ok()
        || BEGINNINGS.iter().any(|b| upper.starts_with(b))
        || ENDS.iter().any(|e| upper.ends_with(e))
}

/// Names that begin like those and only tell something.
const HARMLESS: &[&str] = &[
    "AWS_REGION",
    "GIT_AUTHOR",
    "GIT_BRANCH",
    "GIT_COMMIT",
    "GIT_COMMIT_SHA",
    "GIT_HASH",
    "GIT_REF",
    "GIT_REVISION",
    "GIT_SHA",
    "GIT_TAG",
    "HELM_CHART",
    "HELM_CHART_VERSION",
    "JAVA_VERSION",
    "NODE_ENV",
    "NODE_VERSION",
    "PYTHON_VERSION",
];
/// Beginnings of such names.
const BEGINNINGS: &[&str] = &[
    "ANSIBLE_",
    "AWS_",
    "AZURE_",
    "BASH_FUNC_",
    "BUNDLE_",
    "BUN_",
    "CARGO_",
    "CLOUDSDK_",
    "COMPOSER_",
    "COMPOSE_",
    "COREPACK_",
    "DENO_",
    "DOCKER_CONFIG",
    "DOCKER_HOST",
    "DOCKER_TLS",
    "DOCKER_CERT",
    "DOCKER_AUTH",
    "DOCKER_CONTEXT",
    "DOCKER_API",
    "DOTNET_",
    "DYLD_",
    "ETCDCTL_",
    "GIT_",
    "GNUPG",
    "GOOGLE_",
    "GRADLE_",
    "HELM_",
    "JAVA_",
    "JDK_",
    "KUBE_",
    "LD_",
    "LUA_",
    "MAVEN_",
    "NIX_",
    "NODE_",
    "NPM_",
    "NUGET_",
    "OPENSSL_",
    "OTEL_EXPORTER_",
    "PERL",
    "PHP_INI",
    "PHPRC",
    "PIP_",
    "PULUMI_",
    "PYTHON",
    "RCLONE_",
    "REQUESTS_",
    "RUBYLIB",
    "RUBYOPT",
    "RUSTC",
    "RUSTUP_",
    "SSH_",
    "SSL_",
    "TF_",
    "TERRAFORM_",
    "UV_",
    "VAULT_",
    "XDG_",
    "YARN_",
];
/// Ends of such names: `HTTPS_PROXY` and its like, credentials, certificates, options that programs read by themselves.
const ENDS: &[&str] = &[
    "_PROXY",
    "_ASKPASS",
    "_CA_BUNDLE",
    "_CA_CERT",
    "_CACERT",
    "_CA_FILE",
    "_CERT_FILE",
    "_CERT_DIR",
    "_ENDPOINT",
    "_ENDPOINTS",
    "_ENDPOINT_URL",
    "_JAVA_OPTIONS",
    "_OPTS",
];
/// Whole names, sorted.
const DANGEROUS: &[&str] = &[
    "ALL_PROXY",
    "ANT_OPTS",
    "AR",
    "BASHOPTS",
    "BASH_ENV",
    "BASH_XTRACEFD",
    "BOTO_CONFIG",
    "BROWSER",
    "BUILDKIT_HOST",
    "CC",
    "CDPATH",
    "CFLAGS",
    "CI_JOB_TOKEN",
    "CLASSPATH",
    "CONSUL_HTTP_ADDR",
    "CONSUL_HTTP_TOKEN",
    "CONTAINERS_CONF",
    "CONTAINER_HOST",
    "CPPFLAGS",
    "CURL_HOME",
    "CURL_SSL_BACKEND",
    "CVS_RSH",
    "CXX",
    "CXXFLAGS",
    "DATABASE_URL",
    "EDITOR",
    "ENV",
    "FPATH",
    "FTP_PROXY",
    "GCONV_PATH",
    "GEM_HOME",
    "GEM_PATH",
    "GH_HOST",
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "GITLAB_HOST",
    "GITLAB_TOKEN",
    "GLIBC_TUNABLES",
    "GLOBIGNORE",
    "GO111MODULE",
    "GOENV",
    "GOFLAGS",
    "GOINSECURE",
    "GONOSUMCHECK",
    "GONOSUMDB",
    "GOPATH",
    "GOPRIVATE",
    "GOPROXY",
    "GOROOT",
    "GOTOOLCHAIN",
    "HGRCPATH",
    "HISTFILE",
    "HOME",
    "HOSTALIASES",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "IFS",
    "INPUTRC",
    "KRB5CCNAME",
    "KRB5_CONFIG",
    "KUBECONFIG",
    "LANGUAGE",
    "LD",
    "LDFLAGS",
    "LESS",
    "LESSCLOSE",
    "LESSOPEN",
    "LOCALDOMAIN",
    "LOCPATH",
    "LOGNAME",
    "M2_HOME",
    "MAIL",
    "MAILPATH",
    "MAKEFLAGS",
    "MALLOC_CHECK_",
    "MALLOC_PERTURB_",
    "MANPAGER",
    "MFLAGS",
    "MYSQL_HOME",
    "MYSQL_HOST",
    "MYSQL_PWD",
    "MYSQL_UNIX_PORT",
    "NETRC",
    "NLSPATH",
    "NOMAD_ADDR",
    "NOMAD_TOKEN",
    "NO_PROXY",
    "OLDPWD",
    "PAGER",
    "PATH",
    "PGHOST",
    "PGHOSTADDR",
    "PGOPTIONS",
    "PGPASSFILE",
    "PGPASSWORD",
    "PGPORT",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLMODE",
    "PGSSLROOTCERT",
    "PGSYSCONFDIR",
    "PGUSER",
    "PKG_CONFIG",
    "PKG_CONFIG_PATH",
    "PROMPT_COMMAND",
    "PROXY",
    "PS1",
    "PS2",
    "PS4",
    "PSQLRC",
    "PWD",
    "REDISCLI_AUTH",
    "REGISTRY_AUTH_FILE",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "RSYNC_CONNECT_PROG",
    "RSYNC_RSH",
    "SCREENRC",
    "SENTRY_DSN",
    "SHELL",
    "SHELLOPTS",
    "SOCKS_PROXY",
    "SSLKEYLOGFILE",
    "SUDO_ASKPASS",
    "SUDO_EDITOR",
    "SVN_SSH",
    "TEMP",
    "TERMCAP",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TMP",
    "TMPDIR",
    "TMUX",
    "TZDIR",
    "USER",
    "VISUAL",
    "WGETRC",
    "ZDOTDIR",
];

fn variable_shape(text: &str) -> Result<(), Invalid> {
    let mut bytes = text.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if text.len() > 100 {
        return invalid(format!("the name of {} bytes is too long; at most 100 are allowed", text.len()));
    }
    if !starts || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return invalid(format!(
            "\"{}\" is not a variable name; use letters, digits and _, not starting with a digit",
            printable(text)
        ));
    }
    if text.to_ascii_uppercase().starts_with("COOLOPS_") {
        return invalid(format!(
            "{text} is reserved: coolops sets the COOLOPS_* variables itself; choose another name"
        ));
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
    if changes_programs(text) {
        return invalid(format!(
            "{text} changes how programs load or run, or whom they reach, and can't come from CI; set it on the environment, or let it in by name: coolops project params"
        ));
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
        return invalid(format!(
            "the value of {} has {} bytes; at most {VALUE_MAX} are allowed",
            printable(of),
            text.len()
        ));
    }
    if text.contains('\0') {
        return invalid(format!("the value of {} holds a NUL byte; leave it out", printable(of)));
    }
    Ok(text)
}

/// Longest address of a repository, in characters.
pub const REPOSITORY_MAX: usize = 300;

/// A commit's hash, as CI tells it: 7 to 64 hexadecimal digits.
///
/// # Errors
/// When it is none.
pub fn commit(text: &str) -> Result<String, Invalid> {
    let text = text.trim();
    if (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    invalid(format!("the commit \"{}\" is no hash; give 7 to 64 hexadecimal digits", printable(text)))
}

/// The address of a repository as people open it in a browser, of what git or CI call it: without user and password,
/// which may be secrets, and without `.git`.
///
/// # Errors
/// When no such address can be made of it.
pub fn repository(text: &str) -> Result<String, Invalid> {
    web_address(text.trim()).ok_or_else(|| {
        // It isn't shown: there may be a password in it.
        Invalid(
            "the repository can't be read; give the address that it has in a browser, such as https://github.com/owner/name"
                .to_owned(),
        )
    })
}

fn web_address(text: &str) -> Option<String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme @ ("https" | "http"), rest)) => (scheme, rest.to_owned()),
        Some(("ssh" | "git", rest)) => ("https", rest.to_owned()),
        Some(_) => return None,
        // `git@host:owner/name`
        None => {
            let (host, path) = text.split_once(':')?;
            ("https", format!("{host}/{path}"))
        }
    };
    let rest = rest.split(['?', '#']).next()?;
    let (authority, path) = rest.split_once('/')?;
    let host = authority.rsplit('@').next()?;
    let host = if text.starts_with("ssh:") || text.starts_with("git:") { host.split(':').next()? } else { host };
    let path = path.trim_matches('/');
    // Azure has another name for its repositories in git than on the web.
    let (host, path) = match (host, path.strip_prefix("v3/").map(|p| p.splitn(3, '/').collect::<Vec<_>>())) {
        ("ssh.dev.azure.com", Some(parts)) if parts.len() == 3 => {
            ("dev.azure.com", format!("{}/{}/_git/{}", parts[0], parts[1], parts[2]))
        }
        _ => (host, path.strip_suffix(".git").unwrap_or(path).to_owned()),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    let is_path = |c: char| c.is_ascii_alphanumeric() || "/._-~%+".contains(c);
    let fits = !host.is_empty() && host.chars().all(is_host) && !path.is_empty() && path.chars().all(is_path);
    let dots = path.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    let address = format!("{scheme}://{host}/{path}");
    (fits && !dots && address.len() <= REPOSITORY_MAX).then_some(address)
}

/// A short form of a text for an error message, in which nothing is hidden.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.len() <= 60 && !told_apart(text).any(|(c, bad)| bad || c.is_control()) {
        return Cow::Borrowed(text);
    }
    let mut short: String =
        text.graphemes(true).take(40).flat_map(str::chars).take(60).flat_map(char::escape_default).collect();
    short.push('…');
    Cow::Owned(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_its_address_on_the_web_and_no_secret_of_its_address_is_kept() {
        for (given, kept) in [
            ("https://github.com/octo/hello", "https://github.com/octo/hello"),
            ("https://github.com/octo/hello.git/", "https://github.com/octo/hello"),
            ("https://x-access-token:secret@github.com/octo/hello.git", "https://github.com/octo/hello"),
            ("git@gitlab.example.com:group/sub/app.git", "https://gitlab.example.com/group/sub/app"),
            ("ssh://git@bitbucket.org:22/team/app.git", "https://bitbucket.org/team/app"),
            ("git@ssh.dev.azure.com:v3/org/project/repo", "https://dev.azure.com/org/project/_git/repo"),
            ("http://git.internal:3000/a/b?token=secret#x", "http://git.internal:3000/a/b"),
        ] {
            assert_eq!(repository(given).as_deref(), Ok(kept), "{given}");
        }
        for wrong in [
            "",
            "octo/hello",
            "/srv/git/app",
            "file:///srv/app",
            "https://github.com",
            "https://h/<!channel>",
            "https://h/a/../b",
            "javascript:alert(1)//x y",
        ] {
            let refused = repository(wrong).unwrap_err().0;
            assert!(refused.starts_with("the repository can't be read"), "{wrong}");
        }
        assert_eq!(commit(" ABCDEF0123 ").as_deref(), Ok("abcdef0123"));
        assert!(commit("HEAD").unwrap_err().0.contains("is no hash") && commit("--output=x").is_err());
    }

    #[test]
    fn a_leaked_ci_token_cannot_choose_what_runs_or_whom_it_talks_to() {
        for bad in [
            "LD_PRELOAD",
            "PATH",
            "path",
            "BASH_ENV",
            "IFS",
            "NODE_OPTIONS",
            "COOLOPS_PROJECT",
            "coolops_x",
            "1A",
            "A-B",
            "",
            "HTTPS_PROXY",
            "https_proxy",
            "VAULT_ADDR",
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_S3",
            "NPM_CONFIG_REGISTRY",
            "npm_config_registry",
            "NODE_TLS_REJECT_UNAUTHORIZED",
            "GIT_ASKPASS",
            "SSH_ASKPASS",
            "PIP_INDEX_URL",
            "UV_INDEX_URL",
            "GOPROXY",
            "KUBECONFIG",
            "TF_CLI_ARGS",
            "ANSIBLE_CONFIG",
            "PGHOST",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "CURL_CA_BUNDLE",
            "REQUESTS_CA_BUNDLE",
            "GLIBC_TUNABLES",
            "PERL5OPT",
            "MY_PROXY",
            "MAVEN_OPTS",
            "DOCKER_HOST",
        ] {
            assert!(param(bad).is_err(), "{bad:?} must be refused");
        }
        for good in [
            "DOCKER_TAG",
            "DOCKER_IMAGE",
            "TAG",
            "BRANCH",
            "COMMIT",
            "BUILD_NUMBER",
            "PULL_REQUEST",
            "RUN_URL",
            "VERSION",
            "GCLOUD_PROJECT_ID",
        ] {
            assert!(param(good).is_ok(), "{good:?} must be taken");
        }
        assert!(variable("PATH").is_ok() && variable("COOLOPS_X").is_err());
        assert!(DANGEROUS.is_sorted());
    }

    #[test]
    fn names_are_counted_as_people_count_them() {
        assert!(build_name(&"👨‍👩‍👧‍👦".repeat(200)).is_ok());
        assert_eq!(build_name(&"x".repeat(300)).unwrap_err().0, "name has 300 characters; at most 200 are allowed");
        assert!(build_name("a\0b").is_err() && build_name("  ").is_err());
    }

    #[test]
    fn nothing_hides_in_a_name() {
        for (bad, code) in [
            ("main-\u{202e}31", "U+202E"),
            ("main-1\u{200b}", "U+200B"),
            ("main\u{e0041}", "U+E0041"),
            ("main\u{ad}", "U+00AD"),
            ("main\u{fe0f}", "U+FE0F"),
            ("a\u{200d}b", "U+200D"),
            ("m\u{3164}", "U+3164"),
            ("m\u{2028}n", "U+2028"),
        ] {
            let refusal = build_name(bad).unwrap_err().0;
            assert!(refusal.contains(code), "{bad:?} → {refusal}");
        }
        assert!(build_name(&format!("m{}", "\u{301}".repeat(500))).unwrap_err().0.contains("U+0301"));
        assert!(build_name("main ").unwrap_err().0.contains("ends with a blank"));
        for good in [
            "main-31",
            "שלום",
            "Zürich",
            "Zu\u{308}rich",
            "tiếng Việt",
            "हिन्दी",
            "❤\u{fe0f}-1",
            "1\u{fe0f}\u{20e3}",
            "👩‍💻-7",
        ] {
            assert!(build_name(good).is_ok(), "{good:?} must be taken");
        }
    }

    #[test]
    fn what_hides_in_other_texts_is_shown() {
        assert_eq!(visible("a\u{202e}b\u{200b}c\u{7}\nd"), "a⟨U+202E⟩b⟨U+200B⟩c\nd");
        assert_eq!(visible("שלום 👨‍👩‍👧"), "שלום 👨‍👩‍👧");
        assert_eq!(visible(&format!("m{}", "\u{301}".repeat(500))).chars().count(), 7);
        assert_eq!(on_a_line("a\u{1b}[31mb\nc"), "a[31mb c");
    }
}
