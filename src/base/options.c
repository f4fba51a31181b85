/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#include "base/options.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"  /* hk_warn */
#include "base/config.h" /* HK_MINIMAL */
#include "base/fmt.h"

#define PREFIX          "HAKMEM_"
#define PREFIX_LENGTH   (sizeof(PREFIX) - 1)
#define TEXT_POOL_BYTES 4096
#define NAME_BYTES      64 /* longer names are nobody's, and cut in messages */

/* The table. Arrays, not pointers, in its rows: a pointer would be a relocation at every start of a
 * program. */

enum kind { BOOL, NUM, BYTES, ENUM, TEXT };

union column {
	uint64_t number;
	char text[8];
};

struct row {
	char name[40]; /* with PREFIX */
	char sentence[104];
	enum kind kind;
	uint64_t min, max;
	union column columns[HK_PROFILES];
};

struct words {
	enum hk_option_id id;
	char word[8][28];
};

#define COLUMN_BOOL(v)  .number = (v)
#define COLUMN_NUM(v)   .number = (v)
#define COLUMN_BYTES(v) .number = (v)
#define COLUMN_ENUM(v)  .number = (v)
#define COLUMN_TEXT(v)  .text = (v)

#define HK_OPTION(id, kind, lo, hi, s, b, l, h, about)                                             \
	[HK_OPT_##id] = { PREFIX #id,                                                              \
			  about,                                                                   \
			  kind,                                                                    \
			  lo,                                                                      \
			  hi,                                                                      \
			  { { COLUMN_##kind(s) },                                                  \
			    { COLUMN_##kind(b) },                                                  \
			    { COLUMN_##kind(l) },                                                  \
			    { COLUMN_##kind(h) } } },
#define HK_OPTION_WORDS(...)
#define HK_OPTION_LEGACY(id)
static const struct row rows[] = {
#include "base/options.def"
};
#undef HK_OPTION
#undef HK_OPTION_WORDS
#define HK_OPTION(...)
#define HK_OPTION_WORDS(id, ...) { HK_OPT_##id, { __VA_ARGS__ } },
static const struct words words[] = {
#include "base/options.def"
};
#undef HK_OPTION_WORDS
#undef HK_OPTION_LEGACY
#define HK_OPTION_WORDS(...)
#define HK_OPTION_LEGACY(id) PREFIX #id,
static const char legacy[][48] = {
#include "base/options.def"
};
#undef HK_OPTION
#undef HK_OPTION_LEGACY
#define HK_OPTION(id, kind, lo, hi, s, b, l, h, about)                                             \
	static_assert(sizeof(PREFIX #id) <= sizeof(rows[0].name), "name cut: " #id);               \
	static_assert(sizeof(about) <= sizeof(rows[0].sentence), "sentence cut: " #id);
#define HK_OPTION_LEGACY(id)                                                                       \
	static_assert(sizeof(PREFIX #id) <= sizeof(legacy[0]), "name cut: " #id);
#include "base/options.def"
#undef HK_OPTION
#undef HK_OPTION_LEGACY

/* The state. A TEXT's value is its offset in the pool; 0 is the profile's. */

#define VALUE_BOOL(v)                                  (v)
#define VALUE_NUM(v)                                   (v)
#define VALUE_BYTES(v)                                 (v)
#define VALUE_ENUM(v)                                  (v)
#define VALUE_TEXT(v)                                  0
#define HK_OPTION(id, kind, lo, hi, s, b, l, h, about) VALUE_##kind(b),
#define HK_OPTION_LEGACY(id)
_Atomic uint64_t hk_option_values[HK_OPTIONS] = {
#include "base/options.def"
};
#undef HK_OPTION
#undef HK_OPTION_WORDS
#undef HK_OPTION_LEGACY
static _Atomic uint64_t by_hand[HK_OPTIONS]; /* where the source is not the profile */
static _Atomic uint8_t sources[HK_OPTIONS];
static _Atomic bool squeezed; /* lean, whatever SS_MEM_LEAN says */
static char text_pool[TEXT_POOL_BYTES];
static size_t text_used = 1; /* written by hk_options_init only */

const char *hk_option_text(enum hk_option_id id)
{
	uint64_t offset = hk_option(id);

	return offset ? text_pool + offset : rows[id].columns[hk_option(HK_OPT_PROFILE)].text;
}

static enum hk_option_source source_of(enum hk_option_id id)
{
	return atomic_load_explicit(&sources[id], memory_order_acquire);
}

struct hk_option_info hk_option_describe(enum hk_option_id id)
{
	return (struct hk_option_info){ rows[id].name, rows[id].sentence, source_of(id) };
}

static void put_value(enum hk_option_id id, uint64_t value, enum hk_option_source source)
{
	atomic_store_explicit(&by_hand[id], value, memory_order_relaxed);
	atomic_store_explicit(&sources[id], (uint8_t)source, memory_order_release);
}

static uint64_t value_for(enum hk_option_id id, uint64_t profile)
{
	if (source_of(id) != HK_FROM_PROFILE)
		return atomic_load_explicit(&by_hand[id], memory_order_relaxed);
	return rows[id].kind == TEXT ? 0 : rows[id].columns[profile].number;
}

static void apply_once(void)
{
	uint64_t profile = value_for(HK_OPT_PROFILE, HK_BALANCED);
	uint64_t lean = value_for(HK_OPT_SS_MEM_LEAN, profile);

	lean |= atomic_load_explicit(&squeezed, memory_order_relaxed);
	for (enum hk_option_id id = 0; id < HK_OPTIONS; id++) {
		uint64_t column = lean && id != HK_OPT_SS_MEM_LEAN ? HK_LEAN : profile;

		atomic_store_explicit(&hk_option_values[id],
				      id == HK_OPT_PROFILE ? profile : value_for(id, column),
				      memory_order_relaxed);
	}
}

/* Gives every value the one that was set by hand, or that of the profile in force; lean memory overrules
 * the profile. Where another thread does the same, the last to begin decides: the first does it again.
 * To ask for that is an addition of nothing, which no store of the round before can come after. */
static void apply_profile(void)
{
	static _Atomic uint32_t rounds;
	uint32_t mine;

	do {
		mine = atomic_fetch_add(&rounds, 1) + 1;
		apply_once();
	} while (atomic_fetch_add(&rounds, 0) != mine);
}

void hk_options_squeeze(bool on)
{
	if (HK_MINIMAL)
		return;
	atomic_store_explicit(&squeezed, on, memory_order_relaxed);
	apply_profile();
}

/* Text to value. */

static char to_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

static bool is_same_word(const char *a, const char *b)
{
	for (; *a && to_lower(*a) == to_lower(*b); a++)
		b++;
	return to_lower(*a) == to_lower(*b);
}

/* Nothing, K, M or G, the latter three as KiB, MiB or GiB too; -1 for anything else. */
static int parse_shift(const char *unit)
{
	static const char units[][4] = { "", "K", "M", "G", "", "KiB", "MiB", "GiB" };

	for (size_t i = 0; i < HK_COUNT_OF(units); i++) {
		if (is_same_word(unit, units[i]))
			return (int)(i % 4) * 10;
	}
	return -1;
}

static bool parse_number(const struct row *row, const char *text, uint64_t *value)
{
	const char *digits = text;
	int shift = 0;

	for (*value = 0; *text >= '0' && *text <= '9'; text++) {
		if (*value > row->max)
			return false; /* and would overflow in the end */
		*value = *value * 10 + (uint64_t)(*text - '0');
	}
	if (row->kind == BYTES)
		shift = parse_shift(text);
	else if (*text != '\0')
		return false;
	if (text == digits || shift < 0 || *value > row->max >> shift)
		return false;
	*value <<= shift;
	return *value >= row->min;
}

static const struct words *words_of(enum hk_option_id id)
{
	const struct words *w = words;

	while (w->id != id)
		w++;
	return w;
}

static bool parse_word(enum hk_option_id id, const char *text, uint64_t *value)
{
	const struct words *w = words_of(id);

	for (*value = 0; *value <= rows[id].max; ++*value) {
		if (!is_same_word(text, w->word[*value]))
			continue;
		/* Behind the profiles stand the aliases of the first two of them. */
		if (id == HK_OPT_PROFILE)
			*value %= HK_PROFILES;
		return true;
	}
	return false;
}

static bool keep_text(const char *text, uint64_t *value)
{
	size_t bytes = strlen(text) + 1;

	if (bytes > TEXT_POOL_BYTES - text_used)
		return false;
	*value = text_used;
	memcpy(text_pool + text_used, text, bytes);
	text_used += bytes;
	return true;
}

static bool parse(enum hk_option_id id, const char *text, uint64_t *value)
{
	switch (rows[id].kind) {
	case ENUM:
		return parse_word(id, text, value);
	case TEXT:
		return keep_text(text, value);
	default:
		return parse_number(&rows[id], text, value);
	}
}

/* Warnings. */

static void print_allowed(enum hk_option_id id, char *buf, size_t size)
{
	const struct row *row = &rows[id];
	size_t length = 0;

	switch (row->kind) {
	case ENUM:
		for (uint64_t i = 0; i <= row->max; i++)
			length += hk_fmt(buf + length, size - length, "%s%s", i ? ", " : "",
					 words_of(id)->word[i]);
		break;
	case TEXT:
		hk_fmt(buf, size, "up to %d bytes of text", TEXT_POOL_BYTES - 2);
		break;
	default:
		hk_fmt(buf, size, "%lu to %lu%s", row->min, row->max,
		       row->kind == BYTES ? ", with K, M or G" : "");
	}
}

static void warn_bad_value(enum hk_option_id id, const char *text)
{
	char allowed[160];

	print_allowed(id, allowed, sizeof(allowed));
	hk_warn("%s=%.80s is ignored: allowed is %s", rows[id].name, text, allowed);
}

/* Letters to insert, delete or replace to make one name of the other. */
static size_t count_edits(const char *a, const char *b)
{
	size_t edits[NAME_BYTES], length = strlen(b);

	for (size_t j = 0; j <= length; j++)
		edits[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = edits[0];

		edits[0] = i;
		for (size_t j = 1; j <= length; j++) {
			size_t replaced = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = edits[j];
			edits[j] = hk_min(replaced, 1 + hk_min(edits[j], edits[j - 1]));
		}
	}
	return edits[length];
}

static void warn_unknown(const char *name)
{
	const char *nearest = NULL;
	size_t least = 3 + (strlen(name) - PREFIX_LENGTH) / 4; /* more is another word, no slip */

	for (enum hk_option_id id = 0; id < HK_OPTIONS; id++) {
		size_t edits = count_edits(rows[id].name, name);

		if (edits < least) {
			least = edits;
			nearest = rows[id].name;
		}
	}
	if (nearest)
		hk_warn("%s is no variable of hakmem: do you mean %s?", name, nearest);
	else
		hk_warn("%s is no variable of hakmem", name);
}

/* The environment. */

/* Copies the name of a variable that is meant for hakmem; returns its value, NULL for others. */
static const char *split(const char *variable, char name[static NAME_BYTES])
{
	const char *equals;

	if (strncmp(variable, PREFIX, PREFIX_LENGTH) != 0)
		return NULL;
	equals = strchr(variable, '=');
	if (!equals)
		return NULL;
	hk_fmt(name, hk_min((size_t)(equals - variable) + 1, NAME_BYTES), "%s", variable);
	return equals + 1;
}

static enum hk_option_id find(const char *name)
{
	enum hk_option_id id = 0;

	while (id < HK_OPTIONS && strcmp(rows[id].name, name) != 0)
		id++;
	return id;
}

static bool is_legacy(const char *name)
{
	for (size_t i = 0; i < HK_COUNT_OF(legacy); i++) {
		if (strcmp(legacy[i], name) == 0)
			return true;
	}
	return false;
}

/* The benchmark programs and the trace recorder have variables of their own. */
static bool is_lab(const char *name)
{
	name += PREFIX_LENGTH;
	return strncmp(name, "BENCH_", sizeof("BENCH_") - 1) == 0 ||
	       strncmp(name, "TRACE_", sizeof("TRACE_") - 1) == 0;
}

static void read_variable(const char *name, const char *text)
{
	enum hk_option_id id = find(name);
	uint64_t value;

	if (id < HK_OPTIONS) {
		if (parse(id, text, &value))
			put_value(id, value, HK_FROM_ENVIRONMENT);
		else
			warn_bad_value(id, text);
	} else if (!is_legacy(name) && !is_lab(name)) {
		warn_unknown(name);
	}
}

static const char *source_name(enum hk_option_source source)
{
	static const char names[][12] = { "profile", "environment", "program" };

	return names[source];
}

static void tell(char *const *environment)
{
	char name[NAME_BYTES], value[256];

	for (enum hk_option_id id = 0; id < HK_OPTIONS; id++) {
		hk_option_get(rows[id].name, value, sizeof(value));
		hk_warn("%s=%s (%s)", rows[id].name, value, source_name(source_of(id)));
	}
	for (; *environment; environment++) {
		if (split(*environment, name) && is_legacy(name))
			hk_warn("%s is known, and has no effect", name);
	}
}

void hk_options_init(char *const *environment, bool secure)
{
	char name[NAME_BYTES];
	bool any = false;

	if (HK_MINIMAL || secure)
		return;
	for (char *const *variable = environment; *variable; variable++) {
		const char *text = split(*variable, name);

		if (text) {
			if (!any)
				hk_stderr_note();
			read_variable(name, text);
			any = true;
		}
	}
	if (!any)
		return; /* the usual case; the values' page stays as it was loaded */
	apply_profile();
	if (hk_option(HK_OPT_VERBOSE))
		tell(environment);
}

/* The program. */

static enum hk_option_id find_with_or_without_prefix(const char *name)
{
	char full[NAME_BYTES];

	if (strncmp(name, PREFIX, PREFIX_LENGTH) == 0)
		return find(name);
	hk_fmt(full, sizeof(full), PREFIX "%s", name);
	return find(full);
}

int hk_option_set(const char *name, const char *value)
{
	enum hk_option_id id = find_with_or_without_prefix(name);
	uint64_t parsed;

	if (id == HK_OPTIONS)
		return ENOENT;
	/* The text pool is not for several threads, nor for ever. */
	if (HK_MINIMAL || rows[id].kind == TEXT || !parse(id, value, &parsed))
		return EINVAL;
	put_value(id, parsed, HK_FROM_PROGRAM);
	apply_profile();
	return 0;
}

int hk_option_get(const char *name, char *buf, size_t size)
{
	enum hk_option_id id = find_with_or_without_prefix(name);
	char number[24];
	const char *text = number;

	if (id == HK_OPTIONS)
		return -1;
	if (rows[id].kind == TEXT)
		text = hk_option_text(id);
	else if (rows[id].kind == ENUM)
		text = words_of(id)->word[hk_option(id)];
	else
		hk_fmt(number, sizeof(number), "%lu", hk_option(id));
	if (size > 0)
		hk_fmt(buf, size, "%s", text);
	return (int)strlen(text);
}
