//! What happened: moments of the log, what is named in it, and what an event follows from and led to.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::App;
use crate::domain::event::{Actor, Event, Recorded, SettingsEvent, StreamKind};
use crate::domain::ids::{BuildId, DeploymentId, EnvironmentId, EventId, ProjectId, installation_stream};
use crate::domain::moment::{Moment, NoMoment, to_the_second};
use crate::domain::project::{Environment, Project};
use crate::domain::project_events::{EnvironmentCreated, EnvironmentRenamed};
use crate::domain::state::State;
use crate::projections::insights::{self, Named as NamedEnvironment, Week};
use crate::projections::sites;
use crate::projections::words::Words;
use crate::slack::render::log_url;
use crate::store::history::{Asked, CAUSES_MAX, Deployed, Entry};
use crate::store::log::{ROWS_LOST, ReadError};
use crate::telemetry::causes;

/// Why there is no such moment in the log.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum NoSuchMoment {
    #[error("the log is empty: nothing has happened yet")]
    Empty,
    #[error("{ROWS_LOST}")]
    RowsLost,
    #[error("{} is before the first event, which was recorded at {}", to_the_second(*.asked), to_the_second(*.first))]
    BeforeTheFirst { asked: DateTime<Utc>, first: DateTime<Utc> },
    #[error("{} is in the future; the last event was recorded at {}", to_the_second(*.asked), to_the_second(*.last))]
    InTheFuture { asked: DateTime<Utc>, last: DateTime<Utc> },
    #[error("there is no event {asked}; {}", reaches(*.head))]
    PastTheHead { asked: i64, head: i64 },
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
}

/// How far the log goes.
pub fn reaches(head: i64) -> String {
    if head == 0 { "the log is empty".to_owned() } else { format!("the log has the positions 1 to {head}") }
}

/// A moment that is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// The last event that had happened.
    pub position: i64,
    /// The time that was asked for; of a position, when its event was recorded.
    pub at: DateTime<Utc>,
}

/// Why something can't be asked for between two moments.
#[derive(Debug, thiserror::Error)]
pub enum NoRange {
    /// One is none.
    #[error(transparent)]
    Moment(#[from] NoMoment),
    /// One has not come yet.
    #[error(transparent)]
    NotYet(NoSuchMoment),
    /// They are the wrong way round.
    #[error("{until} is before {since}, and a range begins with the earlier one")]
    Reversed {
        /// As it was written.
        since: String,
        /// As it was written.
        until: String,
    },
    /// The database.
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
}

/// What somebody named.
#[derive(Debug, Clone)]
pub enum Named {
    /// An event, by its position or its id.
    Event(Box<Entry>),
    /// A deployment, by its id or the beginning of it.
    Deployment(DeploymentId),
    /// A build, by its id, its name, or both its project's slug and its name.
    Build(BuildId),
}

/// Why nothing is named so.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the sentence says it")]
pub enum NoSubject {
    #[error(
        "there is no event, deployment or build {0}; give an event's position or id, a deployment's id (coolops deployment list), or a build's id or name"
    )]
    Unknown(String),
    #[error("{text} could be several: {}", found.join(", "))]
    Several { text: String, found: Vec<String> },
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
}

/// An event among those that it belongs with, and how deep it stands below what it follows from.
#[derive(Debug, Clone)]
pub struct Step {
    /// How many stories of other things it is away from the first.
    pub depth: usize,
    /// The event.
    pub entry: Entry,
}

/// What is told of a subject.
#[derive(Debug, Clone)]
pub struct Trail {
    /// What led to it, the first cause first.
    pub causes: Vec<Entry>,
    /// It, and what followed.
    pub followed: Vec<Step>,
    /// There is more than is told.
    pub is_cut: bool,
}

/// A setting that somebody changed.
#[derive(Debug, Clone)]
pub struct Changed {
    /// What happened.
    pub recorded: Recorded,
    /// The slug of its project; none of what goes for everything.
    pub project: Option<String>,
    /// The environment, and its name then.
    pub environment: Option<(EnvironmentId, String)>,
}

