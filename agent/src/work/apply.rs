//! Doing what the plan says; every action may be repeated without harm.

use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use spillway_crds::{WorkAssignment, WorkAssignmentStatus};

use super::objects::{WorkObjects, object_name};
use super::observe::LocalCluster;
use super::plan::{Action, refused};
use crate::hub::Hub;
use crate::request::{RequestError, within};

pub(super) struct Applier<'a> {
    pub cluster: &'a LocalCluster,
    pub hub: Option<&'a Hub>,
}

impl Applier<'_> {
    /// Applies all actions, one after another; returns how many failed. What failed is planned again.
    pub(super) async fn apply(&self, plan: &[Action]) -> usize {
        let mut failures = 0;
        for action in plan {
            if let Err(error) = self.apply_one(action).await {
                failures += 1;
                tracing::warn!(%error, action = %describe(action), "not done; it will be planned again");
            }
        }
        failures
    }

    async fn apply_one(&self, action: &Action) -> Result<(), RequestError> {
        match action {
            Action::Start { assignment, objects } => self.start(assignment, objects).await,
            Action::Report { assignment, status } => self.report(assignment, status).await,
            Action::RemovePod { uid } => {
                tracing::info!(assignment_uid = uid, "removing the work pod");
                gone(within(self.cluster.pods.delete(&object_name(uid), &DeleteParams::default())).await)
            }
            Action::RemoveRest { uid, secret, policy } => {
                let name = object_name(uid);
                if *secret {
                    gone(within(self.cluster.secrets.delete(&name, &DeleteParams::default())).await)?;
                }
                if *policy {
                    gone(within(self.cluster.policies.delete(&name, &DeleteParams::default())).await)?;
                }
                Ok(())
            }
        }
    }

    async fn start(&self, assignment: &WorkAssignment, objects: &WorkObjects) -> Result<(), RequestError> {
        match self.create(objects).await {
            Err(error) if error.is_rejection() => {
                let status = refused(assignment, "PodRejected", &error.message());
                self.report(assignment, &status).await
            }
            outcome => outcome,
        }
    }

    async fn create(&self, objects: &WorkObjects) -> Result<(), RequestError> {
        let WorkObjects { secret, policy, pod } = objects;
        let parameters = PostParams::default();
        exists(within(self.cluster.secrets.create(&parameters, secret)).await)?;
        exists(within(self.cluster.policies.create(&parameters, policy)).await)?;
        exists(within(self.cluster.pods.create(&parameters, pod)).await)?;
        tracing::info!(pod = pod.name_any(), "started work");
        Ok(())
    }

    /// With the resourceVersion that was planned on: a status that changed meanwhile is planned again.
    async fn report(&self, assignment: &WorkAssignment, status: &WorkAssignmentStatus) -> Result<(), RequestError> {
        let Some(hub) = self.hub else { return Ok(()) };
        let mut next = assignment.clone();
        next.status = Some(status.clone());
        let name = assignment.name_any();
        within(hub.assignments().replace_status(&name, &PostParams::default(), &next)).await?;
        let reason = status.reason.as_deref().unwrap_or_default();
        tracing::info!(assignment = name, state = ?status.state, reason, "told the hub");
        Ok(())
    }
}

/// What is there already was made by an earlier pass: names contain the assignment's UID.
fn exists<T>(answer: Result<T, RequestError>) -> Result<(), RequestError> {
    match answer {
        Err(error) if !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}

fn gone<T>(answer: Result<T, RequestError>) -> Result<(), RequestError> {
    match answer {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn describe(action: &Action) -> String {
    match action {
        Action::Start { assignment, .. } => format!("start {}", assignment.name_any()),
        Action::Report { assignment, status } => format!("report {} as {:?}", assignment.name_any(), status.state),
        Action::RemovePod { uid } => format!("remove the pod of {uid}"),
        Action::RemoveRest { uid, .. } => format!("remove Secret and NetworkPolicy of {uid}"),
    }
}
