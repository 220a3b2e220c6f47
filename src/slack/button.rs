//! Buttons and menus: what they carry, and how they are known again. Written and read here and nowhere else.
//!
//! **Invariant:** what is in a message stays there for years, so every version of a value that was ever sent can be
//! read. A value is constant for the message's life: a press acts on the present, never on what the message showed.

use crate::domain::ids::{BuildId, DeploymentId, EnvironmentId, LockableId, ProjectId};

/// Id of the block of buttons; a menu's block has a version behind it.
const BLOCK: &str = "deploy";
/// Begins the id of a line's block.
const LINE: &str = "line";
/// Ends the action id of a button that opens a log.
const LOGS: &str = ".logs";
/// Begins the id of a block in the answer to a command.
const ANSWER: &str = "answer";

/// What somebody asks for with a button or a menu's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// That a build is deployed.
    Deploy(Button),
    /// That a build is deployed where it was before; asked back where a command is.
    Again(Button),
    /// That the build before the present one is back somewhere; asked back.
    Rollback(EnvironmentId),
    /// That a deployment ends, having been asked back.
    Cancel(DeploymentId),
    /// To be asked whether a deployment shall end, and why.
    AskCancel(DeploymentId),
    /// That everybody in the channel sees what is where, in one project or in all of the channel.
    Show(Option<ProjectId>),
    /// That a lock is taken away: the one that was taken at this time, in microseconds since 1970.
    Unlock(LockableId, i64),
    /// That it stays, says its holder.
    Keep(LockableId, i64),
}

impl Choice {
    /// The value that Slack keeps and sends back.
    pub fn value(self) -> String {
        match self {
            Self::Deploy(button) => button.value(),
            Self::Again(Button { build, environment }) => format!("v1.again.{build}.{environment}"),
            Self::Rollback(environment) => format!("v1.rollback.{environment}"),
            Self::Cancel(deployment) => format!("v1.cancel.{deployment}"),
            Self::AskCancel(deployment) => format!("v1.ask_cancel.{deployment}"),
            Self::Show(Some(project)) => format!("v1.show.{project}"),
            Self::Unlock(lockable, since) => format!("v1.unlock.{lockable}.{since}"),
            Self::Keep(lockable, since) => format!("v1.keep.{lockable}.{since}"),
            Self::Show(None) => "v1.show.all".to_owned(),
        }
    }

    /// Reads a value; `None` when it was never ours.
    pub fn read(value: &str) -> Option<Self> {
        let behind = |prefix: &str| value.strip_prefix(prefix);
        if let Some(deployment) = behind("v1.cancel.") {
            return Some(Self::Cancel(deployment.parse().ok()?));
        }
        if let Some(deployment) = behind("v1.ask_cancel.") {
            return Some(Self::AskCancel(deployment.parse().ok()?));
        }
        if let Some(button) = behind("v1.again.") {
            return Button::read(&format!("v1.{button}")).map(Self::Again);
        }
        if let Some(environment) = behind("v1.rollback.") {
            return Some(Self::Rollback(environment.parse().ok()?));
        }
        let lock = |text: &str| {
            let (lockable, since) = text.split_once('.')?;
            Some((lockable.parse().ok()?, since.parse().ok()?))
        };
        if let Some(text) = behind("v1.unlock.") {
            return lock(text).map(|(lockable, since)| Self::Unlock(lockable, since));
        }
        if let Some(text) = behind("v1.keep.") {
            return lock(text).map(|(lockable, since)| Self::Keep(lockable, since));
        }
        match behind("v1.show.") {
            Some("all") => Some(Self::Show(None)),
            Some(project) => Some(Self::Show(Some(project.parse().ok()?))),
            None => Button::read(value).map(Self::Deploy),
        }
    }
}

/// What a press asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Button {
    /// What to deploy.
    pub build: BuildId,
    /// Where to.
    pub environment: EnvironmentId,
}

impl Button {
    /// The value that Slack keeps and sends back.
    pub fn value(self) -> String {
        format!("v1.{}.{}", self.build, self.environment)
    }

    /// Reads a value; `None` when it was never ours.
    pub fn read(value: &str) -> Option<Self> {
        let mut parts = value.split('.');
        match (parts.next()?, parts.next()?, parts.next()?, parts.next()) {
            ("v1", build, environment, None) => {
                Some(Self { build: build.parse().ok()?, environment: environment.parse().ok()? })
            }
            _ => None,
        }
    }
}

/// Id of the block of buttons.
pub fn block() -> String {
    BLOCK.to_owned()
}

/// Id of a menu's block. Slack keeps what was chosen in a menu while its block's id stays, and a choice that is made
/// already tells nobody anything, so it is another one for each version of the message.
pub fn menu_block(version: u32) -> String {
    format!("{BLOCK}.{version}")
}

/// Whether a block is one of ours.
pub fn is_ours(block: &str) -> bool {
    block.split('.').next().is_some_and(|first| [BLOCK, LINE, ANSWER].contains(&first))
}

/// Id of a line's block, and of what can be done in it.
pub fn line(deployment: DeploymentId) -> String {
    format!("{LINE}.{deployment}")
}

/// Action id of the button that opens a deployment's log.
pub fn logs_action(deployment: DeploymentId) -> String {
    format!("{LINE}.{deployment}{LOGS}")
}

/// Whether a press only opened an address, of which Slack tells all the same.
pub fn only_opens(action: &str) -> bool {
    action.starts_with(LINE) && action.ends_with(LOGS)
}

/// Id of the block of buttons in the answer to a command.
pub fn answer_block() -> String {
    ANSWER.to_owned()
}

/// Action id of the button that takes a lock away.
pub fn unlock_action() -> String {
    format!("{ANSWER}.unlock")
}

/// Action id of the button that lets a lock stay.
pub fn keep_action() -> String {
    format!("{ANSWER}.keep")
}

/// Action id of the button that shows an answer to everybody.
pub fn show_action() -> String {
    format!("{ANSWER}.show")
}

/// Action id of the n-th button.
pub fn action(n: usize) -> String {
    format!("{BLOCK}.{n}")
}

/// Action id of the menu.
pub fn menu_action() -> String {
    format!("{BLOCK}.menu")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let button = Button { build: BuildId(Uuid::from_u128(4)), environment: EnvironmentId(Uuid::from_u128(2)) };
        assert_eq!(Button::read(&button.value()), Some(button));
        for never_ours in ["", "v1", "v1.4.2", "v2.a.b", "4", &format!("{}.more", button.value())] {
            assert_eq!(Button::read(never_ours), None, "{never_ours}");
        }
        let project = ProjectId(Uuid::from_u128(1));
        let cancel = Choice::Cancel(DeploymentId(Uuid::from_u128(5)));
        for choice in [
            Choice::Deploy(button),
            cancel,
            Choice::AskCancel(DeploymentId(Uuid::from_u128(5))),
            Choice::Show(Some(project)),
            Choice::Show(None),
            Choice::Unlock(button.environment.into(), 1_700_000_000_000_000),
            Choice::Keep(LockableId::everything(), 1_700_000_000_000_000),
            Choice::Again(button),
            Choice::Rollback(button.environment),
        ] {
            assert_eq!(Choice::read(&choice.value()), Some(choice));
        }
        assert_eq!(Choice::read("v1.cancel.5"), None);
        assert!(is_ours(&line(DeploymentId(Uuid::from_u128(5)))));
        assert!(is_ours(&block()) && is_ours(&menu_block(7)) && !is_ours("deployment") && !is_ours("link"));
    }
}
