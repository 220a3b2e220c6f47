//! Where checkpoints are kept outside the database: folders, S3 buckets, git repositories.
//!
//! **Invariant:** what was kept is never overwritten or deleted from here; only `checkpoint`, a copy of the newest, is.

mod git;
mod http;
pub mod witness;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};

/// How long a place may take to keep what it is sent, or a repository for anything: that may be a push over a slow line.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a folder or a bucket may take to say what is newest there: all others wait for it.
const LOOK: Duration = Duration::from_secs(10);
/// The newest checkpoint, as C2SP's logs have it.
pub const NEWEST: &str = "checkpoint";
/// The folder of all of them.
const ALL: &str = "checkpoints";
/// The folder of what was decided when there were two histories.
const FORKS: &str = "forks";
/// Most bytes of a note: a checkpoint has a few hundred, and a line for each witness; a decision names what was given up.
const NOTE_MAX: u64 = 4 << 20;
/// Objects that are read at a time.
const AT_A_TIME: usize = 16;

/// A place.
#[derive(Clone)]
pub struct Place {
    name: String,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Folder(PathBuf),
    Bucket { store: Arc<dyn ObjectStore>, prefix: Path },
    Git(PathBuf),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.name)
    }
}

/// A checkpoint, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The file that it is in.
    pub file: String,
    /// What stands there.
    pub note: String,
}

/// Why a place can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It is written so that nobody knows what is meant. It is not shown: a key that was put there by mistake would be.
    #[error(
        "something there is no place for checkpoints; write a folder (/var/lib/coolops/checkpoints), a bucket (s3://bucket/prefix) or a git repository (git:/srv/checkpoints)"
    )]
    Unknown,
    /// There is no such folder.
    #[error("there is no folder {0}")]
    NoFolder(String),
    /// It can't be reached, or refuses.
    #[error("{0}")]
    Trouble(String),
    /// There is no such object.
    #[error("there is nothing of that name")]
    Missing,
    /// It does not answer.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// Another checkpoint has that name.
    #[error("{0} is there already, and says something else")]
    Other(String),
}

impl From<object_store::Error> for PlaceError {
    fn from(error: object_store::Error) -> Self {
        Self::Trouble(causes(&error))
    }
}

