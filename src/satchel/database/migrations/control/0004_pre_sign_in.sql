-- Devices whose user signed in at an issuer: the token counts until the sign-in must be proved anew.
alter table satchel.device
    add column issuer text,
    add column subject text,
    add column signed_in_until timestamptz;

-- The scope is compiled anew: users are staged with the attributes that sign-ins find them by.
update satchel.recurring_work set next_at = now() where work_item = 'refresh_model';
