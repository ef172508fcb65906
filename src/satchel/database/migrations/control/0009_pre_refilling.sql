-- After its staging database was lost or restored: devices and edits wait until every entity was read once.
alter table satchel.organization add column is_refilling boolean not null default false;

-- Databases that no organization uses any more; they are dropped when their server answers.
create table satchel.leftover_database (
    server text not null,
    database_name text not null,
    primary key (server, database_name)
);
