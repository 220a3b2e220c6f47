//! The network that deployments share, on which they can't reach each other, nor the host and the metadata address.
//!
//! **Invariant:** there is one of a name of ours per engine, and no deployment starts before its guard's rules stand.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountBindOptions, MountType, NetworkCreateRequest};
use bollard::query_parameters::{CreateImageOptionsBuilder, ListNetworksOptionsBuilder, LogsOptionsBuilder};
use futures::stream::StreamExt;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{CALL, DockerRunner, WORK, engine_trouble, guard, is_full, says, status, within, words};
use crate::domain::deployment::Failure;
use crate::runner::{Runner, Trouble};

/// The network that deployments share, without traffic between them.
const NETWORK: &str = "coolops";
/// Option of a bridge network: whether its members reach each other.
const ICC: &str = "com.docker.network.bridge.enable_icc";
/// Option of a bridge network: the name of the host's interface, at most 15 characters.
const BRIDGE: &str = "com.docker.network.bridge.name";
/// How long the guard's rules are taken to stand.
const GUARDED: Duration = Duration::from_mins(6);

/// A network of our name.
struct Known {
    id: String,
    name: String,
    bridge: String,
    /// Its members reach the world.
    is_plain: bool,
    /// Its members can't reach each other, and reach the world.
    sound: bool,
}

/// The bridge of an engine's network: one engine's own, because several on one machine can't share one.
fn bridge_of(engine: &str) -> String {
    format!("{NETWORK}{}", &hex::encode(Sha256::digest(engine))[..8])
}

