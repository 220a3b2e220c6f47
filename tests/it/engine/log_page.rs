//! People who work with a log in a real browser.

use std::time::Duration;

use serde_json::{Value, json};

use crate::story::browser::Browser;
use crate::story::service::{Service, service_story};

/// A deployment of a script, under way.
async fn deploys(s: &mut Service) {
    s.cli(&["build:new", "master-1"]);
    s.shows("# Api: master-1").await;
    s.presses("ana", "master-1", "Staging").await;
}

/// Tells a story of a browser, off the threads that serve it.
fn browsing(tell: impl FnOnce()) {
    tokio::task::block_in_place(tell);
}

impl Browser {
    fn reads(&self, url: &str) {
        self.go("about:blank");
        self.go(url);
        self.until("the page is ready", "return document.getElementById('log').dataset.ready");
    }

    /// Waits until a line is in view, below what stands at the top, and tells its text.
    fn views(&self, line: i64) -> String {
        let script = format!(
            "const r = document.getElementById('L{line}'); if (!r) return null; const at = r.getBoundingClientRect();
             const bar = document.getElementById('bar').getBoundingClientRect().bottom;
             return at.top >= bar - 1 && at.bottom <= innerHeight ? r.lastElementChild.textContent : null"
        );
        self.until(&format!("line {line} comes into view"), &script).as_str().unwrap().to_owned()
    }

    fn marked(&self) -> Value {
        self.eval("return [...document.querySelectorAll('.linked')].map(r => r.id)")
    }

    /// Where the page is when it has stopped scrolling.
    fn settled(&self) -> Value {
        let mut place = self.eval("return scrollY");
        loop {
            std::thread::sleep(Duration::from_millis(250));
            let now = self.eval("return scrollY");
            if now == place {
                return now;
            }
            place = now;
        }
    }

    fn is_following(&self) -> bool {
        self.eval("return document.getElementById('follow').getAttribute('aria-pressed') === 'true'") == true
    }

    fn hits(&self, text: &str) {
        let script = format!("return document.getElementById('hits').textContent === {}", json!(text));
        self.until(&format!("the search says {text:?}"), &script);
    }
}

#[test]
fn every_line_of_a_long_log_is_reached_linked_and_found() {
    service_story(
        "seq 1 300000 | sed 's/^/number /'; printf 'the \\033[31mne\\033[0medle\\n'; seq 1 1000",
        "info",
        async |s| {
            s.cli(&["project", "set", "api", "--log-limit", "64"]);
            deploys(s).await;
            s.shows("*succeeded*").await;
            let url = s.log_url();
            browsing(|| {
                let b = Browser::open();
                b.reads(&url);
                assert_eq!(b.views(1), "number 1", "an ended log is read from its beginning");
                b.reads(&format!("{url}#L250000"));
                assert_eq!(b.views(250_000), "number 250000");
                assert_eq!(b.marked(), json!(["L250000"]));
                assert!(
                    b.eval("return document.querySelectorAll('.l').length").as_i64().unwrap() < 10_000,
                    "only what is seen"
                );
                // A range, by shift and a click.
                b.eval(
                "const at = (n, shiftKey) => document.querySelector(`#L${n} > a`).dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true, shiftKey }));
                 at(250003, false); at(250001, true);",
            );
                assert_eq!(b.eval("return location.hash"), "#L250001-L250003");
                assert_eq!(b.marked(), json!(["L250001", "L250002", "L250003"]));
                b.reads(&format!("{url}#L10-L12"));
                b.views(10);
                assert_eq!(b.marked(), json!(["L10", "L11", "L12"]));
                // Found as it is shown, by its keys.
                b.types(&["/"]);
                b.types(&["the needle", "Enter"]);
                b.hits("1 of 1");
                assert_eq!(b.views(300_001), "the needle");
                b.types(&["Escape"]);
                b.reads(&url);
                b.types(&["/"]);
                b.eval("const q = document.getElementById('query'); q.value = '^number 2999.5$'; document.getElementById('regex').checked = true");
                b.types(&["Enter"]);
                b.hits("1 of 10");
                assert_eq!(b.views(299_905), "number 299905");
                b.types(&["Enter"]);
                b.hits("2 of 10");
                b.types(&["Shift+Enter", "Shift+Enter"]);
                b.hits("10 of 10");
                assert_eq!(b.views(299_995), "number 299995");
                b.eval("document.getElementById('query').value = '^number'");
                b.types(&["Enter"]);
                b.until(
                    "how many can be reached",
                    "return document.getElementById('hits').textContent.endsWith(' of 300000; the first 10000 can be reached, so look for less')",
                );
                b.eval("document.getElementById('query').value = '('");
                b.types(&["Enter"]);
                b.until(
                    "a wrong pattern is told",
                    "return document.getElementById('hits').textContent.includes(\"can't be read\")",
                );
                // Times, when they are wanted.
                b.clicks("Times");
                b.until(
                    "since the start",
                    "return /^\\+\\d+ s$/.test(document.querySelector('.l[id] > a').dataset.at)",
                );
                b.clicks("Since start");
                b.until(
                    "the clock",
                    "return /^\\d\\d:\\d\\d:\\d\\d$/.test(document.querySelector('.l[id] > a').dataset.at)",
                );
            });
        },
    );
}

