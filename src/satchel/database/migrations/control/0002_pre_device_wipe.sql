-- A wipe: ordered by an administrator, told to the device at its next contact, confirmed by it once all is erased.
alter table satchel.device
    add column wipe_requested_at timestamptz,
    add column wipe_told_at timestamptz,
    add column wiped_at timestamptz;
