-- Serves: telling by a number whether a read model shows what it showed before.

alter table followers
    -- How often parked events were taken or skipped: its tables change then although its position does not.
    add column repairs bigint not null default 0;
