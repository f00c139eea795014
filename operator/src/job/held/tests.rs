//! GPUs held never exceed GPUs offered, whatever the watch shows when.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const NAMESPACE: &str = "spillway-provider-acme";

fn name(name: &str) -> AssignmentName {
    (NAMESPACE.to_owned(), name.to_owned())
}

fn host(host: &str) -> Host {
    (NAMESPACE.to_owned(), host.to_owned())
}

fn counted(held: &Held, on: &str) -> u32 {
    held.inner().counted(&host(on))
}

fn assignment(name: &str, host: &str, gpus: u32, state: &str) -> SlimAssignment {
    assignment_in(NAMESPACE, name, host, gpus, state)
}

pub(in crate::job) fn assignment_in(namespace: &str, name: &str, host: &str, gpus: u32, state: &str) -> SlimAssignment {
    let object = json!({
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "job": {"namespace": "team-a", "name": "job", "uid": "uid"}, "shard": 0, "attempt": 0,
            "host": host, "gpus": gpus, "notAfter": "2026-01-01T00:00:00Z",
        },
        "status": {"state": state},
    });
    serde_json::from_value(object).unwrap()
}

#[test]
fn the_last_gpu_is_given_once() {
    let held = Held::default();
    assert!(held.reserve(name("a"), host("h"), 1, 2));
    assert!(held.reserve(name("b"), host("h"), 1, 2));
    assert!(!held.reserve(name("c"), host("h"), 1, 2));
    assert!(held.reserve(name("a"), host("h"), 1, 2), "the same assignment again");
    assert!(held.reserve(name("c"), host("other"), 1, 2));
    held.release(&name("a"));
    assert!(held.reserve(name("d"), host("h"), 1, 2));
    assert_eq!(counted(&held, "h"), 2);
}

#[test]
fn the_watch_has_the_last_word() {
    let held = Held::default();
    assert!(held.reserve(name("a"), host("h"), 1, 1));
    assert!(!held.was_written(&name("a")), "it may be asked for again");
    held.written(&name("a"));
    assert!(held.was_written(&name("a")));
    assert_eq!((counted(&held, "h"), held.seen(&host("h"))), (1, 0));
    assert!(!held.has_seen(&name("a")) && held.take_changed().is_empty());
    held.note(&Event::Apply(assignment("a", "h", 1, "Running")));
    assert_eq!((counted(&held, "h"), held.seen(&host("h"))), (1, 1));
    assert!(held.has_seen(&name("a")));
    assert_eq!(held.take_changed(), [(host("h"), 1)]);
    held.release(&name("a"));
    assert_eq!(counted(&held, "h"), 1, "what was seen is not released by us");
    held.note(&Event::Apply(assignment("a", "h", 1, "Completed")));
    assert_eq!(counted(&held, "h"), 0, "an ended assignment holds nothing");
    held.note(&Event::Delete(assignment("a", "h", 1, "Completed")));
    assert!(!held.has_seen(&name("a")));
    assert_eq!(held.seen(&host("h")), 0);
}

#[test]
fn a_relist_forgets_what_is_gone_and_keeps_what_is_on_its_way() {
    let held = Held::default();
    held.note(&Event::Apply(assignment("gone", "h", 1, "Running")));
    assert!(held.reserve(name("before"), host("h"), 1, 9));
    held.written(&name("before"));
    assert!(held.reserve(name("asked"), host("h"), 1, 9));
    held.note(&Event::Init);
    assert!(held.reserve(name("after"), host("h"), 1, 9));
    held.written(&name("after"));
    held.note(&Event::InitApply(assignment("listed", "h", 2, "Pending")));
    assert_eq!(counted(&held, "h"), 6, "nothing is forgotten before the list is whole");
    held.note(&Event::InitDone);
    assert_eq!(counted(&held, "h"), 4);
    let is_counted = |one: &str| held.inner().entries.contains_key(&name(one));
    assert!(is_counted("asked") && is_counted("after") && is_counted("listed"));
    assert!(!is_counted("gone") && !is_counted("before"));
}

#[test]
fn what_was_never_written_is_given_up() {
    let held = Held::default();
    assert!(held.reserve(name("a"), host("h"), 1, 1));
    held.written(&name("a"));
    let later = Instant::now() + UNSEEN_PATIENCE * 2;
    held.inner().give_up_unseen(later);
    assert_eq!(counted(&held, "h"), 0);
}

/// What may happen to one of a few assignments.
#[derive(Clone, Debug)]
enum Move {
    Reserve(u8, u8),
    Written(u8),
    Refused(u8),
    Shown(u8),
    Ended(u8),
    Deleted(u8),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0u8..12, 0u8..3).prop_map(|(one, host)| Move::Reserve(one, host)),
        2 => (0u8..12).prop_map(Move::Written),
        1 => (0u8..12).prop_map(Move::Refused),
        2 => (0u8..12).prop_map(Move::Shown),
        1 => (0u8..12).prop_map(Move::Ended),
        1 => (0u8..12).prop_map(Move::Deleted),
    ]
}

proptest! {
    /// The API server as a map: what was written and not deleted. S4 holds for it at every step.
    #[test]
    fn never_more_gpus_than_offered(moves in prop::collection::vec(moves(), 1..120)) {
        const OFFERED: u32 = 2;
        let held = Held::default();
        let mut asked = HashMap::<u8, u8>::new();
        let mut written = HashMap::<u8, (u8, bool)>::new();
        for next in moves {
            match next {
                Move::Reserve(one, to) => {
                    let free = !asked.contains_key(&one) && !written.contains_key(&one);
                    if free && held.reserve(name(&one.to_string()), host(&to.to_string()), 1, OFFERED) {
                        asked.insert(one, to);
                    }
                }
                Move::Written(one) => {
                    if let Some(to) = asked.remove(&one) {
                        written.insert(one, (to, true));
                        held.written(&name(&one.to_string()));
                    }
                }
                Move::Refused(one) => {
                    if asked.remove(&one).is_some() {
                        held.release(&name(&one.to_string()));
                    }
                }
                Move::Shown(one) => {
                    if let Some((to, lives)) = written.get(&one) {
                        let state = if *lives { "Running" } else { "Completed" };
                        held.note(&Event::Apply(assignment(&one.to_string(), &to.to_string(), 1, state)));
                    }
                }
                Move::Ended(one) => {
                    if let Some((_, lives)) = written.get_mut(&one) {
                        *lives = false;
                    }
                }
                Move::Deleted(one) => {
                    if let Some((to, _)) = written.remove(&one) {
                        held.note(&Event::Delete(assignment(&one.to_string(), &to.to_string(), 1, "Gone")));
                    }
                }
            }
            for to in 0u8..3 {
                let real = written.values().filter(|(at, lives)| *at == to && *lives).count();
                let counted = counted(&held, &to.to_string());
                prop_assert!(u32::try_from(real).unwrap() <= counted && counted <= OFFERED);
            }
        }
    }
}
