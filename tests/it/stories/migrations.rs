//! Migrations, one after the other, over a log that has every event there is.

use std::borrow::Cow;

use coolops::domain::event::{Actor, Event, contract};
use coolops::domain::upcast::STEPS;
use coolops::store::{MIGRATOR, Store, migrate};
use sha2::{Digest, Sha256};
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};

use crate::story::database::Database;

/// The migrations that were on main, as they were. One that is here is never edited: add another one.
const RELEASED: &[(&str, &str)] = &[
    ("20261122100000", "07161fe121f7e7e1"),
    ("20261122100100", "843f7e2b4ff830db"),
    ("20261122100200", "bd5c6b72ebb6dfcc"),
    ("20261122100300", "6b4bfcf49bd3b2ce"),
    ("20261126100000", "17a9fb39d319b147"),
    ("20261126210000", "37936a318b6a658d"),
    ("20261127100000", "c410d10b2f929398"),
    ("20261127100100", "0563760eac0afbd8"),
    ("20261127110000", "8034da72c2c649ea"),
    ("20261127120000", "60ee1bd2eb85773a"),
    ("20261127130000", "cabbf176d18d361c"),
    ("20261127140000", "c5344d1a334ca98b"),
    ("20261127150000", "36e6f1bde7cffd68"),
    ("20261127160000", "11ce248c067ede8f"),
    ("20261127160100", "4469302f8057d70f"),
    ("20261127160200", "9d06c338348f7078"),
    ("20261127160300", "16bf85239a593035"),
    ("20261127200000", "60fcccb4659e03e9"),
    ("20261127200100", "3439fa1d0f55c0d6"),
    ("20261127200200", "e007d0fdf9ab1d88"),
    ("20261127220000", "d90c49ea7f72fbbd"),
    ("20261127220100", "781e590768896027"),
    ("20261128010000", "809b63546c5c4d7a"),
    ("20261128050000", "4be516c172870d77"),
    ("20261128060000", "780b6d5e5477278e"),
    ("20261128070000", "637cc2920aadac62"),
    ("20261128080000", "baf70f318866ed25"),
    ("20261128090000", "b2eb227883fa7c4b"),
    ("20261128100000", "95c5ecb4e92f6012"),
    ("20261128110000", "a927faff6f5631fa"),
    ("20261128110100", "91dcc2340ca8cd35"),
    ("20261128110200", "752c1d263949249a"),
    ("20261128110300", "0233dc857ff2b4d6"),
    ("20261128120000", "d776eab8a1b9c240"),
    ("20261128120100", "d8f77550c0c4a04c"),
    ("20261128120200", "3a41b1a4ed2c588b"),
    ("20261128120300", "2c320ccedee7e52d"),
    ("20261129120000", "564d1a39d5457feb"),
    ("20261129130000", "f26c7a77df57faa6"),
    ("20261129130100", "86b41b29ebb728bd"),
    ("20261129130200", "89815b86c664e5ab"),
    ("20261129140000", "52ced3dedd24210a"),
    ("20261129140100", "9273d7c7fd9a76e8"),
];

#[test]
fn a_migration_that_was_released_is_never_edited() {
    let digest = |sql: &str| hex::encode(&Sha256::digest(sql.as_bytes())[..8]);
    let now: Vec<_> = MIGRATOR.iter().map(|m| (m.version.to_string(), digest(m.sql.as_str()))).collect();
    let released: Vec<_> = RELEASED.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(now, released, "add a migration instead of editing one, and add its line here");
}

#[test]
fn the_functions_that_a_fresh_database_has_are_those_that_verify_knows() {
    crate::story::story(async |s| {
        assert_eq!(s.app.store.unguarded().await.unwrap(), Vec::<String>::new());
        let functions =
            "select string_agg(proname, ' ' order by proname) from pg_proc where pronamespace = 'public'::regnamespace";
        assert_eq!(
            s.database.text(functions).await,
            "append_batch append_log_chunk close_log coolops_app_role coolops_now coolops_reader_role erase_output forbid_change forget_report_text \
             holds holds_environment item_hash keep_clock keep_output keep_witnessed",
            "a new one is looked at by store/guards.rs"
        );
    });
}

/// Writes every example under `events/`, those of versions before too, as the owner, who may.
async fn write_every_example(connection: &mut PgConnection) -> i64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/events");
    let before = STEPS.iter().map(|(kind, version, _)| (*kind, *version));
    let mut position = 0;
    for (kind, version) in contract().iter().map(|c| (c.name, c.version)).chain(before) {
        if kind == "deployment_logged" {
            continue;
        }
        let payload = std::fs::read_to_string(format!("{folder}/{kind}/v{version}.example.json")).unwrap();
        let address = Event::parse(kind, version, &payload).unwrap().address();
        position += 1;
        sqlx::query(
            "insert into event (position, event_id, tenant_id, stream_id, correlation_id, recorded_at, stream_version, schema_version,
                                stream_type, type, actor, payload, body_hash, chain_hash)
             select $1, gen_random_uuid(), '00000000-0000-0000-0000-000000000000', $2, $3, '2026-01-01', coalesce(max(stream_version), 0) + 1, $4,
                    $5, $6, $8::json, $7::json, sha256('\\x00'::bytea || convert_to($7, 'UTF8')), sha256('')
               from event where stream_id = $2",
        )
        .bind(position)
        .bind(address.stream)
        .bind(address.correlation)
        .bind(version)
        .bind(address.kind.as_str())
        .bind(kind)
        .bind(&payload)
        .bind(serde_json::to_string(&Actor::System).unwrap())
        .execute(&mut *connection)
        .await
        .unwrap();
    }
    position
}

#[tokio::test]
async fn each_migration_is_applied_over_a_log_with_every_event_and_the_program_reads_them_all() {
    let database = Database::empty().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let all: Vec<_> = MIGRATOR.iter().cloned().collect();
    let mut written = 0;
    for n in 1..=all.len() {
        let until = Migrator { migrations: Cow::Owned(all[..n].to_vec()), ..Migrator::DEFAULT };
        until.run_direct(None, &mut connection, false).await.unwrap();
        if n == 1 {
            written = write_every_example(&mut connection).await;
        }
    }
    assert!(written > 40, "{written}");
    connection.close().await.unwrap();
    migrate(&database.url).await.unwrap();
    let store = Store::open(&database.url, 1).await.unwrap();
    let read = store.log().after(0, written + 1).await.unwrap();
    assert_eq!(read.len() as i64, written);
    for event in read {
        event.unwrap();
    }
    database.drop().await;
}

#[test]
fn deployments_are_found_by_who_pressed_without_looking_through_all() {
    crate::story::story(async |s| {
        let mut owner = s.database.owner().await;
        sqlx::raw_sql("set enable_seqscan = off").execute(&mut owner).await.unwrap();
        // As store/history.rs asks.
        let asked = "explain select d.id from deployment d where d.requested < 9 and lower(d.requested_by) = lower('Ana') collate \"C\"
                      order by d.requested desc limit 5";
        let plan = sqlx::query_scalar::<_, String>(asked).fetch_all(&mut owner).await.unwrap().join("\n");
        assert!(plan.contains("deployment_of_presser") && plan.contains("Index Cond: ((lower(requested_by)"), "{plan}");
        owner.close().await.unwrap();
    });
}
