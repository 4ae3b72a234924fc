#include "parts.h"

#include <string.h>

static uint32_t get16(const uint8_t *at) { return (uint32_t)at[0] | (uint32_t)at[1] << 8; }
static uint32_t get32(const uint8_t *at) { return get16(at) | get16(at + 2) << 16; }
static uint64_t get64(const uint8_t *at) { return (uint64_t)get32(at) | (uint64_t)get32(at + 4) << 32; }


static void set_le(uint8_t *at, uint64_t x, int bytes) {
  for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(x >> (8 * i));
}

/* `count` bytes of the reader, or NULL. */
static const uint8_t *advance(isthmus_reader *reader, uint64_t count) {
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
} writer;

static void put(writer *w, const uint8_t *bytes, size_t count) {
  if (w->used <= w->room && count <= w->room - w->used) {
    if (count > 0) memcpy(w->out + w->used, bytes, count);
    w->used += count;
  } else {
    w->used = w->room + 1; /* stays */
  }
}

static size_t finish(const writer *w) {
  return w->used <= w->room && w->used <= ISTHMUS_CLIENT_MESSAGE_BYTES ? w->used : 0;
}

enum { DATAGRAM_VERSION = 0x31 };

size_t datagram_context(uint8_t *out, size_t room, uint64_t session, uint32_t number, isthmus_bytes address) {
  static const char what[] = "isthmus datagrams 1"; /* with the zero byte at its end */
  uint8_t ids[12];
  writer w = {out, room, 0};
  set_le(ids, session, 8);
  set_le(ids + 8, number, 4);
  put(&w, (const uint8_t *)what, sizeof what);
  put(&w, ids, sizeof ids);
  put(&w, address.at, address.bytes);
  return finish(&w);
}

void datagram_head(uint8_t out[SEALED_HEAD_BYTES], uint32_t number, uint64_t sequence) {
  out[0] = DATAGRAM_VERSION;
  set_le(out + 1, number, 4);
  set_le(out + 5, sequence, 8);
}

void datagram_nonce(uint8_t out[NONCE_BYTES], uint64_t sequence) {
  set_le(out, 0, 4);
  set_le(out + 4, sequence, 8);
}

bool datagram_open(isthmus_bytes datagram, uint32_t *number, uint64_t *sequence, isthmus_bytes *sealed) {
  if (datagram.at == NULL || datagram.bytes < SEALED_HEAD_BYTES + TAG_BYTES) return false;
  if (datagram.bytes > ISTHMUS_DATAGRAM_BYTES || datagram.at[0] != DATAGRAM_VERSION) return false;
  *number = get32(datagram.at + 1);
  *sequence = get64(datagram.at + 5);
  *sealed = (isthmus_bytes){datagram.at + SEALED_HEAD_BYTES, datagram.bytes - SEALED_HEAD_BYTES};
  return *sequence > 0; /* they count from 1 */
}

bool sequences_take(sequences *window, uint64_t sequence) {
  uint64_t bit = (uint64_t)1 << (sequence % 64), *word = &window->had[sequence / 64 % 4];
  if (sequence > window->newest) {
    /* Places of sequences between belong to ones that are 256 older; they are free again. */
    uint64_t step = sequence - window->newest;
    if (step >= 256) memset(window->had, 0, sizeof window->had);
    for (uint64_t s = window->newest + 1; step < 256 && s < sequence; s++)
      window->had[s / 64 % 4] &= ~((uint64_t)1 << (s % 64));
    window->newest = sequence;
    *word |= bit;
    return true;
  }
  if (sequence == 0 || window->newest - sequence >= 256 || (*word & bit) != 0) return false;
  *word |= bit;
  return true;
}

bool plain_next(isthmus_reader *parts, part *out) {
  memset(out, 0, sizeof *out);
  if (parts->at == parts->end) return false;
  const uint8_t *head = advance(parts, 3);
  const uint8_t *bytes = head == NULL ? NULL : advance(parts, get16(head + 1));
  if (bytes == NULL) return false;
  out->kind = head[0];
  out->bytes = (isthmus_bytes){bytes, get16(head + 1)};
  if (out->kind != PART_STREAM) return true;
  if (out->bytes.bytes < 4) {
    parts->bad = true;
    return false;
  }
  out->offset = get32(bytes);
  out->bytes = (isthmus_bytes){bytes + 4, out->bytes.bytes - 4};
  return true;
}

bool plain_open(isthmus_bytes plain, uint32_t *received, isthmus_reader *parts) {
  *parts = isthmus_read(plain);
  const uint8_t *head = advance(parts, 4);
  if (head == NULL) return false;
  *received = get32(head);
  isthmus_reader all = *parts;
  part part;
  while (plain_next(&all, &part)) {
  }
  return !all.bad;
}

