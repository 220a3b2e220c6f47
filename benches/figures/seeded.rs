//! Logs that nobody pressed for: events and what Slack was sent, written as they would have been.

use coolops::domain::build::{BuildRegistered, ButtonFor, Entry};
use coolops::domain::deployment::*;
use coolops::domain::event::{Actor, Event};
use coolops::domain::ids::*;
use coolops::domain::lock_events::{EnvironmentLocked, EnvironmentUnlocked, Lock};
use coolops::domain::names::ImageRef;
use coolops::domain::project::Unchecked;
use coolops::keys::Keyring;
use coolops::projections::build_card::BuildCard;
use coolops::projections::rows;
use coolops::slack::render;
use coolops::store::append::Append;
use futures::StreamExt;
use uuid::Uuid;

use super::service::Service;

/// The events of a build with 5 deployments.
pub fn story_of(n: u128) -> Vec<Event> {
    let environments: Vec<Uuid> = (10..13).map(Uuid::from_u128).collect();
    story_in(n, ProjectId(Uuid::from_u128(1)), &environments)
}

/// The same in a project with its environments.
pub fn story_in(n: u128, project_id: ProjectId, environments: &[Uuid]) -> Vec<Event> {
    let build_id = BuildId(Uuid::from_u128(1_000_000_000 + n));
    let environment = |e: u128| EnvironmentId(environments[e as usize % environments.len()]);
    let entry = |name: &str, value: String| Entry { name: name.into(), value };
    let mut events: Vec<Event> = vec![
        BuildRegistered {
            source: None,
            build_id,
            project_id,
            project_name: "Api".into(),
            name: format!("master-{n}"),
            params: vec![entry("DOCKER_TAG", n.to_string())],
            metadata: vec![
                entry("Job url", format!("https://ci.example.com/job/{n}")),
                entry("Last commit", "Fix the thing & the other".into()),
            ],
            environments: (0..3)
                .map(|e| ButtonFor { id: environment(e), name: format!("Environment {e}"), protected: false })
                .collect(),
            channel: "C0DEPLOYS1".into(),
            public_url: "https://coolops.example.com".into(),
            link_key: super::service::LINK_KEY.into(),
            run: None,
        }
        .into(),
    ];
    for d in 0..5_u128 {
        let of = DeploymentOf {
            deployment_id: DeploymentId(Uuid::from_u128((n << 8) + d + (1 << 100))),
            build_id,
            environment_id: environment(d % 3),
            project_id,
        };
        let log = LogSeal { chunks: 0, lines: 0, bytes: 0, head: String::new(), left_out: LeftOut::default(), gaps: 0 };
        events.push(
            DeploymentRequested {
                source: None,
                of,
                build_name: format!("master-{n}"),
                environment_name: format!("Environment {}", d % 3),
                requested_by: Person { team: "T0DEMO0001".into(), user: "U0ANA00001".into(), name: "ana".into() }
                    .into(),
                image: ImageRef::parse("registry.example.com/deploy:1").unwrap(),
                time_limit_minutes: 60,
                log_limit_mebibytes: 16,
                start_patience_minutes: 10,
                stop_grace_seconds: 10,
                unchecked_image: Unchecked::Fail,
                behind: None,
                lock: None,
            }
            .into(),
        );
        events.push(
            DeploymentPrepared {
                replaces_source: None,
                replaces_since: None,
                of,
                image_id: format!("sha256:{}", "0".repeat(64)),
                container: format!("coolops-{}", of.deployment_id),
                digest: None,
                unchecked: false,
                engine_id: "engine".into(),
                replaces: None,
            }
            .into(),
        );
        events.push(DeploymentStarted { of, container_id: "c".repeat(64) }.into());
        events.push(if d == 0 {
            DeploymentFailed { of, failure: Failure::Exit { code: 3 }, last_lines: vec![], log }.into()
        } else {
            DeploymentSucceeded { of, log }.into()
        });
    }
    events
}

/// An append of one build.
pub fn registered(n: u128) -> Append {
    let mut append = Append::default();
    append.event(EventId(Uuid::from_u128(n + (1 << 120))), &story_of(n + (1 << 100)).swap_remove(0), &Actor::System, 0);
    append
}

