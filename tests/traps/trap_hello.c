/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* The program that trap_startup.c starts: trap_hello nothing | hello | memory | threads */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 200

static pthread_barrier_t all_here, all_done;

/* The number behind `name` in a file of /proc. Nothing is allocated. */
static long number(const char *file, const char *name)
{
	char text[4096];
	int fd = open(file, O_RDONLY);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	char *at;

	if (n <= 0)
		return -1;
	close(fd);
	text[n] = 0;
	at = strstr(text, name);
	return at != NULL ? atol(at + strlen(name)) : -1;
}

static void report(void)
{
	long rss = number("/proc/self/smaps_rollup", "\nRss:");
	long size = number("/proc/self/status", "\nVmSize:");

	printf("%ld %ld\n", rss, size);
	fflush(stdout);
}

static void *thread(void *arg)
{
	char *p[5];

	for (size_t i = 0; i < 5; i++)
		p[i] = memset(malloc((size_t)16 << 2 * i), 1, (size_t)16 << 2 * i);
	pthread_barrier_wait(&all_here);
	pthread_barrier_wait(&all_done);
	for (size_t i = 0; i < 5; i++)
		free(p[i]);
	return arg;
}

static void crowd(void)
{
	static pthread_t t[THREADS];

	pthread_barrier_init(&all_here, NULL, THREADS + 1);
	pthread_barrier_init(&all_done, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&t[i], NULL, thread, NULL) != 0)
			exit(1);
	pthread_barrier_wait(&all_here);
	report();
	pthread_barrier_wait(&all_done);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

int main(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "nothing") == 0)
		return 0;
	puts("hello");
	if (strcmp(argv[1], "memory") == 0)
		report();
	if (strcmp(argv[1], "threads") == 0)
		crowd();
	return 0;
}
