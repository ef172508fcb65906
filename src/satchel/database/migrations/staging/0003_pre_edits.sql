-- The journal: edit sets of devices, durable before a device is told so, until some time after they are settled.
create table satchel.edit_set (
    number bigint generated always as identity primary key,  -- order of arrival
    id uuid not null unique,
    version integer not null,            -- rises when the user takes the set up again
    device text not null,
    user_id text not null,
    made_at text not null,               -- by the device's clock
    received_at timestamptz not null default now(),
    edits text not null,                 -- JSON
    state text not null default 'waiting' check (state in (
        'waiting',    -- to be played
        'sending',    -- may have been executed at the source
        'held',       -- conflict or rejected: somebody decides
        'settled')),
    next_at timestamptz not null default now(),
    tries integer not null default 0,
    problem text,                        -- why it waits
    attempt text,                        -- JSON: what was sent last, while its effect is unknown
    verdict text,
    outcome text,                        -- JSON, for the device
    verdict_number bigint,               -- order of verdicts: a device's cursor says which it has
    known text,                          -- JSON: the rows as the device may take them for granted after this set
    settled_at timestamptz
);
create unique index edit_set_by_verdict on satchel.edit_set (device, verdict_number);
create index edit_set_waiting on satchel.edit_set (number) where state in ('waiting', 'sending', 'held');
create index edit_set_settled on satchel.edit_set (settled_at) where state = 'settled';

-- Rows that sets which are not settled change or refer to: what shares one goes in order.
create table satchel.edit_row (
    number bigint not null references satchel.edit_set on delete cascade,
    entity text not null,
    key text not null,                   -- JSON array of the parts as text
    is_written boolean not null,
    primary key (entity, key, number)
);
create index on satchel.edit_row (number);

-- Rows written through after an edit: a page that was asked for before does not count for them.
create table satchel.written (
    entity text not null,
    key text[] not null,
    number bigint not null,              -- of `head.writes`
    written_at timestamptz not null default now(),
    primary key (entity, key)
);
create index on satchel.written (entity, number);

-- Rows to be asked for once more, because a page and an edit met.
create table satchel.unsettled_row (
    entity text not null,
    key text[] not null,
    noted_at timestamptz not null default clock_timestamp(),
    primary key (entity, key)
);

alter table satchel.head
    add column verdict bigint not null default 0,  -- newest verdict
    add column writes bigint not null default 0;   -- newest write-through
