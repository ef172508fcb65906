-- standing --
-- The families in use, by name.
select id, entity, name, state, position from satchel.family where state <> 'retired'

-- make --
-- A new family, to be filled before users are bound to it.
insert into satchel.family (entity, name) values (%(entity)s, %(name)s) on conflict do nothing

-- set_ready --
update satchel.family set state = 'ready' where id = %(id)s

-- retire --
-- Its members stay as they are: they tell what devices hold. Its name becomes free, for it would be filled anew.
update satchel.family set state = 'retired', name = name || '/' || id, retired_op = (select op from satchel.head)
where id = %(id)s

-- set_position --
update satchel.family set position = %(position)s where id = %(id)s

-- try_publishing --
select pg_try_advisory_lock(7274312)

-- end_publishing --
select pg_advisory_unlock(7274312)

-- make_temporary --
insert into satchel.family (entity, name) values (%(entity)s, 'preview/' || gen_random_uuid()) returning id

-- buckets --
select b.id, f.name, b.key from satchel.bucket b join satchel.family f on f.id = b.family where b.id = any(%(buckets)s)
