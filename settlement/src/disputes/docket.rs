//! Reads what an offence shows in: the chain first, then Settlements, leaves documents, stored orders.

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::{Address, B256};
use kube::api::ListParams;
use kube::{Api, Client};
use spillway_core::batch::Leaf;
use spillway_core::knowledge::Knowledge;
use spillway_core::offence::{FoundOrder, PaidBatch, Record};
use spillway_core::order::domain;
use spillway_core::reconcile::Document;
use spillway_core::signature::recover;
use spillway_crds::money::ConversionError;
use spillway_crds::{Settlement, SettlementMode};

use crate::chain::{BlockFact, Chain, DisputeRules};
use crate::orders::{Evidence, evidence::ShownOrder};
use crate::reconcile::Documents;

/// A Settlement's calldata may have hundreds of KiB.
const PER_PAGE: u32 = 50;

/// What is asked.
#[derive(Debug)]
pub struct Reading {
    settlements: Api<Settlement>,
    chain: Chain,
    documents: Documents,
}

impl Reading {
    /// `namespace` is where Settlements live.
    pub fn new(client: Client, namespace: &str, chain: Chain, documents: Documents) -> Self {
        Self {
            settlements: Api::namespaced(client, namespace),
            chain,
            documents,
        }
    }
}

/// How much is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// One batch; all that may be disputed without it.
    pub settlement: Option<u64>,
    /// Whether all earlier batches are read too: a line may pay again what one of them paid.
    pub with_earlier: bool,
}

