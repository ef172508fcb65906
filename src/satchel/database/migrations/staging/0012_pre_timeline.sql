-- The server's timeline that the numbers were given on: on another one, some may have been given out before.
alter table satchel.head add column timeline text not null default '';
update satchel.head set timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8);
