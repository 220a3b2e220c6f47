//! The binary; the command line follows.

fn main() {}
