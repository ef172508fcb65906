-- add_link --
insert into satchel.console_link (code_hash, expires_at)
values (%(code_hash)s, now() + make_interval(secs => %(seconds)s)) returning true

-- use_link --
-- Of two that come with the same link, one gets it.
delete from satchel.console_link where code_hash = %(code_hash)s returning expires_at > now()

-- begin --
insert into satchel.console_session (token_hash, name, permissions, expires_at, proved_until, sealed_refresh)
values (%(token_hash)s, %(name)s, %(permissions)s, now() + make_interval(secs => %(seconds)s),
    now() + make_interval(secs => %(proof_seconds)s), %(sealed_refresh)s) returning true

-- find --
-- Noted at most once a minute, so that looking costs no write.
with found as (
    select * from satchel.console_session where token_hash = %(token_hash)s and expires_at > now()
    and seen_at > now() - make_interval(secs => %(idle_seconds)s)
), noted as (
    update satchel.console_session s set seen_at = now() from found f
    where s.token_hash = f.token_hash and f.seen_at < now() - interval '1 minute'
)
select token_hash, name, permissions, proved_until <= now(), sealed_refresh from found

-- claim --
-- Of several requests that find a session to be proved anew, one does it; the others go on meanwhile.
update satchel.console_session set proved_until = now() + make_interval(secs => %(seconds)s)
where token_hash = %(token_hash)s and proved_until <= now() returning true

-- proved --
update satchel.console_session set name = %(name)s, permissions = %(permissions)s,
    sealed_refresh = %(sealed_refresh)s, proved_until = now() + make_interval(secs => %(proof_seconds)s)
where token_hash = %(token_hash)s returning true

-- end --
delete from satchel.console_session where token_hash = %(token_hash)s returning true

-- tidy --
with links as (delete from satchel.console_link where expires_at < now())
delete from satchel.console_session where expires_at < now()
or seen_at < now() - make_interval(secs => %(idle_seconds)s) returning true
