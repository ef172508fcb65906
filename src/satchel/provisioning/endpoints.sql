-- register --
insert into satchel.sync_server (management_url) values (%(url)s)
on conflict (management_url) do update set seen_at = now()

-- leave --
delete from satchel.sync_server where management_url = %(url)s

-- alive --
select management_url from satchel.sync_server where seen_at > now() - make_interval(secs => 30)
