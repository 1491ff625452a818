//! What the provider keeps: objects by their ids, what was answered under which key, and every request.

use std::collections::{BTreeMap, HashMap};

use chrono::TimeDelta;
use eventstore::clock::Clock;
use serde_json::{Map, Value, json};

use super::{ASKS, DECLINED, SLOW};
use crate::fail::OrFail;

/// What it takes of a payment: so much of a thousand, and so many minor units.
const FEE: (i64, i64) = (29, 30);
/// What it takes for a dispute.
const DISPUTE_FEE: i64 = 1_500;

/// The fields of a request: of its query and of its body, by their full names (`metadata[operation]`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn read(query: &[u8], body: &[u8]) -> Self {
        let fields = form_urlencoded::parse(query).chain(form_urlencoded::parse(body));
        Self(fields.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// A field.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn amount(&self) -> Option<i64> {
        self.get("amount").and_then(|amount| amount.parse().ok())
    }

    fn text(&self, name: &str) -> Value {
        self.get(name).map_or(Value::Null, Value::from)
    }

    fn metadata(&self) -> Value {
        let fields = self.0.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("metadata[")?.strip_suffix(']')?;
            Some((name.to_owned(), Value::from(value.as_str())))
        });
        Value::Object(fields.collect::<Map<_, _>>())
    }

    /// Whether a field that is the name of something is to be answered with the thing itself.
    fn expands(&self, path: &str) -> bool {
        let deeper = format!("{path}.");
        self.0.iter().any(|(name, value)| name.starts_with("expand[") && (value == path || value.starts_with(&deeper)))
    }
}

/// A request, as it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// GET or POST.
    pub(super) method: String,
    /// Of the address.
    pub(super) path: String,
    /// `Idempotency-Key`.
    pub(super) key: Option<String>,
    /// `Provider-Account`: whom it is asked for.
    pub(super) account: Option<String>,
    /// Its fields.
    pub(super) form: Form,
}

/// Money that was moved, or that is on its way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Moved {
    /// What the provider calls it.
    pub id: String,
    /// The key of the request that did it.
    pub key: Option<String>,
    /// Minor units.
    pub amount: i64,
    /// In small letters.
    pub currency: String,
    /// `succeeded`, `pending`, `paid`, `failed`, …; a transfer has none.
    pub status: String,
    /// What else the request said of it.
    pub metadata: Value,
}

/// What was asked under a key, and what was answered.
#[derive(Debug)]
struct Answered {
    path: String,
    form: Form,
    status: u16,
    body: Value,
}

/// The status and the body.
type Answer = (u16, Value);

/// What is answered, and whether it was answered so before.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Value,
    pub(super) replayed: bool,
}

impl From<Answer> for Reply {
    fn from((status, body): Answer) -> Self {
        Self { status, body, replayed: false }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) objects: BTreeMap<String, Value>,
    pub(super) events: Vec<Value>,
    /// Whether refunds are pending at first.
    pub(super) refunds_wait: bool,
    /// In which order the objects were made.
    order: Vec<String>,
    keys: HashMap<String, Answered>,
    made: u64,
    /// How far its time is ahead.
    pub(super) ahead: TimeDelta,
}

impl Books {
    pub(super) fn act(&mut self, asked: Asked) -> Reply {
        let Some(key) = asked.key.clone().filter(|_| asked.method == "POST") else {
            return self.perform(&asked).into();
        };
        if let Some(before) = self.keys.get(&key) {
            if (&before.path, &before.form) == (&asked.path, &asked.form) {
                return Reply { status: before.status, body: before.body.clone(), replayed: true };
            }
            let message =
                "Keys for idempotent requests can only be used with the same parameters they were first used with.";
            return refused("idempotency_error", None, message).into();
        }
        let (status, body) = self.perform(&asked);
        self.keys.insert(key, Answered { path: asked.path, form: asked.form, status, body: body.clone() });
        (status, body).into()
    }

