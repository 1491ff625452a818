-- Double entry: every movement of money, and what each ledger account comes to.
-- Serves: the trial balance, the balance of one ledger account; pages of movements, the newest first: all of them, those of
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
    constraint postings_between_two_accounts check (debit_account <> credit_account)
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
    position bigint not null,
    constraint balances_account primary key (account, currency),
    constraint balances_only_grow check (debits >= 0 and credits >= 0),
    -- What belongs to a user, in a wallet or in escrow, or was paid ahead, is never overdrawn. Such a balance is credits
    -- minus debits.
    constraint balances_of_users_not_negative
        check (credits >= debits or kind not in
            ('available', 'held', 'payout-pending', 'escrow', 'affiliate-pending', 'deferred-revenue')),
    -- What a user owes is debits minus credits, and never less than nothing. So is what a provider holds for us, which
    -- may be less: one may pay out what another has collected. Fee income is credits minus debits, and may have either
    -- sign: fees are given back as well as earned.
    constraint balances_receivable_not_negative check (debits >= credits or kind <> 'receivable'),
    -- What was spent is debits minus credits: no more comes back than went out.
    constraint balances_expense_not_negative
        check (debits >= credits or kind not in ('marketing-expense', 'affiliate-expense'))
);
