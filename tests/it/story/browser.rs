//! A real browser: Debian's Chromium through WebDriver.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A WebDriver session with Debian's Chromium.
pub struct Browser {
    driver: Child,
    session: String,
    profile: std::path::PathBuf,
}

impl Browser {
    pub fn open() -> Self {
        Self::with(&json!({}))
    }

    /// One without JavaScript.
    pub fn without_scripts() -> Self {
        Self::with(&json!({ "profile.managed_default_content_settings.javascript": 2 }))
    }

    fn with(preferences: &Value) -> Self {
        let mut driver =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let started = lines
            .map_while(Result::ok)
            .find(|l| l.contains("started successfully on port"))
            .expect("chromedriver starts");
        let port: String = started.chars().filter(char::is_ascii_digit).collect();
        let profile = std::env::temp_dir().join(format!("chromium-{}", uuid::Uuid::new_v4().simple()));
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1200,800",
        ];
        let arguments: Vec<String> = arguments
            .into_iter()
            .map(str::to_owned)
            .chain([format!("--user-data-dir={}", profile.display())])
            .collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": arguments, "prefs": preferences } } } });
        let base = format!("http://127.0.0.1:{port}/session");
        let answer = post(&base, &wanted);
        let session = format!(
            "{base}/{}",
            answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}"))
        );
        Self { driver, session, profile }
    }

    pub fn go(&self, url: &str) {
        post(&format!("{}/url", self.session), &json!({ "url": url }));
    }

    /// Runs a script in the page and tells its value.
    pub fn eval(&self, script: &str) -> Value {
        let answer = post(&format!("{}/execute/sync", self.session), &json!({ "script": script, "args": [] }));
        answer["value"].clone()
    }

    pub fn text(&self) -> String {
        self.eval("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// The page's markup.
    pub fn source(&self) -> String {
        get(&format!("{}/source", self.session))["value"].as_str().unwrap_or_default().to_owned()
    }

    pub fn sees(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.text().contains(text) {
            assert!(Instant::now() < deadline, "the page never shows {text:?}:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until a script tells something else than nothing.
    pub fn until(&self, what: &str, script: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let value = self.eval(script);
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            assert!(Instant::now() < deadline, "{what}:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Presses keys, as a person does: `Enter` and others by their names in WebDriver.
    pub fn types(&self, keys: &[&str]) {
        let special = |key: &str| match key {
            "Enter" => "\u{e007}".to_owned(),
            "Shift" => "\u{e008}".to_owned(),
            "Escape" => "\u{e00c}".to_owned(),
            "PageUp" => "\u{e00e}".to_owned(),
            "End" => "\u{e010}".to_owned(),
            other => other.to_owned(),
        };
        let mut actions: Vec<Value> = Vec::new();
        for chord in keys {
            let parts: Vec<String> = match chord.split_once('+') {
                Some((a, b)) if !a.is_empty() => vec![special(a), special(b)],
                _ if chord.len() > 1 && special(chord) == **chord => chord.chars().map(String::from).collect(),
                _ => vec![special(chord)],
            };
            if chord.contains('+') && chord.len() > 1 {
                actions.extend(parts.iter().map(|key| json!({ "type": "keyDown", "value": key })));
                actions.extend(parts.iter().rev().map(|key| json!({ "type": "keyUp", "value": key })));
            } else {
                for key in &parts {
                    actions.push(json!({ "type": "keyDown", "value": key }));
                    actions.push(json!({ "type": "keyUp", "value": key }));
                }
            }
        }
        let body = json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] });
        post(&format!("{}/actions", self.session), &body);
    }

    /// Drags a finger over the page, so many pixels down.
    pub fn drags(&self, pixels: i64) {
        let at =
            |y: i64, ms: i64| json!({ "type": "pointerMove", "duration": ms, "x": 300, "y": y, "origin": "viewport" });
        let finger = json!([
            at(200, 0), { "type": "pointerDown", "button": 0 }, at(200 + pixels / 2, 60), at(200 + pixels, 60), { "type": "pointerUp", "button": 0 },
        ]);
        let body = json!({ "actions": [{ "type": "pointer", "id": "finger", "parameters": { "pointerType": "touch" }, "actions": finger }] });
        post(&format!("{}/actions", self.session), &body);
    }

    /// Turns the mouse's wheel, so many pixels.
    pub fn wheels(&self, pixels: i64) {
        let scroll = json!([{ "type": "scroll", "x": 300, "y": 300, "deltaX": 0, "deltaY": pixels, "duration": 50, "origin": "viewport" }]);
        post(
            &format!("{}/actions", self.session),
            &json!({ "actions": [{ "type": "wheel", "id": "wheel", "actions": scroll }] }),
        );
    }

    /// Opens another tab and goes there; tells the one before.
    pub fn opens_tab(&self) -> String {
        let before = get(&format!("{}/window", self.session))["value"].as_str().unwrap().to_owned();
        let opened = post(&format!("{}/window/new", self.session), &json!({ "type": "tab" }));
        self.goes_to_tab(opened["value"]["handle"].as_str().unwrap());
        before
    }

    pub fn goes_to_tab(&self, handle: &str) {
        post(&format!("{}/window", self.session), &json!({ "handle": handle }));
    }

    /// Lets the page that is open copy and read what was copied, which takes a person's hand otherwise.
    pub fn may_use_the_clipboard(&self) {
        for name in ["clipboard-read", "clipboard-write"] {
            let permission = json!({ "descriptor": { "name": name }, "state": "granted" });
            let answer = post(&format!("{}/permissions", self.session), &permission);
            assert!(answer["value"].is_null(), "{answer}");
        }
    }

    /// Shows the page as on paper, or to somebody whose system is dark: a media type or nothing, and a feature with its value.
    pub fn emulates(&self, media: &str, feature: &str, value: &str) {
        let params = json!({ "media": media, "features": [{ "name": feature, "value": value }] });
        let body = json!({ "cmd": "Emulation.setEmulatedMedia", "params": params });
        post(&format!("{}/goog/cdp/execute", self.session), &body);
    }

    /// Sets the size of the window.
    pub fn is_sized(&self, width: u32, height: u32) {
        post(&format!("{}/window/rect", self.session), &json!({ "width": width, "height": height }));
    }

    pub fn clicks(&self, label: &str) {
        let found = self.eval(&format!(
            "const e = [...document.querySelectorAll('button, a')].find(e => e.textContent === {}); if (e) e.click(); return !!e",
            json!(label)
        ));
        assert_eq!(found, true, "there is no {label:?} to click:\n{}", self.text());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        ureq::delete(&self.session).call().ok();
        self.driver.kill().ok();
        self.driver.wait().ok();
        std::fs::remove_dir_all(&self.profile).ok();
    }
}

fn post(url: &str, body: &Value) -> Value {
    let request =
        ureq::post(url).config().http_status_as_error(false).build().header("content-type", "application/json");
    let text = request.send(body.to_string()).unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str(&text).unwrap()
}

fn get(url: &str) -> Value {
    let text = ureq::get(url).call().unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str(&text).unwrap()
}
