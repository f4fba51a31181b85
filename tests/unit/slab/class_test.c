/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* class: every size there is, and every byte of every slab. */
#include "slab/class.h"

#include "slab/block.h"
#include "unit.h"

static void c1_smallest_that_fits(void)
{
	unsigned last = 0;

	for (size_t n = 1; n <= HK_CLASS_MAX; n++) {
		unsigned bin = hk_class_bin(n);

		t_need(bin >= 1 && bin < HK_BINS);
		t_check_at(n <= hk_class_size(bin), n);
		t_check_at(bin == 1 || hk_class_size(bin - 1) < n, n);
		t_check_at(bin == last || bin == last + 1, n); /* every bin is in use */
		last = bin;
	}
	t_equal(last, HK_BINS - 1);
	t_equal(hk_class_bin(0), 0); /* the fast path's size 0 */
}

static void c2_sizes(void)
{
	for (unsigned bin = 1; bin < HK_BINS; bin++)
		t_check_at(hk_class_size(bin) % 16 == 0, bin);
	for (size_t n = 16; n <= HK_CLASS_MAX; n *= 2)
		t_check_at(hk_class_size(hk_class_bin(n)) == n, n);
	for (unsigned bin = 65; bin < HK_BINS; bin++) /* four a doubling waste a fifth at most */
		t_check_at(hk_class_size(bin) * 4 <= hk_class_size(bin - 1) * 5, bin);
	for (size_t n = 1024; n <= 4096; n *= 2) /* a page and a header */
		t_check_at(hk_class_size(hk_class_bin(n + n / 8)) == n + n / 8, n);
}

static void slabs(void)
{
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		const struct hk_class *c = &hk_classes[bin];
		size_t bytes = c->units * HK_UNIT_BYTES;

		t_check_at(c->units >= 1 && c->units <= HK_SLAB_MAX_UNITS, bin);
		t_check_at(c->capacity >= 4 && c->capacity <= HK_SLAB_MAX_BLOCKS, bin);
		t_check_at(c->capacity * c->size <= bytes, bin);
		t_check_at((c->capacity + 1u) * c->size > bytes, bin);
	}
}

/* hk_class_index divides exactly, for each byte of a slab. */
static void inverse(void)
{
	for (unsigned bin = 1; bin < HK_BINS; bin++) {
		uint32_t size = hk_classes[bin].size, end = hk_classes[bin].units << HK_UNIT_SHIFT;

		for (uint32_t offset = 0, index = 0; offset < end; index++) {
			uint32_t next = hk_min(offset + size, end);

			for (; offset < next; offset++)
				if (hk_class_index(bin, offset) != index)
					t_check_at(hk_class_index(bin, offset) == index, offset);
		}
	}
}

static unsigned search_aligned(size_t n, size_t alignment)
{
	for (unsigned bin = 1; bin < HK_BINS; bin++)
		if (hk_class_size(bin) >= n && hk_class_size(bin) % alignment == 0)
			return bin;
	return 0;
}

static void aligned(void)
{
	uint64_t seed = 1;

	for (size_t alignment = 1; alignment <= HK_UNIT_BYTES; alignment *= 2) {
		for (unsigned i = 0; i < 2000; i++) {
			size_t n = i < 300 ? i : t_below(&seed, HK_CLASS_MAX + 3);
			unsigned bin = hk_class_bin_aligned(n, alignment);

			t_check_at(bin == search_aligned(n > 1 ? n : 1, alignment), n);
		}
	}
	t_equal(hk_class_bin_aligned(16, 2 * HK_UNIT_BYTES), 0);
	t_equal(hk_class_bin_aligned(HK_CLASS_MAX + 1, 16), 0);
}

/* B2: the end of every list is no block: its tag is 0, and it is const. */
static void b2_end(void)
{
	t_equal(hk_end.tag, 0);
	t_check(hk_end.link == HK_END);
}

static void b1_chains(void)
{
	static struct hk_block b[6];
	struct hk_chain one = HK_CHAIN_EMPTY, two = HK_CHAIN_EMPTY, none = HK_CHAIN_EMPTY;
	const struct hk_block *in;

	for (unsigned i = 0; i < 6; i++)
		hk_chain_push(i < 2 ? &one : &two, &b[i]);
	hk_chain_append(&none, &none);
	t_check(none.count == 0 && none.head == HK_END);
	hk_chain_append(&one, &none);
	hk_chain_append(&none, &two);
	hk_chain_append(&one, &none);
	t_equal(one.count, 6);
	t_check(one.head == &b[1] && one.tail == &b[2]);
	in = one.head;
	for (unsigned i = 0; i < 6; i++, in = in->link)
		t_check_at(in->tag == HK_TAG && in == &b[i < 2 ? 1 - i : 7 - i], i);
	t_check(in == HK_END);
}

U_MAIN(T_CASE(c1_smallest_that_fits), T_CASE(c2_sizes), T_CASE(slabs), T_CASE(inverse),
       T_CASE(aligned), T_CASE(b2_end), T_CASE(b1_chains))
