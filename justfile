# Every command a developer needs. `./just` finds or fetches just itself.

export SQLX_OFFLINE := "true"

# What `coolops --version` says beside the version; a plain `cargo build` leaves it out.
export COOLOPS_COMMIT := `git rev-parse --short=12 HEAD 2>/dev/null || true`

# Arguments reach the commands as they were given, quotes and all.
set positional-arguments

# List the recipes
help:
    @just --list --unsorted

# Try everything on this machine: prints one address to open
demo *args: (needs "demo")
    @cargo build --quiet --workspace --bins
    @target/debug/coolops demo "$@"

# Run all tests beside private services
test *args: (needs "test")
    cargo build --quiet --workspace --features failpoints --bins --bench figures
    scripts/client
    COOLOPS_IMAGE_PROFILE=dev scripts/image
    target/debug/coolops-lab with-services -- scripts/nextest "$@"

# Build the service for production: target/release/coolops
release:
    cargo build --quiet --release --bin coolops

# Build the small program for CI, static and with its checksum, into dist/
client:
    scripts/client

# Feed the webhooks' parsers and proofs with mutated bodies; `--minutes 10 --seed 7`
fuzz *args: (needs "test")
    scripts/fuzz "$@"

# Inject every fault: all of the suite, slow ones too; `--minutes 60 --seed 7` soaks with random ones, `--seeds 1000` lives random lives
chaos *args: (needs "test")
    cargo build --quiet --workspace --features failpoints --bins
    target/debug/coolops-lab with-services -- scripts/chaos "$@"

# Build the service as a container: coolops:latest, or a name of yours
image name="coolops:latest":
    scripts/image build "$1"

# Check everything but behaviour: formatting, lints, documentation, scripts, generated files, queries
check: (needs "check")
    scripts/check

# Measure against the targets and print the table of ratios
bench *args: (needs "test")
    scripts/client
    cargo build --quiet --workspace --release --bins --bench figures
    target/release/coolops-lab with-services --durable -- cargo bench --quiet --bench figures -- "$@"

# Write the event contract and the generated references from the types
events:
    cargo run --quiet -- events events
    cargo run --quiet -- reference > docs/CONFIGURATION.md
    cargo run --quiet -- reference events > docs/EVENTS.md

# Format the code
fmt:
    cargo fmt

# Renew .sqlx from the migrations, on a private Postgres
sqlx: (needs "test")
    cargo build --quiet --workspace --bins
    target/debug/coolops-lab with-services -- scripts/sqlx-prepare

# Accept the snapshots that the last test run wrote
review:
    for new in snapshots/*.snap.new; do [ -e "$new" ] && mv -v "$new" "${new%.new}"; done; true

# Check licences, bans and sources of all dependencies (needs cargo-deny)
deny:
    cargo deny check

[private]
needs what:
    @scripts/needs {{what}}
