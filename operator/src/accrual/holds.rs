//! Says on each SpendPolicy whether its payer keeps anybody waiting, and what would help.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use alloy_primitives::Address;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use spillway_core::batch::select::Held;
use spillway_crds::{Condition, SpendPolicy, spend_policy_condition};

use super::picture::Policy;

/// Of its own: applying conditions must not touch what the settlement process wrote.
const FIELD_MANAGER: &str = "spillway-operator-accrual";
/// A message that only counts higher is written this often at most.
const AT_MOST_EVERY: SignedDuration = SignedDuration::from_secs(30);

/// The conditions that should be and are not, by SpendPolicy. Nothing is said of a payer that nobody knows and waits for.
pub fn conditions(policies: &[Policy], held: &BTreeMap<Address, Held>, now: Timestamp) -> BTreeMap<String, Condition> {
    let wanted = policies.iter().filter_map(|policy| {
        let condition = condition(policy, held.get(&policy.payer), now)?;
        is_news(policy.payable.as_ref(), &condition).then(|| (policy.name.clone(), condition))
    });
    wanted.collect()
}

fn condition(policy: &Policy, held: Option<&Held>, now: Timestamp) -> Option<Condition> {
    let (status, reason, message) = match held {
        Some(held) => (
            "False",
            held.refusal.reason(),
            format!("payer {}: {held}", policy.payer),
        ),
        None if policy.chain.is_none() => return None,
        None => ("True", "Payable", format!("nothing waits for payer {}", policy.payer)),
    };
    let unchanged = policy.payable.as_ref().filter(|before| before.status == status);
    Some(Condition {
        type_: spend_policy_condition::PAYABLE.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: unchanged.map_or(Time(now), |before| before.last_transition_time.clone()),
        observed_generation: None,
    })
}

fn is_news(before: Option<&Condition>, condition: &Condition) -> bool {
    before.is_none_or(|before| {
        (&before.status, &before.reason, &before.message) != (&condition.status, &condition.reason, &condition.message)
    })
}

/// Writes them.
#[derive(Debug)]
pub(super) struct Holds {
    policies: Api<SpendPolicy>,
    told: Mutex<BTreeMap<String, (String, Timestamp)>>,
}

impl Holds {
    pub fn new(client: Client) -> Self {
        Self {
            policies: Api::all(client),
            told: Mutex::default(),
        }
    }

    pub async fn tell(&self, conditions: BTreeMap<String, Condition>, now: Timestamp) -> kube::Result<()> {
        for (policy, condition) in conditions {
            if self.was_told(&policy, &condition.reason, now) {
                continue;
            }
            let patch = json!({
                "apiVersion": SpendPolicy::api_version(&()), "kind": SpendPolicy::kind(&()),
                "metadata": {"name": policy}, "status": {"conditions": [condition]},
            });
            let parameters = PatchParams::apply(FIELD_MANAGER).force();
            match self
                .policies
                .patch_status(&policy, &parameters, &Patch::Apply(patch))
                .await
            {
                // Applying to an object that is gone would create it; a status cannot.
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(error),
                Ok(_) => self.remember(policy, condition.reason, now),
            }
        }
        Ok(())
    }

    fn was_told(&self, policy: &str, reason: &str, now: Timestamp) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = told.get(policy);
        last.is_some_and(|(last, when)| last == reason && now.duration_since(*when) < AT_MOST_EVERY)
    }

    fn remember(&self, policy: String, reason: String, now: Timestamp) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(policy, (reason, now));
    }
}

#[cfg(test)]
mod tests;
