-- add --
-- With its first profile, in force from the beginning.
with added as (
    insert into satchel.organization (name, source_kind, source_url, connection, database_name, tenants)
    values (%(name)s, %(source_kind)s, %(source_url)s, %(connection)s, %(database_name)s, %(tenants)s::text[])
    on conflict (name) do nothing
    returning id
), profile as (
    insert into satchel.profile (organization, name, version, text, is_published)
    select id, %(profile_name)s, 1, %(profile)s, true from added
), publication as (
    insert into satchel.publication (organization, name, version) select id, %(profile_name)s, 1 from added
)
select id from added

-- get --
select id, name, state, source_kind, source_url, connection,
    array(select p.text from satchel.profile p where p.organization = o.id and p.is_published order by p.name),
    database_name, problem, created_at, server, is_refilling, tenants
from satchel.organization o where name = %(name)s

-- list --
select id, name, state, source_kind, source_url, connection,
    array(select p.text from satchel.profile p where p.organization = o.id and p.is_published order by p.name),
    database_name, problem, created_at, server, is_refilling, tenants
from satchel.organization o order by name

-- set_state --
update satchel.organization set state = %(state)s, problem = null where id = %(id)s

-- set_problem --
update satchel.organization set problem = %(problem)s where id = %(id)s

-- set_connection --
update satchel.organization set connection = %(new)s where id = %(id)s and connection = %(old)s

-- set_tenants --
update satchel.organization set tenants = %(tenants)s::text[] where id = %(id)s

-- remove --
delete from satchel.organization where id = %(id)s

-- steps --
select name from satchel.step where organization = %(id)s

-- step_done --
insert into satchel.step (organization, name) values (%(id)s, %(step)s) on conflict do nothing

-- forget_steps --
delete from satchel.step where organization = %(id)s

-- leave_behind --
-- Its database is dropped later, when its server answers.
insert into satchel.leftover_database (server, database_name)
select coalesce(server, 'default'), database_name from satchel.organization where id = %(id)s on conflict do nothing

-- begin_anew --
-- Another database from now on.
update satchel.organization o set state = 'provisioning', problem = null, is_refilling = true,
    database_name = %(database_name)s, server = coalesce(%(server)s, o.server)
where o.id = %(id)s and o.state in ('active', 'broken') and not exists (select from satchel.move m where m.organization = o.id)
returning o.id

-- refilled --
-- Unless it began anew with another database meanwhile.
update satchel.organization set is_refilling = false where id = %(id)s and database_name = %(database_name)s

-- leftovers --
select server, database_name from satchel.leftover_database order by 1, 2

-- leftover_dropped --
delete from satchel.leftover_database where server = %(server)s and database_name = %(database_name)s
