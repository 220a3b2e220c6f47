//! What the team's controls cost: commands over a large installation, presses under a lock, the way on after one.

use std::time::{Duration, Instant};

use coolops::domain::build::{BuildRegistered, ButtonFor};
use coolops::domain::deployment::*;
use coolops::domain::event::{Actor, Event, SettingsEvent};
use coolops::domain::ids::*;
use coolops::domain::names::ImageRef;
use coolops::domain::project::{EnvironmentCreated, Project, Unchecked};
use coolops::domain::settings;
use coolops::projections::rows;
use coolops::store::append::Append;
use futures::StreamExt;
use uuid::Uuid;

use crate::load::{self, Client};
use crate::service::Service;
use crate::{Row, engine, median, percentile};

const PROJECTS: u128 = 200;
const ENVIRONMENTS: u128 = 20;
const BUILDS: u128 = 100_000;
const DEPLOYMENTS: u128 = 50_000;

fn environment(project: u128, n: u128) -> EnvironmentId {
    EnvironmentId(Uuid::from_u128((7 << 80) + (project << 16) + n))
}

/// `/coolops status` of one project of many, and of all that come to the channel, in turns.
pub async fn status() -> Row {
    let service = Service::begin("true", 4).await;
    seed(&service).await;
    let begin = tokio::time::Instant::now();
    let asked = (0..400).map(|n| {
        let service = &service;
        async move {
            tokio::time::sleep_until(begin + Duration::from_millis(n * 50)).await;
            let text = if n % 2 == 0 { "status".to_owned() } else { format!("status project-{}", n % 200) };
            let signed = service.command_of(&text);
            let mut client = Client::connect(service.port).await.unwrap();
            let before = Instant::now();
            assert_eq!(client.command(&signed).await.unwrap(), 200);
            before.elapsed().as_secs_f64() * 1_000.0
        }
    });
    let mut times = futures::future::join_all(asked).await;
    let (middle, high) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    service.end().await;
    Row {
        name: "/coolops status at 20 a second over 200 projects, 4,000 environments, 100,000 builds, 50,000 deployments; median and 99th percentile",
        measured: format!("{middle:.1} ms, {high:.1} ms"),
        target: "99th percentile 100 ms",
        met: high <= 100.0,
    }
}

/// Presses that wait behind one that runs, without and with somebody's lock and rights that name a group, in turns.
pub async fn locked() -> Row {
    let service = Service::begin("sleep 600", 4).await;
    for n in 0..600 {
        service.announce(&format!("press-{n}")).await;
    }
    service.deploy_and_leave_running("runs-on").await;
    let (mut free, mut under) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let times = load::presses(&service, round * 100, 100, 50.0).await;
        if round % 2 == 0 {
            free.extend(times);
            service.writes("lock staging").await;
            service.cli(&[
                "environment",
                "allow",
                "api",
                "Staging",
                "--deploy",
                "S0OPS00001",
                "U0BEN00001",
                "U0CHI00001",
            ]);
        } else {
            under.extend(times);
            service.writes("unlock staging").await;
            service.cli(&["environment", "allow", "api", "Staging", "--deploy", "everybody"]);
        }
    }
    let (with, without) = (median(&mut under), median(&mut free));
    service.end().await;
    Row {
        name: "press → 200 with rights and a lock in force ÷ without, medians",
        measured: format!("{:.2} ({with:.1} ms ÷ {without:.1} ms)", with / without),
        target: "at most 1.1",
        met: with / without <= 1.1,
    }
}

/// From the end of a lock to the start of what waited, against a plain press, in turns.
pub async fn unlock() -> Row {
    let service = Service::begin("sleep 0", 4).await;
    let docker = engine();
    service.deploy("warm-up").await;
    let (mut after, mut plain) = (Vec::new(), Vec::new());
    for n in 0..20 {
        plain.push(service.press_to_start(&format!("plain-{n}"), &docker).await);
        after.push(service.unlock_to_start(&format!("locked-{n}"), &docker).await);
    }
    let (a, b) = (median(&mut after), median(&mut plain));
    service.end().await;
    Row {
        name: "unlock → the next container started ÷ press → started",
        measured: format!("{:.2} ({a:.0} ms ÷ {b:.0} ms)", a / b),
        target: "at most 1.2",
        met: a / b <= 1.2,
    }
}

