/* SPDX-License-Identifier: MIT
 * SPDX-FileCopyrightText: the hakmem authors */
/* The protocol of slab/remote.h and heap/mail.c as a model, whose every interleaving is gone through:
 * two pushers with two blocks each, two heaps that drain, and a slab that changes hands between them,
 * there and back. One step is one access to a word that others see. RM1: a slab is in at most one
 * place; RM2: QUEUED exactly while it is in one; no block lost or doubled; nobody touches a slab that
 * was given back. Models with a mistake in them show that the search would find it. */
#include <string.h>

#include "unit.h"

#define PUSHERS 2
#define SLABS   2
#define HEAPS   2
#define BLOCKS  2 /* of each pusher */
#define QUEUED  0x80

enum mistake {
	NONE,
	NO_OWNER_CHECK, /* collects what is another heap's by now */
	NO_FORWARD,     /* leaves it where it is */
	LATE_NEXT,      /* reads mail_next after the token went */
	QUEUED_STAYS,   /* takes the list only */
	ALWAYS_QUEUES,  /* pushes to the mailbox without the token */
	EARLY_RELEASE,  /* gives the slab back when nothing is on its word, whatever is out */
	NO_SECOND_LOCK, /* changes the owner without the old owner's lock */
	MISTAKES
};

enum { P_LOAD, P_SEND, P_OWNER, P_HEAD, P_LINK, P_MAIL, P_DONE };
enum { D_IDLE, D_TAKE, D_NEXT, D_OWNER, D_COLLECT, D_HEAD, D_LINK, D_MAIL, D_RELEASE, D_UNLOCK };
enum { M_LOCK, M_TRY, M_CHANGE, M_UNLOCK, M_DONE };

struct process {
	uint8_t step, round;
	uint8_t slab; /* drainer: the one in hand */
	uint8_t next; /* drainer: slab + 1 that comes behind it */
	uint8_t heap; /* whose mailbox */
	uint8_t seen; /* word or head that was loaded */
};

struct state {
	uint8_t word[SLABS]; /* blocks on it, and QUEUED */
	uint8_t used[SLABS], collected[SLABS];
	uint8_t owner[SLABS], mail_next[SLABS], gone[SLABS];
	uint8_t box[HEAPS], lock[HEAPS]; /* slab + 1; taken */
	struct process pusher[PUSHERS], drainer[HEAPS], mover;
};

static enum mistake mistake;
static uint8_t plan[PUSHERS][BLOCKS]; /* the slab of each block */
static const char *wrong;

static void expect(bool holds, const char *what)
{
	if (!holds && wrong == NULL)
		wrong = what;
}

static void touch(const struct state *s, unsigned slab)
{
	expect(!s->gone[slab], "a slab that was given back is touched");
}

/* ---- The steps. Each returns false when it can't be taken now ---- */

static void end_push(struct process *p) { p->step = ++p->round == BLOCKS ? P_DONE : P_LOAD; }

/* hk_mailbox_push: HEAD, LINK, MAIL. True when the slab is in the box. */
static bool step_mailbox(struct state *s, struct process *p, unsigned slab, uint8_t head)
{
	uint8_t *box = &s->box[p->heap];

	if (p->step == head) {
		p->seen = *box;
		p->step++;
	} else if (p->step == head + 1) {
		touch(s, slab);
		s->mail_next[slab] = p->seen;
		p->step++;
	} else if (*box != p->seen) {
		p->seen = *box;
		p->step--;
	} else {
		*box = (uint8_t)(slab + 1);
		return true;
	}
	return false;
}

static bool step_pusher(struct state *s, unsigned i)
{
	struct process *p = &s->pusher[i];
	unsigned slab = plan[i][p->round % BLOCKS];
	uint8_t bit = (uint8_t)(1u << (i * BLOCKS + p->round % BLOCKS));

	switch (p->step) {
	case P_LOAD:
		touch(s, slab);
		p->seen = s->word[slab];
		p->step = P_SEND;
		return true;
	case P_SEND:
		touch(s, slab);
		if (s->word[slab] != p->seen) {
			p->seen = s->word[slab];
			return true;
		}
		s->word[slab] = p->seen | bit | QUEUED;
		if ((p->seen & QUEUED) == 0 || mistake == ALWAYS_QUEUES)
			p->step = P_OWNER;
		else
			end_push(p);
		return true;
	case P_OWNER:
		touch(s, slab);
		p->heap = s->owner[slab];
		p->step = P_HEAD;
		return true;
	case P_DONE:
		return false;
	default:
		if (step_mailbox(s, p, slab, P_HEAD))
			end_push(p);
		return true;
	}
}

