//! Events of versions that are not written any more, made into the next version as they are read.
//!
//! **Invariant:** a step never changes: what it read yesterday it reads the same way for ever. The bytes in the log
//! stay as they are.

use serde_json::{Value, json};

/// Makes a payload of one version one of the next.
pub type Step = fn(Value) -> Value;

/// Every step: the type, the version that it takes, and what it does.
pub const STEPS: &[(&str, i16, Step)] =
    &[("deployment_refused", 1, deployment_refused_1), ("deployment_requested", 1, deployment_requested_1)];

/// The step that takes a version of a type.
pub fn step(kind: &str, version: i16) -> Option<Step> {
    STEPS.iter().find(|(of, from, _)| (*of, *from) == (kind, version)).map(|(_, _, step)| *step)
}

/// Version 2 says where a deployment that is under way stands by its stored word; version 1 had the one that people
/// read. A press whose build was unknown had the nil id for its project.
fn deployment_refused_1(mut event: Value) -> Value {
    if let Some(of) = event.as_object_mut().and_then(|event| event.remove("of")) {
        for id in ["deployment_id", "build_id", "environment_id", "project_id"] {
            event[id] = of[id].clone();
        }
    }
    if event["project_id"] == json!("00000000-0000-0000-0000-000000000000") {
        event["project_id"] = Value::Null;
    }
    if event["refusal"]["kind"] == "under_way" {
        let stored = match event["refusal"]["state"].as_str() {
            Some("stopping") => "cancelling",
            Some("timed out") => "timed_out",
            Some(word) => word,
            None => "",
        };
        event["refusal"]["state"] = json!(stored);
    }
    event
}

/// Version 2 says whether a person or an operator asked for it; version 1 knew people only.
fn deployment_requested_1(mut event: Value) -> Value {
    if let Some(person) = event["requested_by"].as_object_mut() {
        person.insert("kind".to_owned(), json!("person"));
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deployment::{PressRefusal, State};
    use crate::domain::event::{DeploymentEvent, Event};

    #[test]
    fn a_refusal_of_version_one_says_what_it_said() {
        for (word, state) in [("queued", State::Queued), ("stopping", State::Cancelling), ("unknown", State::Unknown)] {
            let old = json!({
                "of": {"deployment_id": "00000000-0000-0000-0000-000000000005", "build_id": "00000000-0000-0000-0000-000000000004",
                       "environment_id": "00000000-0000-0000-0000-000000000002", "project_id": "00000000-0000-0000-0000-000000000000"},
                "requested_by": {"team": "T1", "user": "U1", "name": "ana"}, "channel": "C1",
                "refusal": {"kind": "under_way", "build_name": "m-1", "environment": "Staging", "state": word, "since_press_of": "U2"},
            });
            let Ok(Event::Deployment(DeploymentEvent::Refused(read))) =
                Event::parse("deployment_refused", 1, &old.to_string())
            else {
                panic!("{word}")
            };
            assert_eq!(read.project_id, None);
            assert!(
                matches!(&read.refusal, PressRefusal::UnderWay { state: there, .. } if *there == state),
                "{:?}",
                read.refusal
            );
            assert!(read.refusal.sentence().starts_with(&format!("m-1 is already {word} on Staging")));
        }
    }

    #[test]
    fn each_step_leads_to_a_version_that_is_read() {
        for (kind, from, _) in STEPS {
            let next = (*kind, from + 1);
            assert!(Event::TYPES.contains(&next) || step(kind, from + 1).is_some(), "{kind} v{from} leads nowhere");
        }
    }
}
