//! More than twenty kinds of tampering by somebody with full power over the database, and over what is kept beside it: each is
//! found, with its kind and the first event that it concerns.

mod checkpoints;
mod guards;
mod log;
mod messages;
mod output;
mod rows;

use coolops::app::finding::Kind;

use crate::story::anchored::Anchored;
use crate::story::{Story, build, story};

/// A log that was signed twice: up to where `before` says, and to its end.
struct Signed {
    anchored: Anchored,
    before: i64,
    end: i64,
}

/// Two deployments with output; a checkpoint between them, and one at the end.
async fn signed(s: &mut Story) -> Signed {
    let anchored = Anchored::new(s);
    s.ci_announces(build("master-1")).await;
    s.runner.will_print(&["one", "two"], 0);
    s.presses("ana", "master-1", "Staging").await;
    let before = anchored.signs().await as i64;
    s.runner.will_print(&["three", "four"], 0);
    s.presses("ben", "master-1", "Production").await;
    let end = anchored.signs().await as i64;
    assert_eq!(anchored.app.audit(true).await.unwrap().findings, []);
    s.tampered = true;
    Signed { anchored, before, end }
}

const OFF: &str = "alter table event disable trigger all; alter table log_chunk disable trigger all;";
const ON: &str = "alter table event enable always trigger event_is_append_only; alter table event enable always trigger event_is_never_truncated;
                  alter table log_chunk enable always trigger log_chunk_is_append_only; alter table log_chunk enable always trigger log_chunk_is_never_truncated;";
/// Computes every hash anew, as somebody would who knows how.
pub const RECHAIN: &str = r"do $$ declare h bytea := sha256('coolops-genesis'); b bytea; r record; begin
    for r in select * from event order by position loop
      b := sha256('\x00'::bytea || convert_to(r.payload::text, 'UTF8'));
      h := sha256('\x01'::bytea || h || int8send(r.position) || timestamptz_send(r.recorded_at)
             || item_hash(r.event_id, r.tenant_id, r.stream_type, r.stream_id, r.stream_version, r.type, r.schema_version, r.actor::text, r.correlation_id, r.causation_id, r.fence, b));
      update event set body_hash = b, chain_hash = h where position = r.position;
    end loop;
    update event_head set chain_hash = h, position = (select max(position) from event);
  end $$;";

/// What was done while nobody looked is found, and is of that kind; the position follows from the log's own. Only what the
/// database lets happen from now on has none.
fn found(kind: Kind, tamper: impl AsyncFnOnce(&Story, &Signed) -> Option<i64>) {
    story(async |s| {
        let signed = signed(s).await;
        let position = tamper(s, &signed).await;
        let report = signed.anchored.app.audit(true).await.unwrap();
        let of_kind: Vec<_> = report.findings.iter().filter(|finding| finding.kind == kind).collect();
        assert!(!of_kind.is_empty(), "{kind:?} is not among {:#?}", report.findings);
        assert_eq!(of_kind[0].position, position, "{:#?}", report.findings);
        // It is told to people too, with an exit code.
        let (code, said, _) = s.coolops_with(&["audit", "verify"], &signed.anchored.variables());
        let at = position.map(|position| format!(", at {position}")).unwrap_or_default();
        let told = format!("CHANGED  {} ({}{at})", of_kind[0].said, kind.as_str());
        assert!(code == 1 && said.contains(&told), "{told}:\n{said}");
    });
}

async fn changes(s: &Story, statement: &str) {
    s.database.execute(&format!("{OFF} {statement}; {ON}")).await;
}
