//! The short mix: every fault a few times, by the same code as at length. `make test` runs it.

use crate::faults::{ALL, Fault};
use crate::results::Outcome;
use crate::try_one;

async fn keeps(id: &str) {
    let fault: &Fault = ALL.iter().find(|fault| fault.id == id).expect("a fault of that name");
    let seed = tradepost_tests::load::seed();
    match try_one(fault, fault.short, true, seed, None).await.unwrap() {
        Outcome::Kept => {}
        Outcome::Skipped { because } => eprintln!("{id} was skipped: {because}"),
        Outcome::Broken { violations } => panic!("{id}: {violations:#?}"),
    }
}

macro_rules! short {
    ($($name:ident: $id:literal;)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            keeps($id).await;
        })+

        #[test]
        fn every_fault_is_in_the_mix() {
            let (here, all) = ([$($id),+], ALL.iter().map(|fault| fault.id).collect::<Vec<_>>());
            assert_eq!(here.to_vec(), all);
        }
    };
}

short! {
    f01_a_killed_server: "F1";
    f02_a_server_killed_at_each_step: "F2";
    f03_a_killed_postgres: "F3";
    f04_power_loss: "F4";
    f05_a_wiped_nats: "F5";
    f06_a_killed_nats: "F6";
    f07_processes_that_stand_still: "F7";
    f08_a_cut_network: "F8";
    f09_lost_replies_to_commits: "F9";
    f10_a_full_disk: "F10";
    f11_a_clock_that_jumps: "F11";
    f12_deliveries_that_lie: "F12";
    f13_poison: "F13";
    f14_a_killed_rebuild: "F14";
    f15_slow_sockets: "F15";
    f16_leaving_clients: "F16";
    f17_one_key_at_once: "F17";
    f18_bidders_and_buyers_at_once: "F18";
    f19_a_terminated_server: "F19";
    f20_a_restored_backup: "F20";
    f21_altered_bytes: "F21";
}
