//! The way in: who may connect, for how long without asking for anything, and how much is answered at a time.
//!
//! **Invariant:** a connection that has asked for nothing yet never keeps out one that has. When there is no room the
//! one that waits longest without a whole request goes, first among those of the same address.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long a connection may take for what it has not finished.
const HEAD: Duration = Duration::from_secs(10);
/// How long a body may take to arrive.
pub const BODY: Duration = Duration::from_secs(15);
/// How long a connection may wait between two requests, or take nothing of an answer; proxies keep theirs for a minute.
const IDLE: Duration = Duration::from_secs(75);
/// How often overdue connections are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Connections in all, at most, where the process may have so many files.
const CONNECTIONS: usize = 2_048;
/// Files that are kept for Postgres, Redis, Docker, Slack and the process itself.
const RESERVE: usize = 256;

/// How many connections there is room for.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    connections: usize,
    of_one_address: usize,
}

impl ConnectionLimits {
    /// Room in a process that may open so many files. One address gets half of it.
    pub fn within(files: usize) -> Self {
        let connections = files.saturating_sub(RESERVE).clamp(64, CONNECTIONS);
        Self { connections, of_one_address: connections / 2 }
    }
}

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between two requests.
    Idle,
    /// Has not sent a whole head yet.
    Head,
    /// Has not sent the whole body yet.
    Body,
    /// Asked for something, and gets it.
    Answering,
}

struct Seat {
    address: IpAddr,
    at: Mutex<(Phase, Instant)>,
    /// Since when what we have for it is not taken; none while it is.
    stuck: Mutex<Option<Instant>>,
    /// When it last took something.
    took: Mutex<Instant>,
    close: CancellationToken,
}

impl Seat {
    fn now(&self, phase: Phase) {
        *lock(&self.at) = (phase, Instant::now());
    }

    /// The first byte of a request.
    fn heard(&self) {
        let mut at = lock(&self.at);
        if at.0 == Phase::Idle {
            *at = (Phase::Head, Instant::now());
        }
    }

    /// What was written was taken, or not.
    fn wrote(&self, taken: bool) {
        let mut stuck = lock(&self.stuck);
        if taken {
            *stuck = None;
            *lock(&self.took) = Instant::now();
        } else {
            stuck.get_or_insert_with(Instant::now);
        }
    }

    /// Since when it has been without a whole request, or takes nothing of its answer.
    fn waits_since(&self) -> Option<Instant> {
        if let Some(stuck) = *lock(&self.stuck) {
            return (stuck.elapsed() > HEAD).then_some(stuck);
        }
        let (phase, since) = *lock(&self.at);
        // An answer may be over and still on its way.
        (phase != Phase::Answering).then(|| since.max(*lock(&self.took)))
    }

    fn is_overdue(&self) -> bool {
        if let Some(stuck) = *lock(&self.stuck) {
            return stuck.elapsed() > IDLE;
        }
        let (phase, since) = *lock(&self.at);
        let since = if phase == Phase::Idle { since.max(*lock(&self.took)) } else { since };
        let limit = match phase {
            Phase::Idle => IDLE,
            Phase::Head => HEAD,
            // Whoever reads the body answers first, at BODY.
            Phase::Body => BODY + HEAD,
            Phase::Answering => return false,
        };
        since.elapsed() > limit
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of the lock panics")
}

/// The connections there are.
#[derive(Default)]
struct Seats {
    all: Mutex<(u64, HashMap<u64, Arc<Seat>>)>,
}

impl Seats {
    /// A seat for a connection, for which another one may have to go; nothing when everybody is being answered.
    fn take(&self, address: IpAddr, room: ConnectionLimits) -> Option<(u64, Arc<Seat>)> {
        let mut all = lock(&self.all);
        let of_address = all.1.values().filter(|s| s.address == address).count();
        if of_address >= room.of_one_address {
            Self::make_room(&mut all.1, |s| s.address == address)?;
        }
        if all.1.len() >= room.connections {
            Self::make_room(&mut all.1, |_| true)?;
        }
        all.0 += 1;
        let number = all.0;
        let seat = Arc::new(Seat {
            address,
            at: Mutex::new((Phase::Head, Instant::now())),
            stuck: Mutex::default(),
            took: Mutex::new(Instant::now()),
            close: CancellationToken::new(),
        });
        all.1.insert(number, Arc::clone(&seat));
        Some((number, seat))
    }

