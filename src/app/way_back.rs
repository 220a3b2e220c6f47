//! Which build shall be where: the one that is named, what is asked back before it goes there, and the way back.

use std::convert::Infallible;

use super::{App, CommandError};
use crate::domain::deployment::Deployment;
use crate::domain::ids::BuildId;
use crate::projections::sites;
use crate::projections::standing::Standing;
use crate::slack::command::{self, Destination, Misunderstood};
use crate::store::directory::Announced;

/// Builds in a list.
pub(super) const BUILDS_SHOWN: i64 = 10;

/// What is asked before a build goes somewhere.
pub struct Question {
    /// Why, and what; of plain text.
    pub why: String,
    /// Where what would change can be looked at.
    pub changes: Option<String>,
}

/// The build that the way back leads to.
pub struct Before {
    /// Its id.
    pub build: BuildId,
    /// Its name.
    pub build_name: String,
    /// What is asked before it goes back.
    pub question: Question,
}

impl App {
    /// The build of a project that somebody names; `form` makes the command of another one.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn build_named(
        &self,
        place: Destination<'_>,
        named: &str,
        form: impl Fn(&str) -> String,
    ) -> Result<Result<Announced, Misunderstood>, CommandError<Infallible>> {
        let directory = self.store.directory();
        let newest = directory.builds_like(place.project.id, "", BUILDS_SHOWN).await?;
        if command::is_latest(named) {
            let none = || Misunderstood::new(format!("{} has no build yet.", place.project.name), []);
            return Ok(newest.into_iter().next().ok_or_else(none));
        }
        let mut found = directory.builds_like(place.project.id, named, BUILDS_SHOWN).await?;
        // Whose name is just that may be older than many whose names begin so.
        if let Some(exact) = directory.build_named(place.project.id, named).await? {
            found.insert(0, exact);
        }
        let names = |builds: &[Announced]| builds.iter().map(|b| b.name.clone()).collect::<Vec<_>>();
        let (all, known) = (names(&found), names(&newest));
        Ok(command::build(&all, named, &known, form).map(|name| {
            let at = all.iter().position(|n| n == name).unwrap_or_default();
            found.swap_remove(at)
        }))
    }

    /// How an environment stands.
    pub(super) async fn standing(&self, place: Destination<'_>) -> Result<Option<Standing>, CommandError<Infallible>> {
        let here = self.store.deployments().standing(&[place.environment.id]).await?;
        let everything = self.installation_anew().await?.value.lock.clone();
        Ok(Standing::of(place.project, everything.as_ref(), &here)
            .into_iter()
            .find(|s| s.environment == place.environment.id))
    }

    /// What is asked before a build goes somewhere; nothing where it may just go: where the environment is protected, or runs
    /// a newer build, it is asked back.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn asked_before(
        &self,
        place: Destination<'_>,
        build: &Announced,
    ) -> Result<Option<Question>, CommandError<Infallible>> {
        let name = &place.environment.name;
        let runs = self.standing(place).await?.and_then(|s| s.good).map(|d| d.deployment);
        let runs = runs.filter(|d| d.of.build_id != build.id);
        let is_older = match &runs {
            Some(there) => self.is_older(build.id, there.of.build_id).await?,
            None => false,
        };
        let why = match &runs {
            Some(Deployment { build_name: there, .. }) if is_older => {
                let build = &build.name;
                format!("{name} runs {there}, and {build} is older. Shall it go from {there} to {build}?")
            }
            _ if place.environment.protected => format!("{name} is protected, so a press is asked back first."),
            _ => return Ok(None),
        };
        let source = self.build(build.id).await?.and_then(|build| build.source);
        let (runs, ours) = (runs.as_ref().and_then(|runs| runs.source.as_ref()), source.as_ref());
        Ok(Some(Question { why, changes: sites::changes_by(is_older, runs, ours) }))
    }

    /// The build that went well somewhere before the present one; or a sentence on why there is none.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn before_present(
        &self,
        place: Destination<'_>,
    ) -> Result<Result<Before, String>, CommandError<Infallible>> {
        let environment = &place.environment.name;
        let standing = self.standing(place).await?;
        let failed = standing.as_ref().and_then(|s| s.failed.as_ref()).map(|d| d.deployment.clone());
        let Some(present) = standing.and_then(|s| s.good).map(|d| d.deployment) else {
            return Ok(Err(format!("Nothing was deployed to {environment} with success yet.")));
        };
        // What runs there may be half of what failed last: the way back leads to what went well before that.
        if let Some(failed) =
            failed.filter(|failed| failed.of.build_id != present.of.build_id && failed.prepared.is_some())
        {
            let (last, good) = (&failed.build_name, &present.build_name);
            let why = format!(
                "{last} did not go well on {environment}. Before it, {good} did. Shall {environment} go back to {good}?"
            );
            let is_older = self.is_older(present.of.build_id, failed.of.build_id).await?;
            let changes = sites::changes_by(is_older, failed.source.as_ref(), present.source.as_ref());
            let question = Question { why, changes };
            return Ok(Ok(Before { build: present.of.build_id, build_name: present.build_name, question }));
        }
        let Some(before) = self.store.deployments().good_before(&present.of).await? else {
            let runs = &present.build_name;
            return Ok(Err(format!("{environment} runs {runs}; no other build went well there before.")));
        };
        let why = format!(
            "{environment} runs {}. Before it, {} went well there. Shall it go from {} to {}?",
            present.build_name, before.build_name, present.build_name, before.build_name
        );
        let is_older = self.is_older(before.of.build_id, present.of.build_id).await?;
        let changes = sites::changes_by(is_older, present.source.as_ref(), before.source.as_ref());
        let question = Question { why, changes };
        Ok(Ok(Before { build: before.of.build_id, build_name: before.build_name, question }))
    }

    /// Whether a build was announced before another.
    async fn is_older(&self, build: BuildId, than: BuildId) -> Result<bool, CommandError<Infallible>> {
        let directory = self.store.directory();
        let (this, other) = (directory.build(build).await?, directory.build(than).await?);
        Ok(this.zip(other).is_some_and(|(this, other)| this.position < other.position))
    }
}
