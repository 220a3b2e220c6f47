//! Jobs that wait: what they cost, and how well they are worked off.

use std::time::{Duration, Instant};

use coolops::domain::event::Actor;
use coolops::domain::ids::EventId;
use coolops::domain::react::{TaskKind, react};
use coolops::store::append::Append;
use coolops::store::jobs::Via;
use futures::StreamExt;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::Row;
use crate::load::Client;
use crate::seeded::story_of;
use crate::service::Service;

/// Announces so many builds over a few connections.
async fn announce(service: &Service, count: usize) {
    let workers = (0..16).map(|c| async move {
        let mut client = Client::connect(service.port).await.unwrap();
        for n in (c..count).step_by(16) {
            let body = service.body(&format!("backlog-{n}"));
            assert_eq!(client.post_build(&service.token, &body).await.unwrap(), 201);
        }
    });
    futures::future::join_all(workers).await;
}

/// Ten thousand messages behind in one channel: posts a second against the pace.
pub async fn behind() -> Row {
    const SPEED: u32 = 50;
    let service = Service::begin_at("true", 4, SPEED).await;
    announce(&service, 10_000).await;
    // The burst that a channel may begin with is over.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (posted, before) = (service.posted(), Instant::now());
    tokio::time::sleep(Duration::from_mins(1)).await;
    let rate = (service.posted() - posted) as f64 / before.elapsed().as_secs_f64();
    let left = 10_000 - service.posted();
    service.end().await;
    let ratio = rate / f64::from(SPEED);
    Row {
        name: "10,000 messages behind in one channel, pace × 50: posts a second ÷ the pace",
        measured: format!("{ratio:.2} ({rate:.1} a second; {left} were left)"),
        target: "at least 0.9",
        met: ratio >= 0.9 && left > 0,
    }
}

/// Ten thousand jobs that wait for a time that is far away: what they cost the service and Postgres.
pub async fn waiting() -> Row {
    let service = Service::begin("true", 4).await;
    announce(&service, 10_000).await;
    let far = "update job set run_at = now() + interval '1 hour', rung_at = null where state = 'ready'";
    service.database.execute(far).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    service.database.execute(far).await;
    let waiting = service.database.number("select count(*) from job where state = 'ready' and run_at > now()").await;
    let (spent, before) = (service.processor_seconds_with_postgres().await, Instant::now());
    tokio::time::sleep(Duration::from_secs(30)).await;
    let spent = service.processor_seconds_with_postgres().await - spent;
    let share = spent / before.elapsed().as_secs_f64() * 100.0;
    service.end().await;
    Row {
        name: "processor time of serve and its backends with 10,000 waiting jobs, nothing due",
        measured: format!("{share:.2} % of one core ({waiting} jobs)"),
        target: "at most 1 %",
        met: share <= 1.0 && waiting > 9_900,
    }
}

/// Claims a second while somebody holds a snapshot open, as `pg_dump` does, against without.
pub async fn claims() -> Row {
    let free = claimed(false).await;
    let held = claimed(true).await;
    let ratio = held / free;
    Row {
        name: "claims a second while a snapshot is held open over 50,000 builds ÷ without",
        measured: format!("{ratio:.2} ({held:.0}/s ÷ {free:.0}/s)"),
        target: "at least 0.9",
        met: ratio >= 0.9,
    }
}

/// Records 50,000 builds and claims and completes the jobs of all of them; tells the rate of the last 10,000.
async fn claimed(snapshot: bool) -> f64 {
    const BUILDS: u128 = 50_000;
    const LAST: usize = 10_000;
    let mut service = Service::begin("true", 4).await;
    service.stop();
    let store = service.store(8).await;
    let mut holder = PgConnection::connect(&service.database.url).await.unwrap();
    if snapshot {
        sqlx::raw_sql("set idle_in_transaction_session_timeout = 0; begin isolation level repeatable read; select 1")
            .execute(&mut holder)
            .await
            .unwrap();
    }
    let mut appends = futures::stream::iter((0..BUILDS).map(|n| {
        let store = store.clone();
        async move {
            let event = story_of(n).swap_remove(0);
            let mut append = Append::default();
            append.event(EventId(Uuid::from_u128((1 << 91) + n)), &event, &Actor::System, 0);
            for task in react(&event) {
                append.task(task);
            }
            store.append(append).await.unwrap();
        }
    }))
    .buffer_unordered(64);
    while appends.next().await.is_some() {}
    drop(appends);
    let done = std::sync::atomic::AtomicUsize::new(0);
    let last = std::sync::Mutex::new(None);
    let workers = (0..4).map(|_| async {
        loop {
            let claim = store.jobs().claim(&[TaskKind::SyncMessage], Uuid::new_v4(), None, Via::Sweep, Duration::ZERO);
            let Some(claim) = claim.await.unwrap() else { return };
            store.jobs().complete(&claim).await.unwrap();
            if done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == BUILDS as usize - LAST {
                *last.lock().unwrap() = Some(Instant::now());
            }
        }
    });
    futures::future::join_all(workers).await;
    let since = last.lock().unwrap().unwrap();
    let rate = LAST as f64 / since.elapsed().as_secs_f64();
    drop(holder);
    service.end().await;
    rate
}
