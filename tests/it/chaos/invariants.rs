//! What must hold after every fault: I1 to I12.

use std::collections::BTreeMap;

use coolops::domain::event::{DeploymentEvent, Event, Recorded};
use coolops::store::Store;

use super::{CANARY, Chaos};
use crate::story::invariants::{
    each_deployment_keeps_to_its_states_and_ends_once, environments_are_held_by_one_at_a_time, is_nowhere,
    locks_are_one_at_a_time_and_nobody_has_their_turn_under_anothers, positions_have_no_gaps,
    who_waits_waits_behind_somebody,
};
use crate::story::read;

/// Waits until nothing is owed, then checks them all.
pub async fn hold(s: &Chaos<'_>) {
    let open = "select count(*) from job where state <> 'done'";
    let limit = std::time::Duration::from_mins(2);
    s.until_long("nothing is owed any more", limit, async || s.database.count(open).await == 0).await;
    let store = Store::open(&s.database.url, 2).await.unwrap().with_keys(s.keys());
    let events: Vec<Recorded> =
        store.log().after(0, 1_000_000).await.unwrap().into_iter().map(Result::unwrap).collect();
    positions_have_no_gaps(&s.database).await;
    who_waits_waits_behind_somebody(&s.database).await;
    history_is_as_written(s);
    each_deployment_keeps_to_its_states_and_ends_once(&events);
    environments_are_held_by_one_at_a_time(&events);
    locks_are_one_at_a_time_and_nobody_has_their_turn_under_anothers(&events);
    each_container_was_started_at_most_once(s, &events).await;
    logs_are_what_was_printed(s, &store, &events).await;
    each_build_has_one_message_that_says_the_latest(s).await;
    let builds = events.iter().filter(|e| matches!(e.event, Event::BuildRegistered(_))).count();
    let messages = s.standin.workspace().channels.iter().flat_map(|c| &c.messages).filter_map(read::build_of).count();
    assert_eq!(messages, builds, "I7: each build has a message");
    people_are_told_once(s).await;
    slack_was_never_called_before_its_time(s);
    projections_are_the_fold_of_the_log(s);
    let log = std::fs::read_to_string(&s.log).unwrap();
    is_nowhere(CANARY, &s.database, &s.standin, &[("the service's log", &log)]).await;
}

/// I2.
fn history_is_as_written(s: &Chaos<'_>) {
    s.cli(&["audit", "verify"]);
}

/// I4: by the engine's own account.
async fn each_container_was_started_at_most_once(s: &Chaos<'_>, events: &[Recorded]) {
    let starts = s.starts_by_deployment().await;
    for (container, starts) in &starts {
        assert_eq!(*starts, 1, "I4: the container of deployment {container} was started {starts} times");
    }
    for recorded in events {
        if let Event::Deployment(DeploymentEvent::Started(e)) = &recorded.event {
            let id = e.of.deployment_id.to_string();
            assert!(starts.contains_key(&id), "I4: the log says that {id} was started, and the engine does not");
        }
    }
}

/// I6: what is stored is what was printed, but for what is declared.
async fn logs_are_what_was_printed(s: &Chaos<'_>, store: &Store, events: &[Recorded]) {
    let Some(expected) = &s.output else { return };
    for recorded in events {
        let (id, seal) = match &recorded.event {
            Event::Deployment(DeploymentEvent::Succeeded(e)) => (e.of.deployment_id, &e.log),
            Event::Deployment(DeploymentEvent::Failed(e)) => (e.of.deployment_id, &e.log),
            _ => continue,
        };
        let stored: Vec<u8> =
            store.journals().chunks_from(id, 0, 1_000_000).await.unwrap().into_iter().flat_map(|c| c.body).collect();
        let stored = String::from_utf8(stored).unwrap();
        if seal.gaps == 0 {
            assert_eq!(&stored, expected, "I6: a line of {id} was lost or doubled");
            continue;
        }
        // With a gap declared, what is there is still what was printed, in order, and nothing twice.
        let mut rest = expected.as_str();
        for line in stored.lines().filter(|l| !l.starts_with('…')) {
            let at =
                rest.find(&format!("{line}\n")).unwrap_or_else(|| panic!("I6: {line:?} of {id} was not printed there"));
            rest = &rest[at + line.len() + 1..];
        }
    }
}

/// I7.
async fn each_build_has_one_message_that_says_the_latest(s: &Chaos<'_>) {
    let sent: BTreeMap<String, String> = s
        .database
        .pairs("select build_id::text, sent_payload from slack_message where sent_payload is not null")
        .await
        .into_iter()
        .collect();
    let verified = s.cli(&["replay", "--verify"]);
    assert!(!verified.contains("to be brought up to date"), "I7: {verified}");
    let workspace = s.standin.workspace();
    let mut seen = std::collections::BTreeSet::new();
    let mut last = BTreeMap::new();
    for call in workspace.calls.iter().filter(|c| ["chat.postMessage", "chat.update"].contains(&c.method.as_str())) {
        last.insert(call.answer["ts"].as_str().unwrap_or_default(), call);
    }
    for channel in &workspace.channels {
        for (message, build) in channel.messages.iter().filter_map(|m| Some((m, read::build_of(m)?))) {
            assert!(seen.insert(build.to_owned()), "I7: two messages of build {build}");
            // What Slack shows is the last call that it took for it, which says what `replay --verify` compared with
            // the log.
            let call = last[message.ts.as_str()];
            assert_eq!(call.arguments["attachments"], message.attachments, "I7: build {build}");
            let told = sent.get(build).unwrap_or_else(|| panic!("I7: nothing was sent of build {build}"));
            let inner = &told[1..told.len() - 1];
            assert!(call.raw.contains(inner), "I7: build {build} shows\n{}\nand should\n{inner}", call.raw);
        }
    }
}

/// I12.
async fn people_are_told_once(s: &Chaos<'_>) {
    let owed = "select count(*) from job where kind in ('report', 'report_lock') and state <> 'done'";
    s.until_long("everybody is told", std::time::Duration::from_mins(2), async || s.database.count(owed).await == 0)
        .await;
    let told = read::reports(&s.standin.workspace());
    let once: std::collections::BTreeSet<_> = told.iter().collect();
    assert_eq!(once.len(), told.len(), "I12: somebody was told twice");
    let sent = s.database.count("select count(*) from slack_report where state = 'sent'").await;
    assert_eq!(usize::try_from(sent).unwrap(), told.len(), "I12: what was told is not what is noted");
    let unclear = s.database.count("select count(*) from slack_report where state = 'posting'").await;
    assert_eq!(unclear, 0, "I12: it is not known whether somebody was told");
}

/// I8.
fn slack_was_never_called_before_its_time(s: &Chaos<'_>) {
    assert_eq!(s.standin.workspace().breaches, Vec::<String>::new(), "I8");
}

/// I9.
fn projections_are_the_fold_of_the_log(s: &Chaos<'_>) {
    let rebuilt = s.cli(&["replay"]);
    assert_eq!(rebuilt.matches("as they were").count(), 5, "I9: {rebuilt}");
}
