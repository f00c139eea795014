//! Do two providers' results of one shard agree?

use spillway_core::results::{self, Comparison};

use super::RESULTS_LIMIT;
use crate::keys;
use crate::store::{HubStore, StoreError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// `method` is `ExactDigest` or `Tolerance`.
    Accepted { method: String },
    /// A fact: the two differ, first at this request.
    Mismatch { custom_id: String, message: String },
    /// The store cannot be asked now.
    Unknown,
}

/// Compares the stored results of two attempts of a shard; both must have been examined as valid before.
pub async fn compare(store: &HubStore, job_uid: &str, shard: u32, work: u16, check: u16) -> Compared {
    let fetch = async |attempt| {
        store
            .get(&keys::attempt_results(job_uid, shard, attempt), RESULTS_LIMIT)
            .await
    };
    match futures::future::try_join(fetch(work), fetch(check)).await {
        Ok((work, check)) => judge(&work, &check),
        Err(error @ (StoreError::NotFound { .. } | StoreError::TooLarge { .. })) => Compared::Mismatch {
            custom_id: String::new(),
            message: error.to_string(),
        },
        Err(error) => {
            tracing::warn!(job_uid, shard, %error, "results cannot be compared now");
            Compared::Unknown
        }
    }
}

fn judge(work: &[u8], check: &[u8]) -> Compared {
    match results::compare(work, check) {
        Comparison::Exact => Compared::Accepted {
            method: "ExactDigest".to_owned(),
        },
        Comparison::WithinTolerance { .. } => Compared::Accepted {
            method: "Tolerance".to_owned(),
        },
        Comparison::Mismatch { custom_id, why } => Compared::Mismatch {
            custom_id,
            message: why,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{dead_store, memory_store};

    fn line(number: f64) -> String {
        let body = serde_json::json!({"data": [{"index": 0, "embedding": [1.0, number]}]});
        let line = results::ResultLine::answered("0", 200, body);
        format!("{}\n", serde_json::to_string(&line).unwrap())
    }

    async fn compared(work: &str, check: &str) -> Compared {
        let store = memory_store();
        for (attempt, results) in [(0, work), (1, check)] {
            store
                .put(&keys::attempt_results("u", 0, attempt), results.to_owned())
                .await
                .unwrap();
        }
        compare(&store, "u", 0, 0, 1).await
    }

    #[tokio::test]
    async fn equal_and_nearly_equal_vectors_agree() {
        let accepted = |method: &str| Compared::Accepted {
            method: method.to_owned(),
        };
        assert_eq!(compared(&line(0.5), &line(0.5)).await, accepted("ExactDigest"));
        assert_eq!(compared(&line(0.5), &line(0.500_001)).await, accepted("Tolerance"));
    }

    #[tokio::test]
    async fn other_vectors_are_a_mismatch_at_their_request() {
        let found = compared(&line(0.5), &line(-0.5)).await;
        assert!(
            matches!(&found, Compared::Mismatch { custom_id, .. } if custom_id == "0"),
            "{found:?}"
        );
    }

    #[tokio::test]
    async fn a_silent_store_decides_nothing() {
        assert_eq!(compare(&dead_store(), "u", 0, 0, 1).await, Compared::Unknown);
    }
}
