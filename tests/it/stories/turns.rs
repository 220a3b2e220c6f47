//! Turns at Slack: given out one by one or many at once, and put off together.

use std::time::Duration;

use coolops::domain::event::{Actor, Event};
use coolops::domain::ids::{BuildId, EventId};
use coolops::domain::message::MessagePosted;
use coolops::domain::react::Task;
use coolops::jobs::SLACK_KINDS;
use coolops::store::append::{Append, AppendError};
use coolops::store::jobs::{Claim, Via};
use coolops::store::limits::{Pace, Turn};
use uuid::Uuid;

use crate::story::{Story, story};

/// An append that owes a message, which waits for a turn in a scope.
fn owes(n: u128, scope: &str, pace: Pace) -> Append {
    let build = BuildId(Uuid::from_u128(n));
    let event = Event::from(MessagePosted { build_id: build, channel: "C1".into(), ts: format!("1.{n:06}") });
    let mut append = Append::default();
    append.event(EventId(Uuid::from_u128(1_000 + n)), &event, &Actor::System, 0);
    append.task(Task::SyncMessage(build)).turn(Turn { scope: scope.to_owned(), pace });
    append
}

/// In how many seconds those that wait in a scope may go, in their order.
async fn waits(s: &Story, scope: &str) -> Vec<f64> {
    let mut owner = s.database.owner().await;
    let waits = "select extract(epoch from run_at - coolops_now())::float8 from job where state = 'ready' and turn = $1 order by run_at";
    sqlx::query_scalar(waits).bind(scope).fetch_all(&mut owner).await.unwrap()
}

async fn claims(s: &Story, lease: u128) -> Claim {
    let claim = s.app.store.jobs().claim(SLACK_KINDS, Uuid::from_u128(lease), None, Via::Sweep, Duration::ZERO);
    claim.await.unwrap().expect("a job is due")
}

fn assert_about(found: &[f64], expected: &[f64]) {
    let near = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1.5);
    assert!(near, "{found:?} is not about {expected:?}");
}

#[test]
fn turns_that_an_append_gives_out_are_those_that_would_be_asked_for_one_by_one() {
    story(async |s| {
        let pace = Pace { every: Duration::from_secs(10), burst: Duration::from_secs(20) };
        for (round, paused) in [(0, false), (1, true)] {
            if paused {
                s.app.store.paces().block("slack", Duration::from_mins(1)).await.unwrap();
            }
            let mut asked = Vec::new();
            for _ in 0..5 {
                let wait = s.app.store.paces().reserve_turn(&format!("asked-{round}"), pace).await.unwrap();
                asked.push(wait.as_secs_f64());
            }
            // Many requests at once make a batch; one of them is based on something that has moved.
            let (first, second) = (format!("first-{round}"), format!("second-{round}"));
            let n = round * 100;
            let mut all: Vec<Append> = (1..=5).map(|k| owes(n + k, &first, pace)).collect();
            all.extend((6..=7).map(|k| owes(n + k, &second, pace)));
            let mut stale = owes(n + 8, &first, pace);
            stale.guard(s.project().0, 1_000_000);
            all.insert(2, stale);
            let done = futures::future::join_all(all.into_iter().map(|append| s.app.store.append(append))).await;
            assert!(matches!(done[2], Err(AppendError::Conflict)));
            assert_eq!(done.iter().filter(|outcome| outcome.is_ok()).count(), 7);
            // What is due at once is so from the append on.
            assert_about(&waits(s, &first).await, &asked);
            assert_about(&waits(s, &second).await, &asked[..2]);
        }
        s.database.execute("delete from job; delete from rate_bucket").await;
    });
}

#[test]
fn turns_that_nobody_took_are_put_off_together_and_keep_their_order_and_pace() {
    story(async |s| {
        let pace = Pace { every: Duration::from_secs(10), burst: Duration::ZERO };
        for n in 1..=4 {
            s.app.store.append(owes(n, "late", pace)).await.unwrap();
        }
        assert_about(&waits(s, "late").await, &[0.0, 10.0, 20.0, 30.0]);
        // Nobody is there for an hour.
        s.database.set_clock(3_600).await;
        s.app.store.keep_clock().await.unwrap();
        let first = claims(s, 1).await;
        assert!(first.late > Duration::from_secs(3_500), "{:?}", first.late);
        assert_eq!(s.app.store.paces().put_off("late", pace).await.unwrap(), Duration::ZERO, "it may go now");
        assert_about(&waits(s, "late").await, &[10.0, 20.0, 30.0]);
        // Another one that was late too moves nothing any more.
        s.app.store.paces().put_off("late", pace).await.unwrap();
        assert_about(&waits(s, "late").await, &[10.0, 20.0, 30.0]);
        // Slack asks for a minute of rest, and a turn comes in it.
        s.app.store.paces().block("late", Duration::from_mins(1)).await.unwrap();
        s.database.set_clock(3_611).await;
        let second = claims(s, 2).await;
        let wait = s.app.store.paces().put_off("late", pace).await.unwrap().as_secs_f64();
        assert_about(&[wait], &[49.0]);
        assert_about(&waits(s, "late").await, &[wait + 10.0, wait + 20.0]);
        // What is announced then comes after them.
        s.app.store.append(owes(5, "late", pace)).await.unwrap();
        assert_about(&waits(s, "late").await, &[wait + 10.0, wait + 20.0, wait + 30.0]);
        for claim in [first, second] {
            s.app.store.jobs().complete(&claim).await.unwrap();
        }
        s.database.execute("delete from job; delete from rate_bucket").await;
    });
}

#[test]
fn what_comes_after_an_hour_of_nobody_waits_for_those_who_waited_and_not_for_another_hour() {
    story(async |s| {
        // Three may go at once.
        let pace = Pace { every: Duration::from_secs(10), burst: Duration::from_secs(20) };
        for n in 1..=5 {
            s.app.store.append(owes(n, "late", pace)).await.unwrap();
        }
        assert_about(&waits(s, "late").await, &[0.0, 0.0, 0.0, 10.0, 20.0]);
        s.database.set_clock(3_600).await;
        s.app.store.keep_clock().await.unwrap();
        // CI is quicker than those who take turns.
        for n in 6..=7 {
            s.app.store.append(owes(n, "late", pace)).await.unwrap();
        }
        let first = claims(s, 1).await;
        assert_eq!(s.app.store.paces().put_off("late", pace).await.unwrap(), Duration::ZERO);
        assert_about(&waits(s, "late").await, &[10.0, 20.0, 30.0, 40.0, 50.0, 50.0]);
        s.app.store.append(owes(8, "late", pace)).await.unwrap();
        assert_about(&waits(s, "late").await, &[10.0, 20.0, 30.0, 40.0, 50.0, 50.0, 50.0]);
        s.app.store.jobs().complete(&first).await.unwrap();
        s.database.execute("delete from job; delete from rate_bucket").await;
    });
}
