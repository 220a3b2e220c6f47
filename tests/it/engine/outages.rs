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
            assert!(
                before.elapsed() < Duration::from_secs(3),
                "{mode:?}: Slack would have given up after {:?}",
                before.elapsed()
            );
            s.until("ana is told", async || s.private_notes_of("ana").iter().any(|n| n.contains("Please try again")))
                .await;
            assert!(s.private_notes_of("ben").is_empty(), "nobody else is told");
            s.forget_private_notes();
        }
        postgres.set(Mode::Pass);
        s.until("the service is ready again", async || ureq::get(format!("{}/readyz", s.url)).call().is_ok()).await;
        assert_eq!(s.presses("ana", "master-1", "Production").await, 200);
        s.shows("*succeeded*").await;
    });
}

#[test]
fn serve_started_before_postgres_waits_for_it_and_says_so() {
    service_story("echo hello", "info", async |s| {
        let (proxy, url) = Proxy::postgres(&s.database.url).await;
        proxy.set(Mode::Down);
        s.stop("-TERM");
        let direct = s.database.url.clone();
        s.set("DATABASE_URL", &url);
        s.launch("serve");
        let ready = || ureq::get(format!("{}/readyz", s.url)).config().http_status_as_error(false).build().call().ok();
        s.until("it listens", async || ready().is_some()).await;
        let mut answer = ready().unwrap();
        let said = answer.body_mut().read_to_string().unwrap();
        assert!(
            answer.status() == 503 && said.contains("\"postgres\":\"no connection yet; it is waited for\""),
            "{} {said}",
            answer.status()
        );
        let log = || std::fs::read_to_string(&s.log).unwrap();
        s.until("its log says what it waits for", async || log().contains("waiting for Postgres")).await;
        // Far longer than five tries of an init system take.
        tokio::time::sleep(Duration::from_secs(2)).await;
        proxy.set(Mode::Pass);
        s.until("it is ready", async || ready().is_some_and(|a| a.status() == 200)).await;
        s.set("DATABASE_URL", &direct);
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        assert_eq!(s.presses("ana", "master-1", "Staging").await, 200);
        s.shows("*succeeded*").await;
    });
}
