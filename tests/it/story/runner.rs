//! A runner that the story steers: containers exist, print and end as it says.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use coolops::domain::deployment::{Failure, LogCursor};
use coolops::domain::ids::DeploymentId;
use coolops::domain::names::ImageRef;
use coolops::domain::project::Unchecked;
use coolops::runner::{
    Credentials, Exit, Found, Image, Missing, Ours, Output, Progress, Reading, RunSpec, Runner, Taken, Trouble,
};
use futures::future::BoxFuture;
use secrecy::ExposeSecret;
use tokio::sync::{mpsc, watch};

#[derive(Default)]
pub struct FakeRunner {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    containers: HashMap<String, Container>,
    /// Deployments stay running until the story ends them.
    hold: bool,
    /// What the next containers print.
    script: Vec<String>,
    exit: i64,
    /// The engine gives up reading what they print, 10 s after their end.
    gives_up: bool,
    refuse: Option<Failure>,
    starts: HashMap<String, u32>,
    /// In which order they were started at first.
    order: Vec<String>,
    removed: Vec<String>,
    /// What goes wrong with the next call of a method.
    troubles: Vec<(&'static str, Mishap)>,
    /// A method that says no, and in which words, until it is well again.
    ails: Option<(&'static str, String)>,
    /// What is on the engine that answered before this one did.
    elsewhere: Option<HashMap<String, Container>>,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, PartialEq)]
enum Mishap {
    /// It does nothing, and there is no answer.
    NotDone,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is done, the answer is lost, and from then on another engine is there.
    EngineReplaced,
}

impl State {
    /// What goes wrong with this call; `None` when all is well.
    fn trouble(&mut self, method: &str) -> Option<Mishap> {
        let n = self.troubles.iter().position(|(planned, _)| *planned == method)?;
        Some(self.troubles.remove(n).1)
    }

    fn refusal<T>(&self, method: &str) -> Option<Result<T, Trouble>> {
        self.ails.as_ref().filter(|(ailing, _)| *ailing == method).map(|(_, words)| Err(Trouble::Engine(words.clone())))
    }

    /// A container that is there.
    fn there(&mut self, id: &str) -> Result<&mut Container, Trouble> {
        let container = self.containers.get_mut(id).filter(|c| c.status != Status::Removed);
        container.ok_or_else(|| Trouble::Engine("no such container".to_owned()))
    }

    fn replace_engine(&mut self) {
        self.elsewhere = Some(std::mem::take(&mut self.containers));
    }
}

fn no_answer<T>() -> Result<T, Trouble> {
    Err(Trouble::Engine("Docker does not answer".to_owned()))
}

struct Container {
    deployment: DeploymentId,
    variables: Vec<(String, String)>,
    status: Status,
    output: watch::Sender<(Vec<Output>, bool)>,
    exit: i64,
}

#[derive(PartialEq)]
enum Status {
    Created,
    Running,
    Ended,
    /// Nobody sees it any more.
    Removed,
}

impl FakeRunner {
    /// Deployments from now on run until the story ends them.
    pub fn hold(&self) {
        self.state.lock().unwrap().hold = true;
    }

    /// What the next deployments print, and how they end.
    pub fn will_print(&self, lines: &[&str], exit: i64) {
        let mut state = self.state.lock().unwrap();
        state.script = lines.iter().map(|l| (*l).to_owned()).collect();
        state.exit = exit;
    }

    /// The engine reads what a container printed until 10 s after its end, and lets go of the rest.
    pub fn will_give_up_reading(&self) {
        self.state.lock().unwrap().gives_up = true;
    }

    /// The next images can't be fetched.
    pub fn will_refuse(&self, failure: Failure) {
        self.state.lock().unwrap().refuse = Some(failure);
    }

    /// The next call of a method gets no answer.
    pub fn will_not_answer(&self, method: &'static str) {
        self.state.lock().unwrap().troubles.push((method, Mishap::NotDone));
    }

    /// The next call of a method takes effect, and its answer is lost.
    pub fn will_lose_the_answer_of(&self, method: &'static str) {
        self.state.lock().unwrap().troubles.push((method, Mishap::AnswerLost));
    }

    /// The next call of a method takes effect, its answer is lost, and then another engine is there, which has nothing
    /// of ours.
    pub fn will_be_replaced_after(&self, method: &'static str) {
        self.state.lock().unwrap().troubles.push((method, Mishap::EngineReplaced));
    }

    /// The first engine is there again, and what is on it.
    pub fn is_back(&self) {
        let mut state = self.state.lock().unwrap();
        state.containers = state.elsewhere.take().expect("it was replaced");
    }

    /// A method says no, in these words, until it is well again.
    pub fn ails(&self, method: &'static str, words: &str) {
        self.state.lock().unwrap().ails = Some((method, words.to_owned()));
    }

    pub fn is_well_again(&self) {
        self.state.lock().unwrap().ails = None;
    }

    pub fn holds(&self, deployment: DeploymentId) -> bool {
        let state = self.state.lock().unwrap();
        state.containers.values().any(|c| c.deployment == deployment && c.status == Status::Running)
    }

