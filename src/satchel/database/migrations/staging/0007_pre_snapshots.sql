-- Sealed images of large buckets. A row stands here only after its object is written; an object without one is swept.
create table satchel.snapshot (
    id bigint generated always as identity primary key,
    bucket bigint not null references satchel.bucket on delete cascade,
    generation text not null,            -- of the entity's table
    projection text not null,            -- digest of the columns
    op bigint not null,                  -- the head as of which it was sealed
    rows bigint not null,
    size_bytes bigint not null,
    path text not null,
    frames text not null,                -- JSON: offset, size, rows, first key of each
    sealed_at timestamptz not null default now(),
    retired_at timestamptz               -- another took its place; kept for downloads under way
);
create unique index snapshot_in_use on satchel.snapshot (bucket, projection) where retired_at is null;

-- Columns in use for which there may be no images yet: devices asked for them.
create table satchel.projection (
    entity text not null,
    digest text not null,
    columns text not null,               -- JSON: the entity as the devices see it
    asked_at timestamptz not null default now(),
    primary key (entity, digest)
);

-- Where sealing last looked at all buckets: with too few ops since then there is nothing to do.
create table satchel.sealing (
    is_only boolean primary key default true check (is_only),
    op bigint not null,
    scope_version bigint not null,
    looked_at timestamptz not null default now()
);
