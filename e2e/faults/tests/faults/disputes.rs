//! Bad batches, really posted: what `kubectl spillway dispute` runs finds each offence, and the contracts take its proof.

use alloy::primitives::aliases::U96;
use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use spillway_core::batch::{Leaf, LeavesDocument, Sealed, entry_parts, jobs_root, ledger_hash, seal};
use spillway_core::offence::{Offence, OffenceKind};
use spillway_crds::StoredReceipt;
use spillway_e2e_control_plane::ControlPlane;
use spillway_e2e_faults::ground::{DEPOSIT, Ground, PROVIDER};
use spillway_e2e_faults::node::CHAIN_ID;
use spillway_e2e_faults::ordered::{Ordered, Store, endow, uid};
use spillway_e2e_faults::world::ANSWER_TIME;
use spillway_settlement::chain::{BlockFact, Chain, Fault, Filed, Stage};
use spillway_settlement::claim::CallError;
use spillway_settlement::contract::{SpillwaySettlement, SpillwayStake};
use spillway_settlement::disputes::{
    Answer, Docket, FileError, Finding, Findings, Lack, Opened, Reading, Scope, approve, examine, file, gather, lack,
    resolve,
};

const AMOUNT: u64 = 100;
/// Above PROVIDER, as the tree's order has it.
const OTHER: Address = Address::repeat_byte(0xc0);

/// An auditor: what the command is to whoever runs it.
struct Auditor<'a> {
    ground: &'a Ground<'a>,
    store: &'a Store,
    chain: Chain,
    signer: PrivateKeySigner,
}

impl<'a> Auditor<'a> {
    async fn new(ground: &'a Ground<'a>, store: &'a Store) -> Self {
        Self {
            ground,
            store,
            chain: ground.world.reached([&ground.world.anvil.url]),
            signer: ground.world.anvil.account().await,
        }
    }

    async fn docket(&self) -> Docket {
        let documents = self.store.documents();
        let client = self.ground.client.clone();
        let reading = Reading::new(client, &self.ground.namespace, self.chain.clone(), documents);
        let scope = Scope {
            settlement: None,
            with_earlier: true,
        };
        gather(&reading, scope).await.unwrap()
    }

    async fn find(&self) -> Findings {
        examine(&self.chain, &self.docket().await).await
    }

    async fn only(&self) -> Finding {
        let found = self.find().await;
        assert_eq!(found.unknown, [""; 0]);
        let [finding] = <[Finding; 1]>::try_from(found.findings).unwrap();
        finding
    }

    async fn file(&self, finding: &Finding) -> Result<Opened, CallError> {
        let url = &self.ground.world.anvil.url;
        file(url, CHAIN_ID, self.signer.clone(), &finding.proof).await
    }

    async fn block(&self) -> BlockFact {
        self.chain.common_block().await.known().unwrap()
    }

    async fn dispute(&self, id: u64) -> Filed {
        let block = self.block().await;
        let disputes = self.ground.world.deployed.disputes;
        self.chain.dispute(disputes, id, block).await.known().unwrap()
    }

    async fn resolve(&self, filed: &Filed) -> Result<B256, FileError> {
        let (url, block) = (&self.ground.world.anvil.url, self.block().await);
        let rules = self.docket().await.rules;
        resolve(url, CHAIN_ID, self.signer.clone(), &rules, filed, block.time).await
    }

    /// Micro-USD that the payer has deposited.
    async fn deposit(&self) -> u128 {
        let world = &self.ground.world;
        world.balances(world.deployed.payer).await.deposit
    }

    /// Micro-USD of the guarantor that a proof can take.
    async fn guarantee(&self) -> U256 {
        let world = &self.ground.world;
        let stake = SpillwayStake::new(world.deployed.stake, &world.anvil.provider);
        stake.slashable(world.deployed.owner).call().await.unwrap()
    }
}

fn line(job: u64, shard: u32, provider: Address) -> Ordered {
    Ordered {
        job,
        shard,
        attempt: 0,
        provider,
        amount: AMOUNT,
        upper_bound: AMOUNT,
        is_signed: true,
    }
}

/// Publishes and posts, as the poster's key does.
async fn post(ground: &Ground<'_>, store: &Store, sealed: &Sealed) {
    ground.publish(store, sealed).await;
    assert!(ground.world.post_unlogged(sealed).await);
}

