//! Invariants that stories of several kinds check: those that a log alone can be held to, and that a secret is nowhere.

use std::collections::BTreeMap;

use coolops::domain::deployment::{Deployment, State};
use coolops::domain::event::{DeploymentEvent, Event, Recorded};
use coolops::domain::ids::{DeploymentId, EnvironmentId, LockableId};
use coolops::domain::lock::Lock;
use coolops::projections::lock_card::{self, Change};
use coolops_lab::standin::StandIn;

use super::database::Database;

/// I1.
pub async fn positions_have_no_gaps(database: &Database) {
    let wrong = "select count(*) from event_head h, (select count(*) n, coalesce(max(position), 0) m from event) e
                  where not (e.n = e.m and e.m = h.position)";
    assert_eq!(database.count(wrong).await, 0, "I1: number of events, last position and head differ");
}

/// I3.
pub fn each_deployment_keeps_to_its_states_and_ends_once(events: &[Recorded]) {
    let mut all: BTreeMap<DeploymentId, Deployment> = BTreeMap::new();
    for recorded in events {
        let event = &recorded.event;
        if let Event::Deployment(DeploymentEvent::Requested(e)) = event {
            assert!(all.insert(e.of.deployment_id, Deployment::requested(e)).is_none(), "I3: requested twice");
            continue;
        }
        let Some(before) = all.get(&DeploymentId(event.address().stream)).cloned() else { continue };
        let after = before.clone().evolve(event);
        if after.version == before.version {
            continue;
        }
        let allowed = match (before.state(), after.state()) {
            // A delay that is told changes no state.
            (State::Ready | State::Pulling | State::Starting, _) if before.delays < after.delays => {
                before.state() == after.state()
            }
            (State::Queued, State::Queued | State::Ready | State::Cancelled)
            | (State::Ready, State::Pulling | State::Starting | State::Refused | State::Cancelled)
            | (State::Pulling, State::Refused)
            | (State::Pulling, State::Starting | State::Cancelling | State::Failed | State::Unknown)
            | (State::Starting, State::Running)
            | (State::Ready | State::Starting | State::Running, State::Cancelling)
            | (State::Unknown, State::Succeeded | State::Failed)
            | (State::Cancelling, State::Cancelled | State::TimedOut | State::Unknown)
            | (State::Running, State::Succeeded)
            | (State::Ready | State::Starting | State::Running, State::Failed | State::Unknown) => true,
            (from, to) => {
                panic!("I3: {} went from {from:?} to {to:?} at {}", after.of.deployment_id, recorded.position)
            }
        };
        assert!(allowed);
        all.insert(after.of.deployment_id, after);
    }
}

/// Whom a line says that it waits behind is there, and does not wait behind it.
pub async fn who_waits_waits_behind_somebody(database: &Database) {
    let wrong = "select count(*) from deployment d where d.is_open and d.doc->'stand'->>'is' = 'queued' and not exists (
                   select from deployment ahead where ahead.id::text = d.doc->'stand'->'behind'->>'deployment_id' and ahead.is_open
                      and ahead.environment_id = d.environment_id and ahead.id <> d.id)";
    assert_eq!(database.count(wrong).await, 0, "somebody waits behind what is not there any more");
}

/// I5.
pub fn environments_are_held_by_one_at_a_time(events: &[Recorded]) {
    let mut held: BTreeMap<EnvironmentId, DeploymentId> = BTreeMap::new();
    for recorded in events {
        let (of, holds) = match &recorded.event {
            Event::Deployment(DeploymentEvent::Requested(e)) if e.behind.is_none() && e.lock.is_none() => (e.of, true),
            Event::Deployment(DeploymentEvent::Promoted(e)) => (e.of, true),
            Event::Deployment(DeploymentEvent::Succeeded(e)) => (e.of, false),
            Event::Deployment(DeploymentEvent::Failed(e)) => (e.of, false),
            Event::Deployment(DeploymentEvent::Stopped(e)) => (e.of, false),
            Event::Deployment(DeploymentEvent::Resolved(e)) => (e.of, false),
            _ => continue,
        };
        match (holds, held.get(&of.environment_id)) {
            (true, Some(other)) => {
                panic!("I5: {other} and {} hold one environment at {}", of.deployment_id, recorded.position)
            }
            (true, None) => drop(held.insert(of.environment_id, of.deployment_id)),
            (false, Some(holder)) if *holder == of.deployment_id => drop(held.remove(&of.environment_id)),
            (false, _) => {}
        }
    }
}

/// I11.
pub fn locks_are_one_at_a_time_and_nobody_has_their_turn_under_anothers(events: &[Recorded]) {
    let (mut locks, mut pressers): (BTreeMap<uuid::Uuid, Lock>, BTreeMap<_, _>) = (BTreeMap::new(), BTreeMap::new());
    for recorded in events {
        let (at, on) = (recorded.position, recorded.event.address().stream);
        match lock_card::change(&recorded.event) {
            Some(Change::Locked(lock)) => {
                let before = locks.insert(on, lock.clone());
                assert!(before.is_none_or(|b| b.holder.same(&lock.holder)), "I11: two locks on one thing at {at}");
            }
            Some(Change::Unlocked { lock, .. }) => {
                let gone = locks.remove(&on);
                assert_eq!(gone.as_ref(), Some(lock), "I11: a lock that was not there was taken away at {at}");
            }
            None => {}
        }
        let turn = match &recorded.event {
            Event::Deployment(DeploymentEvent::Requested(e)) => {
                pressers.insert(e.of.deployment_id, e.requested_by.clone());
                if e.behind.is_some() || e.lock.is_some() {
                    continue;
                }
                e.of
            }
            Event::Deployment(DeploymentEvent::Promoted(e)) => e.of,
            _ => continue,
        };
        let around = [turn.environment_id.0, turn.project_id.0, LockableId::everything().0];
        let lets = around.iter().filter_map(|on| locks.get(on)).all(|lock| lock.lets(&pressers[&turn.deployment_id]));
        assert!(lets, "I11: {} has its turn under another's lock at {at}", turn.deployment_id);
    }
}

/// I10: a secret is in no row, nothing that Slack was sent, and nothing else of these.
pub async fn is_nowhere(canary: &str, database: &Database, standin: &StandIn, more: &[(&str, &str)]) {
    let tables = "select string_agg(format('select %L as place, t::text as row from public.%I t', relname, relname), ' union all ')
                    from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace";
    let rows = database.text(tables).await;
    // Bytes are told as digits.
    let bytes = hex::encode(canary);
    let found = format!(
        "select coalesce(string_agg(distinct place, ', '), '') from ({rows}) every where row like '%{canary}%' or row like '%{bytes}%'"
    );
    assert_eq!(database.text(&found).await, "", "I10: tables that hold the canary");
    let calls: String = standin.workspace().calls.iter().map(|c| c.raw.clone()).collect();
    for (place, text) in [("Slack", &*calls)].iter().chain(more) {
        assert!(!text.contains(canary), "I10: {place} holds the canary");
    }
}
