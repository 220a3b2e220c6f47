//! What is read on a thread of its own while the events are read.

use tokio_util::task::AbortOnDropHandle;

/// Something that is being read; given up when it is dropped.
pub(super) struct Aside<T>(AbortOnDropHandle<Result<T, sqlx::Error>>);

impl<T: Send + 'static> Aside<T> {
    /// Begins to read it.
    pub(super) fn begin(reading: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static) -> Self {
        Self(AbortOnDropHandle::new(tokio::spawn(reading)))
    }

    /// What was read; waits for it. To be asked once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn end(&mut self) -> Result<T, sqlx::Error> {
        (&mut self.0).await.map_err(|e| sqlx::Error::Io(std::io::Error::other(e)))?
    }
}
