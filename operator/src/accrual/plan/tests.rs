use std::collections::BTreeMap;

use alloy_primitives::Address;
use proptest::prelude::*;
use spillway_core::batch::entry_parts;
use spillway_core::batch::select::{PayerFacts, Refusal};
use spillway_core::knowledge::Knowledge;

use super::*;

const LIMITS: BatchLimits = BatchLimits {
    leaves: 4,
    oldest: SignedDuration::from_secs(10),
    value: u128::MAX,
    gas: Some(Bounds::GAS),
};
const PAYER: Address = Address::repeat_byte(0xbb);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn payable(shard: u32, kind: u8, amount: u128, since: i64) -> Payable {
    let leaf = Leaf {
        job: B256::repeat_byte(1),
        shard,
        attempt: u16::from(kind),
        kind,
        payer: PAYER,
        provider: Address::repeat_byte(0xa0 + u8::try_from(shard % 3).unwrap()),
        amount,
        order: B256::repeat_byte(2),
        receipt: B256::repeat_byte(3),
    };
    Payable {
        id: AttemptId::of(&leaf),
        namespace: "n".to_owned(),
        name: "j".to_owned(),
        job_uid: "u".to_owned(),
        leaf,
        since: at(since),
    }
}

fn newest(recorded: bool, leaves: impl IntoIterator<Item = AttemptId>) -> Option<OpenSettlement> {
    let leaves = leaves.into_iter().collect();
    Some(OpenSettlement {
        sequence: 7,
        header_hash: B256::repeat_byte(9),
        recorded,
        leaves,
    })
}

fn rich() -> BTreeMap<Address, Allowance> {
    let facts = PayerFacts {
        deposit: u128::MAX,
        cap_per_day: u128::MAX,
        expiry: u64::MAX,
        ..PayerFacts::default()
    };
    let known = Allowance {
        facts: Knowledge::Known(facts),
        in_flight: 0,
    };
    [(PAYER, known)].into()
}

fn decide(
    newest: Option<OpenSettlement>,
    payable: &[Payable],
    allowances: BTreeMap<Address, Allowance>,
    limits: &BatchLimits,
    now: i64,
) -> Decision {
    let observed = Observed {
        newest,
        payable: payable.iter().collect(),
        allowances,
    };
    accrue(&observed, limits, at(now))
}

fn next(newest: Option<OpenSettlement>, payable: Vec<Payable>, now: i64) -> Plan {
    decide(newest, &payable, rich(), &LIMITS, now).plan
}

#[test]
fn a_batch_is_sealed_when_it_is_worth_enough() {
    let limits = BatchLimits { value: 30, ..LIMITS };
    let plan = |payable: &[Payable]| decide(None, payable, rich(), &limits, 100).plan;
    let young = [payable(0, 0, 29, 99), payable(1, 0, 1, 99)];
    assert_eq!(plan(&young[..1]), Plan::Gather { leaves: 1 });
    assert!(matches!(plan(&young), Plan::Seal { batch, .. } if batch.len() == 2));
}

#[test]
fn a_payer_that_cannot_pay_is_named_and_seals_nothing() {
    let old = [payable(0, 0, 1, 0), payable(1, 0, 2, 0)];
    let waits = decide(None, &old, BTreeMap::new(), &LIMITS, 100);
    assert_eq!(waits.plan, Plan::Idle);
    let held = waits.held[&PAYER];
    assert_eq!((held.leaves, held.amount, held.refusal), (2, 3, Refusal::Unknown));
    let meanwhile = decide(newest(false, [old[0].id]), &old, BTreeMap::new(), &LIMITS, 100);
    assert_eq!(
        meanwhile.held[&PAYER].leaves, 1,
        "what is sealed does not wait for its payer"
    );
}

#[test]
fn an_order_key_must_outlive_the_post() {
    let mut allowances = rich();
    let facts = PayerFacts {
        deposit: 100,
        cap_per_day: 100,
        expiry: 100 + POSTED_WITHIN.as_secs().unsigned_abs() - 1,
        ..PayerFacts::default()
    };
    allowances.get_mut(&PAYER).unwrap().facts = Knowledge::Known(facts);
    let refused = decide(None, &[payable(0, 0, 1, 0)], allowances, &LIMITS, 100);
    assert!(matches!(refused.held[&PAYER].refusal, Refusal::KeyExpires { .. }));
}

