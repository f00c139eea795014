use proptest::prelude::*;

use super::*;
use crate::batch::{entry_parts, ledger_hash, seal, seal_root};

const CONTRACT: Address = Address::repeat_byte(0x5a);
const ORDERED: u128 = 1_000;

fn order(job: u8, shard: u32, payer: u8, provider: u8) -> Order {
    Order {
        job: B256::repeat_byte(job),
        shard,
        attempt: 0,
        kind: 0,
        payer: Address::repeat_byte(payer),
        provider: Address::repeat_byte(provider),
        unitPrice: 1,
        upperBound: ORDERED,
        expiry: 1,
    }
}

fn pays(order: &Order, amount: u128) -> Leaf {
    Leaf {
        job: order.job,
        shard: order.shard,
        attempt: order.attempt,
        kind: order.kind,
        payer: order.payer,
        provider: order.provider,
        amount,
        order: order.hash(),
        receipt: B256::ZERO,
    }
}

fn shown(order: Order) -> Knowledge<Option<FoundOrder>> {
    Knowledge::Known(Some(FoundOrder {
        order,
        signature: vec![1],
        is_signed: Knowledge::Known(true),
    }))
}

/// (shard, payer, provider, amount) of each line of the batch at `sequence`.
fn honest(sequence: u64, lines: &[(u32, u8, u8, u128)]) -> Record {
    let mut record = Record::default();
    let mut leaves = Vec::new();
    for (shard, payer, provider, amount) in lines {
        let order = order(u8::try_from(sequence).unwrap(), *shard, *payer, *provider);
        leaves.push(pays(&order, *amount));
        record.orders.insert(order.hash(), shown(order));
    }
    let previous = if sequence == 1 {
        B256::ZERO
    } else {
        B256::repeat_byte(1)
    };
    let sealed = seal(1, CONTRACT, sequence, previous, leaves).unwrap();
    let batch = PaidBatch {
        header: sealed.header,
        leaves: sealed.leaves,
        debits: sealed.debits,
        credits: sealed.credits,
        totals: sealed.totals,
        is_disputable: true,
    };
    record.batches.insert(sequence, batch);
    record
}

/// Three providers, two payers, four lines of 10, 20, 30 and 40 micro-USD, in the tree's order.
fn four() -> Record {
    honest(1, &[(0, 8, 4, 10), (1, 9, 5, 20), (2, 8, 5, 30), (3, 9, 6, 40)])
}

fn batch(record: &mut Record) -> &mut PaidBatch {
    record.batches.get_mut(&1).unwrap()
}

/// Hashes again what was changed, as a poster that lies does.
fn repost(record: &mut Record) {
    let batch = batch(record);
    batch.header.jobsRoot = jobs_root(&batch.leaves).unwrap();
    batch.header.ledgerHash = ledger_hash(&batch.debits, &batch.credits);
}

fn entry(account: u8, amount: u128) -> B256 {
    let mut entry = B256::ZERO;
    entry[..20].fill(account);
    entry[20..].copy_from_slice(&amount.to_be_bytes()[4..]);
    entry
}

fn at(line: u32) -> At {
    At { settlement: 1, line }
}

fn offences(record: &Record) -> Vec<Offence> {
    let judgement = judge(record);
    assert_eq!(judgement.doubts, [], "nothing is in doubt");
    judgement.offences
}

fn kinds(offences: &[Offence]) -> Vec<&'static str> {
    offences.iter().map(|offence| offence.kind().name()).collect()
}

#[test]
fn a_line_without_an_order_is_found() {
    let mut record = four();
    let wanted = batch(&mut record).leaves[2].order;
    record.orders.insert(wanted, Knowledge::Known(None));
    let payer = Address::repeat_byte(8);
    let missing = |is_unsigned| Offence::MissingOrder {
        at: at(2),
        payer,
        is_unsigned,
        refund_micro: 30,
    };
    assert_eq!(offences(&record), [missing(false)]);

    let mut record = four();
    if let Some(Knowledge::Known(Some(found))) = record.orders.get_mut(&wanted) {
        found.is_signed = Knowledge::Known(false);
    }
    assert_eq!(offences(&record), [missing(true)]);
}

#[test]
fn what_is_not_known_of_an_order_is_a_doubt() {
    let mut record = four();
    let orders: Vec<B256> = batch(&mut record).leaves.iter().map(|leaf| leaf.order).collect();
    record.orders.remove(&orders[0]);
    record.orders.insert(orders[1], Knowledge::Unknown);
    if let Some(Knowledge::Known(Some(found))) = record.orders.get_mut(&orders[2]) {
        found.is_signed = Knowledge::Unknown;
    }
    let judgement = judge(&record);
    assert_eq!(judgement.offences, []);
    assert_eq!(
        judgement.doubts,
        [0, 1, 2].map(|line| Doubt::OrderUnknown { at: at(line) })
    );
}

