//! `settlement/contracts/vectors.json`, made by the contract itself: both sides agree to the byte.

use std::fmt::Debug;
use std::str::FromStr;

use alloy_primitives::{Address, B256, hex};
use alloy_sol_types::Eip712Domain;
use serde_json::Value;

use crate::batch::{Header, Leaf, Voucher, jobs_proofs, jobs_root, ledger_hash};
use crate::order::{Order, domain};
use crate::receipt::Receipt;
use crate::signature;
use crate::sum_tree::{self, Account, SumTree};

pub(crate) fn vectors() -> Value {
    serde_json::from_str(include_str!("../../settlement/contracts/vectors.json")).unwrap()
}

fn parse<T: FromStr<Err: Debug>>(value: &Value, field: &str) -> T {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} is missing in {value}"))
        .parse()
        .unwrap()
}

fn words(value: &Value) -> Vec<B256> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap().parse().unwrap())
        .collect()
}

pub(crate) fn vector_domain() -> Eip712Domain {
    let domain_vector = &vectors()["domain"];
    domain(
        parse(domain_vector, "chainId"),
        parse(domain_vector, "verifyingContract"),
    )
}

pub(crate) fn order(index: usize) -> Order {
    let it = &vectors()["orders"][index];
    Order {
        job: parse(it, "job"),
        shard: parse(it, "shard"),
        attempt: parse(it, "attempt"),
        kind: parse(it, "kind"),
        payer: parse(it, "payer"),
        provider: parse(it, "provider"),
        unitPrice: parse(it, "unitPrice"),
        upperBound: parse(it, "upperBound"),
        expiry: parse(it, "expiry"),
    }
}

pub(crate) fn receipt(index: usize) -> Receipt {
    let it = &vectors()["receipts"][index];
    Receipt {
        order: parse(it, "order"),
        inputDigest: parse(it, "inputDigest"),
        outputDigest: parse(it, "outputDigest"),
        started: parse(it, "started"),
        finished: parse(it, "finished"),
        meteredMillis: parse(it, "meteredMillis"),
        promptTokens: parse(it, "promptTokens"),
        completionTokens: parse(it, "completionTokens"),
    }
}

/// Signature and signer of a vector in `list`.
pub(crate) fn signed(list: &str, index: usize) -> (Vec<u8>, Address) {
    let it = &vectors()[list][index];
    (
        hex::decode(it["signature"].as_str().unwrap()).unwrap(),
        parse(it, "signer"),
    )
}

fn leaf(it: &Value) -> Leaf {
    Leaf {
        job: parse(it, "job"),
        shard: parse(it, "shard"),
        attempt: parse(it, "attempt"),
        kind: parse(it, "kind"),
        payer: parse(it, "payer"),
        provider: parse(it, "provider"),
        amount: parse(it, "amount"),
        order: parse(it, "order"),
        receipt: parse(it, "receipt"),
    }
}

pub(crate) fn leaves() -> Vec<Leaf> {
    vectors()["leaves"].as_array().unwrap().iter().map(leaf).collect()
}

#[test]
fn orders_agree() {
    let domain = vector_domain();
    for (index, it) in vectors()["orders"].as_array().unwrap().iter().enumerate() {
        let (order, (signature, signer)) = (order(index), signed("orders", index));
        assert_eq!(order.hash(), parse::<B256>(it, "structHash"));
        assert_eq!(order.signing_hash(&domain), parse::<B256>(it, "digest"));
        assert_eq!(order.recover(&domain, &signature), Ok(signer));
    }
}

#[test]
fn receipts_agree() {
    let domain = vector_domain();
    for (index, it) in vectors()["receipts"].as_array().unwrap().iter().enumerate() {
        let (receipt, (signature, signer)) = (receipt(index), signed("receipts", index));
        assert_eq!(receipt.hash(), parse::<B256>(it, "structHash"));
        assert_eq!(receipt.signing_hash(&domain), parse::<B256>(it, "digest"));
        assert_eq!(receipt.recover(&domain, &signature), Ok(signer));
    }
}

