-- take_turns --
select pg_advisory_xact_lock(7274320)

-- place --
update satchel.organization set server = coalesce(server, (
    select s.name from unnest(%(names)s::text[], %(weights)s::float8[]) as s (name, weight)
    left join (
        select server, count(*) as organizations from (
            select server from satchel.organization where server is not null
            union all select to_server from satchel.move where state = 'copying'
        ) placed group by server) l on l.server = s.name
    order by (coalesce(l.organizations, 0) + 1) / s.weight, s.name limit 1))
where id = %(id)s returning server

-- choose --
update satchel.organization set server = %(server)s
where id = %(id)s and (server is null or server = %(server)s) returning id

-- loads --
select coalesce(server, 'default'), count(*) from (
    select server from satchel.organization where state <> 'registered' or server is not null
    union all select to_server from satchel.move where state = 'copying'
) placed group by 1
