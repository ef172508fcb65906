-- Where each organization's staging database lives; null: it was not placed yet.
alter table satchel.organization add column server text;
update satchel.organization set server = 'default' where state <> 'registered';

-- Staging databases on their way to another server.
create table satchel.move (
    organization bigint primary key references satchel.organization on delete cascade,
    id text not null unique,
    from_server text not null,
    to_server text not null,
    state text not null default 'copying' check (state in (
        'copying',    -- the old place counts
        'switched')), -- the new one does; the old is to be dropped
    is_aborted boolean not null default false,
    progress text,
    began_at timestamptz not null default now()
);
