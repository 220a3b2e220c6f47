//! What people in Slack chose for themselves.

use std::convert::Infallible;

use super::{ATTEMPTS, App, CommandError, new_event_id, record, too_busy};
use crate::domain::deployment::Person;
use crate::domain::event::{Actor, Event};
use crate::domain::ids::person_stream;
use crate::domain::person_events::{NotificationsChosen, Wants};
use crate::store::append::Append;
use crate::store::log::ReadError;

impl App {
    /// What somebody is told directly.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn wants(&self, person: &Person) -> Result<Wants, ReadError> {
        Ok(self.chosen(person).await?.0)
    }

    /// What they chose last, and how often they chose.
    async fn chosen(&self, person: &Person) -> Result<(Wants, i32), ReadError> {
        let events = self.store.log().stream(person_stream(&person.team, &person.user)).await?;
        let last = events.iter().rev().find_map(|e| match &e.event {
            Event::NotificationsChosen(chosen) => Some(chosen.wants),
            _ => None,
        });
        Ok((last.unwrap_or_default(), events.last().map_or(0, |e| e.version)))
    }

    /// Somebody chooses what they, or an operator what somebody, are told directly from now on; the same again changes nothing.
    ///
    /// # Errors
    /// When the database is away; nothing is recorded then, as far as is known.
    pub async fn choose(&self, person: &Person, wants: Wants, actor: &Actor) -> Result<(), CommandError<Infallible>> {
        for _ in 0..ATTEMPTS {
            let (before, version) = self.chosen(person).await?;
            if before == wants {
                return Ok(());
            }
            let mut append = Append::default();
            let event = NotificationsChosen { by: person.clone(), wants }.into();
            record(&mut append, new_event_id(), &event, actor, version);
            if self.append_unless_moved(append).await?.is_some() {
                return Ok(());
            }
        }
        Err(too_busy())
    }
}
