-- large --
-- Buckets in use with at least so many rows.
select m.bucket, f.entity, count(*)
from satchel.member m join satchel.family f on f.id = m.family
where m.is_live and f.state = 'ready'
group by m.bucket, f.entity having count(*) >= %(rows)s
order by m.bucket

-- in_use --
select id, bucket, generation, projection, op, rows, size_bytes, path, frames
from satchel.snapshot where retired_at is null

-- newest --
-- For each bucket the image of these columns that is in use.
select id, bucket, generation, projection, op, rows, size_bytes, path, frames
from satchel.snapshot
where retired_at is null and bucket = any(%(buckets)s) and projection = %(projection)s and generation = %(generation)s
order by bucket

-- by_id --
select id, bucket, generation, projection, op, rows, size_bytes, path, frames from satchel.snapshot where id = %(id)s

-- count_by_state --
select s.state, count(p.id) from (values ('current', false), ('retired', true)) as s (state, is_retired)
left join satchel.snapshot p on (p.retired_at is not null) = s.is_retired
group by s.state

-- tail_rows --
-- How many rows of the bucket changed behind an op, counted up to a limit.
select count(*) from (
    select from satchel.member where bucket = %(bucket)s and op > %(op)s limit %(limit)s
) m

-- retire --
update satchel.snapshot set retired_at = now() where id = any(%(ids)s) and retired_at is null

-- retire_bucket --
update satchel.snapshot set retired_at = now()
where bucket = %(bucket)s and projection = %(projection)s and retired_at is null

-- insert --
insert into satchel.snapshot (bucket, generation, projection, op, rows, size_bytes, path, frames)
values (%(bucket)s, %(generation)s, %(projection)s, %(op)s, %(rows)s, %(size_bytes)s, %(path)s, %(frames)s)

-- drop_retired --
delete from satchel.snapshot where retired_at < now() - make_interval(secs => %(seconds)s) returning path

-- forget --
delete from satchel.snapshot where path = any(%(paths)s)

-- forget_look --
delete from satchel.sealing

-- paths --
select path from satchel.snapshot

-- unfit --
-- Rows whose image must not be sent: they left the bucket since, or changed and stand in another bucket of the user.
with bound as materialized (select unnest(%(bound)s::bigint[]) as bucket)
select m.row_id from satchel.member m
where m.bucket = %(bucket)s and m.op > %(op)s and (not m.is_live or exists (
    select from satchel.member o
    where o.row_id = m.row_id and o.bucket <> m.bucket and o.is_live and o.bucket in (select bucket from bound)))

-- known_rows --
-- How many rows of an entity these buckets have, counted up to a limit.
select count(*) from (
    select from satchel.member m join satchel.family f on f.id = m.family and f.entity = %(entity)s
    where m.bucket = any(%(buckets)s) and m.is_live limit %(limit)s
) m

-- ask --
-- Note that columns are in use; once an hour is enough.
insert into satchel.projection as p (entity, digest, columns) values (%(entity)s, %(digest)s, %(columns)s)
on conflict (entity, digest) do update set asked_at = now() where p.asked_at < now() - interval '1 hour'

-- asked --
select columns from satchel.projection

-- forget_asked --
delete from satchel.projection where asked_at < now() - make_interval(secs => %(seconds)s)

-- looked --
select op, scope_version from satchel.sealing

-- newest_asked --
select exists (select from satchel.projection p, satchel.sealing s where p.asked_at > s.looked_at)

-- note_look --
insert into satchel.sealing (op, scope_version) values (%(op)s, %(scope_version)s)
on conflict (is_only) do update set op = excluded.op, scope_version = excluded.scope_version, looked_at = now()