#[test]
fn a_page_follows_while_its_reader_is_at_the_end_and_never_takes_the_place_away() {
    service_story(
        "seq 1 500; i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo tick $i; sleep 0.1; done",
        "info",
        async |s| {
            deploys(s).await;
            s.shows("*running*").await;
            let url = s.log_url();
            browsing(|| {
                let b = Browser::open();
                b.reads(&url);
                b.sees("tick 5");
                assert!(b.is_following());
                let ways: [(&str, &dyn Fn()); 4] = [
                    ("the wheel", &|| b.wheels(-400)),
                    ("a finger", &|| b.drags(300)),
                    ("a key", &|| b.types(&["PageUp"])),
                    ("a script", &|| drop(b.eval("window.scrollBy(0, -300)"))),
                ];
                for (way, scroll) in ways {
                    scroll();
                    b.until(
                        &format!("{way} ends the following"),
                        "return document.getElementById('follow').getAttribute('aria-pressed') === 'false'",
                    );
                    let place = b.settled();
                    b.until("new lines are told", "return !document.getElementById('new').hidden && /^\\d+ new lines?$/.test(document.getElementById('new').textContent)");
                    assert_eq!(b.eval("return scrollY"), place, "{way}: the place was taken away");
                    b.eval("document.getElementById('new').click()");
                    b.until(
                        "it follows again",
                        "return innerHeight + scrollY >= document.documentElement.scrollHeight - 4",
                    );
                    assert!(b.is_following(), "{way}");
                }
                // A tab that is not seen holds no connection, and catches up.
                let first = b.opens_tab();
                b.go("about:blank");
                std::thread::sleep(Duration::from_secs(2));
                b.goes_to_tab(&first);
                b.sees("succeeded");
                b.sees("tick 300");
                let rows = b.eval("return [...document.querySelectorAll('.l[id]')].map(r => Number(r.id.slice(1)))");
                let rows: Vec<i64> = rows.as_array().unwrap().iter().filter_map(Value::as_i64).collect();
                assert!(rows.is_sorted() && rows.last() == Some(&800), "{rows:?}");
            });
        },
    );
}

#[test]
fn twenty_tabs_follow_one_log() {
    service_story("i=0; while [ $i -lt 150 ]; do i=$((i+1)); echo tick $i; sleep 0.2; done", "info", async |s| {
        deploys(s).await;
        s.shows("*running*").await;
        let url = s.log_url();
        browsing(|| {
            let b = Browser::open();
            let mut tabs = Vec::new();
            for _ in 0..20 {
                b.go(&url);
                tabs.push(b.opens_tab());
            }
            for tab in &tabs {
                b.goes_to_tab(tab);
                b.until("each tab works", "return /tick \\d+/.test(document.body.innerText)");
            }
            b.sees("succeeded");
        });
    });
}

#[test]
fn steps_are_folded_and_the_failing_one_is_open() {
    let script = "echo begun; echo '--- Build'; sleep 1; echo built; echo '--- Test'; echo 'ERROR: it broke'; echo 'the last'; exit 3";
    service_story(script, "info", async |s| {
        deploys(s).await;
        s.shows("*failed*: exit code 3").await;
        let url = s.log_url();
        browsing(|| {
            let b = Browser::open();
            b.reads(&url);
            b.sees("the last");
            let folds = b.eval("return [...document.querySelectorAll('.fold')].map(f => [f.querySelector('.name').textContent, f.getAttribute('aria-expanded')])");
            assert_eq!(folds, json!([["Start", "false"], ["Build", "false"], ["Test", "true"]]));
            assert!(!b.text().contains("built\n"), "{}", b.text());
            let facts = b.eval("return [...document.querySelectorAll('.fold .facts')].map(f => f.textContent)");
            let took = facts[1].as_str().unwrap();
            assert!(["0.9 s", "1.0 s", "1.1 s", "1.2 s"].contains(&took), "{took}");
            assert!(facts[2].as_str().unwrap().starts_with("1 error · failed · 0."), "{facts}");
            assert!(b.text().contains("Failed: exit code 3"), "{}", b.text());
            b.eval("document.querySelectorAll('.fold')[1].click()");
            b.sees("built");
            // A line in a folded step opens it.
            b.reads(&format!("{url}#L3"));
            assert_eq!(b.views(3), "built");
            assert_eq!(b.eval("return document.title"), "failed · master-1 → Staging");
            assert!(
                b.eval("return document.querySelector('link[rel=icon]').href")
                    .as_str()
                    .unwrap()
                    .ends_with("/assets/icon-failed.svg")
            );
        });
    });
}

