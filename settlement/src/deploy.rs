//! `deploy-dev`: token and contracts on a development chain, with a funded payer whose order key is authorised and a
//! guarantor, the owner, who has something at stake.

use alloy::network::TransactionBuilder;
use alloy::primitives::aliases::U96;
use alloy::primitives::{Address, Bytes, U256};
use alloy::providers::{DynProvider, Provider};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolConstructor};
use serde::Serialize;

use crate::claim::{CallError, call, connect, send};
use crate::contract::{
    AccessManager, ISpillwayDisputes, Parameters, SpillwayDisputes, SpillwaySettlement, SpillwaySigners, SpillwayStake,
    SpillwaySums, TestToken,
};
use crate::signer::DEVELOPMENT_CHAINS;

/// Headers that the contract remembers: more than 11 hours at one every 10 s.
const RING: u32 = 4096;
/// Wei for the poster's gas.
const POSTER_COINS: u128 = 10_000_000_000_000_000_000;

/// Micro-USD that the guarantor has at stake.
const GUARANTEE_MICRO: u64 = 1_000_000_000;
/// Micro-USD: of a challenger, and of who is at fault.
const BOND_MICRO: u64 = 5_000_000;
const PENALTY_MICRO: u64 = 50_000_000;
/// Hundredths of a per cent: what a challenger gets of what is taken, and what a verdict may take of a stake.
const CHALLENGER_BPS: u16 = 4000;
const VERDICT_CAP_BPS: u16 = 2000;

/// How batches move money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Each batch names what every account pays and earns.
    #[default]
    Ledger,
    /// A batch is roots; payers pay by vouchers, providers claim with a proof.
    Root,
}

impl Mode {
    fn code(self) -> u8 {
        match self {
            Self::Ledger => 0,
            Self::Root => 1,
        }
    }
}

/// What to deploy.
#[derive(Clone, Debug)]
pub struct Plan {
    pub chain_id: u64,
    pub mode: Mode,
    /// Account that may post.
    pub poster: Address,
    pub order_key: Address,
    /// Micro-USD minted for the payer and deposited.
    pub deposit_micro: u64,
    pub cap_per_day_micro: u64,
    /// Unix seconds.
    pub order_key_expiry: u64,
    /// Seconds of one maturity epoch.
    pub window: u64,
    /// Seconds between asking for a deposit back and getting it.
    pub withdraw_delay: u64,
    /// Seconds in which a challenge must be answered; a verdict may be appealed as long.
    pub answer_time: u64,
}

/// What was deployed; printed as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    pub chain_id: u64,
    pub token: Address,
    /// AccessManager that may set the poster and pause; the owner is its administrator, without delay.
    pub authority: Address,
    pub contract: Address,
    pub stake: Address,
    /// Who speaks for a provider, and verifiers: the owner alone.
    pub signers: Address,
    pub sums: Address,
    pub disputes: Address,
    pub owner: Address,
    pub poster: Address,
    pub payer: Address,
    pub order_key: Address,
    pub deposit_micro: u64,
    pub cap_per_day_micro: u64,
    pub order_key_expiry: u64,
    pub window: u64,
    pub withdraw_delay: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error("chain {0} is not a development chain (31337, 1337): the test token is worth nothing anywhere else")]
    NotDevelopment(u64),
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Deploys with `owner`; `payer` mints, deposits and authorises the order key.
///
/// # Errors
/// When the chain is not one for development, or a call fails.
pub async fn deploy(
    rpc_url: &str,
    plan: Plan,
    owner: PrivateKeySigner,
    payer: PrivateKeySigner,
) -> Result<Deployed, DeployError> {
    if !DEVELOPMENT_CHAINS.contains(&plan.chain_id) {
        return Err(DeployError::NotDevelopment(plan.chain_id));
    }
    let (owner_address, payer_address) = (owner.address(), payer.address());
    let endpoint = connect(rpc_url, plan.chain_id, owner).await?;
    let token = create(&endpoint, TestToken::BYTECODE.clone()).await?;
    let authority = create(&endpoint, authority_code(owner_address)).await?;
    let parts = create_parts(&endpoint, &plan, token, authority, owner_address).await?;
    bond(&endpoint, token, parts.stake, owner_address).await?;
    let contract = parts.contract;
    fund_poster(&endpoint, plan.poster).await?;
    pay_in(
        &connect(rpc_url, plan.chain_id, payer).await?,
        &plan,
        token,
        contract,
        payer_address,
    )
    .await?;
    Ok(Deployed {
        chain_id: plan.chain_id,
        token,
        authority,
        contract,
        stake: parts.stake,
        signers: parts.signers,
        sums: parts.sums,
        disputes: parts.disputes,
        owner: owner_address,
        poster: plan.poster,
        payer: payer_address,
        order_key: plan.order_key,
        deposit_micro: plan.deposit_micro,
        cap_per_day_micro: plan.cap_per_day_micro,
        order_key_expiry: plan.order_key_expiry,
        window: plan.window,
        withdraw_delay: plan.withdraw_delay,
    })
}

/// Contracts that know one another.
struct Parts {
    contract: Address,
    stake: Address,
    signers: Address,
    sums: Address,
    disputes: Address,
}

