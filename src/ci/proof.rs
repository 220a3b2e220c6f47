//! Proofs of origin that providers share: keyed digests, plain tokens, Basic passwords, fresh times. All in constant
//! time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::Request;

/// How old, and how far ahead, a signed time may be, in seconds.
pub const FRESH: i64 = 300;

/// Why a request is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no proof.
    #[error("{0} is missing; set the secret in the webhook's settings at the CI system")]
    Missing(&'static str),
    /// The proof can't be read.
    #[error("{0} has not the form that this CI system gives it")]
    Malformed(&'static str),
    /// The body has not what is signed.
    #[error("{0}")]
    Unsigned(&'static str),
    /// The proof is not made with this project's secret, or for other bytes.
    #[error(
        "{0} does not fit: the secret there and the one of coolops ci secret are not the same, or the body was changed"
    )]
    Wrong(&'static str),
    /// The signed time is too far from now.
    #[error(
        "the signed time is {0} s away from now; at most {FRESH} s are allowed: set the clocks by NTP, or deliver it anew"
    )]
    Stale(i64),
}

/// HMAC-SHA256 of several pieces, as raw bytes.
pub(super) fn hmac(key: &[u8], pieces: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    for piece in pieces {
        mac.update(piece);
    }
    mac
}

/// Checks an HMAC-SHA256 given in hex.
pub(super) fn hex(header: &'static str, key: &[u8], pieces: &[&[u8]], given: &str) -> Result<(), Refusal> {
    let given = hex::decode(given.trim()).map_err(|_| Refusal::Malformed(header))?;
    hmac(key, pieces).verify_slice(&given).map_err(|_| Refusal::Wrong(header))
}

/// Checks a header `sha256=` with the HMAC-SHA256 of the body in hex: GitHub's and Bitbucket's way.
pub(super) fn sha256_of_body(
    request: &Request<'_>,
    name: &str,
    header: &'static str,
    secret: &str,
) -> Result<(), Refusal> {
    let given = request.headers.get(name).ok_or(Refusal::Missing(header))?;
    let given = given.strip_prefix("sha256=").ok_or(Refusal::Malformed(header))?;
    hex(header, secret.as_bytes(), &[request.body], given)
}

/// Checks an HMAC-SHA256 given in base64.
pub(super) fn base64(header: &'static str, key: &[u8], pieces: &[&[u8]], given: &str) -> Result<(), Refusal> {
    let given = STANDARD.decode(given.trim()).map_err(|_| Refusal::Malformed(header))?;
    hmac(key, pieces).verify_slice(&given).map_err(|_| Refusal::Wrong(header))
}

/// Checks a secret that is sent as it is.
pub(super) fn plain(header: &'static str, secret: &str, given: &str) -> Result<(), Refusal> {
    // Digests first: the comparison then takes the same time for every length.
    let digest = |text: &str| hmac(b"coolops", &[text.as_bytes()]).finalize().into_bytes();
    if bool::from(digest(secret).ct_eq(&digest(given))) { Ok(()) } else { Err(Refusal::Wrong(header)) }
}

/// Checks that a signed time is near.
pub(super) fn fresh(now: i64, signed: i64) -> Result<(), Refusal> {
    let away = now.saturating_sub(signed).saturating_abs();
    if away <= FRESH { Ok(()) } else { Err(Refusal::Stale(away)) }
}

/// For providers that sign nothing: the secret as the password of `Authorization: Basic`, as `Authorization: Bearer`,
/// or in the header `X-Coolops-Token`. Never in the address, which proxies and servers write into their logs.
pub(super) fn password(request: &Request<'_>, secret: &str) -> Result<(), Refusal> {
    const TOKEN: &str = "X-Coolops-Token (or a password in Authorization)";
    if let Some(given) = request.headers.get("x-coolops-token") {
        return plain("X-Coolops-Token", secret, given);
    }
    let authorization = request.headers.get("authorization").ok_or(Refusal::Missing(TOKEN))?;
    let (scheme, given) = authorization.trim().split_once(' ').ok_or(Refusal::Malformed("Authorization"))?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => plain("Authorization", secret, given.trim()),
        "basic" => {
            let decoded = STANDARD.decode(given.trim()).ok().and_then(|b| String::from_utf8(b).ok());
            let pair = decoded.ok_or(Refusal::Malformed("Authorization"))?;
            let (_, password) = pair.split_once(':').ok_or(Refusal::Malformed("Authorization"))?;
            plain("Authorization", secret, password)
        }
        _ => Err(Refusal::Malformed("Authorization")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Headers;
    use super::*;

    fn request(headers: &Headers) -> Request<'_> {
        Request { headers, body: b"", now: 0 }
    }

    #[test]
    fn a_password_may_come_three_ways() {
        let basic = format!("Basic {}", STANDARD.encode("ci:s3cret"));
        for (header, value) in
            [("authorization", basic.as_str()), ("authorization", "Bearer s3cret"), ("x-coolops-token", "s3cret")]
        {
            let headers = Headers(vec![(header.into(), value.into())]);
            assert_eq!(password(&request(&headers), "s3cret"), Ok(()));
            assert!(matches!(password(&request(&headers), "s3cret2"), Err(Refusal::Wrong(_))));
        }
        assert!(matches!(password(&request(&Headers::default()), "s"), Err(Refusal::Missing(_))));
    }

    #[test]
    fn a_time_is_fresh_for_five_minutes_either_way() {
        assert_eq!((fresh(1_000, 700), fresh(1_000, 1_300)), (Ok(()), Ok(())));
        assert_eq!(fresh(1_000, 699), Err(Refusal::Stale(301)));
        assert!(fresh(i64::MIN, i64::MAX).is_err());
    }
}
