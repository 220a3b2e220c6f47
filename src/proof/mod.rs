//! What proves the log to somebody who does not trust us: the chain, the tree over it, signed checkpoints, proofs.
//!
//! **Invariant:** values only; nothing here reads a clock, a file or a database. The formats are others': RFC 6962 for the
//! tree, C2SP `signed-note`, `tlog-checkpoint`, `tlog-cosignature` and `tlog-witness` for what is signed; `events/CHAIN.md` and `docs/PROOF.md` for the rest.

pub mod chain;
pub mod checkpoint;
pub mod cosignature;
pub mod exported;
pub mod once;
pub mod shift;
pub mod statement;
pub mod submission;
pub mod tree;
