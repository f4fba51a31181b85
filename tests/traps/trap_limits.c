/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Little room: address space and data (`ulimit -v`, `ulimit -d`) from the start of the process, and
 * refused at every small step; locked memory, with and without the right to it; the number of mappings.
 * A limit on data stands for vm.overcommit_memory=2 too: both count private writable memory, touched or
 * not, and refuse a mapping when it is made. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "child.h"
#include "door.h"

static const char *self;

static void set_limit(int resource, size_t bytes)
{
	struct rlimit r;

	t_need(getrlimit((__rlimit_resource_t)resource, &r) == 0);
	r.rlim_cur = bytes < r.rlim_max ? bytes : r.rlim_max;
	t_need(setrlimit((__rlimit_resource_t)resource, &r) == 0);
}

/* ---- From the start ---- */

struct start {
	int resource;
	size_t bytes;
	const char *what;
};

static void start(void *arg)
{
	struct start *s = arg;

	set_limit(s->resource, s->bytes);
	dup2(open("/dev/null", O_WRONLY), 2);
	execl(self, self, s->what, (char *)NULL);
	_exit(1);
}

/* In the new process: is hakmem there at all, or did the loader do without it? */
static int started(const char *what)
{
	static const size_t sizes[] = { 100, 5000, 100000, 3 * T_MiB, 40 * T_MiB };
	void *p[T_COUNT(sizes)];

	if (dlsym(RTLD_DEFAULT, "hak_version") == NULL)
		return 1;
	for (size_t i = 0; i < T_COUNT(sizes) && strcmp(what, "work") == 0; i++) {
		p[i] = T_MALLOC(sizes[i]);
		if (p[i] == NULL)
			return 2;
		memset(p[i], 1, sizes[i]);
		T_FREE(T_REALLOC(p[i], sizes[i] / 2));
	}
	return 0;
}

static void starts_within(int resource, size_t bytes)
{
	struct start work = { resource, bytes, "work" }, nothing = { resource, 0, "nothing" };
	size_t least = 0, most = bytes;

	t_equal(run_child(start, &work), 0);
	while (most - least > T_MiB) {
		nothing.bytes = (least + most) / 2;
		if (run_child(start, &nothing) == 0)
			most = nothing.bytes;
		else
			least = nothing.bytes;
	}
	t_say("a program that does nothing starts with %zu MiB", most / T_MiB);
	t_check_at(most <= 40 * T_MiB, most);
}

static void address_space(void) { starts_within(RLIMIT_AS, 100 * T_MiB); }
static void data(void) { starts_within(RLIMIT_DATA, 100 * T_MiB); }

/* ---- Refused at every step ---- */

struct block {
	struct block *next;
	size_t size;
};

static const size_t sizes[] = { 32, 1000, 20000, 200000, 3 * T_MiB / 2, 40 * T_MiB };
static struct block *all;

static void keep(struct block *b, size_t size)
{
	b->size = size;
	b->next = all;
	t_fill(b + 1, size - sizeof(*b), size);
	all = b;
}

static void *refused_or(void *p)
{
	t_check(p != NULL || errno == ENOMEM);
	errno = 0;
	return p;
}

static void try_each(size_t size)
{
	static void *(*const give[])(size_t) = { malloc, valloc };
	struct block *b;

	for (unsigned i = 0; i < 12; i++) {
		b = refused_or(T_CALLOC(1, size));
		if (b != NULL) {
			t_check_at(t_is_zero(b, size), size);
			keep(b, size);
		}
		b = refused_or(t_launder(give[i % 2](size)));
		if (b == NULL)
			continue;
		keep(b, size);
		b = refused_or(T_REALLOC(b, size * 3));
		all = b != NULL ? b : all;
		t_check_at(t_holds(all + 1, size - sizeof(*b), size - sizeof(*b), size), size);
		all->size = size;
	}
}

