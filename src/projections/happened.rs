//! What an event says, in one sentence: for histories and audits.
//!
//! **Invariant:** the sentence is unescaped and may quote what others wrote: whoever shows it escapes it. What an id
//! stands for is said by whoever knows the name.

use std::fmt::Write;

use crate::domain::actor::Actor;
use crate::domain::deployment::stop_words;
use crate::domain::erasure_events::OutputGone;
use crate::domain::event::{DeploymentEvent, Event, InstallationEvent, SettingsEvent};
use crate::domain::lock::{Lock, Somebody};
use crate::domain::moment::to_the_minute;
use crate::domain::project::Unchecked;
use crate::domain::project_events::SecretRef;
use crate::domain::rights::{Right, Rights, Who};

/// What happened; fits behind who did it: "ana: asked for …".
pub fn happened(event: &Event) -> String {
    match event {
        Event::BuildRegistered(e) => format!("announced the build {} of {}", e.name, e.project_name),
        Event::MessagePosted(e) => format!("has the build's message in {} ({})", e.channel, e.ts),
        Event::NotificationsChosen(e) => format!("chose for {} what they are told: {}", e.by.name, e.wants.word()),
        Event::OutputErased(e) => match &e.why {
            OutputGone::Asked { reason } => format!("erased what it printed: {reason}"),
            OutputGone::Expired { days: 1 } => "let go of what it printed, which is kept for a day".to_owned(),
            OutputGone::Expired { days } => format!("let go of what it printed, which is kept for {days} days"),
        },
        Event::Settings(event) => setting(event),
        Event::Installation(event) => match event {
            InstallationEvent::EverythingLocked(e) => format!("locked everything{}", lock(&e.lock)),
            InstallationEvent::EverythingUnlocked(e) => unlocked("everything", &e.lock, e.by.as_ref()),
            InstallationEvent::ForkDecided(e) if e.until == 0 => {
                format!("opened the log again, which had been closed by mistake: {}", e.reason)
            }
            InstallationEvent::ForkDecided(e) => {
                format!("decided that this log goes on, and not one that had {} events: {}", e.until, e.reason)
            }
            InstallationEvent::PersonErased(e) => {
                format!("erased somebody from the whole history ({}): {}", e.key, e.reason)
            }
            InstallationEvent::AdministratorsChanged(e) => {
                format!("made these administer everything: {}", names(&e.administrators))
            }
        },
        Event::Deployment(event) => deployment(event),
    }
}

/// Who did it, as people call them; what is no person says so.
pub fn actor(actor: &Actor) -> String {
    match actor {
        Actor::Token(id) => format!("CI with the token {id}"),
        Actor::Webhook { provider, .. } => format!("a webhook of {provider}"),
        Actor::Slack { name, user, .. } if name.is_empty() => user.clone(),
        Actor::Slack { name, .. } => name.clone(),
        Actor::Operator { login } => format!("{login} (operator)"),
        Actor::System => "coolops".to_owned(),
    }
}

