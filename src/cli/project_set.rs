//! `coolops project set`: what of a project can be changed.

use anyhow::Result;

use super::output::Format;
use crate::app::App;
use crate::domain::event::Actor;
use crate::domain::project::{Project, Unchecked};
use crate::domain::settings::ProjectChange;

/// Arguments of `project set`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project's slug
    project: String,
    /// Another name
    #[arg(long)]
    name: Option<String>,
    /// Another image, for presses from now on
    #[arg(long)]
    image: Option<String>,
    /// Another Slack channel, for builds from now on
    #[arg(long)]
    channel: Option<String>,
    /// How long deployments may run, 1 to 1440 minutes (60 unless set), for presses from now on
    #[arg(long, value_name = "MINUTES")]
    time_limit: Option<u32>,
    /// How much of a deployment's output is kept, half from its beginning and half from its end: 1 to 64 MiB (16
    /// unless set), for presses from now on
    #[arg(long, value_name = "MIB")]
    log_limit: Option<u32>,
    /// How long a deployment may fail to start, while Docker can't do it, before it is given up: 1 to 1440 minutes
    /// (10 unless set), for presses from now on
    #[arg(long, value_name = "MINUTES")]
    start_patience: Option<u32>,
    /// How long a container may clean up between SIGTERM and SIGKILL: 1 to 600 seconds (10 unless set), for presses
    /// from now on
    #[arg(long, value_name = "SECONDS")]
    stop_grace: Option<u32>,
    /// For how many days what its deployments print is kept, or `forever`
    #[arg(long, value_name = "DAYS", value_parser = days_kept)]
    keep_output: Option<Kept>,
    /// After how many hours whoever forgot a lock without an end is reminded of it, and how often from then on: 1 to 672
    /// (24 unless set), or never
    #[arg(long, value_name = "HOURS|never", value_parser = reminder)]
    lock_reminder: Option<Reminder>,
    /// What to do when the registry can't say whether a tag that moves (latest) has moved: fail (unless set), or
    /// run the image at hand and say so
    #[arg(long, value_name = "WHAT", value_enum)]
    unchecked_image: Option<UncheckedImage>,
    #[command(flatten)]
    pub(super) format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum UncheckedImage {
    Fail,
    Run,
}

impl From<UncheckedImage> for Unchecked {
    fn from(image: UncheckedImage) -> Self {
        match image {
            UncheckedImage::Fail => Self::Fail,
            UncheckedImage::Run => Self::Run,
        }
    }
}

/// Hours, or never.
#[derive(Debug, Clone, Copy)]
struct Reminder(Option<u32>);

fn reminder(text: &str) -> Result<Reminder, String> {
    if text.eq_ignore_ascii_case("never") {
        return Ok(Reminder(None));
    }
    text.parse().map(|hours| Reminder(Some(hours))).map_err(|_| "give hours, such as 24, or never".to_owned())
}

/// Days, or for ever.
#[derive(Debug, Clone, Copy)]
struct Kept(Option<u32>);

fn days_kept(text: &str) -> Result<Kept, String> {
    if text.eq_ignore_ascii_case("forever") {
        return Ok(Kept(None));
    }
    text.parse().map(|days| Kept(Some(days))).map_err(|_| "give days, such as 90, or forever".to_owned())
}

impl Args {
    fn changes(self) -> Vec<ProjectChange> {
        let changes = [
            self.name.map(ProjectChange::Rename),
            self.image.map(ProjectChange::Image),
            self.channel.map(ProjectChange::Channel),
            self.time_limit.map(ProjectChange::TimeLimit),
            self.log_limit.map(ProjectChange::LogLimit),
            self.start_patience.map(ProjectChange::StartPatience),
            self.stop_grace.map(ProjectChange::StopGrace),
            self.keep_output.map(|Kept(days)| ProjectChange::OutputKept(days)),
            self.lock_reminder.map(|Reminder(hours)| ProjectChange::LockReminder(hours)),
            self.unchecked_image.map(|then| ProjectChange::UncheckedImage(then.into())),
        ];
        changes.into_iter().flatten().collect()
    }
}

/// Changes it, and hands over the project as it is then.
///
/// # Errors
/// A refusal, or that the database is away.
pub(super) async fn run(app: &App, args: Args, actor: &Actor) -> Result<Project> {
    let mut changed = app.project_named(&args.project).await?;
    let changes = args.changes();
    anyhow::ensure!(!changes.is_empty(), "nothing to change; coolops project set --help lists what there is");
    // All are judged before the first is recorded.
    for change in &changes {
        changed.change_settings(change.clone())?;
    }
    for change in changes {
        changed = app.change_project(changed.id, change, actor).await?;
    }
    Ok(changed)
}
