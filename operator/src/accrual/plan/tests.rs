use std::collections::BTreeMap;

use alloy_primitives::Address;
use proptest::prelude::*;
use spillway_core::batch::entry_parts;

use super::*;

const LIMITS: BatchLimits = BatchLimits {
    leaves: 4,
    oldest: SignedDuration::from_secs(10),
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn payable(shard: u32, kind: u8, amount: u128, since: i64) -> Payable {
    let leaf = Leaf {
        job: B256::repeat_byte(1),
        shard,
        attempt: u16::from(kind),
        kind,
        payer: Address::repeat_byte(0xbb),
        provider: Address::repeat_byte(0xa0 + u8::try_from(shard % 3).unwrap()),
        amount,
        order: B256::repeat_byte(2),
        receipt: B256::repeat_byte(3),
    };
    Payable {
        id: AttemptId::of(&leaf),
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

fn next(newest: Option<OpenSettlement>, payable: Vec<Payable>, now: i64) -> Plan {
    accrue(&Observed { newest, payable }, &LIMITS, at(now))
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
}

/// One sealer in the middle of a pass.
#[derive(Clone, Debug, Default)]
enum Sealer {
    #[default]
    Resting,
    ReadSettlements(Option<OpenSettlement>),
    Decided(Plan),
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

    fn step(&mut self, sealer: &mut Sealer, now: i64) {
        *sealer = match std::mem::take(sealer) {
            Sealer::Resting => Sealer::ReadSettlements(self.newest()),
            Sealer::ReadSettlements(newest) => {
                let observed = Observed {
                    newest,
                    payable: self.payable(),
                };
                Sealer::Decided(accrue(&observed, &LIMITS, at(now)))
            }
            Sealer::Decided(plan) => {
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
    Step { sealer: usize },
    Crash { sealer: usize },
    Mark { pick: usize },
    Pass { seconds: i64 },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        2 => (0u32..12, 0u8..2, 1u128..1_000_000).prop_map(|(shard, kind, amount)| Happening::Owe { shard, kind, amount }),
        6 => (0usize..2).prop_map(|sealer| Happening::Step { sealer }),
        1 => (0usize..2).prop_map(|sealer| Happening::Crash { sealer }),
        2 => (0usize..8).prop_map(|pick| Happening::Mark { pick }),
        1 => (1i64..15).prop_map(|seconds| Happening::Pass { seconds }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Two sealers, crashes between any two steps, marks in any order: each attempt is paid once, and once all is quiet,
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
                }
                Happening::Step { sealer } => world.step(&mut sealers[sealer], now),
                Happening::Crash { sealer } => sealers[sealer] = Sealer::Resting,
                Happening::Mark { pick } => world.mark_one(pick),
                Happening::Pass { seconds } => now += seconds,
            }
            let ids: BTreeSet<_> = world.paid().into_iter().map(AttemptId::of).collect();
            prop_assert_eq!(ids.len(), world.paid().len(), "an attempt was sealed twice");
        }
        for _ in 0..400 {
            now += 1;
            world.mark_one(0);
            world.step(&mut sealers[0], now);
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