    fn perform(&mut self, asked: &Asked) -> Answer {
        let path: Vec<&str> = asked.path.trim_start_matches("/v1/").split('/').collect();
        let form = &asked.form;
        let made = match (asked.method.as_str(), path.as_slice()) {
            ("POST", ["payment_intents"]) => self.intend(asked),
            ("POST", ["payment_intents", id, "cancel"]) => self.cancel(id),
            ("POST", ["transfers", id, "reversals"]) => self.reverse(id, asked),
            ("GET", ["payment_intents", "search"]) => return self.search(form),
            ("POST", ["refunds"]) => self.refund(asked),
            ("POST", ["transfers"]) => self.transfer(asked),
            ("POST", ["payouts"]) => self.pay_out(asked),
            ("POST", ["accounts"]) => Ok(self.open(form)),
            ("POST", ["account_links"]) => return self.link(form),
            ("GET", [kind]) => return self.list(kind.trim_end_matches('s'), asked),
            ("GET", [_, id]) if self.objects.contains_key(*id) => Ok((*id).to_owned()),
            _ => Err(missing(&asked.path)),
        };
        match made {
            Ok(id) => (200, self.shown(&id, form, "")),
            Err(refused) => refused,
        }
    }

    fn intend(&mut self, asked: &Asked) -> Result<String, Answer> {
        let form = &asked.form;
        let amount = form.amount().filter(|amount| *amount > 0).ok_or_else(|| invalid("amount"))?;
        let currency = currency(form)?;
        let id = self.name("pi");
        let object = json!({
            "id": id, "object": "payment_intent", "amount": amount, "amount_capturable": 0, "amount_received": 0,
            "application": null, "application_fee_amount": null, "automatic_payment_methods": null,
            "canceled_at": null, "cancellation_reason": null, "capture_method": "automatic",
            "client_secret": format!("{id}_secret_of_the_tests"), "confirmation_method": "automatic",
            "created": self.created(), "currency": currency, "customer": form.text("customer"),
            "description": form.text("description"), "last_payment_error": null, "latest_charge": null,
            "livemode": false, "metadata": form.metadata(), "next_action": null, "on_behalf_of": null,
            "payment_method": form.text("payment_method"), "payment_method_types": ["card"], "processing": null,
            "receipt_email": null, "review": null, "setup_future_usage": null, "shipping": null, "source": null,
            "statement_descriptor": null, "status": "requires_confirmation",
            "transfer_group": form.text("transfer_group"), "key": asked.key,
        });
        self.keep(&id, object);
        if form.get("confirm") == Some("true") {
            self.confirm(&id, form)?;
        }
        Ok(id)
    }

    fn confirm(&mut self, id: &str, form: &Form) -> Result<(), Answer> {
        match form.get("payment_method") {
            Some(DECLINED) => {
                self.refuse(id);
                let intent = self.shown(id, form, "");
                let mut error = intent["last_payment_error"].clone();
                error["payment_intent"] = intent;
                return Err((402, json!({ "error": error })));
            }
            Some(ASKS) => {
                let url = format!("https://hooks.stripe.com/3d_secure/{id}");
                let redirect = json!({ "url": url, "return_url": form.text("return_url") });
                self.change(id, "status", json!("requires_action"));
                self.change(id, "next_action", json!({ "type": "redirect_to_url", "redirect_to_url": redirect }));
                self.happened("payment_intent.requires_action", id);
            }
            Some(SLOW) => {
                self.change(id, "status", json!("processing"));
                self.happened("payment_intent.processing", id);
            }
            Some(card) if card.starts_with("pm_") => self.succeed(id),
            _ => return Err(missing("payment_method")),
        }
        Ok(())
    }