fn sealed(ground: &Ground<'_>, sequence: u64, previous: B256, leaves: Vec<Leaf>) -> Sealed {
    seal(CHAIN_ID, ground.world.deployed.contract, sequence, previous, leaves).unwrap()
}

pub(crate) async fn an_honest_batch_yields_nothing(plane: &ControlPlane) {
    let (ground, store) = (Ground::new(plane).await, Store::default());
    let first = ground.seal_ordered(&store, 1, B256::ZERO, 3, AMOUNT).await;
    assert!(ground.world.post_unlogged(&first).await);
    ground.seal_ordered(&store, 2, first.header_hash, 2, AMOUNT).await;
    let auditor = Auditor::new(&ground, &store).await;
    let docket = auditor.docket().await;
    assert_eq!((docket.record.batches.len(), &docket.waiting[..]), (1, &[2][..]));
    assert_eq!(examine(&auditor.chain, &docket).await, Findings::default());

    // A document that is gone is no offence and no innocence either.
    store.lose(&format!("settlements/{}.json", first.header.dataHash)).await;
    let found = auditor.find().await;
    assert_eq!((found.findings.len(), found.unknown.len()), (0, 1), "{found:?}");
}

pub(crate) async fn a_line_without_an_order_is_found_challenged_and_void(plane: &ControlPlane) {
    let (ground, store) = (Ground::new(plane).await, Store::default());
    let batch = ground.seal_ordered(&store, 1, B256::ZERO, 2, AMOUNT).await;
    assert!(ground.world.post_unlogged(&batch).await);
    store.lose(&StoredReceipt::key(&uid(1), batch.leaves[1].shard, 0)).await;

    let auditor = Auditor::new(&ground, &store).await;
    let finding = auditor.only().await;
    assert_eq!(
        (
            finding.offence.kind(),
            finding.offence.at().unwrap().line,
            &finding.answer
        ),
        (OffenceKind::MissingOrder, 1, &Answer::Taken)
    );
    let (sender, docket) = (auditor.signer.address(), auditor.docket().await);
    let purse = auditor
        .chain
        .purse(sender, &docket.rules, docket.block)
        .await
        .known()
        .unwrap();
    let lacks = lack(purse, finding.proof.bond, &docket.rules, sender);
    assert!(matches!(lacks, Some(Lack::Tokens { balance: 0, .. })), "{lacks:?}");
    let poor = auditor.file(&finding).await;
    assert!(
        matches!(&poor, Err(CallError::Reverts(revert)) if revert.reason == "BondNotApproved"),
        "{poor:?}"
    );

    endow(&ground.world, sender).await;
    // Exactly one bond from now on.
    approve(&ground.world.anvil.url, CHAIN_ID, auditor.signer.clone(), &docket.rules)
        .await
        .unwrap();
    let opened = auditor.file(&finding).await.unwrap();
    assert_eq!(opened.dispute, Some(0));
    assert_eq!(auditor.only().await.answer, Answer::Raised);
    let filed = auditor.dispute(0).await;
    assert_eq!(
        (filed.fault, filed.stage, Some(filed.at)),
        (Fault::MissingOrder, Stage::Open, finding.offence.at())
    );
    assert_eq!(opened.deadline, Some(filed.deadline));
    let early = auditor.resolve(&filed).await;
    assert!(matches!(early, Err(FileError::TooEarly { .. })), "{early:?}");

    ground.world.anvil.pass_time(ANSWER_TIME).await;
    auditor.resolve(&filed).await.unwrap();
    let filed = auditor.dispute(0).await;
    assert_eq!(filed.stage, Stage::Proven);
    assert!(matches!(auditor.resolve(&filed).await, Err(FileError::NotOpen { .. })));
    assert_eq!(
        auditor.deposit().await,
        u128::from(DEPOSIT - AMOUNT),
        "one of two lines is given back"
    );
    assert_eq!(auditor.guarantee().await, U256::from(950_000_000_u64));
}

