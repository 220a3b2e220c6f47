//! `GET /install.sh` and `GET /client/…`: the small program for CI, handed out by the coolops that builds are announced to.

use std::path::Path;

use axum::extract::{Path as Named, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Web;
use super::error::Answer;

/// The installer, as it is in the repository.
const INSTALLER: &str = include_str!("../../install.sh");
/// The line of it that says where the program comes from.
const FROM: &str = "handed_out_by=''";
/// The program, and its checksum: what `./just client` makes.
const PROGRAM: &str = "coolops-x86_64-linux";
const CHECKSUM: &str = "coolops-x86_64-linux.sha256";

/// The installer that knows where it came from. Where there is no program to hand out, a script that says so and fails:
/// whatever answer a pipe into a shell gets otherwise, the job would go on.
pub async fn installer(State(web): State<Web>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/x-shellscript; charset=utf-8"), (header::CACHE_CONTROL, "no-store")];
    let from = &web.app.public_url;
    // It stands between quotes of the shell.
    let is_plain = from.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/[]".contains(&b));
    let is_there = tokio::fs::try_exists(web.client.join(PROGRAM)).await.unwrap_or(false);
    if !is_plain || !is_there {
        let why = "this coolops has no program for CI at hand; its operator finds in docs/CI.md how it gets one";
        return (headers, format!("#!/bin/sh\necho 'coolops install: {why}' >&2\nexit 1\n")).into_response();
    }
    (headers, INSTALLER.replacen(FROM, &format!("handed_out_by='{from}/client'"), 1)).into_response()
}

/// The program, or its checksum.
///
/// # Errors
/// 404 for anything else, and where there is none.
pub async fn file(State(web): State<Web>, Named(name): Named<String>) -> Result<Response, Answer> {
    if ![PROGRAM, CHECKSUM].contains(&name.as_str()) {
        return Err(Answer::not_found());
    }
    match tokio::fs::read(web.client.join(Path::new(&name))).await {
        Ok(bytes) => {
            let headers =
                [(header::CONTENT_TYPE, "application/octet-stream"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
            Ok((headers, bytes).into_response())
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Answer::not_found()),
        Err(e) => {
            tracing::warn!(error = %e, "the program for CI can't be read");
            Err(Answer(StatusCode::INTERNAL_SERVER_ERROR, "the program can't be read".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installer_has_the_line_that_is_filled_in() {
        assert_eq!(INSTALLER.matches(FROM).count(), 1);
    }
}