    /// Once.
    pub(super) fn succeed(&mut self, id: &str) {
        let intent = self.objects.get(id).cloned().or_fail("find the payment at the provider");
        if ["succeeded", "canceled"].contains(&text(&intent, "status")) {
            return;
        }
        let amount = number(&intent, "amount");
        let charge = self.name("ch");
        let fee = amount * FEE.0 / 1_000 + FEE.1;
        let balance = self.balance(&charge, "charge", amount, fee, text(&intent, "currency"));
        let object = json!({
            "id": charge, "object": "charge", "amount": amount, "amount_captured": amount, "amount_refunded": 0,
            "balance_transaction": balance, "captured": true, "created": self.created(), "currency": intent["currency"],
            "disputed": false, "failure_code": null, "failure_message": null, "livemode": false,
            "metadata": intent["metadata"], "paid": true, "payment_intent": id,
            "payment_method": intent["payment_method"], "refunded": false, "status": "succeeded",
        });
        self.keep(&charge, object);
        self.change(id, "status", json!("succeeded"));
        self.change(id, "amount_received", json!(amount));
        self.change(id, "latest_charge", json!(charge));
        self.change(id, "next_action", Value::Null);
        self.happened("payment_intent.succeeded", id);
        self.happened("charge.succeeded", &charge);
    }

    pub(super) fn refuse(&mut self, id: &str) {
        let error = json!({
            "type": "card_error", "code": "card_declined", "decline_code": "generic_decline",
            "message": "Your card was declined.",
        });
        self.change(id, "status", json!("requires_payment_method"));
        self.change(id, "last_payment_error", error);
        self.change(id, "next_action", Value::Null);
        self.happened("payment_intent.payment_failed", id);
    }

    /// What has not been paid is not paid any more.
    fn cancel(&mut self, id: &str) -> Result<String, Answer> {
        let intent = self.objects.get(id).ok_or_else(|| missing("payment_intent"))?;
        if ["succeeded", "canceled", "processing"].contains(&text(intent, "status")) {
            let message = "You cannot cancel this PaymentIntent because of its status.";
            return Err(refused("invalid_request_error", Some("payment_intent_unexpected_state"), message));
        }
        self.change(id, "status", json!("canceled"));
        self.change(id, "canceled_at", json!(self.created()));
        self.change(id, "next_action", Value::Null);
        self.happened("payment_intent.canceled", id);
        Ok(id.to_owned())
    }

    /// By metadata, which is all that anybody searches by here. What was made a moment ago is found, too.
    fn search(&self, form: &Form) -> Answer {
        let query = form.get("query").unwrap_or_default();
        let intents =
            self.order.iter().map(|id| &self.objects[id]).filter(|object| object["object"] == "payment_intent");
        let found = intents.filter(|intent| {
            let fields = intent["metadata"].as_object().into_iter().flatten();
            fields.into_iter().any(|(name, value)| {
                value.as_str().is_some_and(|value| query == format!("metadata['{name}']:'{value}'"))
            })
        });
        let data: Vec<Value> = found.map(|intent| self.shown(text(intent, "id"), form, "data.")).collect();
        (
            200,
            json!({ "object": "search_result", "url": "/v1/payment_intents/search", "has_more": false, "data": data }),
        )
    }