/// A key that the payer has replaced since still signed what it signed.
pub(crate) async fn an_order_that_no_key_of_its_payer_signed_is_found(plane: &ControlPlane) {
    let (ground, store) = (Ground::new(plane).await, Store::default());
    let unsigned = Ordered {
        is_signed: false,
        ..line(1, 1, PROVIDER)
    };
    let leaves = ground.order(&store, [line(1, 0, PROVIDER), unsigned]).await;
    post(&ground, &store, &sealed(&ground, 1, B256::ZERO, leaves)).await;
    let replace = SpillwaySettlement::authorizeOrderKeyCall {
        key: Address::repeat_byte(7),
        capPerDay: U96::from(1),
        expiry: 4_000_000_000,
    };
    let (payer, contract) = (ground.world.deployed.payer, ground.world.deployed.contract);
    assert!(ground.world.send_as(payer, contract, replace.abi_encode().into()).await);
    let finding = Auditor::new(&ground, &store).await.only().await;
    assert!(
        matches!(finding.offence, Offence::MissingOrder { at, is_unsigned: true, .. } if at.line == 1),
        "{finding:?}"
    );
    assert_eq!(finding.answer, Answer::Taken);
}

pub(crate) async fn a_line_beyond_its_order_is_found_and_proven(plane: &ControlPlane) {
    let (ground, store) = (Ground::new(plane).await, Store::default());
    let beyond = Ordered {
        upper_bound: AMOUNT - 40,
        ..line(1, 1, PROVIDER)
    };
    let leaves = ground.order(&store, [line(1, 0, PROVIDER), beyond]).await;
    post(&ground, &store, &sealed(&ground, 1, B256::ZERO, leaves)).await;
    let auditor = Auditor::new(&ground, &store).await;
    let finding = auditor.only().await;
    assert!(
        matches!(finding.offence, Offence::ExceededOrder { at, refund_micro: 40, .. } if at.line == 1),
        "{finding:?}"
    );
    let opened = auditor.file(&finding).await.unwrap();
    assert_eq!(opened.dispute, None, "one step is all");
    assert_eq!(auditor.deposit().await, u128::from(DEPOSIT - 2 * AMOUNT + 40));
    assert_eq!(auditor.only().await.answer, Answer::Raised);
    let again = auditor.file(&finding).await;
    assert!(
        matches!(&again, Err(CallError::Reverts(revert)) if revert.reason == "AlreadyRaised"),
        "{again:?}"
    );
}

/// The second time in a batch of its own, by another attempt that was ordered too.
pub(crate) async fn a_shard_paid_again_is_found_and_proven(plane: &ControlPlane) {
    let (ground, store) = (Ground::new(plane).await, Store::default());
    let leaves = ground.order(&store, [line(1, 0, PROVIDER), line(1, 1, PROVIDER)]).await;
    let first = sealed(&ground, 1, B256::ZERO, leaves);
    post(&ground, &store, &first).await;
    let again = Ordered {
        attempt: 1,
        ..line(1, 1, OTHER)
    };
    let leaves = ground.order(&store, [line(2, 0, PROVIDER), again]).await;
    post(&ground, &store, &sealed(&ground, 2, first.header_hash, leaves)).await;

    let auditor = Auditor::new(&ground, &store).await;
    let finding = auditor.only().await;
    let Offence::Duplicate { at, first, .. } = finding.offence else {
        panic!("{finding:?}")
    };
    assert_eq!((at.settlement, at.line, first.settlement, first.line), (2, 1, 1, 1));
    auditor.file(&finding).await.unwrap();
    assert_eq!(
        auditor.deposit().await,
        u128::from(DEPOSIT - 3 * AMOUNT),
        "the second payment is given back"
    );
    assert_eq!(auditor.only().await.answer, Answer::Raised);
}

/// Hashes again what a poster changed to its taste.
fn forged(ground: &Ground<'_>, mut sealed: Sealed, forge: impl FnOnce(&mut Sealed)) -> Sealed {
    let contract = ground.world.deployed.contract;
    forge(&mut sealed);
    let Sealed {
        header,
        leaves,
        document,
        debits,
        credits,
        ..
    } = &mut sealed;
    let written = LeavesDocument::new(CHAIN_ID, contract, header.sequence, header.previous, leaves);
    *document = written.to_bytes().unwrap();
    header.jobsRoot = jobs_root(leaves).unwrap();
    header.ledgerHash = ledger_hash(debits, credits);
    header.dataHash = keccak256(document);
    sealed.header_hash = header.hash(CHAIN_ID, contract);
    sealed
}

