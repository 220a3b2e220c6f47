//! What a build's Slack message says: a fold of the build's own events and nothing else.

use chrono::{DateTime, Utc};

use super::timed::Timed;
use crate::domain::build::{ButtonFor, Entry, Source};
use crate::domain::deployment::Stand;
use crate::domain::event::{DeploymentEvent, Event, Recorded};
use crate::domain::ids::{BuildId, ProjectId};

/// A build's message as data.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are BuildRegistered's")]
pub struct BuildCard {
    pub build_id: BuildId,
    pub project_id: ProjectId,
    pub project_name: String,
    pub build_name: String,
    pub metadata: Vec<Entry>,
    pub source: Option<Source>,
    pub environments: Vec<ButtonFor>,
    pub channel: String,
    pub public_url: String,
    pub link_key: String,
    /// When CI announced it.
    pub registered_at: DateTime<Utc>,
    /// One line per accepted press, oldest first.
    pub lines: Vec<Timed>,
    /// Slack's names for its message, one for each time that it was posted (empty until Slack has answered): one that was
    /// posted again says so.
    pub posted: Vec<String>,
    /// Counts what changed its lines: tells one version of its message from another.
    pub version: u32,
}

impl BuildCard {
    /// The card as the first so many events of a build leave it. What a later one says was erased is not in it: nobody travels to
    /// before that.
    pub fn as_of(events: &[Recorded], count: usize) -> Option<Self> {
        let (so_far, later) = events.split_at(count.min(events.len()));
        Some(Self::fold(so_far)?.without_what_was_erased(later))
    }

    /// The card after each of a build's events, as [`BuildCard::as_of`] has it.
    pub fn after_each(events: &[Recorded]) -> impl Iterator<Item = Option<Self>> {
        let mut card = None;
        (1..).zip(events).map(move |(count, recorded)| {
            Self::apply(&mut card, &recorded.event, recorded.recorded_at);
            card.clone().map(|card| card.without_what_was_erased(&events[count..]))
        })
    }

    /// What later events say was erased is not told of earlier moments.
    fn without_what_was_erased(self, later: &[Recorded]) -> Self {
        let mut card = Some(self);
        for recorded in later.iter().filter(|recorded| matches!(recorded.event, Event::OutputErased(_))) {
            Self::apply(&mut card, &recorded.event, recorded.recorded_at);
        }
        card.expect("an erasure takes no card away")
    }

    /// Folds a build's events. `None` when they don't begin with its registration.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Recorded>) -> Option<Self> {
        let mut card = None;
        for recorded in events {
            Self::apply(&mut card, &recorded.event, recorded.recorded_at);
        }
        card
    }

    /// Applies one more event, recorded at a time; events before the registration, and events of other things, change
    /// nothing.
    pub fn apply(card: &mut Option<Self>, event: &Event, at: DateTime<Utc>) {
        if let Event::BuildRegistered(e) = event {
            *card = Some(Self {
                build_id: e.build_id,
                project_id: e.project_id,
                project_name: e.project_name.clone(),
                build_name: e.name.clone(),
                metadata: e.metadata.clone(),
                source: e.source.clone(),
                environments: e.environments.clone(),
                channel: e.channel.clone(),
                public_url: e.public_url.clone(),
                link_key: e.link_key.clone(),
                registered_at: at,
                lines: Vec::new(),
                posted: Vec::new(),
                version: 0,
            });
        }
        let Some(card) = card else { return };
        match event {
            Event::BuildRegistered(_) => {}
            // Where the message is, is not part of what it says; that it is another one is.
            Event::MessagePosted(e) => {
                card.posted.push(e.ts.clone());
                return;
            }
            // Also of a failure whose lines were recorded before they were encrypted.
            Event::OutputErased(e) => {
                let own = |l: &&mut Timed| l.deployment.of.deployment_id == e.of.deployment_id;
                if let Some(Stand::Failed { last_lines, .. }) =
                    card.lines.iter_mut().rev().find(own).map(|line| &mut line.deployment.stand)
                {
                    last_lines.clear();
                }
                return;
            }
            Event::Deployment(DeploymentEvent::Requested(e)) => card.lines.push(Timed::requested(e, at)),
            // What is no deployment's own changes no line: a refused press is told to the presser alone.
            _ => {
                let stream = event.address().stream;
                let own = |l: &&mut Timed| l.deployment.of.deployment_id.0 == stream;
                let Some(line) = card.lines.iter_mut().rev().find(own) else { return };
                line.apply(event, at);
            }
        }
        card.version += 1;
    }
}
