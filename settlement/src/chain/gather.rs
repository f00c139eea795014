//! Gathers a [`ChainView`]: all state at one block, which is chosen first; receipts and pool are newer or equal.

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::{Filter, Log, TransactionReceipt, TransactionRequest};
use alloy::sol_types::SolEvent;
use spillway_core::knowledge::Knowledge;
use spillway_crds::{SettlementSpec, SettlementStatus, TransactionAttempt};

use super::endpoint::read;
use super::{AskError, Chain, ChainView, Diagnosis, Head, Inclusion, Simulation};
use crate::advance::Batch;
use crate::contract::{Revert, SpillwaySettlement};
use crate::transaction::Fees;

/// How far back the Posted event of a batch that the ring holds is looked for.
const EVENT_BLOCKS: u64 = 10_000;
/// Code of an account that is delegated by EIP-7702: this, and an address.
const DELEGATION: [u8; 3] = [0xef, 0x01, 0x00];

impl Chain {
    /// Asks for what a step of this Settlement needs; a spec that cannot be read asks for nothing.
    pub async fn view(&self, spec: &SettlementSpec, status: &SettlementStatus) -> ChainView {
        let Ok(batch) = Batch::of(spec) else {
            return ChainView::default();
        };
        let Knowledge::Known(head) = self.head().await else {
            return ChainView::default();
        };
        let posted = self.header_at(spec.sequence, Self::at(&head)).await;
        let view = ChainView {
            head: Knowledge::Known(head),
            posted,
            receipts: self.receipts(status).await,
            ..ChainView::default()
        };
        if posted == Knowledge::Known(batch.header_hash) {
            self.view_of_posted(view, spec.sequence, batch.header_hash, &head).await
        } else {
            let view = self.view_of_missing(view, spec.sequence, status, &head).await;
            self.view_of_call(view, status, &batch.destination.calldata, &head)
                .await
        }
    }

    async fn view_of_posted(&self, view: ChainView, sequence: u64, header_hash: B256, head: &Head) -> ChainView {
        let is_ours =
            |receipt: &Knowledge<Option<Inclusion>>| matches!(receipt, Knowledge::Known(Some(one)) if one.succeeded);
        // The event is asked only when none of our receipts can say which transaction posted it.
        let event = match view.receipts.iter().filter(|receipt| is_ours(receipt)).count() {
            1 => Knowledge::Unknown,
            _ => self.event(sequence, header_hash, head).await,
        };
        ChainView {
            posted_safe: self.header_at(sequence, BlockId::safe()).await,
            posted_final: self.final_header(sequence).await,
            event,
            ..view
        }
    }

    async fn view_of_missing(
        &self,
        view: ChainView,
        sequence: u64,
        status: &SettlementStatus,
        head: &Head,
    ) -> ChainView {
        let (poster, block) = (self.poster, Self::at(head));
        let last = status.attempts.last();
        let next_sequence = self.next_sequence(block).await;
        let is_forgotten = view.posted == Knowledge::Known(B256::ZERO)
            && matches!(next_sequence, Knowledge::Known(next) if next > sequence);
        ChainView {
            posted_final: self.final_header(sequence).await,
            next_sequence,
            archived: match is_forgotten {
                true => self.archived(sequence).await,
                false => Knowledge::Unknown,
            },
            nonce: self.nonce(poster, block).await,
            last_signers_nonce: match last.and_then(|last| other_signer(last, poster)) {
                Some(other) => self.nonce(other, block).await,
                None => Knowledge::Unknown,
            },
            may_post: self.may_post(block).await,
            is_delegated: self
                .first("code", |provider| is_delegated(provider, poster, block))
                .await,
            in_pool: self.in_pool(last).await,
            refusal: last.and_then(hash).and_then(|hash| self.refusal(hash)),
            fees: self.first("fees", market_fees).await,
            balance: self.balance_at(block).await,
            ..view
        }
    }

