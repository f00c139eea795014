use proptest::prelude::*;

use super::*;
use crate::vectors;

/// The signed vector, with a hub that saw exactly what the receipt says.
struct Case {
    domain: Eip712Domain,
    order: Order,
    receipt: Receipt,
    signature: Vec<u8>,
    signer: Address,
}

fn case() -> Case {
    let (signature, signer) = vectors::signed("receipts", 0);
    let (order, receipt) = (vectors::order(0), vectors::receipt(0));
    Case {
        domain: vectors::vector_domain(),
        order,
        receipt,
        signature,
        signer,
    }
}

impl Case {
    fn evidence(&self) -> Evidence<'_> {
        Evidence {
            domain: &self.domain,
            order: &self.order,
            signer: self.signer,
            input_digest: self.receipt.inputDigest,
            output_digest: self.receipt.outputDigest,
            gpus: 1,
            assigned_at: self.receipt.started - 5,
            completed_at: self.receipt.finished + 2,
        }
    }

    fn check(&self, evidence: &Evidence<'_>) -> Result<Accepted, Rejection> {
        check(&self.receipt, &self.signature, evidence)
    }
}

fn field(outcome: Result<Accepted, Rejection>) -> &'static str {
    outcome.unwrap_err().field
}

#[test]
fn an_honest_receipt_is_billed_by_its_meter() {
    let case = case();
    let accepted = case.check(&case.evidence()).unwrap();
    assert_eq!(accepted.billed_millis, case.receipt.meteredMillis);
    // 88,431 ms at 1.20 USD an hour.
    assert_eq!(accepted.amount, MicroUsd(29_477));
    assert_eq!(
        (accepted.order_hash, accepted.receipt_hash),
        (case.order.hash(), case.receipt.hash())
    );
}

#[test]
fn the_wall_time_of_the_hub_caps_the_meter() {
    let case = case();
    // Ten seconds, within the clock skew: only the amount changes.
    let started = case.receipt.started;
    let seen = Evidence {
        assigned_at: started,
        completed_at: started + 10,
        ..case.evidence()
    };
    let accepted = case.check(&seen).unwrap();
    assert_eq!(accepted.billed_millis, 11_000);
    assert_eq!(accepted.amount, MicroUsd(3_667));
}

#[test]
fn every_lie_is_named_by_its_field() {
    let case = case();
    let other = B256::repeat_byte(7);
    assert_eq!(
        field(case.check(&Evidence {
            input_digest: other,
            ..case.evidence()
        })),
        "receipt.inputDigest"
    );
    assert_eq!(
        field(case.check(&Evidence {
            output_digest: other,
            ..case.evidence()
        })),
        "receipt.outputDigest"
    );
    let stranger = Address::repeat_byte(7);
    assert_eq!(
        field(case.check(&Evidence {
            signer: stranger,
            ..case.evidence()
        })),
        "receipt.signature"
    );
    let late = case.receipt.started + CLOCK_SKEW_SECONDS + 1;
    assert_eq!(
        field(case.check(&Evidence {
            assigned_at: late,
            ..case.evidence()
        })),
        "receipt.started"
    );
    let early = case.receipt.finished - CLOCK_SKEW_SECONDS - 1;
    assert_eq!(
        field(case.check(&Evidence {
            assigned_at: 0,
            completed_at: early,
            ..case.evidence()
        })),
        "receipt.finished"
    );
    let other_order = Order {
        shard: 18,
        ..vectors::order(0)
    };
    assert_eq!(
        field(case.check(&Evidence {
            order: &other_order,
            ..case.evidence()
        })),
        "receipt.order"
    );
}

#[test]
fn times_must_make_sense_before_the_signature_is_looked_at() {
    let (honest, mut reversed) = (case(), case());
    reversed.receipt.finished = reversed.receipt.started - 1;
    assert_eq!(field(reversed.check(&honest.evidence())), "receipt.started");
    let mut expired = case();
    expired.receipt.finished = expired.order.expiry + CLOCK_SKEW_SECONDS + 1;
    assert_eq!(field(expired.check(&expired.evidence())), "receipt.finished");
}

#[test]
fn a_signature_has_one_form() {
    let case = case();
    for (signature, part) in [(&case.signature[..64], "64 bytes"), (&[], "0 bytes")] {
        let rejection = check(&case.receipt, signature, &case.evidence()).unwrap_err();
        assert_eq!(rejection.field, "receipt.signature");
        assert!(rejection.message.contains(part), "{rejection}");
    }
    let mut parity = case.signature.clone();
    parity[64] = 37;
    assert!(
        check(&case.receipt, &parity, &case.evidence())
            .unwrap_err()
            .message
            .contains("37")
    );
}

#[test]
fn the_twin_with_the_high_s_is_refused() {
    let case = case();
    let twin = alloy_primitives::Signature::from_raw(&case.signature).unwrap();
    let order = alloy_primitives::uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
    let twin = alloy_primitives::Signature::new(twin.r(), order - twin.s(), !twin.v());
    let rejection = check(&case.receipt, &twin.as_bytes(), &case.evidence()).unwrap_err();
    assert!(rejection.message.contains("EIP-2"), "{rejection}");
}

#[test]
fn digests_have_one_text_form() {
    let digest = B256::repeat_byte(0xab);
    assert_eq!(parse_digest(&format_digest(digest)), Some(digest));
    for text in [
        "",
        "sha256:",
        "sha256:ab",
        "md5:00",
        &"ab".repeat(32),
        &format!("sha256:0x{}", "ab".repeat(31)),
    ] {
        assert_eq!(parse_digest(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn nothing_is_billed_over_meter_wall_or_bound(
        metered: u64, assigned in 0u64..1 << 40, lasted in 0u64..1 << 30, gpus in 1u32..64,
        price in 0u64..1 << 40, bound: u64
    ) {
        let wall = wall_gpu_millis(assigned, assigned + lasted, gpus);
        let order = Order { unitPrice: price.into(), upperBound: bound.into(), ..vectors::order(0) };
        let (_, amount) = checks::bill(metered.min(wall), &order).unwrap();
        prop_assert!(amount <= MicroUsd(bound));
        prop_assert!(amount <= crate::money::UnitPrice(price).cost(metered));
        prop_assert!(amount <= crate::money::UnitPrice(price).cost((lasted + 1) * 1000 * u64::from(gpus)));
    }
}
