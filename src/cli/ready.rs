//! `coolops ready`: whether the web server of this configuration is ready. For containers, whose image has no other program
//! that could ask.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use super::output;

/// Longer than the server asks what it needs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where that server is reached from here, by the address that it listens on.
fn reached(listen: SocketAddr) -> SocketAddr {
    let here = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(here, listen.port())
}

/// Asks it, and prints what is missing.
///
/// # Errors
/// When nothing answers there.
#[expect(
    clippy::disallowed_methods,
    reason = "of the configuration this is all that it needs, and a probe has no more"
)]
pub fn run() -> Result<ExitCode> {
    let listen = std::env::var("COOLOPS_LISTEN").ok().filter(|v| !v.is_empty()).unwrap_or("127.0.0.1:3000".to_owned());
    let listen: SocketAddr = listen.parse().context("COOLOPS_LISTEN is no address such as 0.0.0.0:3000")?;
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&reached(listen), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(64 * 1024).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = asked().with_context(|| format!("{} does not answer", reached(listen)))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let is_ready = head.split(' ').nth(1) == Some("200");
    output::line(body.trim());
    Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_here() {
        let of = |text: &str| reached(text.parse().unwrap()).to_string();
        assert_eq!((of("0.0.0.0:3000"), of("[::]:80")), ("127.0.0.1:3000".to_owned(), "[::1]:80".to_owned()));
        assert_eq!(of("192.0.2.7:1"), "192.0.2.7:1");
    }
}
