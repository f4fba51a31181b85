/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * Statistics as text and as JSON. docs/statistics.md says what each name means. */
#include <errno.h>
#include <string.h>

#include "base/fmt.h"
#include "base/options.h"
#include "base/tele.h"
#include "observe/stats.h"
#include "os/os.h"
#include "superslab/arena.h"

#define SCHEMA 1

/* Lines on their way to the writer, some at a time. */
struct out {
	hak_write_fn fn;
	void *arg;
	size_t used;
	char text[2048];
};

static void flush(struct out *o)
{
	if (o->used != 0)
		o->fn(o->text, o->used, o->arg);
	o->used = 0;
}

static void HK_PRINTF(2, 3) print(struct out *o, const char *fmt, ...)
{
	char line[256];
	va_list args;
	size_t n;

	va_start(args, fmt);
	n = hk_vfmt(line, sizeof(line), fmt, args);
	va_end(args);
	if (o->used + n > sizeof(o->text))
		flush(o);
	for (size_t i = 0; i < n; i++)
		o->text[o->used++] = line[i];
}

/* What a row of the summary is to `resident`. */
enum role { PART, OTHER };

struct row {
	char name[16];
	uint16_t offset;
	uint8_t bytes; /* of the field */
	uint8_t role;
};

#define ROW(field, role)                                                                           \
	{                                                                                          \
#field, offsetof(struct hak_stats, field), sizeof(((struct hak_stats *)0)->field), \
			role                                                                       \
	}

/* The names have their array's place, no pointer: a pointer would be a relocation at every start. */
static const struct row rows[] = {
	ROW(mapped, OTHER),        ROW(committed, OTHER),    ROW(resident, OTHER),
	ROW(live, PART),           ROW(spans, OTHER),        ROW(huge, OTHER),
	ROW(span_blocks, OTHER),   ROW(huge_blocks, OTHER),  ROW(slack_most, OTHER),
	ROW(bins, PART),           ROW(ways, PART),          ROW(mail, PART),
	ROW(quarantine, PART),     ROW(free_blocks, PART),   ROW(idle, PART),
	ROW(tails, PART),          ROW(warm, PART),          ROW(bigcache, PART),
	ROW(huge_cached, PART),    ROW(dirty, PART),         ROW(lazy, PART),
	ROW(prefaulted, PART),     ROW(metadata, PART),      ROW(uncarved, OTHER),
	ROW(held, OTHER),          ROW(bound, OTHER),        ROW(purged, OTHER),
	ROW(blocks_out, OTHER),    ROW(system_calls, OTHER), ROW(heaps, OTHER),
	ROW(heaps_running, OTHER), ROW(heaps_parked, OTHER), ROW(squeezed, OTHER),
	ROW(squeezes, OTHER),
};

static unsigned long long value_of(const struct hak_stats *sum, const struct row *row)
{
	const char *field = (const char *)sum + row->offset;

	return row->bytes == sizeof(uint32_t) ? *(const uint32_t *)(const void *)field
					      : *(const uint64_t *)(const void *)field;
}

/* With the share in resident of its parts. */
static void text_summary(struct out *o, const struct hak_stats *sum)
{
	for (unsigned i = 0; i < HK_COUNT_OF(rows); i++) {
		unsigned long long value = value_of(sum, &rows[i]);

		print(o, "hakmem: %-14s %14llu", rows[i].name, value);
		if (rows[i].role == PART && sum->resident != 0)
			print(o, " %3llu%%", (value * 100 + sum->resident / 2) / sum->resident);
		print(o, "\n");
	}
}

static void text_calls(struct out *o)
{
	struct hk_os_counts c = hk_os_counts();

	print(o,
	      "hakmem: os map %llu unmap %llu remap %llu purge %llu (%llu bytes) populate %llu other %llu\n",
	      (unsigned long long)c.map, (unsigned long long)c.unmap, (unsigned long long)c.remap,
	      (unsigned long long)c.purge, (unsigned long long)c.purged_bytes,
	      (unsigned long long)c.populate, (unsigned long long)c.other);
}

static void text_superslabs(struct out *o)
{
	hk_unit ends[2] = { hk_arena_end(), HK_ARENA_UNITS + hk_arena_windows() * HK_WINDOW_UNITS };
	hk_unit starts[2] = { 0, HK_ARENA_UNITS };

	for (unsigned part = 0; part < 2; part++) {
		for (hk_unit u = starts[part]; u < ends[part]; u += HK_SS_UNITS) {
			const struct hk_superslab *ss = hk_ss_of(u);

			if (ss != NULL)
				print(o, "hakmem: superslab %p used %u dirty %d\n",
				      hk_arena_address(u), ss->used, __builtin_popcount(ss->dirty));
		}
	}
}

static void text_classes(struct out *o, const struct hk_stats *s, unsigned bins)
{
	for (unsigned bin = 1; bin < bins; bin++) {
		const struct hak_class_stats *c = &s->class[bin];

		if (c->slabs != 0)
			print(o,
			      "hakmem: class %6zu bytes: slabs %zu blocks %zu carved %zu live %zu bins %zu"
			      " ways %zu mail %zu quarantine %zu free %zu resident %zu\n",
			      c->size, c->slabs, c->blocks, c->carved, c->live, c->bins, c->ways,
			      c->mail, c->quarantine, c->free_blocks, c->resident);
	}
}

