//! Compiles anew when a migration is added: they are built in.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