impl Changed {
    /// Whether it is of the environments and by whom it is asked for.
    fn is_asked_for(&self, asked: &Asked) -> bool {
        let here = |(id, _): &(EnvironmentId, String)| asked.environments.contains(id);
        let is_by = |user: &str| {
            let user = user.trim_start_matches('@');
            let names = match &self.recorded.actor {
                Actor::Slack { user, name, .. } => vec![user, name],
                Actor::Operator { login } => vec![login],
                Actor::Webhook { provider, .. } => vec![provider],
                Actor::Token(_) | Actor::System => vec![],
            };
            names.into_iter().any(|name| name.eq_ignore_ascii_case(user))
        };
        (asked.environments.is_empty() || self.environment.as_ref().is_some_and(here))
            && asked.user.as_deref().is_none_or(is_by)
    }
}

/// A change of a setting for machines; `cursor` is its place for ever. `said` may quote what others wrote.
pub fn changed_as_json(changed: &Changed, said: &str) -> Value {
    let Changed { recorded, project, environment } = changed;
    json!({
        "cursor": recorded.position, "at": recorded.recorded_at, "project": project,
        "environment": environment.as_ref().map(|(_, name)| name), "by": recorded.actor, "type": recorded.event.kind().0,
        "said": said,
    })
}

/// The states that a word stands for, by what is shown or what is stored.
pub fn states_called(word: &str) -> Vec<State> {
    State::ALL.into_iter().filter(|state| word == state.as_str() || word == state.word()).collect()
}

/// Where it can be seen what came with a deployment, beside the build that ran there before; of a way back, what left with it.
pub fn changes(deployed: &Deployed) -> Option<String> {
    let deployment = &deployed.timed.deployment;
    let before = deployment.prepared.as_ref().and_then(|prepared| prepared.replaces_source.as_ref());
    sites::changes_by(deployed.is_back, before, deployment.source.as_ref())
}

/// A deployment of the history for machines, as it stands at a time; `cursor` is its place for ever.
pub fn as_json(deployed: &Deployed, now: DateTime<Utc>) -> Value {
    let (timed, deployment) = (&deployed.timed, &deployed.timed.deployment);
    let prepared = deployment.prepared.as_ref();
    json!({
        "cursor": deployed.position, "deployment": deployment.of.deployment_id, "project": deployed.project,
        "environment": deployment.environment_name, "build": deployment.build_name, "build_id": deployment.of.build_id,
        "replaces": prepared.and_then(|prepared| prepared.replaces.as_ref()), "by": deployment.requested_by,
        "requested_at": timed.requested_at, "started_at": timed.started_at,
        "ended_at": timed.ended_at(), "seconds": timed.ran(now),
        "state": deployment.state(), "said": Words::of(deployment).sentence(str::to_owned), "exit_code": deployment.stand.exit_code(),
        "image_id": prepared.map(|prepared| &prepared.image_id), "image_digest": prepared.and_then(|prepared| prepared.digest.as_ref()),
        "repository": deployment.source.as_ref().and_then(|source| source.repository.as_ref()),
        "commit": deployment.source.as_ref().and_then(|source| source.commit.as_ref()),
        "changes": changes(deployed),
    })
}

/// A project of which an event can't be read, by this version or under these keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTold {
    /// Its id.
    pub id: ProjectId,
    /// Its slug.
    pub slug: String,
    /// Why.
    pub why: String,
}

impl NotTold {
    /// Of a project, and why.
    pub fn of(project: &Project, why: &ReadError) -> Self {
        Self { id: project.id, slug: project.slug.clone(), why: causes(why) }
    }

    /// What is told in its place.
    pub fn sentence(&self) -> String {
        format!("Nothing is told of the project {}: {}", self.slug, self.why)
    }
}

/// Events of one story that are read, at most.
const STORY_MAX: i64 = 5_000;