#[test]
fn a_batch_is_sealed_when_full_or_old() {
    assert_eq!(next(None, vec![], 100), Plan::Idle);
    assert_eq!(next(None, vec![payable(0, 0, 1, 95)], 100), Plan::Gather { leaves: 1 });
    let old = payable(0, 0, 1, 90);
    assert_eq!(
        next(None, vec![old.clone()], 100),
        Plan::Seal {
            sequence: 1,
            previous: B256::ZERO,
            batch: vec![old]
        }
    );
    let many: Vec<_> = (0..5)
        .map(|shard| payable(shard, 0, 1, 100 - i64::from(shard)))
        .collect();
    let Plan::Seal { batch, .. } = next(None, many, 100) else {
        panic!("full")
    };
    assert_eq!(
        batch.iter().map(|payable| payable.id.shard).collect::<Vec<_>>(),
        [4, 3, 2, 1],
        "the oldest go first"
    );
}

#[test]
fn the_chain_of_headers_goes_on() {
    let plan = next(newest(true, []), vec![payable(0, 0, 1, 0)], 100);
    assert!(
        matches!(plan, Plan::Seal { sequence: 8, previous, .. } if previous == B256::repeat_byte(9)),
        "{plan}"
    );
}

#[test]
fn nothing_is_sealed_before_the_last_one_is_recorded() {
    let (sealed, other) = (payable(0, 0, 1, 0), payable(1, 0, 1, 0));
    let unmarked = next(newest(false, [sealed.id]), vec![sealed.clone(), other.clone()], 100);
    assert_eq!(
        unmarked,
        Plan::AwaitMarks {
            sequence: 7,
            unmarked: 1
        }
    );
    assert_eq!(
        next(newest(false, [sealed.id]), vec![other], 100),
        Plan::MarkRecorded { sequence: 7 }
    );
    assert_eq!(
        next(newest(false, [sealed.id]), vec![], 100),
        Plan::MarkRecorded { sequence: 7 },
        "the job is gone"
    );
}

/// API server, store and jobs; sealers read and write it in single steps and may stop between any two.
#[derive(Debug, Default)]
struct World {
    settlements: Vec<(Vec<Leaf>, bool)>,
    owed: BTreeMap<AttemptId, (Payable, Option<u64>)>,
    /// What was payable after each change, oldest first: a watch shows one of them.
    history: Vec<Vec<Payable>>,
}

/// One sealer in the middle of a pass.
#[derive(Clone, Debug, Default)]
enum Sealer {
    #[default]
    Resting,
    ReadSettlements(Option<OpenSettlement>),
    Decided(Plan, Option<OpenSettlement>),
    /// Read again what the plan touches.
    Checked(Plan),
}

impl World {
    fn newest(&self) -> Option<OpenSettlement> {
        let (leaves, recorded) = self.settlements.last()?;
        Some(OpenSettlement {
            sequence: self.settlements.len() as u64,
            header_hash: B256::from(alloy_primitives::U256::from(self.settlements.len())),
            recorded: *recorded,
            leaves: leaves.iter().map(AttemptId::of).collect(),
        })
    }

    fn payable(&self) -> Vec<Payable> {
        self.owed
            .values()
            .filter(|(_, mark)| mark.is_none())
            .map(|(payable, _)| payable.clone())
            .collect()
    }

    /// The job controller: marks one attempt that the newest settlements pay.
    fn mark_one(&mut self, pick: usize) {
        let marks: Vec<(AttemptId, u64)> = self
            .settlements
            .iter()
            .zip(1..)
            .flat_map(|((leaves, _), sequence)| leaves.iter().map(move |leaf| (AttemptId::of(leaf), sequence)))
            .filter(|(id, _)| self.owed.get(id).is_some_and(|(_, mark)| mark.is_none()))
            .collect();
        if let Some((id, sequence)) = marks.get(pick % marks.len().max(1))
            && let Some((_, mark)) = self.owed.get_mut(id)
        {
            *mark = Some(*sequence);
        }
        self.history.push(self.payable());
    }

    fn seen(&self, lag: usize) -> Vec<Payable> {
        let newest = self.history.len().checked_sub(1 + lag);
        newest.map(|index| self.history[index].clone()).unwrap_or_default()
    }

    /// As the controller does before it writes.
    fn check(&self, plan: Plan, newest: Option<OpenSettlement>) -> Plan {
        let payable: BTreeSet<AttemptId> = self.payable().iter().map(|payable| payable.id).collect();
        match plan {
            Plan::MarkRecorded { .. } if newest.is_some_and(|newest| !newest.leaves.is_disjoint(&payable)) => {
                Plan::Idle
            }
            Plan::Seal {
                sequence,
                previous,
                batch,
            } => {
                let batch: Vec<_> = batch.into_iter().filter(|one| payable.contains(&one.id)).collect();
                if batch.is_empty() {
                    Plan::Idle
                } else {
                    Plan::Seal {
                        sequence,
                        previous,
                        batch,
                    }
                }
            }
            other => other,
        }
    }

