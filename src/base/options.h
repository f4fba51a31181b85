/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_BASE_OPTIONS_H
#define HK_BASE_OPTIONS_H
/* BOX options - the one place that turns the environment into values.
 * Owns:       the value of each option of options.def, and where it came from.
 * Invariants: O1 a value is always within its row's range
 * Threads:    values are relaxed atomics: any thread reads, hak_option_set writes.
 * Locks:      none; never allocates, makes no system call but write(2) for warnings.
 * Fails:      a bad value is named in one warning and the default stays. */
#include "base/base.h"

enum hk_option_id {
#define HK_OPTION(name, ...) HK_OPT_##name,
#define HK_OPTION_WORDS(...)
#define HK_OPTION_LEGACY(name)
#include "base/options.def"
#undef HK_OPTION
#undef HK_OPTION_WORDS
#undef HK_OPTION_LEGACY
	HK_OPTIONS
};

enum hk_profile { HK_SPEED, HK_BALANCED, HK_LEAN, HK_HARDENED, HK_PROFILES };
enum hk_decommit { HK_DECOMMIT_OFF, HK_DECOMMIT_FREE, HK_DECOMMIT_DONTNEED };
enum hk_prefault { HK_PREFAULT_OFF, HK_PREFAULT_POPULATE, HK_PREFAULT_TOUCH };
enum hk_option_source { HK_FROM_PROFILE, HK_FROM_ENVIRONMENT, HK_FROM_PROGRAM };

/* Reads the environment once. `secure` (AT_SECURE): every variable is ignored. Safe before libc's
 * constructors: takes the environment as an argument (environ, or the vector behind argv). */
void hk_options_init(char *const *environment, bool secure);

/* The value in force: 0/1, a number, bytes, or a word's index. PROFILE is always < HK_PROFILES.
 * Before hk_options_init: the value of the balanced profile. */
extern HK_HIDDEN _Atomic uint64_t hk_option_values[HK_OPTIONS];
HK_INLINE uint64_t hk_option(enum hk_option_id id)
{
	return atomic_load_explicit(&hk_option_values[id], memory_order_relaxed);
}
/* The text of a TEXT option, never NULL. */
const char *hk_option_text(enum hk_option_id id);

/* From now on every value that was not set by hand is the one of lean; or that of the profile again. */
void hk_options_squeeze(bool on);

/* By name, with or without HAKMEM_, as the environment spells values. Setting PROFILE resets what
 * came from the profile and keeps what was set by hand. 0, or EINVAL (bad value), ENOENT (unknown). */
int hk_option_set(const char *name, const char *value);
/* Writes the value as text; returns its length as snprintf does, or -1 (unknown name). */
int hk_option_get(const char *name, char *buf, size_t size);

/* Row `id` for printing: name with HAKMEM_, sentence, source. */
struct hk_option_info {
	const char *name, *sentence;
	enum hk_option_source source;
};
struct hk_option_info hk_option_describe(enum hk_option_id id);

#endif
