//! The way to a witness: one request, one answer. What they mean is not known here.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::TokioExecutor;

/// How long a witness may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read, at most.
const ANSWER_MAX: usize = 64 * 1024;

/// A witness's address.
#[derive(Clone)]
pub struct Endpoint {
    prefix: String,
    /// None on a machine without certificates of authorities.
    client: Option<Client<HttpsConnector<Tcp>, Full<Bytes>>>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({})", self.prefix)
    }
}

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The type of what follows.
    pub kind: String,
    /// What follows.
    pub text: String,
}

impl Endpoint {
    /// Reads an address: the prefix before `/add-checkpoint`. None for what is no address.
    pub fn read(prefix: &str) -> Option<Self> {
        let prefix = prefix.trim_end_matches('/');
        let uri: hyper::Uri = prefix.parse().ok()?;
        let is_one =
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none();
        let tls = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider());
        let client =
            tls.ok().map(|tls| Client::builder(TokioExecutor::new()).build(tls.https_or_http().enable_http1().build()));
        is_one.then(|| Self { prefix: prefix.to_owned(), client })
    }

    /// Submits a checkpoint.
    ///
    /// # Errors
    /// Why there was no answer.
    pub async fn add_checkpoint(&self, body: String) -> Result<Answer, String> {
        let request = hyper::Request::post(format!("{}/add-checkpoint", self.prefix))
            .header("content-type", "text/plain; charset=utf-8")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())?;
        let no_certificates = "this machine has no certificates of authorities: install ca-certificates";
        let client = self.client.as_ref().ok_or(no_certificates)?;
        let answered = async {
            let response = client.request(request).await.map_err(|e| first_cause(&e))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|e| e.to_string())?.to_bytes();
            let kind = head.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            Ok(Answer {
                status: head.status.as_u16(),
                kind: kind.split(';').next().unwrap_or_default().trim().to_owned(),
                text: String::from_utf8_lossy(&body).into_owned(),
            })
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or_else(|_| Err("no answer within 5 s".to_owned()))
    }
}

/// The first cause, without the wrapping that repeats it.
fn first_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
