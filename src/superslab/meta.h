/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
#ifndef HK_SUPERSLAB_META_H
#define HK_SUPERSLAB_META_H
/* BOX meta - memory for hakmem's own structures.
 * Owns:       a bump allocator: zeroed, never given back.
 * Invariants: none.
 * Threads:    any.
 * Locks:      takes HK_RANK_META.
 * Fails:      NULL. */
#include "base/base.h"

/* align: a power of two up to a page. */
void *hk_meta_alloc(size_t bytes, size_t align);
/* Bytes handed out. */
size_t hk_meta_bytes(void);

/* For fork. */
void hk_meta_lock(void);
void hk_meta_unlock(void);
void hk_meta_reset(void);

#endif
