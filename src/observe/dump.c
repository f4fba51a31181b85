/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/check.h"
#include "base/fmt.h"
#include "base/options.h"
#include "base/tele.h"
#include "hakmem/hakmem.h"
#include "observe/stats.h"
#include "os/os.h"
#include "superslab/arena.h"
#include "superslab/squeeze.h"

static void HK_PRINTF(2, 3) print(int fd, const char *fmt, ...)
{
	char line[256];
	va_list args;
	size_t n;

	va_start(args, fmt);
	n = hk_vfmt(line, sizeof(line), fmt, args);
	va_end(args);
	hk_os_write(fd, line, n);
}

/* The summary, field by field: name and value. */
static void each_field(const struct hak_stats *s,
		       void (*fn)(int fd, const char *name, uint64_t value), int fd)
{
	fn(fd, "mapped", s->mapped);
	fn(fd, "committed", s->committed);
	fn(fd, "live", s->live);
	fn(fd, "huge", s->huge);
	fn(fd, "huge_blocks", s->huge_blocks);
	fn(fd, "held", s->held);
	fn(fd, "bound", s->bound);
	fn(fd, "metadata", s->metadata);
	fn(fd, "purged", s->purged);
	fn(fd, "blocks_out", s->blocks_out);
	fn(fd, "system_calls", s->system_calls);
	fn(fd, "heaps", s->heaps);
	fn(fd, "heaps_running", s->heaps_running);
	fn(fd, "heaps_parked", s->heaps_parked);
	fn(fd, "squeezes", s->squeezes);
}

static void field_text(int fd, const char *name, uint64_t value)
{
	print(fd, "hakmem: %-14s %14llu\n", name, (unsigned long long)value);
}

static void field_json(int fd, const char *name, uint64_t value)
{
	print(fd, ",\n \"%s\": %llu", name, (unsigned long long)value);
}

static const char *word_of(uint32_t squeezed) { return hk_squeeze_word((enum hk_squeeze)squeezed); }

static void summary_text(int fd)
{
	struct hak_stats s;

	hak_stats_get(&s);
	each_field(&s, field_text, fd);
	print(fd, "hakmem: %-14s %14s\n", "squeezed", word_of(s.squeezed));
}

static void summary_json(int fd)
{
	struct hak_stats s;

	hak_stats_get(&s);
	print(fd, "{\"schema\": \"hakmem-stats-1\",\n \"version\": \"%s\"", hak_version());
	each_field(&s, field_json, fd);
	print(fd, ",\n \"squeezed\": \"%s\"", word_of(s.squeezed));
	print(fd, "\n}\n");
}

/* %p in the name is the process id, so that the children of a process don't share a file. */
static void expand(char *buf, size_t size, const char *name)
{
	size_t n = 0;

	for (; *name != '\0' && n + 1 < size; name++) {
		if (name[0] == '%' && name[1] == 'p') {
			n += hk_fmt(buf + n, size - n, "%d", hk_os_pid());
			name++;
		} else {
			buf[n++] = *name;
		}
	}
	buf[n] = '\0';
}

static bool equal(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b)
		a++, b++;
	return *a == *b;
}

static void dump_summary(const char *where)
{
	char path[1024];
	int fd;

	if (equal(where, "0") || equal(where, ""))
		return;
	if (equal(where, "1")) {
		summary_text(2);
		return;
	}
	if (equal(where, "json")) {
		summary_json(2);
		return;
	}
	expand(path, sizeof(path), where);
	fd = hk_os_create(path);
	if (fd < 0) {
		hk_warn("HAKMEM_STATS=%s: can't write this file", where);
		return;
	}
	summary_json(fd);
	hk_os_close(fd);
}

static void dump_os(int fd)
{
	struct hk_os_counts c = hk_os_counts();

	print(fd,
	      "hakmem: os map %llu unmap %llu remap %llu purge %llu (%llu bytes) populate %llu other %llu\n",
	      (unsigned long long)c.map, (unsigned long long)c.unmap, (unsigned long long)c.remap,
	      (unsigned long long)c.purge, (unsigned long long)c.purged_bytes,
	      (unsigned long long)c.populate, (unsigned long long)c.other);
}

static void dump_superslabs(int fd)
{
	hk_unit ends[2] = { hk_arena_end(), HK_ARENA_UNITS + hk_arena_windows() * HK_WINDOW_UNITS };
	hk_unit starts[2] = { 0, HK_ARENA_UNITS };

	for (unsigned part = 0; part < 2; part++) {
		for (hk_unit u = starts[part]; u < ends[part]; u += HK_SS_UNITS) {
			const struct hk_superslab *ss = hk_ss_of(u);

			if (ss != NULL)
				print(fd, "hakmem: superslab %p used %u dirty %d\n",
				      hk_arena_address(u), ss->used, __builtin_popcount(ss->dirty));
		}
	}
}

static void dump_tiny(int fd)
{
	struct hk_class_count count[HK_BINS];

	hk_stats_classes(count);
	for (unsigned bin = 1; bin <= HK_TINY_BINS; bin++) {
		const struct hk_class_count *c = &count[bin];

		if (c->slabs != 0)
			print(fd,
			      "hakmem: tiny %4zu bytes: slabs %zu blocks %zu carved %zu out %zu\n",
			      hk_class_size(bin), c->slabs, c->capacity, c->carved, c->used);
	}
}

static void dump_warm(int fd)
{
	print(fd, "hakmem: warm units %zu", hk_stats_warm_units());
	if (HK_TELE_LEVEL >= 1)
		print(fd, " hits %llu misses %llu",
		      (unsigned long long)hk_tele_sum(HK_TELE_heap_warm_hit),
		      (unsigned long long)hk_tele_sum(HK_TELE_heap_warm_miss));
	print(fd, "\n");
}

static void dump_tele(int fd)
{
	for (unsigned row = 0; row < HK_TELE_ROWS; row++)
		print(fd, "hakmem: %-18s %12llu  %s\n", hk_tele_name((enum hk_tele_row)row),
		      (unsigned long long)hk_tele_sum((enum hk_tele_row)row),
		      hk_tele_meaning((enum hk_tele_row)row));
}

/* What the options ask to be told at exit. */
__attribute__((destructor)) static void dump_at_exit(void)
{
	if (HK_MINIMAL)
		return;
	dump_summary(hk_option_text(HK_OPT_STATS));
	if (hk_option(HK_OPT_SS_OS_STATS))
		dump_os(2);
	if (hk_option(HK_OPT_SS_STATS_DUMP))
		dump_superslabs(2);
	if (hk_option(HK_OPT_TINY_MEM_DUMP))
		dump_tiny(2);
	if (hk_option(HK_OPT_WARM_POOL_STATS))
		dump_warm(2);
	if (HK_TELE_LEVEL >= 1 && !equal(hk_option_text(HK_OPT_STATS), "0"))
		dump_tele(2);
}
