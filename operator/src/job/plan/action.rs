//! What a plan asks `apply` to do. Every action may be repeated: a second run finds it done.

use std::fmt;
use std::time::Duration;

use spillway_crds::{AttemptState, InferenceJobStatus};

use super::candidates::CandidatesRecord;

/// The whole outcome of one planning pass.
#[derive(Clone, Debug, PartialEq)]
pub struct JobPlan {
    pub status: InferenceJobStatus,
    pub actions: Vec<Action>,
    pub requeue_after: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    AddFinalizer,
    RemoveFinalizer,
    /// As somebody with kubectl would; the finalizer then sees to the rest.
    DeleteJob,
    /// Cut the inline input and write shards and manifest into the hub store.
    SplitInline,
    CreateSplitter,
    CreatePublisher,
    /// Join the accepted results inside the hub store, for jobs without an output store.
    PublishInHub,
    /// Pod and Secret of the splitter.
    DeleteSplitter,
    /// Pod and Secret of the publisher.
    DeletePublisher,
    /// Store why attempts are pinned to their nodes.
    StoreCandidates(Box<CandidatesRecord>),
    CreatePod {
        shard: u32,
        attempt: u16,
    },
    DeletePod {
        name: String,
        uid: String,
        resource_version: String,
        why: String,
    },
    /// Show the attempt's state in the hub pod's status.
    MirrorPod {
        shard: u32,
        attempt: u16,
        state: AttemptState,
    },
    /// Hand the attempt to the provider; node and price are already written in the status.
    CreateAssignment {
        shard: u32,
        attempt: u16,
    },
    DeleteAssignment {
        namespace: String,
        name: String,
        uid: String,
    },
    /// Take our finalizer off an assignment of which nothing is left.
    ReleaseAssignment {
        namespace: String,
        name: String,
        uid: String,
    },
    /// Store order, receipt and signatures (accepted), and count the verdict for the provider.
    RecordVerdict {
        shard: u32,
        attempt: u16,
        accepted: bool,
    },
    /// Delete everything of the job in the hub store but its receipts.
    DeleteStored,
    Event {
        warning: bool,
        reason: String,
        note: String,
    },
}

impl Action {
    /// Whether it may run beside others of its kind: it touches one attempt alone.
    pub fn runs_abreast(&self) -> bool {
        matches!(
            self,
            Self::StoreCandidates(_)
                | Self::CreatePod { .. }
                | Self::DeletePod { .. }
                | Self::MirrorPod { .. }
                | Self::CreateAssignment { .. }
                | Self::DeleteAssignment { .. }
                | Self::ReleaseAssignment { .. }
                | Self::RecordVerdict { .. }
        )
    }

    /// Whether it must be done before the status is written: the status then states a thing that is true.
    pub fn precedes_status(&self) -> bool {
        matches!(
            self,
            Self::AddFinalizer | Self::StoreCandidates(_) | Self::RecordVerdict { .. }
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddFinalizer => formatter.write_str("add finalizer"),
            Self::RemoveFinalizer => formatter.write_str("remove finalizer"),
            Self::DeleteJob => formatter.write_str("delete job"),
            Self::SplitInline => formatter.write_str("split inline input"),
            Self::CreateSplitter => formatter.write_str("create splitter"),
            Self::CreatePublisher => formatter.write_str("create publisher"),
            Self::PublishInHub => formatter.write_str("publish in hub store"),
            Self::DeleteSplitter => formatter.write_str("delete splitter"),
            Self::DeletePublisher => formatter.write_str("delete publisher"),
            Self::StoreCandidates(record) => write!(formatter, "store candidates {}", record.name()),
            Self::CreatePod { shard, attempt } => write!(formatter, "create pod {shard}/{attempt}"),
            Self::DeletePod { name, why, .. } => write!(formatter, "delete pod {name}: {why}"),
            Self::MirrorPod { shard, attempt, state } => write!(formatter, "mirror {state:?} to pod {shard}/{attempt}"),
            Self::CreateAssignment { shard, attempt } => write!(formatter, "create assignment {shard}/{attempt}"),
            Self::DeleteAssignment { name, .. } => write!(formatter, "delete assignment {name}"),
            Self::ReleaseAssignment { name, .. } => write!(formatter, "release assignment {name}"),
            Self::RecordVerdict {
                shard,
                attempt,
                accepted,
            } => {
                let verdict = if *accepted { "accepted" } else { "rejected" };
                write!(formatter, "record verdict {shard}/{attempt}: {verdict}")
            }
            Self::DeleteStored => formatter.write_str("delete stored objects"),
            Self::Event { warning, reason, note } => {
                let kind = if *warning { "Warning" } else { "Normal" };
                write!(formatter, "event {kind} {reason}: {note}")
            }
        }
    }
}
