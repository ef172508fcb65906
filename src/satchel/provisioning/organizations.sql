-- add --
insert into satchel.organization (name, source_kind, source_url, connection, profile, database_name)
values (%(name)s, %(source_kind)s, %(source_url)s, %(connection)s, %(profile)s, %(database_name)s)
on conflict (name) do nothing
returning id

-- get --
select id, name, state, source_kind, source_url, connection, profile, database_name, problem, created_at
from satchel.organization where name = %(name)s

-- list --
select id, name, state, source_kind, source_url, connection, profile, database_name, problem, created_at
from satchel.organization order by name

-- set_state --
update satchel.organization set state = %(state)s, problem = null where id = %(id)s

-- set_problem --
update satchel.organization set problem = %(problem)s where id = %(id)s

-- set_profile --
update satchel.organization set profile = %(profile)s where id = %(id)s

-- remove --
delete from satchel.organization where id = %(id)s

-- steps --
select name from satchel.step where organization = %(id)s

-- step_done --
insert into satchel.step (organization, name) values (%(id)s, %(step)s) on conflict do nothing

-- forget_steps --
delete from satchel.step where organization = %(id)s
