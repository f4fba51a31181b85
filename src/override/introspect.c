/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * glibc's ways to look at an allocator and to tune it, answered from hak_stats. glibc's words, and
 * what they mean here:
 *
 *     arena     committed memory that is not huge   = uordblks + fordblks
 *     uordblks  live blocks that are not huge         fordblks  the rest of arena
 *     hblks     number of huge blocks                 hblkhd    their bytes
 *     keepcost  what malloc_trim could give back, about: free, with pages, and in no slab in use
 *
 * Numbers of free chunks (ordblks, smblks, fsmblks) have no meaning here, and are 0. */
#include "override/override.h"

#if HK_OVERRIDE
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>

#include "api/api.h"
#include "base/fmt.h" /* hk_fmt */

/* <malloc.h> of glibc, which musl and old glibc have in part only: so none of it is included. */
struct mallinfo {
	int arena, ordblks, smblks, hblks, hblkhd;
	int usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct mallinfo2 {
	size_t arena, ordblks, smblks, hblks, hblkhd;
	size_t usmblks, fsmblks, uordblks, fordblks, keepcost;
};
struct mallinfo mallinfo(void);
struct mallinfo2 mallinfo2(void);
int mallopt(int parameter, int value);
int malloc_trim(size_t pad);
int malloc_info(int options, FILE *out);
void malloc_stats(void);

enum {
	MXFAST = 1,         /* M_MXFAST */
	MXFAST_LIMIT = 160, /* 80 * sizeof(size_t) / 4 */
};

/* The parts are read one after the other while others allocate: no difference may wrap. */
static size_t less(size_t a, size_t b) { return a > b ? a - b : 0; }

static struct mallinfo2 glibc_view(const struct hak_stats *s)
{
	struct mallinfo2 m = { 0 };

	m.hblks = s->huge_blocks;
	m.hblkhd = s->huge;
	m.uordblks = less(s->live, s->huge);
	m.arena = hk_max(less(s->committed, s->huge), m.uordblks);
	m.fordblks = m.arena - m.uordblks;
	m.keepcost = hk_min(s->idle + s->warm + s->bigcache + s->dirty, m.fordblks);
	return m;
}

static int saturated(size_t n) { return n > INT_MAX ? INT_MAX : (int)n; }

HK_EXPORT struct mallinfo2 mallinfo2(void)
{
	struct hak_stats s;

	hak_stats_get(&s);
	return glibc_view(&s);
}

/* glibc's wraps past 2 GiB; a number that stands still at the limit misleads less. */
HK_EXPORT struct mallinfo mallinfo(void)
{
	struct mallinfo2 m = mallinfo2();

	return (struct mallinfo){
		.arena = saturated(m.arena),
		.hblks = saturated(m.hblks),
		.hblkhd = saturated(m.hblkhd),
		.uordblks = saturated(m.uordblks),
		.fordblks = saturated(m.fordblks),
		.keepcost = saturated(m.keepcost),
	};
}

/* Takes what glibc takes, so that programs that check go on: everything, unknown parameters too,
 * but for too large an M_MXFAST. None has an effect: each tunes a part of glibc's allocator that
 * has no counterpart here (thresholds of one heap's top, number of arenas), and the thresholds that
 * programs set for glibc would be wrong for the bound of a profile. */
HK_EXPORT int mallopt(int parameter, int value)
{
	return !(parameter == MXFAST && (value < 0 || value > MXFAST_LIMIT));
}

/* pad is what glibc would leave at the top of its main heap; there is none here. */
HK_EXPORT int malloc_trim(size_t pad)
{
	(void)pad;
	return hak_trim() > 0;
}

/* glibc's lines, less its maxima, which hakmem doesn't keep; then hakmem's own. One fputs: the text
 * stays whole among other threads' output. As in glibc, no cancellation point. */
HK_EXPORT void malloc_stats(void)
{
	struct hak_stats s;
	struct mallinfo2 m;
	char text[1024];
	int cancel;

	hak_stats_get(&s);
	m = glibc_view(&s);
	hk_fmt(text, sizeof(text),
	       "Arena 0:\n"
	       "system bytes     = %10zu\n"
	       "in use bytes     = %10zu\n"
	       "Total (incl. mmap):\n"
	       "system bytes     = %10zu\n"
	       "in use bytes     = %10zu\n"
	       "mmap regions     = %10zu\n"
	       "mmap bytes       = %10zu\n"
	       "hakmem:\n"
	       "held bytes       = %10zu\n"
	       "bound bytes      = %10zu\n"
	       "metadata bytes   = %10zu\n"
	       "mapped bytes     = %10zu\n"
	       "purged bytes     = %10zu\n"
	       "heaps            = %10u (%u running, %u parked)\n",
	       m.arena, m.uordblks, m.arena + m.hblkhd, m.uordblks + m.hblkhd, m.hblks, m.hblkhd,
	       s.held, s.bound, s.metadata, s.mapped, s.purged, s.heaps, s.heaps_running,
	       s.heaps_parked);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	fputs(text, stderr);
	pthread_setcancelstate(cancel, &cancel);
}

/* The elements that glibc's document has in its one heap and again at its end. `rest` counts free
 * chunks there; here free memory is one sum, so it counts as one, or as none. */
static size_t format_totals(char *buf, size_t size, const struct mallinfo2 *m, bool with_huge)
{
	size_t used = hk_fmt(buf, size,
			     "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
			     "<total type=\"rest\" count=\"%u\" size=\"%zu\"/>\n",
			     m->fordblks != 0, m->fordblks);

	if (with_huge)
		used += hk_fmt(buf + used, size - used,
			       "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n", m->hblks,
			       m->hblkhd);
	return used + hk_fmt(buf + used, size - used,
			     "<system type=\"current\" size=\"%zu\"/>\n"
			     "<aspace type=\"total\" size=\"%zu\"/>\n"
			     "<aspace type=\"mprotect\" size=\"%zu\"/>\n",
			     m->arena, m->arena, m->arena);
}

/* glibc's document, version 1: one heap, whose sums are those of the end. Less <sizes>, which lists
 * chunks, and <system type="max">, which hakmem doesn't keep. In each part
 * system current = rest + bytes in use. */
HK_EXPORT int malloc_info(int options, FILE *out)
{
	struct hak_stats s;
	struct mallinfo2 m;
	char text[1024];
	size_t used;

	if (options != 0)
		return EINVAL;
	hak_stats_get(&s);
	m = glibc_view(&s);
	used = hk_fmt(text, sizeof(text),
		      "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n</sizes>\n");
	used += format_totals(text + used, sizeof(text) - used, &m, false);
	used += hk_fmt(text + used, sizeof(text) - used, "</heap>\n");
	used += format_totals(text + used, sizeof(text) - used, &m, true);
	hk_fmt(text + used, sizeof(text) - used, "</malloc>\n");
	return fputs(text, out) < 0 ? errno : 0;
}

#endif