    fn make_room(all: &mut HashMap<u64, Arc<Seat>>, who: impl Fn(&Seat) -> bool) -> Option<()> {
        let waiting = all.iter().filter(|(_, s)| who(s)).filter_map(|(n, s)| Some((s.waits_since()?, *n)));
        let (_, longest) = waiting.min()?;
        all.remove(&longest)?.close.cancel();
        metrics::counter!("coolops_connections_closed_total", "why" => "room").increment(1);
        Some(())
    }

    fn give_back(&self, number: u64) {
        lock(&self.all).1.remove(&number);
    }

    fn close_overdue(&self) {
        for seat in lock(&self.all).1.values().filter(|s| s.is_overdue()) {
            seat.close.cancel();
            metrics::counter!("coolops_connections_closed_total", "why" => "slow").increment(1);
        }
    }
}

/// Serves what `routes` gives at the time of a request, until it is stopped; then what is being answered is finished.
pub async fn serve(
    listener: TcpListener,
    routes: impl Fn() -> Router + Clone + Send + Sync + 'static,
    room: ConnectionLimits,
    stop: CancellationToken,
) {
    let seats = Arc::new(Seats::default());
    let tracker = tokio_util::task::TaskTracker::new();
    let mut look = tokio::time::interval(LOOK);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = look.tick() => {
                seats.close_overdue();
                continue;
            }
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                // Nobody waits, and everybody is being answered: whoever comes now is better told by a closed door than
                // by silence.
                let Some((number, seat)) = seats.take(peer.ip(), room) else { continue };
                let (seats, routes, stop) = (Arc::clone(&seats), routes.clone(), stop.clone());
                tracker.spawn(async move {
                    connection(stream, &seat, routes, stop).await;
                    seats.give_back(number);
                });
            }
            // No files are left: those who wait give theirs back.
            Err(e) => {
                tracing::debug!(error = %e, "a connection can't be taken");
                let _ = Seats::make_room(&mut lock(&seats.all).1, |_| true);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    tracker.close();
    tracker.wait().await;
}

async fn connection(stream: TcpStream, seat: &Arc<Seat>, routes: impl Fn() -> Router + Clone, stop: CancellationToken) {
    stream.set_nodelay(true).ok();
    let io = TokioIo::new(Heard { stream, seat: Arc::clone(seat) });
    let answer = service_fn(|request: hyper::Request<Incoming>| {
        let (seat, routes) = (Arc::clone(seat), routes.clone());
        async move {
            let (parts, body) = request.into_parts();
            seat.now(if body.is_end_stream() { Phase::Answering } else { Phase::Body });
            let body = Body::new(Asked { body, seat: Arc::clone(&seat) });
            let response: Response =
                routes().oneshot(Request::from_parts(parts, body)).await.unwrap_or_else(|never| match never {});
            seat.now(Phase::Answering);
            let done = Done(seat);
            Ok::<_, Infallible>(response.map(|body| Answered { body, _done: done }))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(io, answer);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = seat.close.cancelled() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = connection => {}
        () = seat.close.cancelled() => {}
    }
}

/// A stream that tells its seat of the first byte of a request.
struct Heard {
    stream: TcpStream,
    seat: Arc<Seat>,
}

impl AsyncRead for Heard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.seat.heard();
        }
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.seat.wrote(written.is_ready());
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A request's body, which is being waited for until its end.
struct Asked {
    body: Incoming,
    seat: Arc<Seat>,
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.seat.now(Phase::Answering);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Tells the seat that an answer is over, whole or not.
struct Done(Arc<Seat>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.now(Phase::Idle);
    }
}

/// An answer's body.
struct Answered {
    body: Body,
    _done: Done,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_longest_makes_room_and_nobody_who_is_answered() {
        let (seats, room) = (Seats::default(), ConnectionLimits { connections: 4, of_one_address: 2 });
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        let (_, first) = seats.take(address(1), room).unwrap();
        let (_, second) = seats.take(address(1), room).unwrap();
        first.now(Phase::Answering);
        let (_, third) = seats.take(address(1), room).unwrap();
        assert!(second.close.is_cancelled() && !first.close.is_cancelled(), "the one that waited went");
        third.now(Phase::Answering);
        assert!(seats.take(address(1), room).is_none(), "an address has its half");
        let (_, fourth) = seats.take(address(2), room).unwrap();
        let (_, fifth) = seats.take(address(3), room).unwrap();
        seats.take(address(4), room).unwrap();
        assert!(fourth.close.is_cancelled() && !fifth.close.is_cancelled());
    }
}
