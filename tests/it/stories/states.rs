//! What the words for a deployment's state mean is said once in Rust and once in SQL, and both say the same.

use coolops::domain::deployment::State;
use sqlx::{Connection, Row};

use crate::story::story;

#[test]
fn the_database_means_the_same_by_each_state() {
    story(async |s| {
        let mut owner = s.database.owner().await;
        sqlx::raw_sql("create temp table one (like deployment including generated)").execute(&mut owner).await.unwrap();
        for state in State::ALL {
            let insert = "insert into one (id, build_id, environment_id, project_id, requested, position, since, state, requested_by, doc)
                          values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 1, 1, $1, 'ana', '{}')
                          returning holds, is_open, is_worked_on, has_not_begun";
            let row = sqlx::query(insert).bind(state.as_str()).fetch_one(&mut owner).await.unwrap();
            let said: Vec<bool> = (0..4).map(|n| row.get(n)).collect();
            assert_eq!(
                said,
                [state.holds(), state.is_open(), state.is_worked_on(), state.has_not_begun()],
                "{state:?}"
            );
            assert_ne!(state.is_open(), state.is_over(), "{state:?}");
        }
        owner.close().await.unwrap();
    });
}

#[test]
fn what_holds_an_environment_is_part_of_each_statement_that_asks() {
    story(async |s| {
        let mut owner = s.database.owner().await;
        // A call for every row and every column made of it cost a replay a fifth of its time.
        let plan = sqlx::query_scalar::<_, String>("explain verbose select holds_environment(state) from deployment");
        let plan = plan.fetch_all(&mut owner).await.unwrap().join("\n");
        assert!(plan.contains("ready") && !plan.contains("holds_environment"), "{plan}");
        owner.close().await.unwrap();
    });
}
