//! The engine does not answer at the worst moments; a container is started once all the same.

use crate::story::{build, operator, story};

#[test]
fn a_lost_answer_to_create_or_start_never_leads_to_a_second_container_or_start() {
    for method in ["create", "start"] {
        story(async |s| {
            s.ci_announces(build("master-1")).await;
            s.runner.will_lose_the_answer_of(method);
            s.presses("ana", "master-1", "Staging").await;
            assert!(s.channel().contains("*succeeded*"), "{method}: {}", s.channel());
            assert_eq!(s.runner.starts(), [1], "{method}");
        });
    }
}

#[test]
fn an_engine_that_is_away_at_any_step_only_delays() {
    for method in ["create", "start", "look", "wait", "remove"] {
        story(async |s| {
            s.ci_announces(build("master-1")).await;
            for _ in 0..2 {
                s.runner.will_not_answer(method);
            }
            s.presses("ana", "master-1", "Staging").await;
            assert!(s.channel().contains("*succeeded*"), "{method}: {}", s.channel());
            assert_eq!((s.runner.starts(), s.runner.removed()), (vec![1], 1), "{method}");
        });
    }
}

#[test]
fn another_engine_behind_the_same_address_starts_nothing_a_second_time() {
    for method in ["create", "start"] {
        story(async |s| {
            s.ci_announces(build("master-1")).await;
            s.runner.hold();
            s.runner.will_be_replaced_after(method);
            s.only_presses("ana", "master-1", "Staging").await;
            for _ in 0..4 {
                s.a_worker_tries_once().await;
                assert!(
                    s.channel().contains("*starting*"),
                    "{method}: nobody knows yet what it does:\n{}",
                    s.channel()
                );
                assert_eq!(s.runner.variables(), [], "{method}: a container was made on the engine that has come");
            }
            s.runner.is_back();
            s.settle().await;
            assert!(s.channel().contains("*running*"), "{method}:\n{}", s.channel());
            assert_eq!(s.runner.starts(), [1], "{method}");
            s.container_ends("master-1", 0).await;
        });
    }
}

#[test]
fn a_container_is_recorded_on_the_engine_that_it_is_made_on() {
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.will_be_replaced_after("prepare");
        s.presses("ana", "master-1", "Staging").await;
        assert!(s.channel().contains("*succeeded*"), "{}", s.channel());
        let recorded = "select payload->>'engine_id' from event where type = 'deployment_prepared'";
        assert_eq!(s.database.text(recorded).await, "another-engine", "the one that came while the image was fetched");
        assert_eq!(s.runner.starts(), [1]);
    });
}

#[test]
fn what_can_not_be_started_says_why_and_goes_on_when_it_can() {
    const WORDS: &str = "Docker says: could not find an available, non-overlapping IPv4 address pool";
    story(async |s| {
        s.ci_announces(build("master-1")).await;
        s.runner.ails("create", WORDS);
        s.only_presses("ana", "master-1", "Staging").await;
        s.a_worker_tries_once().await;
        assert!(!s.channel().contains("waits"), "what passes at once is not worth a line:\n{}", s.channel());
        s.database.set_clock(6).await;
        s.a_worker_tries_once().await;
        assert!(s.channel().contains(&format!("*starting*, waits, and tries again: {WORDS}")), "{}", s.channel());
        s.database.set_clock(9 * 60).await;
        s.a_worker_tries_once().await;
        s.runner.is_well_again();
        s.settle().await;
        assert!(s.channel().contains("*succeeded*") && !s.channel().contains("waits"), "{}", s.channel());
        assert_eq!(s.runner.starts(), [1]);
    });
}

