//! Verdicts: a completed run is examined, compared with a run of another owner, and accepted or rejected.
//!
//! One shard has at most one run of each kind without a verdict, so at most one of each kind is ever accepted.

use sha2::{Digest, Sha256};
use spillway_core::money::{MicroUsd, UnitPrice};
use spillway_crds::{AttemptKind, AttemptStatus, InferenceJob, ShardState, ShardStatus, Verdict};

use super::super::observed::{AttemptKey, Observed};
use super::action::Action;
use super::draft::{Draft, run_of};
use crate::verification::{Compared, Examined};

/// What must be asked of the hub store before the next plan can judge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    pub examine: Vec<AttemptKey>,
    /// Shard and two attempts; worth asking once both are examined and valid.
    pub compare: Vec<(u32, u16, u16)>,
}

/// The questions that a job's status raises.
pub fn questions(job: &InferenceJob) -> Questions {
    let mut questions = Questions::default();
    for shard in job.status.iter().flat_map(|status| &status.shards) {
        let runs = Runs::of(shard);
        let numbers = |run: Option<&AttemptStatus>| run.map(|run| run.number);
        let [work, check, arbiter] = [runs.work, runs.check, runs.arbiter].map(numbers);
        questions.examine.extend(
            [work, check, arbiter]
                .into_iter()
                .flatten()
                .map(|number| (shard.index, number)),
        );
        let pairs = [(work, check), (work, arbiter), (check, arbiter)];
        let both = pairs
            .into_iter()
            .filter_map(|(one, other)| Some((shard.index, one?, other?)));
        questions.compare.extend(both);
    }
    questions
}

/// The completed runs of a shard that wait for a verdict.
#[derive(Clone, Copy)]
pub(super) struct Runs<'a> {
    pub work: Option<&'a AttemptStatus>,
    pub check: Option<&'a AttemptStatus>,
    pub arbiter: Option<&'a AttemptStatus>,
}

impl<'a> Runs<'a> {
    pub(super) fn of(shard: &'a ShardStatus) -> Self {
        Self {
            work: run_of(shard, AttemptKind::Work),
            check: run_of(shard, AttemptKind::Check),
            arbiter: run_of(shard, AttemptKind::Arbitrate),
        }
    }
}

/// How the runs of one shard stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standing {
    /// No result waits.
    Empty,
    /// An answer is missing.
    Unknown,
    NeedsCheck,
    NeedsArbiter,
    Decided(Decision),
}

/// Verdicts over runs, and the run whose result is the shard's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Decision {
    verdicts: Vec<(u16, Verdict)>,
    result: Option<u16>,
}

/// Judges every shard whose runs can be judged now.
pub(super) fn judge(draft: &mut Draft<'_>) {
    for position in 0..draft.status.shards.len() {
        // After an invalid check the remaining runs stand differently: look until nothing changes.
        loop {
            let shard = &draft.status.shards[position];
            match standing(draft.observed, shard) {
                Standing::Decided(decision) => pronounce(draft, position, decision),
                Standing::Unknown => break draft.ask_again(),
                _ => break,
            }
        }
    }
}

pub(super) fn standing(observed: &Observed, shard: &ShardStatus) -> Standing {
    let runs = Runs::of(shard);
    for run in [runs.work, runs.check, runs.arbiter].into_iter().flatten() {
        match observed.examined.get(&(shard.index, run.number)) {
            None | Some(Examined::Unknown) => return Standing::Unknown,
            Some(Examined::Invalid { reason, message }) => return invalid(run.number, reason, message),
            Some(Examined::Valid { .. }) => {}
        }
    }
    let compare = |one: &AttemptStatus, other: &AttemptStatus| {
        observed
            .compared
            .get(&(shard.index, one.number, other.number))
            .cloned()
            .unwrap_or(Compared::Unknown)
    };
    match (runs.work, runs.check, runs.arbiter) {
        (None, ..) => Standing::Empty,
        (Some(work), None, _) if is_check_due(&observed.job, shard.index, work) => Standing::NeedsCheck,
        (Some(work), None, _) => decided(vec![unchecked(work)], work.number),
        (Some(work), Some(check), None) => match compare(work, check) {
            Compared::Unknown => Standing::Unknown,
            Compared::Mismatch { .. } => Standing::NeedsArbiter,
            Compared::Accepted { method, .. } => decided(agreed(work, check, &method), work.number),
        },
        (Some(work), Some(check), Some(arbiter)) => arbitrate([work, check, arbiter], compare),
    }
}

fn decided(verdicts: Vec<(u16, Verdict)>, result: u16) -> Standing {
    Standing::Decided(Decision {
        verdicts,
        result: Some(result),
    })
}

fn invalid(number: u16, reason: &str, message: &str) -> Standing {
    let verdict = verdict(false, reason, message, None);
    Standing::Decided(Decision {
        verdicts: vec![(number, verdict)],
        result: None,
    })
}