static void text_warm(struct out *o, const struct hk_stats *s)
{
	print(o, "hakmem: warm units %zu", s->warm_units);
	if (HK_TELE_LEVEL >= 1)
		print(o, " hits %llu misses %llu",
		      (unsigned long long)hk_tele_sum(HK_TELE_heap_warm_hit),
		      (unsigned long long)hk_tele_sum(HK_TELE_heap_warm_miss));
	print(o, "\n");
}

static void text_counters(struct out *o)
{
	for (unsigned row = 0; row < HK_TELE_ROWS; row++)
		print(o, "hakmem: %-18s %12llu  %s\n", hk_tele_name((enum hk_tele_row)row),
		      (unsigned long long)hk_tele_sum((enum hk_tele_row)row),
		      hk_tele_meaning((enum hk_tele_row)row));
}

void hk_report_text(unsigned parts, hak_write_fn fn, void *arg)
{
	struct out o = { .fn = fn, .arg = arg };
	struct hk_stats s;

	hk_stats_take(&s);
	if ((parts & HK_PART_SUMMARY) != 0)
		text_summary(&o, &s.sum);
	if ((parts & HK_PART_CALLS) != 0)
		text_calls(&o);
	if ((parts & HK_PART_SUPERSLABS) != 0)
		text_superslabs(&o);
	if ((parts & (HK_PART_TINY | HK_PART_CLASSES)) != 0)
		text_classes(&o, &s, (parts & HK_PART_CLASSES) != 0 ? HK_BINS : HK_TINY_BINS + 1);
	if ((parts & HK_PART_WARM) != 0)
		text_warm(&o, &s);
	if ((parts & HK_PART_COUNTERS) != 0 && HK_TELE_LEVEL >= 1)
		text_counters(&o);
	flush(&o);
}

static void json_calls(struct out *o)
{
	struct hk_os_counts c = hk_os_counts();

	print(o,
	      ",\n \"calls\": {\"map\": %llu, \"unmap\": %llu, \"remap\": %llu, \"purge\": %llu,"
	      " \"purged_bytes\": %llu, \"populate\": %llu, \"other\": %llu}",
	      (unsigned long long)c.map, (unsigned long long)c.unmap, (unsigned long long)c.remap,
	      (unsigned long long)c.purge, (unsigned long long)c.purged_bytes,
	      (unsigned long long)c.populate, (unsigned long long)c.other);
}

static void json_classes(struct out *o, const struct hk_stats *s)
{
	const char *before = "";

	print(o, ",\n \"classes\": [");
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		const struct hak_class_stats *c = &s->class[bin];

		if (c->slabs == 0)
			continue;
		print(o, "%s\n  {\"size\": %zu, \"slabs\": %zu, \"blocks\": %zu, \"carved\": %zu",
		      before, c->size, c->slabs, c->blocks, c->carved);
		print(o, ", \"live\": %zu, \"bins\": %zu, \"ways\": %zu, \"mail\": %zu", c->live,
		      c->bins, c->ways, c->mail);
		print(o, ", \"quarantine\": %zu, \"free_blocks\": %zu, \"resident\": %zu}",
		      c->quarantine, c->free_blocks, c->resident);
		before = ",";
	}
	print(o, "]");
}

/* In the builds that count. */
static void json_counters(struct out *o)
{
	print(o, ",\n \"counters\": {");
	for (unsigned row = 0; row < HK_TELE_ROWS; row++)
		print(o, "%s\n  \"%s\": %llu", row != 0 ? "," : "",
		      hk_tele_name((enum hk_tele_row)row),
		      (unsigned long long)hk_tele_sum((enum hk_tele_row)row));
	print(o, "}");
}

void hk_report_json(unsigned number, hak_write_fn fn, void *arg)
{
	struct out o = { .fn = fn, .arg = arg };
	struct hk_stats s;
	char profile[32];

	hk_stats_take(&s);
	hk_option_get("PROFILE", profile, sizeof(profile));
	print(&o, "{\"schema\": %d,\n \"version\": \"%s\",\n \"profile\": \"%s\"", SCHEMA,
	      hak_version(), profile);
	print(&o, ",\n \"pid\": %d,\n \"number\": %u,\n \"time_ns\": %llu,\n \"page\": %zu",
	      hk_os_pid(), number, (unsigned long long)hk_os_now_ns(), hk_os_page());
	for (unsigned i = 0; i < HK_COUNT_OF(rows); i++)
		print(&o, ",\n \"%s\": %llu", rows[i].name, value_of(&s.sum, &rows[i]));
	print(&o, ",\n \"warm_units\": %zu", s.warm_units);
	json_calls(&o);
	json_classes(&o, &s);
	if (HK_TELE_LEVEL >= 1)
		json_counters(&o);
	print(&o, "\n}\n");
	flush(&o);
}

static void to_stderr(const char *text, size_t bytes, void *arg)
{
	(void)arg;
	hk_os_write(2, text, bytes);
}

int hak_stats_print(const char *format, hak_write_fn fn, void *arg)
{
	if (fn == NULL)
		fn = to_stderr;
	if (strcmp(format, "text") == 0)
		hk_report_text(~(unsigned)(HK_PART_SUPERSLABS | HK_PART_TINY), fn, arg);
	else if (strcmp(format, "json") == 0)
		hk_report_json(0, fn, arg);
	else
		return EINVAL;
	return 0;
}
