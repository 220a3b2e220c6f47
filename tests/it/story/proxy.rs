//! A fault proxy: stands between the service and Postgres, Redis or Docker, and misbehaves on request.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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
    swallow: Arc<AtomicU32>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// Where it listens: a port of loopback.
    pub port: u16,
    /// And a socket in the file system.
    pub socket: PathBuf,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Proxy {
    /// Starts a proxy in front of somebody, passing everything on.
    pub async fn start(target: Target) -> Self {
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let swallow = Arc::new(AtomicU32::new(0));
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        let socket = std::env::temp_dir().join(format!("proxy-{}.sock", super::random_name()));
        let unix = UnixListener::bind(&socket).unwrap();
        let accept = {
            let (mode, swallow) = (Arc::clone(&mode), Arc::clone(&swallow));
            move |client: Box<dyn Stream>| {
                let (mode, swallow, target) = (mode.subscribe(), Arc::clone(&swallow), target.clone());
                tokio::spawn(async move { serve(client, target, mode, swallow).await.unwrap_or_default() });
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
        Self(Arc::new(Running { mode, swallow, tasks: vec![by_tcp, by_unix], port, socket }))
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

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The next so many answers are lost: the request got there, and the connection ends instead of the answer.
    pub fn swallow_answers(&self, count: u32) {
        self.swallow.store(count, Ordering::SeqCst);
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
    swallow: Arc<AtomicU32>,
) -> std::io::Result<()> {
    let mut server: Box<dyn Stream> = match &target {
        Target::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Target::Tcp(address) => Box::new(TcpStream::connect(address).await?),
    };
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
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
                    n => server.write_all(&up[..n]).await?,
                },
                n = server.read(&mut down) => match n? {
                    0 => return Ok(()),
                    n if swallow.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() => {
                        tracing::debug!(bytes = n, "an answer was swallowed");
                        return Ok(());
                    }
                    n => client.write_all(&down[..n]).await?,
                },
                changed = mode.changed() => if changed.is_err() { return Ok(()) },
            },
        }
    }
}
