//! The set of endpoints: hints fall over to the next one, state needs the same answer from most of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alloy::eips::{BlockId, BlockNumberOrTag};
use alloy::primitives::{Address, B256};
use alloy::providers::DynProvider;
use futures::future::join_all;
use prometheus::{IntCounterVec, Opts, Registry};
use spillway_core::knowledge::Knowledge;
use spillway_crds::SettlementMode;

use super::Place;
use super::archive::Archive;
use super::endpoint::{AskError, Endpoint, Trust, lock};
use super::head::{Floor, Head, block, common_height, is_stale};
use super::identity::{Identity, Pins, StartError};
use super::limiter::Urgency;
use super::send::Refusal;

/// An endpoint's identity is asked again after this, and after every silence: another node may answer now.
const IDENTITY_AGE_MAX: Duration = Duration::from_secs(60);

/// Block that counts as final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Confirm {
    Finalized,
    Safe,
    /// For development chains: a reorg can take it back.
    Latest,
}

impl Confirm {
    pub(super) fn tag(self) -> BlockNumberOrTag {
        match self {
            Self::Finalized => BlockNumberOrTag::Finalized,
            Self::Safe => BlockNumberOrTag::Safe,
            Self::Latest => BlockNumberOrTag::Latest,
        }
    }
}

/// How the chain is reached.
#[derive(Clone, Debug)]
pub struct Reach {
    pub urls: Vec<String>,
    pub confirm: Confirm,
    /// Hash of block 0; `None`: what most endpoints say at the start.
    pub genesis: Option<B256>,
    /// keccak256 of the contract's code; `None`: what most endpoints say at the start.
    pub code_hash: Option<B256>,
    /// Block before which the contract posted nothing.
    pub from_block: u64,
    /// An endpoint whose head is older is not asked; zero: no limit.
    pub head_age_max: Duration,
    /// A head below an earlier one is believed after this.
    pub lag: Duration,
    /// Per endpoint.
    pub requests_per_second: u32,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            urls: vec![],
            confirm: Confirm::Finalized,
            genesis: None,
            code_hash: None,
            from_block: 0,
            head_age_max: Duration::from_secs(600),
            lag: Duration::from_secs(30),
            requests_per_second: 50,
        }
    }
}

impl Reach {
    /// By these addresses, with the defaults.
    pub fn of(urls: &[String], confirm: Confirm) -> Self {
        Self {
            urls: urls.to_vec(),
            confirm,
            ..Self::default()
        }
    }
}

/// The chain as this poster reaches it.
#[derive(Clone, Debug)]
pub struct Chain {
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    pub place: Place,
    pub poster: Address,
    pub(super) reach: Arc<Reach>,
    pins: Arc<Mutex<Option<Pins>>>,
    pub(super) mode: Arc<OnceLock<SettlementMode>>,
    floor: Arc<Mutex<Floor>>,
    pub(super) archive: Arc<tokio::sync::Mutex<Archive>>,
    /// What all endpoints said of the transaction that was sent last.
    pub(super) refused: Arc<Mutex<Option<(B256, Refusal)>>>,
    requests: IntCounterVec,
    disagreements: IntCounterVec,
}

impl Chain {
    /// # Errors
    /// When there is no URL or one is malformed.
    pub fn new(reach: Reach, place: Place, poster: Address) -> Result<Self, StartError> {
        let requests = counter(
            "spillway_settlement_rpc_requests_total",
            "Requests to an endpoint",
            &["endpoint", "outcome"],
        );
        let disagreements = counter(
            "spillway_settlement_rpc_disagreements_total",
            "Answers of an endpoint that differ from what most say at the same block",
            &["endpoint"],
        );
        if reach.urls.is_empty() {
            return Err(StartError::NoEndpoint);
        }
        let made = reach.urls.iter().enumerate();
        let made = made
            .map(|(index, url)| Endpoint::new(index, url, reach.requests_per_second, requests.clone()).map(Arc::new));
        Ok(Self {
            endpoints: made.collect::<Result<_, _>>()?,
            place,
            poster,
            pins: Arc::default(),
            mode: Arc::default(),
            floor: Arc::default(),
            archive: Arc::new(tokio::sync::Mutex::new(Archive::from_block(reach.from_block))),
            reach: Arc::new(reach),
            refused: Arc::default(),
            requests,
            disagreements,
        })
    }

