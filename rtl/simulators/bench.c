/* The test bench of the compiled simulators: feeds and drains of rtl/simulate.py, cycle by cycle.

   A feed starts a beat when its interval is over and fewer than `depth` of its beats wait, and
   offers it `latency` cycles later. A drain is ready when its interval is over. What was taken in
   one cycle counts from the next one on. A feed that follows a drain (`follows`, -1: none) has `own`
   beats of its own and goes on with what that drain has taken; what it has of its own it gives over
   and over in rounds of `period` beats. */
#include <stdint.h>

typedef void (*step_t)(uint64_t model, const uint64_t *in, uint64_t *out);

typedef struct {
  int64_t count, depth, latency, limbs, beats_at, gaps_at, data, valid, ready, allow_at, allow, period,
      own, follows, trace_at;                                                  /* given */
  int64_t started, taken, free_at;                                             /* state */
} port_t;

/* An interval is over, in a cycle that the pattern of `allow` flags allows. */
static int is_free(const port_t *p, const uint8_t *allowed, int64_t now) {
  return now >= p->free_at && allowed[p->allow_at + now % p->allow];
}

/* Feeds: data and valid are places in `in`, ready in `out`; drains the other way round. `when` has
   room for two numbers a beat of a feed (offered, taken), one a beat of a drain, from `trace_at` on. */
int64_t bench(step_t step, uint64_t model, int64_t limit, int64_t nf, port_t *feeds, int64_t nd,
              port_t *drains, const uint64_t *beats, uint64_t *got, const int64_t *gaps,
              const uint8_t *allowed, int64_t *offered, int64_t *taken_at, int64_t *got_at, uint64_t *in, uint64_t *out) {
  int64_t left = 0;
  for (int64_t d = 0; d < nd; d++) left += drains[d].count;
  for (int64_t now = 0; now < limit; now++) {
    if (left == 0) return now;
    for (int64_t f = 0; f < nf; f++) {
      port_t *p = feeds + f;
      int64_t n = p->taken;
      int valid = n < p->started && offered[p->trace_at + n] <= now;
      const uint64_t *beat = beats + p->beats_at + (n % p->period) * p->limbs;
      if (n >= p->own && valid) beat = got + drains[p->follows].beats_at + (n - 1) * p->limbs;
      in[p->valid] = valid;
      for (int64_t k = 0; k < p->limbs; k++) in[p->data + k] = valid ? beat[k] : 0;
    }
    for (int64_t d = 0; d < nd; d++) {
      port_t *p = drains + d;
      in[p->ready] = p->taken < p->count && is_free(p, allowed, now);
    }
    step(model, in, out);
    for (int64_t d = 0; d < nd; d++) {
      port_t *p = drains + d;
      if (!in[p->ready] || !out[p->valid]) continue;
      for (int64_t k = 0; k < p->limbs; k++)
        got[p->beats_at + p->taken * p->limbs + k] = out[p->data + k];
      got_at[p->trace_at + p->taken] = now;
      p->free_at = now + gaps[p->gaps_at + p->taken];
      p->taken++;
      left--;
    }
    for (int64_t f = 0; f < nf; f++) {
      port_t *p = feeds + f;
      int takes = in[p->valid] && out[p->ready];
      int64_t n = p->started;
      int there = n < p->own || (n < p->count && drains[p->follows].taken >= n);
      if (there && is_free(p, allowed, now) && n - p->taken < p->depth) {
        offered[p->trace_at + n] = now + p->latency;
        p->free_at = now + gaps[p->gaps_at + n % p->period];
        p->started++;
      }
      if (takes) taken_at[p->trace_at + p->taken++] = now;
    }
  }
  return left == 0 ? limit : -1;
}
