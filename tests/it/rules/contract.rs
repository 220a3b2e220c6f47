//! The published contract under `events/`.

use std::path::Path;

use coolops::cli::events;
use coolops::domain::deployment::DeploymentLogged;
use coolops::domain::event::{Event, SettingsEvent, contract};
use coolops::domain::private::{self, Subject};
use coolops::domain::project::Project;
use serde_json::Value;

use crate::snapshot;
use crate::story::schema::Schema;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("events")
}

#[test]
fn what_is_published_is_what_the_types_say() {
    for (path, content) in events::files() {
        let published = std::fs::read_to_string(folder().join(&path)).unwrap_or_default();
        assert!(
            published == content,
            "events/{path} has drifted from the types; run ./just events, and make a new version if it was released"
        );
    }
    let known: Vec<String> =
        events::files().into_iter().map(|(path, _)| path.split('/').next().unwrap().to_owned()).collect();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(!entry.path().is_dir() || known.contains(&name), "events/{name} belongs to no event type");
    }
}

#[test]
fn every_example_fits_its_schema_and_would_not_without_what_is_required() {
    let mut held = 0;
    let now = contract().iter().map(|c| (c.name, c.version)).collect::<Vec<_>>();
    let before = coolops::domain::upcast::STEPS.iter().map(|(kind, version, _)| (*kind, *version));
    for (kind, version) in now.into_iter().chain(before) {
        let read = |what: &str| -> Value {
            let text = std::fs::read_to_string(folder().join(format!("{kind}/v{version}.{what}.json"))).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        let (schema, example) = (Schema::of(read("schema")), read("example"));
        assert_eq!(schema.misfit(&example), None, "the example of {kind} v{version}");
        for name in read("schema")["required"].as_array().into_iter().flatten() {
            let mut lacking = example.clone();
            lacking.as_object_mut().unwrap().remove(name.as_str().unwrap());
            assert!(schema.misfit(&lacking).is_some(), "{kind} v{version} lets an event without {name} through");
            held += 1;
        }
    }
    assert!(held > 100, "{held}");
}

#[test]
fn every_example_loads_and_writes_back_the_same() {
    for c in contract() {
        if c.name == "deployment_logged" {
            continue;
        }
        let text = c.example.to_string();
        let event = Event::parse(c.name, c.version, &text).unwrap();
        assert_eq!(event.kind(), (c.name, c.version));
        assert_eq!(serde_json::to_value(&event).unwrap(), c.example);
    }
}

#[test]
fn the_example_of_a_version_that_is_not_written_any_more_loads_for_ever() {
    for (kind, version, _) in coolops::domain::upcast::STEPS {
        let path = folder().join(format!("{kind}/v{version}.example.json"));
        let example = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let event = Event::parse(kind, *version, &example).unwrap();
        assert_eq!(event.kind().0, *kind);
        assert!(event.kind().1 > *version);
        // What it is read as never changes either.
        snapshot!(format!("{kind}_v{version}_is_read_as"), serde_json::to_string_pretty(&event).unwrap());
    }
}

#[test]
fn every_version_that_was_ever_published_is_there_and_loads() {
    for c in contract() {
        for version in 1..=c.version {
            let path = folder().join(format!("{}/v{version}.example.json", c.name));
            let example = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            // A chunk of output is no event of the log: it is read where it stands, whichever version it is of.
            let read = match c.name {
                "deployment_logged" => {
                    serde_json::from_str::<DeploymentLogged>(&example).map(drop).map_err(|e| e.to_string())
                }
                name => Event::parse(name, version, &example).map(drop).map_err(|e| e.to_string()),
            };
            assert_eq!(read, Ok(()), "{}", path.display());
        }
    }
}

#[test]
fn an_unknown_event_stops_the_reader() {
    let error = Event::parse("deployment_teleported", 1, "{}").unwrap_err().to_string();
    assert!(error.contains("deployment_teleported v1 is unknown to this version"), "{error}");
    assert!(Event::parse("project_renamed", 2, "{}").is_err());
    assert!(Event::parse("project_renamed", 1, "{}").is_err());
}

#[test]
fn every_event_that_carries_a_seal_is_audited() {
    for contract in coolops::domain::event::contract() {
        let seals = contract.example["log"]["head"].is_string();
        // A chunk of output is no event of the log.
        let Ok(event) =
            coolops::domain::event::Event::parse(contract.name, contract.version, &contract.example.to_string())
        else {
            continue;
        };
        assert_eq!(seals, event.seal().is_some(), "{}", contract.name);
    }
}

#[test]
fn a_project_that_is_opened_after_its_events_is_as_if_each_had_been_opened() {
    // A chunk of output is no event of the log.
    let all: Vec<Event> = contract()
        .iter()
        .filter(|c| c.name != "deployment_logged")
        .map(|c| Event::parse(c.name, c.version, &c.example.to_string()).unwrap())
        .collect();
    let created = all.iter().find_map(|event| match event {
        Event::Settings(SettingsEvent::ProjectCreated(e)) => Some(e),
        _ => None,
    });
    let created = created.unwrap();
    let environment = all.iter().find(|event| event.kind().0 == "environment_created").unwrap();
    let mut opens: usize = 0;
    for event in &all {
        let before = Project::created(created).evolve(environment);
        let mut opened = event.clone();
        let mut texts = 0;
        let anybody = Subject::Operator(String::new());
        private::event(&mut opened, Some(&anybody), &mut |_, _, text| {
            texts += 1;
            text.push_str(" in plain");
            true
        });
        let mut later = before.clone().evolve(event);
        later.private(&mut |_, _, text| {
            text.push_str(" in plain");
            true
        });
        let each = before.clone().evolve(&opened);
        assert_eq!(later, each, "{}", event.kind().0);
        opens += usize::from(texts > 0 && each != before);
    }
    // Locks come and go, of an environment and of a project; rights, and a legal hold.
    assert_eq!(opens, 6);
}
