//! What an account decides.

use uuid::Uuid;

use chrono::{TimeZone, Utc};

use super::*;
use crate::testing::given;

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const BOB: AccountId = AccountId(Uuid::from_u128(2));

fn sealed(of: AccountId, text: &str) -> Sealed<String> {
    Sealed::from_ciphertext(of, text.to_owned())
}

fn identity(of: AccountId) -> Identity {
    Identity { email: sealed(of, "email"), user_name: sealed(of, "name"), password_hash: Some(sealed(of, "hash")) }
}

fn registered() -> Event {
    Event::AccountRegistered { identity: identity(ANN), capabilities: BTreeSet::from([Capability::Buy]) }
}

fn grant(capabilities: impl IntoIterator<Item = Capability>) -> Command {
    Command::Grant { capabilities: capabilities.into_iter().collect(), by: Granter::Operator, reason: None }
}

fn blocked_after(violations: usize) -> Event {
    Event::AccountBlocked { violations, by: None, reason: None }
}

fn why() -> Sealed<String> {
    sealed(ANN, "why")
}

fn reinstate() -> Command {
    Command::Reinstate { by: Granter::Account(BOB), reason: Some(why()) }
}

fn order(number: u128) -> OrderId {
    OrderId(Uuid::from_u128(number))
}

fn violate(number: u128) -> Command {
    Command::RecordViolation { order: order(number) }
}

#[test]
fn a_newcomer_is_registered_once() {
    let register =
        || Command::Register { account: ANN, identity: identity(ANN), capabilities: BTreeSet::from([Capability::Buy]) };
    given::<Account>([]).when(register()).then([registered()]);
    given::<Account>([registered()]).when(register()).then_refused(Error::AlreadyRegistered);
}

#[test]
fn fields_sealed_for_somebody_else_are_refused() {
    let foreign = Command::Register { account: ANN, identity: identity(BOB), capabilities: BTreeSet::new() };
    given::<Account>([]).when(foreign).then_refused(Error::SealedForAnother);
    let changes = ProfileChanges { phone: Some(sealed(BOB, "phone")), ..ProfileChanges::default() };
    given::<Account>([registered()]).when(Command::ChangeProfile { changes }).then_refused(Error::SealedForAnother);
}

#[test]
fn another_public_name_is_the_accounts_from_then_on() {
    let name = sealed(ANN, "other name");
    let changes = ProfileChanges { user_name: Some(name.clone()), ..ProfileChanges::default() };
    let renamed = given::<Account>([registered()]).and(Command::ChangeProfile { changes });
    assert_eq!(renamed.state().registered().unwrap().identity.user_name, name);
    let changes = ProfileChanges { user_name: Some(sealed(BOB, "name")), ..ProfileChanges::default() };
    renamed.when(Command::ChangeProfile { changes }).then_refused(Error::SealedForAnother);
}

#[test]
fn only_new_capabilities_are_granted() {
    given::<Account>([registered()]).when(grant([Capability::Buy, Capability::Staff])).then([
        Event::CapabilitiesGranted {
            capabilities: BTreeSet::from([Capability::Staff]),
            by: Granter::Operator,
            reason: None,
        },
    ]);
    given::<Account>([registered()]).when(grant([Capability::Buy])).then_nothing();
    given::<Account>([]).when(grant([Capability::Buy])).then_refused(Error::NotRegistered);
}

#[test]
fn an_account_may_do_what_it_was_granted_and_nothing_else() {
    let staff = given::<Account>([registered()]).and(grant([Capability::Staff]));
    assert_eq!(staff.state().require(Capability::Staff), Ok(()));
    let missing = Error::MissingCapability { needed: Capability::Admin };
    assert_eq!(staff.state().require(Capability::Admin), Err(missing));
    assert_eq!(Account::default().require(Capability::Buy), Err(Error::NotRegistered));
}

#[test]
fn the_third_order_that_was_won_and_not_paid_blocks_and_the_same_order_counts_once() {
    let twice = || given::<Account>([registered()]).and(violate(1)).and(violate(2)).and(violate(2));
    assert_eq!(twice().state().require(Capability::Buy), Ok(()));
    let third = Event::ViolationRecorded { order: order(3), violations: 3 };
    twice().when(violate(3)).then([third, blocked_after(3)]);
    let blocked = twice().and(violate(3));
    assert_eq!(blocked.state().require(Capability::Buy), Err(Error::Blocked { violations: 3 }));
    blocked.when(violate(1)).then_nothing();
}

#[test]
fn an_empty_change_changes_nothing() {
    let change = Command::ChangeProfile { changes: ProfileChanges::default() };
    given::<Account>([registered()]).when(change).then_nothing();
}

const MORNING: i64 = 1_700_000_000;