size_t plain_begin(uint8_t *out, size_t room, uint32_t received) {
  if (room < 4) return 0;
  set_le(out, received, 4);
  return 4;
}

size_t plain_part(uint8_t *out, size_t room, size_t used, const part *part) {
  bool stream = part->kind == PART_STREAM;
  uint8_t head[7] = {part->kind};
  if (part->bytes.bytes > ISTHMUS_DATAGRAM_BYTES || used < 4) return 0;
  set_le(head + 1, part->bytes.bytes + (stream ? 4 : 0), 2);
  set_le(head + 3, part->offset, 4);
  size_t most = ISTHMUS_DATAGRAM_BYTES - SEALED_HEAD_BYTES - TAG_BYTES;
  writer w = {out, room < most ? room : most, used};
  put(&w, head, stream ? 7 : 3);
  put(&w, part->bytes.at, part->bytes.bytes);
  return finish(&w);
}

/* ------------------------------------------------------------------------------------ the reliable stream (§9.3) */
int inflow_init(inflow *inflow, uint8_t *memory, size_t bytes) {
  if (memory == NULL || bytes < UNACKNOWLEDGED_BYTES + 4) return INFLOW_MEMORY;
  memset(inflow, 0, sizeof *inflow);
  inflow->memory = memory;
  inflow->room = bytes;
  return ISTHMUS_OK;
}

int inflow_put(inflow *inflow, uint32_t offset, isthmus_bytes bytes) {
  uint32_t from = offset - inflow->received;
  if (from >= 0x80000000u) { /* begins with bytes that came before */
    uint32_t had = 0u - from;
    if (had >= bytes.bytes) return ISTHMUS_OK;
    bytes = (isthmus_bytes){bytes.at + had, bytes.bytes - had};
    from = 0;
  }
  if (bytes.bytes == 0) return ISTHMUS_OK;
  if (from > UNACKNOWLEDGED_BYTES || bytes.bytes > UNACKNOWLEDGED_BYTES - from) return ISTHMUS_DROPPED;
  if (inflow->whole - inflow->taken > inflow->room - UNACKNOWLEDGED_BYTES) return ISTHMUS_DROPPED; /* not taken out */

  /* The list of islands with this one in it, what touches being one; nothing is changed before it is known to fit. */
  struct { uint32_t from, to; } list[ISLANDS + 1];
  uint32_t count = 0, begin_at = from, end_at = from + (uint32_t)bytes.bytes;
  bool placed = false;
  for (uint32_t i = 0; i < inflow->islands; i++) {
    uint32_t a = inflow->island[i].from, b = inflow->island[i].to;
    if (!placed && a <= end_at && b >= begin_at) {
      begin_at = a < begin_at ? a : begin_at;
      end_at = b > end_at ? b : end_at;
      continue;
    }
    if (!placed && a > end_at) {
      list[count].from = begin_at, list[count++].to = end_at;
      placed = true;
    }
    list[count].from = a, list[count++].to = b;
  }
  if (!placed) list[count].from = begin_at, list[count++].to = end_at;
  uint32_t grown = list[0].from == 0 ? list[0].to : 0, first = grown > 0 ? 1 : 0;
  if (count - first > ISLANDS) return ISTHMUS_DROPPED;

  if (inflow->room - inflow->whole < UNACKNOWLEDGED_BYTES) {
    size_t last = inflow->islands > 0 ? inflow->island[inflow->islands - 1].to : 0;
    memmove(inflow->memory, inflow->memory + inflow->taken, inflow->whole - inflow->taken + last);
    inflow->whole -= inflow->taken;
    inflow->taken = 0;
  }
  memcpy(inflow->memory + inflow->whole + from, bytes.at, bytes.bytes);
  inflow->whole += grown;
  inflow->received += grown;
  inflow->islands = count - first;
  for (uint32_t i = first; i < count; i++) {
    inflow->island[i - first].from = list[i].from - grown;
    inflow->island[i - first].to = list[i].to - grown;
  }
  return ISTHMUS_OK;
}

int inflow_take(inflow *inflow, isthmus_bytes *message) {
  size_t there = inflow->whole - inflow->taken;
  if (there < 4) return ISTHMUS_DROPPED;
  uint32_t bytes = get32(inflow->memory + inflow->taken);
  if (bytes > ISTHMUS_MESSAGE_BYTES) return ISTHMUS_BROKEN;
  if (bytes > inflow->room - UNACKNOWLEDGED_BYTES - 4) return ISTHMUS_FULL;
  if (there - 4 < bytes) return ISTHMUS_DROPPED;
  *message = (isthmus_bytes){inflow->memory + inflow->taken + 4, bytes};
  inflow->taken += 4 + (size_t)bytes;
  return ISTHMUS_OK;
}
