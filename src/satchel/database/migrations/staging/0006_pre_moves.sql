-- What the newest ops and verdicts were about, so that only the devices concerned are woken. Each holds only while its
-- `_to` equals the head: an older version moves the head without saying what it touched.
alter table satchel.head
    add column moved_from bigint not null default -1,   -- newest op before the last transaction that made ops
    add column moved_to bigint not null default -1,
    add column moved_buckets bytea,                     -- packed ids; null: too many, or some that nobody can hold yet
    add column verdicts_from bigint not null default -1,
    add column verdicts_to bigint not null default -1,
    add column verdicts_in text,                        -- id of the last transaction that gave verdicts
    add column verdict_devices text[];                  -- null: too many
