/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Pointers that are not ours: a second allocator, hidden in a library, lives beside hakmem; its blocks
 * in the program's free, realloc or malloc_usable_size end in a message, never in damage. A library that
 * was opened with RTLD_DEEPBIND shares the heap. And a message comes also while another thread holds the
 * loader's lock. Arguments: the library of trap_private_lib.c, that of trap_slow_lib.c. */
#include <dlfcn.h>
#include <string.h>

#include "abort.h"
#include "door.h"

static const char *path, *slow_path;
static char *(*give_own)(size_t), *(*give_libc)(size_t), *(*dup_of)(const char *);
static void (*take_own)(void *), (*take_libc)(void *);

static void load(int mode)
{
	void *handle = dlopen(path, RTLD_NOW | mode);

	t_need(handle != NULL);
	give_own = (char *(*)(size_t))dlsym(handle, "trap_give_own");
	take_own = (void (*)(void *))dlsym(handle, "trap_take_own");
	give_libc = (char *(*)(size_t))dlsym(handle, "trap_give_libc");
	take_libc = (void (*)(void *))dlsym(handle, "trap_take_libc");
	dup_of = (char *(*)(const char *))dlsym(handle, "trap_strdup");
	t_need(give_own != NULL && take_own != NULL && give_libc != NULL && take_libc != NULL);
}

static void beside_another(void)
{
	load(0);
	for (size_t n = 1; n < 3 * T_MiB; n = n * 2 + 3) {
		char *theirs = give_own(n), *ours = T_MALLOC(n);

		memset(theirs, 1, n);
		memset(ours, 2, n);
		t_check_at(theirs[n - 1] == 1 && ours[n - 1] == 2, n);
		take_own(theirs);
		T_FREE(ours);
	}
}

static void resize(void *p) { p = T_REALLOC(p, 1000); }
static void measure(void *p) { (void)t_hide(T_USABLE(p)); }
static void release(void *p)
{
	T_FREE(p);
	__asm__ volatile(""); /* no tail call: the caller is this function */
}

static void in_the_wrong_free(void)
{
	static const size_t sizes[] = { 1, 100, 5000, 200000, 1000000 };

	load(0);
	for (size_t i = 0; i < T_COUNT(sizes); i++) {
		char *p = give_own(sizes[i]);

		must_abort(release, p, "hakmem: free(): invalid pointer 0x");
		must_abort(resize, p, "hakmem: realloc(): invalid pointer 0x");
		must_abort(measure, p, "hakmem: malloc_usable_size(): invalid pointer 0x");
		take_own(p);
	}
}

static void deeply_bound(void)
{
	load(RTLD_DEEPBIND);
	for (size_t n = 1; n < 3 * T_MiB; n = n * 2 + 3) {
		char *p = T_REALLOC(give_libc(n), 2 * n);

		t_need(p != NULL);
		T_FREE(p);
		take_libc(T_MALLOC(n));
	}
	T_FREE(dup_of("text of a library"));
}

static void *mistake(void *arg)
{
	t_sleep_ms(100); /* the other thread is in its constructor by then */
	release(arg);
	return NULL;
}

/* The constructor of that library never ends: the loader's lock stays taken. */
static void with_the_loader_locked(void *arg)
{
	t_thread(mistake, arg);
	t_need(dlopen(slow_path, RTLD_NOW) == NULL);
}

static void message_without_the_loader(void)
{
	char *p = T_MALLOC(8 * T_MiB);

	if (dlsym(RTLD_DEFAULT, "_dl_find_object") == NULL)
		return; /* glibc before 2.35 */
	must_abort(with_the_loader_locked, p + 4096, "hakmem: free(): 0x");
	must_abort(with_the_loader_locked, &path, "hakmem: free(): invalid pointer 0x");
	T_FREE(p);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(deeply_bound), /* first: else the library is loaded already */
		T_CASE(beside_another),
		T_CASE(in_the_wrong_free),
		T_CASE(message_without_the_loader),
	};

	t_need(argc > 2);
	path = argv[1];
	slow_path = argv[2];
	return t_main(1, argv, cases, T_COUNT(cases));
}
