//! How often each container was started, by the engine's own account: its events are listened to from the beginning,
//! because an engine remembers 256 of them and forgets them when it restarts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bollard::Docker;
use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt;

/// Starts that were heard of: deployment and time, in nanoseconds.
type Heard = Arc<Mutex<BTreeSet<(String, i64)>>>;

/// Listens until it is dropped.
#[derive(Default)]
pub struct Starts {
    heard: Heard,
    listeners: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Starts {
    fn drop(&mut self) {
        self.listeners.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn connect(host: &str) -> Docker {
    Docker::connect_with_socket(host.trim_start_matches("unix://"), 30, bollard::API_DEFAULT_VERSION).unwrap()
}

/// Notes the starts of an installation's containers since a time; until now, or for as long as the engine is there.
async fn listen(
    docker: &Docker,
    instance: &str,
    since: SystemTime,
    until: Option<SystemTime>,
    heard: &Heard,
) -> Result<(), bollard::errors::Error> {
    let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let filters = [
        ("event".to_owned(), vec!["start".to_owned()]),
        ("label".to_owned(), vec![format!("coolops.instance={instance}")]),
    ];
    let filters = filters.into_iter().collect::<HashMap<_, _>>();
    let mut options = EventsOptionsBuilder::new().since(&(seconds(since) - 1).to_string()).filters(&filters);
    if let Some(until) = until {
        options = options.until(&(seconds(until) + 1).to_string());
    }
    let mut events = docker.events(Some(options.build()));
    while let Some(event) = events.next().await {
        let event = event?;
        let deployment = event.actor.and_then(|a| a.attributes).and_then(|mut a| a.remove("coolops.deployment"));
        let start = (deployment.expect("a label of ours"), event.time_nano.expect("an event has a time"));
        heard.lock().unwrap().insert(start);
    }
    Ok(())
}

impl Starts {
    /// Listens to one more engine, through its restarts.
    pub fn listen(&mut self, host: &str, instance: &str) {
        let (docker, instance, heard, since) =
            (connect(host), instance.to_owned(), Arc::clone(&self.heard), SystemTime::now());
        self.listeners.push(tokio::spawn(async move {
            loop {
                // An engine that restarts is listened to again; what it forgot was heard before.
                listen(&docker, &instance, since, None, &heard).await.ok();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }));
    }

    /// How often the container of each deployment was started; what the engine still remembers is asked for too.
    pub async fn count(&self, docker: &Docker, instance: &str, since: SystemTime) -> BTreeMap<String, usize> {
        listen(docker, instance, since, Some(SystemTime::now()), &self.heard)
            .await
            .expect("the engine tells its events");
        assert!(self.listeners.iter().all(|l| !l.is_finished()), "nobody listened to the engine any more");
        let mut count = BTreeMap::new();
        for (deployment, _) in self.heard.lock().unwrap().iter() {
            *count.entry(deployment.clone()).or_default() += 1;
        }
        count
    }
}
