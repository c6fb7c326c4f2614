/* The test bench of the compiled simulators: feeds and drains of rtl/simulate.py, cycle by cycle.

   A feed starts a beat when its interval is over and fewer than `depth` of its beats wait, and
   offers it `latency` cycles later. A drain is ready when its interval is over. What was taken in
   one cycle counts from the next one on. */
#include <stdint.h>

typedef void (*step_t)(uint64_t model, const uint64_t *in, uint64_t *out);

typedef struct {
  int64_t count, depth, latency, limbs, beats_at, gaps_at, data, valid, ready, allow_at, allow; /* given */
  int64_t started, taken, free_at;                                             /* state */
} port_t;

/* An interval is over, in a cycle that the pattern of `allow` flags allows. */
static int is_free(const port_t *p, const uint8_t *allowed, int64_t now) {
  return now >= p->free_at && allowed[p->allow_at + now % p->allow];
}

/* Feeds: data and valid are places in `in`, ready in `out`; drains the other way round. `when` has
   room for two numbers a beat of a feed (offered, taken), one a beat of a drain. */
int64_t bench(step_t step, uint64_t model, int64_t limit, int64_t nf, port_t *feeds, int64_t nd,
              port_t *drains, const uint64_t *beats, uint64_t *got, const int64_t *gaps,
              const uint8_t *allowed, int64_t *offered, int64_t *taken_at, int64_t *got_at, uint64_t *in, uint64_t *out) {
  int64_t left = 0;
  for (int64_t d = 0; d < nd; d++) left += drains[d].count;
  for (int64_t now = 0; now < limit; now++) {
    if (left == 0) return now;
    for (int64_t f = 0; f < nf; f++) {
      port_t *p = feeds + f;
      int valid = p->taken < p->started && offered[p->gaps_at + p->taken] <= now;
      in[p->valid] = valid;
      for (int64_t k = 0; k < p->limbs; k++)
        in[p->data + k] = valid ? beats[p->beats_at + p->taken * p->limbs + k] : 0;
    }
    for (int64_t d = 0; d < nd; d++) {
      port_t *p = drains + d;
      in[p->ready] = p->taken < p->count && is_free(p, allowed, now);
    }
    step(model, in, out);
    for (int64_t f = 0; f < nf; f++) {
      port_t *p = feeds + f;
      int takes = in[p->valid] && out[p->ready];
      if (p->started < p->count && is_free(p, allowed, now) && p->started - p->taken < p->depth) {
        offered[p->gaps_at + p->started] = now + p->latency;
        p->free_at = now + gaps[p->gaps_at + p->started];
        p->started++;
      }
      if (takes) taken_at[p->gaps_at + p->taken++] = now;
    }
    for (int64_t d = 0; d < nd; d++) {
      port_t *p = drains + d;
      if (!in[p->ready] || !out[p->valid]) continue;
      for (int64_t k = 0; k < p->limbs; k++)
        got[p->beats_at + p->taken * p->limbs + k] = out[p->data + k];
      got_at[p->gaps_at + p->taken] = now;
      p->free_at = now + gaps[p->gaps_at + p->taken];
      p->taken++;
      left--;
    }
  }
  return left == 0 ? limit : -1;
}
