//! CI announces a build.

use super::{ATTEMPTS, App, CommandError, new_event_id, posts_into, record, too_busy};
use crate::domain::build::{self, BuildRefusal, BuildRegistered, RegisterBuild, Registration};
use crate::domain::event::{Actor, Event};
use crate::domain::ids::{BuildId, ProjectId, TokenId};
use crate::domain::project::{Ci, Project};
use crate::projections::rows;
use crate::store::append::Append;
use crate::store::deliveries::PackedDelivery;
use crate::store::limits::Turn;

/// What became of an announcement.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// The build.
    pub id: BuildId,
    /// Its page. Without the key that reads it: who may announce builds isn't therefore one who may read logs.
    pub url: String,
    /// Whether it was new; otherwise it was there with the same params.
    pub new: bool,
    /// Position of the event that registered it, when it is new.
    pub position: Option<i64>,
}

/// Who announces a build, and by what right.
#[derive(Debug, Clone)]
pub enum Announcer<'a> {
    /// The holder of a token.
    Token(TokenId),
    /// A CI system's webhook that the project's settings admitted.
    Webhook {
        /// Those settings.
        ci: &'a Ci,
        /// What is kept of it, beside the build that it makes.
        delivery: &'a PackedDelivery,
    },
}

impl Announcer<'_> {
    /// Whether the project as it stands admits the announcement.
    fn is_admitted(&self, project: &Project) -> Result<(), AnnounceRefusal> {
        match self {
            Self::Token(token) if !project.tokens.iter().any(|t| t.id == *token && !t.revoked) => {
                Err(AnnounceRefusal::TokenRevoked)
            }
            Self::Webhook { ci, .. } if project.ci(&ci.provider) != Some(*ci) => Err(AnnounceRefusal::SettingsChanged),
            Self::Token(_) | Self::Webhook { .. } => Ok(()),
        }
    }

    fn actor(&self) -> Actor {
        match self {
            Self::Token(token) => Actor::Token(*token),
            Self::Webhook { delivery, .. } => {
                Actor::Webhook { provider: delivery.provider.to_owned(), delivery: delivery.id }
            }
        }
    }
}

/// Why an announcement was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceRefusal {
    /// The token was revoked.
    #[error("the token was revoked")]
    TokenRevoked,
    /// There is no such project in the log, whatever a row says.
    #[error("the project does not exist")]
    NoProject,
    /// The project's settings changed since the webhook was admitted: admit it anew.
    #[error("the project's settings for this CI system have changed")]
    SettingsChanged,
    /// The rules say no.
    #[error(transparent)]
    Build(#[from] BuildRefusal),
}

impl App {
    /// Registers a build.
    ///
    /// # Errors
    /// A refusal, or that the database is away.
    pub async fn register_build(
        &self,
        project: ProjectId,
        announcer: Announcer<'_>,
        command: RegisterBuild,
    ) -> Result<Registered, CommandError<AnnounceRefusal>> {
        let actor = announcer.actor();
        let mut existing: Option<BuildRegistered> = None;
        let mut seen = self.project(project).await?;
        for _ in 0..ATTEMPTS {
            let project = seen.as_ref().ok_or(CommandError::Refused(AnnounceRefusal::NoProject))?;
            announcer.is_admitted(&project.value).map_err(CommandError::Refused)?;
            let decided = build::decide(&project.value, existing.as_ref(), command.clone());
            let registration = decided.map_err(|refusal| CommandError::Refused(refusal.into()))?;
            let build = match registration {
                Registration::Same => {
                    let there = existing.as_ref().expect("only an existing build is the same");
                    return Ok(Self::registered(there, None));
                }
                Registration::New(build) => build,
            };
            let mut append = Append::default();
            let event = Event::BuildRegistered(*build);
            record(&mut append, new_event_id(), &event, &actor, 0);
            let Event::BuildRegistered(build) = event else { unreachable!("it was just made") };
            if let Some(pace) = self.posts {
                append.turn(Turn { scope: posts_into(&build.channel), pace });
            }
            append.row(rows::of_build(&build)).guard(project.value.id.0, project.position);
            if let Announcer::Webhook { delivery, .. } = &announcer {
                append.delivery((*delivery).clone());
            }
            if let Some(appended) = self.append_unless_moved(append).await? {
                return Ok(Self::registered(&build, Some(appended.position)));
            }
            if let Announcer::Webhook { delivery, .. } = &announcer
                && let Some(made) = self.store.deliveries().get(delivery.id).await?.and_then(|d| d.build)
                && let Some(there) = self.build(made).await?
            {
                return Ok(Self::registered(&there, None));
            }
            existing = self.build(build.build_id).await?;
            seen = self.project_anew(build.project_id).await?;
        }
        Err(too_busy())
    }

    pub(super) fn registered(build: &BuildRegistered, position: Option<i64>) -> Registered {
        let url = format!("{}/builds/{}", build.public_url, build.build_id);
        Registered { id: build.build_id, url, new: position.is_some(), position }
    }

    /// The registration of a build.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn build(&self, id: BuildId) -> Result<Option<BuildRegistered>, crate::store::log::ReadError> {
        Ok(BuildRegistered::among(&self.store.log().stream(id.0).await?).cloned())
    }
}
