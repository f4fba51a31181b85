/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_TESTS_HARNESS_H
#define HK_TESTS_HARNESS_H
/* What every test program here is made of: cases, checks, random numbers, patterns, memory figures.
 * Nothing in it allocates, so that a broken malloc can still be reported, and so that the figures
 * are the tested code's own. Checks may be made from any thread. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define T_KiB      ((size_t)1 << 10)
#define T_MiB      ((size_t)1 << 20)
#define T_GiB      ((size_t)1 << 30)
#define T_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#if defined(__clang__)
#define T_NOINLINE __attribute__((noinline))
#else
#define T_NOINLINE __attribute__((noinline, noclone))
#endif

struct t_case {
	const char *name;
	void (*run)(void);
};
#define T_CASE(fn)                                                                                 \
	{                                                                                          \
#fn, fn                                                                            \
	}

/* Runs the cases named in argv, or all of them. Returns the exit status; 77: skipped. */
int t_main(int argc, char **argv, const struct t_case *cases, size_t count);
#define T_SKIP 77

/* A failed check is printed and counted, and the case goes on; a failed need ends the process. */
#define t_check(cond) ((void)((cond) || (t_failed(__FILE__, __LINE__, #cond), 0)))
#define t_need(cond)  ((void)((cond) || (t_fatal(__FILE__, __LINE__, #cond), 0)))
/* Both are unsigned numbers or pointers; prints what they were. */
#define t_equal(got, want)                                                                         \
	t_compare(__FILE__, __LINE__, #got " == " #want, (uint64_t)(got), (uint64_t)(want))
/* Like t_check, with a number that tells which size, step or thread it was. */
#define t_check_at(cond, n) ((void)((cond) || (t_failed_at(__FILE__, __LINE__, #cond, (n)), 0)))

void t_failed(const char *file, int line, const char *text);
void t_failed_at(const char *file, int line, const char *text, uint64_t n);
void t_compare(const char *file, int line, const char *text, uint64_t got, uint64_t want);
__attribute__((noreturn)) void t_fatal(const char *file, int line, const char *text);
unsigned t_failures(void);

/* One line on stderr, by write(2). */
void t_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Ends the program as skipped. */
__attribute__((noreturn)) void t_skip(const char *why);

/* n divided by the environment's HKTEST_SCALE (10 under an emulator, say), but not under `least`. */
size_t t_scale(size_t n, size_t least);

/* splitmix64; any seed will do. */
static inline uint64_t t_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}
/* 0 … n - 1. */
static inline size_t t_below(uint64_t *state, size_t n) { return (size_t)(t_random(state) % n); }

/* Hides from the compiler where a pointer comes from. */
static inline void *t_launder(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}
static inline size_t t_hide(size_t n)
{
	__asm__ volatile("" : "+r"(n));
	return n;
}

static inline bool t_aligned(const void *p, size_t alignment)
{
	return ((uintptr_t)p & (alignment - 1)) == 0;
}

/* A pattern that depends on the key and on the offset. All bytes up to 64 KiB; of longer blocks the
 * first and last 4 KiB and 8 bytes in every 36 KiB between. t_holds checks the first `n` bytes of what
 * was filled as `filled` bytes. */
void t_fill(void *p, size_t n, uint64_t key);
bool t_holds(const void *p, size_t n, size_t filled, uint64_t key);
bool t_is_zero(const void *p, size_t n);

/* A field of /proc/self/status in KiB ("VmRSS", "VmHWM", "VmSize"); 0 when it cannot be read. */
size_t t_status_kib(const char *field);
void t_sleep_ms(unsigned ms);
uint64_t t_now_ms(void);

/* pthread_create and pthread_join that cannot fail unseen; small stacks, so that thousands fit. */
pthread_t t_thread(void *(*fn)(void *), void *arg);
void *t_join(pthread_t thread);

#endif