static void free_all(void)
{
	while (all != NULL) {
		struct block *b = all;
		size_t n = b->size - sizeof(*b);

		t_check_at(t_holds(b + 1, n, n, b->size), b->size);
		all = b->next;
		T_FREE(b);
	}
}

static void everything_can_be_had(void)
{
	for (size_t i = 0; i < T_COUNT(sizes); i++) {
		struct block *b = T_MALLOC(sizes[i]);

		t_need(b != NULL);
		keep(b, sizes[i]);
	}
	free_all();
}

struct step {
	int resource;
	const char *field;
	size_t room;
};

static void with_little_room(void *arg)
{
	struct step *s = arg;

	set_limit(s->resource, t_status_kib(s->field) * T_KiB + s->room);
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < T_COUNT(sizes); i++)
			try_each(sizes[i]);
		for (size_t i = T_COUNT(sizes); i-- > 0;)
			try_each(sizes[i]);
		free_all();
	}
	set_limit(s->resource, RLIM_INFINITY);
	everything_can_be_had();
}

static void step_by_step(int resource, const char *field)
{
	size_t room = 0;

	while (room < 150 * T_MiB) {
		struct step s = { resource, field, room };

		t_check_at(run_child(with_little_room, &s) == 0, room);
		room += room < 3 * T_MiB ? 64 * T_KiB : room / 8 / 4096 * 4096;
	}
}

static void refused_address_space(void) { step_by_step(RLIMIT_AS, "VmSize"); }
static void refused_data(void) { step_by_step(RLIMIT_DATA, "VmData"); }

/* ---- Locked memory ---- */

static size_t count_until_null(size_t size)
{
	struct block *b;
	size_t n = 0;

	errno = 0;
	while ((b = T_MALLOC(size)) != NULL) {
		keep(b, size);
		n++;
	}
	t_equal(errno, ENOMEM); /* the kernel says EAGAIN */
	return n;
}

static void lock_without_right(void *arg)
{
	static const size_t some[] = { 1000, 100000, 2 * T_MiB, 40 * T_MiB };
	struct rlimit room;

	(void)arg;
	set_limit(RLIMIT_MEMLOCK, 128 * T_MiB);
	t_need(getrlimit(RLIMIT_MEMLOCK, &room) == 0);
	if (room.rlim_cur < 4 * T_MiB)
		_exit(T_SKIP);
	if (geteuid() == 0)
		t_need(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 &&
		       setresuid(65534, 65534, 65534) == 0);
	t_need(mlockall(MCL_FUTURE) == 0);
	for (size_t i = 0; i < T_COUNT(some); i++) {
		size_t first = count_until_null(some[i]), again;

		t_check_at(first * some[i] >= room.rlim_cur / 2 || some[i] > room.rlim_cur / 4,
			   some[i]);
		free_all();
		again = count_until_null(some[i]);
		t_check_at(again >= first - first / 8, some[i]);
		free_all();
	}
	t_need(munlockall() == 0);
	everything_can_be_had();
}

static void or_skip(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == T_SKIP)
		t_say("not run: locking is not allowed");
	else
		t_equal(status, 0);
}

static void locked_without_right(void) { or_skip(run_child(lock_without_right, NULL)); }

/* All in turn from 64 MiB down: what was freed serves again, and calloc clears what cannot be purged. */
static void dirty_and_clean(void)
{
	for (size_t size = 64 * T_MiB; size >= 512; size /= 8) {
		static void *p[2][40];
		size_t n = size > T_MiB ? 2 : 40;

		for (unsigned round = 0; round < 2; round++) {
			for (size_t i = 0; i < n; i++) {
				p[round][i] = T_CALLOC(1, size);
				t_need(p[round][i] != NULL && t_is_zero(p[round][i], size));
				memset(p[round][i], 7, size);
			}
			for (size_t i = 0; i < n; i++)
				T_FREE(p[round][i]);
		}
	}
}

