//! Reads variables, and what of them is keys, places and witnesses; a problem is told and stops nothing.
//!
//! **Invariant:** a value is never shown: it may be a secret in the wrong place.

use secrecy::SecretString;

use super::Role;
use super::variables::{IN_FILES, Use, VARIABLES};
use crate::keys::Keyring;
use crate::places::Place;
use crate::places::witness::Endpoint;
use crate::proof::checkpoint::{LogKey, PublicKey};
use crate::proof::cosignature::{WitnessKey, WitnessPublicKey};

/// What is separated by commas.
fn listed(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// Values on their way from the environment, and what is wrong with them.
pub(super) struct Reading<'a> {
    pub(super) role: usize,
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) file: &'a dyn Fn(&str) -> std::io::Result<String>,
    pub(super) problems: Vec<String>,
}

impl Reading<'_> {
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let variable = VARIABLES.iter().find(|v| v.name == name).expect("only listed variables are read");
        if variable.uses[self.role] == Use::Ignored {
            return None;
        }
        let given = match (self.set(name), self.set(&format!("{name}_FILE")).filter(|_| IN_FILES.contains(&name))) {
            (Some(_), Some(_)) => {
                self.problems.push(format!("{name} and {name}_FILE are both set; set one of them"));
                return None;
            }
            (given, None) => given,
            (None, Some(path)) => Some(self.read(name, &path)?),
        };
        match variable.uses[self.role] {
            Use::Ignored => None,
            Use::Required if given.is_none() => {
                self.problems.push(format!("{name} is not set; it is for: {}", variable.help));
                None
            }
            _ => given.or_else(|| variable.default.map(str::to_owned)),
        }
    }

    pub(super) fn set(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|v| !v.trim().is_empty())
    }

    /// What a file holds, without the line's end that editors put behind it.
    pub(super) fn read(&mut self, name: &str, path: &str) -> Option<String> {
        let problem = match (self.file)(path) {
            Ok(text) if text.trim().is_empty() => format!("{name}_FILE names an empty file: {path}"),
            Ok(text) => return Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(e) => format!("{name}_FILE names a file that can't be read: {path}: {e}"),
        };
        self.problems.push(problem);
        None
    }

    /// A value of a certain form, which a person is told when it has another.
    pub(super) fn parsed<T>(&mut self, name: &str, form: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            // The value isn't shown: it may be a secret in the wrong place.
            self.problems.push(format!("{name} is not {form}"));
        }
        parsed
    }

    /// Each of a list that is separated by commas; what can't be read is a problem, and the others are read all the same.
    pub(super) fn each<T, E: std::fmt::Display>(&mut self, name: &str, read: impl Fn(&str) -> Result<T, E>) -> Vec<T> {
        let mut all = Vec::new();
        for text in listed(self.text(name)) {
            match read(&text) {
                Ok(one) => all.push(one),
                Err(e) => self.problems.push(format!("{name}: {e}")),
            }
        }
        all
    }

    /// What secrets and links are made with.
    pub(super) fn master_keys(&mut self) -> Option<Keyring> {
        let (key, previous) = (self.text("COOLOPS_MASTER_KEY"), self.text("COOLOPS_MASTER_KEY_PREVIOUS"));
        let previous: Vec<SecretString> =
            previous.iter().flat_map(|all| all.split(',')).map(|key| key.trim().to_owned().into()).collect();
        key.map(SecretString::from).and_then(|key| {
            let wrong = if Keyring::new(&key, &[]).is_err() {
                "COOLOPS_MASTER_KEY"
            } else {
                "a key of COOLOPS_MASTER_KEY_PREVIOUS"
            };
            Keyring::new(&key, &previous).map_err(|e| self.problems.push(format!("{wrong} can't be read: {e}"))).ok()
        })
    }

    /// What signs checkpoints, what they are believed by, and where they are kept.
    pub(super) fn checkpoints(&mut self, role: Role) -> (Option<LogKey>, Vec<PublicKey>, Vec<Place>) {
        let key = self.text("COOLOPS_CHECKPOINT_KEY").and_then(|key| {
            LogKey::read(&key.into()).map_err(|e| self.problems.push(format!("COOLOPS_CHECKPOINT_KEY: {e}"))).ok()
        });
        let mut keys: Vec<PublicKey> = key.iter().map(|key| key.public().clone()).collect();
        keys.extend(self.each("COOLOPS_CHECKPOINT_PUBLIC_KEYS", PublicKey::read));
        let places = self.each("COOLOPS_CHECKPOINTS", Place::read);
        if key.is_some() && places.is_empty() {
            self.problems.push(
                "COOLOPS_CHECKPOINTS is not set: a checkpoint that is kept in the database alone proves nothing"
                    .to_owned(),
            );
        }
        if keys.is_empty() && !places.is_empty() {
            self.problems.push(match role {
                Role::Worker => "COOLOPS_CHECKPOINT_PUBLIC_KEYS is not set, and COOLOPS_CHECKPOINTS is; a worker signs no checkpoints, and believes those of the public key that coolops audit key printed: set it to that".to_owned(),
                _ => "COOLOPS_CHECKPOINT_KEY is not set, and COOLOPS_CHECKPOINTS is; make a key with: coolops audit key NAME".to_owned(),
            });
        }
        (key, keys, places)
    }

    /// Who is asked to cosign checkpoints, and how many have to.
    pub(super) fn witnesses(&mut self, is_believed: bool) -> (Vec<(WitnessPublicKey, Endpoint)>, usize) {
        let mut witnesses: Vec<(WitnessPublicKey, Endpoint)> = Vec::new();
        for witness in listed(self.text("COOLOPS_WITNESSES")) {
            let read = witness
                .split_once(' ')
                .and_then(|(key, at)| Some((WitnessPublicKey::read(key).ok()?, Endpoint::read(at.trim())?)));
            match read {
                Some((key, _)) if witnesses.iter().any(|(other, _)| other.name() == key.name() || other.bytes() == key.bytes()) => {
                    self.problems.push(format!("COOLOPS_WITNESSES: {} has the name or the key of another one", key.name()));
                }
                Some(read) => witnesses.push(read),
                None => self.problems.push(
                    "COOLOPS_WITNESSES: write each as its public key (name+hash+key), a space and its address (https://…)"
                        .to_owned(),
                ),
            }
        }
        let threshold = match self.text("COOLOPS_WITNESS_THRESHOLD") {
            None => witnesses.len(),
            Some(text) => text.parse().ok().filter(|wanted| *wanted <= witnesses.len()).unwrap_or_else(|| {
                let many = witnesses.len();
                self.problems.push(format!(
                    "COOLOPS_WITNESS_THRESHOLD: write a number from 0 to {many}, the number of witnesses"
                ));
                0
            }),
        };
        if !is_believed && !witnesses.is_empty() {
            self.problems.push(
                "COOLOPS_CHECKPOINT_KEY is not set, and COOLOPS_WITNESSES is: there is nothing to cosign".to_owned(),
            );
        }
        (witnesses, threshold)
    }

    /// What this installation cosigns with, and whose checkpoints.
    pub(super) fn witnessing(&mut self) -> (Option<WitnessKey>, Vec<PublicKey>) {
        let key = self.text("COOLOPS_WITNESS_KEY");
        let is_witness = key.is_some();
        let key = key.and_then(|key| {
            WitnessKey::read(&key.into())
                .map_err(|_| {
                    self.problems.push(
                        "COOLOPS_WITNESS_KEY: it is no witness's key; make one with: coolops audit key NAME --witness"
                            .to_owned(),
                    );
                })
                .ok()
        });
        let logs = self.each("COOLOPS_WITNESS_LOGS", PublicKey::read);
        if is_witness != self.text("COOLOPS_WITNESS_LOGS").is_some() {
            self.problems.push(
                "COOLOPS_WITNESS_KEY and COOLOPS_WITNESS_LOGS go together: what is cosigned with, and which logs"
                    .to_owned(),
            );
        }
        (key, logs)
    }
}

/// An address that browsers know.
pub(super) fn http(text: &str) -> Option<url::Url> {
    url::Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}

/// One of a host and nothing behind it: styles, scripts and live logs are asked for from the root.
pub(super) fn root(text: &str) -> Option<String> {
    let url = http(text)?;
    let plain = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    plain.then(|| text.trim().trim_end_matches('/').to_owned())
}
