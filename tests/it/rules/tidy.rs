//! The arrows of knowledge, and other rules that the compiler doesn't know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn src() -> PathBuf {
    root().join("src")
}

/// The code of a file above its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]").next().unwrap().to_owned()
}

/// What the table under "Arrows" in docs/ARCHITECTURE.md draws.
fn drawn() -> Arrows {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let table = text.split("| module | knows |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let mut words = line.split('`').skip(1).step_by(2).map(str::to_owned);
        (words.next().unwrap(), words.collect())
    };
    rows.map(row).collect()
}

/// What the code's imports say.
fn coded() -> Arrows {
    let mut arrows = Arrows::new();
    for path in sources(&src()) {
        let module = path.strip_prefix(src()).unwrap().components().next().unwrap();
        let module = module.as_os_str().to_string_lossy().replace(".rs", "");
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let known = arrows.entry(module.clone()).or_default();
        known.extend(imports(&code(&path)).into_iter().filter(|m| *m != module));
    }
    arrows
}

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The modules that a text names after `crate::`, alone or in braces.
fn imports(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let code: String = code.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if c.is_whitespace() => {}
                _ if begins => {
                    found.insert(word(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn imports_are_found_alone_and_in_braces() {
    let found = imports("use crate::{store::{self, Store}, domain::ids::*,\n    keys};\ncrate::slack::render();\n");
    assert_eq!(found, ["domain", "keys", "slack", "store"].map(str::to_owned).into());
}

#[test]
fn no_arrow_turns_back_and_each_is_drawn() {
    let (drawn, coded) = (drawn(), coded());
    for (module, known) in &coded {
        assert_eq!(
            Some(known),
            drawn.get(module),
            "{module}: what it knows (left) is not what docs/ARCHITECTURE.md draws (right); move the code, pass it as data, or draw it"
        );
    }
    // A circle could be drawn and coded alike.
    let mut left: Arrows = drawn;
    while let Some(floor) = left.iter().find(|(_, known)| known.is_empty()).map(|(module, _)| module.clone()) {
        left.remove(&floor);
        left.values_mut().for_each(|known| {
            known.remove(&floor);
        });
    }
    assert!(left.is_empty(), "these know each other in a circle: {left:?}");
}

/// The floors of `domain`, the lowest first: a file knows those below it, and its neighbours only where they are facts.
const FLOORS: &[&[&str]] = &[
    &["ids", "moment", "names", "somebody", "state", "payload"],
    &[
        "actor",
        "ci_rules",
        "declared",
        "erasure_events",
        "build_events",
        "deployment_events",
        "fork_events",
        "lock_events",
        "message",
        "failure",
        "person_events",
        "press_refusal",
        "project_events",
        "rights_events",
        "output",
        "stop_reason",
        "upcast",
    ],
    &["event"],
    &["private", "rights"],
    &["installation", "project"],
    &["settings"],
    &["lock"],
    &["build"],
    &["deployment"],
    &["erasure", "line"],
    &["press", "step"],
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

/// Functions on values: no clock, no environment, no file, no chance.
const PURE: &[&str] = &[
    "app/anchors.rs",
    "app/finding.rs",
    "ci/",
    "config/variables.rs",
    "domain/",
    "keys/code.rs",
    "keys/subject.rs",
    "projections/",
    "proof/",
    "runner/keep.rs",
    "runner/lines.rs",
    "runner/forms.rs",
    "runner/mask.rs",
    "runner/parts.rs",
    "jobs/last_words.rs",
    "slack/plain.rs",
    "slack/answer.rs",
    "slack/button.rs",
    "slack/command.rs",
    "slack/dialog.rs",
    "slack/event.rs",
    "slack/facts.rs",
    "slack/interaction.rs",
    "slack/line.rs",
    "slack/mrkdwn.rs",
    "slack/render.rs",
    "slack/report.rs",
    "slack/shown.rs",
    "slack/signature.rs",
    "slack/when.rs",
    "store/tuple.rs",
    "terminal/",
];

/// What says that a file does IO, or asks the machine.
const IO: &[&str] = &[
    "async ",
    "tokio",
    "sqlx",
    "std::time",
    "std::env",
    "std::fs",
    "std::io",
    "std::process",
    "std::net",
    "getrandom",
    "Utc::now",
    "rustix",
];

#[test]
fn what_does_no_io_is_listed_as_pure_and_what_is_listed_does_none() {
    let client = root().join("client/src/limits.rs");
    for path in sources(&src()).into_iter().chain([client]) {
        let name = path.strip_prefix(src()).map_or("limits.rs".into(), |p| p.display().to_string());
        let listed = name == "limits.rs" || PURE.iter().any(|p| name.starts_with(p));
        let text = code(&path);
        let says: Vec<&&str> = IO.iter().filter(|word| text.contains(**word)).collect();
        if listed {
            assert!(says.is_empty(), "{name} is pure, but it says {says:?}");
        } else if !name.ends_with("mod.rs") && name != "lib.rs" {
            assert!(!says.is_empty(), "{name} does no IO; list it as pure");
        }
    }
}

#[test]
fn every_module_opens_with_a_sentence() {
    for path in ["src", "client/src", "lab/src"].iter().flat_map(|folder| sources(&root().join(folder))) {
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
    assert!(!manifest.lines().any(|l| l.starts_with("default = ")), "no feature is there unless it is asked for");
    assert!(!manifest.contains("debug-assertions"), "a release that asserts would have failpoints");
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
