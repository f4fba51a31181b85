/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "superslab/container.h"

#include <string.h>

#include "base/fmt.h"
#include "os/os.h"

#define PATH_BYTES 512
/* Looks between two searches for the group whose limit counts: limits and groups may change. */
#define SEARCH_EVERY 16u
/* Larger ones are the kernel's way to say that there is none. */
#define MOST_BYTES ((uint64_t)1 << 60)

enum version { NONE, V1, V2 };

struct names {
	char root[24], used[24], inactive[24];
	char limits[2][24]; /* "": only one */
};
static const struct names names[] = {
	[V1] = { "/sys/fs/cgroup/memory",
		 "memory.usage_in_bytes",
		 "total_inactive_file",
		 { "memory.limit_in_bytes", "" } },
	[V2] = { "/sys/fs/cgroup",
		 "memory.current",
		 "inactive_file",
		 { "memory.max", "memory.high" } },
};

static struct {
	enum version version; /* NONE: no limit was found */
	char folder[PATH_BYTES];
	unsigned looks;
} group;

static char text[4096]; /* of the file that was read last: threads may have small stacks */

static bool read_in(const char *folder, const char *name)
{
	char path[PATH_BYTES + 32];

	hk_fmt(path, sizeof(path), "%s/%s", folder, name);
	return hk_os_read(path, text, sizeof(text)) > 0;
}

/* Digits, and what they end at. SIZE_MAX: there are none ("max"), or far too many. */
static size_t parse_number(const char *digits, const char **end)
{
	const char *p = digits;
	uint64_t n = 0;

	for (; *p >= '0' && *p <= '9'; p++)
		n = n < MOST_BYTES ? n * 10 + (uint64_t)(*p - '0') : n;
	*end = p;
	return p == digits || n >= MOST_BYTES ? SIZE_MAX : n;
}

static size_t read_number(const char *folder, const char *name)
{
	const char *end;

	return read_in(folder, name) ? parse_number(text, &end) : SIZE_MAX;
}

static size_t read_limit(const char *folder, enum version version)
{
	size_t least = SIZE_MAX;

	for (unsigned i = 0; i < 2 && names[version].limits[i][0] != '\0'; i++)
		least = hk_min(least, read_number(folder, names[version].limits[i]));
	return least;
}

/* The number behind a line's first word; 0: there is no such line. */
static size_t number_of(const char *key)
{
	size_t length = strlen(key), n;
	const char *end;

	for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, length) != 0 || line[length] != ' ')
			continue;
		n = parse_number(line + length + 1, &end);
		return n == SIZE_MAX ? 0 : n;
	}
	return 0;
}

static bool has_word(const char *list, const char *end, const char *word)
{
	size_t length = strlen(word);

	for (; list < end; list++) {
		if ((size_t)(end - list) >= length && memcmp(list, word, length) == 0 &&
		    (list[length] == ',' || list + length == end))
			return true;
		while (list < end && *list != ',')
			list++;
	}
	return false;
}

/* The version of a line "number:controllers:path" if it is about memory. Else NONE. */
static enum version version_of(const char *line, const char **path)
{
	const char *list = strchr(line, ':'), *end;

	if (list == NULL)
		return NONE;
	list++;
	end = strchr(list, ':');
	if (end == NULL)
		return NONE;
	*path = end + 1;
	if (has_word(list, end, "memory"))
		return V1;
	return end == list && line[0] == '0' ? V2 : NONE;
}

/* Which folder /proc/self/cgroup names. Where both versions are there, memory is with the first one if
 * that has it. */
static enum version find_group(char folder[static PATH_BYTES])
{
	enum version version = NONE, now;
	const char *path, *end;

	if (hk_os_read("/proc/self/cgroup", text, sizeof(text)) <= 0)
		return NONE;
	for (const char *line = text; *line != '\0'; line = *end != '\0' ? end + 1 : end) {
		end = line + strcspn(line, "\n");
		now = version_of(line, &path);
		if (now == NONE || version == V1 || path > end)
			continue;
		version = now;
		hk_fmt(folder, PATH_BYTES, "%s", names[version].root);
		if (end - path > 1 && (size_t)(end - path) + strlen(folder) < PATH_BYTES) {
			size_t root = strlen(folder);

			memcpy(folder + root, path, (size_t)(end - path));
			folder[root + (size_t)(end - path)] = '\0';
		}
	}
	return version;
}

/* The group itself, then those above it. */
static void search(void)
{
	char folder[PATH_BYTES];
	enum version version = find_group(folder);
	size_t least = SIZE_MAX;

	group.version = NONE;
	while (version != NONE) {
		size_t limit = read_limit(folder, version);

		if (limit < least) {
			least = limit;
			group.version = version;
			memcpy(group.folder, folder, sizeof(folder));
		}
		if (strlen(folder) <= strlen(names[version].root))
			break;
		*strrchr(folder, '/') = '\0';
	}
}

/* "some avg10=1.23 …": 123. */
static uint32_t parse_stalled(void)
{
	static const char before[] = "some avg10=";
	const char *at = strstr(text, before), *end;
	size_t whole, part = 0;

	if (at == NULL)
		return 0;
	whole = parse_number(at + sizeof(before) - 1, &end);
	if (end[0] == '.' && end[1] >= '0' && end[1] <= '9' && end[2] >= '0' && end[2] <= '9')
		part = (size_t)(end[1] - '0') * 10 + (size_t)(end[2] - '0');
	return whole > 100 ? 0 : (uint32_t)(whole * 100 + part);
}

static uint32_t read_stalled(void)
{
	if (group.version == V2 && read_in(group.folder, "memory.pressure"))
		return parse_stalled();
	return read_in("/proc/pressure", "memory") ? parse_stalled() : 0;
}

struct hk_container hk_container_look(void)
{
	struct hk_container c = { 0 };
	const struct names *name;
	size_t limit;

	if (group.looks++ % SEARCH_EVERY == 0)
		search();
	c.stalled = read_stalled();
	if (group.version == NONE)
		return c;
	name = &names[group.version];
	limit = read_limit(group.folder, group.version);
	c.used = read_number(group.folder, name->used);
	if (limit == SIZE_MAX || c.used == SIZE_MAX)
		return (struct hk_container){ .stalled = c.stalled };
	c.limit = hk_max(limit, 1);
	/* this file is dear: only where it may matter */
	if (c.used > limit / 2 && read_in(group.folder, "memory.stat"))
		c.used -= hk_min(c.used, number_of(name->inactive));
	return c;
}
