//! The condition Reconciled: False on every Settlement that a drift concerns, True once it is gone. A drift that
//! concerns none, or one that has no object, stands on the newest.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ListParams, PostParams};
use spillway_core::reconcile::Report;
use spillway_crds::{Condition, Settlement, Time, names, settlement_condition};

const PER_PAGE: u32 = 50;
/// Conditions hold 32768 characters; a person reads a few.
const DRIFTS_TOLD: usize = 5;

/// Conditions that should be and are not, by sequence. What could not be read takes no condition back.
pub fn conditions(
    present: &BTreeMap<u64, Option<Condition>>,
    report: &Report,
    now: Timestamp,
) -> BTreeMap<u64, Condition> {
    let mut told = BTreeMap::<u64, Vec<&spillway_core::reconcile::Drift>>::new();
    let newest = present.keys().next_back().copied();
    for drift in &report.drifts {
        let sequences = drift.sequences();
        let known: Vec<u64> = sequences.into_iter().filter(|one| present.contains_key(one)).collect();
        let places = if known.is_empty() {
            newest.into_iter().collect()
        } else {
            known
        };
        for sequence in places {
            told.entry(sequence).or_default().push(drift);
        }
    }
    let mut wanted = BTreeMap::new();
    for (sequence, before) in present {
        let drifts = told.remove(sequence).unwrap_or_default();
        let condition = match drifts.first() {
            Some(first) => {
                let words: Vec<String> = drifts.iter().take(DRIFTS_TOLD).map(ToString::to_string).collect();
                condition("False", first.meaning().name, words.join("; "), before.as_ref(), now)
            }
            None if before.as_ref().is_some_and(|before| before.status == "False") && report.unknown.is_empty() => {
                let message = "chain, Settlements and receipts agree again".to_owned();
                condition("True", "Agree", message, before.as_ref(), now)
            }
            None => continue,
        };
        let same = before.as_ref().is_some_and(|before| {
            (&before.status, &before.reason, &before.message)
                == (&condition.status, &condition.reason, &condition.message)
        });
        if !same {
            wanted.insert(*sequence, condition);
        }
    }
    wanted
}

fn condition(status: &str, reason: &str, message: String, before: Option<&Condition>, now: Timestamp) -> Condition {
    let unchanged = before.filter(|before| before.status == status);
    Condition {
        type_: settlement_condition::RECONCILED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: unchanged.map_or(Time(now), |before| before.last_transition_time.clone()),
        observed_generation: None,
    }
}

/// Writes what changed. The poster writes the same status: whoever comes second reads again, here in the next pass.
pub(super) async fn tell(settlements: &Api<Settlement>, report: &Report, now: Timestamp) -> kube::Result<()> {
    for (sequence, condition) in conditions(&present(settlements).await?, report, now) {
        let name = names::settlement(sequence);
        let Some(mut settlement) = settlements.get_opt(&name).await? else {
            continue;
        };
        let status = settlement.status.get_or_insert_default();
        status
            .conditions
            .retain(|one| one.type_ != settlement_condition::RECONCILED);
        status.conditions.push(condition);
        match settlements
            .replace_status(&name, &PostParams::default(), &settlement)
            .await
        {
            Err(kube::Error::Api(refusal)) if refusal.is_conflict() || refusal.is_not_found() => {}
            other => drop(other?),
        }
    }
    Ok(())
}

async fn present(settlements: &Api<Settlement>) -> kube::Result<BTreeMap<u64, Option<Condition>>> {
    let (mut present, mut page) = (BTreeMap::new(), ListParams::default().limit(PER_PAGE));
    loop {
        let listed = settlements.list(&page).await?;
        for settlement in listed.items {
            let conditions = settlement.status.map(|status| status.conditions).unwrap_or_default();
            let reconciled = conditions
                .into_iter()
                .find(|one| one.type_ == settlement_condition::RECONCILED);
            present.insert(settlement.spec.sequence, reconciled);
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(present),
        }
    }
}

#[cfg(test)]
mod tests {
    use spillway_core::reconcile::Drift;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn report(drifts: Vec<Drift>, unknown: &[&str]) -> Report {
        Report {
            drifts,
            unknown: unknown.iter().map(ToString::to_string).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn a_drift_stands_on_its_settlement_or_on_the_newest_until_all_agree() {
        let nothing = BTreeMap::from([(1, None), (2, None)]);
        let failed = Drift::FailedButPosted { sequence: 1 };
        let unsealed = Drift::MoneyMissing { balance: 1, owed: 2 };
        let told = conditions(&nothing, &report(vec![failed, unsealed], &[]), at(10));
        let reason = |sequence| told[&sequence].reason.as_str();
        assert_eq!((reason(1), reason(2)), ("FailedButPosted", "MoneyMissing"));
        assert!(
            conditions(&nothing, &report(vec![], &[]), at(10)).is_empty(),
            "agreement is not written everywhere"
        );

        let present: BTreeMap<_, _> = told.into_iter().map(|(sequence, one)| (sequence, Some(one))).collect();
        assert!(
            conditions(&present, &report(vec![], &["the chain"]), at(20)).is_empty(),
            "unknown mends nothing"
        );
        let mended = conditions(&present, &report(vec![], &[]), at(20));
        assert!(mended.values().all(|one| one.status == "True" && one.reason == "Agree"));
    }
}
