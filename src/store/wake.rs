//! Hearing of new events and log chunks: at once in the same process, by NOTIFY from others, by polling if all fails.
//!
//! NOTIFY goes out after the commit, debounced, on a connection of its own: inside the appending transaction it would
//! serialize all commits of the instance. That somebody was erased is told by the deletion itself, in its transaction.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgListener};
use tokio::sync::{mpsc, watch};

use super::{become_app, connect_as_app, within};
use crate::domain::ids::DeploymentId;

pub(super) const CHANNEL: &str = "coolops";
const DEBOUNCE: Duration = Duration::from_millis(20);

/// The process's ear and voice. Cheap to clone.
#[derive(Clone)]
pub struct Wake {
    events: watch::Sender<i64>,
    about: Arc<Mutex<HashMap<DeploymentId, watch::Sender<u64>>>>,
    /// How often somebody may have been erased.
    erasures: Arc<AtomicU64>,
    outbox: mpsc::UnboundedSender<Signal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Signal {
    Event,
    About(DeploymentId),
}

/// What is announced when somebody was erased, with what erases them: nobody is to miss it because its sender died.
pub(super) const ERASED: &str = "erased";

impl Wake {
    pub(super) fn start(options: PgConnectOptions) -> Self {
        let (outbox, signals) = mpsc::unbounded_channel();
        let wake = Self { events: watch::Sender::new(0), about: Arc::default(), erasures: Arc::default(), outbox };
        tokio::spawn(announce(signals, options.clone().options([("synchronous_commit", "off")])));
        tokio::spawn(listen(options, wake.clone()));
        wake
    }

    /// Events were appended up to this position.
    pub(super) fn appended(&self, position: i64) {
        self.events.send_modify(|p| *p = position.max(*p + 1));
        let _ = self.outbox.send(Signal::Event);
    }

    /// A deployment's output grew, or its state changed.
    pub(super) fn moved(&self, deployment: DeploymentId) {
        self.tell(Some(deployment));
        let _ = self.outbox.send(Signal::About(deployment));
    }

    /// Somebody was erased: what anybody remembers of events may name them.
    pub(super) fn erased(&self) {
        self.erasures.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes whenever somebody may have been erased: then nothing that was read before is to be remembered.
    pub fn erasures(&self) -> u64 {
        self.erasures.load(Ordering::Relaxed)
    }

    /// Changes whenever there may be new events. A missed change costs a poll, never an event.
    pub fn events(&self) -> watch::Receiver<i64> {
        self.events.subscribe()
    }

    /// Changes whenever there may be something new of one deployment.
    pub fn about(&self, deployment: DeploymentId) -> watch::Receiver<u64> {
        let mut about = self.about.lock().expect("no holder of the lock panics");
        about.retain(|_, told| told.receiver_count() > 0);
        about.entry(deployment).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Wakes those who wait for one deployment, or all.
    fn tell(&self, deployment: Option<DeploymentId>) {
        let about = self.about.lock().expect("no holder of the lock panics");
        let waiting = about.iter().filter(|(id, _)| deployment.is_none_or(|of| of == **id));
        waiting.for_each(|(_, told)| told.send_modify(|times| *times += 1));
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
            // Others hear of it by looking.
            let Some(open) = &mut connection else { break };
            let payload = match signal {
                Signal::Event => String::new(),
                Signal::About(id) => id.to_string(),
            };
            if within(sqlx::query!("select pg_notify($1, $2)", CHANNEL, payload).execute(open)).await.is_err() {
                connection = None;
            }
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

async fn listen(options: PgConnectOptions, wake: Wake) {
    loop {
        if let Ok(mut listener) = listener(&options).await {
            // Whatever came while nobody listened is found by looking now.
            wake.events.send_modify(|p| *p += 1);
            wake.tell(None);
            wake.erasures.fetch_add(1, Ordering::Relaxed);
            while let Ok(Some(note)) = listener.try_recv().await {
                match note.payload().parse() {
                    _ if note.payload() == ERASED => {
                        wake.erasures.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(id) => wake.tell(Some(id)),
                    Err(_) => wake.events.send_modify(|p| *p += 1),
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
