-- Double entry: every movement of money, and what each ledger account comes to.
-- Serves: the trial balance, now and as of any position; the balance of one ledger account; pages of movements, the newest first: all of them, those of
-- some ledger accounts, of one operation, or of one kind.
create table postings (
    position bigint not null,
    -- Its place among the postings of one event, from 1.
    ordinal integer not null,
    event_id uuid not null,
    aggregate_type text not null,
    aggregate_id uuid not null,
    operation uuid not null,
    step text not null,
    debit_account text not null,
    credit_account text not null,
    amount bigint not null,
    currency text not null,
    recorded_at timestamptz not null,
    constraint postings_ordinal primary key (position, ordinal),
    constraint postings_once_per_step unique (operation, step, ordinal),
    constraint postings_amount_positive check (amount > 0),
    constraint postings_between_two_accounts check (debit_account <> credit_account),
    -- Money moves in no other way. A new movement is a new rule: it is named here before anything can post it.
    constraint postings_by_a_rule check (
        (step, split_part(debit_account, ':', 1), split_part(credit_account, ':', 1)) in (
            ('deposit_settled', 'provider-clearing', 'available'),
            ('withdrawal_requested', 'available', 'payout-pending'),
            ('withdrawal_paid', 'payout-pending', 'provider-clearing'),
            ('withdrawal_paid', 'provider-fee-expense', 'provider-clearing'),
            ('withdrawal_returned', 'provider-clearing', 'available'),
            ('withdrawal_failed', 'payout-pending', 'available'),
            ('hold_placed', 'available', 'held'),
            ('hold_released', 'held', 'available'),
            ('escrow_funded', 'available', 'escrow'),
            ('escrow_funded', 'provider-clearing', 'escrow'),
            ('escrow_funded', 'marketing-expense', 'escrow'),
            ('escrow_released', 'escrow', 'available'),
            ('escrow_released', 'escrow', 'fee-income'),
            ('escrow_refunded', 'escrow', 'available'),
            ('escrow_refunded', 'escrow', 'refund-pending'),
            ('escrow_refunded', 'escrow', 'marketing-expense'),
            ('escrow_split', 'escrow', 'available'),
            ('escrow_split', 'escrow', 'refund-pending'),
            ('escrow_split', 'escrow', 'marketing-expense'),
            ('escrow_split', 'escrow', 'fee-income'),
            ('release_refunded', 'available', 'available'),
            ('release_refunded', 'available', 'refund-pending'),
            ('release_refunded', 'available', 'marketing-expense'),
            ('release_refunded', 'receivable', 'available'),
            ('release_refunded', 'receivable', 'refund-pending'),
            ('release_refunded', 'receivable', 'marketing-expense'),
            ('release_refunded', 'fee-income', 'available'),
            ('release_refunded', 'fee-income', 'refund-pending'),
            ('release_refunded', 'fee-income', 'marketing-expense'),
            ('commission_accrued', 'affiliate-expense', 'affiliate-pending'),
            ('commission_vested', 'affiliate-pending', 'available'),
            ('commission_reversed', 'affiliate-pending', 'affiliate-expense'),
            ('vested_commission_reversed', 'available', 'affiliate-expense'),
            ('vested_commission_reversed', 'receivable', 'affiliate-expense'),
            ('subscription_purchased', 'available', 'deferred-revenue'),
            ('subscription_upgraded', 'available', 'deferred-revenue'),
            ('subscription_upgraded', 'deferred-revenue', 'subscription-income'),
            ('subscription_renewed', 'available', 'deferred-revenue'),
            ('period_recognised', 'deferred-revenue', 'subscription-income'),
            ('receivable_recovered', 'available', 'receivable'),
            ('charge_succeeded', 'provider-clearing', 'unapplied'),
            ('charge_succeeded', 'provider-fee-expense', 'provider-clearing'),
            ('provider_fee_charged', 'provider-fee-expense', 'provider-clearing'),
            ('charge_refunded', 'unapplied', 'provider-clearing'),
            ('charge_refunded', 'refund-pending', 'provider-clearing'),
            ('charge_refunded', 'chargeback-expense', 'provider-clearing'),
            ('charge_refund_returned', 'provider-clearing', 'unapplied'),
            ('charge_refund_returned', 'provider-clearing', 'refund-pending'),
            ('charge_disputed', 'available', 'provider-clearing'),
            ('charge_disputed', 'receivable', 'provider-clearing'),
            ('charge_disputed', 'chargeback-expense', 'provider-clearing'),
            ('charge_disputed', 'unapplied', 'provider-clearing'),
            ('charge_disputed', 'refund-pending', 'provider-clearing'),
            ('charge_dispute_won', 'provider-clearing', 'available'),
            ('charge_dispute_won', 'provider-clearing', 'receivable'),
            ('charge_dispute_won', 'provider-clearing', 'chargeback-expense'),
            ('charge_dispute_won', 'provider-clearing', 'unapplied'),
            ('charge_dispute_won', 'provider-clearing', 'refund-pending'),
            ('escrow_charged_back', 'escrow', 'provider-clearing'),
            ('chargeback_returned', 'provider-clearing', 'escrow')
        )
    )
);

