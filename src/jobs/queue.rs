//! apalis on Redis: the doorbell. The only file that names apalis.
//!
//! A doorbell says "there may be work", nothing more: whoever hears it claims in Postgres, so a doorbell that is lost,
//! doubled or late does no harm. apalis-redis 1.0.0 has edges that shape this file: it picks new jobs up only when
//! woken (hence a wake-up of our own over PUBLISH beside a slow poll), its worker ends at any Redis error and may not
//! come back under the same name (hence the loop with a new name), and batches larger than one lose heartbeats. It
//! takes a ring out of its books only where results are kept, and then keeps those for ever: so nothing is kept, and
//! whoever answers a ring strikes it out here.
//!
//! **Invariant:** what Redis holds is bounded by the rings that are outstanding, whatever happened before. What a
//! killed worker, an older version or half an eviction left is removed before a worker begins: rings are disposable.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_redis::{Config, RedisStorage};
use futures::StreamExt;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::crew::Crew;
use crate::app;
use crate::domain::ids::JobId;
use crate::store::jobs::Via;

/// What is pushed. The handler doesn't look inside: any due job of its kinds will do.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Ring {
    job: JobId,
}

/// One queue of doorbells on one Redis.
pub struct Doorbell {
    client: redis::Client,
    queue: String,
    manager: Mutex<Option<ConnectionManager>>,
    up: AtomicBool,
    broke: std::sync::Mutex<Option<Instant>>,
    /// Why the worker is not listening.
    trouble: std::sync::Mutex<Option<String>>,
}

const RETRY: Duration = Duration::from_secs(1);
/// How long Redis is waited for; with [`RETRY`] shorter than [`DOUBT`], so that a silent one stays in doubt.
const ANSWER: Duration = Duration::from_secs(5);
/// A worker that showed no sign of life for so long is dead: what apalis is told, 2 s five times.
const ALIVE: Duration = Duration::from_secs(10);
/// When a new worker is first looked after: whatever was wrong before it is over then.
const LOOK: Duration = Duration::from_secs(3);
/// How long Redis keeps what a worker is known by.
const STAY: Duration = Duration::from_mins(2);
/// Rings of a sound queue, at most: twice what the relay lets be outstanding.
const OUTSTANDING_MAX: u64 = 512;
/// After a break, crews look for work by themselves for so long.
const DOUBT: Duration = Duration::from_secs(10);

impl Doorbell {
    /// A queue on the Redis at an address. Whether it answers shows later; it may come and go.
    ///
    /// # Errors
    /// When the address can't be read.
    pub fn new(url: &str, queue: &str) -> Result<Self, redis::RedisError> {
        Ok(Self {
            client: redis::Client::open(url)?,
            queue: format!("coolops:{queue}"),
            manager: Mutex::new(None),
            up: AtomicBool::new(true),
            broke: std::sync::Mutex::default(),
            trouble: std::sync::Mutex::default(),
        })
    }

    fn config(&self) -> Config {
        Config::default()
            .queue(&self.queue)
            .batch_size(1)
            .heartbeat_interval(Duration::from_secs(2))
            .missed_heartbeats(5)
            .persist_results(false)
            .lock_tasks(false)
            .emit_events(false)
    }

    fn wake_channel(&self) -> String {
        format!("{}:wake", self.queue)
    }

    async fn manager(&self) -> Result<ConnectionManager, redis::RedisError> {
        let mut held = self.manager.lock().await;
        if let Some(manager) = &*held {
            return Ok(manager.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(ANSWER))
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(500));
        let manager = ConnectionManager::new_with_config(self.client.clone(), config).await?;
        *held = Some(manager.clone());
        Ok(manager)
    }

    /// Whether rings go through: the last one did, or Redis answers again.
    pub async fn is_up(&self) -> bool {
        if !self.up.load(Ordering::Relaxed) && self.ping().await.is_ok() {
            tracing::info!(queue = %self.queue, "Redis answers again");
            self.up.store(true, Ordering::Relaxed);
        }
        self.up.load(Ordering::Relaxed)
    }

    /// Whether rings can be relied on: they go through, and nothing broke off lately that may have swallowed some.
    pub fn is_well(&self) -> bool {
        let broke = *self.broke.lock().expect("no holder of the lock panics");
        self.up.load(Ordering::Relaxed) && broke.is_none_or(|at| at.elapsed() > DOUBT)
    }