fn at(second: i64) -> Timestamp {
    Utc.timestamp_opt(MORNING + second, 0).unwrap()
}

fn session(number: u128) -> SessionId {
    SessionId(Uuid::from_u128(number))
}

/// Asked at `second`, and good for a hundred.
fn challenge(number: u128, email: &str, second: i64) -> Challenge {
    let (asked_at, expires_at) = (at(second), at(second + 100));
    Challenge { id: ChallengeId(Uuid::from_u128(number)), email: sealed(ANN, email), asked_at, expires_at }
}

fn ask_email(number: u128, email: &str, second: i64) -> Command {
    Command::ChallengeEmail { challenge: challenge(number, email, second) }
}

fn answer_email(number: u128, second: i64) -> Command {
    Command::VerifyEmail { challenge: ChallengeId(Uuid::from_u128(number)), now: at(second) }
}

fn ask_password(number: u128, second: i64) -> Command {
    Command::ChallengePassword { challenge: challenge(number, "email", second) }
}

fn reset(number: u128, second: i64) -> Command {
    let password_hash = sealed(ANN, "new");
    Command::ResetPassword { challenge: ChallengeId(Uuid::from_u128(number)), password_hash, now: at(second) }
}

fn change(from: Option<&str>, to: &str) -> Command {
    let replacing = from.map(|hash| sealed(ANN, hash));
    Command::ChangePassword { replacing, password_hash: sealed(ANN, to), session: session(1) }
}

fn verified(email: &str) -> Event {
    Event::EmailVerified { email: sealed(ANN, email) }
}

fn changed(hash: &str, by: SetBy) -> Event {
    Event::PasswordChanged { password_hash: Some(sealed(ANN, hash)), by }
}

fn revoked(spared: Option<SessionId>) -> Event {
    Event::SessionsRevoked { spared }
}

#[test]
fn an_address_is_verified_by_the_answer_to_the_last_question_in_time() {
    let asked = || given::<Account>([registered()]).and(ask_email(1, "email", 0));
    asked().when(answer_email(1, 99)).then([verified("email")]);
    asked().when(answer_email(1, 100)).then_refused(Error::WrongAnswer);
    asked().when(answer_email(2, 1)).then_refused(Error::WrongAnswer);
    asked().and(answer_email(1, 1)).when(answer_email(1, 2)).then_refused(Error::WrongAnswer);
    asked().and(ask_email(2, "email", 60)).when(answer_email(1, 61)).then_refused(Error::WrongAnswer);
}

#[test]
fn an_address_changes_once_the_new_mailbox_has_answered_and_not_before() {
    let asked = given::<Account>([registered()]).and(ask_email(1, "new", 0));
    assert_eq!(asked.state().registered().unwrap().identity.email, sealed(ANN, "email"));
    let answered = asked.and(answer_email(1, 1));
    let account = answered.state().registered().unwrap();
    assert_eq!((&account.identity.email, account.email_verified), (&sealed(ANN, "new"), true));
}

#[test]
fn a_mailbox_is_not_asked_again_within_a_minute() {
    let again_at = at(60);
    let asked = || given::<Account>([registered()]).and(ask_email(1, "email", 0)).and(ask_password(2, 0));
    asked().when(ask_email(3, "email", 59)).then_refused(Error::AskedAMomentAgo { again_at });
    asked().when(ask_email(3, "email", 60)).then([Event::EmailChallenged { challenge: challenge(3, "email", 60) }]);
    // Whoever asks for a password is nobody in particular, and is told nothing.
    asked().when(ask_password(3, 59)).then_nothing();
    asked().when(ask_password(3, 60)).then([Event::PasswordChallenged { challenge: challenge(3, "email", 60) }]);
}

#[test]
fn whoever_reads_the_mailbox_sets_a_password_once_and_ends_every_session() {
    let asked = || given::<Account>([registered()]).and(ask_password(1, 0));
    let all = [verified("email"), changed("new", SetBy::Mailbox), revoked(None)];
    asked().when(reset(1, 99)).then(all);
    asked().when(reset(1, 100)).then_refused(Error::WrongAnswer);
    asked().and(reset(1, 1)).when(reset(1, 2)).then_refused(Error::WrongAnswer);
}

#[test]
fn a_password_asked_for_at_a_former_address_is_not_set() {
    let asked = given::<Account>([registered()]).and(ask_email(1, "new", 0)).and(ask_password(2, 0));
    asked.and(answer_email(1, 1)).when(reset(2, 2)).then_refused(Error::WrongAnswer);
}