    fn refund(&mut self, asked: &Asked) -> Result<String, Answer> {
        let form = &asked.form;
        let named = form.get("payment_intent").and_then(|id| self.objects.get(id));
        let charge = form.get("charge").or_else(|| named?["latest_charge"].as_str()).map(str::to_owned);
        let charge = charge.ok_or_else(|| missing("payment_intent"))?;
        let charged = self.objects.get(&charge).cloned().ok_or_else(|| missing("charge"))?;
        let left = number(&charged, "amount") - number(&charged, "amount_refunded");
        let amount = form.amount().unwrap_or(left);
        if amount < 1 || amount > left || charged["disputed"] == json!(true) {
            let message = "Refund amount is greater than unrefunded amount on charge.";
            return Err(refused("invalid_request_error", Some("charge_already_refunded"), message));
        }
        let id = self.name("re");
        let balance = self.balance(&id, "refund", -amount, 0, text(&charged, "currency"));
        let object = json!({
            "id": id, "object": "refund", "amount": amount, "balance_transaction": balance, "charge": charge,
            "created": self.created(), "currency": charged["currency"], "metadata": form.metadata(),
            "payment_intent": charged["payment_intent"], "reason": form.text("reason"), "receipt_number": null,
            "source_transfer_reversal": null, "status": if self.refunds_wait { "pending" } else { "succeeded" },
            "transfer_reversal": null, "key": asked.key,
        });
        self.keep(&id, object);
        let refunded = number(&charged, "amount_refunded") + amount;
        self.change(&charge, "amount_refunded", json!(refunded));
        self.change(&charge, "refunded", json!(refunded == number(&charged, "amount")));
        self.happened("refund.created", &id);
        self.happened("charge.refunded", &charge);
        self.happened("refund.updated", &id);
        Ok(id)
    }

    pub(super) fn finish_refund(&mut self, id: &str) {
        self.change(id, "status", json!("succeeded"));
        self.happened("refund.updated", id);
    }

    pub(super) fn fail_refund(&mut self, id: &str) {
        let refund = self.objects.get(id).cloned().or_fail("find the refund at the provider");
        let (charge, amount) = (text(&refund, "charge").to_owned(), number(&refund, "amount"));
        let balance = self.balance(id, "refund_failure", amount, 0, text(&refund, "currency"));
        self.change(id, "status", json!("failed"));
        self.change(id, "failure_reason", json!("expired_or_canceled_card"));
        self.change(id, "failure_balance_transaction", json!(balance));
        let refunded = number(&self.objects[&charge], "amount_refunded") - amount;
        self.change(&charge, "amount_refunded", json!(refunded));
        self.change(&charge, "refunded", json!(false));
        self.happened("refund.failed", id);
    }

    fn transfer(&mut self, asked: &Asked) -> Result<String, Answer> {
        let form = &asked.form;
        let amount = form.amount().filter(|amount| *amount > 0).ok_or_else(|| invalid("amount"))?;
        let currency = currency(form)?;
        let destination = form.get("destination").filter(|id| self.objects.contains_key(*id));
        let destination = destination.ok_or_else(|| missing("destination"))?.to_owned();
        let id = self.name("tr");
        let balance = self.balance(&id, "transfer", -amount, 0, &currency);
        let object = json!({
            "id": id, "object": "transfer", "amount": amount, "amount_reversed": 0, "balance_transaction": balance,
            "created": self.created(), "currency": currency, "description": form.text("description"),
            "destination": destination, "livemode": false, "metadata": form.metadata(), "reversed": false,
            "reversals": { "object": "list", "data": [], "has_more": false },
            "source_transaction": null, "transfer_group": form.text("transfer_group"), "key": asked.key,
        });
        self.keep(&id, object);
        self.happened("transfer.created", &id);
        Ok(id)
    }

    /// What was transferred comes back, in whole or in part.
    fn reverse(&mut self, transfer: &str, asked: &Asked) -> Result<String, Answer> {
        let whole = self.objects.get(transfer).cloned().ok_or_else(|| missing("transfer"))?;
        let left = number(&whole, "amount") - number(&whole, "amount_reversed");
        let amount = asked.form.amount().unwrap_or(left);
        if amount < 1 || amount > left {
            return Err(invalid("amount"));
        }
        let id = self.name("trr");
        let balance = self.balance(&id, "transfer_refund", amount, 0, text(&whole, "currency"));
        let object = json!({
            "id": id, "object": "transfer_reversal", "amount": amount, "balance_transaction": balance,
            "created": self.created(), "currency": whole["currency"], "destination_payment_refund": null,
            "metadata": asked.form.metadata(), "source_refund": null, "transfer": transfer, "key": asked.key,
        });
        self.keep(&id, object);
        self.change(transfer, "amount_reversed", json!(number(&whole, "amount") - left + amount));
        self.change(transfer, "reversed", json!(amount == left));
        self.happened("transfer.reversed", transfer);
        Ok(id)
    }

