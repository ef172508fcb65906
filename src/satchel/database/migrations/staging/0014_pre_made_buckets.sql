-- Which buckets the ops up to made_to brought into being, and all they touched: nobody holds the new ones, but a sync
-- server can tell from their keys whose they are. moved_buckets stays null then: servers of the version before wake all.
alter table satchel.head
    add column made_to bigint not null default -1,
    add column made_buckets bytea,
    add column touched_buckets bytea;
