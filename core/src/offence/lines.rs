//! Lines by themselves: without an order, beyond it, or paid before.

use std::collections::HashMap;

use alloy_primitives::B256;

use super::{At, Doubt, FoundOrder, Judgement, Offence, PaidBatch, placed};
use crate::batch::Leaf;
use crate::knowledge::Knowledge;
use crate::order::Order;

/// Every line against the order that it names.
pub(super) fn orders(
    batch: &PaidBatch,
    orders: &HashMap<B256, Knowledge<Option<FoundOrder>>>,
    judgement: &mut Judgement,
) {
    for (at, leaf) in placed(batch) {
        let found = orders.get(&leaf.order).map_or(Knowledge::Unknown, Knowledge::as_ref);
        match found.map(|order| order_of(at, leaf, order.as_ref())) {
            Knowledge::Known(Knowledge::Known(offence)) => judgement.offences.extend(offence),
            _ => judgement.doubts.push(Doubt::OrderUnknown { at }),
        }
    }
}

fn order_of(at: At, leaf: &Leaf, found: Option<&FoundOrder>) -> Knowledge<Option<Offence>> {
    let missing = |is_unsigned| Offence::MissingOrder {
        at,
        payer: leaf.payer,
        is_unsigned,
        refund_micro: leaf.amount,
    };
    let Some(found) = found else {
        return Knowledge::Known(Some(missing(false)));
    };
    // One step and no bond: better than a challenge, whoever signed it.
    if let Some(refund_micro) = excess(&found.order, leaf) {
        return Knowledge::Known(Some(Offence::ExceededOrder {
            at,
            payer: leaf.payer,
            refund_micro,
        }));
    }
    found.is_signed.map(|is_signed| (!is_signed).then(|| missing(true)))
}

/// What the order does not allow of the line, micro-USD; none when it covers it.
fn excess(order: &Order, leaf: &Leaf) -> Option<u128> {
    let is_for = order.job == leaf.job
        && order.shard == leaf.shard
        && order.attempt == leaf.attempt
        && order.kind == leaf.kind
        && order.payer == leaf.payer
        && order.provider == leaf.provider;
    match leaf.amount.checked_sub(order.upperBound) {
        _ if !is_for => Some(leaf.amount),
        Some(0) | None => None,
        beyond => beyond,
    }
}

/// Lines that pay what an earlier one paid; `batches` ascend by sequence.
pub(super) fn duplicates(batches: &[&PaidBatch]) -> Vec<Offence> {
    let (mut paid, mut found) = (HashMap::new(), Vec::new());
    for batch in batches {
        for (at, leaf) in placed(batch) {
            let first = *paid.entry((leaf.job, leaf.shard, leaf.kind)).or_insert(at);
            if first != at && batch.is_disputable {
                found.push(Offence::Duplicate {
                    at,
                    first,
                    payer: leaf.payer,
                    refund_micro: leaf.amount,
                });
            }
        }
    }
    found
}