#[test]
fn a_new_password_ends_every_session_but_the_one_that_has_set_it() {
    let one = || given::<Account>([registered()]);
    one().when(change(Some("hash"), "new")).then([changed("new", SetBy::Owner), revoked(Some(session(1)))]);
    one().when(change(Some("another"), "new")).then_refused(Error::PasswordChangedMeanwhile);
    let state = one().and(change(Some("hash"), "new")).state().clone();
    let account = state.registered().unwrap();
    assert!(account.stands(session(1), 0) && !account.stands(session(2), 0) && account.stands(session(2), 1));
    let state = one().and(change(Some("hash"), "new")).and(Command::RevokeSessions { spared: None }).state().clone();
    assert!(!state.registered().unwrap().stands(session(1), 0), "spared once is not spared for ever");
}

#[test]
fn whoever_asked_for_another_address_has_lost_it_once_the_account_is_its_owners_again() {
    let asked = || given::<Account>([registered()]).and(ask_email(1, "theirs", 0));
    let answer = || answer_email(1, 3);
    let reset_by_mail = asked().and(ask_password(2, 1)).and(reset(2, 2));
    reset_by_mail.when(answer()).then_refused(Error::WrongAnswer);
    asked().and(change(Some("hash"), "new")).when(answer()).then_refused(Error::WrongAnswer);
    asked().and(Command::RevokeSessions { spared: None }).when(answer()).then_refused(Error::WrongAnswer);
    asked().and(Command::TakeOver {}).when(answer()).then_refused(Error::WrongAnswer);
}

#[test]
fn the_last_five_passwords_are_remembered() {
    let hashes = ["hash", "1", "2", "3", "4", "5"];
    let changes = hashes.windows(2).map(|pair| change(Some(pair[0]), pair[1]));
    let state = changes.fold(given::<Account>([registered()]), |account, change| account.and(change)).state().clone();
    let remembered: Vec<_> = state.registered().unwrap().passwords.iter().cloned().collect();
    assert_eq!(remembered, hashes[1..].iter().map(|hash| sealed(ANN, hash)).collect::<Vec<_>>());
}

#[test]
fn whoever_joined_with_an_address_of_somebody_else_loses_the_account() {
    let removed = Event::PasswordChanged { password_hash: None, by: SetBy::Takeover };
    let taken = given::<Account>([registered()]);
    taken.when(Command::TakeOver {}).then([verified("email"), removed, revoked(None)]);
    let taken = given::<Account>([registered()]).and(Command::TakeOver {});
    assert_eq!(taken.state().registered().unwrap().identity.password_hash, None);
    taken.when(change(None, "new")).then([changed("new", SetBy::Owner), revoked(Some(session(1)))]);
}

#[test]
fn only_what_was_allowed_is_taken_back() {
    let (by, reason) = (Granter::Operator, None);
    let revoke = |capabilities| Command::Revoke { capabilities, by, reason: None };
    let both = || BTreeSet::from([Capability::Buy, Capability::Staff]);
    let buy = BTreeSet::from([Capability::Buy]);
    let one = || given::<Account>([registered()]);
    one().when(revoke(both())).then([Event::CapabilitiesRevoked { capabilities: buy, by, reason }]);
    let needed = Capability::Buy;
    assert_eq!(one().and(revoke(both())).state().require(needed), Err(Error::MissingCapability { needed }));
    one().and(revoke(both())).when(revoke(both())).then_nothing();
}

#[test]
fn nobody_gives_themselves_again_what_was_taken_from_them() {
    let sell = || BTreeSet::from([Capability::Sell]);
    let by_herself = Granter::Account(ANN);
    let own = || Command::Grant { capabilities: sell(), by: by_herself, reason: None };
    let revoke = |by| Command::Revoke { capabilities: sell(), by, reason: None };
    let granted = Event::CapabilitiesGranted { capabilities: sell(), by: by_herself, reason: None };
    given::<Account>([registered()]).when(own()).then([granted]);
    let revoked = || given::<Account>([registered()]).and(own()).and(revoke(Granter::Operator));
    let needed = Capability::Sell;
    revoked().when(own()).then_refused(Error::MissingCapability { needed });
    let anew = revoked().and(grant([needed])).and(revoke(by_herself));
    anew.when(own()).then_refused(Error::MissingCapability { needed });
    assert_eq!(revoked().and(grant([needed])).state().require(needed), Ok(()));
}

#[test]
fn whoever_is_suspended_does_not_trade_until_reinstated() {
    let suspend = || Command::Suspend { reason: why(), by: Granter::Operator };
    let suspended = || given::<Account>([registered()]).and(violate(1)).and(suspend());
    assert_eq!(suspended().state().require(Capability::Buy), Err(Error::Suspended));
    suspended().when(suspend()).then_nothing();
    // What they had not paid counts on: they were not blocked for it.
    let by = Granter::Account(BOB);
    suspended().when(reinstate()).then([Event::AccountReinstated { by, reason: Some(why()) }]);
    let reinstated = suspended().and(reinstate());
    assert_eq!(reinstated.state().require(Capability::Buy), Ok(()));
    reinstated.when(reinstate()).then_nothing();
}