    fn pay_out(&mut self, asked: &Asked) -> Result<String, Answer> {
        let form = &asked.form;
        let amount = form.amount().filter(|amount| *amount > 0).ok_or_else(|| invalid("amount"))?;
        let currency = currency(form)?;
        if let Some(account) = &asked.account {
            let merchant = self.objects.get(account).ok_or_else(|| missing("account"))?;
            if merchant["payouts_enabled"] != json!(true) {
                let message = "Payouts are not allowed for this account.";
                return Err(refused("invalid_request_error", Some("payouts_not_allowed"), message));
            }
        }
        let id = self.name("po");
        // It is a line of the books of whoever sends it.
        let balance = self.balance(&id, "payout", -amount, 0, &currency);
        self.change(&balance, "account", json!(asked.account));
        let object = json!({
            "id": id, "object": "payout", "amount": amount, "application_fee": null, "application_fee_amount": null,
            "arrival_date": self.created(), "automatic": false, "balance_transaction": balance,
            "created": self.created(), "currency": currency, "description": form.text("description"), "destination": form.text("destination"),
            "failure_balance_transaction": null, "failure_code": null, "failure_message": null, "livemode": false,
            "metadata": form.metadata(), "method": "standard", "original_payout": null, "payout_method": null,
            "reconciliation_status": "not_applicable", "reversed_by": null, "source_type": "card",
            "statement_descriptor": null, "status": "pending", "trace_id": null, "type": "bank_account",
            "key": asked.key, "account": asked.account,
        });
        self.keep(&id, object);
        self.happened("payout.created", &id);
        Ok(id)
    }

    pub(super) fn end_payout(&mut self, id: &str, status: &str) {
        let payout = self.objects.get(id).cloned().or_fail("find the payout at the provider");
        self.change(id, "status", json!(status));
        if status == "failed" {
            let amount = number(&payout, "amount");
            let balance = self.balance(id, "payout_failure", amount, 0, text(&payout, "currency"));
            self.change(&balance, "account", payout["account"].clone());
            self.change(id, "failure_code", json!("account_closed"));
            self.change(id, "failure_message", json!("The bank account has been closed"));
            self.change(id, "failure_balance_transaction", json!(balance));
        }
        self.happened(if status == "failed" { "payout.failed" } else { "payout.paid" }, id);
    }

    pub(super) fn open(&mut self, form: &Form) -> String {
        let id = self.name("acct");
        let due = json!(["external_account", "individual.verification.document"]);
        let object = json!({
            "id": id, "object": "account", "charges_enabled": false, "country": form.text("country"),
            "created": self.created(), "details_submitted": false, "email": form.text("email"),
            "metadata": form.metadata(),
            "payouts_enabled": false, "type": form.get("type").unwrap_or("none"),
            "capabilities": { "transfers": "inactive" },
            "requirements": { "currently_due": due, "eventually_due": due, "past_due": [], "disabled_reason": "requirements.past_due" },
        });
        self.keep(&id, object);
        id
    }

    pub(super) fn enable(&mut self, id: &str, payouts: bool) {
        self.change(id, "payouts_enabled", json!(payouts));
        self.change(id, "charges_enabled", json!(payouts));
        self.change(id, "details_submitted", json!(true));
        self.change(id, "capabilities", json!({ "transfers": if payouts { "active" } else { "inactive" } }));
        let due = if payouts { json!([]) } else { json!(["external_account"]) };
        let disabled = if payouts { Value::Null } else { json!("requirements.past_due") };
        let requirements = json!({
            "currently_due": due, "eventually_due": due, "past_due": [], "disabled_reason": disabled,
        });
        self.change(id, "requirements", requirements);
        self.happened("account.updated", id);
    }

