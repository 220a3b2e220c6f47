//! A press: whether it makes a deployment, and where in the line; and whether somebody may end one.

use super::build::BuildRegistered;
use super::deployment::*;
use super::event::Event;
use super::ids::*;
use super::line::Line;
use super::project::{Environment, Project};
use super::rights::{Known, Right};

/// Somebody wants a build deployed.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain facts of the press")]
pub struct RequestDeployment {
    pub deployment_id: DeploymentId,
    pub build_id: BuildId,
    pub environment_id: EnvironmentId,
    pub requested_by: Somebody,
    /// Where in Slack; none at the command line, where who sits there may all.
    pub pressed: Option<Pressed>,
}

/// Where in Slack somebody pressed.
#[derive(Debug, Clone)]
pub struct Pressed {
    /// The channel.
    pub channel: String,
    /// The button is not on a message of this app in its own workspace.
    pub foreign: bool,
}

/// Decides a press: the deployment takes its place in the line.
///
/// `posted_in` is the channel that Slack named when it took the build's message, `known` what is known of who pressed.
///
/// # Errors
/// Why not; of somebody in Slack that is recorded too.
pub fn request(
    build: Option<(&BuildRegistered, &Project)>,
    posted_in: Option<&str>,
    line: &Line,
    known: &Known,
    command: &RequestDeployment,
) -> Result<DeploymentRequested, PressRefusal> {
    let RequestDeployment { deployment_id, build_id, environment_id, requested_by, pressed } = command;
    if pressed.as_ref().is_some_and(|pressed| pressed.foreign) {
        return Err(PressRefusal::ForeignMessage);
    }
    let (build, project) = build.ok_or(PressRefusal::BuildUnknown)?;
    if project.archived {
        return Err(PressRefusal::ProjectArchived { project: project.name.clone() });
    }
    if let Some(pressed) = pressed {
        admit(build, project, posted_in, &pressed.channel)?;
    }
    let Some(environment) = project.environment(*environment_id).filter(|e| !e.archived) else {
        let shown = build.environments.iter().find(|e| e.id == *environment_id);
        let environment = shown.map_or_else(|| "of this button".to_owned(), |e| e.name.clone());
        return Err(PressRefusal::EnvironmentGone { environment });
    };
    if let Somebody::Person(person) = requested_by {
        let may = environment.rights.may(Right::Deploy, person, known);
        may.map_err(|denied| PressRefusal::NotAllowed { environment: environment.name.clone(), denied })?;
    }
    if let Some(there) = line.iter().find(|d| d.of.build_id == *build_id) {
        return Err(PressRefusal::UnderWay {
            build_name: there.build_name.clone(),
            environment: environment.name.clone(),
            state: there.state(),
            since_press_of: there.requested_by.id().to_owned(),
            by_operator: there.requested_by.person().is_none(),
        });
    }
    // What waits makes room for a newer press, where that is wanted.
    let stays = |d: &Deployment| d.state() != State::Queued || !environment.superseding;
    let kept_by = line.keeps(requested_by);
    let ahead = match kept_by {
        Some(_) if !line.iter().any(stays) => None,
        // Theirs goes before what their lock keeps waiting.
        None if !line.locks.is_empty() => {
            let own = line.iter().rev().find(|d| line.lets(d) && d.state() == State::Queued && stays(d));
            own.or(line.holder())
        }
        _ => line.iter().rev().find(|d| d.state() == State::Queued && stays(d)).or(line.holder()),
    };
    Ok(DeploymentRequested {
        of: DeploymentOf {
            deployment_id: *deployment_id,
            build_id: *build_id,
            environment_id: *environment_id,
            project_id: project.id,
        },
        build_name: build.name.clone(),
        environment_name: environment.name.clone(),
        requested_by: requested_by.clone(),
        image: project.image.clone(),
        time_limit_minutes: project.time_limit_minutes,
        log_limit_mebibytes: project.log_limit_mebibytes,
        start_patience_minutes: project.start_patience_minutes,
        stop_grace_seconds: project.stop_grace_seconds,
        unchecked_image: project.unchecked_image,
        behind: ahead.map(Deployment::ahead),
        lock: kept_by.cloned().map(Box::new),
        source: build.source.clone(),
    })
}