    /// A held container ends.
    pub fn ends(&self, deployment: DeploymentId, code: i64) {
        let mut state = self.state.lock().unwrap();
        let container = state.containers.values_mut().find(|c| c.deployment == deployment).expect("its container");
        container.exit = code;
        container.status = Status::Ended;
        container.output.send_modify(|(_, ended)| *ended = true);
    }

    /// Somebody removes a container by hand.
    pub fn vanishes(&self, deployment: DeploymentId) {
        let mut state = self.state.lock().unwrap();
        let name = state
            .containers
            .iter()
            .find(|(_, c)| c.deployment == deployment)
            .map(|(n, _)| n.clone())
            .expect("its container");
        state.containers.remove(&name);
    }

    /// What the container of this deployment got.
    pub fn variables(&self) -> Vec<(String, String)> {
        self.state.lock().unwrap().containers.values().flat_map(|c| c.variables.clone()).collect()
    }

    /// How often each container was started.
    pub fn starts(&self) -> Vec<u32> {
        self.state.lock().unwrap().starts.values().copied().collect()
    }

    /// How often the container of each deployment was started.
    pub fn starts_by_deployment(&self) -> HashMap<DeploymentId, u32> {
        let state = self.state.lock().unwrap();
        state.starts.iter().map(|(id, n)| (state.containers[id].deployment, *n)).collect()
    }

    /// The deployments whose containers run, in the order of their starts.
    pub fn running(&self) -> Vec<DeploymentId> {
        let state = self.state.lock().unwrap();
        let started = state.order.iter().filter_map(|id| state.containers.get(id));
        started.filter(|c| c.status == Status::Running).map(|c| c.deployment).collect()
    }

    /// How many containers are there.
    pub fn left(&self) -> usize {
        self.state.lock().unwrap().containers.values().filter(|c| c.status != Status::Removed).count()
    }

    pub fn removed(&self) -> usize {
        self.state.lock().unwrap().removed.len()
    }
}

/// What a container printed, being read.
struct Taking {
    output: Option<watch::Receiver<(Vec<Output>, bool)>>,
    next: usize,
    /// Bytes that were taken in an earlier life.
    skip: usize,
    taken: u64,
}

impl Reading for Taking {
    fn next(&mut self) -> BoxFuture<'_, Option<Result<Output, Trouble>>> {
        Box::pin(async move {
            loop {
                let (output, ended) = {
                    let now = self.output.as_mut()?.borrow_and_update();
                    (now.0.get(self.next).cloned(), now.1)
                };
                match output {
                    Some(Output::Printed { stderr, mut bytes }) => {
                        self.next += 1;
                        let skipped = bytes.split_to(self.skip.min(bytes.len()));
                        self.skip -= skipped.len();
                        if !bytes.is_empty() {
                            return Some(Ok(Output::Printed { stderr, bytes }));
                        }
                    }
                    Some(missing) => {
                        self.next += 1;
                        return Some(Ok(missing));
                    }
                    None if ended => return None,
                    None if self.output.as_mut()?.changed().await.is_err() => {
                        // It vanished.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        return Some(no_answer());
                    }
                    None => {}
                }
            }
        })
    }

    fn place(&mut self, taken: Taken) -> LogCursor {
        LogCursor((self.taken + taken.stdout).into())
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(async move { value })
}

impl Runner for FakeRunner {
    fn engine_id(&self) -> BoxFuture<'_, Result<String, Trouble>> {
        let first = self.state.lock().unwrap().elsewhere.is_none();
        ready(Ok(if first { "fake-engine" } else { "another-engine" }.to_owned()))
    }