impl DockerRunner {
    /// Networks of our names, in the order in which they are used.
    async fn networks(&self) -> Result<Vec<Known>, Trouble> {
        let filters = HashMap::from([("name".to_owned(), vec![format!("^{NETWORK}(-[0-9]+)?$")])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let found = within(CALL, self.docker.list_networks(Some(options))).await.map_err(|e| engine_trouble(&e))?;
        let known = |n: bollard::models::Network| {
            let option = |name: &str| n.options.as_ref().and_then(|o| o.get(name)).map(String::as_str);
            let apart = matches!(option(ICC), Some("false" | "0"));
            let plain =
                n.driver.as_deref() == Some("bridge") && n.internal != Some(true) && n.enable_ipv6 != Some(true);
            Some(Known {
                id: n.id.clone()?,
                name: n.name.clone()?,
                bridge: option(BRIDGE).unwrap_or_default().to_owned(),
                is_plain: plain,
                sound: apart && plain,
            })
        };
        let mut known: Vec<Known> = found.into_iter().filter_map(known).collect();
        known.sort_by(|a, b| (a.name.len(), &a.name, &a.id).cmp(&(b.name.len(), &b.name, &b.id)));
        Ok(known)
    }

    /// Makes sure that there is one network that deployments share, and tells its name; somebody may have pruned it
    /// since the last one, or made one of that name that lets them reach each other.
    pub(super) async fn network(&self) -> Result<String, Trouble> {
        if self.is_podman().await? {
            return self.network_of_podman().await;
        }
        // Asking who it is takes an engine much longer than telling its networks, so it is asked only where the network of
        // the one that answered last is not there.
        let remembered = self.known.lock().await.as_ref().map(|(id, _, root)| bridge_of(&format!("{id} {root}")));
        let (mut bridge, mut asked) = (remembered.unwrap_or_default(), false);
        for _ in 0..3 {
            let known = self.networks().await?;
            let (ours, others): (Vec<&Known>, Vec<&Known>) = known.iter().partition(|n| n.sound && n.bridge == bridge);
            if let Some(first) = ours.first() {
                // Docker before version 25 may make a second one of the same name, when two workers begin at once, and
                // can use neither then. All keep the same one, and nothing can be on the others.
                for second in ours.iter().skip(1) {
                    drop(within(CALL, self.docker.remove_network(&second.id)).await);
                }
                self.guard(&bridge).await?;
                return Ok(first.name.clone());
            }
            if !asked {
                (bridge, asked) = (bridge_of(&self.engine_id().await?), true);
                continue;
            }
            let is_taken = |name: &String| others.iter().any(|n| n.name == *name);
            let names = std::iter::once(NETWORK.to_owned()).chain((1..=20).map(|n| format!("{NETWORK}-{n}")));
            let name = names.into_iter().find(|n| !is_taken(n)).unwrap_or_else(|| NETWORK.to_owned());
            if let Some(other) = others.first() {
                tracing::warn!(
                    network = %other.name, using = %name,
                    "there is a network of our name with other settings; deployments get one of their own"
                );
            }
            let options = HashMap::from([(ICC.to_owned(), "false".to_owned()), (BRIDGE.to_owned(), bridge.clone())]);
            let request = NetworkCreateRequest {
                name,
                driver: Some("bridge".to_owned()),
                options: Some(options),
                ..Default::default()
            };
            match within(WORK, self.docker.create_network(request)).await {
                Err(e) if is_full(&e) => return Err(Trouble::Failed(Failure::EngineFull)),
                // Somebody else was quicker: of the name, or of the bridge.
                Err(e) if status(&e) == 409 || (status(&e) == 403 && says(&e, "same bridge name")) => {}
                Err(e) => return Err(engine_trouble(&e)),
                Ok(_) => *self.guarded.lock().await = None,
            }
        }
        Err(Trouble::Engine(format!("the network {NETWORK} is made and not there")))
    }

    /// The network for containers that Podman runs. It takes what keeps containers from each other and does nothing with it, and tells nothing of
    /// what a network was made with; `coolops doctor` says so.
    async fn network_of_podman(&self) -> Result<String, Trouble> {
        let bridge = bridge_of(&self.engine_id().await?);
        for _ in 0..2 {
            if let Some(ours) = self.networks().await?.iter().find(|n| n.is_plain) {
                self.guard(&bridge).await?;
                return Ok(ours.name.clone());
            }
            let request = NetworkCreateRequest {
                name: NETWORK.to_owned(),
                driver: Some("bridge".to_owned()),
                options: Some(HashMap::from([(BRIDGE.to_owned(), bridge.clone())])),
                ..Default::default()
            };
            match within(WORK, self.docker.create_network(request)).await {
                Err(e) if !says(&e, "already") => return Err(engine_trouble(&e)),
                _ => *self.guarded.lock().await = None,
            }
        }
        Err(Trouble::Engine(format!("the network {NETWORK} is made and not there")))
    }

    /// Sets the rules of [`guard`] anew, unless that was done lately: a reboot or a firewall may have lost them.
    async fn guard(&self, bridge: &str) -> Result<(), Trouble> {
        // Podman makes a bridge with the first container on it.
        let later = if self.is_podman().await? { "later" } else { "" };
        let mut guarded = self.guarded.lock().await;
        let stands = |(of, at): &(String, Instant)| of == bridge && at.elapsed() < GUARDED;
        if !self.guards || guarded.as_ref().is_some_and(stands) {
            return Ok(());
        }
        let refused = |why: String| {
            Trouble::Engine(format!(
                "deployments can't be kept from the host and its metadata address: {why} (COOLOPS_NETWORK_GUARD=off runs them all the same)"
            ))
        };
        if within(CALL, self.docker.inspect_image(guard::IMAGE)).await.is_err() {
            let files = guard::file_system().map_err(|e| refused(e.to_string()))?;
            self.import(guard::IMAGE, "[\"/bin/sh\"]", files).await?;
        }
        let host = Mount {
            typ: Some(MountType::BIND),
            source: Some("/".to_owned()),
            target: Some("/host".to_owned()),
            read_only: Some(true),
            bind_options: Some(MountBindOptions { non_recursive: Some(true), ..Default::default() }),
            ..Default::default()
        };
        let body = ContainerCreateBody {
            image: Some(guard::IMAGE.to_owned()),
            cmd: Some(["/bin/sh", "-c", guard::SCRIPT, "sh", bridge, later].map(str::to_owned).to_vec()),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                userns_mode: Some("host".to_owned()),
                cap_drop: Some(vec!["ALL".to_owned()]),
                cap_add: Some(vec!["NET_ADMIN".to_owned(), "NET_RAW".to_owned()]),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                readonly_rootfs: Some(true),
                tmpfs: Some(HashMap::from([("/run".to_owned(), String::new())])),
                mounts: Some(vec![host]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let made =
            within(WORK, self.docker.create_container(None::<bollard::query_parameters::CreateContainerOptions>, body))
                .await;
        let id = made.map_err(|e| refused(words(&e)))?.id;
        let ran = async {
            within(WORK, self.docker.start_container(&id, None)).await.map_err(|e| refused(words(&e)))?;
            let exit = self.wait(&id).await?;
            if exit.code == 0 {
                return Ok(());
            }
            let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("5").build();
            let said: Vec<String> = self
                .docker
                .logs(&id, Some(options))
                .filter_map(async |l| l.ok())
                .map(|l| l.to_string())
                .collect()
                .await;
            Err(refused(format!("exit code {}: {}", exit.code, said.concat().trim())))
        };
        let ran = ran.await;
        drop(self.remove(&id).await);
        ran?;
        *guarded = Some((bridge.to_owned(), Instant::now()));
        Ok(())
    }

    /// Makes an image from a tar archive of its root file system.
    async fn import(&self, name: &str, command: &str, tar: Vec<u8>) -> Result<(), Trouble> {
        let options =
            CreateImageOptionsBuilder::new().from_src("-").repo(name).changes(vec![format!("CMD {command}")]).build();
        let body = bollard::body_full(tar.into());
        let mut progress = self.docker.create_image(Some(options), Some(body), None);
        while let Some(step) = progress.next().await {
            step.map_err(|e| engine_trouble(&e))?;
        }
        Ok(())
    }
}