fn setting(event: &SettingsEvent) -> String {
    let minutes = |n: u32| format!("{n} minute{}", if n == 1 { "" } else { "s" });
    let on = |is: bool, what: &str| format!("{} {what}", if is { "switched on" } else { "switched off" });
    match event {
        SettingsEvent::ProjectCreated(e) => {
            format!("made the project {} ({}): image {}, channel {}", e.name, e.slug, e.image.as_str(), e.channel)
        }
        SettingsEvent::ProjectRenamed(e) => format!("named the project {}", e.name),
        SettingsEvent::ProjectImageChanged(e) => format!("set the deployment image to {}", e.image.as_str()),
        SettingsEvent::ProjectChannelChanged(e) => format!("directed its messages to {}", e.channel),
        SettingsEvent::ProjectTimeLimitChanged(e) => format!("set the time limit to {}", minutes(e.minutes)),
        SettingsEvent::ProjectLogLimitChanged(e) => format!("set the log limit to {} MiB", e.mebibytes),
        SettingsEvent::ProjectStartPatienceChanged(e) => {
            format!("set the patience with starts to {}", minutes(e.minutes))
        }
        SettingsEvent::ProjectStopGraceChanged(e) => format!("set the grace before SIGKILL to {} s", e.seconds),
        SettingsEvent::ProjectUncheckedImageChanged(e) => match e.then {
            Unchecked::Fail => "let deployments fail whose image can't be checked".to_owned(),
            Unchecked::Run => "let deployments run whose image can't be checked".to_owned(),
        },
        SettingsEvent::ProjectLockReminderChanged(e) => match e.hours {
            Some(hours) => format!("has forgotten locks reminded of after {hours} h"),
            None => "has nobody reminded of locks".to_owned(),
        },
        SettingsEvent::ProjectOutputKeptChanged(e) => match e.days {
            Some(1) => "has what deployments print kept for a day".to_owned(),
            Some(days) => format!("has what deployments print kept for {days} days"),
            None => "has what deployments print kept for ever".to_owned(),
        },
        SettingsEvent::ProjectHoldChanged(e) => match &e.reason {
            Some(reason) => format!("held the project, so that none of its output is erased, and nobody: {reason}"),
            None => "ended the hold on the project".to_owned(),
        },
        SettingsEvent::ProjectLocked(e) => format!("locked the project{}", lock(&e.lock)),
        SettingsEvent::ProjectUnlocked(e) => unlocked("the project", &e.lock, e.by.as_ref()),
        SettingsEvent::ProjectParamsChanged(e) => match &e.params {
            Some(params) => format!("allowed these params alone: {}", params.join(", ")),
            None => "allowed all params".to_owned(),
        },
        SettingsEvent::ProjectLinksRevoked(_) => "declared all links to its logs void".to_owned(),
        SettingsEvent::ProjectArchived(_) => "archived the project".to_owned(),
        SettingsEvent::TokenIssued(e) => format!("issued the token {} ({})", e.token_id, e.label),
        SettingsEvent::TokenRevoked(e) => format!("revoked the token {}", e.token_id),
        SettingsEvent::RegistryCredentialsSet(e) => {
            format!("set the credentials of {} for {}: {}", e.username, e.registry, secret(&e.secret))
        }
        SettingsEvent::RegistryCredentialsUnset(e) => format!("removed the credentials for {}", e.registry),
        SettingsEvent::CiSecretSet(e) => format!("set the secret of {}'s webhooks: {}", e.provider, secret(&e.secret)),
        SettingsEvent::CiUnset(e) => format!("stopped taking {}'s webhooks", e.provider),
        SettingsEvent::CiRulesChanged(e) => format!("changed the rules for {}", e.provider),
        SettingsEvent::EnvironmentCreated(e) => format!("made the environment {}", e.name),
        SettingsEvent::EnvironmentRenamed(e) => format!("named it {}", e.name),
        SettingsEvent::EnvironmentMoved(e) => format!("moved it to place {}", e.position),
        SettingsEvent::EnvironmentProtectionChanged(e) => on(e.protected, "protection"),
        SettingsEvent::EnvironmentSupersedingChanged(e) => on(e.superseding, "superseding"),
        SettingsEvent::EnvironmentBroadcastingChanged(e) => on(e.broadcasting, "broadcasting failures"),
        SettingsEvent::EnvironmentLockingChanged(e) => on(e.locking, "locking by deployments"),
        SettingsEvent::EnvironmentRightsChanged(e) => format!("set who may do what: {}", rights(&e.rights)),
        SettingsEvent::EnvironmentLocked(e) => format!("locked it{}", lock(&e.lock)),
        SettingsEvent::EnvironmentUnlocked(e) => unlocked("it", &e.lock, e.by.as_ref()),
        SettingsEvent::EnvironmentArchived(_) => "archived the environment".to_owned(),
        SettingsEvent::VariableSet(e) => format!("set {}={}", e.name, e.value),
        SettingsEvent::SecretSet(e) => format!("set the secret {}: {}", e.name, secret(&e.secret)),
        SettingsEvent::VariableUnset(e) => format!("removed {}", e.name),
    }
}

