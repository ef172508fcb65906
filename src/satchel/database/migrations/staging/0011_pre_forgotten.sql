-- Of a set that was settled long ago only what became of it is kept.
alter table satchel.edit_set add column is_forgotten boolean not null default false;
drop index satchel.edit_set_settled;
create index edit_set_settled on satchel.edit_set (settled_at) where state = 'settled' and not is_forgotten;
create index edit_set_forgotten on satchel.edit_set (settled_at) where is_forgotten;
