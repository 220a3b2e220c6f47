//! Rows that lists and look-ups use, and what people are called.

use coolops::app::finding::Kind;

use super::found;

#[test]
fn a_projection_is_edited() {
    found(Kind::ChangedRow, async |s, _| {
        s.database
            .execute("update project set doc = replace(doc::text, doc->>'image', 'evil.example/steal:1')::json")
            .await;
        // The last event that its row is made of.
        Some(s.database.count("select max(position) from event where stream_type in ('project', 'environment')").await)
    });
}

#[test]
fn what_stands_beside_the_text_of_a_row_is_edited() {
    // Lists and look-ups go by these columns.
    for column in ["slug = 'other'", "position = position - 1"] {
        found(Kind::ChangedRow, async |s, _| {
            assert_eq!(s.database.execute(&format!("update project set {column}")).await, 1);
            Some(
                s.database
                    .count("select max(position) from event where stream_type in ('project', 'environment')")
                    .await,
            )
        });
    }
    // Whoever waits is pushed ahead, or does not hold their environment any more.
    for column in ["requested = 1", "state = 'succeeded'", "since = since - 1"] {
        found(Kind::ChangedRow, async |s, _| {
            s.only_presses("ben", "master-1", "Staging").await;
            let waiting = "(select stream_id from event where position = (select max(position) from event where type = 'deployment_requested'))";
            let edited = format!("update deployment set {column} where id = {waiting}");
            assert_eq!(s.database.execute(&edited).await, 1);
            Some(s.database.count(&format!("select max(position) from event where stream_id = {waiting}")).await)
        });
    }
}

#[test]
fn the_row_of_a_deployment_that_is_over_is_edited() {
    found(Kind::ChangedRow, async |s, _| {
        let edited = "update deployment set doc = replace(doc::text, 'ana', 'eve')::json where doc::text like '%ana%'";
        assert_eq!(s.database.execute(edited).await, 1);
        Some(s.database.count("select max(position) from event where stream_id = (select id from deployment where doc::text like '%eve%')").await)
    });
}

#[test]
fn the_row_of_a_build_is_deleted() {
    found(Kind::ChangedRow, async |s, _| {
        let build = s.database.text("select id::text from build").await;
        s.database.execute("delete from build").await;
        Some(s.database.count(&format!("select max(position) from event where stream_id = '{build}'")).await)
    });
}

#[test]
fn the_row_of_a_token_is_deleted() {
    found(Kind::ChangedRow, async |s, _| {
        assert_eq!(s.database.execute("delete from token").await, 1);
        Some(s.database.count("select max(position) from event where stream_type in ('project', 'environment')").await)
    });
}

#[test]
fn somebody_is_called_otherwise_where_their_key_is() {
    found(Kind::ChangedRow, async |s, _| {
        s.database.execute("update subject_key set name = 'eve' where name = 'ana'").await;
        let (code, _, said) = s.coolops(&["person", "erase", "eve", "--reason", "x"]);
        assert!(code == 1 && said.contains("no event calls U0ANA00001 eve"), "{said}");
        None
    });
}

#[test]
fn an_operator_has_a_name_where_their_key_is() {
    found(Kind::ChangedRow, async |s, _| {
        s.database.execute("update subject_key set name = 'eve' where kind = 'operator'").await;
        None
    });
}

#[test]
fn a_boundary_is_set_back() {
    found(Kind::ChangedRow, async |s, _| {
        let moved = s.database.count("select max(position) from boundary").await;
        let back = format!("update boundary set position = position - 1 where position = {moved}");
        assert_eq!(s.database.execute(&back).await, 1);
        Some(moved)
    });
}