static void lock_with_right(void *arg)
{
	size_t before, back;
	char *p;

	(void)arg;
	if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
		_exit(T_SKIP);
	t_say("locked: %zu MiB at the start", t_status_kib("VmLck") / 1024);
	dirty_and_clean();
	T_TRIM();
	dirty_and_clean();
	t_need(munlockall() == 0);
	p = T_MALLOC(20 * T_MiB);
	t_need(p != NULL);
	memset(p, 1, 20 * T_MiB);
	before = t_status_kib("VmRSS");
	T_FREE(p);
	T_TRIM(); /* what was refused once is asked for again */
	back = before - t_status_kib("VmRSS");
	t_check_at(before > t_status_kib("VmRSS") && back >= 19 * T_KiB, back);
	everything_can_be_had();
}

static void locked_with_right(void) { or_skip(run_child(lock_with_right, NULL)); }

/* ---- The number of mappings ---- */

static unsigned count_mappings(void)
{
	static char text[1 << 16];
	int fd = open("/proc/self/maps", O_RDONLY);
	unsigned lines = 0;
	ssize_t n;

	t_need(fd >= 0);
	while ((n = read(fd, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += text[i] == '\n';
	close(fd);
	return lines;
}

#define ROOM (10 * T_GiB)

/* A quarter of the bytes each: slabs, spans up to 2 MiB, spans up to 32 MiB, huge. */
static size_t mixed_size(uint64_t *seed, unsigned kind)
{
	static const size_t least[] = { 16 * T_KiB, 300 * T_KiB, 2 * T_MiB, 33 * T_MiB };
	static const size_t most[] = { 256 * T_KiB, 2 * T_MiB, 32 * T_MiB, 200 * T_MiB };

	return least[kind] + t_below(seed, most[kind] - least[kind]);
}

static void say_mappings(const char *when, unsigned *worst)
{
	unsigned n = count_mappings();

	t_say("%s: %u mappings", when, n);
	*worst = n > *worst ? n : *worst;
}

static void ten_gib(void *arg)
{
	static struct {
		void *p;
		size_t size;
	} b[60000];
	size_t n = 0, bytes = 0, got[4] = { 0 };
	uint64_t seed = 1;
	unsigned worst = 0;

	(void)arg;
	while (bytes < ROOM) {
		unsigned kind = (unsigned)t_below(&seed, 200);

		kind = kind < 195 ? 0 : kind < 198 ? 1 : kind < 199 ? 2 : 3;
		for (unsigned i = 0; i < 4 && got[kind] >= ROOM / 4; i++)
			kind = (kind + 1) % 4;
		b[n].size = mixed_size(&seed, kind);
		b[n].p = T_MALLOC(b[n].size);
		t_need(b[n].p != NULL && n + 1 < T_COUNT(b));
		got[kind] += b[n].size;
		bytes += b[n++].size;
	}
	say_mappings("10 GiB of blocks", &worst);
	for (size_t i = 0; i < n; i += 2) {
		T_FREE(b[i].p);
		b[i].p = NULL;
	}
	say_mappings("every other one freed", &worst);
	T_TRIM();
	say_mappings("trimmed", &worst);
	for (size_t i = 0; i < n; i += 2) {
		b[i].p = T_MALLOC(b[n - 1 - i].size);
		t_need(b[i].p != NULL);
	}
	say_mappings("and others in their place", &worst);
	t_check_at(worst < 1000, worst);
	for (size_t i = 0; i < n; i++)
		T_FREE(b[i].p);
}

static void mappings(void) { t_equal(run_child(ten_gib, NULL), 0); }

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(address_space),
		T_CASE(data),
		T_CASE(refused_address_space),
		T_CASE(refused_data),
		T_CASE(locked_without_right),
		T_CASE(locked_with_right),
		T_CASE(mappings),
	};

	self = argv[0];
	if (argc == 2 && (strcmp(argv[1], "work") == 0 || strcmp(argv[1], "nothing") == 0))
		return started(argv[1]);
	return t_main(argc, argv, cases, T_COUNT(cases));
}
