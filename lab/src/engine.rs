//! A Docker Engine, as far as the demo and the tests prepare and tidy it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bollard::Docker;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptionsBuilder,
    ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions,
};
use futures::StreamExt;

/// An engine at an address.
pub struct Engine(Docker);

impl Engine {
    /// The engine at an address (`unix://…`, `tcp://…` or `http://…`), or the machine's own.
    ///
    /// # Errors
    /// When the address can't be read; whether the engine answers shows at the first call.
    pub fn connect(host: Option<&str>) -> Result<Self> {
        let address = host.unwrap_or("unix:///var/run/docker.sock");
        let version = bollard::API_DEFAULT_VERSION;
        let docker = match address.strip_prefix("unix://") {
            Some(path) => Docker::connect_with_socket(path, 120, version),
            None => Docker::connect_with_http(address, 120, version),
        };
        Ok(Self(docker.with_context(|| format!("the Docker address {address} can't be used"))?))
    }

    /// Checks that it answers.
    ///
    /// # Errors
    /// When it doesn't, within three seconds.
    pub async fn answers(&self) -> Result<()> {
        tokio::time::timeout(Duration::from_secs(3), self.0.version()).await??;
        Ok(())
    }

    /// Makes an image (`name:tag`) that runs `/deploy`, from a tar archive of its root file system: no registry is
    /// needed.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn import(&self, image: &str, tar: Vec<u8>) -> Result<()> {
        ensure!(image.contains(':'), "an image is imported as name:tag");
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(image)
            .changes(vec![r#"CMD ["/bin/sh","/deploy"]"#.to_owned()])
            .build();
        let mut progress = self.0.create_image(Some(options), Some(bollard::body_full(tar.into())), None);
        while let Some(step) = progress.next().await {
            step?;
        }
        Ok(())
    }

    /// Makes an image (`name:tag`) as a `Dockerfile` of a folder says, the folder being a tar archive.
    ///
    /// # Errors
    /// What the engine says of the step that failed.
    pub async fn build(
        &self,
        image: &str,
        dockerfile: &str,
        folder: Vec<u8>,
        arguments: &HashMap<String, String>,
    ) -> Result<()> {
        let options = BuildImageOptionsBuilder::new().dockerfile(dockerfile).t(image).rm(true).forcerm(true);
        // Nothing may come from elsewhere: each step has what was handed over.
        let options = options.networkmode("none").buildargs(arguments).build();
        let mut steps = self.0.build_image(options, None, Some(bollard::body_full(folder.into())));
        let mut said = String::new();
        while let Some(step) = steps.next().await {
            let step = step.with_context(|| said.clone())?;
            said.push_str(&step.stream.unwrap_or_default());
            let failed = step.error_detail.and_then(|e| e.message);
            ensure!(failed.is_none(), "{said}\n{}", failed.unwrap_or_default());
        }
        Ok(())
    }

    /// Removes an image and every container made from it; tells how many containers there were.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn forget(&self, image: &str) -> Result<usize> {
        let filters = HashMap::from([("ancestor".to_owned(), vec![image.to_owned()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let made = self.0.list_containers(Some(options)).await?;
        let force = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        for container in &made {
            let id = container.id.as_deref().unwrap_or_default();
            gone(self.0.remove_container(id, Some(force.clone())).await)?;
        }
        gone(self.0.remove_image(image, None::<RemoveImageOptions>, None).await.map(drop))?;
        Ok(made.len())
    }

    /// The names (`name:tag`) of all images whose name begins so.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn images(&self, prefix: &str) -> Result<Vec<String>> {
        let filters = HashMap::from([("reference".to_owned(), vec![format!("{prefix}*")])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        Ok(self.0.list_images(Some(options)).await?.into_iter().flat_map(|image| image.repo_tags).collect())
    }

    /// Removes the networks that coolops made: their bridges would outlive the engine, and a machine has room for
    /// thirty.
    ///
    /// # Errors
    /// When the engine does not answer, or one is in use.
    pub async fn remove_networks(&self) -> Result<()> {
        let filters = HashMap::from([("name".to_owned(), vec!["^coolops(-[0-9]+)?$".to_owned()])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        for network in self.0.list_networks(Some(options)).await? {
            gone(self.0.remove_network(network.id.as_deref().unwrap_or_default()).await)?;
        }
        Ok(())
    }
}

/// What is to be removed may be gone already, or somebody else is removing it.
fn gone(removed: Result<(), bollard::errors::Error>) -> Result<()> {
    match removed {
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) | Ok(()) => Ok(()),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, message })
            if message.contains("already in progress") =>
        {
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}
