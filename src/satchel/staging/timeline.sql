-- is_other --
select timeline <> left(pg_walfile_name(pg_current_wal_lsn()), 8) from satchel.head

-- begin --
-- Those who notice it at the same time choose the same epoch.
update satchel.head set epoch = left(md5(epoch || left(pg_walfile_name(pg_current_wal_lsn()), 8)), 16),
    timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8)
where timeline <> left(pg_walfile_name(pg_current_wal_lsn()), 8)

-- stamp --
update satchel.head set timeline = left(pg_walfile_name(pg_current_wal_lsn()), 8)
