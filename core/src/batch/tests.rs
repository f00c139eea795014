use proptest::prelude::*;

use super::*;

const CONTRACT: Address = Address::repeat_byte(0x5a);

fn leaf(job: u8, shard: u32, payer: u8, provider: u8, amount: u128) -> Leaf {
    Leaf {
        job: B256::repeat_byte(job),
        shard,
        attempt: 0,
        kind: 0,
        payer: Address::repeat_byte(payer),
        provider: Address::repeat_byte(provider),
        amount,
        order: B256::repeat_byte(1),
        receipt: B256::repeat_byte(2),
    }
}

fn seal_first(leaves: Vec<Leaf>) -> Result<Sealed, SealError> {
    seal(31337, CONTRACT, 1, B256::ZERO, leaves)
}

fn sum(entries: &[B256]) -> u128 {
    entries.iter().map(|entry| entry_parts(*entry).1).sum()
}

#[test]
fn accounts_are_merged_and_ascending() {
    let leaves = vec![leaf(1, 0, 9, 5, 10), leaf(1, 1, 9, 4, 20), leaf(2, 0, 8, 5, 30)];
    let sealed = seal_first(leaves).unwrap();
    let parts = |entries: &[B256]| entries.iter().map(|entry| entry_parts(*entry)).collect::<Vec<_>>();
    assert_eq!(
        parts(&sealed.debits),
        [(Address::repeat_byte(8), 30), (Address::repeat_byte(9), 30)]
    );
    assert_eq!(
        parts(&sealed.credits),
        [(Address::repeat_byte(4), 20), (Address::repeat_byte(5), 40)]
    );
    assert_eq!((sealed.header.count, sealed.header.total), (3, 60));
}

#[test]
fn a_shard_is_paid_once_per_kind() {
    let work = leaf(1, 0, 9, 5, 10);
    let again = Leaf {
        attempt: 3,
        ..leaf(1, 0, 9, 4, 10)
    };
    let check = Leaf {
        attempt: 1,
        kind: 1,
        ..leaf(1, 0, 9, 4, 10)
    };
    let work_copy = leaf(1, 0, 9, 5, 10);
    assert!(seal_first(vec![leaf(1, 0, 9, 5, 10), check]).is_ok());
    assert!(matches!(
        seal_first(vec![work, again]),
        Err(SealError::PaidTwice { shard: 0, kind: 0, .. })
    ));
    assert!(matches!(
        seal_first(vec![leaf(1, 0, 9, 5, 10), work_copy]),
        Err(SealError::PaidTwice { .. })
    ));
}

#[test]
fn what_the_contract_would_refuse_is_refused_before() {
    let nobody = Leaf {
        provider: Address::ZERO,
        ..leaf(1, 0, 9, 5, 10)
    };
    assert!(matches!(
        seal_first(vec![nobody]),
        Err(SealError::ZeroAddress { role: "provider", .. })
    ));
    let nobody = Leaf {
        payer: Address::ZERO,
        ..leaf(1, 0, 9, 5, 10)
    };
    assert!(matches!(
        seal_first(vec![nobody]),
        Err(SealError::ZeroAddress { role: "payer", .. })
    ));
    let unknown = Leaf {
        kind: 4,
        ..leaf(1, 0, 9, 5, 10)
    };
    assert!(matches!(
        seal_first(vec![unknown]),
        Err(SealError::UnknownKind { kind: 4, .. })
    ));
    assert!(matches!(seal_first(vec![]), Err(SealError::Empty)));
    let half = 1 << 95;
    let large = vec![leaf(1, 0, 9, 5, half), leaf(1, 1, 9, 4, half)];
    assert!(matches!(seal_first(large), Err(SealError::SumTooLarge { account }) if account == Address::repeat_byte(9)));
    let huge = vec![leaf(1, 0, 9, 5, u128::MAX), leaf(1, 1, 9, 5, 1)];
    assert!(matches!(seal_first(huge), Err(SealError::SumTooLarge { .. })));
    let over_64_bits = vec![leaf(1, 0, 9, 5, u128::from(u64::MAX)), leaf(1, 1, 8, 4, 1)];
    assert!(matches!(seal_first(over_64_bits), Err(SealError::TotalTooLarge)));
}