    fn link(&mut self, form: &Form) -> Answer {
        let Some(account) = form.get("account").filter(|id| self.objects.contains_key(*id)) else {
            return missing("account");
        };
        let url = format!("https://connect.stripe.com/setup/e/{account}");
        let created = self.created();
        let body = json!({ "object": "account_link", "created": created, "expires_at": created + 300, "url": url });
        (200, body)
    }

    pub(super) fn dispute(&mut self, intent: &str) -> String {
        let intent = self.objects.get(intent).cloned().or_fail("find the payment at the provider");
        let charge = text(&intent, "latest_charge").to_owned();
        let charged = self.objects.get(&charge).cloned().or_fail("find the charge at the provider");
        let amount = number(&charged, "amount") - number(&charged, "amount_refunded");
        let id = self.name("dp");
        let balance = self.balance(&id, "adjustment", -amount, DISPUTE_FEE, text(&charged, "currency"));
        let object = json!({
            "id": id, "object": "dispute", "amount": amount, "balance_transactions": [self.objects[&balance]],
            "charge": charge, "created": self.created(), "currency": charged["currency"], "evidence": {},
            "evidence_details": { "due_by": null, "has_evidence": false, "past_due": false, "submission_count": 0 },
            "is_charge_refundable": false, "livemode": false, "metadata": {}, "payment_intent": intent["id"],
            "reason": "fraudulent", "status": "needs_response",
        });
        self.keep(&id, object);
        self.change(&charge, "disputed", json!(true));
        self.happened("charge.dispute.created", &id);
        self.happened("charge.dispute.funds_withdrawn", &id);
        id
    }

    pub(super) fn close_dispute(&mut self, id: &str, status: &str) {
        let dispute = self.objects.get(id).cloned().or_fail("find the dispute at the provider");
        self.change(id, "status", json!(status));
        if status == "won" {
            self.balance(id, "adjustment", number(&dispute, "amount"), 0, text(&dispute, "currency"));
            self.happened("charge.dispute.funds_reinstated", id);
        }
        self.happened("charge.dispute.closed", id);
    }

    fn balance(&mut self, source: &str, kind: &str, amount: i64, fee: i64, currency: &str) -> String {
        let id = self.name("txn");
        let details = json!([{ "amount": fee, "application": null, "currency": currency, "type": "stripe_fee",
            "description": "Stripe processing fees" }]);
        let object = json!({
            "id": id, "object": "balance_transaction", "amount": amount, "available_on": self.created(),
            "balance_type": "payments", "created": self.created(), "currency": currency, "description": null,
            "exchange_rate": null, "fee": fee, "fee_details": if fee == 0 { json!([]) } else { details },
            "net": amount - fee, "reporting_category": kind, "source": source, "status": "available", "type": kind,
        });
        self.keep(&id, object);
        id
    }

    /// The lines of the marketplace's books about something.
    pub(super) fn lines(&mut self, source: &str) -> Vec<&mut Value> {
        let is_about = |object: &&mut Value| object["object"] == "balance_transaction" && object["source"] == source;
        self.objects.values_mut().filter(is_about).collect()
    }

    pub(super) fn moved(&self, kind: &str) -> Vec<Moved> {
        let objects = self.order.iter().map(|id| &self.objects[id]).filter(|object| object["object"] == kind);
        let moved = objects.map(|object| Moved {
            id: text(object, "id").to_owned(),
            key: object["key"].as_str().map(str::to_owned),
            amount: number(object, "amount"),
            currency: text(object, "currency").to_owned(),
            status: text(object, "status").to_owned(),
            metadata: object["metadata"].clone(),
        });
        moved.collect()
    }