    /// Why rings are not heard although Redis may answer; nothing when they are, or nobody listens in this process.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().expect("no holder of the lock panics").clone()
    }

    /// Whether Redis answers now.
    ///
    /// # Errors
    /// What the driver said.
    pub async fn ping(&self) -> Result<(), redis::RedisError> {
        redis::cmd("PING").query_async::<String>(&mut self.manager().await?).await.map(|_| ())
    }

    /// Rings that nobody has answered yet.
    ///
    /// # Errors
    /// What the driver said.
    pub async fn outstanding(&self) -> Result<i64, redis::RedisError> {
        let mut pipe = redis::pipe();
        pipe.cmd("ZCARD").arg(format!("{}:scheduled", self.queue)).cmd("LLEN").arg(format!("{}:active", self.queue));
        let asked = async { pipe.query_async::<(i64, i64)>(&mut self.manager().await?).await };
        match asked.await {
            Ok((scheduled, active)) => Ok(scheduled + active),
            Err(e) => {
                self.is_down(&e);
                Err(e)
            }
        }
    }

    /// Rings for a job; whether that went through. A Redis that is away is noted and otherwise ignored.
    pub async fn ring(&self, job: JobId) -> bool {
        let rung = self.try_ring(job).await;
        if let Err(e) = &rung {
            self.is_down(e);
        }
        rung.is_ok()
    }

    fn is_down(&self, error: &impl std::fmt::Display) {
        if self.up.swap(false, Ordering::Relaxed) {
            tracing::warn!(%error, "Redis does not answer; jobs are found by looking, a few seconds later");
        }
    }

    async fn try_ring(&self, job: JobId) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut manager = self.manager().await?;
        let mut storage = RedisStorage::<Ring>::new(manager.clone()).with_config(self.config());
        // A fresh task id each time: pushing a known one again is silently ignored.
        let task = TaskBuilder::new(Ring { job }).task_id(TaskId::from_string(app::new_id().to_string())).build();
        storage.push_task(task).await?;
        redis::cmd("PUBLISH").arg(self.wake_channel()).arg(1).query_async::<i64>(&mut manager).await?;
        Ok(())
    }

    /// Listens for rings and has the crew take a job for each, until it is stopped. Restarts for ever.
    pub async fn serve(&self, crew: Crew, concurrency: usize, stop: CancellationToken) {
        let mut warned = false;
        while !stop.is_cancelled() {
            let ended = self.serve_once(&crew, concurrency, &stop).await;
            metrics::counter!("coolops_queue_restarts_total", "queue" => self.queue.clone()).increment(1);
            *self.broke.lock().expect("no holder of the lock panics") = Some(Instant::now());
            if let Err(e) = &ended {
                *self.trouble.lock().expect("no holder of the lock panics") = Some(e.to_string());
            }
            match ended {
                Ok(()) => warned = false,
                Err(e) if !warned => {
                    tracing::warn!(error = %e, queue = %self.queue, "the queue on Redis broke off; trying again");
                    warned = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn serve_once(
        &self,
        crew: &Crew,
        concurrency: usize,
        stop: &CancellationToken,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let manager = self.manager().await?;
        let subscribed = async {
            let mut pubsub = self.client.get_async_pubsub().await?;
            pubsub.subscribe(self.wake_channel()).await?;
            Ok::<_, redis::RedisError>(pubsub)
        };
        // The driver waits for ever where nobody answers.
        let mut pubsub = tokio::time::timeout(ANSWER, subscribed).await??;
        let (mut wake, woken) = futures::channel::mpsc::channel::<()>(1);
        let listening = async move {
            let mut messages = pubsub.on_message();
            while messages.next().await.is_some() {
                // A full channel already holds a wake-up.
                let _ = wake.try_send(());
            }
        };
        let books = Books { queue: self.queue.clone(), config: self.config(), redis: manager.clone() };
        tokio::time::timeout(ANSWER, books.clear()).await??;
        let storage = RedisStorage::<Ring>::new(manager).with_config(self.config());
        let polling = Strategy::new().stream(woken).interval(Duration::from_millis(500));
        let name = format!("{}-{}", self.queue, app::new_id());
        let worker = WorkerBuilder::new(name.as_str())
            .backend(storage.poll_with_strategy(polling))
            .data(Answering { crew: crew.clone(), books: books.clone() })
            .concurrency(concurrency)
            .build(answer);
        let until = stop.clone();
        let running = worker.run_until(async move {
            until.cancelled().await;
            Ok::<(), std::io::Error>(())
        });
        // What it is known by goes by itself when it is killed.
        let staying = async {
            let mut next = LOOK;
            loop {
                tokio::time::sleep(std::mem::replace(&mut next, STAY / 4)).await;
                if books.stay(&name).await.is_ok() {
                    *self.trouble.lock().expect("no holder of the lock panics") = None;
                }
            }
        };
        let ended = tokio::select! {
            ended = running => ended.map_err(Into::into),
            () = listening => Err("the connection for wake-ups ended".into()),
            () = staying => unreachable!("it never ends"),
        };
        // Its own close strikes out the wrong name.
        drop(tokio::time::timeout(ANSWER, books.leave(&name)).await);
        ended
    }
}

/// What a worker's handler works with.
#[derive(Clone)]
struct Answering {
    crew: Crew,
    books: Books,
}

/// Answers a ring: the whole job is done before it returns, so apalis counts it as in flight. It never fails, because
/// apalis-redis would run it again by rules of its own.
async fn answer(_ring: Ring, at: Data<Answering>, ring: TaskId, worker: WorkerContext) -> Result<(), BoxDynError> {
    at.crew.take(Via::Doorbell, Duration::ZERO).await;
    // A Redis that is away keeps it; the next worker clears it.
    if let Err(error) = at.books.strike(worker.name(), &ring.to_string()).await {
        tracing::debug!(%error, "an answered ring can't be struck out");
    }
    Ok(())
}

/// apalis' books of one queue.
#[derive(Clone)]
struct Books {
    queue: String,
    config: Config,
    redis: ConnectionManager,
}

type Struck = Result<(), redis::RedisError>;

impl Books {
    fn inflight(&self, worker: &str) -> String {
        format!("{}:{worker}", self.config.inflight_jobs_set())
    }

    fn task(&self, id: &str) -> String {
        format!("{}:{id}", self.config.job_meta_hash())
    }

    fn known_worker(&self, name: &str) -> String {
        format!("{}:workers:metadata:{name}", self.queue)
    }

    /// A ring was answered.
    async fn strike(&self, worker: &str, id: &str) -> Struck {
        let mut pipe = redis::pipe();
        pipe.srem(self.inflight(worker), id).hdel(self.config.job_data_hash(), id).del(self.task(id));
        pipe.query_async(&mut self.redis.clone()).await
    }

    /// A worker is there for a while more.
    async fn stay(&self, worker: &str) -> Struck {
        let seconds = i64::try_from(STAY.as_secs()).unwrap_or(i64::MAX);
        let mut pipe = redis::pipe();
        pipe.expire(self.known_worker(worker), seconds);
        pipe.query_async(&mut self.redis.clone()).await
    }

    /// A worker goes, and with it the rings that it had begun to answer: their jobs are held by this process, or found
    /// by looking.
    async fn leave(&self, worker: &str) -> Struck {
        let mut redis = self.redis.clone();
        let begun: Vec<String> = redis::cmd("SMEMBERS").arg(self.inflight(worker)).query_async(&mut redis).await?;
        let mut pipe = redis::pipe();
        for id in &begun {
            pipe.hdel(self.config.job_data_hash(), id).del(self.task(id));
        }
        pipe.zrem(self.config.workers_set(), worker).del(self.inflight(worker)).del(self.known_worker(worker));
        pipe.query_async(&mut redis).await
    }

    /// Removes what nobody alive answers for. Anything of it may be large, whatever its size should be: it is read in
    /// pieces.
    async fn clear(&self) -> Struck {
        let mut redis = self.redis.clone();
        let (waiting, active, data): (u64, u64, u64) = redis::pipe()
            .zcard(self.config.scheduled_jobs_set())
            .llen(self.config.active_jobs_list())
            .hlen(self.config.job_data_hash())
            .query_async(&mut redis)
            .await?;
        // The oldest sign of life that apalis takes for one.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let dead_since = now.saturating_sub(ALIVE.as_secs());
        if waiting + active > OUTSTANDING_MAX || data > 2 * OUTSTANDING_MAX {
            // An older version struck nothing out. Workers that are alive notice, and begin again.
            tracing::warn!(
                queue = %self.queue, rings = data,
                "Redis holds rings of an older version, or of long ago; they are removed"
            );
            return self.forget_all().await;
        }
        let dead: Vec<String> = redis::cmd("ZRANGEBYSCORE")
            .arg(self.config.workers_set())
            .arg(0)
            .arg(dead_since)
            .query_async(&mut redis)
            .await?;
        for worker in dead {
            self.leave(&worker).await?;
        }
        // Read in the order in which a ring moves on, so that none is missed.
        let known: Vec<String> = redis::cmd("HKEYS").arg(self.config.job_data_hash()).query_async(&mut redis).await?;
        let mut alive: std::collections::HashSet<String> =
            redis::cmd("ZRANGE").arg(self.config.scheduled_jobs_set()).arg(0).arg(-1).query_async(&mut redis).await?;
        alive.extend(
            redis::cmd("LRANGE")
                .arg(self.config.active_jobs_list())
                .arg(0)
                .arg(-1)
                .query_async::<Vec<String>>(&mut redis)
                .await?,
        );
        let workers: Vec<String> =
            redis::cmd("ZRANGE").arg(self.config.workers_set()).arg(0).arg(-1).query_async(&mut redis).await?;
        for worker in workers {
            alive.extend(
                redis::cmd("SMEMBERS").arg(self.inflight(&worker)).query_async::<Vec<String>>(&mut redis).await?,
            );
        }
        let mut pipe = redis::pipe();
        pipe.cmd("PING").ignore();
        for id in known.iter().filter(|id| !alive.contains(*id)) {
            pipe.hdel(self.config.job_data_hash(), id).ignore().del(self.task(id)).ignore();
        }
        pipe.query_async(&mut redis).await
    }

    /// Removes everything of this queue.
    async fn forget_all(&self) -> Struck {
        let mut redis = self.redis.clone();
        let mut cursor = 0_u64;
        loop {
            let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(format!("{}:*", self.queue))
                .arg("COUNT")
                .arg(1_000)
                .query_async(&mut redis)
                .await?;
            if !keys.is_empty() {
                redis::cmd("UNLINK").arg(keys).query_async::<u64>(&mut redis).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}