    /// What the call would do, and why the newest one that was mined reverted.
    async fn view_of_call(
        &self,
        view: ChainView,
        status: &SettlementStatus,
        calldata: &Bytes,
        head: &Head,
    ) -> ChainView {
        let request = TransactionRequest::default()
            .from(self.poster)
            .to(self.place.contract)
            .input(calldata.clone().into());
        let block = Self::at(head);
        let simulation = self
            .first("simulation", |provider| simulate(provider, request.clone(), block))
            .await;
        let reverted = status.attempts.iter().zip(&view.receipts).rev();
        let mut reverted = reverted.filter(|(attempt, _)| !attempt.cancels);
        let reverted = reverted.find_map(|(attempt, receipt)| match receipt {
            Knowledge::Known(Some(inclusion)) if !inclusion.succeeded => Some((attempt.gas_limit, inclusion.clone())),
            _ => None,
        });
        let diagnosis = match reverted {
            None => Knowledge::Known(None),
            Some((gas, inclusion)) => {
                let request = request.gas_limit(gas);
                self.first("revert", |provider| {
                    diagnose(provider, request.clone(), gas, inclusion.clone())
                })
                .await
            }
        };
        ChainView {
            simulation,
            diagnosis,
            ..view
        }
    }

    pub(super) async fn header_at(&self, sequence: u64, block: BlockId) -> Knowledge<B256> {
        let contract = self.place.contract;
        self.most("header", |provider| header_hash_at(provider, contract, sequence, block))
            .await
    }

    async fn final_header(&self, sequence: u64) -> Knowledge<B256> {
        self.header_at(sequence, BlockId::Number(self.reach.confirm.tag()))
            .await
    }

    async fn nonce(&self, account: Address, block: BlockId) -> Knowledge<u64> {
        self.most("nonce", |provider| async move {
            Ok(provider.get_transaction_count(account).block_id(block).await?)
        })
        .await
    }

    async fn may_post(&self, block: BlockId) -> Knowledge<bool> {
        let (contract, ours) = (self.place.contract, self.poster);
        self.most("poster", |provider| async move {
            let poster = read(&provider, contract, SpillwaySettlement::posterCall {}, block).await?;
            Ok(poster == ours)
        })
        .await
    }

    async fn balance_at(&self, block: BlockId) -> Knowledge<u128> {
        let poster = self.poster;
        self.first("balance", |provider| async move {
            let wei = provider.get_balance(poster).block_id(block).await?;
            // More than 2^128 wei do not exist; saturating is enough to compare.
            Ok(u128::try_from(wei).unwrap_or(u128::MAX))
        })
        .await
    }

    /// Wei of the poster's account, and the sequence that the contract expects.
    pub async fn standing(&self) -> (Knowledge<u128>, Knowledge<u64>) {
        let Knowledge::Known(head) = self.head().await else {
            return (Knowledge::Unknown, Knowledge::Unknown);
        };
        let block = Self::at(&head);
        (self.balance_at(block).await, self.next_sequence(block).await)
    }

    async fn next_sequence(&self, block: BlockId) -> Knowledge<u64> {
        let contract = self.place.contract;
        self.most("next sequence", |provider| async move {
            read(&provider, contract, SpillwaySettlement::nextSequenceCall {}, block).await
        })
        .await
    }

    async fn receipts(&self, status: &SettlementStatus) -> Vec<Knowledge<Option<Inclusion>>> {
        let mut receipts = Vec::new();
        for attempt in &status.attempts {
            receipts.push(match hash(attempt) {
                Some(hash) => self.receipt(hash).await,
                None => Knowledge::Known(None),
            });
        }
        receipts
    }

    /// Whether any endpoint knows the transaction.
    async fn in_pool(&self, last: Option<&TransactionAttempt>) -> Knowledge<bool> {
        let Some(hash) = last.and_then(hash) else {
            return Knowledge::Unknown;
        };
        let answers = self
            .all("pool", |provider| async move {
                Ok(provider.get_transaction_by_hash(hash).await?.is_some())
            })
            .await;
        match answers.is_empty() {
            true => Knowledge::Unknown,
            false => Knowledge::Known(answers.into_values().any(|is_there| is_there)),
        }
    }

    async fn event(&self, sequence: u64, header_hash: B256, head: &Head) -> Knowledge<Option<Inclusion>> {
        let filter = Filter::new()
            .address(self.place.contract)
            .event_signature(SpillwaySettlement::Posted::SIGNATURE_HASH)
            .topic1(U256::from(sequence))
            .topic2(header_hash)
            .from_block(head.number.saturating_sub(EVENT_BLOCKS).max(self.reach.from_block))
            .to_block(head.number);
        self.first("event", |provider| {
            let filter = filter.clone();
            async move { Ok(provider.get_logs(&filter).await?.iter().find_map(logged)) }
        })
        .await
    }
}

