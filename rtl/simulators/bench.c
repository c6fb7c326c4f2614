/* The test bench of the compiled simulators: feeds and drains of rtl/simulate.py, cycle by cycle.

   A feed starts a beat when its interval is over and fewer than `depth` of its beats wait, and
   offers it `latency` cycles later. A drain is ready when its interval is over. What was taken in
   one cycle counts from the next one on. A feed that follows a drain (`follows`, -1: none) has `own`
   beats of its own and goes on with what that drain has taken, `lag` beats behind, a block of
   `block` beats once the last of them was taken (`later`: in a cycle before); what it has of its own
   it gives over and over in rounds of `period` beats. Where `memory` is not 0, its beats are so many
   words, looked up at the addresses that the drain has taken. Streams that share a port (`port`, -1:
   none) take turns there: so many beats of each, over and over. */
#include <stdint.h>

typedef void (*step_t)(uint64_t model, const uint64_t *in, uint64_t *out);

typedef struct {
  int64_t count, depth, latency, limbs, beats_at, gaps_at, data, valid, ready, allow_at, allow, period,
      own, follows, trace_at, lag, block, later, memory, port;                 /* given */
  int64_t started, taken, free_at;                                             /* state */
} port_t;

typedef struct {
  int64_t turns_at, turns;                                                     /* given */
  int64_t free_at, at, moved;                                                  /* state */
} shared_t;

typedef struct {
  shared_t *ports;
  const int64_t *turns; /* stream, beats */
  const uint8_t *allowed;
} order_t;

/* An interval is over, in a cycle that the pattern of `allow` flags allows. */
static int is_free(const port_t *p, int64_t stream, const order_t *o, int64_t now) {
  if (p->port >= 0) {
    const shared_t *s = o->ports + p->port;
    if (now < s->free_at || o->turns[2 * (s->turns_at + s->at)] != stream) return 0;
  }
  return now >= p->free_at && o->allowed[p->allow_at + now % p->allow];
}

static void move(port_t *p, const order_t *o, int64_t free_at) {
  p->free_at = free_at;
  if (p->port < 0) return;
  shared_t *s = o->ports + p->port;
  s->free_at = free_at;
  if (++s->moved < o->turns[2 * (s->turns_at + s->at) + 1]) return;
  s->moved = 0;
  if (++s->at == s->turns) s->at = 0;
}

/* Feeds: data and valid are places in `in`, ready in `out`; drains the other way round. `when` has
   room for two numbers a beat of a feed (offered, taken), one a beat of a drain, from `trace_at` on. */
int64_t bench(step_t step, uint64_t model, int64_t limit, int64_t nf, port_t *feeds, int64_t nd,
              port_t *drains, const uint64_t *beats, uint64_t *got, const int64_t *gaps,
              const uint8_t *allowed, shared_t *ports, const int64_t *turns, int64_t *offered,
              int64_t *taken_at, int64_t *got_at, uint64_t *in, uint64_t *out) {
  int64_t left = 0;
  const order_t order = {ports, turns, allowed};
  for (int64_t d = 0; d < nd; d++) left += drains[d].count;
  for (int64_t now = 0; now < limit; now++) {
    if (left == 0) return now;
    for (int64_t f = 0; f < nf; f++) {
      port_t *p = feeds + f;
      int64_t n = p->taken;
      int valid = n < p->started && offered[p->trace_at + n] <= now;
      const uint64_t *beat = beats + p->beats_at + (n % p->period) * p->limbs;
      int there = valid;
      if (n >= p->own && valid) {
        const port_t *d = drains + p->follows;
        const uint64_t *word = got + d->beats_at + (n - p->lag) * d->limbs;
        there = !p->memory || word[0] < (uint64_t)p->memory;
        beat = p->memory ? beats + p->beats_at + (int64_t)word[0] * p->limbs : word;
      }
      in[p->valid] = valid;
      for (int64_t k = 0; k < p->limbs; k++) in[p->data + k] = there ? beat[k] : 0;
    }
    for (int64_t d = 0; d < nd; d++) {
      port_t *p = drains + d;
      in[p->ready] = p->taken < p->count && is_free(p, nf + d, &order, now);
    }
    step(model, in, out);
    for (int64_t d = 0; d < nd; d++) {
      port_t *p = drains + d;
      if (!in[p->ready] || !out[p->valid]) continue;
      for (int64_t k = 0; k < p->limbs; k++)
        got[p->beats_at + p->taken * p->limbs + k] = out[p->data + k];
      got_at[p->trace_at + p->taken] = now;
      move(p, &order, now + gaps[p->gaps_at + p->taken]);
      p->taken++;
      left--;
    }
    for (int64_t f = 0; f < nf; f++) {
      port_t *p = feeds + f;
      int takes = in[p->valid] && out[p->ready];
      int64_t n = p->started;
      int there = n < p->own;
      if (!there && n < p->count) {
        const port_t *d = drains + p->follows;
        int64_t last = ((n - p->lag) / p->block + 1) * p->block - 1;
        there = last < d->taken && got_at[d->trace_at + last] + p->later <= now;
      }
      if (there && is_free(p, f, &order, now) && n - p->taken < p->depth) {
        offered[p->trace_at + n] = now + p->latency;
        move(p, &order, now + gaps[p->gaps_at + n % p->period]);
        p->started++;
      }
      if (takes) taken_at[p->trace_at + p->taken++] = now;
    }
  }
  return left == 0 ? limit : -1;
}
