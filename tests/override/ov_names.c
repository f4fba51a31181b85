/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors
 *
 * Every allocation name of libc answers, and all share one heap. Preloaded, linked, static. */
#include "ov.h"

#include <errno.h>
#include <malloc.h>

void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t alignment, size_t size);
void *reallocarray(void *p, size_t count, size_t size);
void *valloc(size_t size);
void *pvalloc(size_t size);
void cfree(void *p);
#pragma weak free_sized
#pragma weak free_aligned_sized
#pragma weak cfree
#pragma weak pvalloc

static void *fill(void *p, size_t size)
{
	OV_CHECK(p != NULL && (uintptr_t)p % 16 == 0 && malloc_usable_size(p) >= size);
	memset(p, 0x5a, size);
	return ov_hide(p);
}

static void check_zeros(void)
{
	unsigned char *p = calloc(7, ov_hide_size(11));

	for (int i = 0; i < 77; i++)
		OV_CHECK(p[i] == 0);
	free(fill(p, 77));
}

static void check_refusals(void)
{
	void *out = &out;

	errno = 0;
	OV_CHECK(ov_hide(malloc(ov_hide_size(SIZE_MAX - 100))) == NULL && errno == ENOMEM);
	errno = 0;
	OV_CHECK(ov_hide(calloc(ov_hide_size(SIZE_MAX / 2), 3)) == NULL && errno == ENOMEM);
	errno = 0;
	OV_CHECK(ov_hide(reallocarray(NULL, ov_hide_size(SIZE_MAX / 2), 3)) == NULL &&
		 errno == ENOMEM);
	OV_CHECK(posix_memalign(&out, 24, 8) == EINVAL && out == &out);
	errno = 7;
	free(fill(malloc(10), 10));
	OV_CHECK(errno == 7);
}

static void check_aligned(void)
{
	void *p = NULL;

	OV_CHECK(posix_memalign(&p, 256, 100) == 0 && (uintptr_t)p % 256 == 0);
	free(fill(p, 100));
	p = aligned_alloc(4096, 8192);
	OV_CHECK((uintptr_t)p % 4096 == 0);
	free(fill(p, 8192));
	p = memalign(64, 10);
	OV_CHECK((uintptr_t)p % 64 == 0);
	free(fill(p, 10));
	p = valloc(10);
	OV_CHECK((uintptr_t)p % (uintptr_t)sysconf(_SC_PAGESIZE) == 0);
	free(fill(p, 10));
}

/* Names that some libc lacks are called where hakmem gives them. */
static void check_rare_names(void)
{
	if (free_sized != NULL)
		free_sized(fill(malloc(100), 100), 100);
	if (free_aligned_sized != NULL)
		free_aligned_sized(fill(aligned_alloc(128, 256), 256), 128, 256);
	if (cfree != NULL)
		cfree(fill(malloc(100), 100));
	if (pvalloc != NULL)
		free(fill(pvalloc(1), (size_t)sysconf(_SC_PAGESIZE)));
}

int main(void)
{
	char *p, *q = fill(malloc(ov_hide_size(0)), 0);

	free(q);
	free(NULL);
	p = fill(malloc(1000), 1000);
	p = fill(realloc(p, 100000), 1000);
	p = fill(reallocarray(p, 100, 10), 1000);
	OV_CHECK(p[999] == 0x5a);
	free(p);
	free(ov_hide(strdup("libc allocates through us")));
	check_zeros();
	check_refusals();
	check_aligned();
	check_rare_names();
	OV_CHECK(malloc_usable_size(NULL) == 0);
	return 0;
}