/// More, or with a negative number less, for the account of this entry.
fn change(entry: &mut B256, by: i64) {
    let (account, amount) = entry_parts(*entry);
    *entry = packed(account, u64::try_from(amount).unwrap().checked_add_signed(by).unwrap());
}

fn packed(account: Address, amount: u64) -> B256 {
    let mut entry = B256::ZERO;
    entry[..20].copy_from_slice(account.as_slice());
    entry[24..].copy_from_slice(&amount.to_be_bytes());
    entry
}

/// Five batches, each broken in its own way. A broken one stops the poster: all are posted before the first proof.
async fn post_broken(ground: &Ground<'_>, store: &Store) {
    let forgeries: [fn(&mut Sealed); 5] = [
        |batch| batch.leaves.swap(0, 1),
        |batch| batch.header.count -= 1,
        |batch| {
            change(&mut batch.credits[0], -30);
            change(&mut batch.credits[1], 30);
        },
        |batch| {
            change(&mut batch.credits[1], -30);
            batch.credits.push(packed(Address::repeat_byte(0xd0), 30));
        },
        |batch| {
            batch.header.total += 20;
            change(&mut batch.debits[0], 20);
            change(&mut batch.credits[0], 20);
        },
    ];
    let mut previous = B256::ZERO;
    for (sequence, forge) in (1..).zip(forgeries) {
        let lines = [
            line(sequence, 0, PROVIDER),
            line(sequence, 1, PROVIDER),
            line(sequence, 2, OTHER),
        ];
        let leaves = ground.order(store, lines).await;
        let batch = forged(ground, sealed(ground, sequence, previous, leaves), forge);
        post(ground, store, &batch).await;
        previous = batch.header_hash;
    }
}

pub(crate) async fn each_sum_that_breaks_is_found_and_proven(plane: &ControlPlane) {
    use OffenceKind::{CreditWithoutLine, ExcessCredit, ExcessDebit, WrongCredit, WrongLeaf, WrongNeighbours};

    let (ground, store) = (Ground::new(plane).await, Store::default());
    post_broken(&ground, &store).await;
    let auditor = Auditor::new(&ground, &store).await;
    let found = auditor.find().await;
    assert_eq!(found.unknown, [""; 0]);
    let of = |settlement| {
        let its = found
            .findings
            .iter()
            .filter(|one| one.offence.settlement() == settlement);
        its.map(|one| one.offence.kind()).collect::<Vec<_>>()
    };
    assert_eq!(of(1), [WrongNeighbours]);
    assert_eq!(of(2), [WrongLeaf]);
    assert_eq!(of(3), [WrongCredit, WrongCredit, ExcessCredit]);
    assert_eq!(of(4), [WrongCredit, CreditWithoutLine, ExcessCredit]);
    assert_eq!(of(5), [WrongLeaf, WrongCredit, ExcessCredit, ExcessDebit]);
    for finding in &found.findings {
        // What an earlier proof did not say already.
        assert_eq!(finding.answer, Answer::Taken, "{finding:?}");
        let outcome = auditor.file(finding).await;
        let is_raised = matches!(&outcome, Err(CallError::Reverts(revert)) if revert.reason == "AlreadyRaised");
        assert!(outcome.is_ok() || is_raised, "{finding:?}: {outcome:?}");
    }
    let after = auditor.find().await;
    assert_eq!(after.unknown, [""; 0]);
    assert!(
        after.findings.iter().all(|one| one.answer == Answer::Raised),
        "{after:?}"
    );

    let deposit = u128::from(DEPOSIT - 5 * 3 * AMOUNT);
    assert_eq!(
        auditor.deposit().await,
        deposit,
        "the guarantor gave back what was debited too much"
    );
    // A penalty for each batch, and the excess.
    assert_eq!(
        auditor.guarantee().await,
        U256::from(1_000_000_000_u64 - 5 * 50_000_000 - 20)
    );
    let contract = SpillwaySettlement::new(ground.world.deployed.contract, &ground.world.anvil.provider);
    assert_eq!(contract.brokenFrom().call().await.unwrap(), 1);
    let pending = ground.world.balances(OTHER).await.pending;
    assert_eq!(
        pending,
        u128::from(5 * AMOUNT - 30),
        "what was credited too much is taken back"
    );
}
