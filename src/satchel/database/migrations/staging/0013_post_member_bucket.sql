-- That members have their buckets is checked once a statement instead of once a row: a look and a lock for each.
-- No bucket goes meanwhile: those who make members, and those who drop buckets, hold the write lock.
alter table satchel.member drop constraint member_bucket_fkey;

create function satchel.check_member_buckets() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
    if exists (select from made m where not exists (select from satchel.bucket b where b.id = m.bucket)) then
        raise foreign_key_violation using message = 'a member without a bucket';
    end if;
    return null;
end $$;
create trigger has_bucket after insert on satchel.member referencing new table as made
    for each statement execute function satchel.check_member_buckets();

create function satchel.drop_bucket_members() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
    delete from satchel.member m using gone g where m.bucket = g.id;
    return null;
end $$;
create trigger drops_members after delete on satchel.bucket referencing old table as gone
    for each statement execute function satchel.drop_bucket_members();
