-- Rises with every change of a device that decides whether and as whom it is let in: sync servers may believe what they
-- read of devices before, as long as this stands still. The notification says which device it was.
create table satchel.device_revision (
    is_only boolean primary key default true check (is_only),
    number bigint not null default 0
);
insert into satchel.device_revision default values;

create function satchel.note_device_change() returns trigger language plpgsql as $$
declare
    revision bigint;
begin
    update satchel.device_revision set number = number + 1 returning number into revision;
    perform pg_notify('satchel_device', revision || ' ' || old.id);
    return null;
end
$$;
create trigger device_changed after update on satchel.device for each row
when (to_jsonb(old) - '{last_seen_at,wipe_told_at,wiped_at}'::text[]
    is distinct from to_jsonb(new) - '{last_seen_at,wipe_told_at,wiped_at}'::text[])
execute function satchel.note_device_change();
create trigger device_gone after delete on satchel.device for each row execute function satchel.note_device_change();