    fn list(&self, kind: &str, asked: &Asked) -> Answer {
        let form = &asked.form;
        // The newest first, as Stripe lists everything.
        let all = self.order.iter().rev().map(|id| &self.objects[id]).filter(|object| object["object"] == kind);
        let filters = ["payment_intent", "charge", "source", "type", "destination", "transfer_group", "status"];
        let border = |name| form.get(name).and_then(|at| at.parse::<i64>().ok());
        let (from, until) = (border("created[gte]"), border("created[lt]"));
        let wanted = all.filter(|object| {
            let created = number(object, "created");
            from.is_none_or(|from| created >= from)
                && until.is_none_or(|until| created < until)
                && filters.iter().all(|name| form.get(name).is_none_or(|value| object[*name].as_str() == Some(value)))
                && object["account"].as_str() == asked.account.as_deref()
        });
        let mut rest = wanted.map(|object| text(object, "id").to_owned()).collect::<Vec<_>>();
        if let Some(after) = form.get("starting_after") {
            rest = rest.into_iter().skip_while(|id| id != after).skip(1).collect();
        }
        let limit = form.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(10);
        let page: Vec<Value> = rest.iter().take(limit).map(|id| self.shown(id, form, "data.")).collect();
        let more = rest.len() > limit;
        (200, json!({ "object": "list", "url": format!("/v1/{kind}s"), "has_more": more, "data": page }))
    }

    /// An object as it is answered, with what was asked for in it.
    fn shown(&self, id: &str, form: &Form, under: &str) -> Value {
        let mut object = self.objects[id].clone();
        // What only we keep.
        if let Some(fields) = object.as_object_mut() {
            fields.remove("key");
            fields.remove("account");
        }
        for name in ["latest_charge", "charge", "payment_intent", "source", "balance_transaction"] {
            let path = format!("{under}{name}");
            if let Some(inner) = object[name].as_str().filter(|_| form.expands(&path)).map(str::to_owned) {
                object[name] = self.shown(&inner, form, &format!("{path}."));
            }
        }
        object
    }

    fn keep(&mut self, id: &str, object: Value) {
        self.objects.insert(id.to_owned(), object);
        self.order.push(id.to_owned());
    }

    fn change(&mut self, id: &str, name: &str, value: Value) {
        self.objects.get_mut(id).or_fail("find the object at the provider")[name] = value;
    }

    fn happened(&mut self, what: &str, id: &str) {
        let event = self.name("evt");
        let object = self.shown(id, &Form::default(), "");
        let mut told = json!({
            "id": event, "object": "event", "api_version": "2026-10-28.endive", "created": self.created(),
            "data": { "object": object }, "livemode": false, "pending_webhooks": 1,
            "request": { "id": null, "idempotency_key": self.objects[id]["key"] }, "type": what,
        });
        if let Some(account) = self.objects[id]["account"].as_str() {
            told["account"] = json!(account);
        }
        self.events.push(told);
    }

    /// When something is made that is made now.
    fn created(&self) -> i64 {
        (Clock::real_now() + self.ahead).timestamp()
    }

    fn name(&mut self, prefix: &str) -> String {
        self.made += 1;
        format!("{prefix}_{:024}", self.made)
    }
}

fn currency(form: &Form) -> Result<String, Answer> {
    let named = form.get("currency").filter(|name| name.len() == 3 && name.bytes().all(|c| c.is_ascii_lowercase()));
    named.map(str::to_owned).ok_or_else(|| invalid("currency"))
}

fn refused(kind: &str, code: Option<&str>, message: &str) -> Answer {
    (400, json!({ "error": { "type": kind, "code": code, "message": message } }))
}

fn invalid(parameter: &str) -> Answer {
    refused("invalid_request_error", Some("parameter_invalid_integer"), &format!("Invalid {parameter}"))
}

fn missing(what: &str) -> Answer {
    let message = format!("No such {what}");
    (404, json!({ "error": { "type": "invalid_request_error", "code": "resource_missing", "message": message } }))
}

fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}

fn number(object: &Value, name: &str) -> i64 {
    object[name].as_i64().unwrap_or_default()
}
