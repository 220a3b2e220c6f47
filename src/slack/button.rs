//! The deploy button and the deploy menu: what they carry, and how they are known again. Written and read here and
//! nowhere else.
//!
//! **Invariant:** what is in a message stays there for years, so every version of a value that was ever sent can be
//! read. A value is constant for the message's life: a press acts on the present, never on what the message showed.

use crate::domain::ids::{BuildId, EnvironmentId};

/// Id of the block of buttons; a menu's block has a version behind it.
const BLOCK: &str = "deploy";

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
    block.split('.').next() == Some(BLOCK)
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
        assert!(is_ours(&block()) && is_ours(&menu_block(7)) && !is_ours("deployment") && !is_ours("link"));
    }
}
