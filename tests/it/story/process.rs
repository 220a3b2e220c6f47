//! A process of the service whose time is simulated: it moves only when it is told to, and can be killed anywhere.
//!
//! Each has a runtime of its own with one thread, the clock of which stands until it is moved. Between two moves a process
//! is as one that the machine has put to sleep: its connections stay open, its leases run out. The database, Slack's
//! stand-in and the engine are the world's, and go on. Killed at a failpoint, or before or after a call of the engine, it
//! stays where it was, and everything of it is dropped there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc as sync_mpsc};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use coolops::app::App;
use coolops::domain::deployment::LogCursor;
use coolops::domain::ids::DeploymentId;
use coolops::domain::names::ImageRef;
use coolops::domain::project::Unchecked;
use coolops::failpoint;
use coolops::jobs::crew::{Crew, Tools};
use coolops::jobs::slack_calls::Paces;
use coolops::jobs::{RUNNER_KINDS, SLACK_KINDS};
use coolops::runner::{Credentials, Exit, Found, Image, Ours, Progress, Reading, RunSpec, Runner, Trouble};
use coolops::slack::client::Slack;
use coolops::store::Store;
use coolops_lab::standin::workspace::TEAM;
use futures::future::BoxFuture;
use sqlx::PgConnection;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::runner::FakeRunner;
use super::{Story, routes};

/// A process is at rest when nothing woke it for so long, by a real clock, and it asks nothing of the database or Slack.
const REST: Duration = Duration::from_millis(2);

/// And however busy it says it is, when nothing woke it and the database did nothing for so long.
const CALM: Duration = Duration::from_secs(3);
/// Nothing keeps it busy for so long.
const RESTLESS: Duration = Duration::from_mins(1);

/// `serve`, as far as a story has it: the routes, and both crews with a few hands.
pub struct Process {
    runtime: Option<Runtime>,
    parts: Option<Parts>,
    fate: Arc<Fate>,
    /// How often its thread went to sleep.
    parks: Arc<AtomicU64>,
    outside: Outside,
    /// While this is held, its time stands.
    _stands: sync_mpsc::Sender<()>,
    /// The world's time when it moved last.
    moved: Duration,
    /// It does not die where it would, but stands still there.
    freezes: bool,
}

/// The world around it, which has a real clock.
#[derive(Clone)]
struct Outside {
    runtime: Handle,
    database: Arc<tokio::sync::Mutex<PgConnection>>,
}

impl Outside {
    /// Waits for a moment; `false` when the database is at work.
    async fn waits(&self) -> bool {
        let database = Arc::clone(&self.database);
        let wait = async move {
            tokio::time::sleep(REST).await;
            let busy = "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' and pid <> pg_backend_pid()";
            let busy: i64 = sqlx::query_scalar(busy).fetch_one(&mut *database.lock().await).await.unwrap();
            busy == 0
        };
        self.runtime.spawn(wait).await.unwrap()
    }
}

/// What a process is made of.
struct Parts {
    router: Router,
    store: Store,
    /// Whoever talks to Slack: its hands are free when it has heard an answer.
    slack: Crew,
}

/// Where it dies.
#[derive(Default)]
struct Fate {
    wanted: Mutex<Option<&'static str>>,
    /// Waits until it dies in one; never when there are none.
    waits: AtomicU64,
    place: Mutex<Option<&'static str>>,
    died: Notify,
}

impl Fate {
    fn comes_to(&self, place: &'static str) -> bool {
        let mut died = self.place.lock().unwrap();
        if died.is_none() && *self.wanted.lock().unwrap() == Some(place) {
            *died = Some(place);
            self.died.notify_one();
        }
        died.is_some()
    }

    /// It waits for whatever it is: an answer of the database or of Slack, or a time.
    fn waits(&self) {
        if self.waits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) == Ok(1) {
            self.place.lock().unwrap().get_or_insert("while it waited");
            self.died.notify_one();
        }
    }
}

/// Where a process can die, beside wherever it waits: the failpoints that jobs and the writer come to, and before and after the
/// calls of the engine.
pub const DEATHS: [&str; 35] = [
    "before_commit",
    "after_commit",
    "before_complete",
    "after_attempted",
    "after_post",
    "after_sent",
    "after_update",
    "after_report_attempted",
    "after_report",
    "before_intent",
    "after_intent",
    "after_create",
    "after_start",
    "after_started",
    "after_output",
    "after_chunk",
    "before_end",
    "after_end",
    "before prepare",
    "after prepare",
    "before look",
    "after look",
    "before create",
    "after create",
    "before start",
    "after start",
    "before wait",
    "after wait",
    "before stop",
    "after stop",
    "before discard",
    "after discard",
    "before remove",
    "after remove",
    "after containers",
];