/// What is recorded of a press that was refused.
pub fn refused(
    build: Option<(&BuildRegistered, &Project)>,
    command: &RequestDeployment,
    refusal: PressRefusal,
) -> Option<DeploymentRefused> {
    let requested_by = command.requested_by.person()?.clone();
    Some(DeploymentRefused {
        deployment_id: command.deployment_id,
        build_id: command.build_id,
        environment_id: command.environment_id,
        project_id: build.map(|(_, project)| project.id),
        requested_by,
        channel: command.pressed.as_ref()?.channel.clone(),
        refusal,
    })
}

/// What an accepted press takes the place of, where the environment is so: those that wait end.
pub fn superseded(environment: &Environment, line: &Line, newer: &DeploymentRequested) -> Vec<Event> {
    let waiting = line.iter().filter(|d| environment.superseding && d.state() == State::Queued);
    let stopped = |d: &Deployment| {
        let (deployment_id, by) = (newer.of.deployment_id, newer.build_name.clone());
        let reason = StopReason::Superseded { deployment_id, by };
        DeploymentStopped { of: d.of, reason, exit_code: None, cut_off_after: None, log: None }.into()
    };
    waiting.map(stopped).collect()
}

/// Lets a press in that comes from where the project's builds are deployed from: whoever sees the channel of before may
/// not be who should deploy, or stop, any more.
fn admit(
    build: &BuildRegistered,
    project: &Project,
    posted_in: Option<&str>,
    channel: &str,
) -> Result<(), PressRefusal> {
    if is_at_home(build, project, posted_in, channel) {
        return Ok(());
    }
    Err(PressRefusal::MovedAway { project: project.name.clone(), channel: project.channel.clone() })
}

/// Somebody in Slack asks for the end of a deployment.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "plain facts of the press")]
pub struct CancelDeployment {
    pub deployment_id: DeploymentId,
    pub requested_by: Person,
    pub reason: Option<String>,
    pub channel: String,
    /// The menu is not on a message of this app in its own workspace.
    pub foreign: bool,
    /// They agreed to the end of what had not started.
    pub before_start: bool,
}

/// Decides whether somebody may end a deployment from where they press, whatever was archived meanwhile: what takes away
/// stays possible. Whoever had it deployed may end it.
///
/// # Errors
/// When the press comes from elsewhere, or only others may.
pub fn may_cancel(
    build: Option<(&BuildRegistered, &Project)>,
    posted_in: Option<&str>,
    deployment: &Deployment,
    known: &Known,
    command: &CancelDeployment,
) -> Result<(), PressRefusal> {
    if command.foreign {
        return Err(PressRefusal::ForeignMessage);
    }
    let (build, project) = build.ok_or(PressRefusal::BuildUnknown)?;
    admit(build, project, posted_in, &command.channel)?;
    match project.environment(deployment.of.environment_id) {
        Some(environment) if !deployment.requested_by.is(&command.requested_by) => environment
            .rights
            .may(Right::Stop, &command.requested_by, known)
            .map(|_| ())
            .map_err(|denied| PressRefusal::NotAllowed { environment: environment.name.clone(), denied }),
        _ => Ok(()),
    }
}

/// Whether a press comes from the channel that the project's messages go to now. Slack may answer a post with another
/// id than the one that was set (a private channel that became a public one has two).
pub fn is_at_home(build: &BuildRegistered, project: &Project, posted_in: Option<&str>, channel: &str) -> bool {
    channel == project.channel || (build.channel == project.channel && posted_in.is_none_or(|posted| posted == channel))
}
