//! Hearing of new events and log chunks: at once in the same process, by NOTIFY from others, by polling if all fails.
//!
//! NOTIFY goes out after the commit, debounced, on a connection of its own: inside the appending transaction it would
//! serialize all commits of the instance.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgListener};
use tokio::sync::{broadcast, mpsc, watch};

use super::{become_app, connect_as_app, within};
use crate::domain::ids::DeploymentId;

const CHANNEL: &str = "coolops";
const DEBOUNCE: Duration = Duration::from_millis(20);

/// The process's ear and voice. Cheap to clone.
#[derive(Clone)]
pub struct Wake {
    events: watch::Sender<i64>,
    logs: broadcast::Sender<DeploymentId>,
    outbox: mpsc::UnboundedSender<Signal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Signal {
    Event,
    Log(DeploymentId),
}

impl Wake {
    pub(super) fn start(options: PgConnectOptions) -> Self {
        let (outbox, signals) = mpsc::unbounded_channel();
        let wake = Self { events: watch::Sender::new(0), logs: broadcast::Sender::new(1024), outbox };
        tokio::spawn(announce(signals, options.clone().options([("synchronous_commit", "off")])));
        tokio::spawn(listen(options, wake.events.clone(), wake.logs.clone()));
        wake
    }

    /// Events were appended up to this position.
    pub(super) fn appended(&self, position: i64) {
        self.events.send_modify(|p| *p = position.max(*p + 1));
        let _ = self.outbox.send(Signal::Event);
    }

    /// A deployment's output grew.
    pub(super) fn logged(&self, deployment: DeploymentId) {
        let _ = self.logs.send(deployment);
        let _ = self.outbox.send(Signal::Log(deployment));
    }

    /// Changes whenever there may be new events. A missed change costs a poll, never an event.
    pub fn events(&self) -> watch::Receiver<i64> {
        self.events.subscribe()
    }

    /// Names deployments whose output grew.
    pub fn logs(&self) -> broadcast::Receiver<DeploymentId> {
        self.logs.subscribe()
    }
}

async fn announce(mut signals: mpsc::UnboundedReceiver<Signal>, options: PgConnectOptions) {
    let mut connection: Option<PgConnection> = None;
    while let Some(first) = signals.recv().await {
        let mut pending = HashSet::from([first]);
        while let Ok(signal) = signals.try_recv() {
            pending.insert(signal);
        }
        if connection.is_none() {
            connection = within(connect_as_app(&options)).await.ok();
        }
        for signal in pending {
            let Some(open) = &mut connection else { break };
            let payload = match signal {
                Signal::Event => String::new(),
                Signal::Log(id) => id.to_string(),
            };
            if within(sqlx::query!("select pg_notify($1, $2)", CHANNEL, payload).execute(open)).await.is_err() {
                connection = None;
            }
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

async fn listen(options: PgConnectOptions, events: watch::Sender<i64>, logs: broadcast::Sender<DeploymentId>) {
    loop {
        if let Ok(mut listener) = listener(&options).await {
            // Whatever came while nobody listened is found by looking now.
            events.send_modify(|p| *p += 1);
            while let Ok(Some(note)) = listener.try_recv().await {
                match note.payload().parse() {
                    Ok(id) => drop(logs.send(id)),
                    Err(_) => events.send_modify(|p| *p += 1),
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn listener(options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    // A pool of one, because the listener wants a pool; the connection is held for good.
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| Box::pin(become_app(connection)))
        .connect_with(options.clone())
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
