"""`make bench`: figures of the main job, with real processes on this machine."""
