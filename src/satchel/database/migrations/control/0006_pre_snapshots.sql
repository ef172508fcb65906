-- Organizations that stand already get their recurring sealing.
insert into satchel.recurring_work (organization, work_item, interval_seconds)
select id, 'seal_snapshots', 30 from satchel.organization on conflict do nothing;
