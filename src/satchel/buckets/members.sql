-- lost_rows --
-- Rows of lost buckets (still there, or gone since the checkpoint) that no bucket of the user holds.
-- The many held buckets are a hash table, not an array to be searched for each row.
with held as materialized (select unnest(%(held)s::bigint[]) as bucket)
select distinct f.entity, m.row_id
from satchel.member m
join satchel.family f on f.id = m.family
where m.bucket = any(%(lost)s) and (m.is_live or m.op > %(checkpoint)s)
  and not exists (
      select from satchel.member o where o.row_id = m.row_id and o.is_live and o.bucket in (select bucket from held)
  )
order by f.entity, m.row_id

-- tail --
-- What changed in the user's buckets behind the checkpoint, oldest first: each row once, with its verdict.
with bound as materialized (select unnest(%(bound)s::bigint[]) as bucket),
recent as (
    select m.row_id, m.family, m.op
    from satchel.member m
    where m.bucket = any(%(held)s) and m.op > %(checkpoint)s
    order by m.op
    limit %(limit)s
)
select f.entity, r.row_id,
    exists (select from satchel.member o where o.row_id = r.row_id and o.is_live and o.bucket in (select bucket from bound)),
    max(max(r.op)) over (), sum(count(*)) over ()
from recent r
join satchel.family f on f.id = r.family
group by f.entity, r.row_id

-- changed_rows --
-- What changed, for whoever holds some of these buckets: where it did, and where the row is now.
select c.row_id, f.entity, c.touched,
    array(select o.bucket from satchel.member o where o.row_id = c.row_id and o.is_live)
from (
    select m.row_id, min(m.family) as family, array_agg(m.bucket) as touched
    from satchel.member m
    where m.bucket = any(%(buckets)s) and m.op > %(after)s
    group by m.row_id
    limit %(limit)s
) c
join satchel.family f on f.id = c.family

-- load --
-- The next live members of buckets that a device does not have yet, bucket by bucket in op order.
select m.bucket, m.op, m.row_id
from satchel.member m
where m.bucket = any(%(buckets)s) and m.is_live and (m.bucket, m.op) > (%(bucket)s, %(op)s)
order by m.bucket, m.op
limit %(limit)s

-- load_unknown --
-- The same without rows that the device has by another bucket. A member made after the loading began does not count:
-- the device may have been told to drop the row in between.
with known as materialized (select unnest(%(known)s::bigint[]) as bucket)
select m.bucket, m.op, m.row_id
from satchel.member m
where m.bucket = any(%(buckets)s) and m.is_live and (m.bucket, m.op) > (%(bucket)s, %(op)s)
  and not (
      m.op <= %(began_at)s and m.content <= %(known_at)s and exists (
          select from satchel.member o where o.row_id = m.row_id and o.is_live and o.op <= %(known_at)s
          and o.bucket in (select bucket from known)))
order by m.bucket, m.op
limit %(limit)s

-- except_of --
select b.id from satchel.bucket b join satchel.family f on f.id = b.family
where b.id = any(%(buckets)s) and not f.entity = any(%(entities)s)

-- buckets_of_row --
select b.id, m.family, b.key from satchel.member m join satchel.bucket b on b.id = m.bucket
where m.row_id = %(row_id)s and m.is_live order by b.id

-- count_rows --
select f.entity, count(distinct m.row_id)
from unnest(%(buckets)s::bigint[]) as k (bucket)
join satchel.member m on m.bucket = k.bucket and m.is_live
join satchel.family f on f.id = m.family
group by f.entity

-- entity_sizes --
-- About how many rows each entity has: the small ones come first.
select relname, greatest(reltuples, 0)::bigint from pg_class
where relnamespace = 'staging'::regnamespace and relkind = 'r'
