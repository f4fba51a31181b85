/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_OS_OS_H
#define HK_OS_OS_H
/* BOX os - the system calls of the allocator (threads: thread.h; last words: die.c). Tests link another implementation in its place.
 * Owns:       the counters of system calls; what the kernel was found to be able to do.
 * Invariants: OS1 every address and length passed to the kernel is a multiple of the page
 *             OS2 every function preserves errno
 * Threads:    any, from before libc's constructors on; async-signal-safe.
 * Locks:      none, and callers hold none that a slow call would make others wait for, if they can.
 * Fails:      as each function says; nothing is retried here but EINTR. */
#include "base/base.h"

/* Bytes of a page: 4, 16 or 64 KiB. Read from auxv once. */
size_t hk_os_page(void);

/* Zeroed private memory of `bytes`, readable and writable, anywhere; NULL when refused. */
void *hk_os_map(size_t bytes);
/* The same at exactly `addr`, never over an existing mapping; NULL when the range is taken or
 * refused (*taken says which). A kernel that takes the address as a hint counts as taken. */
void *hk_os_map_at(void *addr, size_t bytes, bool *taken);
void hk_os_unmap(void *addr, size_t bytes);
/* Under HAKMEM_NAMES, what a mapping is called in /proc/PID/maps, if the kernel takes it. */
void hk_os_name(void *addr, size_t bytes, const char *name);
/* Grows or shrinks a mapping that hk_os_map made, moving it if `may_move`; NULL when refused, and
 * then the old mapping is untouched. */
void *hk_os_remap(void *addr, size_t old_bytes, size_t new_bytes, bool may_move);

/* Moves the pages of a part of mappings that hk_os_map made to a new mapping, and leaves the old range
 * mapped, and zero; NULL when refused, and then nothing has changed. */
void *hk_os_move(void *addr, size_t bytes);

/* Gives the pages back; they read as zero afterwards. false: refused (locked memory), and the contents
 * may be as before. Without madvise, or where it is ignored, the mapping is replaced by a new one. */
bool hk_os_purge(void *addr, size_t bytes);
/* Tells the kernel that it may take the pages when it wants (MADV_FREE); a purge where it has no such
 * thing. Contents are undefined. */
bool hk_os_purge_lazily(void *addr, size_t bytes);
/* No huge pages there, whatever the system is set to: few of them will be touched. May be refused. */
void hk_os_keep_small(void *addr, size_t bytes);
/* Faults the pages in, without changing them. */
bool hk_os_populate(void *addr, size_t bytes);
/* Writes a zero to `touch`, in [addr, addr + bytes), where a huge page may come in now, and only now: later
 * khugepaged would fill what is purged with new memory. Returns how long that took, in ns; 0: the kernel has
 * no huge pages. */
uint64_t hk_os_fault_huge(void *addr, size_t bytes, void *touch);

/* Guards: a touch of these pages faults from now on, and what was in them is gone; the mapping is not
 * split. false: refused, or hk_os_has_guards is; contents may be as before. */
bool hk_os_guard(void *addr, size_t bytes);
/* Guarded pages, or some among others, can be used again; what was guarded reads as zero. */
bool hk_os_unguard(void *addr, size_t bytes);
/* Linux 6.13 and later; probed once. */
bool hk_os_has_guards(void);

/* Coarse monotonic time, from the vdso. */
uint64_t hk_os_now_ns(void);
/* 64 bits that differ from process to process (AT_RANDOM), the same at every call. */
uint64_t hk_os_seed(void);
/* 64 bits that nobody can guess, other ones at every call. */
uint64_t hk_os_random(void);
bool hk_os_is_secure(void); /* AT_SECURE */
/* True when [addr, addr + bytes) is readable memory, without touching it. */
bool hk_os_is_mapped(const void *addr, size_t bytes);

/* Sleeps while *word == expected, until hk_os_wake; may return early. */
void hk_os_wait(_Atomic uint32_t *word, uint32_t expected);
void hk_os_wake(_Atomic uint32_t *word, unsigned threads);
void hk_os_sleep_ms(unsigned ms);
/* Lets other threads run. */
void hk_os_yield(void);

/* The beginning of a file of the kernel's, up to size - 1 bytes, with a NUL behind it; its length, or -1:
 * it can't be read. No descriptor stays open. */
int hk_os_read(const char *path, char *buf, size_t size);

/* For dumps: a new file for writing, not inherited by exec; -1 when refused. */
int hk_os_create(const char *path);
void hk_os_write(int fd, const char *text, size_t bytes);
void hk_os_close(int fd);
int hk_os_pid(void);

/* System calls issued so far, for HAKMEM_SS_OS_STATS. Relaxed counts. */
struct hk_os_counts {
	uint64_t map, unmap, remap, purge, populate, other, purged_bytes;
};
struct hk_os_counts hk_os_counts(void);

#endif
