//! What is known of a person when it is decided whether they may: which groups they are in, whether they are a guest.
//!
//! **Invariant:** Slack's answer counts for five minutes; when it does not answer, the last one counts for an hour. Whoever
//! has no way to Slack knows what others asked: answers are rows that all processes share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::App;
use crate::domain::deployment::Person;
use crate::domain::installation::Installation;
use crate::domain::rights::{Known, Rights, Who};
use crate::slack::client::{Slack, SlackError};
use crate::store::log::ReadError;
use crate::store::people::SlackFact;

/// An answer this young is not asked for again.
const FRESH: TimeDelta = TimeDelta::minutes(5);
/// An answer counts this long while Slack does not answer.
const COUNTS: TimeDelta = TimeDelta::hours(1);
/// How long Slack is waited for: a press has to be answered within three seconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// What the app's own workspace is kept as.
const HOME: &str = "home";
/// The scope of all that asks who somebody is: a 429 is obeyed by everybody.
const PEOPLE: &str = "slack:users";
/// Pause after a question that was not answered.
const AGAIN: TimeDelta = TimeDelta::seconds(30);

/// The way to Slack, and what is known from it.
#[derive(Default)]
pub struct People {
    slack: Option<Slack>,
    home: Arc<OnceLock<String>>,
    said: Mutex<HashMap<String, (SlackFact, DateTime<Utc>)>>,
    /// When a question about somebody was last not answered.
    failed: Mutex<HashMap<String, DateTime<Utc>>>,
}

impl People {
    /// Where Slack is asked.
    pub(super) fn asked_of(slack: Slack, home: Arc<OnceLock<String>>) -> Self {
        Self { slack: Some(slack), home, ..Self::default() }
    }

    /// The way to Slack, where there is one.
    pub(super) fn slack(&self) -> Option<&Slack> {
        self.slack.as_ref()
    }

    fn remembered(&self, id: &str) -> Option<(SlackFact, DateTime<Utc>)> {
        self.said.lock().expect("no holder of the lock panics").get(id).cloned()
    }

    /// Forgets everything: somebody was erased.
    pub(super) fn forget(&self) {
        self.said.lock().expect("no holder of the lock panics").clear();
        self.failed.lock().expect("no holder of the lock panics").clear();
    }

    fn remember(&self, id: &str, said: SlackFact, at: DateTime<Utc>) {
        self.said.lock().expect("no holder of the lock panics").insert(id.to_owned(), (said, at));
    }
}

/// What is asked.
#[derive(Clone, Copy)]
enum Question<'a> {
    MembersOf(&'a str),
    IsGuest(&'a str),
}

impl Question<'_> {
    fn id(&self) -> &str {
        let (Self::MembersOf(id) | Self::IsGuest(id)) = self;
        id
    }

    async fn ask(&self, slack: &Slack) -> Result<SlackFact, SlackError> {
        match self {
            Self::MembersOf(group) => match slack.members(group).await {
                // Nobody is in a group that is gone.
                Err(SlackError::Refused(word)) if word.starts_with("no_such_subteam") => Ok(SlackFact::Members(vec![])),
                answer => answer.map(SlackFact::Members),
            },
            Self::IsGuest(user) => slack.is_guest(user).await.map(SlackFact::Guest),
        }
    }
}

impl App {
    /// What is known of somebody as far as rights ask for it, those of who administers everything included.
    ///
    /// # Errors
    /// When the database does not answer, or an event can't be read.
    pub async fn known(
        &self,
        installation: &Installation,
        rights: &[Rights],
        person: &Person,
    ) -> Result<Known, ReadError> {
        let administrators = installation.administrators.clone();
        let mut known = Known { home: self.home().await?, administrators, ..Known::default() };
        // At once: whoever pressed waits for the slowest, not for all.
        let everywhere = Rights { administer: known.administrators.clone(), ..Rights::default() };
        let groups: std::collections::BTreeSet<&str> =
            rights.iter().chain(std::iter::once(&everywhere)).flat_map(Rights::groups).collect();
        let all_may = rights.iter().all(|rights| rights.guests);
        let guest = async { if all_may { Ok(None) } else { self.said(Question::IsGuest(&person.user), FRESH).await } };
        let members = groups.iter().map(|group| self.said(Question::MembersOf(group), FRESH));
        let (guest, members) = futures::join!(guest, futures::future::join_all(members));
        if let Some(SlackFact::Guest(guest)) = guest? {
            known.guest = Some(guest);
        }
        for (group, members) in groups.into_iter().zip(members) {
            if let Some(SlackFact::Members(members)) = members? {
                known.groups.insert(group.to_owned(), members.contains(&person.user));
            }
        }
        Ok(known)
    }