#[test]
fn whoever_is_warned_trades_on() {
    let warned = given::<Account>([registered()]).and(Command::Warn { by: BOB });
    assert_eq!(warned.state().require(Capability::Buy), Ok(()));
    warned.when(Command::Warn { by: BOB }).then([Event::AccountWarned { by: BOB }]);
}

#[test]
fn whoever_is_unblocked_is_pardoned_and_the_count_begins_anew() {
    let blocked = || given::<Account>([registered()]).and(violate(1)).and(violate(2)).and(violate(3));
    let (by, reason, orders) = (Granter::Account(BOB), Some(why()), BTreeSet::from([order(1), order(2), order(3)]));
    let pardoned = Event::ViolationsPardoned { orders, by, reason: reason.clone() };
    blocked().when(reinstate()).then([Event::AccountReinstated { by, reason }, pardoned]);
    let free = || blocked().and(reinstate());
    assert_eq!(free().state().require(Capability::Buy), Ok(()));
    // An order that was pardoned never counts again, however late it is reported once more.
    free().when(violate(2)).then_nothing();
    free().when(violate(4)).then([Event::ViolationRecorded { order: order(4), violations: 1 }]);
    let again = free().and(violate(4)).and(violate(5));
    let sixth = Event::ViolationRecorded { order: order(6), violations: 3 };
    again.when(violate(6)).then([sixth, blocked_after(3)]);
}

#[test]
fn staff_pardon_what_has_not_blocked_yet_and_block_without_any_violation() {
    let (by, reason) = (Granter::Account(BOB), why());
    let pardon = || Command::Pardon { by, reason: Some(why()) };
    let one = || given::<Account>([registered()]);
    let orders = BTreeSet::from([order(1)]);
    one().and(violate(1)).when(pardon()).then([Event::ViolationsPardoned { orders, by, reason: Some(why()) }]);
    one().when(pardon()).then_nothing();
    let block = || Command::Block { reason: why(), by };
    one().when(block()).then([Event::AccountBlocked { violations: 0, by: Some(by), reason: Some(reason) }]);
    let blocked = || one().and(block());
    assert_eq!(blocked().state().require(Capability::Sell), Err(Error::MissingCapability { needed: Capability::Sell }));
    assert_eq!(blocked().state().require(Capability::Buy), Err(Error::Blocked { violations: 0 }));
    blocked().when(block()).then_nothing();
    // Nobody is blocked twice.
    let third = Event::ViolationRecorded { order: order(3), violations: 3 };
    blocked().and(violate(1)).and(violate(2)).when(violate(3)).then([third]);
    assert_eq!(blocked().and(reinstate()).state().require(Capability::Buy), Ok(()));
}

#[test]
fn what_staff_write_about_somebody_is_forgotten_with_that_person() {
    let (by, reason) = (Granter::Account(BOB), sealed(BOB, "why"));
    let capabilities = BTreeSet::from([Capability::Sell]);
    for command in [
        Command::Suspend { reason: reason.clone(), by },
        Command::Block { reason: reason.clone(), by },
        Command::Pardon { by, reason: Some(reason.clone()) },
        Command::Reinstate { by, reason: Some(reason.clone()) },
        Command::Grant { capabilities: capabilities.clone(), by, reason: Some(reason.clone()) },
        Command::Revoke { capabilities, by, reason: Some(reason) },
    ] {
        given::<Account>([registered()]).when(command).then_refused(Error::SealedForAnother);
    }
}

#[test]
fn whoever_was_reinstated_before_there_were_pardons_is_blocked_again_by_the_next_violation() {
    let recorded = |number: u8| Event::ViolationRecorded { order: order(number.into()), violations: number.into() };
    let reinstated = Event::AccountReinstated { by: Granter::Operator, reason: None };
    let before = [registered(), recorded(1), recorded(2), recorded(3), blocked_after(3), reinstated];
    given::<Account>(before).when(violate(4)).then([recorded(4), blocked_after(4)]);
}

#[test]
fn an_erased_account_is_nobodys() {
    let erased = || given::<Account>([registered()]).and(Command::Erase {});
    given::<Account>([registered()]).when(Command::Erase {}).then([Event::AccountErased {}]);
    erased().when(Command::Erase {}).then_nothing();
    erased().when(Command::RecordViolation { order: OrderId(Uuid::from_u128(1)) }).then_nothing();
    erased().when(grant([Capability::Sell])).then_refused(Error::NotRegistered);
    erased().when(ask_email(1, "email", 0)).then_refused(Error::NotRegistered);
    assert_eq!(erased().state().require(Capability::Buy), Err(Error::NotRegistered));
}
