-- Typed tables of the entities live in schema staging; what Satchel keeps about them in schema satchel.
create schema staging;

-- One row. Its lock is the organization's write lock, so that ops are committed in the order of their ids.
create table satchel.head (
    is_only boolean primary key default true check (is_only),
    epoch text not null,                 -- made anew with the database: a cursor of an earlier one starts over
    op bigint not null default 0,        -- newest op id
    binding bigint not null default 0,   -- rises when principals or families change: users' buckets may be others
    model text not null default '{"entities":[]}',  -- client model (JSON)
    model_digest text not null default '',
    scope text not null default '{}'     -- compiled profile (JSON): families, principals
);

create table satchel.watermark (
    entity text primary key,
    generation text not null default gen_random_uuid()::text,  -- of the table: a rebuilt entity has another
    watermark text,                      -- JSON; null: nothing was read yet
    version bigint not null default 0,   -- rises with every page: a page applies only behind the one it was read behind
    strategy text,
    pulled_at timestamptz,               -- end of the last complete read
    reconciled_at timestamptz,
    must_reconcile boolean not null default false,  -- a full read ended; keys are to be compared
    problem text
);

create sequence satchel.row_id as bigint;

create table satchel.family (
    id integer generated always as identity primary key,
    entity text not null,
    name text not null,
    state text not null default 'filling' check (state in ('filling', 'ready', 'retired')),  -- users are bound to ready ones only
    unique (entity, name)
);

create table satchel.bucket (
    id bigint generated always as identity primary key,
    family integer not null references satchel.family on delete cascade,
    key text not null,
    unique (family, key)
);

-- The latest op of each pair: the log is compact by construction.
create table satchel.member (
    row_id bigint not null,
    bucket bigint not null references satchel.bucket on delete cascade,
    op bigint not null,
    is_live boolean not null,
    primary key (row_id, bucket)
);
create index member_by_op on satchel.member (bucket, op);

-- Keys seen at the source by a reconciliation under way.
create unlogged table satchel.source_key (
    entity text not null,
    key text[] not null
);
create index on satchel.source_key (entity, key);

-- Rows of the source that could not be staged, with the reason; never dropped in silence.
create table satchel.unusable_row (
    entity text not null,
    key text not null,
    reason text not null,
    seen_at timestamptz not null default now(),
    primary key (entity, key)
);