impl App {
    /// Where a deployment's log is, for whoever may see it; none while the master key of its links is not set.
    pub fn log_of_deployed(&self, deployed: &Deployed) -> Option<String> {
        let links = self.keys.links(deployed.link_key.as_deref()?)?;
        Some(log_url(&self.public_url, &links, deployed.timed.deployment.of.deployment_id))
    }

    /// How it is now: the last event, also where the clock was set back since.
    ///
    /// # Errors
    /// See [`NoSuchMoment`].
    pub async fn now(&self) -> Result<When, NoSuchMoment> {
        let (_, last, head) = self.span().await?;
        Ok(When { position: head, at: self.store.clock().now().max(last) })
    }

    /// When the first event and the last were recorded, and the last position.
    async fn span(&self) -> Result<(DateTime<Utc>, DateTime<Utc>, i64), NoSuchMoment> {
        let span = self.readers().history().span().await?.ok_or(NoSuchMoment::Empty)?;
        match self.readers().directory().rows_are_lost().await? {
            true => Err(NoSuchMoment::RowsLost),
            false => Ok(span),
        }
    }

    /// The position that the log had come to at a moment.
    ///
    /// # Errors
    /// See [`NoSuchMoment`].
    pub async fn when(&self, moment: Moment) -> Result<When, NoSuchMoment> {
        let history = self.readers().history();
        let (first, last, head) = self.span().await?;
        match moment {
            Moment::Position(asked) => {
                let missing = NoSuchMoment::PastTheHead { asked, head };
                let entry = history.at(asked).await?.ok_or(missing)?;
                Ok(When { position: asked, at: entry.recorded_at })
            }
            Moment::Time(asked) if asked < first => Err(NoSuchMoment::BeforeTheFirst { asked, first }),
            Moment::Time(asked) if asked > self.store.clock().now().max(last) => {
                Err(NoSuchMoment::InTheFuture { asked, last })
            }
            Moment::Time(at) => Ok(When { position: history.position_at(at).await?, at }),
        }
    }

    /// A position to go on before, as an answer of this log gave it.
    ///
    /// # Errors
    /// When no answer of this log can have given it.
    pub async fn cursor(&self, before: i64) -> Result<i64, NoSuchMoment> {
        let (head, _) = self.readers().log().head().await?;
        match (1..=head.saturating_add(1)).contains(&before) {
            true => Ok(before),
            false => Err(NoSuchMoment::PastTheHead { asked: before, head }),
        }
    }

    /// The bounds of what is asked for between two moments, as somebody wrote them: positions, the first not included. A
    /// range may begin before the log and end at a time that has not come yet; one that begins later than the next event is a
    /// mistake, and so is a last event that there is not.
    ///
    /// # Errors
    /// When one can't be read, has not come yet, or is before the other; or the database does not answer.
    pub async fn range(&self, since: Option<&str>, until: Option<&str>) -> Result<(Option<i64>, Option<i64>), NoRange> {
        let now = self.store.clock().now();
        let history = self.readers().history();
        let (first, last) = (
            since.map(|written| Moment::parse(written, now)).transpose()?,
            until.map(|written| Moment::parse(written, now)).transpose()?,
        );
        if (first, last) == (None, None) {
            return Ok((None, None));
        }
        let span = history.span().await?;
        let head = span.map_or(0, |(_, _, head)| head);
        let past = |asked: i64| NoRange::NotYet(NoSuchMoment::PastTheHead { asked, head });
        let after = match first {
            None => None,
            // Who has all so far asks for what comes next.
            Some(Moment::Position(asked)) if asked > head + 1 => return Err(past(asked)),
            Some(Moment::Position(asked)) => Some((asked - 1).max(0)),
            Some(Moment::Time(asked)) => {
                if let Some((_, last, _)) = span
                    && asked > now.max(last)
                {
                    return Err(NoRange::NotYet(NoSuchMoment::InTheFuture { asked, last }));
                }
                // What was recorded just then is since then.
                Some(history.position_at(asked - TimeDelta::microseconds(1)).await?)
            }
        };
        let end = match last {
            None => None,
            Some(Moment::Position(asked)) if asked > head => return Err(past(asked)),
            Some(Moment::Position(position)) => Some(position),
            Some(Moment::Time(at)) => Some(history.position_at(at).await?),
        };
        let is_reversed = match (first, last) {
            (Some(Moment::Position(first)), Some(Moment::Position(last))) => last < first,
            (Some(Moment::Time(first)), Some(Moment::Time(last))) => last < first,
            _ => after.zip(end).is_some_and(|(after, end)| end < after),
        };
        if let (true, Some(since), Some(until)) = (is_reversed, since, until) {
            return Err(NoRange::Reversed { since: since.to_owned(), until: until.to_owned() });
        }
        Ok((after, end))
    }