/// The same with its row: it waits for whoever replaces rows.
pub fn registered_with_row(n: u128) -> Append {
    let (mut append, event) = (registered(n), story_of(n + (1 << 100)).swap_remove(0));
    if let Event::BuildRegistered(build) = &event {
        append.row(rows::of_build(build));
    }
    append
}

/// Writes so many builds with 5 deployments each: 21 events.
pub async fn seed(service: &Service, builds: u128) -> coolops::store::Store {
    let store = service.store(4).await;
    let environments = service.environments().await;
    let mut pending = futures::stream::iter((0..builds).map(|n| {
        let (store, environments) = (store.clone(), environments.clone());
        async move {
            let mut append = Append::default();
            let mut versions = std::collections::HashMap::new();
            for (k, event) in story_in(n, ProjectId::of_slug("api"), &environments).iter().enumerate() {
                let version = versions.entry(event.address().stream).or_insert(0);
                append.event(
                    EventId(Uuid::from_u128((n << 16) + k as u128 + (1 << 90))),
                    event,
                    &Actor::System,
                    *version,
                );
                *version += 1;
            }
            store.append(append).await.unwrap();
        }
    }))
    .buffer_unordered(64);
    while pending.next().await.is_some() {}
    drop(pending);
    store
}

/// A project that is locked and unlocked all day has so many events of that: ten years of 14 locks a day.
const LOCKS: usize = 100_000;

/// Locks and unlocks an environment, in turns.
async fn lock_and_unlock(service: &Service, store: &coolops::store::Store) {
    let (project_id, environment_id) = (ProjectId::of_slug("api"), EnvironmentId(service.environments().await[0]));
    let ana = Person { team: "T0DEMO0001".into(), user: "U0ANA00001".into(), name: "ana".into() };
    let actor = Actor::Slack { team: ana.team.clone(), user: ana.user.clone(), name: ana.name.clone() };
    let project = store.directory().project(project_id).await.unwrap().unwrap().value;
    let mut version = project.environment(environment_id).unwrap().version;
    for _ in 0..LOCKS / 500 {
        let mut append = Append::default();
        for n in 0..500 {
            let lock = Lock::new(ana.clone().into(), Some("a migration runs".into()), chrono::Utc::now(), None);
            let event: Event = match n % 2 {
                0 => EnvironmentLocked { project_id, environment_id, lock }.into(),
                _ => {
                    let (by, at) = (Some(ana.clone().into()), chrono::Utc::now());
                    EnvironmentUnlocked { project_id, environment_id, lock, by, at }.into()
                }
            };
            append.event(EventId(Uuid::new_v4()), &event, &actor, version);
            version += 1;
        }
        store.append(append).await.unwrap();
    }
}

/// Writes locks and builds until the log has a million events, and what Slack was sent for each build.
pub async fn seed_million(service: &Service) -> i64 {
    lock_and_unlock(service, &service.store(4).await).await;
    let store = seed(service, (1_000_000 - LOCKS as u128).div_ceil(21)).await;
    let keys = Keyring::new(&super::service::MASTER_KEY.to_owned().into(), &[]).unwrap();
    let links = keys.links(super::service::LINK_KEY).unwrap();
    let mut cards: std::collections::HashMap<Uuid, (usize, Option<BuildCard>)> = std::collections::HashMap::new();
    let mut sent: Vec<(Uuid, i64, String)> = Vec::new();
    let mut total = 0;
    store
        .log()
        .scan_opened(0, |row| {
            total = row.position;
            let id = row.header.correlation_id;
            let entry = cards.entry(id).or_default();
            BuildCard::apply(&mut entry.1, &row.event().unwrap(), row.recorded_at());
            entry.0 += 1;
            if entry.0 == 21 && entry.1.is_some() {
                let (_, card) = cards.remove(&id).unwrap();
                sent.push((id, row.position, render::render(&card.unwrap(), &links).bytes()));
            }
            true
        })
        .await
        .unwrap();
    for part in sent.chunks(2_000) {
        service.database.sent(part, &keys).await;
    }
    service.database.execute("analyze").await;
    total
}
