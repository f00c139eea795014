use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::batch::{Sealed, seal, seal_root};
use crate::order::job_id;

const CONTRACT: Address = Address::repeat_byte(0x5a);
const NOW: u64 = 1_000_000;

/// One attempt of a random history.
#[derive(Clone, Debug)]
struct Paid {
    payer: u8,
    provider: u8,
    amount: u128,
    /// The job was deleted since.
    gone: bool,
}

/// A hub's life without a fault: batches of attempts, of which the newest may not be on chain or recorded yet, and
/// attempts that no batch holds yet.
#[derive(Clone, Debug)]
struct History {
    /// In root mode; else in ledger mode.
    is_root: bool,
    batches: Vec<Vec<Paid>>,
    /// Batches at the end that the chain has not booked.
    unposted: usize,
    newest_is_recorded: bool,
    /// Documents at the beginning that retention took.
    expired: usize,
    waiting: Vec<Paid>,
}

fn any_paid() -> impl Strategy<Value = Paid> {
    (1u8..4, 1u8..4, 1u128..1_000_000, prop::bool::weighted(0.2)).prop_map(|(payer, provider, amount, gone)| Paid {
        payer,
        provider,
        amount,
        gone,
    })
}

fn any_history() -> impl Strategy<Value = History> {
    let batch = prop::collection::vec(any_paid(), 1..5);
    let batches = prop::collection::vec(batch, 1..5);
    (
        batches,
        0usize..3,
        any::<bool>(),
        0usize..2,
        prop::collection::vec(any_paid(), 0..3),
        any::<bool>(),
    )
        .prop_map(
            |(batches, unposted, newest_is_recorded, expired, waiting, is_root)| History {
                is_root,
                unposted: unposted.min(batches.len()),
                expired: expired.min(batches.len()),
                batches,
                newest_is_recorded,
                waiting,
            },
        )
}

fn leaf(number: u32, paid: &Paid) -> Leaf {
    Leaf {
        job: job_id(&format!("job-{}", number / 2)),
        shard: number,
        attempt: 0,
        kind: 0,
        payer: Address::repeat_byte(paid.payer),
        provider: Address::repeat_byte(paid.provider),
        amount: paid.amount,
        order: B256::repeat_byte(1),
        receipt: B256::repeat_byte(2),
    }
}

fn receipt(leaf: Leaf, sealed: Option<&Sealed>, recorded: bool) -> AcceptedReceipt {
    let marked = sealed.filter(|_| recorded);
    AcceptedReceipt {
        job: "team/job".to_owned(),
        leaf,
        since: NOW - 10,
        settlement: marked.map(|sealed| sealed.header.sequence),
        root: marked.map(|sealed| sealed.header.jobsRoot),
    }
}

/// The ledgers of a history as they are read, each right.
fn ledgers(history: &History) -> Ledgers {
    let (mut chain, mut settlements, mut receipts) = (ChainLedger::default(), Vec::new(), Vec::new());
    let (mut documents, mut jobs) = (BTreeMap::new(), BTreeSet::new());
    let (mut previous, mut number) = (B256::ZERO, 0);
    let mut totals = history.is_root.then(Totals::default);
    let count = history.batches.len();
    for (index, batch) in history.batches.iter().enumerate() {
        let leaves: Vec<Leaf> = (number..).zip(batch).map(|(number, paid)| leaf(number, paid)).collect();
        let sequence = index as u64 + 1;
        let sealed = match &totals {
            Some(before) => seal_root(31337, CONTRACT, sequence, previous, before, leaves.clone()),
            None => seal(31337, CONTRACT, sequence, previous, leaves.clone()),
        }
        .unwrap();
        totals.clone_from(&sealed.totals);
        let recorded = index + 1 < count || history.newest_is_recorded;
        let posted = index < count - history.unposted;
        settlements.push(object(&sealed, recorded, posted, index < history.expired));
        if posted {
            chain.posted.insert(sealed.header.sequence, event(&sealed));
            chain.block_number = sealed.header.sequence * 10;
        }
        for leaf in leaves {
            jobs.insert(leaf.job);
            receipts.push(receipt(leaf, Some(&sealed), recorded));
        }
        if index >= history.expired {
            documents.insert(
                sealed.header.sequence,
                Knowledge::Known(Document::Leaves(Contents {
                    leaves: sealed.leaves.clone(),
                    totals: sealed.totals.clone(),
                })),
            );
        }
        previous = sealed.header_hash;
        number += u32::try_from(batch.len()).unwrap().next_multiple_of(2);
    }
    for (offset, paid) in (0..).zip(&history.waiting) {
        let waits = leaf(number + offset, paid);
        jobs.insert(waits.job);
        receipts.push(receipt(waits, None, false));
    }
    // A job is gone with all of its attempts.
    let gone: BTreeSet<B256> = gone_jobs(history);
    receipts.retain(|receipt| !gone.contains(&receipt.leaf.job));
    jobs.retain(|job| !gone.contains(job));
    let paid: u128 = chain.posted.values().map(|posted| posted.total).sum();
    chain.held = Knowledge::Known(Held {
        balance: 7_000_000_000 - paid / 2,
        deposited: 7_000_000_000,
        paid_out: paid / 2,
    });
    Ledgers {
        chain: Knowledge::Known(chain),
        settlements: Knowledge::Known(settlements),
        receipts: Knowledge::Known(receipts),
        jobs,
        documents,
        held_payers: BTreeSet::new(),
        now: NOW,
    }
}

