//! The log itself: order, conflicts, repetition, immutability.

use std::time::Duration;

use coolops::domain::event::{Actor, Event};
use coolops::domain::ids::{BuildId, EventId};
use coolops::domain::message::MessagePosted;
use coolops::domain::react::Task;
use coolops::jobs::SLACK_KINDS;
use coolops::store::append::{Append, AppendError};
use coolops::store::jobs::{Claim, Via};
use sqlx::Connection;
use uuid::Uuid;

use crate::story::{Story, build, story};

fn posted(n: u128) -> Event {
    MessagePosted { build_id: BuildId(Uuid::from_u128(n)), channel: "C1".into(), ts: "1.000001".into() }.into()
}

fn one(event: &Event, id: u128, expected: i32) -> Append {
    let mut append = Append::default();
    append.event(EventId(Uuid::from_u128(id)), event, &Actor::System, expected);
    append
}

#[test]
fn many_writers_leave_no_gap_and_a_whole_chain() {
    story(async |s| {
        let before = s.app.store.log().head().await.unwrap().0;
        let writers = (0..64_u128).map(|w| {
            let store = s.app.store.clone();
            async move {
                for n in 0..20_u128 {
                    let event = posted(1_000 + w);
                    store.append(one(&event, 1 + w * 1_000 + n, i32::try_from(n).unwrap())).await.unwrap();
                }
            }
        });
        futures::future::join_all(writers).await;
        assert_eq!(s.app.store.log().head().await.unwrap().0, before + 64 * 20);
        let report = s.app.audit(false).await.unwrap();
        assert_eq!((report.events, report.findings.len()), (before + 64 * 20, 0));
    });
}

#[test]
fn of_two_who_read_the_same_version_one_is_refused_and_nobody_else_is_harmed() {
    story(async |s| {
        let store = &s.app.store;
        let (a, b) = (posted(1), posted(2));
        let (first, second, other) = futures::future::join3(
            store.append(one(&a, 11, 0)),
            store.append(one(&a, 12, 0)),
            store.append(one(&b, 13, 0)),
        )
        .await;
        assert_eq!([first.is_ok(), second.is_ok()].iter().filter(|ok| **ok).count(), 1);
        assert!(matches!(first.and(second), Err(AppendError::Conflict)));
        assert!(other.is_ok());
    });
}

#[test]
fn an_append_repeated_with_the_same_ids_is_the_same_append() {
    story(async |s| {
        let event = posted(1);
        let first = s.app.store.append(one(&event, 11, 0)).await.unwrap();
        let again = s.app.store.append(one(&event, 11, 0)).await.unwrap();
        assert_eq!(first, again);
        assert_eq!(s.app.store.log().build(BuildId(Uuid::from_u128(1))).await.unwrap().len(), 1);
    });
}

#[test]
fn an_append_survives_the_loss_of_its_connection() {
    story(async |s| {
        let kill = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
        for round in 0..5_u128 {
            s.database.execute(kill).await;
            let events: Vec<Event> = (0..10).map(|n| posted(100 + round * 10 + n)).collect();
            let appends =
                events.iter().zip(0..).map(|(event, n)| s.app.store.append(one(event, 500 + round * 10 + n, 0)));
            for outcome in futures::future::join_all(appends).await {
                outcome.unwrap();
            }
        }
        assert_eq!(s.app.audit(false).await.unwrap().findings, []);
    });
}

#[test]
fn a_decision_on_what_has_moved_since_is_refused() {
    story(async |s| {
        let seen = s.app.store.directory().project(s.project()).await.unwrap().unwrap().position;
        let mut stale = one(&posted(1), 11, 0);
        stale.guard(s.project().0, seen - 1);
        assert!(matches!(s.app.store.append(stale).await, Err(AppendError::Conflict)));
        let mut fresh = one(&posted(1), 11, 0);
        fresh.guard(s.project().0, seen);
        assert!(s.app.store.append(fresh).await.is_ok());
    });
}

/// Claims the one job that is due.
async fn claims(s: &Story, lease: u128) -> Claim {
    let due =
        s.app.store.jobs().claim(SLACK_KINDS, Uuid::from_u128(lease), None, Via::Sweep, Duration::ZERO).await.unwrap();
    due.expect("a job is due")
}

