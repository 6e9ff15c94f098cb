//! The kubelet's part: says to a real runtime, over its socket, which pods to make.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use holdfast_proto::cri::ListImagesRequest;
use holdfast_proto::cri::image_service_client::ImageServiceClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::process::PATIENCE;
use proto::runtime_service_client::RuntimeServiceClient;
use proto::{ContainerConfig, CreateContainerRequest, PodSandboxConfig, RunPodSandboxRequest, StartContainerRequest};

/// The calls of a kubelet that make something.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::pedantic,
    clippy::as_conversions,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    reason = "generated; the .proto file carries the documentation"
)]
pub mod proto {
    tonic::include_proto!("runtime.v1");
}

/// What a runtime made of a pod.
#[derive(Debug, Clone)]
pub struct Made {
    /// Id of the container that holds its namespaces.
    pub sandbox: String,
    /// Id of its one container.
    pub container: String,
}

/// A connection to a runtime's socket.
#[derive(Debug)]
pub struct Kubelet {
    channel: Channel,
}

impl Kubelet {
    /// Connects, as soon as the runtime answers.
    pub async fn connect(socket: &Path) -> Result<Self> {
        let started = Instant::now();
        loop {
            match channel(socket.to_owned()).await {
                Ok(channel) => return Ok(Self { channel }),
                Err(error) if started.elapsed() > PATIENCE => return Err(error).context("the runtime does not listen"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// The id of an image, as soon as the runtime knows it: what is imported beside it comes to it as an event.
    pub async fn image(&self, name: &str) -> Result<String> {
        let started = Instant::now();
        let mut client = ImageServiceClient::new(self.channel.clone());
        loop {
            let answer = client.list_images(ListImagesRequest {}).await;
            let images = answer.map(|answer| answer.into_inner().images).unwrap_or_default();
            if let Some(image) =
                images.into_iter().find(|image| image.repo_tags.iter().any(|tag| tag == name) && !image.repo_digests.is_empty())
            {
                return Ok(image.id);
            }
            if started.elapsed() > PATIENCE {
                bail!("the runtime does not list {name} within {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes and starts what a kubelet made of a pod's specification.
    pub async fn make(&self, name: &str, config: PodSandboxConfig, container: ContainerConfig) -> Result<Made> {
        let mut client = RuntimeServiceClient::new(self.channel.clone());
        let failed = |step: &str| format!("{step} of pod {name}");
        let sandbox = client.run_pod_sandbox(RunPodSandboxRequest { config: Some(config.clone()) }).await;
        let sandbox = sandbox.with_context(|| failed("sandbox"))?.into_inner().pod_sandbox_id;
        let create = CreateContainerRequest { pod_sandbox_id: sandbox.clone(), config: Some(container), sandbox_config: Some(config) };
        let container = client.create_container(create).await.with_context(|| failed("container"))?.into_inner().container_id;
        let start = StartContainerRequest { container_id: container.clone() };
        client.start_container(start).await.with_context(|| failed("start"))?;
        Ok(Made { sandbox, container })
    }
}

async fn channel(socket: PathBuf) -> Result<Channel> {
    let connect = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    // The address is for show: the connector knows where to.
    Ok(Endpoint::from_static("http://localhost").timeout(PATIENCE).connect_with_connector(connect).await?)
}