impl Process {
    /// Starts one at a time of the world.
    pub async fn start(s: &Story, now: Duration) -> Self {
        let parks = Arc::new(AtomicU64::new(0));
        let fate = Arc::<Fate>::default();
        let (parked, fated) = (Arc::clone(&parks), Arc::clone(&fate));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            // Whoever waits for its end is told before anything else moves.
            .event_interval(1)
            .on_thread_park(move || {
                parked.fetch_add(1, Ordering::Relaxed);
                fated.waits();
            })
            .build()
            .unwrap();
        let (stands, until) = sync_mpsc::channel::<()>();
        // Tokio moves a paused clock by itself when nothing is left to do, but not while something blocks.
        runtime.spawn_blocking(move || until.recv().is_err());
        let parts = tokio::task::block_in_place(|| runtime.block_on(begin(s)));
        let database = Arc::new(tokio::sync::Mutex::new(s.database.owner().await));
        let outside = Outside { runtime: Handle::current(), database };
        let mut process = Self {
            runtime: Some(runtime),
            parts: Some(parts),
            fate,
            parks,
            outside,
            _stands: stands,
            moved: now,
            freezes: false,
        };
        process.works(async {});
        process
    }

    /// It dies when it comes to this place; it lives where there is none.
    pub fn dies_at(&self, place: Option<&'static str>) {
        *self.fate.wanted.lock().unwrap() = place;
        self.fate.waits.store(0, Ordering::Relaxed);
    }

    /// It stands still when it comes to this place, until it [`wakes`](Self::wakes).
    pub fn freezes_at(&mut self, place: &'static str) {
        self.dies_at(Some(place));
        self.freezes = true;
    }

    /// It goes on from where it stood, at the world's time, and believes that nothing happened.
    pub fn wakes(&mut self, now: Duration) {
        self.freezes = false;
        self.dies_at(None);
        *self.fate.place.lock().unwrap() = None;
        self.moves(now);
    }

    /// It dies in the wait after so many, whatever it waits for.
    pub fn dies_after(&self, waits: u64) {
        self.fate.waits.store(waits + 1, Ordering::Relaxed);
    }

    /// Where it died, or stands still, if it does.
    pub fn died(&self) -> Option<&'static str> {
        *self.fate.place.lock().unwrap()
    }

    /// Its time becomes the world's, and it does what is due until it waits.
    pub fn moves(&mut self, now: Duration) {
        let passed = now.saturating_sub(std::mem::replace(&mut self.moved, now));
        self.works(async move { tokio::time::advance(passed).await });
    }

    /// It gets a request, at the world's time; none when it gave no answer.
    pub fn hears(&mut self, now: Duration, request: Request<Body>) -> Option<StatusCode> {
        self.moves(now);
        let Some(parts) = &self.parts else { return None };
        let (router, answer) = (parts.router.clone(), Arc::new(Mutex::new(None)));
        let answered = Arc::clone(&answer);
        self.works(async move {
            tokio::spawn(async move {
                let status = router.oneshot(request).await.unwrap().status();
                *answered.lock().unwrap() = Some(status);
            });
        });
        answer.lock().unwrap().take()
    }

    /// Does this, and what follows from it, until it waits or dies.
    fn works(&mut self, work: impl Future<Output = ()>) {
        let (Some(runtime), Some(parts)) = (&self.runtime, &self.parts) else { return };
        let is_idle = || parts.store.is_idle() && parts.slack.is_idle();
        let (fate, parks, outside) = (Arc::clone(&self.fate), Arc::clone(&self.parks), self.outside.clone());
        let watched = Arc::clone(&fate);
        let until_rest = async move {
            tokio::select! {
                biased;
                () = fate.died.notified() => {}
                () = async { work.await; at_rest(&parks, &outside, is_idle).await } => {}
            }
        };
        let work = || runtime.block_on(until_rest);
        tokio::task::block_in_place(|| failpoint::watching(Arc::new(move |place| watched.comes_to(place)), work));
        if self.died().is_some() && !self.freezes {
            self.ends();
        }
    }

    /// Everything of it is gone, wherever it was.
    fn ends(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            tokio::task::block_in_place(|| runtime.shutdown_background());
            self.parts = None;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.ends();
    }
}

