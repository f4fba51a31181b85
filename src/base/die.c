/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#define _GNU_SOURCE /* dladdr */
#include "base/check.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fmt.h"

/* glibc 2.35 and later declare it; older ones may be what the program runs on. */
#ifdef DLFO_STRUCT_HAS_EH_DBASE
#define HK_HAVE_FIND_OBJECT 1
#include <link.h> /* struct link_map */
__typeof__(_dl_find_object) _dl_find_object __attribute__((weak));
#else
#define HK_HAVE_FIND_OBJECT 0
#endif

struct line {
	size_t length;
	char text[1024];
};

HK_PRINTF(2, 0) static void add_args(struct line *line, const char *fmt, va_list args)
{
	size_t room = sizeof(line->text) - line->length;

	line->length += hk_vfmt(line->text + line->length, room, fmt, args);
}

HK_PRINTF(2, 3) static void add(struct line *line, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add_args(line, fmt, args);
	va_end(args);
}

/* The raw system call, since write(2) is a cancellation point. */
static void write_line(int fd, struct line *line)
{
	int saved_errno = errno;
	long written;

	for (size_t i = 0; i < line->length; i++) {
		/* Names and values come from outside: no second line, no escape sequence. */
		if ((unsigned char)line->text[i] < ' ' || line->text[i] == 0x7f)
			line->text[i] = '?';
	}
	line->text[line->length++] = '\n'; /* in the place of the NUL */
	do
		written = syscall(SYS_write, fd, line->text, line->length);
	while (written < 0 && errno == EINTR);
	errno = saved_errno;
}

static const char *skip_folders(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

const char *hk_find_module(const void *address, uintptr_t *start)
{
	Dl_info info;

#if HK_HAVE_FIND_OBJECT
	struct dl_find_object object;

	if (_dl_find_object != NULL) {
		if (_dl_find_object((void *)(uintptr_t)address, &object) != 0)
			return NULL;
		*start = (uintptr_t)object.dlfo_map_start;
		return object.dlfo_link_map->l_name;
	}
#endif
	if (dladdr(address, &info) == 0)
		return NULL;
	*start = (uintptr_t)info.dli_fbase;
	return info.dli_fname;
}

static void add_origin(struct line *line, const void *address)
{
	uintptr_t start = 0; /* a static program has no table of its modules */
	const char *file = hk_find_module(address, &start);

	if (file == NULL || file[0] == '\0')
		file = (const char *)getauxval(AT_EXECFN);
	add(line, " from %s+0x%zx", file ? skip_folders(file) : "?", (uintptr_t)address - start);
}

/* An abort handler that frees a broken block again comes back here: it must end, without a second
 * message. Another thread that dies at the same time has its own say. */
static void stop_if_dying(void)
{
	static _Atomic long dying;
	long self = syscall(SYS_gettid);

	if (atomic_exchange_explicit(&dying, self, memory_order_relaxed) == self) {
		signal(SIGABRT, SIG_DFL); /* or abort would call the handler again, for ever */
		abort();
	}
}

void hk_die(struct hk_offence where, const char *fmt, ...)
{
	struct line line = { 0 };
	va_list args;

	stop_if_dying();
	add(&line, "hakmem: ");
	if (where.call)
		add(&line, "%s(): ", where.call);
	va_start(args, fmt);
	add_args(&line, fmt, args);
	va_end(args);
	if (where.caller)
		add_origin(&line, where.caller);
	write_line(2, &line); /* whatever it is by now, as libc's last words */
	abort();
}

void hk_die_check(const char *file, int line, const char *text)
{
	hk_die((struct hk_offence){ NULL, NULL }, "%s:%d: %s", file, line, text);
}

void hk_warn(const char *fmt, ...)
{
	struct line line = { 0 };
	int fd = hk_stderr();
	va_list args;

	if (fd < 0)
		return;
	add(&line, "hakmem: ");
	va_start(args, fmt);
	add_args(&line, fmt, args);
	va_end(args);
	write_line(fd, &line);
}