    /// The environments of a project that are called so, in any case, or were called so once, as lines of the history still have
    /// it; those that are gone among them.
    ///
    /// # Errors
    /// When the database does not answer, or an event that named one can't be read.
    pub async fn environments_called(&self, project: &Project, name: &str) -> Result<Vec<EnvironmentId>, ReadError> {
        let wanted = name.trim().to_lowercase();
        let names = self.names_of_environments(project.id).await?;
        let is_called_so = |id: &EnvironmentId| {
            names.get(&id.0).is_some_and(|names| names.values().any(|name| name.to_lowercase() == wanted))
        };
        Ok(project.environments.iter().map(|e| e.id).filter(is_called_so).collect())
    }

    /// What each environment of a project was called from an event on.
    async fn names_of_environments(
        &self,
        project: ProjectId,
    ) -> Result<HashMap<Uuid, BTreeMap<i64, String>>, ReadError> {
        let mut names: HashMap<Uuid, BTreeMap<i64, String>> = HashMap::new();
        for recorded in self.readers().log().namings(project.0).await? {
            if let Event::Settings(
                SettingsEvent::EnvironmentCreated(EnvironmentCreated { environment_id: id, name, .. })
                | SettingsEvent::EnvironmentRenamed(EnvironmentRenamed { environment_id: id, name, .. }),
            ) = recorded.event
            {
                names.entry(id.0).or_default().insert(recorded.position, name);
            }
        }
        Ok(names)
    }

    /// Who changed which setting, the newest first, at most so many: of one project, or of all and of what goes for everything;
    /// as far as that is asked for and `is_told`. Of all, those of which something can't be read stand in nobody's way.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read of what is asked for.
    pub async fn settings_changed(
        &self,
        asked: &Asked,
        before: Option<i64>,
        limit: usize,
        is_told: impl Fn(&Event) -> bool + Copy + Sync,
    ) -> Result<(Vec<Changed>, Vec<NotTold>), ReadError> {
        let (mut changed, mut unread) = (Vec::new(), Vec::new());
        for of in self.readers().directory().projects().await? {
            if asked.project.is_some_and(|id| id != of.id) {
                continue;
            }
            match self.settings_changed_of(Some(&of), asked, before, limit, is_told).await {
                Ok(told) => changed.extend(told),
                Err(why) if why.is_of_one_thing() && asked.project.is_none() => {
                    unread.push(NotTold::of(&of, &why));
                }
                Err(why) => return Err(why),
            }
        }
        if asked.project.is_none() {
            changed.extend(self.settings_changed_of(None, asked, before, limit, is_told).await?);
        }
        changed.sort_by_key(|change| std::cmp::Reverse(change.recorded.position));
        changed.truncate(limit);
        Ok((changed, unread))
    }

