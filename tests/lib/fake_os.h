/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_FAKE_OS_H
#define HK_TESTS_FAKE_OS_H
/* os/os.h for unit tests: real memory below, and a kernel that does what the test says. Link
 * fake_os.c in place of src/os/os_linux.c (lock.c stays).
 *
 * Every mapping is remembered, and every call is checked against them: what is unmapped, remapped,
 * purged or populated must lie within what was mapped, and be a whole number of pages. A breach
 * prints one line and aborts. Purged memory reads as zero, as after MADV_DONTNEED, and lazily purged
 * memory as 0xf5, the worst that MADV_FREE may do. */
#include "os/os.h"

/* Forgets settings and counts; mappings and the clock stay. */
void hk_fake_reset(void);

/* The n-th map (or growing remap) from now fails, and all after it; 1 is the next one, 0: none. */
void hk_fake_fail_after(unsigned n);
/* Every n-th map from now fails, once each; 0: none. */
void hk_fake_fail_every(unsigned n);
/* hk_os_purge says no. */
void hk_fake_refuse_purge(bool refuse);
/* No guards, as before Linux 6.13; at first there are. A guarded page is one that is protected. */
void hk_fake_no_guards(bool none);
/* The next calls of hk_os_map_at find the range taken. */
void hk_fake_taken(unsigned calls);
/* Memory that may be mapped at the same time; SIZE_MAX at first. */
void hk_fake_limit(size_t bytes);

/* A file for hk_os_read; NULL: it can't be read, as all of them at first. */
void hk_fake_file(const char *path, const char *text);

/* 4, 16 or 64 KiB; before anything is mapped. */
void hk_fake_page(size_t bytes);
void hk_fake_secure(bool secure);
void hk_fake_seed(uint64_t seed);

/* The clock: nothing moves it but these, and hk_os_sleep_ms. */
extern _Atomic uint64_t hk_fake_now;
void hk_fake_advance_ms(uint64_t ms);

/* How long it takes to fault a huge page in; 0: there are none. 100,000 after a reset. */
void hk_fake_huge(uint64_t ns);

/* ---- What was done ---- */

struct hk_fake_counts {
	unsigned map, map_at, unmap, remap, purge, purge_lazily, populate, wait, wake, failed;
	unsigned guard, unguard, read, fault_huge;
};
struct hk_fake_counts hk_fake_counts(void);

/* Bytes mapped now, and at most since the reset. */
size_t hk_fake_mapped(void);
size_t hk_fake_peak(void);
/* Bytes purged since the reset (by hk_os_purge, all calls added up). */
size_t hk_fake_purged(void);
/* Mappings now: what touches is joined, as the kernel does it. */
unsigned hk_fake_mappings(void);
/* Mapping i of hk_fake_mappings(), in address order. */
struct hk_fake_range {
	uintptr_t start, end;
};
struct hk_fake_range hk_fake_mapping(unsigned i);
/* [addr, addr + bytes) lies in mapped memory. */
bool hk_fake_has(const void *addr, size_t bytes);

#endif
