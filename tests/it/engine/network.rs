//! Whom a deployment's container can reach: not the host that it runs on, and not what gives machines their rights.

use std::io::Read;

use crate::story::service::service_story;

#[test]
fn a_container_reaches_neither_the_host_nor_the_metadata_address() {
    // The host listens on all its addresses, as databases do by mistake.
    let host = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = host.local_addr().unwrap().port();
    host.set_nonblocking(true).unwrap();
    let script = format!(
        "gateway=$(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'); for there in $gateway 169.254.169.254; do \
           if echo hello | nc -w 2 $there {port} >/dev/null 2>&1; then echo \"$there answers\"; else echo \"$there is silent\"; fi; done; echo dialled $gateway"
    );
    service_story(&script, "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*succeeded*").await;
        let log = s.logs();
        assert!(
            log.contains("169.254.169.254 is silent") && !log.contains("answers") && !log.contains("dialled \n"),
            "{log}"
        );
        let mut heard = String::new();
        let came = host.accept().map(|(mut stream, _)| stream.read_to_string(&mut heard));
        assert!(came.is_err(), "the host was reached: {heard}");
    });
}
