"""What a device meets: the first sync, a million rows, rows it may no longer have, edits."""