create index postings_debits on postings (debit_account, position);
create index postings_credits on postings (credit_account, position);
create index postings_of_step on postings (step, position);
create index postings_at on postings (recorded_at);

create table balances (
    account text not null,
    currency text not null,
    kind text not null,
    -- Sums of the whole history, which 64 bits need not hold.
    debits numeric(38) not null,
    credits numeric(38) not null,
    -- Of the first movement; null of an escrow that was never paid.
    since bigint,
    -- Of an escrow: its order is over.
    ended boolean not null,
    position bigint not null,
    constraint balances_account primary key (account, currency),
    constraint balances_only_grow check (debits >= 0 and credits >= 0),
    -- What belongs to a user, in a wallet, in escrow or on its way back, or was paid ahead, is never overdrawn. Such a
    -- balance is credits minus debits.
    constraint balances_of_users_not_negative
        check (credits >= debits or kind not in
            ('available', 'held', 'payout-pending', 'escrow', 'affiliate-pending', 'deferred-revenue', 'unapplied',
                'refund-pending')),
    -- What a user owes is debits minus credits, and never less than nothing. So is what a provider holds for us, which
    -- may be less: one may pay out what another has collected. Fee income is credits minus debits, and may have either
    -- sign: fees are given back as well as earned.
    constraint balances_receivable_not_negative check (debits >= credits or kind <> 'receivable'),
    -- What an order held has gone to whom it belongs once the order is over, to the last minor unit, for ever.
    constraint balances_of_ended_orders_zero check (not ended or kind = 'escrow' and debits = credits),
    constraint balances_since_their_first_movement check ((since is null) = (debits = 0 and credits = 0)),
    -- What was spent is debits minus credits: no more comes back than went out.
    constraint balances_expense_not_negative
        check (debits >= credits or kind not in
            ('marketing-expense', 'affiliate-expense', 'provider-fee-expense', 'chargeback-expense'))
);

-- What all ledger accounts of a currency come to, by what they have grown with each batch.
create table sums (
    currency text not null,
    debits numeric(38) not null,
    credits numeric(38) not null,
    constraint sums_currency primary key (currency),
    -- Double entry, after every batch.
    constraint sums_balance check (debits = credits)
);

-- What has moved within each stretch of the log, by kinds of ledger accounts: so that a trial balance as of some position
-- need not add up everything before it.
create table turnovers (
    -- The position divided by 4096.
    block bigint not null,
    currency text not null,
    kind text not null,
    debits numeric(38) not null,
    credits numeric(38) not null,
    constraint turnovers_block primary key (block, currency, kind),
    constraint turnovers_only_grow check (debits >= 0 and credits >= 0)
);
