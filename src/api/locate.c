/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "api/locate.h"

#include "api/api.h"
#include "api/mode.h"
#include "slab/hard_slab.h"
#include "slab/huge.h"

static struct hk_located in_slab(const void *p, hk_unit unit, uint32_t word,
				 struct hk_offence where)
{
	struct hk_slab *s = hk_slab_of(unit);
	bool hardened = hk_word_is_hardened(word);
	size_t bytes = hardened ? hk_hard_slab_usable(s) : hk_slab_block_bytes(s);
	size_t inside = hk_slab_inside(s, p);

	if (HK_UNLIKELY(inside != 0))
		hk_heap_die_inside(where, p, inside, bytes);
	if (hardened && HK_UNLIKELY(!hk_hard_slab_is_out(s, p)))
		hk_heap_die_already_free(where, p, bytes);
	return (struct hk_located){ .place = HK_AT_SLAB,
				    .bytes = bytes,
				    .slab = s,
				    .hardened = hardened,
				    .owner = hk_word_id(word) };
}

static struct hk_located in_span(const void *p, hk_unit unit, struct hk_offence where)
{
	struct hk_span *s = hk_span_around(unit);
	size_t inside = (size_t)((const char *)p - (const char *)hk_arena_address(s->unit));

	if (HK_UNLIKELY(inside != 0))
		hk_heap_die_inside(where, p, inside, hk_span_usable(s));
	return (struct hk_located){ .place = HK_AT_SPAN,
				    .bytes = hk_span_usable(s),
				    .span = s,
				    .hardened = hk_span_is_hardened(s),
				    .owner = s->owner };
}

/* p is in a unit that holds no block; its record may still tell what it was. */
static HK_COLD HK_NORETURN void in_free(const void *p, hk_unit unit, uint32_t word,
					struct hk_offence where)
{
	const struct hk_slab *s;

	if ((word & HK_WORD_WAS_SPAN) != 0 && p == hk_arena_address(unit))
		hk_heap_die_already_free(where, p, hk_span_usable(hk_span_at(unit)));
	if ((word & HK_WORD_WAS_SLAB) != 0) {
		s = hk_slab_of(unit);
		if (hk_slab_inside(s, p) == 0)
			hk_heap_die_already_free(where, p, hk_slab_block_bytes(s));
	}
	hk_die(where, "invalid pointer %p", p);
}

struct hk_located hk_locate(const void *p, struct hk_offence where)
{
	hk_unit unit = hk_arena_unit(p);
	uint32_t word = unit == HK_NO_UNIT ? 0 : hk_page_word(unit);
	struct hk_located at = { .place = HK_AT_FOREIGN };

	if (hk_word_is_slab(word))
		return in_slab(p, unit, word, where);
	switch ((enum hk_kind)hk_word_id(word)) {
	case HK_KIND_SPAN:
	case HK_KIND_SPAN_INSIDE:
		return in_span(p, unit, where);
	case HK_KIND_NONE:
		at.bytes = hk_huge_usable(p, &at.owner);
		if (at.bytes != 0)
			at.place = HK_AT_HUGE;
		return at;
	case HK_KIND_FREE:
	case HK_KINDS:
		break;
	}
	in_free(p, unit, word, where);
}

void hk_locate_foreign(const void *p, struct hk_offence where)
{
	if (hk_mode() == HK_MODE_LIBC)
		return;
	hk_huge_explain(p, where);
	if (hk_libc != NULL && hk_libc->may_own(p))
		return;
	hk_die(where, "invalid pointer %p", p);
}