#[test]
fn leaves_agree_and_their_order_too() {
    for (leaf, it) in leaves().iter().zip(vectors()["leaves"].as_array().unwrap()) {
        assert_eq!(leaf.hash(), parse::<B256>(it, "leafHash"));
    }
    assert!(leaves().is_sorted_by_key(Leaf::sort_key));
}

#[test]
fn trees_and_proofs_agree() {
    let leaves = leaves();
    for tree in vectors()["trees"].as_array().unwrap() {
        let leaves = &leaves[..parse::<usize>(tree, "count")];
        assert_eq!(jobs_root(leaves), Some(parse(tree, "root")));
        let proofs = jobs_proofs(leaves).unwrap();
        for (index, proof) in tree["proofs"].as_object().unwrap() {
            assert_eq!(proofs[index.parse::<usize>().unwrap()], words(proof));
        }
    }
}

#[test]
fn vouchers_agree() {
    let domain = vector_domain();
    for (index, it) in vectors()["vouchers"].as_array().unwrap().iter().enumerate() {
        let voucher = Voucher {
            payer: parse(it, "payer"),
            sequence: parse(it, "sequence"),
            cumulative: parse(it, "cumulative"),
        };
        let (signature, signer) = signed("vouchers", index);
        assert_eq!(voucher.hash(), parse::<B256>(it, "structHash"));
        assert_eq!(voucher.signing_hash(&domain), parse::<B256>(it, "digest"));
        assert_eq!(
            signature::recover(voucher.signing_hash(&domain), &signature),
            Ok(signer)
        );
    }
}

#[test]
fn sum_trees_agree() {
    for it in vectors()["sumTrees"].as_array().unwrap() {
        let accounts: Vec<Account> = it["accounts"].as_array().unwrap().iter().map(account).collect();
        let of = |account: &Account| (account.account, account.cumulative);
        let tree = SumTree::new(accounts.iter().map(of).collect()).unwrap();
        assert_eq!((tree.root(), tree.total()), (parse(it, "root"), parse(it, "total")));
        for (index, proof) in it["proofs"].as_object().unwrap() {
            let account = &accounts[index.parse::<usize>().unwrap()];
            assert_eq!(tree.proof(account.account), Some((account.cumulative, words(proof))));
            assert!(sum_tree::verify(tree.root(), tree.total(), account, &words(proof)));
        }
    }
}

fn account(it: &Value) -> Account {
    let account = Account {
        account: parse(it, "account"),
        cumulative: parse(it, "cumulative"),
    };
    assert_eq!(account.hash(), parse::<B256>(it, "leafHash"));
    account
}

#[test]
fn ledgers_agree() {
    for ledger in vectors()["ledgers"].as_array().unwrap() {
        let hash = ledger_hash(&words(&ledger["debits"]), &words(&ledger["credits"]));
        assert_eq!(hash, parse::<B256>(ledger, "ledgerHash"));
    }
}

#[test]
fn headers_agree() {
    let vectors = vectors();
    let (chain, contract) = (
        parse(&vectors["domain"], "chainId"),
        parse::<Address>(&vectors["domain"], "verifyingContract"),
    );
    for it in vectors["headers"].as_array().unwrap() {
        let header = Header {
            sequence: parse(it, "sequence"),
            count: parse(it, "count"),
            total: parse(it, "total"),
            cumulative: parse(it, "cumulative"),
            previous: parse(it, "previous"),
            jobsRoot: parse(it, "jobsRoot"),
            payRoot: parse(it, "payRoot"),
            spendRoot: parse(it, "spendRoot"),
            ledgerHash: parse(it, "ledgerHash"),
            dataHash: parse(it, "dataHash"),
        };
        assert_eq!(header.hash(chain, contract), parse::<B256>(it, "headerHash"));
    }
}