    /// Who changed which setting of a project, or of what goes for everything, as [`App::settings_changed`] tells of all.
    async fn settings_changed_of(
        &self,
        of: Option<&Project>,
        asked: &Asked,
        before: Option<i64>,
        limit: usize,
        is_told: impl Fn(&Event) -> bool + Copy + Sync,
    ) -> Result<Vec<Changed>, ReadError> {
        let log = self.readers().log();
        let names = match of {
            Some(project) => self.names_of_environments(project.id).await?,
            None => HashMap::new(),
        };
        let named = |recorded: &Recorded| {
            let address = recorded.event.address();
            let then = names.get(&address.stream).and_then(|names| names.range(..=recorded.position).next_back());
            let name = then.map(|(_, name)| name.clone()).unwrap_or_default();
            (address.kind == StreamKind::Environment).then_some((EnvironmentId(address.stream), name))
        };
        let (correlation, after) = (of.map_or_else(installation_stream, |of| of.id.0), asked.after.unwrap_or(0));
        let mut until = asked.until.unwrap_or(i64::MAX).min(before.map_or(i64::MAX, |before| before.saturating_sub(1)));
        let mut changed = Vec::new();
        while changed.len() < limit {
            let page = log.about_back_from(correlation, until, after).await?;
            let Some(oldest) = page.last() else { break };
            until = oldest.position - 1;
            changed.extend(page.into_iter().filter(|recorded| is_told(&recorded.event)).filter_map(|recorded| {
                let environment = named(&recorded);
                let change = Changed { recorded, project: of.map(|of| of.slug.clone()), environment };
                change.is_asked_for(asked).then_some(change)
            }));
        }
        changed.truncate(limit);
        Ok(changed)
    }

    /// Measures of a project's delivery, by environment and week, of what ended after a position.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn insights(&self, project: &Project, after: i64) -> Result<Vec<Week>, sqlx::Error> {
        let samples = self.readers().history().samples(project.id, after).await?;
        let named = |environment: &Environment| {
            let (name, is_open) = (&environment.name, !environment.archived);
            let name = if is_open { name.clone() } else { format!("{name} (archived)") };
            (environment.id, NamedEnvironment { name, is_open: is_open && !project.archived })
        };
        let environments = project.environments.iter().map(named).collect();
        Ok(insights::weeks(&samples, &environments, self.store.clock().now()))
    }

    /// The last position before the week in which a moment is, as somebody wrote it: weeks are told whole.
    ///
    /// # Errors
    /// See [`NoRange`].
    pub async fn before_week_of(&self, since: &str) -> Result<i64, NoRange> {
        self.range(Some(since), None).await?;
        let (history, now) = (self.readers().history(), self.store.clock().now());
        let at = match Moment::parse(since, now)? {
            Moment::Time(at) => at,
            Moment::Position(position) => history.at(position.max(1)).await?.map_or(now, |entry| entry.recorded_at),
        };
        match insights::monday(at).and_hms_opt(0, 0, 0) {
            Some(begins) => Ok(history.position_at(begins.and_utc() - TimeDelta::microseconds(1)).await?),
            None => Ok(0),
        }
    }

    /// What a text names.
    ///
    /// # Errors
    /// See [`NoSubject`].
    pub async fn named(&self, text: &str) -> Result<Named, NoSubject> {
        let text = text.trim();
        let history = self.readers().history();
        let unknown = || NoSubject::Unknown(text.to_owned());
        // No position begins with a zero; the id of a deployment may.
        let at = match text.trim_start_matches('#').parse::<i64>() {
            Ok(position) if !text.starts_with('0') => history.at(position).await?,
            _ => None,
        };
        if let (Some(entry), true) = (&at, text.starts_with('#')) {
            return Ok(Named::Event(Box::new(entry.clone())));
        }
        if let Ok(id) = text.parse::<Uuid>() {
            if let Some(entry) = history.with_id(EventId(id)).await? {
                return Ok(Named::Event(Box::new(entry)));
            }
            // Some CI systems name their builds so: it may be a name yet.
            if let Some(first) = history.stream(id).await?.into_iter().next() {
                return Ok(match StreamKind::named(&first.stream_type) {
                    Some(StreamKind::Build) => Named::Build(BuildId(id)),
                    Some(StreamKind::Deployment) => Named::Deployment(DeploymentId(id)),
                    _ => Named::Event(Box::new(first)),
                });
            }
        }
        let (slug, name) = text.split_once('/').map_or((None, text), |(slug, name)| (Some(slug), name));
        let mut builds = Vec::new();
        for project in self.readers().directory().projects().await? {
            for (slug, name) in [(slug, name), (None, text)] {
                if slug.is_none_or(|slug| slug == project.slug)
                    && let Some(build) = self.readers().directory().build_named(project.id, name).await?
                {
                    builds.push((format!("{}/{}", project.slug, build.name), build.id));
                }
            }
        }
        builds.sort();
        builds.dedup();
        let event = at.map(|entry| (format!("#{}", entry.position), Named::Event(Box::new(entry))));
        let builds = builds.into_iter().map(|(name, id)| (name, Named::Build(id)));
        let mut found: Vec<(String, Named)> = event.into_iter().chain(builds).collect();
        let is_an_id = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if is_an_id && (text.len() >= SHORT_ID || (found.is_empty() && text.len() >= 4)) {
            let like = self.readers().deployments().like(&text.to_lowercase()).await?;
            found.extend(like.into_iter().map(|id| (id.to_string(), Named::Deployment(id))));
        }
        match found.pop() {
            None => Err(unknown()),
            Some((_, named)) if found.is_empty() => Ok(named),
            Some(last) => {
                let found = found.into_iter().chain([last]).map(|(name, _)| name).collect();
                Err(NoSubject::Several { text: text.to_owned(), found })
            }
        }
    }

    /// What led to a subject, and what followed from it. Nothing when there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn trail(&self, subject: &Named) -> Result<Option<Trail>, sqlx::Error> {
        let history = self.readers().history();
        let first = match subject {
            Named::Event(entry) => Some((**entry).clone()),
            Named::Deployment(id) => history.stream(id.0).await?.into_iter().next(),
            Named::Build(id) => history.stream(id.0).await?.into_iter().next(),
        };
        let Some(first) = first else { return Ok(None) };
        let mut causes = history.causes(&first).await?;
        causes.reverse();
        let story = history.about(first.correlation_id, first.position, STORY_MAX).await?;
        let is_cut = i64::try_from(story.len()).unwrap_or(i64::MAX) >= STORY_MAX || causes.len() >= CAUSES_MAX;
        Ok(Some(Trail { causes, followed: tree(first, story), is_cut }))
    }
}

