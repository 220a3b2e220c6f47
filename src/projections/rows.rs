//! Which rows an aggregate leaves for commands and pages to read: plain data for the store to write.
//!
//! The append transaction writes them beside the events; `coolops replay` makes them again from the log.

use serde::Serialize;
use uuid::Uuid;

use crate::domain::build::BuildRegistered;
use crate::domain::deployment::Deployment;
use crate::domain::event::{Event, SettingsEvent};
use crate::domain::project::Project;

/// A row that follows from an event.
#[derive(Debug, Clone)]
pub enum Row {
    /// A project with its environments, whole.
    Project(Box<ProjectRow>),
    /// A token, by its digest.
    Token(TokenRow),
    /// A build.
    Build(BuildRow),
    /// A deployment, whole.
    Deployment(Box<DeploymentRow>),
}

/// A row of `project`.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "columns")]
pub struct ProjectRow {
    pub id: Uuid,
    pub slug: String,
    pub doc: Project,
}

/// A row of `token`.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "columns")]
pub struct TokenRow {
    /// As Postgres writes bytes: `\x` and hex.
    pub digest: String,
    pub project_id: Uuid,
    pub token_id: Uuid,
    pub revoked: bool,
}

/// A row of `build`.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "columns")]
pub struct BuildRow {
    pub id: Uuid,
    pub project_id: Uuid,
    pub name: String,
}

/// A row of `deployment`.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "columns")]
pub struct DeploymentRow {
    pub id: Uuid,
    pub build_id: Uuid,
    pub environment_id: Uuid,
    pub project_id: Uuid,
    pub state: &'static str,
    /// What whoever pressed is called.
    pub requested_by: String,
    pub doc: Deployment,
}

/// The row of a project as it stands.
pub fn of_project(project: Project) -> Row {
    Row::Project(Box::new(ProjectRow { id: project.id.0, slug: project.slug.clone(), doc: project }))
}

/// The rows of a project's tokens, when this event changed one.
pub fn of_tokens(project: &Project, event: &Event) -> Vec<Row> {
    let changed = match event {
        Event::Settings(SettingsEvent::TokenIssued(e)) => e.token_id,
        Event::Settings(SettingsEvent::TokenRevoked(e)) => e.token_id,
        _ => return Vec::new(),
    };
    let row = |t: &crate::domain::project::Token| {
        Row::Token(TokenRow {
            digest: format!("\\x{}", t.digest),
            project_id: project.id.0,
            token_id: t.id.0,
            revoked: t.revoked,
        })
    };
    project.tokens.iter().filter(|t| t.id == changed).map(row).collect()
}

/// The row of a build.
pub fn of_build(build: &BuildRegistered) -> Row {
    Row::Build(BuildRow { id: build.build_id.0, project_id: build.project_id.0, name: build.name.clone() })
}

/// The row of a deployment as it stands.
pub fn of_deployment(deployment: Deployment) -> Row {
    let of = deployment.of;
    Row::Deployment(Box::new(DeploymentRow {
        id: of.deployment_id.0,
        build_id: of.build_id.0,
        environment_id: of.environment_id.0,
        project_id: of.project_id.0,
        state: deployment.state().as_str(),
        requested_by: deployment.requested_by.name().to_owned(),
        doc: deployment,
    }))
}
