-- When a row was last changed at the source by an edit: what the source's audit has of that is no proof of a later one.
alter table satchel.written add column executed_at timestamptz;
-- Devices take turns.
create index edit_set_turn on satchel.edit_set (device, number) where state in ('waiting', 'sending');
