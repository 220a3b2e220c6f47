//! `GET /install.sh` and `GET /client/…`: what CI runs, handed out by the coolops that builds are announced to.
//!
//! The program is a file that somebody made; the script for machines that there is no program for is always there.

use std::path::Path;
use std::sync::LazyLock;

use axum::extract::{Path as Named, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::Web;
use super::error::HttpError;

/// The installer, as it is in the repository.
const INSTALLER: &str = include_str!("../../install.sh");
/// The lines of it that say where things come from, and whether the program is there too.
const FROM: &str = "handed_out_by=''";
const HAS_PROGRAM: &str = "has_program='yes'";
/// The program, and its checksum: what `./just client` makes.
const PROGRAM: &str = "coolops-x86_64-linux";
const CHECKSUM: &str = "coolops-x86_64-linux.sha256";
/// The script, and its checksum.
const SCRIPT: &str = "coolops.sh";
const SCRIPT_CHECKSUM: &str = "coolops.sh.sha256";

static PORTABLE: LazyLock<String> = LazyLock::new(coolops_client::portable::script);

/// The installer that knows where it came from, and whether there is a program for those who can run it.
pub async fn installer(State(web): State<Web>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/x-shellscript; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    let from = &web.app.public_url;
    // It stands between quotes of the shell. Whatever a pipe into a shell gets else, the job would go on.
    if !from.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/[]".contains(&b)) {
        let why = "the address of this coolops has characters that a script can not be told; see COOLOPS_PUBLIC_URL";
        return (headers, format!("#!/bin/sh\necho 'coolops install: {why}' >&2\nexit 1\n")).into_response();
    }
    let is_there = async |name| tokio::fs::try_exists(web.client.join(name)).await.unwrap_or(false);
    let has_program = if is_there(PROGRAM).await && is_there(CHECKSUM).await { "yes" } else { "" };
    let script = INSTALLER.replacen(FROM, &format!("handed_out_by='{from}/client'"), 1);
    (headers, script.replacen(HAS_PROGRAM, &format!("has_program='{has_program}'"), 1)).into_response()
}

/// The program, the script, or the checksum of one.
///
/// # Errors
/// 404 for anything else, and where there is none.
pub async fn file(State(web): State<Web>, Named(name): Named<String>) -> Result<Response, HttpError> {
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    match name.as_str() {
        PROGRAM | CHECKSUM => {}
        SCRIPT => return Ok((plain, PORTABLE.as_str()).into_response()),
        SCRIPT_CHECKSUM => {
            let digest = hex::encode(Sha256::digest(PORTABLE.as_bytes()));
            return Ok((plain, format!("{digest}  {SCRIPT}\n")).into_response());
        }
        _ => return Err(HttpError::not_found()),
    }
    match tokio::fs::read(web.client.join(Path::new(&name))).await {
        Ok(bytes) => {
            let headers =
                [(header::CONTENT_TYPE, "application/octet-stream"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
            Ok((headers, bytes).into_response())
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(HttpError::not_found()),
        Err(e) => {
            tracing::warn!(error = %e, "the program for CI can't be read");
            Err(HttpError(StatusCode::INTERNAL_SERVER_ERROR, "the program can't be read".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installer_has_the_lines_that_are_filled_in() {
        assert_eq!((INSTALLER.matches(FROM).count(), INSTALLER.matches(HAS_PROGRAM).count()), (1, 1));
    }
}
