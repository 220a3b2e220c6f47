//! `GET /deployments/{id}/compare`: a log beside that of the last good deployment of its environment.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::deployment_page::gone_words;
use super::error::HttpError;
use super::link::{Key, opened};
use super::log_numbers::Numbers;
use super::off_thread::off_thread;
use super::parameters::{Path, Query};
use super::{Parts, Web, page};
use crate::domain::deployment::Deployment;
use crate::slack::render::log_url;
use crate::terminal::{Row, Screen, numbered};

/// Lines of each that are compared.
const LINES_MAX: usize = 20_000;
/// Bytes of each that are read.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Lines that are shown before the first difference, and after it.
const BEFORE: usize = 10;
const AFTER: usize = 300;

/// Handles the request.
///
/// 503 when the database is away, and 404 for a wrong link, each as a page.
pub async fn page(State(web): State<Web>, Path(id): Path<String>, Query(key): Query<Key>) -> Response {
    shown(&web, &id, &key).await.unwrap_or_else(|answer| page::for_people(&answer))
}

async fn shown(web: &Web, id: &str, key: &Key) -> Result<Response, HttpError> {
    let Some((timed, links)) = opened(web, id, key.value()).await? else { return Ok(page::not_found()) };
    let this = &timed.deployment;
    let store = web.app.readers();
    let around = store.deployments().around(&this.of).await?;
    let link = |d: &Deployment| log_url("", &links, d.of.deployment_id);
    let title = format!("{} → {}, compared", this.build_name, this.environment_name);
    let nothing = |why: &Markup| {
        let body = html! { main.plain { h1 { (title) } p { (why) } p { a href=(link(this)) { "The log" } } } };
        Ok(page::framed(&title, None, page::Script::None, &body))
    };
    let Some(good) = around.good else {
        return nothing(&html! { "No deployment to " (this.environment_name) " before this one went well." });
    };
    if store.directory().linked(&[good.of.build_id]).await?.is_empty() {
        return nothing(
            &html! { "The last good one is " (good.build_name) ", and the links to its log were revoked." },
        );
    }
    for d in [&good, this] {
        if let Some((recorded, erased)) = web.app.output_erased(d.of.deployment_id).await? {
            return nothing(
                &html! { "Nothing can be compared. Of " (d.build_name) ": " (gone_words(&recorded, &erased)) },
            );
        }
    }
    let _turn = web.room.work().await?;
    let (left, right) = (text(web, &good).await?, text(web, this).await?);
    let texts = |log: &Log| log.lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>();
    let is_cut = left.is_cut || right.is_cut;
    // Of logs that are longer than what is read, only what there is of both is compared.
    let common = if is_cut { left.lines.len().min(right.lines.len()) } else { usize::MAX };
    let first = first_difference(&texts(&left), &texts(&right)).filter(|first| *first < common);
    let from = first.unwrap_or(0).saturating_sub(BEFORE);
    let column = |d: &Deployment, log: &Log| column(d, &link(d), &log.lines, from, first);
    let body = html! {
        main.compare {
            h1 { (title) }
            p.facts {
                @match first {
                    Some(row) => { "The first difference is in line " (number_of(row, &right, &left)) ". Numbers and times are not compared." }
                    None => { "They do not differ, numbers and times apart." }
                }
                @if is_cut { " Only their first " (LINES_MAX) " lines, or " (BYTES_MAX >> 20) " MiB, were compared." }
            }
            div.columns { (column(&good, &left)) (column(this, &right)) }
        }
    };
    Ok(page::framed(&title, Some(this.state()), page::Script::None, &body))
}

/// The number of a row: that of this log, unless it has ended there.
fn number_of(row: usize, this: &Log, good: &Log) -> i64 {
    this.lines.get(row).or_else(|| good.lines.get(row)).map_or(0, |line| line.number)
}

