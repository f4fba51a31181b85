/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* Memory that the C library allocates and the program frees, or the other way round: each block must
 * come from hakmem, and go back to it. */
#include <argz.h>
#include <dirent.h>
#include <glob.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <regex.h>
#include <search.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wchar.h>
#include <wordexp.h>

#include "door.h"

struct search {
	const void *block;
	bool found;
};

static bool compare(const struct hak_block_info *block, void *arg)
{
	struct search *s = arg;

	s->found = s->found || block->ptr == s->block;
	return !s->found;
}

/* A live block of hakmem's begins at p. */
static void must_be_ours(void *p, const char *what)
{
	struct search s = { p, false };

	t_need(p != NULL);
	T_LOOKED_UP(bool (*)(hak_heap *, hak_walk_fn, void *), "hak_heap_walk")(NULL, compare, &s);
	if (!s.found)
		t_say("%s: the block is not hakmem's", what);
	t_check(s.found);
}

static void free_ours(void *p, const char *what)
{
	must_be_ours(p, what);
	p = T_REALLOC(p, 3000);
	T_FREE(p);
}

static void strings(void)
{
	char *text = NULL;
	wchar_t *wide = wcsdup(L"wide");

	free_ours(strdup("text"), "strdup");
	free_ours(strndup("text", 2), "strndup");
	free_ours(wide, "wcsdup");
	t_need(asprintf(&text, "%5000d", 7) == 5000);
	free_ours(text, "asprintf");
	free_ours(realpath("/usr/../usr", NULL), "realpath");
	free_ours(canonicalize_file_name("/usr"), "canonicalize_file_name");
	free_ours(getcwd(NULL, 0), "getcwd");
	free_ours(get_current_dir_name(), "get_current_dir_name");
}

static void streams(void)
{
	char *line = NULL, *text = NULL;
	size_t room = 0, size = 0;
	FILE *file = tmpfile();

	t_need(file != NULL);
	for (unsigned i = 0; i < 3000; i++)
		fprintf(file, "%*u\n", (int)(i % 700 + 1), i);
	rewind(file);
	while (getline(&line, &room, file) > 0)
		must_be_ours(line, "getline");
	/* a buffer of the program's, that getdelim makes larger */
	free_ours(line, "getline");
	line = T_MALLOC(10);
	room = 10;
	rewind(file);
	t_need(getdelim(&line, &room, 'x', file) > 100000);
	free_ours(line, "getdelim");
	rewind(file);
	t_need(fscanf(file, "%ms", &text) == 1);
	free_ours(text, "scanf %m");
	fclose(file);
	file = open_memstream(&text, &size);
	t_need(file != NULL && fprintf(file, "%100000d", 1) == 100000 && fclose(file) == 0);
	t_equal(size, 100000);
	free_ours(text, "open_memstream");
}

static int any(const struct dirent *entry) { return entry->d_name[0] != 0; }

static void directories(void)
{
	struct dirent **entry = NULL;
	int n = scandir("/usr/bin", &entry, any, alphasort);
	glob_t found;
	wordexp_t words;

	t_need(n > 2);
	must_be_ours(entry[0], "scandir, an entry");
	for (int i = 0; i < n; i++)
		T_FREE(entry[i]);
	free_ours(entry, "scandir");
	t_need(glob("/usr/*", 0, NULL, &found) == 0);
	must_be_ours(found.gl_pathv, "glob");
	globfree(&found);
	t_need(wordexp("a b c", &words, WRDE_NOCMD) == 0);
	must_be_ours(words.we_wordv, "wordexp");
	wordfree(&words);
}

static void network(void)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_family = AF_UNSPEC },
			*found = NULL;
	struct ifaddrs *interfaces = NULL;

	t_need(getaddrinfo("127.0.0.1", "80", &hints, &found) == 0);
	must_be_ours(found, "getaddrinfo");
	freeaddrinfo(found);
	hints.ai_flags = 0;
	if (getaddrinfo("localhost", NULL, &hints, &found) == 0) /* loads NSS libraries */
		freeaddrinfo(found);
	if (getifaddrs(&interfaces) == 0 && interfaces != NULL)
		freeifaddrs(interfaces);
}

static int in_order(const void *a, const void *b) { return memcmp(a, b, 8); }

static void the_rest(void)
{
	static char table[400000];
	regex_t regex;
	char *argz = NULL;
	size_t length = 0;
	void *tree = NULL;

	t_need(regcomp(&regex, "(a|b)*c[[:alpha:]]+", REG_EXTENDED) == 0);
	t_need(regexec(&regex, "ababcxyz", 0, NULL, 0) == 0);
	regfree(&regex);
	t_need(argz_create_sep("a:b:c", ':', &argz, &length) == 0);
	free_ours(argz, "argz_create_sep");
	for (size_t i = 0; i < sizeof(table); i++)
		table[i] = (char)(i * 7919);
	qsort(table, sizeof(table) / 8, 8, in_order); /* with a buffer from malloc */
	t_need(tsearch(table, &tree, in_order) != NULL);
	must_be_ours(tree, "tsearch");
	tdelete(table, &tree, in_order);
	t_need(setenv("TRAP_VARIABLE", "x", 1) == 0 && unsetenv("TRAP_VARIABLE") == 0);
}

int main(int argc, char **argv)
{
	static const struct t_case cases[] = {
		T_CASE(strings), T_CASE(streams),  T_CASE(directories),
		T_CASE(network), T_CASE(the_rest),
	};

	return t_main(argc, argv, cases, T_COUNT(cases));
}
