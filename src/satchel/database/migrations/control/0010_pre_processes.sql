-- Processes that are up, or ended without a word: each says every few seconds that it lives, and what it knows of itself.
create table satchel.process (
    instance text primary key,
    service text not null,
    host text not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    skew_seconds double precision not null default 0,  -- its clock against the database's
    facts text not null default '{}'                   -- JSON
);

-- Why recurring work does not succeed, and since when.
alter table satchel.recurring_work add column problem text, add column failing_since timestamptz;
