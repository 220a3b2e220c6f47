//! A fault proxy: stands between the service and Postgres, Redis or Docker, and misbehaves on request.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

/// How the proxy treats those who connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Nobody is there: whoever connects or is connected is cut off.
    Down,
    /// Connections stay open and nothing comes through, in neither direction.
    Silent,
}

/// Where the real one is.
#[derive(Debug, Clone)]
pub enum Target {
    Unix(PathBuf),
    Tcp(String),
}

/// A proxy that runs until its last handle is dropped.
#[derive(Clone)]
pub struct Proxy(Arc<Running>);

impl std::ops::Deref for Proxy {
    type Target = Running;
    fn deref(&self) -> &Running {
        &self.0
    }
}

/// A running proxy.
pub struct Running {
    mode: Arc<watch::Sender<Mode>>,
    swallow: Arc<Swallow>,
    lost: Arc<watch::Sender<u32>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// Where it listens: a port of loopback.
    pub port: u16,
    /// And a socket in the file system.
    pub socket: PathBuf,
}

/// Which answers are lost, and what comes instead of them.
#[derive(Default)]
struct Swallow {
    left: AtomicU32,
    words: Mutex<&'static str>,
    instead: Mutex<&'static str>,
}

impl Swallow {
    /// Whether this answer is one of them, on a connection with these requests so far.
    fn takes(&self, asked: &[u8]) -> bool {
        let words = self.words.lock().unwrap().as_bytes();
        let is_meant = words.is_empty() || asked.windows(words.len()).any(|w| w == words);
        is_meant && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Proxy {
    /// Starts a proxy in front of somebody, passing everything on.
    pub async fn start(target: Target) -> Self {
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let swallow = Arc::new(Swallow::default());
        let lost = Arc::new(watch::Sender::new(0));
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        let socket = std::env::temp_dir().join(format!("proxy-{}.sock", super::random_name()));
        let unix = UnixListener::bind(&socket).unwrap();
        let accept = {
            let (mode, swallow, lost) = (Arc::clone(&mode), Arc::clone(&swallow), Arc::clone(&lost));
            move |client: Box<dyn Stream>| {
                let (mode, swallow, target) = (mode.subscribe(), Arc::clone(&swallow), target.clone());
                let mut lost = lost.subscribe();
                tokio::spawn(async move {
                    let served = serve(client, target, mode, swallow);
                    tokio::pin!(served);
                    tokio::select! {
                        served = &mut served => served.unwrap_or_default(),
                        // Both ends stay open, and nobody hears of anything any more.
                        _ = lost.changed() => std::future::pending().await,
                    }
                });
            }
        };
        let also = accept.clone();
        let by_tcp = tokio::spawn(async move {
            while let Ok((client, _)) = tcp.accept().await {
                client.set_nodelay(true).ok();
                accept(Box::new(client));
            }
        });
        let by_unix = tokio::spawn(async move {
            while let Ok((client, _)) = unix.accept().await {
                also(Box::new(client));
            }
        });
        Self(Arc::new(Running { mode, swallow, lost, tasks: vec![by_tcp, by_unix], port, socket }))
    }

    /// In front of the Postgres of a database address; tells the address through the proxy too.
    pub async fn postgres(url: &str) -> (Self, String) {
        let url = url::Url::parse(&url.replace("postgres:///", "postgres://socket/")).unwrap();
        let value = |name: &str| url.query_pairs().find(|(k, _)| k == name).map(|(_, v)| v.into_owned()).unwrap();
        let proxy = Self::start(Target::Unix(format!("{}/.s.PGSQL.{}", value("host"), value("port")).into())).await;
        let through = format!("postgres://{}@127.0.0.1:{}{}?sslmode=disable", value("user"), proxy.port, url.path());
        (proxy, through)
    }

    /// In front of the Redis at an address.
    pub async fn redis(url: &str) -> (Self, String) {
        let target = match url.split_once("unix://") {
            Some((_, path)) => Target::Unix(path.split('?').next().unwrap().into()),
            None => Target::Tcp(url.trim_start_matches("redis://").trim_end_matches('/').to_owned()),
        };
        let proxy = Self::start(target).await;
        let through = format!("redis://127.0.0.1:{}", proxy.port);
        (proxy, through)
    }

    /// In front of the Docker Engine at an address.
    pub async fn docker(host: &str) -> (Self, String) {
        let proxy = Self::start(Target::Unix(host.trim_start_matches("unix://").into())).await;
        let through = format!("unix://{}", proxy.socket.display());
        (proxy, through)
    }

    /// Every connection that is open now is dropped on the way, without a word to either end; new ones pass.
    pub fn lose_connections(&self) {
        self.lost.send_modify(|times| *times += 1);
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The next so many answers are lost: the request got there, and the connection ends instead of the answer.
    pub fn swallow_answers(&self, count: u32) {
        self.swallow_answers_to("", count);
    }

    /// The same, of connections on which these words were sent before.
    pub fn swallow_answers_to(&self, words: &'static str, count: u32) {
        self.answers_instead(words, "", count);
    }

    /// The same, and this is what comes before the connection's end.
    pub fn answers_instead(&self, words: &'static str, answer: &'static str, count: u32) {
        *self.swallow.words.lock().unwrap() = words;
        *self.swallow.instead.lock().unwrap() = answer;
        self.swallow.left.store(count, Ordering::SeqCst);
    }

    /// How many of those are still to come.
    pub fn to_swallow(&self) -> u32 {
        self.swallow.left.load(Ordering::SeqCst)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        self.mode.send_replace(Mode::Down);
        std::fs::remove_file(&self.socket).ok();
    }
}

async fn serve(
    mut client: Box<dyn Stream>,
    target: Target,
    mut mode: watch::Receiver<Mode>,
    swallow: Arc<Swallow>,
) -> std::io::Result<()> {
    let mut server: Box<dyn Stream> = match &target {
        Target::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Target::Tcp(address) => Box::new(TcpStream::connect(address).await?),
    };
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut asked = Vec::new();
    loop {
        let now = *mode.borrow_and_update();
        match now {
            Mode::Down => return Ok(()),
            Mode::Silent => {
                if mode.changed().await.is_err() {
                    return Ok(());
                }
            }
            Mode::Pass => tokio::select! {
                n = client.read(&mut up) => match n? {
                    0 => return Ok(()),
                    n => {
                        // Enough to know a connection by its first statements.
                        if asked.len() < 16 * 1024 {
                            asked.extend_from_slice(&up[..n]);
                        }
                        server.write_all(&up[..n]).await?;
                    }
                },
                n = server.read(&mut down) => match n? {
                    0 => return Ok(()),
                    n if swallow.takes(&asked) => {
                        tracing::debug!(bytes = n, "an answer was swallowed");
                        let instead = *swallow.instead.lock().unwrap();
                        return client.write_all(instead.as_bytes()).await;
                    }
                    n => client.write_all(&down[..n]).await?,
                },
                changed = mode.changed() => if changed.is_err() { return Ok(()) },
            },
        }
    }
}