/// The last cause: what is around it names request after request.
fn causes(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

/// The name of a checkpoint's file: by day, in the order of the log, and never the same for two that differ.
pub fn checkpoint_file(size: u64, root: &[u8; 32], key_id: &str, at: DateTime<Utc>) -> String {
    format!("{ALL}/{}/{size:020}-{}-{key_id}", at.format("%Y-%m-%d"), hex::encode(&root[..6]))
}

/// The name of a decision's file.
pub fn fork_file(size: u64, root: &[u8; 32]) -> String {
    format!("{FORKS}/{size:020}-{}", hex::encode(&root[..6]))
}

impl Place {
    /// Reads a place as it is configured.
    ///
    /// # Errors
    /// When it is no place.
    pub fn read(text: &str) -> Result<Self, PlaceError> {
        let text = text.trim();
        let kind = if let Some(path) = text.strip_prefix("git:") {
            Kind::Git(Some(PathBuf::from(path)).filter(|path| path.is_absolute()).ok_or(PlaceError::Unknown)?)
        } else if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(PlaceError::Unknown);
            }
            // A bucket with object lock takes nothing without a checksum.
            let builder = AmazonS3Builder::from_env().with_checksum_algorithm(Checksum::SHA256);
            let builder = builder.with_bucket_name(bucket).with_http_connector(http::Connector);
            let store = builder.build().map_err(PlaceError::from)?;
            Kind::Bucket { store: Arc::new(store), prefix: Path::from(prefix) }
        } else {
            let path = PathBuf::from(text.strip_prefix("file://").unwrap_or(text));
            Kind::Folder(Some(path).filter(|path| path.is_absolute()).ok_or(PlaceError::Unknown)?)
        };
        Ok(Self { name: text.to_owned(), kind })
    }

    /// What it is called: as it was written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a git repository, which may have to fetch before it can say anything.
    pub fn is_repository(&self) -> bool {
        matches!(self.kind, Kind::Git(_))
    }

    /// Keeps notes, each in a file of its own, and calls one the newest checkpoint, if one is given. Safe to repeat. Where a file
    /// is there that says something else, the others are kept all the same.
    ///
    /// # Errors
    /// See [`PlaceError`]; then they may be kept or not.
    pub async fn keep(&self, notes: &[(String, String)], newest: Option<&str>) -> Result<(), PlaceError> {
        let keeping = async {
            if let Kind::Git(path) = &self.kind {
                return git::keep(path, notes, newest.map(|note| (NEWEST, note))).await;
            }
            let (store, prefix) = self.store(true).await?;
            let mut other = None;
            for (file, note) in notes {
                match store.put_opts(&within(&prefix, file), payload(note), PutMode::Create.into()).await {
                    Ok(_) => {}
                    Err(object_store::Error::AlreadyExists { .. }) => {
                        let there = self.note_at(&store, &within(&prefix, file)).await?;
                        other = other.or((there != note.as_bytes()).then_some(file));
                    }
                    Err(e) => return Err(e.into()),
                }
            }
            if let Some(note) = newest {
                store.put(&within(&prefix, NEWEST), payload(note)).await?;
            }
            other.map_or(Ok(()), |file| Err(PlaceError::Other(file.clone())))
        };
        within_time(PATIENCE, keeping).await
    }

    /// How many notes are best kept at once: each time costs a commit and a push, or nothing.
    pub fn at_once(&self) -> usize {
        if self.is_repository() { 100 } else { 1 }
    }

    /// What is called the newest checkpoint there; nothing in an empty place.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub async fn newest(&self) -> Result<Option<Kept>, PlaceError> {
        let reading = async {
            if let Kind::Git(path) = &self.kind {
                return git::newest(path, NEWEST).await;
            }
            let (store, prefix) = match self.store(false).await {
                // Nothing was ever kept there: the folder is made when something is.
                Err(PlaceError::NoFolder(_)) => return Ok(None),
                store => store?,
            };
            match self.note_at(&store, &within(&prefix, NEWEST)).await {
                Ok(found) => Ok(Some(kept(NEWEST, &found))),
                Err(PlaceError::Missing) => Ok(None),
                Err(e) => Err(e),
            }
        };
        within_time(self.look(), reading).await
    }

    /// Every checkpoint that is kept there, and what is called the newest.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub async fn all(&self) -> Result<Vec<Kept>, PlaceError> {
        // First: whoever does not answer is not waited for any longer.
        let newest = self.newest().await?;
        let mut all = self.notes(ALL, 10 * PATIENCE).await?;
        all.extend(newest);
        Ok(all)
    }

    /// Every decision that is kept there.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub async fn forks(&self) -> Result<Vec<Kept>, PlaceError> {
        match self.notes(FORKS, self.look()).await {
            Err(PlaceError::NoFolder(_)) => Ok(Vec::new()),
            forks => forks,
        }
    }

    /// How long it may take to say what is newest.
    fn look(&self) -> Duration {
        if self.is_repository() { PATIENCE } else { LOOK }
    }

    async fn notes(&self, folder: &str, patience: Duration) -> Result<Vec<Kept>, PlaceError> {
        let mut all: Vec<Kept> = if let Kind::Git(path) = &self.kind {
            let reading = git::all(path, folder);
            within_time(patience, reading).await?
        } else {
            let (store, prefix) = within_time(LOOK, self.store(false)).await?;
            let listing = store.list(Some(&within(&prefix, folder))).try_collect::<Vec<_>>();
            let found = within_time(patience, async { Ok(listing.await?) }).await?;
            let read = async |object: object_store::ObjectMeta| {
                let bytes = within_time(PATIENCE, self.note_at(&store, &object.location)).await?;
                Ok::<_, PlaceError>(kept(object.location.as_ref(), &bytes))
            };
            futures::stream::iter(found).map(read).buffer_unordered(AT_A_TIME).try_collect().await?
        };
        all.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(all)
    }

    /// What an object says. Whoever may write there may write anything: nothing is read that is no file, or larger than any note.
    async fn note_at(&self, store: &Arc<dyn ObjectStore>, location: &Path) -> Result<Vec<u8>, PlaceError> {
        if let Kind::Folder(path) = &self.kind
            && tokio::fs::metadata(path.join(location.as_ref())).await.is_ok_and(|there| !there.is_file())
        {
            return Err(PlaceError::Trouble(format!("{location} is no file")));
        }
        let found = match store.get(location).await {
            Err(object_store::Error::NotFound { .. }) => return Err(PlaceError::Missing),
            found => found?,
        };
        if found.meta.size > NOTE_MAX {
            return Err(PlaceError::Trouble(format!("{location} is larger than any checkpoint")));
        }
        Ok(found.bytes().await?.to_vec())
    }

    /// The objects of a folder or a bucket; a folder is only made where something is going to be kept.
    async fn store(&self, makes: bool) -> Result<(Arc<dyn ObjectStore>, Path), PlaceError> {
        Ok(match &self.kind {
            Kind::Folder(path) => {
                let (path, name) = (path.clone(), self.name.clone());
                // A mount that hangs holds up nobody but whoever waits for it.
                let opened = tokio::task::spawn_blocking(move || {
                    if makes {
                        std::fs::create_dir_all(&path).map_err(|e| PlaceError::Trouble(e.to_string()))?;
                    } else if !path.exists() {
                        return Err(PlaceError::NoFolder(name));
                    }
                    Ok(LocalFileSystem::new_with_prefix(path)?.with_fsync(true))
                });
                let opened = opened.await.map_err(|e| PlaceError::Trouble(e.to_string()))??;
                (Arc::new(opened), Path::default())
            }
            Kind::Bucket { store, prefix } => (Arc::clone(store), prefix.clone()),
            Kind::Git(_) => return Err(PlaceError::Unknown),
        })
    }
}

async fn within_time<T>(time: Duration, asked: impl Future<Output = Result<T, PlaceError>>) -> Result<T, PlaceError> {
    tokio::time::timeout(time, asked).await.unwrap_or(Err(PlaceError::Silent(time)))
}

fn within(prefix: &Path, file: &str) -> Path {
    file.split('/').fold(prefix.clone(), Path::join)
}

fn payload(note: &str) -> PutPayload {
    note.as_bytes().to_vec().into()
}

fn kept(file: &str, bytes: &[u8]) -> Kept {
    Kept { file: file.to_owned(), note: String::from_utf8_lossy(bytes).into_owned() }
}