#[test]
fn what_can_not_be_started_fails_in_dockers_words_when_its_patience_is_over() {
    const WORDS: &str = "Docker says: could not find an available, non-overlapping IPv4 address pool";
    story(async |s| {
        use coolops::domain::settings::ProjectChange;
        s.app.change_project(s.project(), ProjectChange::StartPatience(3), &operator()).await.unwrap();
        s.ci_announces(build("master-1")).await;
        s.ci_announces(build("master-2")).await;
        s.runner.ails("create", WORDS);
        s.only_presses("ana", "master-1", "Staging").await;
        s.a_worker_tries_once().await;
        s.only_presses("ben", "master-2", "Staging").await;
        s.database.set_clock(2 * 60 + 50).await;
        s.a_worker_tries_once().await;
        assert!(!s.channel().contains("*failed*"), "its patience is three minutes:\n{}", s.channel());
        s.database.set_clock(3 * 60 + 10).await;
        s.a_worker_tries_once().await;
        assert!(
            s.channel().contains(&format!("*failed*: the container could not be started: {WORDS}")),
            "{}",
            s.channel()
        );
        s.runner.is_well_again();
        s.settle().await;
        assert!(s.channel().contains("*succeeded*"), "the next one is free to go:\n{}", s.channel());
        assert_eq!(s.runner.starts(), [1]);
    });
}

#[test]
fn output_that_the_engine_gave_up_reading_is_marked() {
    for gives_up in [false, true] {
        story(async |s| {
            s.ci_announces(build("master-1")).await;
            s.runner.will_print(&["one", "two"], 0);
            if gives_up {
                s.runner.will_give_up_reading();
            }
            s.presses("ana", "master-1", "Staging").await;
            let (_, log) = s.get(&s.log_path().replace("?key=", "/raw?key=")).await;
            let mark = "… [output is missing here: the engine stopped reading it 10 s after the container's end]\n";
            assert_eq!(log, format!("one\ntwo\n{}", if gives_up { mark } else { "" }));
            let sealed =
                "select count(*) from event where type = 'deployment_succeeded' and (payload->'log'->>'gaps')::int = 1";
            assert_eq!(s.database.count(sealed).await, i64::from(gives_up), "counted in the end's seal");
        });
    }
}

#[test]
fn an_engine_that_nobody_has_seen_for_ten_minutes_is_given_up_and_no_earlier() {
    use coolops::store::jobs::Via;
    use std::time::Duration;
    story(async |s| {
        let store = &s.app.store;
        let pinned = "insert into job (id, kind, key, wanted, engine) values (gen_random_uuid(), 'run_deployment', gen_random_uuid(), 1, 'gone')";
        s.database.execute(pinned).await;
        // Web faces have no engine, and are alive.
        store.jobs().seen(uuid::Uuid::from_u128(1), None).await.unwrap();
        let kinds = coolops::jobs::RUNNER_KINDS;
        let claim = async |engine: &str| {
            store.jobs().reap().await.unwrap();
            store.jobs().claim(kinds, uuid::Uuid::from_u128(2), Some(engine), Via::Sweep, Duration::ZERO).await.unwrap()
        };
        assert!(claim("other").await.is_none(), "it may come back");
        s.database.set_clock(9 * 60).await;
        assert!(claim("other").await.is_none(), "it may still come back");
        s.database.set_clock(11 * 60).await;
        let given_up = claim("other").await.expect("nobody has seen it for ten minutes");
        assert!(store.jobs().engine_is_gone(&given_up).await.unwrap());
        store.jobs().complete(&given_up).await.unwrap();
    });
}

#[test]
fn an_answer_of_docker_that_can_not_be_read_is_no_answer() {
    use std::sync::{Arc, Mutex};

    use coolops::domain::ids::DeploymentId;
    use coolops::runner::docker::DockerRunner;
    use coolops::runner::{Runner, Trouble};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let says = Arc::new(Mutex::new(""));
        let socket = std::env::temp_dir().join(format!("docker-{}.sock", crate::story::random_name()));
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let answer = Arc::clone(&says);
        let router = axum::Router::new().fallback(async move || *answer.lock().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let runner = DockerRunner::connect(Some(&format!("unix://{}", socket.display()))).unwrap();
        let id = DeploymentId(uuid::Uuid::from_u128(7));
        for nonsense in [
            "",
            "surprise",
            "[]",
            "{}",
            r#"{"Id":7}"#,
            r#"{"Id":"a","Config":{"Labels":{}}}"#,
            r#"{"Id":"a","State":{"Status":"what"}}"#,
        ] {
            *says.lock().unwrap() = nonsense;
            let looked = runner.look("coolops-7", id).await;
            assert!(matches!(looked, Err(Trouble::Engine(_))), "{nonsense}: {looked:?}");
            assert!(runner.engine_id().await.is_err(), "{nonsense}");
        }
        server.abort();
        std::fs::remove_file(&socket).unwrap();
    });
}
