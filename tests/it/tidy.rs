//! The arrows of knowledge, and other rules that the compiler doesn't know.

use std::fs;
use std::path::{Path, PathBuf};

/// What each module may import. `domain` knows nobody; nobody below knows `cli`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("domain", &["limits"]),
    ("client", &["limits"]),
    ("keys", &[]),
    ("telemetry", &[]),
    ("config", &["keys"]),
    ("projections", &["domain"]),
    ("store", &["projections", "domain", "failpoint"]),
    ("slack", &["projections", "domain", "keys", "limits"]),
    ("runner", &["projections", "domain"]),
    ("ci", &["domain"]),
    ("app", &["failpoint", "store", "slack", "runner", "ci", "projections", "domain", "keys"]),
    ("jobs", &["failpoint", "app", "store", "slack", "runner", "projections", "domain", "keys"]),
    ("http", &["app", "jobs", "store", "slack", "runner", "ci", "projections", "domain", "keys", "limits"]),
    ("standin", &[]),
    ("demo", &["runner", "store", "keys", "domain"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The code of a file above its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]").next().unwrap().to_owned()
}

#[test]
fn no_arrow_turns_back() {
    for path in sources(&src()) {
        let relative = path.strip_prefix(src()).unwrap().to_owned();
        let module = relative.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else { continue };
        for line in code(&path).lines().filter(|l| !l.trim_start().starts_with("//")) {
            for import in line.split("crate::").skip(1) {
                let target: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if target.is_empty() || target == module {
                    continue;
                }
                assert!(
                    allowed.contains(&target.as_str()),
                    "{} knows {target}, but {module} may only know {allowed:?}; move the code, or pass it as data:\n{line}",
                    relative.display()
                );
            }
        }
    }
}

/// The floors of `domain`, the lowest first: a file knows those below it, and its neighbours only where they are facts.
const FLOORS: &[&[&str]] = &[
    &["ids", "names", "state", "payload"],
    &["actor", "ci_rules", "build_events", "deployment_events", "message", "project_events", "output", "upcast"],
    &["event"],
    &["project"],
    &["build"],
    &["deployment"],
    &["react"],
];

#[test]
fn facts_are_below_events_and_events_below_what_is_decided() {
    let floor = |name: &str| FLOORS.iter().position(|files| files.contains(&name));
    for path in sources(&src().join("domain")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name == "mod" {
            continue;
        }
        let own = floor(&name).unwrap_or_else(|| panic!("domain/{name}.rs has no floor"));
        for line in code(&path).lines() {
            let Some((_, rest)) = line.split_once("use super::") else { continue };
            let target: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(known) = floor(&target) else { continue };
            assert!(
                known < own || (known == own && own == 1),
                "domain/{name}.rs knows {target}, which is above it: {line}"
            );
        }
    }
}

#[test]
fn sql_lives_in_the_store_and_apalis_in_one_file() {
    for path in sources(&src()) {
        let relative = path.strip_prefix(src()).unwrap().display().to_string();
        let text = code(&path);
        assert!(
            relative.starts_with("store/") || !text.contains("sqlx::query"),
            "{relative} has SQL of its own; write a function in store"
        );
        let names_apalis = text.lines().any(|l| !l.trim_start().starts_with("//") && l.contains("apalis"));
        assert!(relative == "jobs/queue.rs" || !names_apalis, "{relative} names apalis; only jobs/queue.rs may");
    }
}

#[test]
fn pure_modules_hold_no_io() {
    for path in sources(&src()) {
        let relative = path.strip_prefix(src()).unwrap().display().to_string();
        let pure = [
            "limits.rs",
            "domain/",
            "ci/",
            "projections/",
            "slack/render.rs",
            "slack/mrkdwn.rs",
            "slack/interaction.rs",
            "store/chain.rs",
        ];
        if pure.iter().any(|p| relative.starts_with(p)) {
            for word in ["async ", "tokio", "sqlx", "std::time", "std::env", "std::fs"] {
                assert!(!code(&path).contains(word), "{relative} is pure, but it says {word}");
            }
        }
    }
}

#[test]
fn every_module_opens_with_a_sentence() {
    for path in sources(&src()) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not say what it is for", path.display());
    }
}

#[test]
fn the_configuration_reference_is_what_the_types_say() {
    let published =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md")).unwrap_or_default();
    assert!(
        published.trim() == coolops::cli::reference().trim(),
        "docs/CONFIGURATION.md has drifted; run ./just events"
    );
}

#[test]
fn every_fault_that_the_documentation_names_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/RELIABILITY.md")).unwrap();
    let tests: String = sources(&root.join("tests/it/chaos")).iter().map(|p| fs::read_to_string(p).unwrap()).collect();
    let named: std::collections::BTreeSet<&str> =
        text.split('`').filter(|w| w.len() == 3 && w.starts_with('f')).collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        assert!(tests.contains(&format!("fn {name}_")), "docs/RELIABILITY.md names {name}, and no test is called so");
    }
}

/// Compiling a release for it would take minutes; what refuses it is read instead.
#[test]
fn release_builds_lack_the_failpoints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let macros = fs::read_to_string(root.join("src/failpoint.rs")).unwrap();
    let refusal = "#[cfg(all(feature = \"failpoints\", not(debug_assertions)))]\ncompile_error!(";
    assert!(macros.contains(refusal), "a release build with failpoints must be refused");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let default = manifest.lines().find(|l| l.starts_with("default = ")).unwrap();
    assert!(!default.contains("failpoints"), "{default}");
    assert!(!manifest.contains("debug-assertions"), "a release that asserts would have failpoints");
    let client = fs::read(root.join("dist/coolops-x86_64-linux")).unwrap();
    assert!(!client.windows(10).any(|w| w == b"FAILPOINTS"), "the program for CI reads no failpoints");
}

#[test]
fn each_kind_of_job_has_one_file_and_one_crew() {
    use coolops::domain::react::TaskKind;
    use coolops::jobs::{RUNNER_KINDS, SLACK_KINDS};
    for kind in TaskKind::ALL {
        let file = src().join(format!("jobs/{}.rs", kind.as_str()));
        assert!(
            fs::read_to_string(&file).is_ok_and(|text| text.contains("pub async fn perform(")),
            "{} does a job",
            file.display()
        );
        let crews = [SLACK_KINDS, RUNNER_KINDS].iter().filter(|kinds| kinds.contains(&kind)).count();
        assert_eq!(crews, 1, "{kind:?} is done by one crew");
        assert_eq!(TaskKind::named(kind.as_str()), Some(kind));
        assert_eq!(kind.about(uuid::Uuid::nil()).kind(), kind);
    }
    assert_eq!(SLACK_KINDS.len() + RUNNER_KINDS.len(), TaskKind::ALL.len());
}