static void next_in_hand(struct process *d, struct state *s)
{
	if (mistake == LATE_NEXT)
		d->next = s->mail_next[d->slab];
	d->step = d->next != 0 ? D_NEXT : D_UNLOCK;
	if (d->next != 0)
		d->slab = d->next - 1;
	d->next = 0;
}

static void collect(struct state *s, unsigned heap, struct process *d)
{
	unsigned slab = d->slab;
	uint8_t got = s->word[slab] & (uint8_t)~QUEUED;

	touch(s, slab);
	expect(s->owner[slab] == heap, "a slab of another heap is collected");
	expect((got & s->collected[slab]) == 0, "a block came twice");
	s->word[slab] = mistake == QUEUED_STAYS ? QUEUED : 0;
	s->collected[slab] |= got;
	s->used[slab] &= (uint8_t)~got;
	if (s->used[slab] == 0 || mistake == EARLY_RELEASE)
		d->step = D_RELEASE;
	else
		next_in_hand(d, s);
}

static bool step_drainer(struct state *s, unsigned heap)
{
	struct process *d = &s->drainer[heap];

	switch (d->step) {
	case D_IDLE:
		if (s->box[heap] == 0 || s->lock[heap])
			return false;
		s->lock[heap] = 1;
		d->step = D_TAKE;
		return true;
	case D_TAKE:
		d->slab = s->box[heap] - 1; /* nobody else takes: it is not empty */
		s->box[heap] = 0;
		d->step = D_NEXT;
		return true;
	case D_NEXT:
		touch(s, d->slab);
		d->next = s->mail_next[d->slab];
		d->step = D_OWNER;
		return true;
	case D_OWNER:
		touch(s, d->slab);
		d->heap = s->owner[d->slab];
		d->step = d->heap == heap || mistake == NO_OWNER_CHECK ? D_COLLECT : D_HEAD;
		if (d->step == D_HEAD && mistake == NO_FORWARD)
			next_in_hand(d, s);
		return true;
	case D_COLLECT:
		collect(s, heap, d);
		return true;
	case D_RELEASE:
		if (s->word[d->slab] == 0)
			s->gone[d->slab] = 1;
		next_in_hand(d, s);
		return true;
	case D_UNLOCK:
		s->lock[heap] = 0;
		memset(d, 0, sizeof(*d));
		return true;
	default:
		if (step_mailbox(s, d, d->slab, D_HEAD))
			next_in_hand(d, s);
		return true;
	}
}

/* Slab 0 goes from heap 0 to heap 1, and back. */
static bool step_mover(struct state *s)
{
	struct process *m = &s->mover;
	unsigned to = 1 - m->round, from = m->round;
	bool second = mistake != NO_SECOND_LOCK;

	switch (m->step) {
	case M_LOCK:
		if (s->lock[to])
			return false;
		s->lock[to] = 1;
		m->step = M_TRY;
		return true;
	case M_TRY:
		if (second && s->lock[from]) {
			s->lock[to] = 0;
			m->step = M_LOCK;
			return true;
		}
		if (second)
			s->lock[from] = 1;
		m->step = M_CHANGE;
		return true;
	case M_CHANGE:
		if (!s->gone[0])
			s->owner[0] = (uint8_t)to;
		m->step = M_UNLOCK;
		return true;
	case M_UNLOCK:
		s->lock[to] = 0;
		if (second)
			s->lock[from] = 0;
		m->step = ++m->round == 2 ? M_DONE : M_LOCK;
		return true;
	default:
		return false;
	}
}

/* ---- What must hold between any two steps ---- */

/* Counts the slabs of a list, which must end. */
static void count_list(const struct state *s, uint8_t in, uint8_t *places)
{
	for (unsigned i = 0; in != 0; in = s->mail_next[in - 1]) {
		expect(i++ < SLABS, "RM1: a list is a ring");
		if (wrong != NULL)
			return;
		places[in - 1]++;
	}
}

static void check(const struct state *s)
{
	uint8_t places[SLABS] = { 0 };

	for (unsigned i = 0; i < PUSHERS; i++) {
		const struct process *p = &s->pusher[i];

		if (p->step >= P_OWNER && p->step <= P_MAIL)
			places[plan[i][p->round]]++;
	}
	for (unsigned i = 0; i < HEAPS; i++) {
		const struct process *d = &s->drainer[i];

		count_list(s, s->box[i], places);
		if (d->step == D_NEXT) {
			count_list(s, (uint8_t)(d->slab + 1), places);
		} else if (d->step > D_NEXT && d->step < D_UNLOCK) {
			places[d->slab] += d->step != D_RELEASE;
			count_list(s, d->next, places);
		}
	}
	for (unsigned i = 0; i < SLABS; i++) {
		expect(places[i] <= 1, "RM1: a slab is in two places");
		expect(places[i] == ((s->word[i] & QUEUED) != 0), "RM2: QUEUED is not the token");
		expect((s->word[i] & ~QUEUED & s->collected[i]) == 0, "a block is twice");
	}
}

