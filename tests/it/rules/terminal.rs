//! What is shown of a log, beside what a terminal emulator shows that nobody here wrote: pyte.

use std::io::Write;
use std::process::{Command, Stdio};

use coolops::terminal::{ROWS, Screen};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Reads logs as JSON, one a line, and tells what pyte has on its screen after each.
const PYTE: &str = r"
import sys, json, pyte
for line in sys.stdin:
    screen = pyte.Screen(400, 24)
    screen.set_mode(pyte.modes.LNM)
    stream = pyte.Stream(screen)
    stream.feed(json.loads(line))
    print(json.dumps([row.rstrip() for row in screen.display]))
";

fn pyte_shows(logs: &[String]) -> Vec<Vec<String>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python");
    let mut python = Command::new("python3")
        .args(["-c", PYTE])
        .env("PYTHONPATH", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = python.stdin.take().unwrap();
    let text: String = logs.iter().map(|log| format!("{}\n", serde_json::json!(log))).collect();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "python3 with pyte from PyPI does this; ./just test installs it");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn screen_shows(log: &str) -> Vec<String> {
    let mut screen = Screen::new();
    let (whole, begun) = log.rsplit_once('\n').unwrap_or(("", log));
    let mut number = 0;
    if log.contains('\n') {
        for line in whole.split('\n') {
            number += 1;
            screen.line(number, line.as_bytes());
        }
    }
    screen.begin(number + 1, begun.as_bytes());
    // A tab is kept as one; a terminal has blanks there.
    let cells = |row: &coolops::terminal::Row| -> String {
        let mut is_tab = false;
        let text: String = row
            .cells
            .iter()
            .filter_map(|cell| {
                is_tab = cell.character == Some('\t') || (is_tab && cell.character.is_none());
                if is_tab { Some(' ') } else { cell.character }
            })
            .collect();
        text.trim_end().to_owned()
    };
    let mut rows: Vec<String> = screen.rows().map(cells).collect();
    rows.resize(ROWS, String::new());
    rows
}

/// What both know. Left out is what pyte does otherwise than terminals: it keeps rows that are deleted where nothing follows
/// them, moves a cursor that is above the part that scrolls into it, and shows colons between
/// numbers.
fn piece() -> impl Strategy<Value = String> {
    let n = 0..30_u8;
    prop_oneof![
        6 => "[a-z<>& ]{1,12}",
        4 => Just("\n".to_owned()),
        2 => Just("\r".to_owned()),
        1 => Just("\u{8}".to_owned()),
        1 => Just("\t".to_owned()),
        3 => (n.clone(), prop::sample::select(vec!["A", "B", "C", "D", "E", "F", "G", "d"])).prop_map(|(n, f)| format!("\u{1b}[{n}{f}")),
        2 => (n.clone(), n.clone()).prop_map(|(y, x)| format!("\u{1b}[{y};{x}H")),
        2 => (0..3_u8, prop::sample::select(vec!["K", "J"])).prop_map(|(n, f)| format!("\u{1b}[{n}{f}")),
        2 => (n, prop::sample::select(vec!["P", "X", "@"])).prop_map(|(n, f)| format!("\u{1b}[{n}{f}")),
        1 => Just("\u{1b}7".to_owned()),
        1 => Just("\u{1b}M".to_owned()),
        1 => Just("\u{1b}D".to_owned()),
        1 => "[0-9;]{0,6}".prop_map(|codes| format!("\u{1b}[{codes}m")),
        1 => Just("\u{1b}]0;a title\u{7}".to_owned()),
        1 => Just("\u{1b}[?25l".to_owned()),
    ]
}

#[test]
fn what_is_shown_of_a_log_is_what_a_terminal_shows() {
    let mut runner = TestRunner::default();
    let log = prop::collection::vec(piece(), 1..60).prop_map(|pieces| pieces.concat());
    let logs: Vec<String> = (0..500).map(|_| log.new_tree(&mut runner).unwrap().current()).collect();
    let mut held = 0;
    for (log, theirs) in logs.iter().zip(pyte_shows(&logs)) {
        let ours = screen_shows(log);
        assert!(ours == theirs, "{log:?}\nis shown as\n{}\nand by pyte as\n{}", ours.join("\n"), theirs.join("\n"));
        held += usize::from(theirs.iter().any(|row| !row.is_empty()));
    }
    assert!(held > 300, "{held}");
}

proptest! {
    #[test]
    fn any_bytes_become_whole_markup(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8)) {
        let mut screen = Screen::new();
        for (n, line) in lines.iter().enumerate() {
            screen.line(n as i64 + 1, line);
        }
        let html: String = screen.rows().map(|row| row.html(|link| screen.link(link))).collect();
        // No angle bracket but those of our own few elements, all closed again.
        for opened in ["span", "a", "i"] {
            let begins = html.matches(&format!("<{opened} ")).count() + html.matches(&format!("<{opened}>")).count();
            prop_assert_eq!(begins, html.matches(&format!("</{opened}>")).count());
        }
        let bare = html.replace("</span>", "").replace("</a>", "").replace("</i>", "");
        for part in bare.split('<').skip(1) {
            prop_assert!(part.starts_with("span class=\"") || part.starts_with("a rel=\"noopener") || part.starts_with("i>"), "{}", html);
        }
        let control = |c: char| c.is_control() && c != '\t';
        prop_assert!(!html.contains(control), "{:?}", html);
    }
}
