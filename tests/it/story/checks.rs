//! What every story is checked for when it has been told: messages, events, rows and owed work are what the log says.

use coolops::projections::build_card::BuildCard;
use coolops::slack::render;

use super::schema::Schema;
use super::{Story, invariants, read};

impl Story {
    /// What every story is checked for when it has been told.
    pub(super) async fn end(&self) {
        if self.tampered {
            return;
        }
        self.settle().await;
        let report = self.app.audit(true).await.unwrap();
        assert_eq!(report.findings, []);
        self.every_message_is_what_the_log_says().await;
        self.every_event_fits_the_contract().await;
        self.every_event_says_what_it_follows_from().await;
        invariants::who_waits_waits_behind_somebody(&self.database).await;
        assert_eq!(self.app.store.jobs().missing().await.unwrap(), [], "work is owed that no job stands for");
        let rebuilt = self.app.rebuild().await.unwrap();
        for table in &rebuilt.tables {
            assert_eq!((table.removed, table.written), (0, 0), "{} differs from the fold of the log", table.table);
        }
        assert_eq!(rebuilt.work_found, 0, "work was owed that no job stood for");
    }

    async fn every_message_is_what_the_log_says(&self) {
        let (messages, calls) = {
            let workspace = self.standin.workspace();
            let all = workspace.channels[0].messages.iter().filter(|m| m.only_for.is_none());
            let messages: Vec<(String, String)> =
                all.filter_map(|m| Some((m.ts.clone(), read::build_of(m)?.to_owned()))).collect();
            let mut reports = read::reports(&workspace);
            reports.sort();
            let told = reports.len();
            reports.dedup();
            assert_eq!(reports.len(), told, "somebody was told twice");
            (messages, workspace.calls.clone())
        };
        for (ts, build) in &messages {
            assert_eq!(messages.iter().filter(|(_, b)| b == build).count(), 1, "two messages of one build");
            let events = self.app.store.log().build(build.parse().unwrap()).await.unwrap();
            let card = BuildCard::fold(&events).unwrap();
            let bytes = render::render(&card, &self.app.keys.links(&card.link_key).unwrap()).bytes();
            let about =
                |c: &&coolops_lab::standin::workspace::Call| c.arguments["ts"] == **ts || c.answer["ts"] == **ts;
            let last = calls.iter().filter(|c| c.method.starts_with("chat.")).rfind(about).unwrap();
            let inner = &bytes[1..bytes.len() - 1];
            assert!(last.raw.contains(inner), "rendered anew:\n{inner}\nlast sent:\n{}", last.raw);
        }
    }

    async fn every_event_says_what_it_follows_from(&self) {
        let without = "select count(*) from event e where e.causation_id is null
                          and (e.stream_version > 1 or exists (select from event b where b.stream_id = e.correlation_id and b.position < e.position))";
        assert_eq!(self.database.count(without).await, 0, "something follows from nothing");
        let later = "select count(*) from event e left join event c on c.event_id = e.causation_id
                      where e.causation_id is not null and (c.position is null or c.position >= e.position)";
        assert_eq!(self.database.count(later).await, 0, "something follows from what came later");
    }

    async fn every_event_fits_the_contract(&self) {
        let actors = Schema::published("actor.schema.json");
        let mut schemas = std::collections::HashMap::new();
        for recorded in self.app.store.log().after(0, 100_000).await.unwrap().into_iter().map(Result::unwrap) {
            let (kind, version) = recorded.event.kind();
            let payload = serde_json::to_value(&recorded.event).unwrap();
            let actor = serde_json::to_value(&recorded.actor).unwrap();
            assert_eq!(actors.misfit(&actor), None, "the actor {actor} does not fit its schema");
            let path = format!("{kind}/v{version}.schema.json");
            let schema = schemas.entry((kind, version)).or_insert_with(|| Schema::published(&path));
            assert_eq!(
                schema.misfit(&payload),
                None,
                "event {} does not fit events/{path}\n{payload}",
                recorded.position
            );
        }
    }
}
