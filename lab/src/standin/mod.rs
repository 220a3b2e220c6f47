//! A small, stateful and strict model of Slack over HTTP, for the demo and the tests.
//!
//! It knows the Web API methods that we use, with Slack's own limits and errors; it signs presses like Slack; it shows
//! the workspace as a web page where a person can press the buttons; it can be told to misbehave.
//!
//! **Invariant:** it may not import our `slack` module, or it would be no judge of it. It binds to loopback only; its
//! page needs the token of the printed address, so a web page elsewhere can't press a button.

pub mod api;
pub mod command;
pub mod dialog;
pub mod page;
pub mod press;
pub mod validate;
pub mod workspace;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;

use workspace::Workspace;

/// What a stand-in is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port on 127.0.0.1; 0 for any.
    pub port: u16,
    /// The only bot token that is let in.
    pub bot_token: String,
    /// What presses are signed with.
    pub signing_secret: String,
    /// What the page's address needs.
    pub page_token: String,
}

/// A running stand-in. Dropping it stops it.
pub struct StandIn {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

/// What the endpoints share.
pub struct Shared {
    options: Options,
    address: SocketAddr,
    workspace: Mutex<Workspace>,
    /// Counts the changes that a page may show.
    changes: watch::Sender<u64>,
    interactions_url: Mutex<Option<String>>,
}

impl Shared {
    /// The model.
    pub fn workspace(&self) -> MutexGuard<'_, Workspace> {
        self.workspace.lock().expect("no holder of the lock panics")
    }

    fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl StandIn {
    /// Starts one with the workspace of the demo: a channel, three people, our bot.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start(options: Options) -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], options.port))).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            options,
            address,
            workspace: Mutex::new(Workspace::demo()),
            changes: watch::Sender::new(0),
            interactions_url: Mutex::new(None),
        });
        let router = Router::new()
            .route("/api/{method}", post(api::call).get(api::call))
            .route("/respond/{id}", post(press::respond))
            .route("/", get(page::index))
            .route("/page.css", get(page::css))
            .route("/page.js", get(page::js))
            .route("/state", get(page::state))
            .route("/changes", get(page::changes))
            .route("/press", post(page::press))
            .route("/command", post(page::command))
            .route("/dialog", post(page::dialog))
            .route("/delete", post(page::delete))
            .layer(axum::extract::DefaultBodyLimit::max(4 * 1024 * 1024))
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, shared, server })
    }

    /// Base of the Web API, for `SLACK_API_URL`.
    pub fn api_url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// The page's address with the token that it needs.
    pub fn page_url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.shared.options.page_token)
    }

    /// Where presses are sent.
    pub fn send_presses_to(&self, url: &str) {
        *self.shared.interactions_url.lock().expect("no holder of the lock panics") = Some(url.to_owned());
    }

    /// The model, to look at or to change.
    pub fn workspace(&self) -> MutexGuard<'_, Workspace> {
        self.shared.workspace()
    }

    /// What the endpoints share, for presses made by tests.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}
