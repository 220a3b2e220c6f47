//! What people's own tools read: the views, under a role that reads nothing else.

use sqlx::{AssertSqlSafe, Connection};

use super::history::three;
use crate::snapshot;
use crate::story::story;

#[test]
fn people_s_own_tools_read_the_views_and_nothing_else() {
    story(async |s| {
        three(s).await;
        let mut owner = s.database.owner().await;
        let role: String = sqlx::query_scalar("select coolops_reader_role()").fetch_one(&mut owner).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("set role {role}"))).execute(&mut owner).await.unwrap();
        let row: (String, String, String, Option<String>) = sqlx::query_as(
            "select environment, build, state, replaces from history_deployments order by position desc limit 1",
        )
        .fetch_one(&mut owner)
        .await
        .unwrap();
        assert_eq!(row, ("Staging".into(), "fix-3".into(), "succeeded".into(), Some("master-1".into())));
        let events: i64 =
            sqlx::query_scalar("select count(*) from history_events").fetch_one(&mut owner).await.unwrap();
        assert!(events > 15);
        let messages: i64 = sqlx::query_scalar("select count(*) from history_messages where state = 'live'")
            .fetch_one(&mut owner)
            .await
            .unwrap();
        assert_eq!(messages, 3);
        let columns = "select table_name || '.' || column_name || ' ' || data_type, '' from information_schema.columns
                        where table_name like 'history%' order by table_name, ordinal_position";
        let columns: Vec<String> = s.database.pairs(columns).await.into_iter().map(|(column, _)| column).collect();
        // None is ever taken away or given another meaning.
        snapshot!("columns_of_the_history_views", columns.join("\n"));
        let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/HISTORY.md")).unwrap();
        for column in &columns {
            let name = column.split_once('.').unwrap().1.split(' ').next().unwrap();
            assert!(guide.contains(&format!("`{name}`")), "docs/HISTORY.md does not tell of {column}");
        }
        let readable = "select string_agg(relname, ' ' order by relname) from pg_class where relnamespace = 'public'::regnamespace
                          and relkind in ('r', 'v', 'm', 'p') and has_table_privilege(coolops_reader_role(), oid, 'select')";
        assert_eq!(s.database.text(readable).await, "history_deployments history_events history_messages");
        for hidden in ["secret_value", "token", "event", "project", "ci_delivery", "slack_person", "log_chunk", "job"] {
            let refused = sqlx::raw_sql(AssertSqlSafe(format!("select * from {hidden}"))).execute(&mut owner).await;
            assert!(refused.unwrap_err().to_string().contains("permission denied"), "{hidden} can be read");
        }
        // Every column is documented where tools show it.
        sqlx::raw_sql("reset role").execute(&mut owner).await.unwrap();
        let bare: Vec<String> = sqlx::query_scalar(
            "select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
              where c.relname like 'history\\_%' and c.relkind = 'v' and a.attnum > 0 and col_description(c.oid, a.attnum) is null",
        )
        .fetch_all(&mut owner)
        .await
        .unwrap();
        assert_eq!(bare, Vec::<String>::new());
        owner.close().await.unwrap();
    });
}
