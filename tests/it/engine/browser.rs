//! A person in a real browser: presses *Deploy to Staging* in the stand-in's page, follows the log page.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::story::browser::Browser;
use crate::story::service::service_story;

#[test]
fn a_person_presses_deploy_and_reads_the_log_while_it_runs() {
    // Each line carries the machine's uptime when it was printed, so that the page's delay can be measured.
    let script = r#"printf '\033[32mready\033[0m <b>not bold</b>\n'; i=0; while [ $i -lt 20 ]; do i=$((i+1)); read up idle < /proc/uptime; echo "at $up"; sleep 0.4; done"#;
    service_story(script, "info", async |s| {
        s.cli(&["build:new", "master-1", "-m", "Message=fix <script> & *stars*"]);
        s.shows("# Api: master-1").await;
        let (page, standin) = (s.standin.page_url(), s.standin.address);
        let service = s.url.clone();
        tokio::task::spawn_blocking(move || {
            let browser = Browser::open();
            browser.go(&page);
            browser.sees("Api: master-1");
            assert_eq!(
                browser.eval("return location.href"),
                format!("http://{standin}/"),
                "the token stays out of the address"
            );
            assert!(browser.text().contains("fix <script> & stars"), "{}", browser.text());
            browser.clicks("Deploy to Staging");
            browser.sees("Staging: running");
            let link =
                browser.eval("return [...document.querySelectorAll('a')].find(a => a.textContent === 'See logs').href");
            browser.go(link.as_str().unwrap());
            browser.sees("ready <b>not bold</b>");
            // What was printed before the page was connected is no measure of how live it is.
            browser.until("it is live", "return document.getElementById('log').dataset.live");
            assert_eq!(browser.eval("return document.querySelector('#L1 .f2').textContent"), "ready");
            watch_delays(&browser);
            browser.sees("succeeded");
            let live = browser.text();
            browser.go(link.as_str().unwrap());
            browser.until("it is ready", "return document.getElementById('log').dataset.ready");
            assert_eq!(lines(&browser.text()), lines(&live), "the same log after a reload");
            assert_eq!(lines(&live).len(), 21);
            browser.go(&format!("{}#L3", link.as_str().unwrap()));
            browser.until("the line of the link is marked", "return document.querySelector('#L3.linked') !== null");
            assert_eq!(
                browser.eval(
                    "return performance.getEntriesByType('resource').every(r => r.name.startsWith(location.origin))"
                ),
                true
            );
            assert!(service.starts_with("http://127.0.0.1"));
            browser.go(&page);
            browser.sees("succeeded");
            browser.clicks("Deploy to Staging");
            browser.sees("Staging: running");
            browser.clicks("Deploy to Staging");
            browser.sees("Only visible to you");
            assert!(browser.text().contains("master-1 is already"), "{}", browser.text());
        })
        .await
        .unwrap();
        s.shows_times("*succeeded*", 2).await;
    });
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|l| l.starts_with("at ") || l.starts_with("ready")).collect()
}

/// The browser's clock at which this machine started.
fn booted(browser: &Browser) -> f64 {
    let now = browser.eval("return Date.now()").as_f64().unwrap();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    now - uptime.split(' ').next().unwrap().parse::<f64>().unwrap() * 1_000.0
}

/// The usual line is visible within half a second of being printed, with three other stories on the same two cores;
/// `./just bench` has the figures of a machine that does nothing else.
fn watch_delays(browser: &Browser) {
    browser.eval(&format!("window.booted = {}", booted(browser)));
    // A line that was printed before it is looked may come with what the page asked for first.
    browser.eval(
        "window.delays = []; const began = Date.now(), seen = new Set();
         new MutationObserver(() => { for (const l of document.querySelectorAll('.l[id]')) if (!seen.has(l.id)) {
           seen.add(l.id);
           const printed = window.booted + 1000 * Number(l.querySelector('span').textContent.slice(3));
           if (printed > began) window.delays.push(Date.now() - printed); } })
         .observe(document.getElementById('log'), { childList: true, subtree: true })",
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let delays = browser.eval("return window.delays");
        let mut delays: Vec<f64> = delays.as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        if delays.len() >= 5 {
            delays.sort_by(f64::total_cmp);
            assert!(delays[delays.len() / 2] < 500.0, "lines came {delays:?} ms after being printed");
            return;
        }
        assert!(Instant::now() < deadline, "no lines came: {delays:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_open_page_goes_on_by_itself_after_the_service_was_restarted() {
    let script = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo tick $i; sleep 0.5; done";
    service_story(script, "info", async |s| {
        s.cli(&["build:new", "master-1"]);
        s.shows("# Api: master-1").await;
        s.presses("ana", "master-1", "Staging").await;
        s.shows("*running*").await;
        let browser = tokio::task::block_in_place(Browser::open);
        let sees = |text: &str| tokio::task::block_in_place(|| browser.sees(text));
        tokio::task::block_in_place(|| browser.go(&s.log_url()));
        sees("tick 3");
        s.stop("-TERM");
        sees("Reconnecting");
        // For long enough that the browser itself is refused and gives up.
        tokio::time::sleep(Duration::from_secs(4)).await;
        s.start().await;
        sees("tick 30");
        sees("succeeded");
        let page = tokio::task::block_in_place(|| browser.text());
        assert!(!page.contains("Reconnecting"), "{page}");
        let ticks =
            |text: &str| text.lines().filter_map(|l| Some(l.split("tick ").nth(1)?.to_owned())).collect::<Vec<_>>();
        assert_eq!(ticks(&page), ticks(&s.logs()), "nothing is missing and nothing is there twice");
        tokio::task::block_in_place(move || drop(browser));
    });
}

#[test]
fn a_person_asks_the_history_for_whoever_deployed_what_in_its_form() {
    service_story("true", "info", async |s| {
        for (build, who) in [("master-1", "ana"), ("master-2", "ben")] {
            s.cli(&["build:new", build]);
            s.shows(&format!("# Api: {build}")).await;
            s.presses(who, build, "Staging").await;
        }
        s.shows_times("*succeeded*", 2).await;
        let told = s.cli(&["status", "api", "--link"]);
        let project = told.lines().last().unwrap();
        let history = project.replace("/projects/api?", "/projects/api/history?");
        tokio::task::block_in_place(|| {
            let browser = Browser::open();
            browser.is_sized(390, 800);
            browser.go(&history);
            browser.sees("master-2");
            assert_eq!(browser.eval("return document.documentElement.scrollWidth <= innerWidth"), true);
            browser.clicks("succeeded");
            browser.until("it is chosen", "return location.search.includes('outcome=succeeded')");
            browser.eval("document.querySelector('[name=user]').focus()");
            browser.types(&["ana", "Enter"]);
            browser.until("it is asked for", "return location.search.includes('user=ana')");
            browser.sees("master-1");
            assert!(!browser.text().contains("master-2"), "{}", browser.text());
            assert!(browser.eval("return location.search").as_str().unwrap().contains("outcome=succeeded"));
            browser.eval("document.querySelector('[name=since]').focus()");
            browser.types(&["yesterday", "Enter"]);
            browser.sees("yesterday");
            assert!(!browser.text().contains("master-1"), "{}", browser.text());
        });
    });
}
