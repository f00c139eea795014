//! Reads the ledgers, in the order that the comparison needs.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use spillway_core::knowledge::Knowledge;
use spillway_core::reconcile::{Document, Ledgers, SealedBatch};
use spillway_crds::money::{accepted_receipts, id_of, sealed_batch};
use spillway_crds::{InferenceJob, Settlement, SpendPolicy, spend_policy_condition};

use super::documents::Documents;
use crate::chain::{Books, Chain};

/// A job's status, and a Settlement's calldata, may have hundreds of KiB.
const PER_PAGE: u32 = 50;

/// What is asked.
#[derive(Debug)]
pub struct Reading {
    jobs: Api<InferenceJob>,
    settlements: Api<Settlement>,
    policies: Api<SpendPolicy>,
    chain: Chain,
    documents: Option<Documents>,
}

impl Reading {
    /// `namespace` is where Settlements live.
    pub fn new(client: Client, namespace: &str, chain: Chain, documents: Option<Documents>) -> Self {
        Self {
            jobs: Api::all(client.clone()),
            settlements: Api::namespaced(client.clone(), namespace),
            policies: Api::all(client),
            chain,
            documents,
        }
    }
}

/// The chain first, then Settlements, jobs, documents. Leaves documents of Settlements that were final before
/// `documents_since` are not read.
pub async fn gather(
    reading: &Reading,
    books: &mut Books,
    documents_since: Option<Timestamp>,
    now: Timestamp,
) -> Ledgers {
    let mut ledgers = Ledgers {
        now: u64::try_from(now.as_second()).unwrap_or_default(),
        chain: reading.chain.ledger(books).await,
        ..Ledgers::default()
    };
    let mut wanted = Vec::new();
    let mut sealed: Vec<SealedBatch> = Vec::new();
    let read = pages(&reading.settlements, |settlement: Settlement| {
        match sealed_batch(&settlement) {
            Ok(batch) => {
                if is_wanted(&settlement, documents_since) {
                    wanted.push((
                        settlement.spec.sequence,
                        settlement.spec.data_key.clone(),
                        batch.data_hash,
                    ));
                }
                sealed.push(batch);
            }
            // The API server keeps specs as they were sealed; the poster fails such a one with the same words.
            Err(error) => tracing::error!(sequence = settlement.spec.sequence, %error, "a Settlement cannot be read"),
        }
    })
    .await;
    ledgers.settlements = read.then_known(sealed);
    jobs(reading, &mut ledgers).await;
    held_payers(reading, &mut ledgers).await;
    ledgers.documents = documents(reading, wanted).await;
    ledgers
}

fn is_wanted(settlement: &Settlement, since: Option<Timestamp>) -> bool {
    let status = settlement.status.as_ref();
    let is_gone = status.is_some_and(|status| status.leaves_deleted_at.is_some());
    let finalized = status.and_then(|status| status.finalized_at.as_ref());
    let is_old = |since: Timestamp| finalized.is_some_and(|time| time.0 < since);
    !is_gone && !since.is_some_and(is_old)
}

async fn jobs(reading: &Reading, ledgers: &mut Ledgers) {
    let mut receipts = Vec::new();
    let read = pages(&reading.jobs, |job: InferenceJob| {
        ledgers.jobs.insert(id_of(&job));
        match accepted_receipts(&job) {
            Ok(accepted) => receipts.extend(accepted),
            Err(error) => {
                // Its leaves are judged no more.
                ledgers.jobs.remove(&id_of(&job));
                tracing::error!(job = job.metadata.name, %error, "the receipts of a job cannot be read");
            }
        }
    })
    .await;
    ledgers.receipts = read.then_known(receipts);
}

/// Payers whose attempts wait for them, as their SpendPolicies say.
async fn held_payers(reading: &Reading, ledgers: &mut Ledgers) {
    let mut held = std::collections::BTreeSet::new();
    let read = pages(&reading.policies, |policy: SpendPolicy| {
        let conditions = policy.status.iter().flat_map(|status| &status.conditions);
        let mut payable = conditions.filter(|one| one.type_ == spend_policy_condition::PAYABLE);
        if payable.any(|one| one.status == "False") {
            held.extend(policy.spec.payer.parse::<Address>());
        }
    })
    .await;
    if !read.0 {
        // Who is waited for is not known, so nobody's waiting is judged.
        let receipts = ledgers.receipts.as_ref().known().into_iter().flatten();
        held.extend(receipts.map(|receipt| receipt.leaf.payer));
    }
    ledgers.held_payers = held;
}

async fn documents(
    reading: &Reading,
    wanted: Vec<(u64, String, alloy::primitives::B256)>,
) -> BTreeMap<u64, Knowledge<Document>> {
    let mut read = BTreeMap::new();
    if let Some(documents) = &reading.documents {
        for (sequence, key, data_hash) in wanted {
            read.insert(sequence, documents.read(&key, data_hash).await);
        }
    }
    read
}

/// Whether all pages were read.
struct Read(bool);

impl Read {
    fn then_known<T>(self, value: T) -> Knowledge<T> {
        if self.0 {
            Knowledge::Known(value)
        } else {
            Knowledge::Unknown
        }
    }
}

/// Pages of one snapshot, each object handed on and forgotten.
async fn pages<K>(api: &Api<K>, mut each: impl FnMut(K)) -> Read
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut page = ListParams::default().limit(PER_PAGE);
    loop {
        let listed = match api.list(&page).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::warn!(%error, "the API server cannot be asked");
                return Read(false);
            }
        };
        listed.items.into_iter().for_each(&mut each);
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Read(true),
        }
    }
}
