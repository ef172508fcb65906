-- The request that an edit set came with (traceparent): its playback belongs to the same trace.
alter table satchel.edit_set add column trace text;
