/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * The replaceable C++ operators, by their mangled names, so that hakmem needs no C++ library. What
 * the runtime has to add, the new-handler and the exception, is looked up when memory is short, in
 * whichever C++ library the process has. Compiled with -fexceptions: handlers and bad_alloc unwind
 * through here.
 *
 * Names: _Znw new, _Zna new[], _Zdl delete, _Zda delete[]; then the parameters: m the size, Pv the
 * pointer, St11align_val_t the alignment, RKSt9nothrow_t the nothrow tag. */
#include "override/override.h"

#if HK_OVERRIDE
#include <stddef.h>

#include "api/api.h"
#include "api/fast.h" /* hk_malloc, hk_free */

typedef void (*new_handler)(void);
typedef new_handler (*new_handler_getter)(void);
typedef void (*thrower)(void);

struct nothrow; /* std::nothrow_t */

new_handler _ZSt15get_new_handlerv(void) __attribute__((weak));
void _ZSt17__throw_bad_allocv(void) __attribute__((weak));

/* In a static program the operators are weak: one that replaces some of them takes these for the
 * others, as it would libstdc++'s. */
#if HK_SHARED
#define OPERATOR HK_EXPORT
#else
#define OPERATOR HK_EXPORT __attribute__((weak))
#endif
#define SAME_AS(name) __attribute__((alias(name)))

OPERATOR void *_Znwm(size_t size);
OPERATOR void *_ZnwmRKSt9nothrow_t(size_t size, const struct nothrow *tag);
OPERATOR void *_ZnwmSt11align_val_t(size_t size, size_t align);
OPERATOR void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align,
						  const struct nothrow *tag);
OPERATOR void _ZdlPv(void *p);

/* ---- Finding the C++ runtime ----------------------------------------------------------------- */

#if HK_SHARED && defined(__GLIBC__)
#include <dlfcn.h>

/* Libraries are searched by name, because a program in C may have loaded a C++ library with
 * RTLD_LOCAL, where RTLD_DEFAULT doesn't look. The handle is dropped at once: code of the library
 * is up the stack, so it stays. */
static void *find_in_libraries(const char *name)
{
	static const char *const libraries[] = { "libstdc++.so.6", "libc++.so.1",
						 "libc++abi.so.1" };
	void *found = NULL;

	for (size_t i = 0; i < HK_COUNT_OF(libraries) && found == NULL; i++) {
		void *library = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD);

		if (library == NULL)
			continue;
		found = dlsym(library, name);
		dlclose(library);
	}
	return found;
}

static void *find(const char *name, void *linked)
{
	if (linked == NULL)
		linked = dlsym(RTLD_DEFAULT, name);
	return linked != NULL ? linked : find_in_libraries(name);
}
#else
/* A static program has its C++ library linked in, or none; and dlopen would draw in all of libc. */
static void *find_in_libraries(const char *name)
{
	(void)name;
	return NULL;
}

static void *find(const char *name, void *linked)
{
	(void)name;
	return linked;
}
#endif

static new_handler handler_now(void)
{
	void *getter = find("_ZSt15get_new_handlerv", (void *)_ZSt15get_new_handlerv);

	return getter != NULL ? ((new_handler_getter)getter)() : NULL;
}

HK_COLD HK_NORETURN static void throw_bad_alloc(const void *caller)
{
	void *throw = find("_ZSt17__throw_bad_allocv", (void *)_ZSt17__throw_bad_allocv);

	if (throw != NULL)
		((thrower) throw)();
	hk_die((struct hk_offence){ "operator new", caller },
	       "out of memory, and there is no C++ library to throw std::bad_alloc");
}

/* ---- When memory is short -------------------------------------------------------------------- */

static void *allocate(size_t size, size_t align)
{
	return align <= HK_BLOCK_ALIGN ? hk_malloc(size) : hk_aligned(align, size);
}

/* The standard's loop: the handler makes memory available, or throws, or ends the process, or
 * removes itself. NULL: there is no handler. */
HK_COLD static void *retry(size_t size, size_t align)
{
	for (;;) {
		new_handler handler = handler_now();
		void *p;

		if (handler == NULL)
			return NULL;
		handler();
		p = allocate(size, align);
		if (p != NULL)
			return p;
	}
}

HK_COLD static void *new_or_throw(size_t size, size_t align, const void *caller)
{
	void *p = retry(size, align);

	if (p == NULL)
		throw_bad_alloc(caller);
	return p;
}