#[test]
fn sequence_and_previous_belong_together() {
    let previous = B256::repeat_byte(3);
    let at = |sequence, previous| seal(31337, CONTRACT, sequence, previous, vec![leaf(1, 0, 9, 5, 1)]);
    assert!(matches!(at(0, B256::ZERO), Err(SealError::SequenceZero)));
    assert!(matches!(at(1, previous), Err(SealError::Previous)));
    assert!(matches!(at(2, B256::ZERO), Err(SealError::Previous)));
    assert!(at(2, previous).is_ok());
}

#[test]
fn the_document_is_canonical_and_reads_back() {
    let sealed = seal_first(vec![leaf(2, 0, 9, 0xab, 7), leaf(1, 0, 9, 0xab, 5)]).unwrap();
    insta::assert_snapshot!(String::from_utf8(sealed.document.clone()).unwrap());
    assert_eq!(keccak256(&sealed.document), sealed.header.dataHash);
    let document = LeavesDocument::parse(&sealed.document).unwrap();
    assert_eq!(document.leaves().unwrap(), sealed.leaves);
    assert_eq!(document.to_bytes().unwrap(), sealed.document);
    let newer = String::from_utf8(sealed.document)
        .unwrap()
        .replace("\"version\":1", "\"version\":3");
    assert!(matches!(
        LeavesDocument::parse(newer.as_bytes()),
        Err(DocumentError::Version(3))
    ));
}

// Root mode

fn seal_two(first: &[Leaf], second: &[Leaf]) -> (Sealed, Sealed) {
    let one = seal_root(31337, CONTRACT, 1, B256::ZERO, &Totals::default(), first.to_vec()).unwrap();
    let before = one.totals.clone().unwrap();
    let two = seal_root(31337, CONTRACT, 2, one.header_hash, &before, second.to_vec()).unwrap();
    (one, two)
}

#[test]
fn a_root_batch_carries_what_the_ones_before_it_came_to() {
    let (one, two) = seal_two(&[leaf(1, 0, 9, 5, 10)], &[leaf(1, 1, 9, 4, 20), leaf(2, 0, 8, 5, 30)]);
    assert_eq!((one.header.cumulative, two.header.cumulative), (10, 60));
    let totals = two.totals.unwrap();
    let of = |sums: &std::collections::BTreeMap<Address, u128>, byte| sums.get(&Address::repeat_byte(byte)).copied();
    assert_eq!((of(&totals.earned, 5), of(&totals.earned, 4)), (Some(40), Some(20)));
    assert_eq!((of(&totals.spent, 9), of(&totals.spent, 8)), (Some(30), Some(30)));
    assert_eq!(two.header.payRoot, totals.pay_tree().unwrap().root());
    assert_eq!(two.header.spendRoot, totals.spend_tree().unwrap().root());
    assert!(two.header.ledgerHash.is_zero(), "nothing is booked");
}

#[test]
fn a_root_document_proves_every_claim_by_itself() {
    let (_, sealed) = seal_two(&[leaf(1, 0, 9, 5, 10)], &[leaf(1, 1, 9, 4, 20)]);
    insta::assert_snapshot!(String::from_utf8(sealed.document.clone()).unwrap());
    assert_eq!(keccak256(&sealed.document), sealed.header.dataHash);
    let document = LeavesDocument::parse(&sealed.document).unwrap();
    assert_eq!(document.totals().unwrap(), sealed.totals);
    assert_eq!(document.leaves().unwrap(), sealed.leaves);
    assert_eq!(document.to_bytes().unwrap(), sealed.document);

    let text = String::from_utf8(sealed.document).unwrap();
    let older = text.replace("\"version\":2", "\"version\":1");
    assert!(matches!(
        LeavesDocument::parse(older.as_bytes()),
        Err(DocumentError::Accounts(_))
    ));
    let twice = text.replace(&"04".repeat(20), &"05".repeat(20));
    let twice = LeavesDocument::parse(twice.as_bytes()).unwrap();
    assert!(matches!(twice.totals(), Err(DocumentError::Accounts("earned"))));
}

