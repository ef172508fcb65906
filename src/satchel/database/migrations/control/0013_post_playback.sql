-- Where nothing waits, playback is looked at once a minute; where something does, it sees to it by itself.
update satchel.recurring_work set interval_seconds = 60 where work_item = 'playback';