fn deployment(event: &DeploymentEvent) -> String {
    match event {
        DeploymentEvent::Requested(e) => {
            let mut said = format!("asked for {} on {}", e.build_name, e.environment_name);
            if let Some(behind) = &e.behind {
                let _ = write!(said, "; it waits behind {}", behind.build_name);
            }
            if let Some(lock) = &e.lock {
                let _ = write!(said, "; it waits for the lock of {}", lock.holder.name());
            }
            said
        }
        DeploymentEvent::Refused(e) => format!("was refused: {}", e.refusal.sentence()),
        DeploymentEvent::Promoted(_) => "gave it its turn".to_owned(),
        DeploymentEvent::MovedUp(e) => format!("moved it up: it waits behind {}", e.behind.build_name),
        DeploymentEvent::LockedOut(e) => format!("keeps it waiting for the lock of {}", e.lock.holder.name()),
        DeploymentEvent::PullStarted(_) => "fetches its image".to_owned(),
        DeploymentEvent::Delayed(e) => format!("can't start it yet: {}", e.problem),
        DeploymentEvent::StrayStopped(_) => "found its container running after its end, and stopped it".to_owned(),
        DeploymentEvent::Prepared(e) => {
            let image = e.digest.as_deref().unwrap_or(&e.image_id);
            match &e.replaces {
                Some(before) => format!("prepared it with {image}, in place of {before}"),
                None => format!("prepared it with {image}"),
            }
        }
        DeploymentEvent::Started(_) => "started its container".to_owned(),
        DeploymentEvent::StopRequested(e) => format!("told it to stop: {}", stop_words(&e.reason, None, None)),
        DeploymentEvent::Stopped(e) => {
            format!("it was stopped: {}", stop_words(&e.reason, e.exit_code, e.cut_off_after))
        }
        DeploymentEvent::Succeeded(e) => {
            format!("it succeeded, with {} line{} of output", e.log.lines, if e.log.lines == 1 { "" } else { "s" })
        }
        DeploymentEvent::Failed(e) => format!("it failed: {}", e.failure.sentence("its image")),
        DeploymentEvent::Lost(e) => format!("it can't be known how it ended: {}", e.loss.sentence()),
        DeploymentEvent::Resolved(e) => {
            let verdict = match e.verdict {
                crate::domain::deployment::Verdict::Succeeded => "succeeded",
                crate::domain::deployment::Verdict::Failed => "failed",
            };
            format!("decided that it {verdict}: {}", e.reason)
        }
    }
}

fn lock(lock: &Lock) -> String {
    let until = lock.until.map(|until| format!(" until {}", to_the_minute(until))).unwrap_or_default();
    let reason = lock.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!(" for {}{until}{reason}", lock.holder.name())
}

fn unlocked(what: &str, lock: &Lock, by: Option<&Somebody>) -> String {
    match by {
        Some(_) => format!("unlocked {what}, which {} had locked", lock.holder.name()),
        None => format!("unlocked {what}: the lock of {} ran out", lock.holder.name()),
    }
}

fn secret(secret: &SecretRef) -> String {
    format!("version {}, fingerprint {}", secret.version, secret.fingerprint)
}

fn names(all: &[Who]) -> String {
    match all {
        [] => "nobody".to_owned(),
        all => all.iter().map(Who::name).collect::<Vec<_>>().join(", "),
    }
}

fn rights(rights: &Rights) -> String {
    let of = |right: Right| {
        let named = rights.named(right).map_or_else(|| "everybody".to_owned(), names);
        format!("{} {named}", right.word())
    };
    let mut said = Right::ALL.map(of).join("; ");
    if rights.other_workspaces {
        said.push_str("; other workspaces too");
    }
    if rights.guests {
        said.push_str("; guests too");
    }
    said
}
