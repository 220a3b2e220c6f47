//! A log whose checkpoints are kept outside: a key, a folder, and a shell that uses both.

use std::path::PathBuf;
use std::sync::Arc;

use coolops::app::App;
use coolops::app::checkpoints::Keeping;
use coolops::places::Place;
use coolops::proof::checkpoint::LogKey;
use secrecy::ExposeSecret;

use super::{Story, random_name};

pub const LOG: &str = "coolops.test/log";

/// What a log is anchored with; the folder goes with it.
pub struct Anchored {
    pub app: Arc<App>,
    pub folder: PathBuf,
    pub private: String,
    pub public: String,
}

impl Anchored {
    /// A new key and an empty folder.
    pub fn new(s: &Story) -> Self {
        let folder = std::env::temp_dir().join(format!("coolops-anchored-{}", random_name()));
        std::fs::create_dir_all(&folder).unwrap();
        let place = folder.to_str().unwrap().to_owned();
        Self::at(s, folder, &[&place], 7)
    }

    /// A key made of a number, and places.
    pub fn at(s: &Story, folder: PathBuf, places: &[&str], seed: u8) -> Self {
        let private = LogKey::form(LOG, &[seed; 32]).unwrap();
        let key = LogKey::read(&private).unwrap();
        let public = key.public().text().to_owned();
        let places = places.iter().map(|place| Place::read(place).unwrap()).collect();
        let keeping = Keeping { believed: vec![key.public().clone()], signer: Some(key), places, ..Keeping::default() };
        let app = App::new(s.app.store.clone(), s.keyring(), "https://coolops.test").keeping(keeping);
        Self { app: Arc::new(app), folder, private: private.expose_secret().to_owned(), public }
    }

    /// The variables of a command that uses them.
    pub fn variables(&self) -> [(&str, &str); 2] {
        [("COOLOPS_CHECKPOINT_KEY", &self.private), ("COOLOPS_CHECKPOINTS", self.folder.to_str().unwrap())]
    }

    /// What `coolops doctor` says with them.
    pub fn doctor(&self, s: &Story) -> String {
        // What it asks for before it looks at anything.
        let slack =
            [("SLACK_BOT_TOKEN", "xoxb-test"), ("SLACK_SIGNING_SECRET", "test"), ("REDIS_URL", "redis://127.0.0.1:1")];
        let (_, told, said) = s.coolops_with(&["doctor"], &[&self.variables()[..], &slack].concat());
        told + &said
    }

    /// The shell with another key in its place, which believes the one before as well where `knows` says so.
    pub fn rekeyed(&self, s: &Story, seed: u8, knows: bool) -> App {
        let before = coolops::proof::checkpoint::PublicKey::read(&self.public).unwrap();
        let app = App::new(s.app.store.clone(), s.keyring(), "https://coolops.test");
        let key = LogKey::read(&LogKey::form(LOG, &[seed; 32]).unwrap()).unwrap();
        let mut believed = vec![key.public().clone()];
        believed.extend(knows.then_some(before));
        let places = vec![Place::read(self.folder.to_str().unwrap()).unwrap()];
        app.keeping(Keeping { signer: Some(key), believed, places, ..Keeping::default() })
    }

    /// Signs how far the log went; tells how far that is.
    pub async fn signs(&self) -> u64 {
        self.app.checkpoint().await.unwrap().expect("a checkpoint was due").size
    }

    /// The files of all checkpoints, the oldest first.
    pub fn files(&self) -> Vec<PathBuf> {
        let days = std::fs::read_dir(self.folder.join("checkpoints")).unwrap();
        let files = days.flat_map(|day| std::fs::read_dir(day.unwrap().path()).unwrap());
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }
}

impl Drop for Anchored {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
