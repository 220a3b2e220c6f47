//! Many slow strangers, and presses are answered all the same.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::story::service::service_story;

/// Connections that take their time: silent ones, headers that never end, bodies that come byte by byte.
fn slow(address: &str, n: usize) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(1))).ok()?;
    let begun: &[u8] = match n % 3 {
        0 => b"",
        1 => b"POST /slack/interactions HTTP/1.1\r\nhost: x\r\nx-a: ",
        _ => b"POST /slack/interactions HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\npayload=",
    };
    stream.write_all(begun).ok()?;
    Some(stream)
}

#[test]
fn two_thousand_slow_connections_do_not_keep_a_press_from_being_answered() {
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(8_192), maximum: Some(8_192) },
    )
    .ok();
    service_story("echo hello", "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        let address = s.url.trim_start_matches("http://").to_owned();
        let mut crowd: Vec<TcpStream> = tokio::task::spawn_blocking({
            let address = address.clone();
            move || (0..2_000).filter_map(|n| slow(&address, n)).collect()
        })
        .await
        .unwrap();
        assert!(crowd.len() > 1_500, "only {} connections were made", crowd.len());
        let mut longest = Duration::ZERO;
        for n in 0..5 {
            let pressed = Instant::now();
            let environment = if n % 2 == 0 { "Staging" } else { "Production" };
            assert_eq!(s.presses("ana", "master-1", environment).await, 200);
            longest = longest.max(pressed.elapsed());
            // They go on being slow.
            crowd.iter_mut().step_by(7).for_each(|stream| drop(stream.write_all(b"x")));
        }
        println!("{} slow connections; the slowest of 5 presses was answered after {longest:?}", crowd.len());
        assert!(longest < Duration::from_secs(2), "{longest:?}");
        s.shows("*succeeded*").await;
        // And they are not held for ever.
        let closed = async || {
            let gone = |stream: &TcpStream| {
                stream.set_nonblocking(true).ok();
                matches!((&mut &*stream).read(&mut [0; 512]), Ok(0))
                    || (&mut &*stream).read(&mut [0; 1]).is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)
            };
            crowd.iter().filter(|stream| gone(stream)).count() > crowd.len() / 2
        };
        s.until("most of them are closed", closed).await;
    });
}
