//! Is a pod that already bears our name the pod that we would have made?

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::Value;

/// What the API server, its admission plugins and the scheduler add to a pod's spec.
const ADDED_FIELDS: [&str; 10] = [
    "dnsPolicy",
    "nodeName",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "serviceAccount",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "hostUsers",
    "schedulingGates",
];

/// True when `found` has the same controller (by UID) as `ours`, and asks the scheduler for the same: every field that we
/// set is equal, lists are as long as ours, and the spec has no field that neither we nor the API server set.
pub fn same_attempt_pod(ours: &Pod, found: &Pod) -> bool {
    let same_owner = controller_uid(ours).is_some() && controller_uid(ours) == controller_uid(found);
    let alive = found.metadata.deletion_timestamp.is_none();
    same_owner && alive && same_spec(ours.spec.as_ref(), found.spec.as_ref())
}

/// UID of the object that controls this pod.
pub fn controller_uid(pod: &Pod) -> Option<&str> {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    owners
        .iter()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.as_str())
}

fn same_spec(ours: Option<&PodSpec>, found: Option<&PodSpec>) -> bool {
    let as_object = |spec: Option<&PodSpec>| spec.and_then(|spec| serde_json::to_value(spec).ok());
    let (Some(Value::Object(ours)), Some(Value::Object(found))) = (as_object(ours), as_object(found)) else {
        return false;
    };
    let no_stranger = found
        .keys()
        .all(|key| ours.contains_key(key) || ADDED_FIELDS.contains(&key.as_str()));
    no_stranger && covers(&Value::Object(found), &Value::Object(ours))
}

/// Whether `found` holds everything that `ours` holds; objects may hold more, lists may not.
fn covers(found: &Value, ours: &Value) -> bool {
    match (found, ours) {
        (Value::Object(found), Value::Object(ours)) => ours
            .iter()
            .all(|(key, value)| found.get(key).is_some_and(|found| covers(found, value))),
        (Value::Array(found), Value::Array(ours)) => {
            found.len() == ours.len() && found.iter().zip(ours).all(|(found, ours)| covers(found, ours))
        }
        _ => found == ours,
    }
}