    /// # Errors
    /// When a name is registered twice.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.requests.clone()))?;
        registry.register(Box::new(self.disagreements.clone()))
    }

    /// Holds every endpoint that answers against the settings; more than half must answer.
    ///
    /// # Errors
    /// The first that does not fit, or too few answers.
    pub async fn check(&self) -> Result<(), StartError> {
        let (misfits, answered) = self.identify(true).await;
        match misfits.into_iter().next() {
            Some(misfit) => Err(misfit),
            None if lock(&self.pins).is_none() => Err(StartError::NoQuorum {
                answered,
                asked: self.endpoints.len(),
            }),
            None => Ok(()),
        }
    }

    /// Asks the endpoints that are due who they are, and pins what most of them serve; the misfits and how many answered.
    pub(super) async fn identify(&self, all: bool) -> (Vec<StartError>, usize) {
        let due = |endpoint: &&Arc<Endpoint>| all || is_due(endpoint.trust());
        let asked: Vec<_> = self.endpoints.iter().filter(due).collect();
        let contract = self.place.contract;
        let answers = join_all(asked.iter().map(async |endpoint| {
            let answer = endpoint
                .ask(Urgency::Read, |provider| Identity::ask(provider, contract))
                .await;
            answer
                .inspect_err(|error| tracing::debug!(endpoint = endpoint.index, %error, "cannot be asked who it is"))
                .ok()
        }))
        .await;
        let found: BTreeMap<usize, Identity> = asked
            .iter()
            .zip(answers)
            .filter_map(|(endpoint, answer)| Some((endpoint.index, answer?)))
            .collect();
        self.pin(&found);
        let pins = *lock(&self.pins);
        let (genesis, code_hash) = match pins {
            Some(pins) => (Some(pins.genesis), Some(pins.code_hash)),
            None => (self.reach.genesis, self.reach.code_hash),
        };
        let mut misfits = Vec::new();
        for (index, identity) in &found {
            let misfit = identity.misfit(*index, &self.place, genesis, code_hash);
            let since = Instant::now();
            self.endpoints[*index].set_trust(match (&misfit, pins) {
                (Some(misfit), _) => {
                    tracing::error!(error = %misfit, "an endpoint is left out");
                    Trust::Misfit { since }
                }
                (None, Some(_)) => Trust::Fits { since },
                (None, None) => Trust::Unchecked,
            });
            misfits.extend(misfit);
        }
        (misfits, found.len())
    }

    /// Pins genesis and code once, as most endpoints that fit the settings say.
    fn pin(&self, found: &BTreeMap<usize, Identity>) {
        let mut pins = lock(&self.pins);
        if pins.is_some() {
            return;
        }
        let (genesis, code_hash) = (self.reach.genesis, self.reach.code_hash);
        let fitting = found
            .iter()
            .filter(|(index, identity)| identity.misfit(**index, &self.place, genesis, code_hash).is_none());
        let said = fitting.map(|(_, identity)| identity.pins()).collect();
        *pins = majority(said, self.endpoints.len());
    }

    /// The block at which a view is read.
    pub(super) async fn head(&self) -> Knowledge<Head> {
        self.identify(false).await;
        let latest = self.blocks(|_| true, BlockNumberOrTag::Latest).await;
        let newest = latest.values().map(|head| head.timestamp).max().unwrap_or_default();
        let clock = unix_seconds();
        let fresh: BTreeMap<usize, Head> = latest
            .into_iter()
            .filter(|(index, head)| {
                let stale = is_stale(head, newest, clock, self.reach.head_age_max);
                self.endpoints[*index].set_fresh(!stale);
                !stale
            })
            .collect();
        let heights = fresh.values().map(|head| head.number).collect();
        let Some(height) = common_height(heights, self.endpoints.len()) else {
            tracing::warn!(
                fresh = fresh.len(),
                "fewer than half of the endpoints have a young head"
            );
            return Knowledge::Unknown;
        };
        let reached = |index: usize| fresh.get(&index).is_some_and(|head| head.number >= height);
        let common = self.blocks(reached, BlockNumberOrTag::Number(height)).await;
        let Some(head) = majority(common.into_values().collect(), self.endpoints.len()) else {
            return Knowledge::Unknown;
        };
        if lock(&self.floor).admits(head.number, Instant::now(), self.reach.lag) {
            Knowledge::Known(head)
        } else {
            tracing::warn!(
                height = head.number,
                "the head went back; waiting whether it is a node that lags"
            );
            Knowledge::Unknown
        }
    }

    /// The block as each trusted endpoint knows it.
    async fn blocks(&self, of: impl Fn(usize) -> bool, number: BlockNumberOrTag) -> BTreeMap<usize, Head> {
        let asked = self
            .endpoints
            .iter()
            .filter(|endpoint| matches!(endpoint.trust(), Trust::Fits { .. }) && of(endpoint.index));
        let answers = asked.map(async |endpoint| {
            let ask = |provider| async move { block(&provider, number).await };
            let answer = endpoint.ask(Urgency::Read, ask).await;
            let answer = answer.inspect_err(|error| tracing::debug!(endpoint = endpoint.index, %error, "no block"));
            Some((endpoint.index, answer.ok()?))
        });
        join_all(answers).await.into_iter().flatten().collect()
    }

    /// The highest block that counts as final for most endpoints.
    pub(super) async fn final_height(&self) -> Knowledge<u64> {
        let blocks = self.blocks(|_| true, self.reach.confirm.tag()).await;
        common_height(blocks.values().map(|head| head.number).collect(), self.endpoints.len()).into()
    }

    /// The answer of the first usable endpoint that gives one.
    pub(super) async fn first<T, Answer>(&self, fact: &str, ask: impl Fn(DynProvider) -> Answer) -> Knowledge<T>
    where
        Answer: Future<Output = Result<T, AskError>>,
    {
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.is_usable()) {
            match endpoint.ask(Urgency::Read, &ask).await {
                Ok(value) => return Knowledge::Known(value),
                Err(error) => tracing::warn!(endpoint = endpoint.index, fact, %error, "an endpoint cannot be asked"),
            }
        }
        Knowledge::Unknown
    }

    /// The answers of all usable endpoints.
    pub(super) async fn all<T, Answer>(&self, fact: &str, ask: impl Fn(DynProvider) -> Answer) -> BTreeMap<usize, T>
    where
        Answer: Future<Output = Result<T, AskError>>,
    {
        let usable = self.endpoints.iter().filter(|endpoint| endpoint.is_usable());
        let answers = usable.map(async |endpoint| {
            let answer = endpoint.ask(Urgency::Read, &ask).await;
            let answer = answer.inspect_err(
                |error| tracing::debug!(endpoint = endpoint.index, fact, %error, "an endpoint cannot be asked"),
            );
            Some((endpoint.index, answer.ok()?))
        });
        join_all(answers).await.into_iter().flatten().collect()
    }

    /// The answer that more than half of all endpoints give; one that is silent counts against.
    pub(super) async fn most<T: PartialEq + Clone, Answer>(
        &self,
        fact: &str,
        ask: impl Fn(DynProvider) -> Answer,
    ) -> Knowledge<T>
    where
        Answer: Future<Output = Result<T, AskError>>,
    {
        let answers = self.all(fact, ask).await;
        let most = majority(answers.values().cloned().collect(), self.endpoints.len());
        for (index, answer) in &answers {
            if most.as_ref().is_some_and(|most| most != answer) {
                tracing::warn!(endpoint = index, fact, "an endpoint says something else than most");
                self.disagreements
                    .with_label_values(&[index.to_string().as_str()])
                    .inc();
            }
        }
        most.into()
    }

    /// State at `head`, as most endpoints say.
    pub(super) fn at(head: &Head) -> BlockId {
        BlockId::hash(head.hash)
    }
}

fn is_due(trust: Trust) -> bool {
    match trust {
        Trust::Unchecked => true,
        Trust::Fits { since } | Trust::Misfit { since } => since.elapsed() > IDENTITY_AGE_MAX,
    }
}

/// The system's clock; a head is only ever compared with it.
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

fn counter(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    #[allow(clippy::expect_used, reason = "fixed names and labels")]
    IntCounterVec::new(Opts::new(name, help), labels).expect("a valid metric")
}

fn majority<T: PartialEq>(mut answers: Vec<T>, asked: usize) -> Option<T> {
    let enough = |candidate: &T| answers.iter().filter(|answer| *answer == candidate).count() * 2 > asked;
    let index = answers.iter().position(enough)?;
    Some(answers.swap_remove(index))
}

#[cfg(test)]
mod tests {
    use super::majority;

    #[test]
    fn state_needs_more_than_half_of_all_endpoints() {
        assert_eq!(majority(vec![1], 1), Some(1));
        assert_eq!(majority(vec![1, 2], 2), None);
        assert_eq!(majority(vec![1, 2, 2], 3), Some(2));
        assert_eq!(majority(vec![1], 2), None, "a silent endpoint counts against");
        assert_eq!(majority(Vec::<u8>::new(), 1), None);
    }
}