#[test]
fn all_batches_together_fit_what_the_contract_holds() {
    let before = Totals::default()
        .with(&[leaf(1, 0, 9, 5, u128::from(u64::MAX) - 1)])
        .unwrap();
    let after = |amount| {
        seal_root(
            31337,
            CONTRACT,
            2,
            B256::repeat_byte(1),
            &before,
            vec![leaf(2, 0, 9, 5, amount)],
        )
    };
    assert!(after(1).is_ok());
    assert!(matches!(after(2), Err(SealError::TotalTooLarge)));
}

fn any_leaves() -> impl Strategy<Value = Vec<Leaf>> {
    let leaf = (1u8..5, 1u8..5, 1u8..5, 0u128..1 << 40);
    prop::collection::vec(leaf, 1..40).prop_map(|facts| {
        let numbered = facts.into_iter().zip(0..);
        numbered
            .map(|((job, payer, provider, amount), shard)| self::leaf(job, shard, payer, provider, amount))
            .collect()
    })
}

proptest! {
    // A case hashes dozens of leaves, slowly without optimisation.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn arrival_order_changes_nothing(leaves in any_leaves(), turn: prop::sample::Index) {
        let mut turned = leaves.clone();
        turned.rotate_left(turn.index(leaves.len()));
        turned.reverse();
        prop_assert_eq!(seal_first(leaves).unwrap(), seal_first(turned).unwrap());
    }

    #[test]
    fn money_in_is_money_out(leaves in any_leaves()) {
        let total: u128 = leaves.iter().map(|leaf| leaf.amount).sum();
        let sealed = seal_first(leaves).unwrap();
        prop_assert_eq!(sum(&sealed.debits), total);
        prop_assert_eq!(sum(&sealed.credits), total);
        prop_assert_eq!(sealed.header.total, total);
        prop_assert!(sealed.debits.is_sorted() && sealed.credits.is_sorted());
    }

    #[test]
    fn what_is_earned_in_all_is_what_is_spent_in_all(first in any_leaves(), second in any_leaves()) {
        let second: Vec<Leaf> = second.into_iter().map(|leaf| Leaf { job: B256::ZERO, ..leaf }).collect();
        let (one, two) = seal_two(&first, &second);
        let totals = two.totals.unwrap();
        prop_assert_eq!(totals.earned.values().sum::<u128>(), two.header.cumulative);
        prop_assert_eq!(totals.spent.values().sum::<u128>(), two.header.cumulative);
        prop_assert_eq!(one.header.total + two.header.total, two.header.cumulative);
        let again = seal_root(31337, CONTRACT, 2, one.header_hash, &one.totals.unwrap(), two.leaves.clone()).unwrap();
        prop_assert_eq!(again.header_hash, two.header_hash);
    }

    #[test]
    fn every_leaf_is_proven_by_the_root(leaves in any_leaves(), pick: prop::sample::Index) {
        let sealed = seal_first(leaves).unwrap();
        let index = pick.index(sealed.leaves.len());
        let proof = &jobs_proofs(&sealed.leaves).unwrap()[index];
        prop_assert!(merkle::verify(sealed.header.jobsRoot, sealed.leaves[index].hash(), proof));
    }

    #[test]
    fn chain_contract_and_sequence_are_part_of_the_identity(leaves in any_leaves()) {
        let hash = seal_first(leaves.clone()).unwrap().header_hash;
        let elsewhere = seal(1, CONTRACT, 1, B256::ZERO, leaves.clone()).unwrap().header_hash;
        let other = seal(31337, Address::repeat_byte(1), 1, B256::ZERO, leaves.clone()).unwrap().header_hash;
        let later = seal(31337, CONTRACT, 2, hash, leaves).unwrap().header_hash;
        prop_assert!(hash != elsewhere && hash != other && hash != later);
    }
}
