//! The database's clock, carried on by this machine's between two looks: all replicas judge by the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

use super::Store;

/// How far this machine's clock is behind the database's. Cheap to clone; knows nothing until the first look.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    /// The present time.
    pub fn now(&self) -> DateTime<Utc> {
        local() + chrono::Duration::milliseconds(self.0.load(Ordering::Relaxed))
    }

    /// How far this machine's clock is behind, in milliseconds; negative when it is ahead.
    pub fn behind(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes over a time that was asked for at one of ours: it was told in the middle between asking and now, as far as
    /// anybody knows.
    pub(super) fn set(&self, present: DateTime<Utc>, asked: DateTime<Utc>) {
        let told = asked + (local() - asked) / 2;
        self.0.store((present - told).num_milliseconds(), Ordering::Relaxed);
    }
}

impl Store {
    /// Notes the time, and takes over the database's clock.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep_clock(&self) -> Result<(), sqlx::Error> {
        let asked = local();
        let present = sqlx::query_scalar!(r#"select keep_clock() as "present!""#).fetch_one(&self.work).await?;
        self.clock.set(present, asked);
        Ok(())
    }
}

pub(super) fn local() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}
