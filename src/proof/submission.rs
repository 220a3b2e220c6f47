//! What a log sends to a witness: its newest checkpoint, and the proof that it follows from the one before.
//!
//! Source: <https://c2sp.org/tlog-witness>, `add-checkpoint`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::chain::Hash;

/// Hashes that a proof has, at most.
const PROOF_MAX: usize = 63;
/// The type of an answer that says how far a witness is.
pub const SIZE: &str = "text/x.tlog.size";

/// A checkpoint for a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// How far the witness was, as far as the log knows.
    pub old: u64,
    /// That what it saw then is the beginning of this (RFC 6962, 2.1.2).
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub note: String,
}

/// A number as it is written: without zeroes before it.
pub fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

impl Submission {
    /// The body of the request.
    pub fn text(&self) -> String {
        let proof: String = self.proof.iter().map(|hash| STANDARD.encode(hash) + "\n").collect();
        format!("old {}\n{proof}\n{}", self.old, self.note)
    }

    /// Reads one; none for what has another form.
    pub fn read(text: &str) -> Option<Self> {
        let (head, note) = text.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old = number(lines.next()?.strip_prefix("old ")?)?;
        let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
        let proof = lines.map(hash).collect::<Option<Vec<Hash>>>()?;
        (proof.len() <= PROOF_MAX).then(|| Self { old, proof, note: note.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read_again_and_nothing_else_is() {
        let note = "log\n42\nAAAA\n\n— log AAAAAAAA\n".to_owned();
        for proof in [vec![], vec![[1; 32], [2; 32]]] {
            let sent = Submission { old: 40, proof, note: note.clone() };
            assert_eq!(Submission::read(&sent.text()), Some(sent));
        }
        let long = Submission { old: 40, proof: vec![[1; 32]; 64], note };
        for text in
            ["", "old 1", "old x\n\nnote", "old 01\n\nnote", "old -1\n\nnote", "old 1\nAAAA\n\nnote", &long.text()]
        {
            assert_eq!(Submission::read(text), None, "{text}");
        }
    }
}
