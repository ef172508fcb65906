"""The queue: work items, their schedule, and the one place where a job's error decides what happens next."""