#[test]
fn a_line_beyond_its_order_gives_back_what_is_beyond() {
    let record = honest(1, &[(0, 8, 4, ORDERED + 7)]);
    let exceeded = |refund_micro| Offence::ExceededOrder {
        at: at(0),
        payer: Address::repeat_byte(8),
        refund_micro,
    };
    assert_eq!(offences(&record), [exceeded(7)]);
    assert_eq!(offences(&honest(1, &[(0, 8, 4, ORDERED)])), []);

    let mut record = honest(1, &[(0, 8, 4, 10)]);
    batch(&mut record).leaves[0].attempt = 3;
    repost(&mut record);
    assert_eq!(
        offences(&record),
        [exceeded(10)],
        "an order for something else allows nothing"
    );
}

#[test]
fn the_later_of_two_payments_is_found_also_when_the_first_is_final() {
    let mut record = four();
    let mut other = honest(2, &[(0, 8, 4, 10), (1, 8, 4, 10)]);
    let second = other.batches.get_mut(&2).unwrap();
    // The order of job 1, paid again.
    second.leaves[0] = batch(&mut record).leaves[1].clone();
    second.leaves[0].provider = second.leaves[1].provider;
    second.leaves[0].attempt = 1;
    second.leaves.sort_unstable_by_key(Leaf::sort_key);
    second.header.jobsRoot = jobs_root(&second.leaves).unwrap();
    record.batches.append(&mut other.batches);
    record.orders.extend(other.orders);
    for is_disputable in [true, false] {
        batch(&mut record).is_disputable = is_disputable;
        let found = judge(&record).offences;
        let duplicate = found.iter().find(|one| one.kind() == OffenceKind::Duplicate).unwrap();
        let Offence::Duplicate { at: place, first, .. } = duplicate else {
            panic!("{duplicate:?}")
        };
        assert_eq!((place.settlement, *first), (2, at(1)));
        assert!(found.iter().all(|offence| offence.settlement() == 2), "{found:?}");
    }
    record.batches.get_mut(&2).unwrap().is_disputable = false;
    assert_eq!(judge(&record), Judgement::default(), "final is final");
}

#[test]
fn a_header_that_counts_or_sums_otherwise_is_found_by_a_line() {
    let mut record = four();
    batch(&mut record).header.total += 1;
    assert_eq!(offences(&record), [Offence::WrongLeaf { at: at(3) }]);

    let mut record = four();
    batch(&mut record).header.count = 3;
    assert_eq!(offences(&record), [Offence::WrongLeaf { at: at(2) }]);

    let mut record = four();
    batch(&mut record).header.count = 5;
    let judgement = judge(&record);
    assert_eq!(judgement.offences, []);
    assert!(matches!(
        judgement.doubts[..],
        [Doubt::LinesMissing { count: 5, found: 4, .. }]
    ));
}

#[test]
fn lines_out_of_order_are_found_once() {
    let mut record = four();
    batch(&mut record).leaves.swap(0, 1);
    repost(&mut record);
    assert_eq!(offences(&record), [Offence::WrongNeighbours { at: at(0) }]);
}

#[test]
fn a_credit_that_is_moved_is_wrong_for_both_and_too_much_for_one() {
    let mut record = four();
    batch(&mut record).credits = vec![entry(4, 10), entry(5, 49), entry(6, 41)];
    repost(&mut record);
    let [five, six] = [5, 6].map(Address::repeat_byte);
    let wrong = |line, provider, credited_micro, earned_micro| Offence::WrongCredit {
        at: at(line),
        provider,
        credited_micro,
        earned_micro,
    };
    let excess = Offence::ExcessCredit {
        settlement: 1,
        provider: six,
        excess_micro: 1,
    };
    assert_eq!(
        offences(&record),
        [wrong(2, five, 49, 50), wrong(3, six, 41, 40), excess]
    );
}

#[test]
fn a_credit_without_a_line_is_found_wherever_its_place_would_be() {
    for (stranger, line) in [(3, 0), (45, 0), (7, 3)] {
        let mut record = four();
        let all = batch(&mut record);
        if stranger == 45 {
            // Between the providers at line 0 and line 1.
            for leaf in &mut all.leaves[1..] {
                leaf.provider = Address::repeat_byte(leaf.provider[0] + 100);
            }
            all.credits = vec![entry(4, 10), entry(45, 5), entry(105, 50), entry(106, 35)];
        } else {
            let mut credits = vec![entry(4, 10), entry(5, 50), entry(6, 35), entry(stranger, 5)];
            credits.sort_unstable();
            all.credits = credits;
        }
        repost(&mut record);
        let found = judge(&record).offences;
        let without = Offence::CreditWithoutLine {
            at: at(line),
            provider: Address::repeat_byte(stranger),
            credited_micro: 5,
        };
        assert!(found.contains(&without), "{found:?}");
        let excess = Offence::ExcessCredit {
            settlement: 1,
            provider: Address::repeat_byte(stranger),
            excess_micro: 5,
        };
        assert!(found.contains(&excess), "{found:?}");
    }
}

