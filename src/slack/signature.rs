//! Slack's request signature, version v0.
//!
//! Source of the recipe and of the test's vector: docs.slack.dev, "Verifying requests from Slack".

use secrecy::SecretString;
use subtle::ConstantTimeEq;

use crate::keys;

/// How far a request's time may be from now, in seconds.
const WINDOW: i64 = 300;

/// Why a request is not believed. The text is for our log; the sender learns only that it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// A header is missing, doubled or malformed.
    #[error("the request is not signed")]
    Unsigned,
    /// Older or newer than five minutes.
    #[error("the request's time is more than five minutes away from now; is this machine's clock right?")]
    Stale,
    /// Signed with another secret, or changed on the way.
    #[error("the signature does not fit; is SLACK_SIGNING_SECRET the app's signing secret?")]
    Forged,
}

/// Checks the raw bytes of a request against its two headers. Constant-time in the signature.
///
/// # Errors
/// See [`Untrusted`].
pub fn verify(secret: &SecretString, timestamp: &str, signature: &str, body: &[u8], now: i64) -> Result<(), Untrusted> {
    let sent: i64 = timestamp.parse().map_err(|_| Untrusted::Unsigned)?;
    let hex = signature.strip_prefix("v0=").ok_or(Untrusted::Unsigned)?;
    if now.abs_diff(sent) > WINDOW.unsigned_abs() {
        return Err(Untrusted::Stale);
    }
    let expected = hex::encode(keys::sign(secret, &[b"v0:", timestamp.as_bytes(), b":", body]));
    if expected.as_bytes().ct_eq(hex.as_bytes()).into() { Ok(()) } else { Err(Untrusted::Forged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

    #[test]
    fn the_published_vector_is_believed_for_five_minutes() {
        let secret = "8f742231b10e8888abcd99yyyzzz85a5".to_owned().into();
        let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
        let check = |body: &str, at, signature: &str| verify(&secret, "1531420618", signature, body.as_bytes(), at);
        assert_eq!(check(BODY, 1_531_420_618, signature), Ok(()));
        assert_eq!(check(BODY, 1_531_420_918, signature), Ok(()));
        assert_eq!(check(BODY, 1_531_420_919, signature), Err(Untrusted::Stale));
        assert_eq!(check(BODY, 1_531_420_317, signature), Err(Untrusted::Stale));
        assert_eq!(check(&BODY[1..], 1_531_420_618, signature), Err(Untrusted::Forged));
        assert_eq!(check(BODY, 1_531_420_618, &signature[..60]), Err(Untrusted::Forged));
        assert_eq!(check(BODY, 1_531_420_618, ""), Err(Untrusted::Unsigned));
        assert_eq!(verify(&secret, "x", signature, BODY.as_bytes(), 0), Err(Untrusted::Unsigned));
    }
}
