create table satchel.organization (
    id bigint generated always as identity primary key,
    name text not null unique,
    state text not null default 'registered'
        check (state in ('registered', 'provisioning', 'active', 'deprovisioning', 'broken')),
    source_kind text not null,
    source_url text not null,
    connection bytea not null,           -- sealed: address and credentials of the source
    profile text not null,               -- the offline profile, as the administrator wrote it (TOML)
    database_name text not null unique,  -- staging database, also the name of its role
    problem text,                        -- why it is broken, or what it waits for
    created_at timestamptz not null default now()
);

-- Steps of provisioning and deprovisioning that are done: a crashed run resumes behind them.
create table satchel.step (
    organization bigint not null references satchel.organization on delete cascade,
    name text not null,
    done_at timestamptz not null default now(),
    primary key (organization, name)
);

-- Recurring work items; the provisioning service defers the ones that are due.
create table satchel.recurring_work (
    organization bigint not null references satchel.organization on delete cascade,
    work_item text not null,
    entity text not null default '',
    interval_seconds double precision not null check (interval_seconds > 0),
    next_at timestamptz not null default now(),
    primary key (organization, work_item, entity)
);
create index on satchel.recurring_work (next_at);

create table satchel.enrolment_code (
    code_hash bytea primary key,
    organization bigint not null references satchel.organization on delete cascade,
    user_id text not null,
    user_name text not null,
    expires_at timestamptz not null,
    used_at timestamptz
);
create index on satchel.enrolment_code (organization);

create table satchel.device (
    id uuid primary key,
    organization bigint not null references satchel.organization on delete cascade,
    user_id text not null,
    user_name text not null,
    name text not null,
    token_hash bytea not null unique,
    created_at timestamptz not null default now(),
    last_seen_at timestamptz,
    blocked_at timestamptz
);
create index on satchel.device (organization);

-- Sync servers that are up; the worker and the provisioning service talk to their management endpoints.
create table satchel.sync_server (
    management_url text primary key,
    seen_at timestamptz not null default now()
);