/// The others name the disputes contract before it exists: its address follows from the owner's nonce.
async fn create_parts(
    endpoint: &DynProvider,
    plan: &Plan,
    token: Address,
    authority: Address,
    owner: Address,
) -> Result<Parts, CallError> {
    let disputes = owner.create(endpoint.get_transaction_count(owner).await? + 4);
    let contract = create(endpoint, contract_code(plan, token, authority, disputes)).await?;
    let stake = create(endpoint, stake_code(plan, token, disputes)).await?;
    let sums = create(endpoint, sums_code(contract, disputes)).await?;
    let signers = create(endpoint, signers_code(authority, owner)).await?;
    let its = ISpillwayDisputes::Terms {
        settlement: contract,
        stake,
        sums,
        signers,
        authority,
        guarantor: owner,
        answerTime: plan.answer_time,
        appealTime: plan.answer_time,
        bond: U96::from(BOND_MICRO),
        penalty: U96::from(PENALTY_MICRO),
        challengerBps: CHALLENGER_BPS,
        verdictCapBps: VERDICT_CAP_BPS,
    };
    let code = with_arguments(&SpillwayDisputes::BYTECODE, &SpillwayDisputes::constructorCall { its });
    let disputes = create(endpoint, code).await?;
    Ok(Parts {
        contract,
        stake,
        signers,
        sums,
        disputes,
    })
}

fn with_arguments(bytecode: &Bytes, arguments: &impl SolConstructor) -> Bytes {
    [bytecode.as_ref(), &arguments.abi_encode()].concat().into()
}

fn authority_code(owner: Address) -> Bytes {
    let arguments = AccessManager::constructorCall { initialAdmin: owner };
    with_arguments(&AccessManager::BYTECODE, &arguments)
}

fn contract_code(plan: &Plan, token: Address, authority: Address, disputes: Address) -> Bytes {
    let its = Parameters {
        token,
        authority,
        poster: plan.poster,
        disputes,
        feeRecipient: Address::ZERO,
        mode: plan.mode.code(),
        feeBps: 0,
        ring: RING,
        window: plan.window,
        withdrawDelay: plan.withdraw_delay,
        longestPause: plan.withdraw_delay.saturating_sub(2 * plan.window) / 2,
    };
    let arguments = SpillwaySettlement::constructorCall { its };
    with_arguments(&SpillwaySettlement::BYTECODE, &arguments)
}

fn stake_code(plan: &Plan, token: Address, disputes: Address) -> Bytes {
    let arguments = SpillwayStake::constructorCall {
        token_: token,
        disputes_: disputes,
        // No shorter: a stake must not leave before the last dispute about what it covers has ended.
        unbondDelay_: 2 * plan.window + plan.answer_time,
        tiers_: vec![],
    };
    with_arguments(&SpillwayStake::BYTECODE, &arguments)
}

fn sums_code(settlement: Address, disputes: Address) -> Bytes {
    let arguments = SpillwaySums::constructorCall {
        settlement_: settlement,
        disputes_: disputes,
    };
    with_arguments(&SpillwaySums::BYTECODE, &arguments)
}

fn signers_code(authority: Address, verifier: Address) -> Bytes {
    let arguments = SpillwaySigners::constructorCall {
        authority_: authority,
        threshold_: U256::ONE,
        verifiers: vec![verifier],
    };
    with_arguments(&SpillwaySigners::BYTECODE, &arguments)
}

/// The guarantor's stake.
async fn bond(endpoint: &DynProvider, token: Address, stake: Address, account: Address) -> Result<(), CallError> {
    let amount = U256::from(GUARANTEE_MICRO);
    let mint = TestToken::mintCall { to: account, amount }.abi_encode();
    let approve = TestToken::approveCall {
        spender: stake,
        value: amount,
    }
    .abi_encode();
    let bond = SpillwayStake::bondCall { account, amount }.abi_encode();
    for (to, calldata) in [(token, mint), (token, approve), (stake, bond)] {
        call(endpoint, to, calldata.into()).await?;
    }
    Ok(())
}

async fn create(endpoint: &DynProvider, code: Bytes) -> Result<Address, CallError> {
    let hash = send(endpoint, TransactionRequest::default().into_create().input(code.into())).await?;
    let receipt = endpoint.get_transaction_receipt(hash).await?;
    receipt
        .and_then(|receipt| receipt.contract_address)
        .ok_or(CallError::NothingDeployed(hash))
}

/// A poster that has coins keeps what it has.
async fn fund_poster(endpoint: &DynProvider, poster: Address) -> Result<(), CallError> {
    let coins = U256::from(POSTER_COINS);
    if endpoint.get_balance(poster).await? < coins {
        send(endpoint, TransactionRequest::default().to(poster).value(coins)).await?;
    }
    Ok(())
}

async fn pay_in(
    endpoint: &DynProvider,
    plan: &Plan,
    token: Address,
    contract: Address,
    payer: Address,
) -> Result<(), CallError> {
    let amount = U256::from(plan.deposit_micro);
    let mint = TestToken::mintCall { to: payer, amount }.abi_encode();
    let approve = TestToken::approveCall {
        spender: contract,
        value: amount,
    }
    .abi_encode();
    let deposit = SpillwaySettlement::depositCall { amount }.abi_encode();
    let authorize = SpillwaySettlement::authorizeOrderKeyCall {
        key: plan.order_key,
        capPerDay: U96::from(plan.cap_per_day_micro),
        expiry: plan.order_key_expiry,
    }
    .abi_encode();
    for (to, calldata) in [
        (token, mint),
        (token, approve),
        (contract, deposit),
        (contract, authorize),
    ] {
        call(endpoint, to, calldata.into()).await?;
    }
    Ok(())
}