    /// Notes which workspace the app is in, for those who have no way to Slack.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn learned_home(&self, team: &str) -> Result<(), sqlx::Error> {
        self.store.people().put(HOME, &SlackFact::Home(team.to_owned())).await
    }

    /// The workspace that the app is in, as far as anybody has learned it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn home(&self) -> Result<Option<String>, sqlx::Error> {
        if let Some(home) = self.people.home.get() {
            return Ok(Some(home.clone()));
        }
        let Some((SlackFact::Home(home), _)) = self.store.people().get(HOME).await? else { return Ok(None) };
        self.people.home.set(home.clone()).ok();
        Ok(Some(home))
    }

    /// Who is in a group, as far as is known.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn members(&self, group: &str) -> Result<Option<Vec<String>>, sqlx::Error> {
        Ok(match self.said(Question::MembersOf(group), FRESH).await? {
            Some(SlackFact::Members(members)) => Some(members),
            _ => None,
        })
    }

    /// A person by Slack's id, with what they are called where Slack says.
    pub async fn person_named(&self, id: &str) -> Who {
        let name = match &self.people.slack {
            Some(slack) => slack.name(id).await.ok().filter(|name| !name.is_empty()),
            None => None,
        };
        Who::User { id: id.to_owned(), name }
    }

    /// The user group that is called so in Slack.
    ///
    /// # Errors
    /// What to do, as a sentence.
    pub async fn group_called(&self, handle: &str) -> Result<Who, String> {
        let by_id = "its id, such as S0123456789, does too";
        let Some(slack) = &self.people.slack else {
            return Err(format!(
                "SLACK_BOT_TOKEN is not set, so nobody knows which group is called @{handle}; {by_id}"
            ));
        };
        let groups = slack.user_groups().await.map_err(|e| format!("the groups are not told ({e}); {by_id}"))?;
        match groups.into_iter().find(|group| group.handle.eq_ignore_ascii_case(handle)) {
            Some(group) => Ok(Who::Group { id: group.id, handle: Some(group.handle) }),
            None => Err(format!(
                "there is no user group @{handle} in Slack; a person is named by their id, such as U0123456789"
            )),
        }
    }

    /// Asks anew who is in the groups that rights name, before the answers are old: whoever has no way to Slack knows them
    /// then.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ask_after_groups(&self) -> Result<(), ReadError> {
        if self.people.slack.is_none() {
            return Ok(());
        }
        let projects = self.store.directory().projects().await?;
        let open = projects.iter().flat_map(crate::domain::project::Project::open_environments);
        let installation = self.installation_anew().await?;
        let everywhere = Rights { administer: installation.value.administrators.clone(), ..Rights::default() };
        let rights = open.map(|e| &e.rights).chain(std::iter::once(&everywhere));
        let groups: std::collections::BTreeSet<String> =
            rights.flat_map(|rights| rights.groups().map(str::to_owned).collect::<Vec<_>>()).collect();
        for group in groups {
            self.said(Question::MembersOf(&group), FRESH / 2).await?;
        }
        Ok(())
    }

    /// What Slack says, or said not too long ago.
    async fn said(&self, question: Question<'_>, fresh: TimeDelta) -> Result<Option<SlackFact>, sqlx::Error> {
        let (people, now, id) = (&self.people, self.store.clock().now(), question.id());
        // What was said at a time that has not come is from before the clock was set back, or nobody said it.
        let is_fresh = |(_, at): &(SlackFact, DateTime<Utc>)| (now - *at).abs() < fresh;
        if let Some((said, _)) = people.remembered(id).filter(is_fresh) {
            return Ok(Some(said));
        }
        let last = self.store.people().get(id).await?;
        if let Some((said, at)) = last.clone().filter(is_fresh) {
            people.remember(id, said.clone(), at);
            return Ok(Some(said));
        }
        let failed = people.failed.lock().expect("no holder of the lock panics").get(id).copied();
        if let Some(slack) = &people.slack
            && failed.is_none_or(|at| now - at >= AGAIN)
            && self.store.paces().closed_for(PEOPLE).await?.is_zero()
        {
            let why = match tokio::time::timeout(PATIENCE, question.ask(slack)).await {
                Ok(Ok(said)) => {
                    self.store.people().put(id, &said).await?;
                    people.remember(id, said.clone(), now);
                    return Ok(Some(said));
                }
                Ok(Err(e)) => {
                    if let SlackError::RateLimited(wait) = e {
                        self.store.paces().block(PEOPLE, wait).await?;
                    }
                    e.to_string()
                }
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::warn!(
                slack.id = id,
                error = why,
                "Slack does not say who somebody is; the last answer counts for an hour"
            );
            people.failed.lock().expect("no holder of the lock panics").insert(id.to_owned(), now);
        }
        // A guest stays one until Slack says otherwise.
        let counts =
            |(said, at): &(SlackFact, DateTime<Utc>)| (now - *at).abs() < COUNTS || *said == SlackFact::Guest(true);
        Ok(last.filter(counts).map(|(said, _)| said))
    }
}