    fn alive(&self) -> BoxFuture<'_, Result<(), Trouble>> {
        ready(Ok(()))
    }

    fn prepare<'a>(
        &'a self,
        _image: &'a ImageRef,
        _credentials: Option<Credentials>,
        _unchecked: Unchecked,
        progress: mpsc::Sender<Progress>,
    ) -> BoxFuture<'a, Result<Image, Trouble>> {
        let refuse = {
            let mut state = self.state.lock().unwrap();
            if state.trouble("prepare") == Some(Mishap::EngineReplaced) {
                state.replace_engine();
            }
            state.refuse.take()
        };
        Box::pin(async move {
            match refuse {
                Some(failure) => {
                    progress.send(Progress::Said("Pulling".to_owned())).await.ok();
                    Err(Trouble::Failed(failure))
                }
                None => Ok(Image { id: format!("sha256:{}", "0".repeat(64)), digest: None, unchecked: false }),
            }
        })
    }

    fn look<'a>(&'a self, container: &'a str, deployment: DeploymentId) -> BoxFuture<'a, Result<Found, Trouble>> {
        let mut state = self.state.lock().unwrap();
        if state.trouble("look").is_some() {
            return ready(no_answer());
        }
        ready(Ok(match state.containers.get(container) {
            None => Found::Missing,
            Some(c) if c.status == Status::Removed => Found::Missing,
            Some(c) if c.deployment != deployment => Found::Foreign,
            Some(c) => match c.status {
                Status::Created => Found::Created(container.to_owned()),
                Status::Running => Found::Running(container.to_owned()),
                Status::Ended | Status::Removed => Found::Ended(container.to_owned()),
            },
        }))
    }

    fn create<'a>(&'a self, spec: &'a RunSpec) -> BoxFuture<'a, Result<String, Trouble>> {
        let mut state = self.state.lock().unwrap();
        if let Some(refusal) = state.refusal("create") {
            return ready(refusal);
        }
        let trouble = state.trouble("create");
        if trouble == Some(Mishap::NotDone) {
            return ready(no_answer());
        }
        assert!(!state.containers.contains_key(&spec.container), "made a second time");
        let printed = |line: &String| Output::Printed { stderr: false, bytes: Bytes::from(format!("{line}\n")) };
        let mut output: Vec<Output> = state.script.iter().map(printed).collect();
        output.extend(state.gives_up.then_some(Output::Missing(Missing(
            "output is missing here: the engine stopped reading it 10 s after the container's end",
        ))));
        let container = Container {
            deployment: spec.deployment_id,
            variables: spec.variables.iter().map(|(k, v)| (k.clone(), v.expose_secret().to_owned())).collect(),
            status: Status::Created,
            output: watch::Sender::new((output, false)),
            exit: state.exit,
        };
        state.containers.insert(spec.container.clone(), container);
        if trouble == Some(Mishap::EngineReplaced) {
            state.replace_engine();
        }
        if trouble.is_some() {
            return ready(no_answer());
        }
        ready(Ok(spec.container.clone()))
    }

    fn start<'a>(&'a self, _spec: &'a RunSpec, id: &'a str) -> BoxFuture<'a, Result<Box<dyn Reading>, Trouble>> {
        let mut state = self.state.lock().unwrap();
        let trouble = state.trouble("start");
        if trouble == Some(Mishap::NotDone) {
            return ready(no_answer());
        }
        let starts = state.starts.entry(id.to_owned()).or_default();
        *starts += 1;
        if *starts == 1 {
            state.order.push(id.to_owned());
        }
        let hold = state.hold;
        let container = state.containers.get_mut(id).expect("it was created");
        container.status = if hold { Status::Running } else { Status::Ended };
        container.output.send_modify(|(_, ended)| *ended = !hold);
        if trouble == Some(Mishap::EngineReplaced) {
            state.replace_engine();
        }
        drop(state);
        ready(if trouble.is_some() { no_answer() } else { Ok(self.follow(id.to_owned(), None)) })
    }

    fn follow(&self, id: String, from: Option<LogCursor>) -> Box<dyn Reading> {
        let state = self.state.lock().unwrap();
        let taken = from.map_or(0, |place| place.0.as_u64().expect("a place that it gave out"));
        let there = state.containers.get(&id).filter(|container| container.status != Status::Removed);
        let output = there.map(|container| container.output.subscribe());
        Box::new(Taking { output, next: 0, skip: usize::try_from(taken).unwrap(), taken })
    }

    fn wait<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Exit, Trouble>> {
        let mut state = self.state.lock().unwrap();
        if state.trouble("wait").is_some() {
            return ready(no_answer());
        }
        ready(state.there(id).map(|container| Exit { code: container.exit, out_of_memory: false }))
    }

    fn stop<'a>(&'a self, id: &'a str, _grace: Duration) -> BoxFuture<'a, Result<(), Trouble>> {
        let mut state = self.state.lock().unwrap();
        let container = match state.there(id) {
            Ok(container) => container,
            Err(trouble) => return ready(Err(trouble)),
        };
        if container.status == Status::Running {
            container.exit = 143;
            container.status = Status::Ended;
            container.output.send_modify(|(_, ended)| *ended = true);
        }
        ready(Ok(()))
    }

    fn containers<'a>(&'a self, _instance: &'a str) -> BoxFuture<'a, Result<Vec<Ours>, Trouble>> {
        let state = self.state.lock().unwrap();
        let there = state.containers.iter().filter(|(_, c)| c.status != Status::Removed);
        let ours = |(id, c): (&String, &Container)| Ours {
            id: id.clone(),
            deployment: c.deployment,
            running: c.status == Status::Running,
        };
        ready(Ok(there.map(ours).collect()))
    }

    fn discard<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Trouble>> {
        let mut state = self.state.lock().unwrap();
        if state.containers.get(id).is_some_and(|c| c.status == Status::Created) {
            state.containers.remove(id);
        }
        ready(Ok(()))
    }

    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Trouble>> {
        let mut state = self.state.lock().unwrap();
        if state.trouble("remove").is_some() {
            return ready(no_answer());
        }
        if let Ok(container) = state.there(id) {
            container.status = Status::Removed;
            container.output.send_modify(|(_, ended)| *ended = true);
            state.removed.push(id.to_owned());
        }
        ready(Ok(()))
    }
}