fn column(deployment: &Deployment, link: &str, lines: &[Shown], from: usize, first: Option<usize>) -> Markup {
    html! {
        section {
            h2 { a href=(link) { (deployment.build_name) } " " (page::badge(deployment.state())) }
            @if from > 0 { p.note { (from) " lines before are the same." } }
            @for (n, line) in lines.iter().enumerate().skip(from).take(BEFORE + AFTER) {
                div.l.differs[first == Some(n)] {
                    a href={ (link) "#L" (line.number) } { (line.number) }
                    span { @if first == Some(n) { mark { (line.text) @if line.text.is_empty() { " " } } } @else { (line.text) } }
                }
            }
            @if first.is_some_and(|first| first >= lines.len()) { p.note { mark { "It ends here." } } }
        }
    }
}

/// A line as it is shown.
struct Shown {
    number: i64,
    text: String,
}

/// The beginning of a log.
#[derive(Default)]
struct Log {
    lines: Vec<Shown>,
    /// There is more.
    is_cut: bool,
}

/// The lines of a log as they are shown.
async fn text(web: &Parts, deployment: &Deployment) -> Result<Log, HttpError> {
    let (store, id) = (web.app.readers(), deployment.of.deployment_id);
    let numbers = Numbers::of(web, deployment).await?;
    let (mut screen, mut next, mut bytes, mut log) = (Screen::new(), 0, 0, Log::default());
    while bytes < BYTES_MAX && log.lines.len() < LINES_MAX {
        let Some(chunk) = store.journals().chunks_from(id, next, 1).await?.pop() else { break };
        next = chunk.next();
        bytes += chunk.body.len();
        let drawn;
        (screen, drawn) = off_thread(move || {
            let mut drawn = Vec::new();
            for (number, line) in numbered(numbers.shown(chunk.first_line), &chunk.body) {
                screen.line(number, line);
                drawn.extend(screen.take_gone().iter().map(as_shown));
            }
            (screen, drawn)
        })
        .await;
        log.lines.extend(drawn);
    }
    log.is_cut = store.journals().chunks_from(id, next, 1).await?.pop().is_some();
    if !log.is_cut {
        log.lines.extend(screen.rows().map(as_shown));
    }
    Ok(log)
}

fn as_shown(row: &Row) -> Shown {
    Shown { number: row.number, text: row.text() }
}

/// The first line in which they differ.
fn first_difference(left: &[String], right: &[String]) -> Option<usize> {
    let same = left.iter().zip(right).take_while(|(l, r)| bare(l) == bare(r)).count();
    (same < left.len().max(right.len())).then_some(same)
}

/// A line without what differs each time: numbers, and words of hexadecimal digits that have a number in them.
fn bare(line: &str) -> String {
    let mut bare = String::with_capacity(line.len());
    for word in line.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let (text, end) = match word.char_indices().next_back() {
            Some((at, c)) if !c.is_ascii_alphanumeric() => word.split_at(at),
            _ => (word, ""),
        };
        let is_hex =
            text.len() >= 7 && text.bytes().all(|b| b.is_ascii_hexdigit()) && text.bytes().any(|b| b.is_ascii_digit());
        if is_hex {
            bare.push('#');
        } else {
            let mut in_number = false;
            for c in text.chars() {
                if !c.is_ascii_digit() {
                    bare.push(c);
                } else if !in_number {
                    bare.push('#');
                }
                in_number = c.is_ascii_digit();
            }
        }
        bare.push_str(end);
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_hashes_are_no_difference_and_words_are() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let good = lines("12:00:01 begin 3f2a91c0\npulled in 3.2 s\nhealthy\n");
        assert_eq!(first_difference(&good, &lines("12:59:59 begin deadbee1\npulled in 10.75 s\nhealthy\n")), None);
        assert_eq!(first_difference(&good, &lines("12:00:02 begin 11111111\npulled in 1.0 s\nsick\n")), Some(2));
        assert_eq!(first_difference(&good, &good[..2]), Some(2));
    }
}
