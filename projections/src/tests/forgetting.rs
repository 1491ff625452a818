//! Forgetting people: what read models show of them goes, as if it had never been readable.

use domain::AccountId;
use uuid::Uuid;

use super::database::TestDatabase;
use super::history::History;

#[tokio::test]
async fn a_read_model_that_forgets_people_is_the_one_that_never_could_read_them() {
    let mut history = History::random(21, 1_500);
    let mut test = TestDatabase::showing(&history.units).await;
    let before = test.digests().await;
    let shown = history.units.len();
    let everybody: Vec<Uuid> = sqlx::query_scalar("select id from accounts.profiles where erased_at is null")
        .fetch_all(&test.pool)
        .await
        .unwrap();
    assert!(everybody.len() > 5, "{}", everybody.len());
    for account in everybody {
        history.erase(AccountId(account));
    }
    test.append(&history.units[shown..]).await;
    test.follow_all(1_000).await;
    let live = test.digests().await;
    assert_ne!(live, before);
    for (table, column) in [
        ("accounts.profiles", "coalesce(email, user_name, display_name, phone, biography, avatar_url, reason)"),
        ("addresses.addresses", "id"),
        ("addresses.books", "owner_id"),
        ("affiliates.affiliates", "code"),
        ("catalogue.favorites", "account_id"),
        ("catalogue.sellers", "user_name"),
        ("chats.activity", "body"),
        ("(select * from notifications.notifications where audience is null) as own", "id"),
        ("notifications.marks", "account_id"),
        ("notifications.holdings", "account_id"),
        ("(select * from orders.orders where payment = 'escrow' and origin <> 'storefront') as of_accounts", "ship_to"),
        ("payees.methods", "id"),
        ("payees.plans", "owner_id"),
        ("payees.payees", "owner_id"),
        ("payees.merchants", "id"),
        ("reports.complaints", "coalesce(text, resolution)"),
        ("reports.reports", "coalesce(text, resolution)"),
        ("reviews.feedback", "coalesce(comment, platform_comment)"),
        ("reviews.people", "user_name"),
        ("reviews.reviews", "coalesce(title, text, reply, hidden_reason)"),
        (
            "stores.stores",
            "coalesce(slug, brand_name, biography, logo, business_address, whatsapp, instagram, facebook, reason)",
        ),
    ] {
        let left: i64 =
            sqlx::query_scalar(&format!("select count({column}) from {table}")).fetch_one(&test.pool).await.unwrap();
        assert_eq!(left, 0, "{table}");
    }
    test.start_afresh().await;
    test.follow_all(1_000).await;
    assert_eq!(test.digests().await, live);
}
