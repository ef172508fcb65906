-- standing --
-- The families an organization has.
select id, entity, name, state from satchel.family

-- make --
-- A new family, to be filled before users are bound to it; a retired one comes back and is filled anew.
insert into satchel.family (entity, name) values (%(entity)s, %(name)s)
on conflict (entity, name) do update set state = 'filling'
returning id

-- set_state --
update satchel.family set state = %(state)s where id = %(id)s

-- bound_buckets --
-- The buckets of these families and keys (pairs), in ready families only, with their entities.
select f.entity, b.id
from unnest(%(families)s::integer[], %(keys)s::text[]) as k (family, key)
join satchel.bucket b on b.family = k.family and b.key = k.key
join satchel.family f on f.id = b.family and f.state = 'ready'
order by b.id
