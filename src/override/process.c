/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * What happens once a process: the environment is read, libc is found, fork is told; and what is done
 * around a fork. */
#include "override/override.h"

#include <pthread.h>
#include <unistd.h> /* environ */

#include "api/api.h"
#include "base/check.h" /* hk_warn */

static char *const no_environment[] = { NULL };

/* Before main, so what is stderr now is the program's. */
HK_COLD static void warn(const char *text)
{
	hk_stderr_note();
	hk_warn("%s", text);
}

#if HK_SHARED && HK_OVERRIDE
void __asan_init(void) __attribute__((weak));
void __tsan_init(void) __attribute__((weak));
void __msan_init(void) __attribute__((weak));
void __hwasan_init(void) __attribute__((weak));

/* A sanitizer that is linked into the program serves malloc itself, and hakmem lies idle; one in a
 * library behind hakmem gets no call, and finds nothing. Neither is what somebody wants. */
static void find_sanitizer(void)
{
	if (__asan_init != NULL || __tsan_init != NULL || __msan_init != NULL ||
	    __hwasan_init != NULL)
		warn("this program has a sanitizer, which wants malloc for itself: run it without hakmem");
}
#else
static void find_sanitizer(void) {}
#endif

/* ---- fork -------------------------------------------------------------------------------------- */

#if defined(__GLIBC__)
/* glibc's own; weak for those that lack them. */
extern char __libc_single_threaded __attribute__((weak));
void _IO_list_lock(void) __attribute__((weak));
void _IO_list_unlock(void) __attribute__((weak));
void _IO_list_resetlock(void) __attribute__((weak));

static bool is_alone(void) { return &__libc_single_threaded != NULL && __libc_single_threaded; }

static void call(void (*fn)(void))
{
	if (fn != NULL)
		fn();
}

static void stdio_lock(void) { call(_IO_list_lock); }
static void stdio_unlock(void) { call(_IO_list_unlock); }
static void stdio_reset(void) { call(_IO_list_resetlock); }
#else
static bool is_alone(void) { return false; }
static void stdio_lock(void) {}
static void stdio_unlock(void) {}
static void stdio_reset(void) {}
#endif

/* This fork found no other thread. Then no lock is taken, as in glibc: a signal handler may fork while
 * it interrupts malloc, and the child may return from it. */
static bool alone HK_NEAR;

/* stdio's lock of all streams first. fork takes it after the handlers have run, and it comes before
 * malloc: one thread flushes all streams, waits for one; its owner reads into a buffer that grows; and
 * the fork would wait for the first. It may be taken twice. */
static void prepare(void)
{
	alone = is_alone();
	if (alone)
		return;
	stdio_lock();
	hk_fork_prepare();
}

static void resume_parent(void)
{
	if (alone)
		return;
	hk_fork_parent();
	stdio_unlock();
}

/* fork itself sets stdio's lock free where it has taken it, which versions of glibc differ in. */
static void resume_child(void)
{
	if (alone)
		return;
	hk_fork_child();
	stdio_reset();
}

/* ---- the start --------------------------------------------------------------------------------- */

/* 101: the first that a library may ask for. Libraries that hakmem doesn't depend on may be
 * constructed, and allocate, earlier: they get the default profile. environ is libc's, which is
 * constructed before: musl passes constructors no arguments, and after clearenv it is NULL. */
__attribute__((constructor(101))) static void start_process(void)
{
	static bool started HK_NEAR;

	if (started)
		return;
	started = true;
	hk_foreign_init(); /* first: hk_init says whether FORCE_LIBC_ALLOC can be had */
	hk_init(environ != NULL ? environ : no_environment);
	/* Registered early, so prepared late and resumed early: others' handlers may allocate. libc
	 * drops the handlers with the library, which is never unloaded (-z nodelete). */
	if (pthread_atfork(prepare, resume_parent, resume_child) != 0)
		warn("pthread_atfork failed: fork is unsafe while other threads allocate");
	find_sanitizer();
}
