//! The engine does not answer at the worst moments; a container is started once all the same.

use crate::story::{build, story};

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
fn an_engine_that_nobody_has_seen_for_ten_minutes_is_given_up_and_no_earlier() {
    use coolops::store::jobs::Via;
    use std::time::Duration;
    story(async |s| {
        let store = &s.app.store;
        let pinned =
            "insert into job (id, kind, key, wanted, engine) values (gen_random_uuid(), 'run_deployment', gen_random_uuid(), 1, 'gone')";
        s.database.execute(pinned).await;
        // Web faces have no engine, and are alive.
        store.seen(uuid::Uuid::from_u128(1), None).await.unwrap();
        let kinds = coolops::jobs::runner_kinds();
        let claim = async |engine: &str| {
            store.reap().await.unwrap();
            store.claim(&kinds, uuid::Uuid::from_u128(2), Some(engine), Via::Sweep, Duration::ZERO).await.unwrap()
        };
        assert!(claim("other").await.is_none(), "it may come back");
        s.database.set_clock(9 * 60).await;
        assert!(claim("other").await.is_none(), "it may still come back");
        s.database.set_clock(11 * 60).await;
        let given_up = claim("other").await.expect("nobody has seen it for ten minutes");
        assert!(store.engine_is_gone(&given_up).await.unwrap());
        store.complete(&given_up).await.unwrap();
    });
}