/// Projects with their environments, builds, and deployments that went well, as events with their rows.
async fn seed(service: &Service) {
    let store = service.store(4).await;
    let id = |n: u128| EventId(Uuid::from_u128((9 << 90) + n));
    for p in 0..PROJECTS {
        let mut append = Append::default();
        let slug = format!("project-{p}");
        let created =
            settings::create(&slug, &slug, "busybox", "C0DEPLOYS1", crate::service::LINK_KEY.to_owned()).unwrap();
        let Event::Settings(SettingsEvent::ProjectCreated(facts)) = &created else { unreachable!("creation creates") };
        let mut now = Project::created(facts);
        append.event(id(p << 8), &created, &Actor::System, 0);
        for e in 0..ENVIRONMENTS {
            let event: Event = EnvironmentCreated {
                project_id: now.id,
                environment_id: environment(p, e),
                name: format!("Environment {e}"),
                position: i32::try_from(e).unwrap(),
            }
            .into();
            now = now.evolve(&event);
            append.event(id((p << 8) + e + 1), &event, &Actor::System, 0);
        }
        append.row(rows::of_project(now));
        store.append(append).await.unwrap();
    }
    let mut pending = futures::stream::iter((0..BUILDS).map(|n| {
        let store = store.clone();
        async move {
            let mut append = Append::default();
            let build = build(n);
            append
                .event(id((n << 16) + (1 << 60)), &build.clone().into(), &Actor::System, 0)
                .row(rows::of_build(&build));
            if n % (BUILDS / DEPLOYMENTS) == 0 {
                let requested = requested(n, &build);
                let log = LogSeal {
                    chunks: 0,
                    lines: 0,
                    bytes: 0,
                    head: String::new(),
                    left_out: LeftOut::default(),
                    gaps: 0,
                };
                let (of, was) = (requested.of, Deployment::requested(&requested));
                let ended: Event = DeploymentSucceeded { of, log }.into();
                append.event(id((n << 16) + (1 << 60) + 1), &requested.into(), &Actor::System, 0);
                append.row(rows::of_deployment(was.clone()));
                store.append(append).await.unwrap();
                append = Append::default();
                append.event(id((n << 16) + (1 << 60) + 2), &ended, &Actor::System, 1);
                append.row(rows::of_deployment(was.evolve(&ended)));
            }
            store.append(append).await.unwrap();
        }
    }))
    .buffer_unordered(64);
    while pending.next().await.is_some() {}
    service.database.execute("analyze").await;
}

fn build(n: u128) -> BuildRegistered {
    let project = ProjectId::of_slug(&format!("project-{}", n % PROJECTS));
    let name = format!("main-{n}");
    BuildRegistered {
        source: None,
        build_id: BuildId::of_name(project, &name),
        project_id: project,
        project_name: format!("project-{}", n % PROJECTS),
        name,
        params: vec![],
        metadata: vec![],
        environments: vec![ButtonFor {
            id: environment(n % PROJECTS, 0),
            name: "Environment 0".into(),
            protected: false,
        }],
        channel: "C0DEPLOYS1".into(),
        public_url: "http://bench".into(),
        link_key: crate::service::LINK_KEY.to_owned(),
        run: None,
    }
}

fn requested(n: u128, build: &BuildRegistered) -> DeploymentRequested {
    DeploymentRequested {
        source: None,
        of: DeploymentOf {
            deployment_id: DeploymentId(Uuid::from_u128((5 << 90) + n)),
            build_id: build.build_id,
            environment_id: environment(n % PROJECTS, n / PROJECTS % ENVIRONMENTS),
            project_id: build.project_id,
        },
        build_name: build.name.clone(),
        environment_name: "Environment".into(),
        requested_by: Person { team: "T1".into(), user: "U1".into(), name: "ana".into() }.into(),
        image: ImageRef::parse("busybox").unwrap(),
        time_limit_minutes: 60,
        log_limit_mebibytes: 16,
        start_patience_minutes: 10,
        stop_grace_seconds: 10,
        unchecked_image: Unchecked::Fail,
        behind: None,
        lock: None,
    }
}
