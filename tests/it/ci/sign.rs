//! Signs as each provider signs: written from their documentation, apart from the code that checks it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::Sample;

const SECRET: &str = "the-secret-of-this-webhook";
const SIGNING_TOKEN: &str = "whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// The provider of a way to prove the origin; most have one, which has the provider's name.
pub fn provider_of(scheme: &str) -> &str {
    scheme.split('_').next().unwrap()
}

/// An RSA key of this run: its private part in a file, and the public one as Travis publishes its own.
static KEY: LazyLock<(tempkey::File, String)> = LazyLock::new(|| {
    let file = tempkey::File::new();
    openssl(&["genrsa", "-out", file.path(), "2048"], b"");
    let public = openssl(&["rsa", "-in", file.path(), "-pubout"], b"");
    (file, String::from_utf8(public).unwrap())
});

mod tempkey {
    pub struct File(String);

    impl File {
        pub fn new() -> Self {
            let name = format!("coolops-test-key-{}", crate::story::random_name());
            Self(std::env::temp_dir().join(name).to_string_lossy().into_owned())
        }
        pub fn path(&self) -> &str {
            &self.0
        }
    }
}

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed by ./just test");
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// Removes the private key of this run.
pub fn forget_key() {
    std::fs::remove_file(KEY.0.path()).ok();
}

/// What an operator sets as the secret.
pub fn secret(scheme: &str) -> String {
    match scheme {
        "travis" => KEY.1.clone(),
        "gitlab_signing" => SIGNING_TOKEN.to_owned(),
        _ => SECRET.to_owned(),
    }
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(message).finalize().into_bytes().to_vec()
}

/// The bytes of a body as they travel.
pub fn bytes(scheme: &str, body: &serde_json::Value) -> Vec<u8> {
    let json = serde_json::to_vec(body).unwrap();
    match scheme {
        "travis" => form(&json),
        _ => json,
    }
}

fn form(json: &[u8]) -> Vec<u8> {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", std::str::from_utf8(json).unwrap())
        .finish()
        .into_bytes()
}

/// The headers that prove the origin of these bytes.
pub fn proof(scheme: &str, bytes: &[u8], now: i64) -> Vec<(String, String)> {
    let key = SECRET.as_bytes();
    let pair = |name: &str, value: String| (name.to_owned(), value);
    match scheme {
        "gitlab_signing" => {
            let message = [format!("id-7.{now}.").as_bytes(), bytes].concat();
            let signature = format!("v9,zzzz v1,{}", STANDARD.encode(mac(&[1; 32], &message)));
            vec![
                pair("webhook-id", "id-7".into()),
                pair("webhook-timestamp", now.to_string()),
                pair("webhook-signature", signature),
            ]
        }
        "buildkite_token" => vec![pair("x-buildkite-token", SECRET.to_owned())],
        "github" => vec![pair("x-hub-signature-256", format!("sha256={}", hex::encode(mac(key, bytes))))],
        "bitbucket" => vec![pair("x-hub-signature", format!("sha256={}", hex::encode(mac(key, bytes))))],
        "circleci" => vec![pair("circleci-signature", format!("v9=zzz,v1={}", hex::encode(mac(key, bytes))))],
        "gitlab" => vec![pair("x-gitlab-token", SECRET.to_owned())],
        "buildkite" => {
            let signature = hex::encode(mac(key, &[now.to_string().as_bytes(), b".", bytes].concat()));
            vec![pair("x-buildkite-signature", format!("timestamp={now},signature={signature}"))]
        }
        "drone" => {
            let date =
                chrono::DateTime::from_timestamp(now, 0).unwrap().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            let digest = format!("SHA-256={}", STANDARD.encode(Sha256::digest(bytes)));
            let signature = STANDARD.encode(mac(key, format!("date: {date}\ndigest: {digest}").as_bytes()));
            let signature = format!(
                "keyId=\"hmac-key\",algorithm=\"hmac-sha256\",headers=\"date digest\",signature=\"{signature}\""
            );
            vec![pair("date", date), pair("digest", digest), pair("signature", signature)]
        }
        "travis" => {
            let payload = url::form_urlencoded::parse(bytes)
                .find(|(name, _)| name == "payload")
                .map(|(_, v)| v.into_owned())
                .unwrap_or_default();
            let signature = openssl(&["dgst", "-sha1", "-sign", KEY.0.path()], payload.as_bytes());
            vec![pair("signature", STANDARD.encode(signature))]
        }
        "azure" => vec![pair("x-coolops-token", SECRET.to_owned())],
        "generic" => vec![pair("authorization", format!("Bearer {SECRET}"))],
        _ => vec![pair("authorization", format!("Basic {}", STANDARD.encode(format!("ci:{SECRET}"))))],
    }
}

/// A body with its headers and its proof, as it comes in.
pub fn signed(scheme: &str, sample: &Sample, now: i64) -> (Vec<(String, String)>, Vec<u8>) {
    let bytes = bytes(scheme, &sample.body);
    let mut headers = sample.headers.clone();
    headers.extend(proof(scheme, &bytes, now));
    (headers, bytes)
}