fn gone_jobs(history: &History) -> BTreeSet<B256> {
    let (mut gone, mut number) = (BTreeSet::new(), 0u32);
    for batch in &history.batches {
        for (offset, paid) in (0..).zip(batch) {
            if paid.gone {
                gone.insert(leaf(number + offset, paid).job);
            }
        }
        number += u32::try_from(batch.len()).unwrap().next_multiple_of(2);
    }
    gone
}

fn object(sealed: &Sealed, recorded: bool, posted: bool, leaves_deleted: bool) -> SealedBatch {
    let header = &sealed.header;
    SealedBatch {
        sequence: header.sequence,
        header_hash: sealed.header_hash,
        previous: header.previous,
        jobs_root: header.jobsRoot,
        data_hash: header.dataHash,
        total: header.total,
        count: header.count,
        roots: sealed.totals.as_ref().map(|_| Roots {
            cumulative: header.cumulative,
            pay: header.payRoot,
            spend: header.spendRoot,
        }),
        claims: if posted { Claim::Final } else { Claim::Open },
        block_number: posted.then_some(header.sequence * 10),
        recorded,
        leaves_deleted,
    }
}

fn event(sealed: &Sealed) -> PostedBatch {
    PostedBatch {
        header_hash: sealed.header_hash,
        jobs_root: sealed.header.jobsRoot,
        data_hash: sealed.header.dataHash,
        total: sealed.header.total,
        count: sealed.header.count,
        transaction: None,
    }
}

fn judge(ledgers: &Ledgers) -> Report {
    reconcile(ledgers, &Patience::default())
}

fn known<T>(knowledge: &mut Knowledge<T>) -> &mut T {
    match knowledge {
        Knowledge::Known(value) => value,
        Knowledge::Unknown => panic!("known"),
    }
}

/// Something that goes wrong; returns the drift that must be found, or `None` when this history has no place for it.
type Fault = fn(&mut Ledgers, &Index) -> Option<&'static str>;

