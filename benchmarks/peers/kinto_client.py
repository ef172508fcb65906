"""Kinto's own client (kinto-http), run in Kinto's environment: `load URL FILE`, `read URL`. Prints one JSON line."""

from __future__ import annotations

import json
import sys
import time

import kinto_http  # type: ignore[import-not-found]

SETS_IN_A_BATCH = 500
PLACE = {"bucket": "bench", "id": "contacts"}
READ = {"bucket": "bench", "collection": "contacts"}


def main() -> None:
    """Do what is asked."""
    what, url = sys.argv[1:3]
    client = kinto_http.Client(server_url=url, auth=("bench", "bench"))
    if what == "load":
        with open(sys.argv[3]) as file:
            rows = [json.loads(line) for line in file]
        client.create_bucket(id="bench", if_not_exists=True)
        client.create_collection(**PLACE, if_not_exists=True)
        began = time.perf_counter()
        for start in range(0, len(rows), SETS_IN_A_BATCH):
            with client.batch() as batch:
                for row in rows[start : start + SETS_IN_A_BATCH]:
                    batch.create_record(data=row, **READ, safe=False)
        count = len(rows)
    else:
        began = time.perf_counter()
        count = len(client.get_records(**READ))
    sys.stdout.write(json.dumps({"rows": count, "seconds": time.perf_counter() - began}) + "\n")


if __name__ == "__main__":
    main()
