-- SPDX-License-Identifier: MIT
-- SPDX-FileCopyrightText: the hakmem authors
-- A program of the demo: a table and an index in memory, a big grouping and a big sort.
PRAGMA temp_store=memory;
CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n INTEGER);
WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 300000)
	INSERT INTO t SELECT i, hex((i * 7919) % 1000003) ||
		printf('-%020d', (i * 104729) % 1299709), i % 1000 FROM c;
CREATE INDEX t_name ON t(name);
SELECT count(*), max(l) FROM
	(SELECT n, length(group_concat(name)) AS l FROM t GROUP BY n ORDER BY l);
SELECT name FROM (SELECT name, n FROM t ORDER BY n DESC, name) LIMIT 1 OFFSET 250000;
