/* What the three sources share; no part of the interface.
 *
 * Integers are put together from bytes: no pointer into a message is ever cast, and no byte order or alignment is
 * assumed.
 */
#ifndef ISTHMUS_PRIVATE_H
#define ISTHMUS_PRIVATE_H

#include <string.h>

#include "isthmus.h"

static inline uint32_t get16(const uint8_t *at) { return (uint32_t)at[0] | (uint32_t)at[1] << 8; }
static inline uint32_t get32(const uint8_t *at) { return get16(at) | get16(at + 2) << 16; }
static inline uint64_t get64(const uint8_t *at) { return (uint64_t)get32(at) | (uint64_t)get32(at + 4) << 32; }

static inline int32_t signed8(uint32_t x) { return (int32_t)(x ^ 0x80u) - 0x80; }
static inline int32_t signed16(uint32_t x) { return (int32_t)(x ^ 0x8000u) - 0x8000; }
static inline int32_t signed32(uint32_t x) { return x < 0x80000000u ? (int32_t)x : -(int32_t)(UINT32_MAX - x) - 1; }

static inline void set_le(uint8_t *at, uint64_t x, int bytes) {
  for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(x >> (8 * i));
}

/* Serial numbers: whether a comes after b, modulo 2^32 (§1). */
static inline bool after(uint32_t a, uint32_t b) { return a != b && (uint32_t)(a - b) < 0x80000000u; }

/* `count` bytes of the reader, or NULL. */
static inline const uint8_t *advance(isthmus_reader *reader, uint64_t count) {
  if (reader->bad || count > (uint64_t)(reader->end - reader->at)) {
    reader->bad = true;
    return NULL;
  }
  const uint8_t *at = reader->at;
  reader->at += count;
  return at;
}

/* Writes into `out` until it is full. */
typedef struct {
  uint8_t *out;
  size_t room, used; /* used > room: it did not fit */
} isthmus_writer;

static inline void put(isthmus_writer *w, const uint8_t *bytes, size_t count) {
  if (w->used <= w->room && count <= w->room - w->used) {
    if (count > 0) memcpy(w->out + w->used, bytes, count);
    w->used += count;
  } else {
    w->used = w->room + 1; /* stays */
  }
}

static inline size_t finish(const isthmus_writer *w) {
  return w->used <= w->room && w->used <= ISTHMUS_CLIENT_MESSAGE_BYTES ? w->used : 0;
}

#endif
