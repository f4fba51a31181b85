# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""A program of the demo: builds, sorts, writes and reads back some hundred thousand objects."""

import json
import random

rng = random.Random(1)
records = [{"id": i, "name": f"user-{rng.randrange(10**7):07}", "score": rng.random(),
            "tags": [str(rng.randrange(1000)) for _ in range(rng.randrange(8))]}
           for i in range(80000)]
records.sort(key=lambda r: (r["name"], r["id"]))
text = json.dumps(records)
index = {}
for record in json.loads(text):
    for tag in record["tags"]:
        index.setdefault(tag, []).append(record["name"])
print(len(text), len(index), sum(map(len, index.values())), records[0]["name"])
