//! Compiles anew when a migration is added: they are built in. Tells the sources of the domain from others, as
//! `COOLOPS_DOMAIN`: what was folded by other rules is no snapshot of theirs.

use std::fs;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=src/domain");
    let mut sources: Vec<PathBuf> = fs::read_dir("src/domain")
        .expect("the domain is there")
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    sources.sort();
    // FNV-1a, which is the same on every machine.
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for source in sources {
        for byte in fs::read(&source).expect("the domain is files") {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    println!("cargo:rustc-env=COOLOPS_DOMAIN={digest:016x}");
}