/// What was read.
#[derive(Debug)]
pub struct Docket {
    /// Block that the chain was asked at.
    pub block: BlockFact,
    pub rules: DisputeRules,
    pub record: Record,
    /// Sequences in scope that are final: nothing about them can be disputed.
    pub finals: Vec<u64>,
    /// Sequences in scope that are not on chain yet.
    pub waiting: Vec<u64>,
    /// What could not be read, in words.
    pub unread: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum DocketError {
    #[error("the chain cannot be asked: give another --rpc-url, or more of them")]
    Chain,
    #[error("contract {0} has no disputes contract: nothing can be disputed there")]
    NoDisputes(Address),
    #[error("the Settlements cannot be read: {0}")]
    Kubernetes(#[from] kube::Error),
    #[error("there is no Settlement of sequence {0}")]
    NoSettlement(u64),
}

/// Reads what `scope` names. What cannot be read is listed, and judged nowhere.
///
/// # Errors
/// When neither the chain nor the Settlements can be asked, or the batch in scope is not there.
pub async fn gather(reading: &Reading, scope: Scope) -> Result<Docket, DocketError> {
    let Knowledge::Known(block) = reading.chain.common_block().await else {
        return Err(DocketError::Chain);
    };
    let rules = match reading.chain.dispute_rules(block).await {
        Knowledge::Known(Some(rules)) => rules,
        Knowledge::Known(None) => return Err(DocketError::NoDisputes(reading.chain.place.contract)),
        Knowledge::Unknown => return Err(DocketError::Chain),
    };
    let mut docket = Docket {
        block,
        rules,
        record: Record::default(),
        finals: vec![],
        waiting: vec![],
        unread: vec![],
    };
    let mut page = ListParams::default().limit(PER_PAGE);
    let mut is_there = scope.settlement.is_none();
    loop {
        let listed = reading.settlements.list(&page).await?;
        for settlement in &listed.items {
            is_there |= scope.settlement == Some(settlement.spec.sequence);
            read_batch(reading, scope, settlement, &mut docket).await;
        }
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    if let Some(sequence) = scope.settlement.filter(|_| !is_there) {
        return Err(DocketError::NoSettlement(sequence));
    }
    read_orders(reading, &mut docket).await;
    Ok(docket)
}

/// What a batch is to a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Disputable,
    Final,
    Waiting,
    /// Read only for what is paid twice.
    Earlier,
    Beside,
}

fn part(scope: Scope, rules: &DisputeRules, sequence: u64) -> Part {
    match scope.settlement {
        Some(only) if sequence < only && scope.with_earlier => Part::Earlier,
        Some(only) if sequence != only => Part::Beside,
        _ if sequence >= rules.next_sequence => Part::Waiting,
        _ if sequence < rules.final_end => Part::Final,
        _ => Part::Disputable,
    }
}

async fn read_batch(reading: &Reading, scope: Scope, settlement: &Settlement, docket: &mut Docket) {
    let sequence = settlement.spec.sequence;
    let part = part(scope, &docket.rules, sequence);
    match part {
        Part::Beside => return,
        Part::Waiting => return docket.waiting.push(sequence),
        Part::Final => docket.finals.push(sequence),
        Part::Disputable | Part::Earlier => {}
    }
    let is_disputable = part == Part::Disputable;
    // After its retention nothing can be said of a document, and nothing needs to be.
    let status = settlement.status.as_ref();
    let is_gone = status.is_some_and(|status| status.leaves_deleted_at.is_some());
    if !is_disputable && (is_gone || !scope.with_earlier) {
        return;
    }
    match paid_batch(reading, settlement, is_disputable, docket.block).await {
        Ok(batch) => drop(docket.record.batches.insert(sequence, batch)),
        Err(why) => docket.unread.push(format!("settlement {sequence}: {why}")),
    }
}

/// The batch, or in words why it cannot be judged.
async fn paid_batch(
    reading: &Reading,
    settlement: &Settlement,
    is_disputable: bool,
    block: BlockFact,
) -> Result<PaidBatch, String> {
    let spec = &settlement.spec;
    let in_words = |error: ConversionError| error.to_string();
    let header = spec.header().map_err(in_words)?;
    let (debits, credits) = match spec.mode {
        SettlementMode::Ledger => spec.ledger().map_err(in_words)?,
        SettlementMode::Root => (vec![], vec![]),
    };
    if is_disputable {
        let place = reading.chain.place;
        let sealed = header.hash(place.chain_id, place.contract);
        match reading.chain.posted_header(header.sequence, block).await {
            Knowledge::Unknown => return Err("the chain cannot be asked for its header".to_owned()),
            Knowledge::Known(posted) if posted != sealed => {
                return Err(format!("the contract holds header {posted}, this one is {sealed}"));
            }
            Knowledge::Known(_) => {}
        }
    }
    let contents = match reading.documents.read(&spec.data_key, header.dataHash).await {
        Knowledge::Known(Document::Leaves(contents)) => contents,
        Knowledge::Known(Document::Missing) => return Err("its leaves document is not in the store".to_owned()),
        Knowledge::Known(Document::Altered) => return Err("its leaves document is not what was sealed".to_owned()),
        Knowledge::Unknown => return Err("its leaves document could not be read".to_owned()),
    };
    Ok(PaidBatch {
        header,
        leaves: contents.leaves,
        debits,
        credits,
        totals: contents.totals,
        is_disputable,
    })
}

/// The order of every line that may be disputed. An order counts wherever it lies: a line may name that of another one.
async fn read_orders(reading: &Reading, docket: &mut Docket) {
    let disputable = docket.record.batches.values().filter(|batch| batch.is_disputable);
    let leaves: Vec<&Leaf> = disputable.flat_map(|batch| &batch.leaves).collect();
    let mut evidence = Evidence::new(reading.documents.clone());
    let stored = evidence.stored(&reading.chain.place, &leaves).await;
    let all_read = stored.iter().all(|one| *one != Knowledge::Unknown);
    let absent = if all_read {
        Knowledge::Known(None)
    } else {
        Knowledge::Unknown
    };
    let named = leaves.iter().map(|leaf| (leaf.order, absent.clone()));
    let mut orders: HashMap<B256, Knowledge<Option<FoundOrder>>> = named.collect();
    let mut keys = Keys::default();
    for shown in stored.into_iter().filter_map(|one| one.known().flatten()) {
        let hash = shown.order.hash();
        if orders.get(&hash) == Some(&absent) {
            let found = keys.found(&reading.chain, shown, docket.block).await;
            orders.insert(hash, Knowledge::Known(Some(found)));
        }
    }
    docket.record.orders = orders;
}

/// Order keys of payers as they stand: what these signed needs no question of its own.
#[derive(Default)]
struct Keys(BTreeMap<Address, Option<Address>>);

impl Keys {
    async fn found(&mut self, chain: &Chain, shown: ShownOrder, block: BlockFact) -> FoundOrder {
        let ShownOrder { order, signature } = shown;
        let digest = order.signing_hash(&domain(chain.place.chain_id, chain.place.contract));
        let key = match self.0.get(&order.payer) {
            Some(key) => *key,
            None => {
                let key = chain
                    .payer(order.payer, block)
                    .await
                    .map(|payer| payer.order_key)
                    .known();
                *self.0.entry(order.payer).or_insert(key)
            }
        };
        let signer = recover(digest, &signature).ok();
        let is_signed = if signer.is_some() && signer == key {
            Knowledge::Known(true)
        } else {
            chain.ever_signed(order.payer, digest, &signature, block).await
        };
        FoundOrder {
            order,
            signature,
            is_signed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_judged_from_its_post_to_its_finality_and_read_for_later_ones() {
        let rules = DisputeRules {
            disputes: Address::ZERO,
            sums: Address::ZERO,
            token: Address::ZERO,
            guarantor: Address::ZERO,
            bond: 1,
            answer_time: 1,
            appeal_time: 1,
            final_end: 3,
            next_sequence: 5,
        };
        let parts = |scope| [2, 3, 4, 5].map(|sequence| part(scope, &rules, sequence));
        let mut scope = Scope {
            settlement: None,
            with_earlier: true,
        };
        assert_eq!(
            parts(scope),
            [Part::Final, Part::Disputable, Part::Disputable, Part::Waiting]
        );
        scope.settlement = Some(4);
        assert_eq!(
            parts(scope),
            [Part::Earlier, Part::Earlier, Part::Disputable, Part::Beside]
        );
        scope.with_earlier = false;
        assert_eq!(
            parts(scope),
            [Part::Beside, Part::Beside, Part::Disputable, Part::Beside]
        );
    }
}
