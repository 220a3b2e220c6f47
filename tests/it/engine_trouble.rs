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
