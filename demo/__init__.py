"""`make demo`: the main job in one terminal."""
