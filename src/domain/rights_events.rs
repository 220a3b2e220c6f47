//! Who may do what in an environment, as it is recorded.
//!
//! **Invariant:** these are the bytes of the log. What they mean is in [`rights`](super::rights).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::*;
use super::payload::Payload;

/// Something that people in Slack may or may not do in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Have builds deployed there.
    Deploy,
    /// Lock it, and take away the lock of somebody else after being asked back.
    Lock,
    /// End what others had deployed there.
    Stop,
    /// All of that, and take locks away without being asked back.
    Administer,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Deploy, Self::Lock, Self::Stop, Self::Administer];

    /// The word for it; fits after "may".
    pub fn word(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Lock => "lock",
            Self::Stop => "stop",
            Self::Administer => "administer",
        }
    }

    /// What is not allowed; fits after "may not".
    pub fn deed(self) -> &'static str {
        match self {
            Self::Deploy => "deploy to",
            Self::Lock => "lock",
            Self::Stop => "stop the deployments of others on",
            Self::Administer => "administer",
        }
    }
}

/// A person or a group of people in Slack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Who {
    /// A person.
    User {
        /// Slack's id, such as `U0123456789`.
        id: String,
        /// What they were called then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// A user group.
    Group {
        /// Slack's id, such as `S0123456789`.
        id: String,
        /// What it was called then; without the `@`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        handle: Option<String>,
    },
}

impl Who {
    /// What people read.
    pub fn name(&self) -> String {
        match self {
            Self::User { id, name: None } | Self::Group { id, handle: None } => id.clone(),
            Self::User { name: Some(name), .. } => name.clone(),
            Self::Group { handle: Some(handle), .. } => format!("@{handle}"),
        }
    }
}

/// Who may do what in an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rights {
    /// Who may deploy; everybody who sees the message where nobody is named, as for the next two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Vec<Who>>,
    /// Who may lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Vec<Who>>,
    /// Who may stop what others had deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<Who>>,
    /// Who may do all that, and take locks away without being asked back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub administer: Vec<Who>,
    /// Whether that goes for people of other workspaces in shared channels too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub other_workspaces: bool,
    /// And for guests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guests: bool,
}

/// Recorded when it was changed who may do what in an environment; from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct EnvironmentRightsChanged {
    pub project_id: ProjectId,
    pub environment_id: EnvironmentId,
    pub rights: Rights,
}

/// Recorded when it was changed who administers everything there is; from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "plain facts")]
pub struct AdministratorsChanged {
    pub administrators: Vec<Who>,
}

/// Why somebody may not do something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Denied {
    /// Others may.
    NotNamed {
        /// What.
        right: Right,
        /// Who may, as they are called: what earlier versions recorded in the place of `who`.
        named: Vec<String>,
        /// Who may.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        who: Vec<Who>,
    },
    /// They are of another workspace.
    OtherWorkspace {
        /// What.
        right: Right,
    },
    /// They are a guest or a bot, or have left the workspace.
    Guest {
        /// What.
        right: Right,
    },
    /// Slack does not say who is in a group, and last said so more than an hour ago or never.
    Unanswered {
        /// What.
        right: Right,
        /// The group, as it is called.
        group: String,
    },
}

impl Denied {
    /// A sentence to whom it is about, as unescaped text.
    pub fn sentence(&self, environment: &str) -> String {
        let (Self::NotNamed { right, .. }
        | Self::OtherWorkspace { right }
        | Self::Guest { right }
        | Self::Unanswered { right, .. }) = self;
        format!("You may not {} {environment}: {}.", right.deed(), self.reason())
    }

    /// The reason; fits after "refused: ".
    pub fn reason(&self) -> String {
        match self {
            Self::NotNamed { named, who, .. } if named.is_empty() && who.is_empty() => "only operators may".to_owned(),
            Self::NotNamed { named, who, .. } => {
                let names: Vec<String> = named.iter().cloned().chain(who.iter().map(Who::name)).collect();
                format!("only {} may", listed(&names))
            }
            Self::OtherWorkspace { .. } => "people of other workspaces may not".to_owned(),
            Self::Guest { .. } => "guests, bots and people who have left may not".to_owned(),
            Self::Unanswered { group, .. } => {
                format!("who is in {group} may, and Slack does not say who that is")
            }
        }
    }
}

/// Names as a sentence has them, not too many.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [before @ .., last] if names.len() <= SHOWN => format!("{} and {last}", before.join(", ")),
        _ => format!("{} and {} others", names[..SHOWN - 1].join(", "), names.len() - (SHOWN - 1)),
    }
}

impl Payload for EnvironmentRightsChanged {
    fn example() -> Self {
        let group = Who::Group { id: "S0123456789".into(), handle: Some("ops".into()) };
        let user = Who::User { id: "U0123456789".into(), name: Some("ana".into()) };
        Self {
            project_id: ProjectId(Uuid::from_u128(0x1)),
            environment_id: EnvironmentId(Uuid::from_u128(0x2)),
            rights: Rights {
                deploy: Some(vec![group.clone(), user.clone()]),
                lock: Some(vec![group.clone()]),
                stop: Some(vec![]),
                administer: vec![user],
                other_workspaces: true,
                guests: true,
            },
        }
    }
}

impl Payload for AdministratorsChanged {
    fn example() -> Self {
        Self { administrators: vec![Who::Group { id: "S0123456789".into(), handle: Some("ops".into()) }] }
    }
}
