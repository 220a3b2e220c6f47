//! Where checkpoints are kept outside the database: folders, S3 buckets, git repositories.
//!
//! **Invariant:** what was kept is never overwritten or deleted from here; only `checkpoint`, a copy of the newest, is.

mod git;
mod http;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};

/// How long a place may take for one request.
const PATIENCE: Duration = Duration::from_secs(30);
/// The newest checkpoint, as C2SP's logs have it.
const NEWEST: &str = "checkpoint";
/// The folder of all of them.
const ALL: &str = "checkpoints";

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
    /// It is written so that nobody knows what is meant.
    #[error(
        "{0:?} is no place for checkpoints; write a folder (/var/lib/coolops/checkpoints), a bucket (s3://bucket/prefix) or a git repository (git:/srv/checkpoints)"
    )]
    Unknown(String),
    /// It can't be reached, or refuses.
    #[error("{0}")]
    Trouble(String),
    /// It does not answer.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
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

/// The name of a checkpoint's file: found in the order of the log, and never the same for two that differ.
fn file(size: u64, root: &[u8; 32], at: DateTime<Utc>) -> String {
    format!("{ALL}/{}/{size:020}-{}", at.format("%Y-%m-%d"), hex::encode(&root[..6]))
}

impl Place {
    /// Reads a place as it is configured.
    ///
    /// # Errors
    /// When it is no place.
    pub fn read(text: &str) -> Result<Self, PlaceError> {
        let text = text.trim();
        let unknown = || PlaceError::Unknown(text.to_owned());
        let kind = if let Some(path) = text.strip_prefix("git:") {
            Kind::Git(Some(PathBuf::from(path)).filter(|path| path.is_absolute()).ok_or_else(unknown)?)
        } else if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(unknown());
            }
            let builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_http_connector(http::Connector);
            let store = builder.build().map_err(PlaceError::from)?;
            Kind::Bucket { store: Arc::new(store), prefix: Path::from(prefix) }
        } else {
            let path = PathBuf::from(text.strip_prefix("file://").unwrap_or(text));
            Kind::Folder(Some(path).filter(|path| path.is_absolute()).ok_or_else(unknown)?)
        };
        Ok(Self { name: text.to_owned(), kind })
    }

    /// What it is called: as it was written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Keeps a checkpoint that was signed at a time. Safe to repeat.
    ///
    /// # Errors
    /// See [`PlaceError`]; then it may be kept or not.
    pub async fn keep(&self, size: u64, root: &[u8; 32], note: &str, at: DateTime<Utc>) -> Result<(), PlaceError> {
        let file = file(size, root, at);
        let keeping = async {
            match &self.kind {
                Kind::Git(path) => git::keep(path, &file, note).await,
                _ => {
                    let (store, prefix) = self.store()?;
                    let created = store.put_opts(&within(&prefix, &file), payload(note), PutMode::Create.into()).await;
                    match created {
                        Ok(_) => {}
                        Err(object_store::Error::AlreadyExists { .. }) => {
                            let there = store.get(&within(&prefix, &file)).await?.bytes().await?;
                            if there != note.as_bytes() {
                                return Err(PlaceError::Other(file.clone()));
                            }
                        }
                        Err(e) => return Err(e.into()),
                    }
                    store.put(&within(&prefix, NEWEST), payload(note)).await?;
                    Ok(())
                }
            }
        };
        tokio::time::timeout(PATIENCE, keeping).await.unwrap_or(Err(PlaceError::Silent))
    }

    /// The newest checkpoint that is kept there; nothing in an empty place.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub async fn newest(&self) -> Result<Option<Kept>, PlaceError> {
        let reading = async {
            match &self.kind {
                Kind::Git(path) => git::newest(path, NEWEST).await,
                _ => {
                    let (store, prefix) = self.store()?;
                    match store.get(&within(&prefix, NEWEST)).await {
                        Ok(found) => Ok(Some(kept(NEWEST, &found.bytes().await?))),
                        Err(object_store::Error::NotFound { .. }) => Ok(None),
                        Err(e) => Err(e.into()),
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or(Err(PlaceError::Silent))
    }

    /// Every checkpoint that is kept there, and what is called the newest.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub async fn all(&self) -> Result<Vec<Kept>, PlaceError> {
        let mut all = Vec::new();
        if let Kind::Git(path) = &self.kind {
            all = git::all(path, ALL).await?;
        } else {
            let (store, prefix) = self.store()?;
            let listing = store.list(Some(&within(&prefix, ALL))).try_collect::<Vec<_>>();
            let found = tokio::time::timeout(10 * PATIENCE, listing).await.map_err(|_| PlaceError::Silent)??;
            for object in found {
                let reading = async { store.get(&object.location).await?.bytes().await };
                let bytes = tokio::time::timeout(PATIENCE, reading).await.map_err(|_| PlaceError::Silent)??;
                all.push(kept(object.location.as_ref(), &bytes));
            }
        }
        all.sort_by(|a, b| a.file.cmp(&b.file));
        all.extend(self.newest().await?);
        Ok(all)
    }

    /// The objects of a folder or a bucket.
    fn store(&self) -> Result<(Arc<dyn ObjectStore>, Path), PlaceError> {
        Ok(match &self.kind {
            Kind::Folder(path) => {
                std::fs::create_dir_all(path).map_err(|e| PlaceError::Trouble(e.to_string()))?;
                (Arc::new(LocalFileSystem::new_with_prefix(path)?.with_fsync(true)), Path::default())
            }
            Kind::Bucket { store, prefix } => (Arc::clone(store), prefix.clone()),
            Kind::Git(_) => return Err(PlaceError::Unknown(self.name.clone())),
        })
    }
}

fn within(prefix: &Path, file: &str) -> Path {
    file.split('/').fold(prefix.clone(), |path, part| path.join(part))
}

fn payload(note: &str) -> PutPayload {
    note.as_bytes().to_vec().into()
}

fn kept(file: &str, bytes: &[u8]) -> Kept {
    Kept { file: file.to_owned(), note: String::from_utf8_lossy(bytes).into_owned() }
}
