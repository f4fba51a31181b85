/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* A program on libc's malloc, whose reserve of static TLS is used up but for 64 bytes, opens a library
 * that is linked with hakmem. Arguments: the library, and one with 64 bytes of static TLS of its own.
 * Not preloaded. */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define MOST 400u

static const char *library, *eater;
static char folder[] = "/tmp/trap_static_tls.XXXXXX";

/* A copy, since the same file would not be loaded twice. */
static void *open_copy(unsigned number)
{
	char name[64];
	int from = open(eater, O_RDONLY), to;
	struct stat st;
	void *handle;

	snprintf(name, sizeof(name), "%s/%u.so", folder, number);
	to = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0700);
	t_need(from >= 0 && to >= 0 && fstat(from, &st) == 0);
	t_need(sendfile(to, from, NULL, (size_t)st.st_size) == st.st_size);
	close(from);
	close(to);
	handle = dlopen(name, RTLD_NOW);
	unlink(name);
	return handle;
}

static unsigned eat(unsigned most)
{
	unsigned n = 0;

	while (n < most && open_copy(n) != NULL)
		n++;
	return n;
}

/* How many fit, found out by a process that ends. */
static unsigned find_reserve(void)
{
	int status = 0;
	int out[2];
	unsigned n = 0;
	pid_t pid;

	t_need(pipe(out) == 0);
	pid = fork();
	t_need(pid >= 0);
	if (pid == 0) {
		n = eat(MOST);
		t_need(write(out[1], &n, sizeof(n)) == sizeof(n));
		_exit(0);
	}
	t_need(waitpid(pid, &status, 0) == pid && status == 0);
	t_need(read(out[0], &n, sizeof(n)) == sizeof(n));
	return n;
}

static int look_at(struct dl_phdr_info *info, size_t bytes, void *arg)
{
	size_t *tls = arg;

	(void)bytes;
	if (strstr(info->dlpi_name, "libhakmem") == NULL)
		return 0;
	for (unsigned i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_TLS)
			*tls = info->dlpi_phdr[i].p_memsz;
	return 1;
}

static void late_and_little_room(void)
{
	unsigned reserve;
	size_t tls = 0;
	void *handle;
	void *(*use)(void);

	t_need(mkdtemp(folder) != NULL);
	reserve = find_reserve();
	t_say("room for %u times 64 bytes", reserve);
	t_need(reserve > 1 && reserve < MOST);
	t_equal(eat(reserve - 1), reserve - 1);
	rmdir(folder);
	handle = dlopen(library, RTLD_NOW);
	if (handle == NULL)
		t_say("%s", dlerror());
	t_need(handle != NULL);
	t_need(dl_iterate_phdr(look_at, &tls) == 1);
	t_say("PT_TLS of libhakmem.so: %zu bytes", tls);
	t_check(tls != 0 && tls <= 64);
	use = (void *(*)(void))dlsym(handle, "trap_use_hakmem");
	t_need(use != NULL && use() != NULL);
	t_join(t_thread((void *(*)(void *))(void *)use, NULL));
	t_equal(dlclose(handle), 0);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = { T_CASE(late_and_little_room) };

	t_need(argc > 2);
	library = argv[1];
	eater = argv[2];
	return t_main(1, argv, cases, T_COUNT(cases));
}
