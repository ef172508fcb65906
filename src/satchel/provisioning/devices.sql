-- add_code --
insert into satchel.enrolment_code (code_hash, organization, user_id, user_name, expires_at)
values (%(code_hash)s, %(organization)s, %(user_id)s, %(user_name)s, now() + make_interval(secs => %(lifetime_seconds)s))

-- use_code --
-- One statement, so that a code that is used twice at once makes one device.
with code as (
    update satchel.enrolment_code c set used_at = now()
    from satchel.organization o
    where c.code_hash = %(code_hash)s and c.used_at is null and c.expires_at > now()
      and o.id = c.organization and o.name = %(organization)s
    returning c.organization, c.user_id, c.user_name
)
insert into satchel.device (id, organization, user_id, user_name, name, token_hash)
select %(id)s, organization, user_id, user_name, %(name)s, %(token_hash)s from code
returning user_id, user_name

-- sign_in --
insert into satchel.device (id, organization, user_id, user_name, name, token_hash, issuer, subject, signed_in_until)
select %(id)s, o.id, %(user_id)s, %(user_name)s, %(name)s, %(token_hash)s, %(issuer)s, %(subject)s,
    now() + make_interval(secs => %(seconds)s)
from satchel.organization o where o.name = %(organization)s

-- renew --
update satchel.device
set issuer = %(issuer)s, subject = %(subject)s, signed_in_until = now() + make_interval(secs => %(seconds)s)
where id::text = %(id)s

-- end_sign_in --
update satchel.device set signed_in_until = least(signed_in_until, now())
where id::text = %(id)s and signed_in_until is not null

-- by_token --
select d.id::text, o.name, d.user_id, d.user_name, d.name, d.blocked_at is not null, d.wipe_requested_at is not null,
    d.issuer, d.subject, d.signed_in_until
from satchel.device d join satchel.organization o on o.id = d.organization
where d.token_hash = %(token_hash)s

-- seen --
update satchel.device set last_seen_at = now()
where id = any(%(ids)s::uuid[])

-- revision --
select number from satchel.device_revision

-- list --
select d.id::text, d.name, d.user_name, d.user_id, d.created_at, d.last_seen_at, d.blocked_at is not null,
    d.wipe_requested_at, d.wipe_told_at, d.wiped_at, d.issuer, d.signed_in_until
from satchel.device d where d.organization = %(organization)s order by d.created_at

-- block --
update satchel.device set blocked_at = case when %(is_blocked)s then now() end
where id::text = %(id)s and organization = %(organization)s
returning id

-- wipe --
update satchel.device set wipe_requested_at = coalesce(wipe_requested_at, now())
where id::text = %(id)s and organization = %(organization)s
returning id

-- wipe_told --
update satchel.device set wipe_told_at = coalesce(wipe_told_at, now())
where id::text = %(id)s and wipe_requested_at is not null

-- wiped --
update satchel.device set wiped_at = coalesce(wiped_at, now())
where id::text = %(id)s and wipe_requested_at is not null
