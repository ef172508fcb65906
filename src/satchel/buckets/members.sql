-- lost_rows --
-- Rows of lost buckets (still there, or gone since the checkpoint) that no bucket of the user holds.
select distinct f.entity, m.row_id
from satchel.member m
join satchel.bucket b on b.id = m.bucket
join satchel.family f on f.id = b.family
where m.bucket = any(%(lost)s) and (m.is_live or m.op > %(checkpoint)s)
  and not exists (
      select from satchel.member o where o.row_id = m.row_id and o.is_live and o.bucket = any(%(held)s)
  )
order by f.entity, m.row_id

-- tail --
-- What changed in the user's buckets behind the checkpoint, oldest first: each row once, with its verdict.
with recent as (
    select m.row_id, m.bucket, m.op
    from satchel.member m
    where m.bucket = any(%(held)s) and m.op > %(checkpoint)s
    order by m.op
    limit %(limit)s
)
select f.entity, r.row_id,
    exists (select from satchel.member o where o.row_id = r.row_id and o.is_live and o.bucket = any(%(bound)s)),
    max(max(r.op)) over (), sum(count(*)) over ()
from recent r
join satchel.bucket b on b.id = r.bucket
join satchel.family f on f.id = b.family
group by f.entity, r.row_id

-- load --
-- The next live members of buckets that a device does not have yet, bucket by bucket in op order.
select m.bucket, m.op, m.row_id
from satchel.member m
where m.bucket = any(%(buckets)s) and m.is_live and (m.bucket, m.op) > (%(bucket)s, %(op)s)
order by m.bucket, m.op
limit %(limit)s

-- entity_sizes --
-- About how many rows each entity has: the small ones come first.
select relname, greatest(reltuples, 0)::bigint from pg_class
where relnamespace = 'staging'::regnamespace and relkind = 'r'