fn hash(attempt: &TransactionAttempt) -> Option<B256> {
    attempt.hash.parse().ok()
}

fn other_signer(attempt: &TransactionAttempt, poster: Address) -> Option<Address> {
    let from = attempt.from.as_ref()?.parse().ok()?;
    (from != poster).then_some(from)
}

/// Empty data at an old block means that the contract was not there yet; at the head, that it is not there at all.
async fn header_hash_at(
    provider: DynProvider,
    contract: Address,
    sequence: u64,
    block: BlockId,
) -> Result<B256, AskError> {
    let call = SpillwaySettlement::headerHashAtCall { sequence };
    match read(&provider, contract, call, block).await {
        Err(AskError::NoContract) if matches!(block, BlockId::Number(_)) => Ok(B256::ZERO),
        answer => answer,
    }
}

async fn is_delegated(provider: DynProvider, account: Address, block: BlockId) -> Result<bool, AskError> {
    let code = provider.get_code_at(account).block_id(block).await?;
    Ok(code.starts_with(&DELEGATION))
}

async fn market_fees(provider: DynProvider) -> Result<Fees, AskError> {
    let estimate = provider.estimate_eip1559_fees().await?;
    Ok(Fees {
        max_fee_per_gas: estimate.max_fee_per_gas,
        max_priority_fee_per_gas: estimate.max_priority_fee_per_gas,
    })
}

pub(super) async fn receipt(provider: DynProvider, hash: B256) -> Result<Option<Inclusion>, AskError> {
    Ok(provider
        .get_transaction_receipt(hash)
        .await?
        .and_then(|receipt| included(&receipt)))
}

fn included(receipt: &TransactionReceipt) -> Option<Inclusion> {
    Some(Inclusion {
        transaction: receipt.transaction_hash,
        block_hash: receipt.block_hash?,
        block_number: receipt.block_number?,
        succeeded: receipt.inner.status(),
        gas_used: Some(receipt.gas_used),
    })
}

pub(super) fn logged(log: &Log) -> Option<Inclusion> {
    Some(Inclusion {
        transaction: log.transaction_hash?,
        block_hash: log.block_hash?,
        block_number: log.block_number?,
        succeeded: true,
        gas_used: None,
    })
}

/// At the head of the view, not at the pending block: there our own waiting transaction would make this one a repeat.
async fn simulate(provider: DynProvider, request: TransactionRequest, block: BlockId) -> Result<Simulation, AskError> {
    match provider.estimate_gas(request).block(block).await {
        Ok(gas) => Ok(Simulation::Succeeds { gas }),
        Err(error) => match error.as_error_resp() {
            Some(answer) if answer.message.contains("revert") => Ok(Simulation::Reverts(Revert::decode(
                &answer.as_revert_data().unwrap_or_default(),
            ))),
            _ => Err(error.into()),
        },
    }
}

/// The mined call again, at the end of its block.
async fn diagnose(
    provider: DynProvider,
    request: TransactionRequest,
    gas_limit: u64,
    inclusion: Inclusion,
) -> Result<Option<Diagnosis>, AskError> {
    // A call that runs out deep inside leaves its caller a 64th (EIP-150).
    let ran_out = inclusion
        .gas_used
        .is_some_and(|used| used.saturating_add(gas_limit / 32) >= gas_limit);
    match provider.call(request).block(BlockId::hash(inclusion.block_hash)).await {
        Ok(_) if ran_out => Ok(Some(Diagnosis::OutOfGas)),
        Ok(_) => Ok(Some(Diagnosis::Cured)),
        Err(error) => match error.as_error_resp() {
            Some(answer) if answer.message.to_lowercase().contains("gas") => Ok(Some(Diagnosis::OutOfGas)),
            Some(answer) if answer.message.contains("revert") => {
                let revert = Revert::decode(&answer.as_revert_data().unwrap_or_default());
                Ok(Some(if ran_out && revert.reason == "Unknown" {
                    Diagnosis::OutOfGas
                } else {
                    Diagnosis::Reverts(revert)
                }))
            }
            _ => Err(error.into()),
        },
    }
}