/// A claim whose lease has run out, so that another may have the job.
async fn overtaken(s: &Story) -> Claim {
    s.post_build(&build("master-1").body()).await;
    let claim = claims(s, 1).await;
    let past = "update job set lease_until = clock_timestamp() - interval '1 s' where state = 'leased'";
    s.database.execute(past).await;
    assert_eq!(s.app.store.jobs().reap().await.unwrap(), 1);
    claim
}

/// Whoever was overtaken can write nothing any more.
async fn writes_nothing(s: &Story, claim: &Claim) {
    let mut zombie = one(&posted(1), 11, 0);
    zombie.fenced(claim);
    assert!(matches!(s.app.store.append(zombie).await, Err(AppendError::Fenced)));
    assert!(!s.app.store.jobs().renew(claim).await.unwrap());
}

#[test]
fn a_worker_whose_lease_was_taken_over_can_write_nothing() {
    story(async |s| {
        let claim = overtaken(s).await;
        let next = claims(s, 2).await;
        assert!(next.fence > claim.fence);
        writes_nothing(s, &claim).await;
        s.app.store.jobs().release(&next, Duration::ZERO, None, None).await.unwrap();
    });
}

#[test]
fn a_fence_that_postgres_gives_twice_after_a_crash_lets_only_the_last_owner_write() {
    story(async |s| {
        let claim = overtaken(s).await;
        // What a crash does to a sequence whose last values were not yet on disk.
        s.database.execute(&format!("select setval('fence_seq', {}, false)", claim.fence)).await;
        let next = claims(s, 2).await;
        assert_eq!(next.fence, claim.fence, "the same fence again");
        writes_nothing(s, &claim).await;
        let mut owner = one(&posted(1), 12, 0);
        owner.fenced(&next);
        assert!(s.app.store.append(owner).await.is_ok());
        s.app.store.jobs().release(&next, Duration::ZERO, None, None).await.unwrap();
    });
}

#[test]
fn a_migrated_database_ends_sessions_that_hold_locks_and_do_nothing() {
    story(async |s| {
        let limits = "select array_to_string(setconfig, ' ') from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
                       where d.datname = 'coolops' and s.setrole = 0";
        assert!(s.database.text(limits).await.contains("idle_in_transaction_session_timeout=10s"));
    });
}

#[test]
fn nobody_can_change_an_event_not_even_its_owner_by_accident() {
    story(async |s| {
        let mut owner = s.database.owner().await;
        for statement in [
            "update event set type = 'x' where position = 1",
            "delete from event where position = 1",
            "truncate event",
            "set session_replication_role = replica; delete from event where position = 1",
        ] {
            let refused = sqlx::raw_sql(statement).execute(&mut owner).await.unwrap_err().to_string();
            assert!(refused.contains("append-only"), "{statement}: {refused}");
        }
        owner.close().await.unwrap();
        let mut app = s.database.owner().await;
        let role: String = sqlx::query_scalar("select coolops_app_role()").fetch_one(&mut app).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("set role {role}"))).execute(&mut app).await.unwrap();
        for statement in [
            "insert into event select * from event",
            "update event_head set position = 0",
            "alter table event disable trigger all",
        ] {
            assert!(
                sqlx::raw_sql(statement).execute(&mut app).await.is_err(),
                "{statement} must be refused to the application"
            );
        }
        app.close().await.unwrap();
    });
}

#[test]
fn a_turn_that_has_come_is_taken_before_another_one_is_asked_for() {
    story(async |s| {
        for name in ["master-1", "master-2", "master-3"] {
            s.post_build(&build(name).body()).await;
        }
        let newest = Task::SyncMessage(s.build_id("master-3"));
        s.database.execute(&format!("update job set turn = 'slack' where id = '{}'", newest.job_id())).await;
        let first = claims(s, 9).await;
        assert_eq!(first.task, newest, "the oldest ones have yet to ask for their turns");
        assert_eq!(s.app.store.jobs().to_ring(SLACK_KINDS, 1).await.unwrap().len(), 1);
        s.app.store.jobs().release(&first, Duration::ZERO, Some("slack"), None).await.unwrap();
        assert_eq!(s.app.store.jobs().to_ring(SLACK_KINDS, 1).await.unwrap(), [newest.job_id()]);
    });
}

