-- note_op --
insert into satchel.op_time (op, noted_at) select op, %(now)s from satchel.head on conflict do nothing

-- raise_floor --
-- The newest op that is old enough. It never falls.
update satchel.head set floor = greatest(floor, coalesce(
    (select max(op) from satchel.op_time where noted_at <= %(until)s), 0))
returning floor

-- forget_times --
-- What lies before the floor is of no more use.
delete from satchel.op_time where op < %(floor)s

-- drop_tombstones --
-- An image of a bucket needs what was removed since it was sealed.
with old as (
    select m.row_id, m.bucket from satchel.member m
    where not m.is_live and m.op <= %(floor)s
      and not exists (select from satchel.snapshot s where s.bucket = m.bucket and s.op < m.op)
    order by m.op limit %(limit)s for update skip locked
)
delete from satchel.member m using old o where m.row_id = o.row_id and m.bucket = o.bucket

-- drop_families --
-- Retired before the floor: nobody whose cursor is still good holds them. Their members and buckets go with them.
delete from satchel.family where id = (
    select id from satchel.family where state = 'retired' and retired_op < %(floor)s order by id limit 1)

-- drop_buckets --
-- Who holds one of these loses nothing; a row that comes for such a key makes another bucket.
delete from satchel.bucket b
where not exists (select from satchel.member m where m.bucket = b.id)
  and exists (select from satchel.family f where f.id = b.family and f.state = 'ready')