/* A handler may throw, which nothrow new must turn into NULL, and C can't catch. The C++ library's
 * own nothrow new can: it calls our throwing one, by its public name, inside a try. So it is asked,
 * if there is a handler at all. In a static program ours has taken its place, and the exception of
 * a handler passes through: the one thing here that falls short of the standard. */
HK_COLD static void *new_or_null(size_t size, const struct nothrow *tag)
{
	void *library;

	if (handler_now() == NULL)
		return NULL;
	library = find_in_libraries("_ZnwmRKSt9nothrow_t");
	if (library == NULL || library == (void *)_ZnwmRKSt9nothrow_t)
		return retry(size, HK_BLOCK_ALIGN);
	return ((void *(*)(size_t, const struct nothrow *))library)(size, tag);
}

HK_COLD static void *new_aligned_or_null(size_t size, size_t align, const struct nothrow *tag)
{
	void *library;

	if (handler_now() == NULL)
		return NULL;
	library = find_in_libraries("_ZnwmSt11align_val_tRKSt9nothrow_t");
	if (library == NULL || library == (void *)_ZnwmSt11align_val_tRKSt9nothrow_t)
		return retry(size, align);
	return ((void *(*)(size_t, size_t, const struct nothrow *))library)(size, align, tag);
}

/* ---- new ------------------------------------------------------------------------------------- */

/* Inlined, and the caller asked for at the branch: else the hot path would need a stack frame. */
HK_INLINE void *new_plain(size_t size)
{
	void *p = hk_malloc(size);

	return HK_LIKELY(p != NULL) ? p : new_or_throw(size, HK_BLOCK_ALIGN, HK_CALLER());
}

HK_INLINE void *new_nothrow(size_t size, const struct nothrow *tag)
{
	void *p = hk_malloc(size);

	return HK_LIKELY(p != NULL) ? p : new_or_null(size, tag);
}

void *_Znwm(size_t size) { return new_plain(size); }

void *_ZnwmRKSt9nothrow_t(size_t size, const struct nothrow *tag) { return new_nothrow(size, tag); }

void *_ZnwmSt11align_val_t(size_t size, size_t align)
{
	void *p;

	if (align <= HK_BLOCK_ALIGN)
		return new_plain(size);
	p = hk_aligned(align, size);
	return HK_LIKELY(p != NULL) ? p : new_or_throw(size, align, HK_CALLER());
}

void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const struct nothrow *tag)
{
	void *p;

	if (align <= HK_BLOCK_ALIGN)
		return new_nothrow(size, tag);
	p = hk_aligned(align, size);
	return HK_LIKELY(p != NULL) ? p : new_aligned_or_null(size, align, tag);
}

OPERATOR void *_Znam(size_t size) SAME_AS("_Znwm");
OPERATOR void *_ZnamRKSt9nothrow_t(size_t size, const struct nothrow *tag)
	SAME_AS("_ZnwmRKSt9nothrow_t");
OPERATOR void *_ZnamSt11align_val_t(size_t size, size_t align) SAME_AS("_ZnwmSt11align_val_t");
OPERATOR void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t align,
						  const struct nothrow *tag)
	SAME_AS("_ZnwmSt11align_val_tRKSt9nothrow_t");

/* ---- delete ---------------------------------------------------------------------------------- */

/* Sizes and alignments are not looked at: programs that delete a derived object through a base
 * without a virtual destructor exist, and have always worked. So every delete is one function: an
 * argument more than it takes is harmless in the calling conventions of x86-64 and AArch64. */
void _ZdlPv(void *p) { hk_free(p); }

OPERATOR void _ZdaPv(void *p) SAME_AS("_ZdlPv");
OPERATOR void _ZdlPvm(void *p) SAME_AS("_ZdlPv");
OPERATOR void _ZdaPvm(void *p) SAME_AS("_ZdlPv");
OPERATOR void _ZdlPvSt11align_val_t(void *p) SAME_AS("_ZdlPv");
OPERATOR void _ZdaPvSt11align_val_t(void *p) SAME_AS("_ZdlPv");
OPERATOR void _ZdlPvmSt11align_val_t(void *p) SAME_AS("_ZdlPv");
OPERATOR void _ZdaPvmSt11align_val_t(void *p) SAME_AS("_ZdlPv");
OPERATOR void _ZdlPvRKSt9nothrow_t(void *p) SAME_AS("_ZdlPv");
OPERATOR void _ZdaPvRKSt9nothrow_t(void *p) SAME_AS("_ZdlPv");
OPERATOR void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *p) SAME_AS("_ZdlPv");
OPERATOR void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *p) SAME_AS("_ZdlPv");

#endif
