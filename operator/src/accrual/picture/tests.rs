use spillway_crds::Time;

use super::*;

const PAYER: Address = Address::repeat_byte(0xbb);

fn place() -> ChainPlace {
    ChainPlace {
        chain_id: 31337,
        contract: Address::repeat_byte(0xcc),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn seen(block_number: u64, observed_at: i64) -> PayerOnChain {
    PayerOnChain {
        chain_id: 31337,
        contract: Address::repeat_byte(0xcc).to_string(),
        payer: PAYER.to_string(),
        deposit_micro: 1_000,
        withdraw_requested_micro: 0,
        order_key: Address::repeat_byte(1).to_string(),
        cap_per_day_micro: 500,
        spent_today_micro: 0,
        order_key_expiry: 4_000_000_000,
        mode: SettlementMode::Ledger,
        collected_micro: None,
        block_number,
        block_hash: B256::ZERO.to_string(),
        block_time: 1_800_000_000,
        observed_at: Time(at(observed_at)),
    }
}

fn policy(chain: Option<PayerOnChain>) -> Policy {
    Policy {
        name: "p".to_owned(),
        payer: PAYER,
        order_signing_key: OrderSigningKey {
            address: Address::repeat_byte(1).to_string(),
            secret_ref: "order-key".to_owned(),
        },
        chain,
        payable: None,
    }
}

fn debits(sequence: u64, block_number: Option<u64>, amount: u128) -> Debits {
    Debits {
        sequence,
        block_number,
        finalized_at: None,
        debits: vec![(PAYER, amount)],
    }
}

fn of_payer(policies: &[Policy], settlements: &[Debits], now: i64) -> Option<Allowance> {
    allowances(policies, settlements.iter(), &place(), at(now)).remove(&PAYER)
}

#[test]
fn what_is_sealed_and_not_among_the_facts_is_in_flight() {
    let policies = [policy(Some(seen(10, 1_000)))];
    let settlements = [debits(1, Some(10), 5), debits(2, Some(11), 70), debits(3, None, 200)];
    let allowance = of_payer(&policies, &settlements, 1_000).unwrap();
    assert_eq!(allowance.in_flight, 270);
}

#[test]
fn what_is_sealed_and_not_collected_is_in_flight_in_root_mode() {
    let root = |collected_micro| PayerOnChain {
        mode: SettlementMode::Root,
        collected_micro,
        ..seen(10, 1_000)
    };
    let totals = Totals {
        spent: [(PAYER, 270)].into(),
        ..Totals::default()
    };
    let of = |chain| root_allowances(&[policy(Some(chain))], &totals, &place(), at(1_000)).remove(&PAYER);
    assert_eq!(of(root(Some(70))).unwrap().in_flight, 200);
    assert_eq!(of(root(Some(270))).unwrap().in_flight, 0);
    assert!(of(root(None)).is_none(), "what was collected is not known");
    assert!(of(seen(10, 1_000)).is_none(), "the contract is in the other mode");
    assert!(of_payer(&[policy(Some(root(Some(0))))], &[], 1_000).is_none());
}

#[test]
fn facts_that_are_old_or_of_elsewhere_are_none() {
    let live = |chain: PayerOnChain, now| of_payer(&[policy(Some(chain))], &[], now).is_some();
    assert!(live(seen(1, 1_000), 1_300));
    assert!(!live(seen(1, 1_000), 1_301));
    assert!(of_payer(&[policy(None)], &[], 0).is_none());
    assert!(!live(
        PayerOnChain {
            chain_id: 1,
            ..seen(1, 1_000)
        },
        1_000
    ));
    let contract = Address::repeat_byte(1).to_string();
    assert!(!live(
        PayerOnChain {
            contract,
            ..seen(1, 1_000)
        },
        1_000
    ));
    let payer = Address::repeat_byte(1).to_string();
    assert!(!live(
        PayerOnChain {
            payer,
            ..seen(1, 1_000)
        },
        1_000
    ));
}

#[test]
fn the_newest_facts_of_a_payer_count() {
    let richer = PayerOnChain {
        deposit_micro: 9_000,
        ..seen(12, 1_000)
    };
    let allowance = of_payer(&[policy(Some(seen(10, 1_000))), policy(Some(richer))], &[], 1_000).unwrap();
    let Knowledge::Known(facts) = allowance.facts else {
        panic!("known")
    };
    assert_eq!(facts.deposit, 9_000);
}

#[test]
fn a_revoked_key_has_expired() {
    let revoked = PayerOnChain {
        order_key: Address::ZERO.to_string(),
        ..seen(1, 1_000)
    };
    let allowance = of_payer(&[policy(Some(revoked))], &[], 1_000).unwrap();
    assert_eq!(allowance.facts.known().map(|facts| facts.expiry), Some(0));
}
