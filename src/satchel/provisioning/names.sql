-- agree --
-- What is to stand in DNS follows from the organizations; a name that is wanted no more stays until it is gone there.
with wanted as (
    select name from satchel.organization where state in ('active', 'broken')
), added as (
    insert into satchel.dns_name (name, is_wanted) select name, true from wanted on conflict (name) do nothing
)
update satchel.dns_name n set is_wanted = not n.is_wanted, next_at = now(), problem = null
where n.is_wanted <> exists (select from wanted w where w.name = n.name)

-- due --
-- Taken by one process at a time; where it dies, another tries again later.
update satchel.dns_name n set next_at = now() + make_interval(secs => 60)
from (select name from satchel.dns_name where next_at <= now() order by next_at limit 100 for update skip locked) d
where n.name = d.name returning n.name

-- find --
select name, is_wanted, problem, checked_at from satchel.dns_name where name = %(name)s

-- list --
select name, is_wanted, problem, checked_at from satchel.dns_name order by name

-- done --
update satchel.dns_name set checked_at = now(), problem = %(problem)s, tries = %(tries)s,
    next_at = now() + make_interval(secs => %(seconds)s)
where name = %(name)s and is_wanted = %(is_wanted)s

-- failed --
update satchel.dns_name set problem = %(problem)s, tries = tries + 1,
    next_at = now() + make_interval(secs => least(300, power(2, least(tries, 8))))
where name = %(name)s

-- gone --
delete from satchel.dns_name where name = %(name)s and not is_wanted