/// Characters of a deployment's id where lists have no room for more.
pub const SHORT_ID: usize = 8;

/// An event and what follows from it, in the order of the log below each. What goes on in the same story stands beside it;
/// what it led to elsewhere stands deeper. What follows from something elsewhere is told where its own story had come to, of
/// a build, its message or a deployment: a setting only follows from what it is a setting of.
fn tree(first: Entry, story: Vec<Entry>) -> Vec<Step> {
    let mut after: HashMap<Uuid, Vec<Entry>> = HashMap::new();
    let (mut seen, mut last) = (HashSet::from([first.event_id]), HashMap::from([(first.stream_id, first.event_id)]));
    for entry in story.into_iter().filter(|entry| entry.position > first.position) {
        let cause = entry.causation_id.filter(|cause| seen.contains(cause));
        let goes_on = matches!(
            StreamKind::named(&entry.stream_type),
            Some(StreamKind::Build | StreamKind::Deployment | StreamKind::Message | StreamKind::Output)
        );
        let before = last.get(&entry.stream_id).copied().filter(|_| goes_on);
        let Some(cause) = cause.or(before) else { continue };
        seen.insert(entry.event_id);
        last.insert(entry.stream_id, entry.event_id);
        after.entry(cause).or_default().push(entry);
    }
    let mut steps = Vec::new();
    // The last one is told next; what follows elsewhere is told before the story goes on.
    let mut next = vec![Step { depth: 0, entry: first }];
    while let Some(step) = next.pop() {
        let mut following = after.remove(&step.entry.event_id).unwrap_or_default();
        following.sort_by_key(|entry| (entry.stream_id == step.entry.stream_id, entry.position));
        for entry in following.into_iter().rev() {
            let deeper = usize::from(entry.stream_id != step.entry.stream_id);
            next.push(Step { depth: step.depth + deeper, entry });
        }
        steps.push(step);
    }
    steps
}
