//! The fault suite: every test by name, on one API server for the whole run. `README.md` says what they stand on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by panic"
)]

mod disputes;
mod orders;
mod posting;
mod rows_of_crashes;
mod rows_of_endpoints;
mod rows_of_keys;
mod rows_of_reorganisations;
mod rows_of_transactions;
mod whole;

use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use spillway_e2e_control_plane::ControlPlane;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// What all tests share; the API server is started by the first that needs it and ends with the run.
struct Stage {
    runtime: Runtime,
    plane: OnceCell<ControlPlane>,
}

impl Stage {
    async fn plane(&self) -> &ControlPlane {
        self.plane
            .get_or_init(|| async { ControlPlane::start().await.unwrap() })
            .await
    }
}

/// Tests of the chain half take nothing, tests of the whole poster the API server.
macro_rules! trials {
    ($stage:ident, chain: [$($chain:path),* $(,)?], whole: [$($whole:path),* $(,)?] $(,)?) => {
        vec![
            $({
                let stage = $stage.clone();
                Trial::test(name(stringify!($chain)), move || {
                    stage.runtime.block_on($chain());
                    Ok(())
                })
            },)*
            $({
                let stage = $stage.clone();
                Trial::test(name(stringify!($whole)), move || {
                    stage.runtime.block_on(async { $whole(stage.plane().await).await });
                    Ok(())
                })
            },)*
        ]
    };
}

fn name(path: &str) -> String {
    path.rsplit("::").next().unwrap_or(path).trim().to_owned()
}

fn main() {
    spillway_process::install_crypto_provider();
    if std::env::var_os("RUST_LOG").is_some() {
        spillway_process::init_telemetry();
    }
    let stage = Arc::new(Stage {
        runtime: Runtime::new().unwrap(),
        plane: OnceCell::new(),
    });
    let trials = trials!(
        stage,
        chain: [
            rows_of_transactions::row_06_mined_and_reverted,
            rows_of_transactions::row_07_nonce_gap,
            rows_of_transactions::row_07_a_post_that_would_revert_is_cancelled,
            rows_of_keys::row_08_key_used_elsewhere,
            rows_of_transactions::row_09_stuck_and_fee_spike,
            rows_of_transactions::row_10_replacement_underpriced,
            rows_of_transactions::row_11_blob_and_normal_transactions_conflict,
            rows_of_transactions::row_12_mempool_eviction,
            rows_of_reorganisations::row_13_reorg_before_finality_at_each_depth,
            rows_of_reorganisations::row_13_reorg_before_inclusion,
            rows_of_reorganisations::row_14_reorg_after_confirmed,
            rows_of_endpoints::row_15_lagging_and_flapping_head,
            rows_of_endpoints::row_16_lying_endpoint,
            rows_of_endpoints::row_18_another_chain_behind_the_address,
            rows_of_keys::row_19_key_rotation,
            rows_of_keys::row_20_empty_purse,
            rows_of_endpoints::row_21_rate_limit,
            rows_of_endpoints::row_22_failover_while_sending,
            rows_of_endpoints::row_23_estimate_reverts_after_the_earlier_copy_landed,
            rows_of_keys::row_25_contract_migrated,
            rows_of_keys::row_25_contract_paused,
            rows_of_endpoints::row_26_clock_skew_and_suspend,
            rows_of_keys::row_27_delegated_key,
            posting::batches_are_posted_in_turn_and_paid_after_finality_and_maturity,
            posting::the_same_batch_again_changes_nothing_on_chain,
            posting::a_typed_revert_is_told_and_cured_by_the_next_day,
            posting::settings_that_do_not_fit_the_chain_are_refused,
        ],
        whole: [
            rows_of_crashes::row_01_crash_before_sign,
            rows_of_crashes::row_02_crash_after_sign_before_save,
            rows_of_crashes::row_03_saved_crash_before_send,
            rows_of_crashes::row_04_sent_crash_before_record,
            rows_of_crashes::row_05_lost_replies,
            rows_of_crashes::row_17_two_posters_at_once,
            rows_of_crashes::row_24_restored_old_backup,
            rows_of_crashes::every_write_is_an_edge_that_a_crash_survives,
            whole::every_transaction_is_in_the_log_before_it_leaves,
            whole::a_poster_that_dies_while_it_sends_is_followed_by_one_that_sends_the_same_bytes,
            whole::the_posters_rights_end_at_the_status_of_settlements,
            whole::converged_means_no_writes,
            orders::a_challenged_line_is_answered_from_the_store,
            orders::an_answer_that_a_reorganisation_takes_back_is_given_again,
            orders::a_place_in_the_pay_root_is_shown_or_the_batch_is_broken,
            orders::a_line_without_an_order_is_void_and_told,
            orders::what_a_revoked_key_ordered_is_held_and_paid,
            orders::what_a_leaving_payer_ordered_is_held_back,
            orders::the_rights_of_who_shows_orders_end_at_a_condition,
            disputes::an_honest_batch_yields_nothing,
            disputes::a_line_without_an_order_is_found_challenged_and_void,
            disputes::an_order_that_no_key_of_its_payer_signed_is_found,
            disputes::a_line_beyond_its_order_is_found_and_proven,
            disputes::a_shard_paid_again_is_found_and_proven,
            disputes::each_sum_that_breaks_is_found_and_proven,
        ],
    );
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    // `exit` runs no destructors: the servers would stay.
    drop(stage);
    conclusion.exit();
}