#[test]
fn a_job_that_is_due_before_those_that_were_looked_at_is_found_all_the_same() {
    story(async |s| {
        for n in 1..=4 {
            s.post_build(&build(&format!("master-{n}")).body()).await;
        }
        assert_eq!(s.app.store.jobs().to_ring(SLACK_KINDS, 9).await.unwrap().len(), 4);
        let (early, late) = (claims(s, 1).await, claims(s, 2).await);
        s.app.store.jobs().release(&early, Duration::ZERO, None, None).await.unwrap();
        let long_ago = "update job set run_at = '2020-01-01', rung_at = null";
        s.database.execute(&format!("{long_ago} where id = '{}'", early.id)).await;
        // Looks go on from where they were, and begin anew before long.
        let rung = async || s.app.store.jobs().to_ring(SLACK_KINDS, 9).await.unwrap();
        let began = std::time::Instant::now();
        while rung().await.is_empty() {
            assert!(began.elapsed() < Duration::from_secs(10), "nobody rings for it");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut taken = Vec::new();
        for lease in 3..=5 {
            // A claim looks on from where the last one was, as a ring does.
            let claim =
                || s.app.store.jobs().claim(SLACK_KINDS, Uuid::from_u128(lease), None, Via::Sweep, Duration::ZERO);
            taken.push(loop {
                if let Some(claim) = claim().await.unwrap() {
                    break claim;
                }
                assert!(began.elapsed() < Duration::from_secs(10), "nobody finds it");
                tokio::time::sleep(Duration::from_millis(10)).await;
            });
        }
        assert!(taken.iter().any(|claim| claim.task == early.task), "{taken:?}");
        assert!(taken.iter().all(|claim| claim.task != late.task), "{taken:?}");
        let none = s.app.store.jobs().claim(SLACK_KINDS, Uuid::from_u128(6), None, Via::Sweep, Duration::ZERO);
        assert!(none.await.unwrap().is_none(), "each is held by somebody");
        for held in taken.iter().chain([&late]) {
            s.app.store.jobs().release(held, Duration::ZERO, None, None).await.unwrap();
        }
    });
}

#[test]
fn whoever_waits_for_work_is_told_how_long_and_that_there_is_none() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let next = async || s.app.store.jobs().next_due(SLACK_KINDS).await.unwrap();
        assert_eq!(next().await, None, "nothing is waited for, and nobody looks again at once");
        let task = Task::SyncMessage(s.build_id("master-1"));
        s.app.store.jobs().want(task).await.unwrap();
        assert_eq!(next().await, Some(0));
        s.database.execute("update job set run_at = coolops_now() + interval '1 h' where state = 'ready'").await;
        assert!(matches!(next().await, Some(3_500_000..=3_600_000)), "{:?}", next().await);
    });
}

#[test]
fn work_that_is_asked_for_while_it_is_done_is_done_again() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        let (jobs, task) = (s.app.store.jobs(), Task::SyncMessage(s.build_id("master-1")));
        jobs.want(task).await.unwrap();
        let claim = jobs.claim(SLACK_KINDS, Uuid::from_u128(1), None, Via::Sweep, Duration::ZERO);
        let claim = claim.await.unwrap().expect("it is due");
        // Nothing has happened since: there is no later event that it could be told by.
        jobs.want(task).await.unwrap();
        jobs.complete(&claim).await.unwrap();
        assert!(!jobs.is_idle(task).await.unwrap(), "what was asked for is forgotten");
        s.settle().await;
        assert!(jobs.is_idle(task).await.unwrap());
    });
}

#[test]
fn what_has_time_is_due_at_once_when_an_event_asks_for_it() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        // As for one of many messages that somebody's name is taken out of.
        let sync = Task::SyncMessage(s.build_id("master-1"));
        s.app.store.jobs().want_within(sync, Duration::from_hours(1)).await.unwrap();
        let due =
            "select count(*) from job where kind = 'sync_message' and state = 'ready' and run_at <= coolops_now()";
        assert_eq!(s.database.count(due).await, 0);
        s.only_presses("ana", "master-1", "Staging").await;
        assert_eq!(s.database.count(due).await, 1, "the press is shown when it is made");
        s.settle().await;
        // What waits because Slack said so goes on waiting.
        s.database
            .execute(
                "update job set state = 'ready', run_at = coolops_now() + interval '1 h' where kind = 'sync_message'",
            )
            .await;
        s.only_presses("ben", "master-1", "Production").await;
        assert_eq!(s.database.count(due).await, 0);
    });
}
