/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Allocation before and after everything: .preinit_array, constructors, atexit handlers, destructors,
 * and threads that go on when main has returned from its thread. main's status is 9; the last
 * destructor makes it 0, if all the others ran. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "door.h"

enum { PREINIT, FIRST, SECOND, MAIN, HANDLER, LATE_HANDLER, STEPS };

static unsigned steps; /* bit set of those that ran */
static void *kept[STEPS][4];
static const size_t sizes[4] = { 24, 3000, 100000, 2 * T_MiB };

static void allocate(unsigned step)
{
	for (unsigned i = 0; i < 4; i++) {
		void *scratch = T_CALLOC(3, sizes[i]);

		kept[step][i] = T_MALLOC(sizes[i]);
		t_need(kept[step][i] != NULL && scratch != NULL);
		t_need(t_is_zero(scratch, 3 * sizes[i]));
		t_fill(kept[step][i], sizes[i], step);
		T_FREE(scratch);
	}
	steps |= 1u << step;
}

static void release(unsigned step)
{
	for (unsigned i = 0; i < 4; i++) {
		t_need(kept[step][i] != NULL);
		t_need(t_holds(kept[step][i], sizes[i], sizes[i], step));
		T_FREE(kept[step][i]);
	}
}

/* Before every constructor, the library's own too. musl has no such thing. */
__attribute__((unused)) static void preinit(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	allocate(PREINIT);
}
#if defined(__GLIBC__)
__attribute__((section(".preinit_array"),
	       used)) static void (*const preinit_entry)(int, char **, char **) = preinit;
#endif

__attribute__((constructor(101))) static void first(void)
{
#if !defined(__GLIBC__)
	allocate(PREINIT);
#endif
	allocate(FIRST);
}

__attribute__((constructor(65000))) static void second(void)
{
	allocate(SECOND);
	release(FIRST);
}

static void late_handler(void)
{
	release(HANDLER);
	allocate(LATE_HANDLER);
}

static void handler(void)
{
	allocate(HANDLER);
	release(SECOND);
	t_need(atexit(late_handler) == 0);
}

/* The last of the program's own destructors. */
__attribute__((destructor(101))) static void last(void)
{
	release(LATE_HANDLER);
	release(PREINIT);
	if (steps == (1u << STEPS) - 1)
		_exit(0);
	t_say("steps that ran: %x", steps);
	_exit(1);
}

static void *goes_on(void *arg)
{
	pthread_t *main_thread = arg;

	t_join(*main_thread); /* its heap is parked now */
	release(MAIN);
	for (unsigned i = 0; i < 100; i++)
		T_FREE(T_MALLOC(i * 100));
	exit(9);
}

int main(void)
{
	static pthread_t self;

	allocate(MAIN);
	t_need(atexit(handler) == 0);
	self = pthread_self();
	t_thread(goes_on, &self);
	pthread_exit(NULL);
}
