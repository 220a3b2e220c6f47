//! What deployments printed.

use coolops::app::finding::Kind;

use super::{changes, found};

#[test]
fn output_is_edited() {
    found(Kind::ChangedOutput, async |s, _| {
        // The event that seals it.
        let seal = "select min(position) from (select max(position) as position from event where stream_id in (select deployment_id from log_chunk) group by stream_id) e";
        let seal = s.database.count(seal).await;
        changes(s, "update log_chunk set body = set_byte(body, length(body) - 5, (get_byte(body, length(body) - 5) + 1) % 256)").await;
        Some(seal)
    });
}

#[test]
fn output_is_deleted() {
    found(Kind::ChangedOutput, async |s, _| {
        // The event that seals it.
        let seal = "select min(position) from (select max(position) as position from event where stream_id in (select deployment_id from log_chunk) group by stream_id) e";
        let seal = s.database.count(seal).await;
        changes(s, "delete from log_chunk").await;
        Some(seal)
    });
}

#[test]
fn output_is_put_under_a_deployment_that_never_printed() {
    found(Kind::ChangedOutput, async |s, _| {
        // Its inner chain is right, and no event of an end seals it.
        changes(
            s,
            "insert into log_chunk select (json_populate_record(c, json_build_object('deployment_id', id, 'chain_hash',
                 sha256('\\x03'::bytea || sha256('coolops-journal'::bytea || uuid_send(id)) || convert_to(c.envelope::text, 'UTF8'))))).*
               from log_chunk c cross join (values ('00000000-0000-4000-8000-000000000007'::uuid)) planted (id) where c.chunk_no = 0 limit 1",
        )
        .await;
        let (_, told, _) = s.coolops(&["audit", "verify"]);
        let unsealed = "log of deployment 00000000-0000-4000-8000-000000000007: no event of its end seals it";
        assert!(told.contains(unsealed), "{told}");
        None
    });
}

#[test]
fn the_output_of_two_deployments_is_swapped() {
    found(Kind::ChangedOutput, async |s, _| {
        // The event that seals it.
        let seal = "select min(position) from (select max(position) as position from event where stream_id in (select deployment_id from log_chunk) group by stream_id) e";
        let seal = s.database.count(seal).await;
        changes(s, "update log_chunk set chunk_no = chunk_no + 100 where deployment_id = (select min(deployment_id::text)::uuid from log_chunk);
                    update log_chunk set deployment_id = (select min(deployment_id::text)::uuid from log_chunk) where chunk_no < 100;
                    update log_chunk set deployment_id = (select id from deployment where id not in (select deployment_id from log_chunk) limit 1), chunk_no = chunk_no - 100 where chunk_no >= 100").await;
        Some(seal)
    });
}