/// Waits until nothing wakes the process any more.
async fn at_rest(parks: &AtomicU64, outside: &Outside, is_idle: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    let mut moved = begun;
    loop {
        let before = parks.load(Ordering::Relaxed);
        let is_calm = outside.waits().await;
        // It went to sleep once, until this woke it.
        let woken = parks.load(Ordering::Relaxed) - before;
        if !is_calm || woken != 1 {
            moved = std::time::Instant::now();
        } else if is_idle() || moved.elapsed() > CALM {
            // What still holds something then waits for a time of its own, which stands.
            return;
        }
        let idle = is_idle();
        assert!(begun.elapsed() < RESTLESS, "never at rest: calm {is_calm}, idle {idle}, woken {woken} times");
    }
}

/// The parts of a process, whose loops run from here on.
async fn begin(s: &Story) -> Parts {
    let store = Store::open(&s.database.url, 6).await.unwrap();
    store.keep_clock().await.unwrap();
    let slack = || Slack::new(&s.standin.api_url(), &"xoxb-test".to_owned().into()).unwrap();
    let home = Arc::new(TEAM.to_owned().into());
    let paces = Paces::slack(1);
    let app = App::new(store, s.keyring(), "https://coolops.test").pacing_posts(paces.post);
    let app = Arc::new(app.asking(slack(), Arc::clone(&home)));
    let runner = Arc::new(Mortal(Arc::clone(&s.runner))) as Arc<dyn Runner>;
    let crews = [(Tools::Slack(Box::new(slack()), paces), SLACK_KINDS, 2), (Tools::Runner(runner), RUNNER_KINDS, 3)];
    let crews = crews.map(|(tools, kinds, hands)| {
        let crew = Crew::new(Arc::clone(&app), tools, kinds, hands, CancellationToken::new());
        let sweeping = crew.clone();
        // Nobody rings in such a world.
        tokio::spawn(async move { sweeping.sweep(|| false).await });
        crew
    });
    let [slack, _] = crews;
    let store = app.store.clone();
    Parts { router: routes(app, home), store, slack }
}

/// The world's engine, as one process calls it, which may die before a call or after it.
struct Mortal(Arc<FakeRunner>);

macro_rules! call {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        Box::pin(async move {
            failpoint::here(concat!("before ", stringify!($method))).await;
            let done = $self.0.$method($($argument),*).await;
            failpoint::here(concat!("after ", stringify!($method))).await;
            done
        })
    };
}

impl Runner for Mortal {
    fn engine_id(&self) -> BoxFuture<'_, Result<String, Trouble>> {
        // Asked by the crew in each round: dying there is dying between two jobs.
        self.0.engine_id()
    }

    fn alive(&self) -> BoxFuture<'_, Result<(), Trouble>> {
        self.0.alive()
    }

    fn prepare<'a>(
        &'a self,
        image: &'a ImageRef,
        credentials: Option<Credentials>,
        unchecked: Unchecked,
        progress: mpsc::Sender<Progress>,
    ) -> BoxFuture<'a, Result<Image, Trouble>> {
        call!(self.prepare(image, credentials, unchecked, progress))
    }

    fn look<'a>(&'a self, container: &'a str, deployment: DeploymentId) -> BoxFuture<'a, Result<Found, Trouble>> {
        call!(self.look(container, deployment))
    }

    fn create<'a>(&'a self, spec: &'a RunSpec) -> BoxFuture<'a, Result<String, Trouble>> {
        call!(self.create(spec))
    }

    fn start<'a>(&'a self, spec: &'a RunSpec, id: &'a str) -> BoxFuture<'a, Result<Box<dyn Reading>, Trouble>> {
        call!(self.start(spec, id))
    }

    fn follow(&self, id: String, from: Option<LogCursor>) -> Box<dyn Reading> {
        self.0.follow(id, from)
    }

    fn wait<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Exit, Trouble>> {
        call!(self.wait(id))
    }

    fn stop<'a>(&'a self, id: &'a str, grace: Duration) -> BoxFuture<'a, Result<(), Trouble>> {
        call!(self.stop(id, grace))
    }

    fn containers<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<Vec<Ours>, Trouble>> {
        call!(self.containers(instance))
    }

    fn discard<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Trouble>> {
        call!(self.discard(id))
    }

    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Trouble>> {
        call!(self.remove(id))
    }
}
