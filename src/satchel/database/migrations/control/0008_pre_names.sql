-- Names of organizations in DNS: what is to stand there, and what was seen there last.
create table satchel.dns_name (
    name text primary key,
    is_wanted boolean not null,
    problem text,
    tries integer not null default 0,
    checked_at timestamptz,
    next_at timestamptz not null default now()
);
create index on satchel.dns_name (next_at);