#[test]
fn a_debit_that_is_moved_is_found_for_who_pays_too_much() {
    let mut record = four();
    batch(&mut record).debits = vec![entry(8, 42), entry(9, 58)];
    repost(&mut record);
    let excess = Offence::ExcessDebit {
        settlement: 1,
        payer: Address::repeat_byte(8),
        excess_micro: 2,
    };
    assert_eq!(offences(&record), [excess]);
}

#[test]
fn documents_that_do_not_explain_what_was_posted_prove_nothing() {
    let mut record = four();
    batch(&mut record).leaves[0].amount += 1;
    let judgement = judge(&record);
    assert_eq!(judgement.offences, []);
    assert_eq!(judgement.doubts, [Doubt::RootDiffers { settlement: 1 }]);

    let mut record = four();
    batch(&mut record).credits.pop();
    let judgement = judge(&record);
    assert_eq!(judgement.offences, []);
    assert_eq!(judgement.doubts, [Doubt::LedgerDiffers { settlement: 1 }]);
}

#[test]
fn a_batch_of_root_mode_has_lines_and_no_entries() {
    assert_eq!(offences(&four_in_root_mode()), []);
}

/// The same four lines, in root mode.
fn four_in_root_mode() -> Record {
    let mut record = four();
    let posted = batch(&mut record);
    let sealed = seal_root(1, CONTRACT, 1, B256::ZERO, &Totals::default(), posted.leaves.clone()).unwrap();
    *posted = PaidBatch {
        header: sealed.header,
        leaves: sealed.leaves,
        debits: vec![],
        credits: vec![],
        totals: sealed.totals,
        is_disputable: true,
    };
    record
}

#[test]
fn pay_that_the_document_does_not_tell_is_withheld() {
    let withheld = Offence::WithheldPay {
        at: at(0),
        provider: Address::repeat_byte(4),
    };
    let mut record = four_in_root_mode();
    batch(&mut record).totals = None;
    assert_eq!(offences(&record), [withheld]);

    let mut record = four_in_root_mode();
    batch(&mut record).header.payRoot = B256::repeat_byte(7);
    assert_eq!(offences(&record), [withheld]);

    let mut record = four_in_root_mode();
    batch(&mut record).header.cumulative += 1;
    assert_eq!(offences(&record), [withheld]);
}

