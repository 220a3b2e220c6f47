//! What `environment lock`, `project lock` and `installation lock` share, and the same for `unlock`.

use anyhow::Result;

use super::output;
use crate::app::App;
use crate::app::locks::Target;
use crate::domain::event::Actor;
use crate::domain::lock::{Lock, Somebody, Unlocking};
use crate::slack::answer::capital;
use crate::slack::when;

/// For how long, and why.
#[derive(Debug, clap::Args)]
pub(super) struct Terms {
    /// How long, such as 90m, 2h or 3d; until it is taken away otherwise, or, where only the reason of a lock is changed, as long as before
    #[arg(long = "for", value_name = "LENGTH", conflicts_with = "until")]
    lasts: Option<String>,
    /// Until when, such as 18:00, "18:00 Europe/Berlin" or "2026-12-24 09:00"; UTC without a zone
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Why; it is recorded, and shown to those who wait
    #[arg(long)]
    reason: Option<String>,
}

/// Locks something that is called so.
///
/// # Errors
/// A refusal, or that the database is away.
pub(super) async fn lock(app: &App, target: Target, what: &str, terms: Terms, actor: &Actor) -> Result<()> {
    let now = app.store.clock().now();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let until = match (terms.lasts, terms.until) {
        (Some(lasts), _) => Some(when::end("for", &words(&lasts), now)),
        (None, Some(until)) => Some(when::end("until", &words(&until), now)),
        (None, None) => None,
    };
    let until = until.transpose().map_err(anyhow::Error::msg)?;
    let lock = app.lock(target, Lock::new(operator(actor), terms.reason, now, until)).await?;
    let until = lock.until.map(|until| format!(" until {}", output::time(until))).unwrap_or_default();
    output::line(&format!("{} is locked{until}; presses wait.", output::safe(&capital(what))));
    Ok(())
}

/// Takes a lock away, whosever it is.
///
/// # Errors
/// A refusal, or that the database is away.
pub(super) async fn unlock(app: &App, target: Target, what: &str, actor: &Actor) -> Result<()> {
    let lock = app.unlock(target, &Unlocking::Any(operator(actor))).await?;
    let whose = output::safe(lock.holder.name());
    output::line(&format!("{} is unlocked; it was the lock of {whose}.", output::safe(&capital(what))));
    Ok(())
}

/// A lock in a line of a list.
pub(super) fn words(lock: &Lock) -> String {
    let build = lock.build.as_ref().map(|build| format!(" for {}", output::safe(build))).unwrap_or_default();
    let reason = lock.reason.as_ref().map(|r| format!(" ({})", output::safe(r))).unwrap_or_default();
    let until = lock.until.map(|until| format!(", until {}", output::time(until))).unwrap_or_default();
    let (who, since) = (output::safe(lock.holder.name()), output::time(lock.since));
    format!("locked by {who}{build}{reason} since {since}{until}")
}

/// The operator as one who asks for something.
pub(super) fn operator(actor: &Actor) -> Somebody {
    let Actor::Operator { login } = actor else { unreachable!("an operator sits here") };
    Somebody::Operator { login: login.clone() }
}
