-- What is known of the source, for people who look.
create table satchel.source (
    abilities text not null,             -- JSON
    found_at timestamptz not null default now()
);
create unique index source_is_one on satchel.source ((true));