    fn apply(&mut self, plan: Plan) {
        match plan {
            // A name that exists is refused.
            Plan::Seal { sequence, batch, .. } if sequence == self.settlements.len() as u64 + 1 => {
                self.settlements
                    .push((batch.into_iter().map(|payable| payable.leaf).collect(), false));
            }
            Plan::MarkRecorded { sequence } => {
                self.settlements[usize::try_from(sequence).unwrap() - 1].1 = true;
            }
            _ => {}
        }
    }

    fn step(&mut self, sealer: &mut Sealer, lag: usize, now: i64) {
        *sealer = match std::mem::take(sealer) {
            Sealer::Resting => Sealer::ReadSettlements(self.newest()),
            Sealer::ReadSettlements(newest) => {
                let plan = decide(newest.clone(), &self.seen(lag), rich(), &LIMITS, now).plan;
                Sealer::Decided(plan, newest)
            }
            Sealer::Decided(plan, newest) => Sealer::Checked(self.check(plan, newest)),
            Sealer::Checked(plan) => {
                self.apply(plan);
                Sealer::Resting
            }
        };
    }

    fn paid(&self) -> Vec<&Leaf> {
        self.settlements.iter().flat_map(|(leaves, _)| leaves).collect()
    }
}

#[derive(Clone, Debug)]
enum Happening {
    Owe { shard: u32, kind: u8, amount: u128 },
    Step { sealer: usize, lag: usize },
    Crash { sealer: usize },
    Mark { pick: usize },
    Pass { seconds: i64 },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        2 => (0u32..12, 0u8..2, 1u128..1_000_000).prop_map(|(shard, kind, amount)| Happening::Owe { shard, kind, amount }),
        6 => (0usize..2, 0usize..4).prop_map(|(sealer, lag)| Happening::Step { sealer, lag }),
        1 => (0usize..2).prop_map(|sealer| Happening::Crash { sealer }),
        2 => (0usize..8).prop_map(|pick| Happening::Mark { pick }),
        1 => (1i64..15).prop_map(|seconds| Happening::Pass { seconds }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Two sealers, watches that lag, crashes between any two steps, marks in any order: each attempt is paid once, and once all is quiet,
    /// every attempt, to the micro-unit.
    #[test]
    fn nothing_is_paid_twice_and_everything_once(happenings in proptest::collection::vec(happening(), 0..300)) {
        let mut world = World::default();
        let mut sealers = [Sealer::Resting, Sealer::Resting];
        let mut now = 0;
        for happening in happenings {
            match happening {
                Happening::Owe { shard, kind, amount } => {
                    let payable = payable(shard, kind, amount, now);
                    world.owed.entry(payable.id).or_insert((payable, None));
                    world.history.push(world.payable());
                }
                Happening::Step { sealer, lag } => world.step(&mut sealers[sealer], lag, now),
                Happening::Crash { sealer } => sealers[sealer] = Sealer::Resting,
                Happening::Mark { pick } => world.mark_one(pick),
                Happening::Pass { seconds } => now += seconds,
            }
            let ids: BTreeSet<_> = world.paid().into_iter().map(AttemptId::of).collect();
            prop_assert_eq!(ids.len(), world.paid().len(), "an attempt was sealed twice");
        }
        for _ in 0..600 {
            now += 1;
            world.mark_one(0);
            world.step(&mut sealers[0], 0, now);
        }
        let owed: u128 = world.owed.values().map(|(payable, _)| payable.leaf.amount).sum();
        let paid: u128 = world.paid().into_iter().map(|leaf| leaf.amount).sum();
        prop_assert_eq!(paid, owed);
        prop_assert!(world.settlements.iter().all(|(_, recorded)| *recorded));
    }

    /// What payers lose is what providers gain is the header's total.
    #[test]
    fn a_sealed_batch_adds_up(amounts in proptest::collection::vec(1u128..1 << 40, 1..40)) {
        let leaves: Vec<Leaf> = (0..).zip(&amounts).map(|(shard, amount)| payable(shard, 0, *amount, 0).leaf).collect();
        let sealed = spillway_core::batch::seal(1, Address::ZERO, 1, B256::ZERO, leaves).unwrap();
        let sum = |entries: &[B256]| entries.iter().map(|entry| entry_parts(*entry).1).sum::<u128>();
        prop_assert_eq!(sum(&sealed.debits), sealed.header.total);
        prop_assert_eq!(sum(&sealed.credits), sealed.header.total);
        prop_assert_eq!(amounts.iter().sum::<u128>(), sealed.header.total);
    }
}
