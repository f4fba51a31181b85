/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Transparent huge pages, as the kernel's flags in /proc/self/smaps tell: nowhere does hakmem ask for them
 * for good (hg), not where it has asked while a program grew, nor after pages have gone back; its tables
 * have none (nh), since a small program would have 2 MiB more where the system is set to always. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "door.h"

#define BLOCKS 3000u
#define TABLES (16 * T_MiB) /* the page map has at least this much */

static void *block[BLOCKS];
static char text[1 << 20];

static void read_smaps(void)
{
	int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t got;

	t_need(fd >= 0);
	while ((got = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)got;
	close(fd);
	text[used] = '\0';
}

struct mapping {
	uintptr_t start, end;
	size_t huge_kib;
	bool asks, refuses;
};

/* The next one of the text; false: that was the last. */
static bool next_mapping(char **at, struct mapping *m)
{
	unsigned long start, end;
	char *flags, *huge;

	if (*at == NULL || sscanf(*at, "%lx-%lx ", &start, &end) != 2)
		return false;
	huge = strstr(*at, "\nAnonHugePages:");
	flags = strstr(*at, "\nVmFlags:");
	t_need(huge != NULL && flags != NULL);
	*m = (struct mapping){ start, end, strtoul(huge + 15, NULL, 10), false, false };
	*at = strchr(flags + 1, '\n');
	if (*at != NULL)
		*(*at)++ = '\0';
	m->asks = strstr(flags, " hg") != NULL;
	m->refuses = strstr(flags, " nh") != NULL;
	return true;
}

static bool has_block(const struct mapping *m)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		if ((uintptr_t)block[i] >= m->start && (uintptr_t)block[i] < m->end)
			return true;
	}
	return false;
}

static void check_mappings(void)
{
	size_t with_blocks = 0, tables = 0;
	struct mapping m;
	char *at = text;

	read_smaps();
	while (next_mapping(&at, &m)) {
		t_check_at(!m.asks, m.start);
		if (has_block(&m)) {
			with_blocks++;
		} else if (m.refuses) {
			tables += m.end - m.start;
			t_equal(m.huge_kib, 0);
		}
	}
	t_check_at(with_blocks != 0 && with_blocks < 20, with_blocks);
	t_check_at(tables >= TABLES, tables);
}

/* 60 MiB of small blocks. */
static void growth(void)
{
	for (unsigned i = 0; i < 60000; i++) {
		char *p = T_MALLOC(1000);

		t_need(p != NULL);
		p[0] = p[999] = 1;
		block[i % BLOCKS] = p;
	}
	check_mappings();
}

static void flags(void)
{
	if (access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0)
		t_skip("a kernel without transparent huge pages");
	block[0] = T_MALLOC(100);
	check_mappings();
	for (unsigned i = 0; i < BLOCKS; i++) {
		block[i] = T_MALLOC(i % 3 == 0 ? 1000 : i % 3 == 1 ? 50000 : 400000);
		t_need(block[i] != NULL);
		memset(block[i], 1, 1000);
	}
	check_mappings();
	for (unsigned i = 0; i < BLOCKS; i += 2) {
		T_FREE(block[i]);
		block[i] = NULL;
	}
	T_TRIM();
	check_mappings();
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(flags), T_CASE(growth) };

	return t_main(argc, argv, cases, T_COUNT(cases));
}