#[test]
fn a_log_is_copied_wrapped_printed_and_read_in_the_dark() {
    let script = "echo begun; printf '\\033[31mred\\033[0m\\n'; printf 'wide%.0s' $(seq 1 200); echo; seq 4 3000";
    service_story(script, "info", async |s| {
        deploys(s).await;
        s.shows("*succeeded*").await;
        let url = s.log_url();
        browsing(|| {
            let b = Browser::open();
            b.reads(&url);
            b.may_use_the_clipboard();
            b.views(1);
            let copied = |b: &Browser| b.eval("return navigator.clipboard.readText()").as_str().unwrap().to_owned();
            let click = |b: &Browser, line: i64, shift: bool| {
                b.eval(&format!(
                    "document.querySelector('#L{line} > a').dispatchEvent(new MouseEvent('click', {{ bubbles: true, cancelable: true, shiftKey: {shift} }}))"
                ));
            };
            // Two numbers make a range, whose link is copied; *Copy* copies its lines, as they are read.
            click(&b, 1, false);
            click(&b, 2, true);
            assert_eq!(b.marked(), json!(["L1", "L2"]));
            b.until("the link is copied", "return document.getElementById('copy').textContent === 'Link copied'");
            assert_eq!(copied(&b), format!("{url}#L1-L2"));
            b.eval("document.getElementById('copy').click()");
            b.until("the range is copied", "return document.getElementById('copy').textContent === 'Copied'");
            assert_eq!(copied(&b), "begun\nred\n");
            // Without a range it is the whole log, also what isn't in the page.
            b.reads(&url);
            b.views(1);
            b.clicks("Copy");
            b.until("the log is copied", "return document.getElementById('copy').textContent === 'Copied'");
            let whole = copied(&b);
            assert!(whole.starts_with("begun\nred\nwidewide") && whole.ends_with("\n2999\n3000\n"), "{whole}");
            assert_eq!(whole.lines().count(), 3_000);

            let high = "return document.getElementById('L3').getBoundingClientRect().height > 30";
            assert_eq!(b.eval(high), true, "a long line is wrapped");
            b.types(&["w"]);
            assert_eq!(b.eval(high), false, "and with a key it isn't");
            assert_eq!(
                b.eval("return document.documentElement.scrollWidth <= innerWidth"),
                true,
                "the log scrolls, not the page"
            );

            let bright =
                "const [r] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g); return Number(r) > 128";
            assert_eq!(b.eval(bright), true);
            b.emulates("", "prefers-color-scheme", "dark");
            assert_eq!(b.eval(bright), false, "dark where the system is");

            // On paper it is light again, without what is pressed, and says what it leaves out.
            b.emulates("print", "prefers-color-scheme", "dark");
            assert_eq!(b.eval(bright), true);
            assert_eq!(b.eval("return getComputedStyle(document.getElementById('bar')).display"), "none");
            let left_out = "return [...document.querySelectorAll('.block:not(.loaded), .chapter:empty')].filter(e => e.checkVisibility()).map(e => getComputedStyle(e, '::after').content)";
            let notes = b.eval(left_out);
            let note = "\"Lines from 201 on are not printed here; the download has them.\"";
            assert_eq!(notes, json!([note]));
            // Whoever prints by the keys gets all of it.
            b.eval("window.print = () => { window.printed = document.querySelectorAll('.l[id]').length; };
                    document.dispatchEvent(new KeyboardEvent('keydown', { key: 'p', ctrlKey: true, bubbles: true, cancelable: true }))");
            assert_eq!(b.until("it is printed", "return window.printed || null"), 3_000);
        });
    });
}

#[test]
fn a_failed_log_is_compared_with_the_last_good_one_and_its_end_is_seen_at_once() {
    let script = "echo begin at $(date +%s); if [ \"$BREAK\" ]; then sleep 8; seq 1 40; echo connection refused; exit 3; fi; echo healthy";
    service_story(script, "info", async |s| {
        deploys(s).await;
        s.shows("*succeeded*").await;
        s.cli(&["environment", "set", "api", "Staging", "BREAK=1"]);
        s.cli(&["build:new", "master-2"]);
        s.shows("# Api: master-2").await;
        s.presses("ana", "master-2", "Staging").await;
        s.shows("*running*").await;
        let url = s.log_url();
        browsing(|| {
            let b = Browser::open();
            b.reads(&url);
            assert_eq!(b.eval("return document.querySelector('.excerpt')"), Value::Null, "it runs yet");
            b.sees("Failed: exit code 3");
            let excerpt =
                b.until("its last lines come above the log", "return document.querySelector('.excerpt')?.innerText");
            assert!(excerpt.as_str().unwrap().contains("connection refused"), "{excerpt}");
            b.clicks("Compare with the last good one");
            b.sees("The first difference is in line 2.");
            let columns = b.eval("return [...document.querySelectorAll('.columns section')].map(c => [c.querySelector('h2').innerText, c.querySelector('mark').innerText])");
            assert_eq!(columns, json!([["master-1\nsucceeded", "healthy"], ["master-2\nfailed", "1"]]));
        });
        s.shows("*failed*: exit code 3").await;
    });
}

#[test]
fn an_open_page_says_that_its_link_was_revoked() {
    service_story("i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo tick $i; sleep 0.5; done", "info", async |s| {
        deploys(s).await;
        s.shows("*running*").await;
        let url = s.log_url();
        let b = tokio::task::block_in_place(Browser::open);
        browsing(|| {
            b.reads(&url);
            b.sees("tick 3");
        });
        s.cli(&["project", "links", "revoke", "api"]);
        browsing(|| {
            b.sees("This link is not valid any more. Open the log from the line in the build's Slack message.");
            b.go(&url);
            b.sees("Nothing here");
            drop(b);
        });
    });
}

#[test]
fn what_is_printed_without_an_end_is_seen_and_a_progress_bar_is_one_line() {
    let script = "printf 'waiting'; i=0; while [ $i -lt 25 ]; do i=$((i+1)); printf .; sleep 0.8; done; echo done; printf 'got 1 %%\\r'; sleep 1; printf 'got 100 %%\\n'";
    service_story(script, "info", async |s| {
        deploys(s).await;
        s.shows("*running*").await;
        let url = s.log_url();
        browsing(|| {
            let b = Browser::open();
            b.reads(&url);
            let begun = "const e = document.querySelector('.begun'); return !e.hidden && /^waiting\\.{2,}$/.test(e.textContent) ? e.textContent : null";
            b.until("the dots are seen while they are printed", begun);
            b.sees(&format!("waiting{}done", ".".repeat(25)));
            b.sees("got 100 %");
            b.sees("succeeded");
            assert_eq!(b.eval("return document.querySelectorAll('.l[id]').length"), 2);
        });
    });
}

#[test]
fn a_log_is_read_without_javascript_and_on_a_phone() {
    service_story("seq 1 1000; printf '\\033[31mred\\033[0m\\n'", "info", async |s| {
        deploys(s).await;
        s.shows("*succeeded*").await;
        let url = s.log_url();
        browsing(|| {
            let b = Browser::without_scripts();
            b.go(&url);
            let source = b.source();
            assert!(
                source.contains("Lines 801 to 1001 of 1001.") && source.contains("<span class=\"f1\">red</span>"),
                "{source}"
            );
            let earlier = source.split("<a href=\"").find(|part| part.contains(">Earlier<")).unwrap();
            let query = earlier.split('"').next().unwrap().replace("&amp;", "&");
            b.go(&format!("{}{query}", url.split('?').next().unwrap()));
            assert!(b.source().contains("id=\"L652\""));
            drop(b);
            let b = Browser::open();
            b.is_sized(390, 800);
            b.reads(&url);
            b.views(1);
            assert_eq!(
                b.eval("return document.documentElement.scrollWidth <= innerWidth"),
                true,
                "nothing is cut off at the side"
            );
            b.eval("window.scrollBy(0, 600)");
            b.until(
                "what stands at the top is small",
                "return document.getElementById('bar').getBoundingClientRect().height < 120",
            );
        });
    });
}
