//! What Slack was sent, and which message is edited.

use coolops::app::finding::Kind;

use super::found;

#[test]
fn what_slack_was_sent_is_gone_from_its_row() {
    for column in ["sent_payload", "render_version"] {
        found(Kind::ChangedMessage, async |s, _| {
            assert_eq!(s.database.execute(&format!("update slack_message set {column} = null")).await, 1);
            Some(s.database.count("select sent_position from slack_message").await)
        });
    }
}

#[test]
fn what_slack_was_sent_is_edited() {
    found(Kind::ChangedMessage, async |s, _| {
        s.database
            .execute("update slack_message set sent_payload = replace(sent_payload, 'succeeded', 'succeedad')")
            .await;
        Some(
            s.database
                .count("select min(sent_position) from slack_message where sent_payload like '%succeedad%'")
                .await,
        )
    });
}

#[test]
fn of_several_columns_of_a_message_that_were_edited_the_one_is_told_that_tells_most() {
    for (columns, told) in [
        ("sent_payload = sent_payload || ' '", "sent_payload"),
        // Its code is not that of such a row any more either.
        ("sent_payload = sent_payload || ' ', render_version = 1", "sent_payload"),
        ("sent_payload = null, render_version = 1", "sent_payload"),
        ("render_version = 1", "sent_code"),
        ("render_version = null", "render_version"),
        ("sent_payload = sent_payload || ' ', state = 'gone'", "state"),
    ] {
        found(Kind::ChangedMessage, async |s, signed| {
            assert_eq!(s.database.execute(&format!("update slack_message set {columns}")).await, 1);
            let report = signed.anchored.app.audit(false).await.unwrap();
            let build = s.database.text("select build_id::text from slack_message").await;
            let said: Vec<_> = report.findings.iter().map(|finding| finding.said.as_str()).collect();
            assert_eq!(said, [format!("message of build {build}: {told}")], "{columns}");
            Some(s.database.count("select sent_position from slack_message").await)
        });
    }
}

#[test]
fn what_slack_was_sent_is_edited_together_with_what_tells_of_it() {
    let digest = "sent_digest = sha256(convert_to(replace(sent_payload, 'succeeded', 'failed'), 'UTF8')), sent_payload = replace(sent_payload, 'succeeded', 'failed')";
    for columns in [
        digest.to_owned(),
        // As if it were from before rows had codes, or its code from another row.
        format!("{digest}, sent_code = null"),
        format!("{digest}, sent_code = substr(sent_code, 1, 4) || sha256(convert_to(sent_payload, 'UTF8'))"),
        // As if another version of the renderer had made it, which nobody can ask.
        format!("{digest}, render_version = 1"),
        "render_version = 1".to_owned(),
        "plain = not plain".to_owned(),
        format!(
            "{digest}; update job set state = 'ready', run_at = clock_timestamp() + interval '1 h' where kind = 'sync_message'"
        ),
        format!(
            "{digest}, sent_code = null; update job set state = 'ready', run_at = '2999-01-01' where kind = 'sync_message'"
        ),
        "sent_position = sent_position - 1".to_owned(),
    ] {
        found(Kind::ChangedMessage, async |s, _| {
            assert_ne!(s.database.execute(&format!("update slack_message set {columns}")).await, 0, "{columns}");
            Some(s.database.count("select sent_position from slack_message").await)
        });
    }
}

#[test]
fn a_message_is_said_to_be_gone_or_in_the_way_of_something_or_its_row_is_deleted() {
    for harm in [
        "delete from slack_message",
        "update slack_message set state = 'blocked', problem = 'is_archived'",
        "update slack_message set ts = null",
        "update slack_message set sent_digest = null",
        "update slack_message set sent_digest = null, sent_payload = 'something else'",
    ] {
        found(Kind::ChangedMessage, async |s, _| {
            assert_eq!(s.database.execute(harm).await, 1);
            Some(s.database.count("select max(position) from event where type = 'message_posted'").await)
        });
    }
    for state in ["gone", "posting"] {
        found(Kind::ChangedMessage, async |s, _| {
            assert_eq!(s.database.execute(&format!("update slack_message set state = '{state}'")).await, 1);
            Some(s.database.count("select sent_position from slack_message").await)
        });
    }
}

#[test]
fn another_message_than_the_build_s_is_edited() {
    found(Kind::ChangedMessage, async |s, _| {
        s.database.execute("update slack_message set ts = '1.000001'").await;
        Some(s.database.count("select max(position) from event where type = 'message_posted'").await)
    });
}