/* Nobody can do anything more. */
static void check_end(const struct state *s)
{
	uint8_t all[SLABS] = { 0 };

	for (unsigned i = 0; i < PUSHERS; i++)
		for (unsigned j = 0; j < BLOCKS; j++)
			all[plan[i][j]] |= (uint8_t)(1u << (i * BLOCKS + j));
	for (unsigned i = 0; i < PUSHERS; i++)
		expect(s->pusher[i].step == P_DONE, "a pusher waits for ever");
	for (unsigned i = 0; i < SLABS; i++) {
		expect(s->collected[i] == all[i], "a block is lost");
		expect(s->gone[i] || all[i] == 0, "an empty slab is not given back");
	}
	expect(s->mover.step == M_DONE, "a slab can't change hands");
}

/* ---- The search ---- */

#define TABLE ((size_t)1 << 20)

static struct state table[TABLE], stack[TABLE];
static bool taken[TABLE];
static size_t states;

static bool is_new(const struct state *s)
{
	uint64_t hash = 0;
	const uint8_t *byte = (const uint8_t *)s;
	size_t at;

	for (size_t i = 0; i < sizeof(*s); i++)
		hash = (hash ^ byte[i]) * 0x100000001b3u;
	for (at = (hash ^ hash >> 29) % TABLE; taken[at]; at = (at + 1) % TABLE)
		if (memcmp(&table[at], s, sizeof(*s)) == 0)
			return false;
	t_need(++states < TABLE / 8 * 7);
	taken[at] = true;
	table[at] = *s;
	return true;
}

static bool step(struct state *s, unsigned process)
{
	if (process < PUSHERS)
		return step_pusher(s, process);
	process -= PUSHERS;
	return process < HEAPS ? step_drainer(s, process) : step_mover(s);
}

static struct state first_state(void)
{
	struct state s;

	memset(&s, 0, sizeof(s));
	for (unsigned i = 0; i < PUSHERS; i++)
		for (unsigned j = 0; j < BLOCKS; j++)
			s.used[plan[i][j]] |= (uint8_t)(1u << (i * BLOCKS + j));
	return s;
}

/* What is wrong with the model, or NULL. */
static const char *explore(enum mistake m, const uint8_t slabs[PUSHERS * BLOCKS])
{
	size_t depth = 0;

	mistake = m;
	wrong = NULL;
	states = 0;
	memset(taken, 0, sizeof(taken));
	memcpy(plan, slabs, sizeof(plan));
	stack[depth++] = first_state();
	is_new(&stack[0]);
	while (depth != 0 && wrong == NULL) {
		struct state from = stack[--depth];
		bool any = false;

		for (unsigned i = 0; i < PUSHERS + HEAPS + 1; i++) {
			struct state to = from;

			if (!step(&to, i))
				continue;
			any = true;
			check(&to);
			if (is_new(&to))
				stack[depth++] = to;
		}
		if (!any)
			check_end(&from);
	}
	return wrong;
}

static const uint8_t plans[][PUSHERS * BLOCKS] = {
	{ 0, 0, 0, 0 }, { 0, 1, 1, 0 }, { 0, 1, 0, 1 }, { 0, 0, 1, 0 }, { 1, 0, 1, 1 },
};

static void rm1_rm2_every_interleaving(void)
{
	for (unsigned i = 0; i < T_COUNT(plans); i++) {
		const char *what = explore(NONE, plans[i]);

		if (what != NULL)
			t_say("plan %u: %s", i, what);
		t_check_at(what == NULL, i);
		t_say("plan %u: %zu states", i, states);
		t_check(states > 10000);
	}
}

static void mistakes_are_found(void)
{
	for (unsigned m = NONE + 1; m < MISTAKES; m++) {
		const char *what = NULL;

		for (unsigned i = 0; i < T_COUNT(plans) && what == NULL; i++)
			what = explore((enum mistake)m, plans[i]);
		t_check_at(what != NULL, m);
		t_say("mistake %u: %s", m, what != NULL ? what : "not found");
	}
}

U_MAIN(T_CASE(rm1_rm2_every_interleaving), T_CASE(mistakes_are_found))
