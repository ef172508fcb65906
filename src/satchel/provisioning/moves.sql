-- find --
select id, from_server, to_server, state, is_aborted, progress, began_at from satchel.move
where organization = %(organization)s

-- begin --
insert into satchel.move (organization, id, from_server, to_server)
select o.id, %(id)s, coalesce(o.server, 'default'), %(server)s from satchel.organization o
where o.id = %(organization)s and o.state = 'active' and coalesce(o.server, 'default') <> %(server)s
on conflict (organization) do update set progress = satchel.move.progress
    where satchel.move.to_server = excluded.to_server and not satchel.move.is_aborted
returning id

-- abort --
update satchel.move set is_aborted = true where organization = %(organization)s and state = 'copying' returning id

-- note --
update satchel.move set progress = %(progress)s where id = %(id)s

-- switch --
-- Only where nobody aborted it; place and state move together, or neither does.
with moved as (
    update satchel.move m set state = 'switched', progress = 'switched'
    from satchel.organization o
    where m.id = %(id)s and m.state = 'copying' and not m.is_aborted
        and o.id = m.organization and o.state = 'active' and coalesce(o.server, 'default') = m.from_server
    returning m.organization, m.to_server
)
update satchel.organization o set server = m.to_server from moved m where o.id = m.organization returning o.id

-- end --
delete from satchel.move where id = %(id)s