const FAULTS: [Fault; 20] = [
    |ledgers, pick| {
        let chain = known(&mut ledgers.chain);
        let sequence = *pick.get(&chain.posted.keys().collect::<Vec<_>>()).to_owned();
        chain.posted.remove(&sequence);
        Some("NotOnChain")
    },
    |ledgers, pick| {
        let settlements = known(&mut ledgers.settlements);
        settlements.remove(pick.index(settlements.len()));
        // The last one leaves no gap: only the chain knows of it.
        Some(if known(&mut ledgers.chain).posted.len() > settlements.len() {
            "NoObject"
        } else {
            return None;
        })
    },
    |ledgers, pick| {
        let settlements = known(&mut ledgers.settlements);
        let last = settlements.len() - 1;
        if last == 0 {
            return None;
        }
        settlements.remove(pick.index(last));
        Some("ObjectMissing")
    },
    |ledgers, pick| {
        let chain = known(&mut ledgers.chain);
        let posted = chain.posted.values_mut().collect::<Vec<_>>();
        let index = pick.index(posted.len());
        posted.into_iter().nth(index)?.header_hash = B256::repeat_byte(0xee);
        Some("HeaderDiffers")
    },
    |ledgers, pick| {
        let chain = known(&mut ledgers.chain);
        let index = pick.index(chain.posted.len());
        chain.posted.values_mut().nth(index)?.total += 1;
        Some("AmountDiffers")
    },
    |ledgers, pick| {
        let settlements = known(&mut ledgers.settlements);
        let posted = settlements
            .iter_mut()
            .filter(|one| one.claims == Claim::Final)
            .collect::<Vec<_>>();
        let index = pick.index(posted.len());
        posted.into_iter().nth(index)?.claims = Claim::Failed;
        Some("FailedButPosted")
    },
    |ledgers, _| {
        known(&mut known(&mut ledgers.chain).held).balance = 1;
        Some("MoneyMissing")
    },
    |ledgers, _| {
        let held = known(&mut known(&mut ledgers.chain).held);
        held.paid_out = held.deposited + 1;
        Some("MoneyMissing")
    },
    |ledgers, pick| {
        let settlements = known(&mut ledgers.settlements);
        let index = pick.index(settlements.len());
        settlements[index].previous = B256::repeat_byte(0xee);
        Some("ChainBroken")
    },
    |ledgers, pick| {
        let count = ledgers.documents.len();
        *ledgers.documents.values_mut().nth(pick.index(count))? = Knowledge::Known(Document::Missing);
        Some("DocumentMissing")
    },
    |ledgers, pick| {
        let count = ledgers.documents.len();
        *ledgers.documents.values_mut().nth(pick.index(count))? = Knowledge::Known(Document::Altered);
        Some("DocumentAltered")
    },
    |ledgers, pick| {
        leaves_of(ledgers, pick)?.first_mut()?.amount += 1;
        Some("AmountDiffers")
    },
    |ledgers, pick| {
        leaves_of(ledgers, pick)?.first_mut()?.order = B256::repeat_byte(0xee);
        Some("RootDiffers")
    },
    |ledgers, pick| {
        let marked = marked_receipts(ledgers);
        if marked.is_empty() {
            return None;
        }
        let index = *pick.get(&marked);
        known(&mut ledgers.receipts)[index].root = Some(B256::repeat_byte(0xee));
        Some("NotInBatch")
    },
    |ledgers, pick| {
        let marked: Vec<usize> = marked_receipts(ledgers)
            .into_iter()
            .filter(|index| {
                let receipts = known(&mut ledgers.receipts);
                receipts[*index]
                    .settlement
                    .is_some_and(|sequence| ledgers.documents.contains_key(&sequence))
            })
            .collect();
        if marked.is_empty() {
            return None;
        }
        let index = *pick.get(&marked);
        known(&mut ledgers.receipts)[index].settlement = None;
        Some("Unmarked")
    },
    |ledgers, pick| {
        let receipts = known(&mut ledgers.receipts);
        let waiting: Vec<&mut AcceptedReceipt> = receipts.iter_mut().filter(|one| one.settlement.is_none()).collect();
        let documented = known(&mut ledgers.settlements).iter().all(|one| one.recorded);
        if waiting.is_empty() || !documented {
            return None;
        }
        let index = pick.index(waiting.len());
        waiting.into_iter().nth(index)?.since = NOW - 4_000;
        Some("Unsealed")
    },
    |ledgers, pick| {
        let jobs = ledgers.jobs.clone();
        let documents = ledgers.documents.values_mut();
        let leaves = documents.filter_map(|one| match one {
            Knowledge::Known(Document::Leaves(contents)) => Some(&mut contents.leaves),
            _ => None,
        });
        let ours: Vec<&mut Leaf> = leaves.flatten().filter(|leaf| jobs.contains(&leaf.job)).collect();
        if ours.is_empty() {
            return None;
        }
        let index = pick.index(ours.len());
        ours.into_iter().nth(index)?.receipt = B256::repeat_byte(0xee);
        Some("LeafNotAccepted")
    },
    |ledgers, _| {
        let (first, second) = {
            let mut all = ledgers.documents.values_mut();
            (all.next()?, all.next()?)
        };
        let (Knowledge::Known(Document::Leaves(first)), Knowledge::Known(Document::Leaves(second))) = (first, second)
        else {
            return None;
        };
        second.leaves.push(first.leaves.first()?.clone());
        Some("PaidTwice")
    },
    |ledgers, pick| {
        let totals = contents_of(ledgers, pick)?.totals.as_mut()?;
        *totals.earned.values_mut().next()? += 1;
        Some("TotalsDiffer")
    },
    // Told alike by header and document, and not what the leaves come to.
    |ledgers, pick| {
        let mut known_documents: Vec<u64> = ledgers.documents.keys().copied().collect();
        known_documents.retain(|sequence| *sequence == 1 || ledgers.documents.contains_key(&(sequence - 1)));
        let sequence = *known_documents.get(pick.index(known_documents.len().max(1)))?;
        let Knowledge::Known(Document::Leaves(contents)) = ledgers.documents.get_mut(&sequence)? else {
            return None;
        };
        let totals = contents.totals.as_mut()?;
        *totals.earned.values_mut().next()? += 1;
        let pay = totals.pay_tree()?.root();
        let objects = known(&mut ledgers.settlements).iter_mut();
        objects.filter(|one| one.sequence == sequence).for_each(|one| {
            one.roots.iter_mut().for_each(|roots| roots.pay = pay);
        });
        Some("TotalsDiffer")
    },
];

