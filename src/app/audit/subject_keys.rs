//! Whether the keys of private texts are there, are gone where an event says so, and call people what events call them.

use std::collections::{BTreeMap, HashSet};

use super::{Report, Trust};
use crate::app::App;
use crate::app::finding::{Finding, Kind};
use crate::domain::event::{Event, InstallationEvent};
use crate::domain::ids::SubjectKeyId;
use crate::store::copy_out::{Row, Snapshot};

/// What the log says of keys so far.
#[derive(Default)]
pub(super) struct SubjectKeys {
    /// Keys that are not there, and the first event that needs each.
    missing: BTreeMap<SubjectKeyId, i64>,
    /// Keys that were changed.
    changed: HashSet<SubjectKeyId>,
    /// Keys of which an event says that they were destroyed.
    destroyed: HashSet<SubjectKeyId>,
    /// Keys that somebody was at destroying at the moment of the events.
    being_erased: Vec<SubjectKeyId>,
    /// Keys whose rows call somebody what nothing that was read does: the keys, the id, the name.
    misnamed: Vec<(Vec<SubjectKeyId>, String, String)>,
}

impl SubjectKeys {
    /// Whether a key of texts in a row was changed, which is told once.
    pub(super) fn is_changed(&mut self, row: &Row<'_>, report: &mut Report) -> bool {
        let Some(key) = row.changed_key() else { return false };
        if self.changed.insert(key) {
            let said = format!(
                "event {}: the key {key} of private texts in it was changed, and opens nothing; restore subject_key from a dump",
                row.position
            );
            report.find(Finding::at(Kind::MissingKey, row.position, said));
        }
        true
    }

    /// Whether any key was changed: texts under it open to nothing.
    pub(super) fn are_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// One more event, which was opened.
    pub(super) fn event(&mut self, row: &Row<'_>, event: &Event) {
        let missing = row.missing_keys();
        // What somebody chose is under a key that no event of an erasure names: that would lead from one to the other.
        if !matches!(event, Event::NotificationsChosen(_)) {
            for key in missing {
                self.missing.entry(key).or_insert(row.position);
            }
        }
        match event {
            Event::OutputErased(e) => self.destroyed.extend(e.key),
            Event::Installation(InstallationEvent::PersonErased(e)) => {
                self.destroyed.insert(e.key);
                self.destroyed.extend(&e.others);
            }
            _ => {}
        }
    }

    /// Looks up what else the moment of the events says of keys. Names are compared where everything could be opened.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn look_up(&mut self, snapshot: &mut Snapshot, trust: Trust) -> Result<(), sqlx::Error> {
        if trust.is_sound {
            self.being_erased = snapshot.keys_being_erased().await?;
        }
        if trust.is_sound && trust.is_comparable {
            self.misnamed = snapshot.misnamed().await?;
        }
        Ok(())
    }

    /// Tells which keys are not as the log says, and comes back with whether somebody is at erasing something: then rows and
    /// texts may be of before and after it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn check(self, app: &App, trust: Trust, report: &mut Report) -> Result<bool, sqlx::Error> {
        let Self { missing, destroyed, being_erased, misnamed, .. } = self;
        // Which were destroyed is known where the log was read to its end.
        for (key, position) in missing.iter().filter(|(key, _)| trust.is_sound && !destroyed.contains(key)) {
            let said = format!(
                "event {position}: the key {key} of private texts in it is gone, and no event says that it was destroyed; restore subject_key from a dump"
            );
            report.find(Finding::at(Kind::MissingKey, *position, said));
        }
        for (keys, id, name) in misnamed {
            // It may be on its way into the log.
            if !app.store.subjects().is_called(&keys, &name).await? {
                let said = format!(
                    "subject_key calls {id} {name}, and no event does; what somebody is erased by is their id (coolops person list)"
                );
                report.find(Finding::of(Kind::ChangedRow, said));
            }
        }
        let destroyed: Vec<SubjectKeyId> = destroyed.into_iter().collect();
        let kept = app.store.subjects().there(&destroyed).await?;
        // Where a key is gone and nobody has come to the end of that, rows are being made anew.
        let erased_since = app.store.jobs().keys_being_erased().await?;
        let being_erased: HashSet<SubjectKeyId> = being_erased.into_iter().chain(erased_since).collect();
        for key in kept.iter().filter(|key| !being_erased.contains(key)) {
            let said = format!(
                "the key {key} of private texts was destroyed, an event says, and it is there; a running coolops destroys it again within minutes"
            );
            report.find(Finding::of(Kind::KeptKey, said));
        }
        let being_erased: Vec<SubjectKeyId> = being_erased.into_iter().collect();
        Ok(app.store.subjects().there(&being_erased).await?.len() < being_erased.len())
    }
}