fn verdict(accepted: bool, method: &str, message: &str, compared_with: Option<u16>) -> Verdict {
    Verdict {
        accepted,
        method: method.to_owned(),
        message: message.to_owned(),
        compared_with,
    }
}

fn unchecked(work: &AttemptStatus) -> (u16, Verdict) {
    (
        work.number,
        verdict(
            true,
            "ReceiptOnly",
            "not drawn for a check: verification.maxShare bounds them",
            None,
        ),
    )
}

fn agreed(one: &AttemptStatus, other: &AttemptStatus, method: &str) -> Vec<(u16, Verdict)> {
    let verdict = |with: u16| {
        verdict(
            true,
            method,
            &format!("agrees with attempt {with} of another owner"),
            Some(with),
        )
    };
    vec![(one.number, verdict(other.number)), (other.number, verdict(one.number))]
}

fn outvoted(run: &AttemptStatus, arbiter: &AttemptStatus) -> (u16, Verdict) {
    let message = "differs from two runs of other owners that agree";
    (run.number, verdict(false, "Mismatch", message, Some(arbiter.number)))
}

/// Two of three decide; when no two agree, nothing is accepted and the shard is computed anew.
fn arbitrate(
    [work, check, arbiter]: [&AttemptStatus; 3],
    compare: impl Fn(&AttemptStatus, &AttemptStatus) -> Compared,
) -> Standing {
    match (compare(work, arbiter), compare(check, arbiter)) {
        (Compared::Accepted { method, .. }, _) => {
            let mut verdicts = agreed(work, arbiter, &method);
            verdicts.push(outvoted(check, arbiter));
            decided(verdicts, work.number)
        }
        (Compared::Unknown, _) | (_, Compared::Unknown) => Standing::Unknown,
        (_, Compared::Accepted { method, .. }) => {
            let mut verdicts = agreed(check, arbiter, &method);
            verdicts.push(outvoted(work, arbiter));
            decided(verdicts, check.number)
        }
        (Compared::Mismatch { .. }, Compared::Mismatch { .. }) => {
            let message = "no two of three runs agree";
            let all = [work, check, arbiter].map(|run| (run.number, verdict(false, "Mismatch", message, None)));
            Standing::Decided(Decision {
                verdicts: all.into(),
                result: None,
            })
        }
    }
}

fn pronounce(draft: &mut Draft<'_>, position: usize, decision: Decision) {
    let index = draft.status.shards[position].index;
    for (number, verdict) in decision.verdicts {
        draft.act(Action::RecordVerdict {
            shard: index,
            attempt: number,
            accepted: verdict.accepted,
        });
        let shard = &mut draft.status.shards[position];
        let Some(attempt) = shard.attempts.iter_mut().find(|attempt| attempt.number == number) else {
            continue;
        };
        if verdict.accepted {
            let (billed, amount) = owed(draft.observed, index, attempt);
            attempt.billed_millis = Some(billed);
            attempt.amount_micro = Some(amount.0);
        }
        attempt.verdict = Some(verdict.into());
    }
    if let Some(result) = decision.result {
        let shard = &mut draft.status.shards[position];
        shard.accepted_attempt = Some(result);
        shard.state = ShardState::Accepted;
    }
}

/// GPU-milliseconds and amount of the examined receipt at the locked price, never above the bound.
fn owed(observed: &Observed, shard: u32, attempt: &AttemptStatus) -> (u64, MicroUsd) {
    match observed.examined.get(&(shard, attempt.number)) {
        Some(Examined::Valid { gpu_millis, .. }) => {
            let price = UnitPrice(attempt.unit_price_micro.unwrap_or_default());
            let bound = MicroUsd(attempt.upper_bound_micro);
            let billed = (*gpu_millis).min(price.millis_within(bound));
            (billed, price.cost(billed).min(bound))
        }
        _ => (0, MicroUsd::ZERO),
    }
}

/// Draws, after the result is committed, whether it is checked: always, unless `verification.maxShare` bounds the share.
///
/// The draw depends on the UID of the hub pod, which no provider ever sees.
fn is_check_due(job: &InferenceJob, shard: u32, work: &AttemptStatus) -> bool {
    let share: f64 = job.spec.verification.max_share.parse().unwrap_or(1.0);
    // A check costs about as much as the work it checks: checks of a part f of all shards take f / (1 + f) of the cost.
    let part = if share < 0.5 { share / (1.0 - share) } else { 1.0 };
    let pod = work.pod_uid.as_deref().unwrap_or_default();
    let digest = Sha256::digest(format!("{pod}/{shard}/{}", work.number));
    let drawn = digest
        .iter()
        .take(4)
        .fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
    f64::from(drawn) < part * (f64::from(u32::MAX) + 1.0)
}