fn leaves_of<'a>(ledgers: &'a mut Ledgers, pick: &Index) -> Option<&'a mut Vec<Leaf>> {
    contents_of(ledgers, pick).map(|contents| &mut contents.leaves)
}

fn contents_of<'a>(ledgers: &'a mut Ledgers, pick: &Index) -> Option<&'a mut Contents> {
    let count = ledgers.documents.len();
    match ledgers.documents.values_mut().nth(pick.index(count.max(1)))? {
        Knowledge::Known(Document::Leaves(contents)) => Some(contents),
        _ => None,
    }
}

fn marked_receipts(ledgers: &mut Ledgers) -> Vec<usize> {
    let receipts = known(&mut ledgers.receipts).iter().enumerate();
    receipts
        .filter(|(_, one)| one.settlement.is_some())
        .map(|(index, _)| index)
        .collect()
}

#[test]
fn what_cannot_be_asked_is_no_drift() {
    let nothing = judge(&Ledgers::default());
    assert!(nothing.drifts.is_empty());
    assert_eq!(nothing.unknown.len(), 3);
    let paid = Paid {
        payer: 1,
        provider: 2,
        amount: 5,
        gone: false,
    };
    let history = History {
        is_root: false,
        batches: vec![vec![paid.clone()], vec![paid]],
        unposted: 0,
        newest_is_recorded: true,
        expired: 0,
        waiting: vec![],
    };
    let mut ledgers = ledgers(&history);
    ledgers.documents.insert(1, Knowledge::Unknown);
    ledgers.chain = Knowledge::Unknown;
    let report = judge(&ledgers);
    assert!(report.drifts.is_empty(), "{:?}", report.drifts);
    assert_eq!(report.unknown.len(), 2);
}

#[test]
fn who_waits_for_a_payer_that_is_named_is_no_drift() {
    let waits = Paid {
        payer: 1,
        provider: 2,
        amount: 5,
        gone: false,
    };
    let history = History {
        is_root: true,
        batches: vec![vec![waits.clone()]],
        unposted: 0,
        newest_is_recorded: true,
        expired: 0,
        waiting: vec![waits],
    };
    let mut ledgers = ledgers(&history);
    known(&mut ledgers.receipts)[1].since = 0;
    let report = judge(&ledgers);
    assert!(
        matches!(report.drifts.as_slice(), [Drift::Unsealed { .. }]),
        "{:?}",
        report.drifts
    );
    assert_eq!(
        report.drifts[0].to_string(),
        "hub: Unsealed: job team/job shard 2 attempt 0 (0.000005 USD) has waited 1000000 s for a batch"
    );
    ledgers.held_payers.insert(Address::repeat_byte(1));
    assert!(judge(&ledgers).drifts.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_clean_history_never_reports(history in any_history()) {
        let report = judge(&ledgers(&history));
        prop_assert!(report.drifts.is_empty(), "{:?}", report.drifts);
        prop_assert!(report.unknown.is_empty());
    }

    #[test]
    fn an_injected_drift_is_always_found(history in any_history(), pick: Index, fault in 0..FAULTS.len()) {
        let mut ledgers = ledgers(&history);
        prop_assume!(!known(&mut ledgers.chain).posted.is_empty() && !ledgers.documents.is_empty());
        if let Some(expected) = FAULTS[fault](&mut ledgers, &pick) {
            let drifts = judge(&ledgers).drifts;
            let names: Vec<_> = drifts.iter().map(|drift| drift.meaning().name).collect();
            prop_assert!(names.contains(&expected), "{expected} not among {names:?}");
        }
    }
}