#[test]
fn kinds_have_the_names_of_their_json() {
    for kind in OffenceKind::ALL {
        assert_eq!(OffenceKind::named(kind.name()), Some(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
    let offence = Offence::WrongLeaf { at: at(3) };
    let json = serde_json::json!({"kind": "wrong-leaf", "settlement": 1, "line": 3});
    assert_eq!(serde_json::to_value(offence).unwrap(), json);
}

fn lines() -> impl Strategy<Value = Vec<(u32, u8, u8, u128)>> {
    let line = (1u8..5, 1u8..6, 1u128..=ORDERED - 1);
    prop::collection::vec(line, 1..12).prop_map(|lines| {
        let numbered = (0u32..).zip(lines);
        numbered
            .map(|(shard, (payer, provider, amount))| (shard, payer, provider, amount))
            .collect()
    })
}

/// Adds to one entry, and takes from another one so that the sums stay.
fn tilt(entries: &mut [B256], one: usize) -> (Address, Address) {
    let other = (one + 1) % entries.len();
    let (gains, amount) = entry_parts(entries[one]);
    entries[one] = entry(gains[0], amount + 1);
    let (loses, amount) = entry_parts(entries[other]);
    entries[other] = entry(loses[0], amount - 1);
    (gains, loses)
}

proptest! {
    // Trees are hashed slowly without optimisation.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_honest_batch_has_no_offence(lines in lines()) {
        prop_assert_eq!(judge(&honest(1, &lines)), Judgement::default());
    }

    #[test]
    fn an_order_that_is_lost_is_found_at_its_line(lines in lines(), pick: prop::sample::Index) {
        let mut record = honest(1, &lines);
        let line = pick.index(lines.len());
        let lost = batch(&mut record).leaves[line].order;
        record.orders.insert(lost, Knowledge::Known(None));
        let found = offences(&record);
        prop_assert_eq!(kinds(&found), ["missing-order"]);
        prop_assert_eq!(found[0].at(), Some(at(u32::try_from(line).unwrap())));
    }

    #[test]
    fn an_amount_beyond_the_order_is_found_at_its_line(lines in lines(), pick: prop::sample::Index, beyond in 1u128..99) {
        let mut lines = lines;
        let shard = pick.index(lines.len());
        lines[shard].3 = ORDERED + beyond;
        let mut record = honest(1, &lines);
        let found = offences(&record);
        prop_assert_eq!(kinds(&found), ["exceeded-order"]);
        prop_assert_eq!(found[0].refund(), beyond);
        let line = found[0].at().unwrap().line as usize;
        prop_assert_eq!(batch(&mut record).leaves[line].shard as usize, shard);
    }

    #[test]
    fn a_line_that_pays_again_is_found(lines in lines(), pick: prop::sample::Index) {
        let mut record = honest(1, &lines);
        let all = batch(&mut record);
        let mut again = all.leaves[pick.index(lines.len())].clone();
        again.attempt += 1;
        let order = Order { attempt: again.attempt, ..order_of_leaf(&again) };
        again.order = order.hash();
        all.leaves.push(again.clone());
        record.orders.insert(order.hash(), shown(order));
        let leaves = std::mem::take(&mut batch(&mut record).leaves);
        let mut sorted = leaves;
        sorted.sort_unstable_by_key(Leaf::sort_key);
        // Sealing refuses it; a poster that lies does not seal.
        let (payer, provider, amount) = (again.payer, again.provider, again.amount);
        let all = batch(&mut record);
        all.leaves = sorted;
        all.header.count += 1;
        all.header.total += amount;
        raise(&mut all.debits, payer, amount);
        raise(&mut all.credits, provider, amount);
        repost(&mut record);
        let found = offences(&record);
        prop_assert_eq!(kinds(&found), ["duplicate"]);
        let Offence::Duplicate { at, first, .. } = found[0] else { panic!("{found:?}") };
        prop_assert_eq!(first.line + 1, at.line);
    }

    #[test]
    fn a_wrong_total_is_found_at_the_last_line(lines in lines(), more in 1u128..99) {
        let mut record = honest(1, &lines);
        batch(&mut record).header.total += more;
        let last = u32::try_from(lines.len() - 1).unwrap();
        prop_assert_eq!(offences(&record), [Offence::WrongLeaf { at: at(last) }]);
    }

    #[test]
    fn two_neighbours_that_change_places_are_found(lines in lines(), pick: prop::sample::Index) {
        prop_assume!(lines.len() > 1);
        let mut record = honest(1, &lines);
        let left = pick.index(lines.len() - 1);
        batch(&mut record).leaves.swap(left, left + 1);
        repost(&mut record);
        let at = at(u32::try_from(left).unwrap());
        prop_assert_eq!(offences(&record), [Offence::WrongNeighbours { at }]);
    }

    #[test]
    fn a_credit_that_is_moved_is_found(lines in lines(), pick: prop::sample::Index) {
        let mut record = honest(1, &lines);
        let count = batch(&mut record).credits.len();
        prop_assume!(count > 1);
        let (gains, loses) = tilt(&mut batch(&mut record).credits, pick.index(count));
        repost(&mut record);
        let found = offences(&record);
        let of = |account| {
            let its = found.iter().filter(|one| one.account() == Some(account)).copied();
            kinds(&its.collect::<Vec<_>>())
        };
        prop_assert_eq!(found.len(), 3);
        prop_assert_eq!(of(gains), ["wrong-credit", "excess-credit"]);
        prop_assert_eq!(of(loses), ["wrong-credit"]);
    }

    #[test]
    fn a_debit_that_is_moved_is_found(lines in lines(), pick: prop::sample::Index) {
        let mut record = honest(1, &lines);
        let count = batch(&mut record).debits.len();
        prop_assume!(count > 1);
        let (payer, _) = tilt(&mut batch(&mut record).debits, pick.index(count));
        repost(&mut record);
        let found = Offence::ExcessDebit { settlement: 1, payer, excess_micro: 1 };
        prop_assert_eq!(offences(&record), [found]);
    }
}

fn order_of_leaf(leaf: &Leaf) -> Order {
    order(leaf.job[0], leaf.shard, leaf.payer[0], leaf.provider[0])
}

fn raise(entries: &mut [B256], account: Address, amount: u128) {
    for packed in entries.iter_mut() {
        let (found, before) = entry_parts(*packed);
        if found == account {
            *packed = entry(account[0], before + amount);
        }
    }
}
