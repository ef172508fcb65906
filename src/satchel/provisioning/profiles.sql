-- add --
-- The next version of a profile; the same text as the newest one is that one.
with newest as (
    select version, text from satchel.profile
    where organization = %(organization)s and name = %(name)s order by version desc limit 1
), added as (
    insert into satchel.profile (organization, name, version, text, comment)
    select %(organization)s, %(name)s, coalesce((select version from newest), 0) + 1, %(text)s, %(comment)s
    where not exists (select from newest where text = %(text)s)
    returning version
)
select version from added union all
select version from newest where not exists (select from added)

-- in_force --
select name, version from satchel.profile where organization = %(organization)s and is_published

-- unpublish --
update satchel.profile set is_published = false
where organization = %(organization)s and name = %(name)s and is_published

-- publish --
update satchel.profile set is_published = true
where organization = %(organization)s and name = %(name)s and version = %(version)s

-- note --
insert into satchel.publication (organization, name, version, comment)
values (%(organization)s, %(name)s, %(version)s, %(comment)s)

-- versions --
select name, version, text, comment, created_at, is_published,
    (select max(p.published_at) from satchel.publication p
     where p.organization = v.organization and p.name = v.name and p.version = v.version)
from satchel.profile v where organization = %(organization)s and (name = %(name)s or %(name)s = '')
order by name, version

-- publications --
select name, version, comment, published_at from satchel.publication
where organization = %(organization)s and (name = %(name)s or %(name)s = '') order by id
