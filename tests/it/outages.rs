//! What the service needs goes away and comes back.

use std::time::{Duration, Instant};

use crate::story::proxy::{Mode, Proxy};
use crate::story::service::{Service, service_story};

/// Restarts the service with a fault proxy before its Postgres.
async fn behind_a_proxy(s: &mut Service) -> Proxy {
    let (proxy, url) = Proxy::postgres(&s.database.url).await;
    s.stop("-TERM");
    s.set("DATABASE_URL", &url);
    s.start().await;
    proxy
}

#[test]
fn a_press_while_postgres_is_down_is_answered_in_time_and_the_presser_told_to_try_again() {
    service_story("echo hello", "info", async |s| {
        let postgres = behind_a_proxy(s).await;
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        for mode in [Mode::Down, Mode::Silent] {
            postgres.set(mode);
            let before = Instant::now();
            assert_eq!(s.presses("ana", "master-1", "Staging").await, 200);
            assert!(before.elapsed() < Duration::from_secs(3), "{mode:?}: Slack would have given up after {:?}", before.elapsed());
            s.until("ana is told", async || s.private_notes_of("ana").iter().any(|n| n.contains("Please try again"))).await;
            assert!(s.private_notes_of("ben").is_empty(), "nobody else is told");
            s.forget_private_notes();
        }
        postgres.set(Mode::Pass);
        s.until("the service is ready again", async || ureq::get(format!("{}/readyz", s.url)).call().is_ok()).await;
        assert_eq!(s.presses("ana", "master-1", "Production").await, 200);
        s.shows("*succeeded*").await;
    });
}
