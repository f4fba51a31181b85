/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SUPERSLAB_CONTAINER_H
#define HK_SUPERSLAB_CONTAINER_H
/* BOX container - what the system says of the memory that this process may use.
 * Owns:       where the control group's files are.    Not: what follows from them (squeeze).
 * Invariants: none.
 * Threads:    one at a time.
 * Locks:      none; none held by callers: files are opened, read and closed.
 * Fails:      what can't be read is no limit, and no pressure.
 *
 *   version 1   /sys/fs/cgroup/memory/GROUP   memory.limit_in_bytes, memory.usage_in_bytes
 *   version 2   /sys/fs/cgroup/GROUP          memory.max, memory.high, memory.current
 *   both        memory.stat: file pages that nobody has used of late are dropped first, and do not count
 *   pressure    memory.pressure of a group of version 2, else /proc/pressure/memory
 *
 * GROUP is what /proc/self/cgroup says, or the root, which in a container is its own group. Of the
 * group and those above it, as far as they can be seen, the one with the smallest limit counts. */
#include "base/base.h"

struct hk_container {
	size_t limit; /* bytes; 0: none */
	size_t used;  /* of them, by the whole group */
	uint32_t
		stalled; /* of the last 10 s, hundredths of a percent: some task waited for memory */
};

struct hk_container hk_container_look(void);

#endif
