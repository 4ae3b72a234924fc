/* Messages, both ways: see isthmus.h. Written from ../STANDARD.md; "§" below are its chapters.
 *
 * How it stays within bounds: isthmus_decode walks once over all msgpack of a message and checks each size in a block
 * against the block, so that what reads columns later need not ask again.
 */
#include "isthmus_private.h"

static const uint8_t nothing[1] = {0};

/* ------------------------------------------------------------------------------------------------------- msgpack */
isthmus_reader isthmus_read(isthmus_bytes bytes) {
  isthmus_reader reader = {nothing, nothing, false};
  if (bytes.at != NULL) {
    reader.at = bytes.at;
    reader.end = bytes.at + bytes.bytes;
  }
  return reader;
}

static uint64_t big_endian(isthmus_reader *reader, int bytes) {
  const uint8_t *at = advance(reader, (uint64_t)bytes);
  uint64_t x = 0;
  for (int i = 0; at != NULL && i < bytes; i++) x = x << 8 | at[i];
  return x;
}

static isthmus_value text_value(isthmus_reader *reader, isthmus_kind kind, uint64_t bytes) {
  isthmus_value value = {.kind = kind};
  value.bytes.at = advance(reader, bytes);
  value.bytes.bytes = value.bytes.at == NULL ? 0 : (size_t)bytes;
  return value;
}

static isthmus_value signed_value(uint64_t x, int bytes) {
  uint64_t top = (uint64_t)1 << (8 * bytes - 1);
  isthmus_value value = {.kind = ISTHMUS_UINT, .whole = x};
  if (x & top) {
    value.kind = ISTHMUS_INT;
    value.whole = 0;
    value.sign = -(int64_t)((top - 1) - (x & (top - 1))) - 1;
  }
  return value;
}

static isthmus_value float_value(isthmus_reader *reader, int bytes) {
  isthmus_value value = {.kind = ISTHMUS_FLOAT};
  uint64_t bits = big_endian(reader, bytes);
  if (bytes == 4) {
    uint32_t narrow = (uint32_t)bits;
    float real;
    memcpy(&real, &narrow, sizeof real);
    value.real = (double)real;
  } else {
    memcpy(&value.real, &bits, sizeof value.real);
  }
  return value;
}

static isthmus_value read_value(isthmus_reader *reader) {
  const uint8_t *at = advance(reader, 1);
  uint8_t c = at == NULL ? 0xc1 : *at;
  if (c <= 0x7f) return (isthmus_value){.kind = ISTHMUS_UINT, .whole = c};
  if (c <= 0x8f) return (isthmus_value){.kind = ISTHMUS_MAP, .whole = c & 0x0fu};
  if (c <= 0x9f) return (isthmus_value){.kind = ISTHMUS_ARRAY, .whole = c & 0x0fu};
  if (c <= 0xbf) return text_value(reader, ISTHMUS_STR, c & 0x1fu);
  if (c >= 0xe0) return (isthmus_value){.kind = ISTHMUS_INT, .sign = (int)c - 256};
  switch (c) {
    case 0xc0: return (isthmus_value){.kind = ISTHMUS_NIL};
    case 0xc2: case 0xc3: return (isthmus_value){.kind = ISTHMUS_BOOL, .whole = c & 1u};
    case 0xc4: case 0xc5: case 0xc6: return text_value(reader, ISTHMUS_BIN, big_endian(reader, 1 << (c - 0xc4)));
    case 0xc7: case 0xc8: case 0xc9: return text_value(reader, ISTHMUS_EXT, big_endian(reader, 1 << (c - 0xc7)) + 1);
    case 0xca: case 0xcb: return float_value(reader, c == 0xca ? 4 : 8);
    case 0xcc: case 0xcd: case 0xce: case 0xcf:
      return (isthmus_value){.kind = ISTHMUS_UINT, .whole = big_endian(reader, 1 << (c - 0xcc))};
    case 0xd0: case 0xd1: case 0xd2: case 0xd3:
      return signed_value(big_endian(reader, 1 << (c - 0xd0)), 1 << (c - 0xd0));
    case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8:
      return text_value(reader, ISTHMUS_EXT, (1u << (c - 0xd4)) + 1);
    case 0xd9: case 0xda: case 0xdb: return text_value(reader, ISTHMUS_STR, big_endian(reader, 1 << (c - 0xd9)));
    case 0xdc: case 0xdd: return (isthmus_value){.kind = ISTHMUS_ARRAY, .whole = big_endian(reader, c == 0xdc ? 2 : 4)};
    case 0xde: case 0xdf: return (isthmus_value){.kind = ISTHMUS_MAP, .whole = big_endian(reader, c == 0xde ? 2 : 4)};
    default: reader->bad = true; return (isthmus_value){.kind = ISTHMUS_NIL}; /* 0xc1 */
  }
}

isthmus_value isthmus_next(isthmus_reader *reader) {
  isthmus_value value = read_value(reader);
  return reader->bad ? (isthmus_value){.kind = ISTHMUS_NIL} : value;
}

isthmus_bytes isthmus_next_raw(isthmus_reader *reader) {
  const uint8_t *begin = reader->at;
  uint64_t left = 1; /* each turn takes a byte at least, so neither this nor the stack can be blown up */
  while (left > 0 && !reader->bad) {
    isthmus_value value = isthmus_next(reader);
    left += value.kind == ISTHMUS_ARRAY ? value.whole : value.kind == ISTHMUS_MAP ? 2 * value.whole : 0;
    left -= 1;
  }
  return reader->bad ? (isthmus_bytes){NULL, 0} : (isthmus_bytes){begin, (size_t)(reader->at - begin)};
}

/* -------------------------------------------------------------------------------------------- items of a message
 * Each takes the next item and sets `bad` if it is not what the standard says. */
static bool is_nil(isthmus_reader *reader) {
  if (reader->at == reader->end || *reader->at != 0xc0) return false;
  reader->at++;
  return true;
}

static uint64_t take_whole(isthmus_reader *reader, uint64_t most) {
  isthmus_value value = isthmus_next(reader);
  if (value.kind != ISTHMUS_UINT || value.whole > most) reader->bad = true;
  return value.whole;
}

static uint32_t take_u32(isthmus_reader *reader) { return (uint32_t)take_whole(reader, UINT32_MAX); }

static int64_t take_tick(isthmus_reader *reader) { return (int64_t)take_whole(reader, (uint64_t)1 << 53); }

static isthmus_bytes take_bytes(isthmus_reader *reader, isthmus_kind kind) {
  isthmus_value value = isthmus_next(reader);
  if (value.kind != kind) reader->bad = true;
  return value.bytes;
}

static isthmus_bytes take_bytes_or_nil(isthmus_reader *reader, isthmus_kind kind) {
  return is_nil(reader) ? (isthmus_bytes){NULL, 0} : take_bytes(reader, kind);
}

static double take_number(isthmus_reader *reader) {
  isthmus_value value = isthmus_next(reader);
  if (value.kind == ISTHMUS_UINT) return (double)value.whole;
  if (value.kind == ISTHMUS_INT) return (double)value.sign;
  if (value.kind != ISTHMUS_FLOAT) reader->bad = true;
  return value.real;
}

static void expect_array(isthmus_reader *reader, uint64_t least) {
  isthmus_value value = isthmus_next(reader);
  if (value.kind != ISTHMUS_ARRAY || value.whole < least) reader->bad = true;
}

/* [x, y, z], far enough from the ends of 32 bits that an i16 can be added. */
static void take_origin(isthmus_reader *reader, int32_t out[3]) {
  isthmus_reader items = isthmus_read(isthmus_next_raw(reader));
  expect_array(&items, 3);
  for (int axis = 0; axis < 3; axis++) {
    isthmus_value value = isthmus_next(&items);
    int64_t x = value.kind == ISTHMUS_UINT && value.whole <= INT32_MAX ? (int64_t)value.whole : value.sign;
    bool whole = value.kind == ISTHMUS_INT || (value.kind == ISTHMUS_UINT && value.whole <= INT32_MAX);
    if (!whole || x < INT32_MIN + 32768 || x > INT32_MAX - 32767) items.bad = true;
    out[axis] = items.bad ? 0 : (int32_t)x;
  }
  if (items.bad) reader->bad = true;
}

/* What follows the zero bytes of a block, if that is `head` bytes at least (§4). */
static isthmus_bytes take_block(isthmus_reader *reader, size_t head) {
  isthmus_bytes block = take_bytes(reader, ISTHMUS_BIN);
  if (reader->bad || block.bytes < 1 || block.bytes - 1 < block.at[0] || block.bytes - 1 - block.at[0] < head) {
    reader->bad = true;
    return (isthmus_bytes){NULL, 0};
  }
  return (isthmus_bytes){block.at + 1 + block.at[0], block.bytes - 1 - block.at[0]};
}

/* -------------------------------------------------------------------------------------------- WELCOME, STRUCTURE */
static bool is_key(isthmus_bytes key, const char *name) {
  return key.bytes == strlen(name) && memcmp(key.at, name, key.bytes) == 0;
}

static void decode_welcome(isthmus_reader *reader, isthmus_welcome *out) {
  isthmus_value map = isthmus_next(reader);
  unsigned seen = 0; /* of the ten without which a client cannot go on */
  if (map.kind != ISTHMUS_MAP) reader->bad = true;
  for (uint64_t i = 0; i < map.whole && !reader->bad; i++) {
    isthmus_bytes key = take_bytes(reader, ISTHMUS_STR);
    if (reader->bad) break;
    if (is_key(key, "version")) out->version = take_whole(reader, UINT64_MAX), seen |= 1;
    else if (is_key(key, "session")) out->session = take_whole(reader, UINT64_MAX), seen |= 2;
    else if (is_key(key, "generation")) out->generation = take_u32(reader), seen |= 4;
    else if (is_key(key, "resume")) out->resume = take_bytes(reader, ISTHMUS_BIN), seen |= 8;
    else if (is_key(key, "world")) out->world = take_bytes(reader, ISTHMUS_STR), seen |= 16;
    else if (is_key(key, "tick")) out->tick = (uint64_t)take_tick(reader), seen |= 32;
    else if (is_key(key, "rate_hz")) out->rate_hz = take_number(reader), seen |= 64;
    else if (is_key(key, "steps_per_tick")) out->steps_per_tick = take_u32(reader), seen |= 128;
    else if (is_key(key, "body")) {
      out->has_body = !is_nil(reader);
      out->body = out->has_body ? take_whole(reader, UINT64_MAX) : 0;
      seen |= 256;
    }
    else if (is_key(key, "stream")) out->stream = take_u32(reader), seen |= 512;
    else if (is_key(key, "profile")) out->profile = take_bytes(reader, ISTHMUS_STR);
    else if (is_key(key, "radius_m")) out->radius_m = take_number(reader);
    else if (is_key(key, "near_radius_m")) out->near_radius_m = take_number(reader);
    else if (is_key(key, "schema")) out->schema = is_nil(reader) ? (isthmus_bytes){NULL, 0} : isthmus_next_raw(reader);
    else if (is_key(key, "schema_hash")) out->schema_hash = take_bytes(reader, ISTHMUS_BIN);
    else if (is_key(key, "map")) out->map = take_bytes_or_nil(reader, ISTHMUS_STR);
    else if (is_key(key, "attribution")) out->attribution = take_bytes(reader, ISTHMUS_STR);
    else if (is_key(key, "idle_ack_ms")) out->idle_ack_ms = take_u32(reader);
    else if (is_key(key, "server")) out->server = take_bytes(reader, ISTHMUS_STR);
    else if (is_key(key, "acted")) out->acted = take_u32(reader);
    else if (is_key(key, "anchor") && (out->has_anchor = !is_nil(reader))) {
      isthmus_reader items = isthmus_read(isthmus_next_raw(reader));
      expect_array(&items, 3);
      for (int axis = 0; axis < 3; axis++) out->anchor[axis] = take_number(&items);
      if (items.bad) reader->bad = true;
    }
    else if (!is_key(key, "anchor")) isthmus_next_raw(reader); /* a later version's */
  }
  if (seen != 1023) reader->bad = true;
}

/* Where the columns of a STRUCTURE begin, counted from the first. */
static size_t leave_numbers(const isthmus_structure *s) { return 26 * (size_t)s->enters; }
static size_t state_numbers(const isthmus_structure *s) { return leave_numbers(s) + 2 * (size_t)s->leaves; }
static size_t enter_ages(const isthmus_structure *s) { return state_numbers(s) + 4 * (size_t)s->states; }
static size_t structure_blobs(const isthmus_structure *s) { return enter_ages(s) + 2 * (size_t)s->enters; }

/* How long the blob of the i-th enter, or behind those of the i-th state, is. */
static size_t blob_bytes(const isthmus_structure *s, size_t i) {
  if (i < s->enters) return get16(s->columns.at + 24 * (size_t)s->enters + 2 * i);
  return get16(s->columns.at + state_numbers(s) + 2 * (size_t)s->states + 2 * (i - s->enters));
}

static void decode_structure(isthmus_reader *reader, isthmus_structure *out) {
  out->tick = take_tick(reader);
  out->frame = take_u32(reader);
  take_origin(reader, out->origin);
  isthmus_bytes block = take_block(reader, 8);
  if (reader->bad) return;
  out->enters = get16(block.at);
  out->leaves = get16(block.at + 2);
  out->states = get16(block.at + 4);
  out->columns = (isthmus_bytes){block.at + 8, block.bytes - 8};
  out->blob_at = structure_blobs(out);
  if (out->columns.bytes < out->blob_at) {
    reader->bad = true;
    return;
  }
  isthmus_bytes rest = {out->columns.at + out->blob_at, out->columns.bytes - out->blob_at};
  isthmus_reader blobs = isthmus_read(rest);
  for (size_t i = 0; i < (size_t)out->enters + out->states && !blobs.bad; i++) {
    isthmus_value blob = text_value(&blobs, ISTHMUS_BIN, blob_bytes(out, i));
    isthmus_reader pairs = isthmus_read(blob.bytes);
    isthmus_next_raw(&pairs);
    bool is_map = blob.bytes.bytes > 0 && ((blob.bytes.at[0] & 0xf0) == 0x80 || (blob.bytes.at[0] & 0xfe) == 0xde);
    if (!is_map || pairs.bad || pairs.at != pairs.end) blobs.bad = true;
  }
  if (blobs.bad) reader->bad = true; /* what follows the last blob is a later version's (§4) */
}

bool isthmus_next_change(isthmus_structure *s, isthmus_change *out) {
  const uint8_t *columns = s->columns.at;
  size_t i = s->at, e = s->enters;
  memset(out, 0, sizeof *out);
  if (i >= e + s->leaves + s->states) return false;
  s->at++;
  if (i < s->leaves) {
    out->what = ISTHMUS_LEAVE;
    out->number = (uint16_t)get16(columns + leave_numbers(s) + 2 * i);
    return true;
  }
  i -= s->leaves;
  out->blob = (isthmus_bytes){columns + s->blob_at, blob_bytes(s, i)};
  s->blob_at += out->blob.bytes;
  if (i >= e) {
    out->what = ISTHMUS_STATE;
    out->number = (uint16_t)get16(columns + state_numbers(s) + 2 * (i - e));
    return true;
  }
  out->what = ISTHMUS_ENTER;
  out->id = get64(columns + 8 * i);
  out->number = (uint16_t)get16(columns + 8 * e + 2 * i);
  out->kind = (uint16_t)get16(columns + 10 * e + 2 * i);
  for (size_t axis = 0; axis < 3; axis++) {
    out->record.p[axis] = s->origin[axis] + signed16(get16(columns + (12 + 2 * axis) * e + 2 * i));
    out->record.v[axis] = (int16_t)signed16(get16(columns + (18 + 2 * axis) * e + 2 * i));
  }
  out->record.tick = s->tick - columns[enter_ages(s) + i];
  out->record.yaw = columns[enter_ages(s) + e + i];
  return true;
}

/* ------------------------------------------------------------------------------------------------- FRAME, VALUES */
static void decode_own(isthmus_reader *reader, isthmus_own *out) {
  isthmus_bytes own = take_bytes(reader, ISTHMUS_BIN);
  if (own.bytes != 32) reader->bad = true;
  if (reader->bad) return;
  out->seq = get32(own.at);
  out->stamp_ms = get32(own.at + 4);
  out->hold_ms = (uint16_t)get16(own.at + 8);
  out->flags = own.at[10];
  out->steps = own.at[11];
  for (int axis = 0; axis < 3; axis++) {
    out->p[axis] = signed32(get32(own.at + 12 + 4 * axis));
    out->v[axis] = (int16_t)signed16(get16(own.at + 24 + 2 * axis));
  }
}

static void decode_values(isthmus_reader *reader, isthmus_values *out, bool based) {
  out->based = based;
  out->stream = take_u32(reader);
  out->frame = take_u32(reader);
  out->tick = take_tick(reader);
  out->sseq = take_u32(reader);
  if ((out->has_own = !is_nil(reader))) decode_own(reader, &out->own);
  bool has_origin = !is_nil(reader);
  if (has_origin) take_origin(reader, out->origin);
  if (is_nil(reader)) return;
  isthmus_bytes block = take_block(reader, 4);
  if (reader->bad) return;
  out->deltas = get16(block.at);
  out->fulls = get16(block.at + 2);
  out->columns = (isthmus_bytes){block.at + 4, block.bytes - 4};
  size_t needed = (based ? 10 : 9) * (size_t)out->deltas + 16 * (size_t)out->fulls;
  if (out->columns.bytes < needed || (out->fulls > 0 && !has_origin)) {
    reader->bad = true;
    return;
  }
  const uint8_t *bases = out->columns.at + 9 * (size_t)out->deltas + 14 * (size_t)out->fulls;
  for (size_t i = 0; based && i < out->deltas; i++)
    if (bases[i] == 0) reader->bad = true;
}

/* -------------------------------------------------------------------------------------------------- all messages */
static void decode_items(isthmus_reader *reader, isthmus_message *out) {
  out->counted = out->type == ISTHMUS_STRUCTURE || (out->type >= ISTHMUS_CHAT && out->type <= ISTHMUS_SCHEMA) ||
                 out->type == ISTHMUS_EVENT || out->type == ISTHMUS_ANSWER;
  if (out->counted) out->sseq = take_u32(reader);
  switch (out->type) {
    case ISTHMUS_WELCOME: decode_welcome(reader, &out->as.welcome); break;
    case ISTHMUS_STRUCTURE: decode_structure(reader, &out->as.structure); break;
    case ISTHMUS_FRAME: case ISTHMUS_VALUES: decode_values(reader, &out->as.values, out->type == ISTHMUS_VALUES); break;
    case ISTHMUS_CHAT:
      out->as.chat.scope = take_u32(reader);
      out->as.chat.from = take_whole(reader, UINT64_MAX);
      out->as.chat.name = take_bytes(reader, ISTHMUS_STR);
      out->as.chat.text = take_bytes(reader, ISTHMUS_STR);
      break;
    case ISTHMUS_PRESENCE:
      out->as.presence.online = take_whole(reader, UINT64_MAX);
      out->as.presence.joined = isthmus_next_raw(reader);
      out->as.presence.left = isthmus_next_raw(reader);
      break;
    case ISTHMUS_NOTICE:
      out->as.notice.code = take_whole(reader, UINT64_MAX);
      out->as.notice.text = take_bytes(reader, ISTHMUS_STR);
      break;
    case ISTHMUS_MOVE:
      out->as.move.url = take_bytes(reader, ISTHMUS_STR);
      out->as.move.ticket = take_bytes(reader, ISTHMUS_BIN);
      out->as.move.within_ms = take_whole(reader, UINT64_MAX);
      break;
    case ISTHMUS_SCHEMA:
      out->as.schema.schema = isthmus_next_raw(reader);
      out->as.schema.hash = take_bytes(reader, ISTHMUS_BIN);
      break;
    case ISTHMUS_CLOSE:
      out->as.close.code = take_u32(reader);
      if ((out->as.close.has_retry = !is_nil(reader))) out->as.close.retry_after_ms = take_whole(reader, UINT64_MAX);
      out->as.close.text = take_bytes(reader, ISTHMUS_STR);
      break;
    case ISTHMUS_EVENT:
      if ((out->as.event.has_entity = !is_nil(reader))) out->as.event.entity = take_whole(reader, UINT64_MAX);
      out->as.event.name = take_bytes(reader, ISTHMUS_STR);
      out->as.event.payload = isthmus_next_raw(reader);
      break;
    case ISTHMUS_ANSWER:
      out->as.answer.number = take_u32(reader);
      out->as.answer.code = (uint32_t)take_whole(reader, 255);
      out->as.answer.value = isthmus_next_raw(reader);
      break;
    case ISTHMUS_TOKEN:
      out->as.token.address = take_bytes_or_nil(reader, ISTHMUS_STR);
      out->as.token.number = take_u32(reader);
      out->as.token.key_up = take_bytes(reader, ISTHMUS_BIN);
      out->as.token.key_down = take_bytes(reader, ISTHMUS_BIN);
      out->as.token.within_ms = take_u32(reader);
      out->as.token.text = take_bytes(reader, ISTHMUS_STR);
      if (out->as.token.address.at != NULL && (out->as.token.key_up.bytes != 32 || out->as.token.key_down.bytes != 32))
        reader->bad = true;
      break;
    default: break; /* a later version's: ignored (§1) */
  }
}

int isthmus_decode(isthmus_bytes message, isthmus_message *out) {
  /* One walk over the whole: it is one array, nothing is cut off, nothing follows. */
  isthmus_reader all = isthmus_read(message), items = all;
  memset(out, 0, sizeof *out);
  isthmus_next_raw(&all);
  if (all.bad || all.at != all.end) return ISTHMUS_MALFORMED;
  /* Items that are missing show as the end of the bytes; items too many are not looked at (§1). */
  expect_array(&items, 1);
  out->type = take_u32(&items);
  if (!items.bad) decode_items(&items, out);
  return items.bad ? ISTHMUS_MALFORMED : ISTHMUS_OK;
}

/* ------------------------------------------------------------------------------------------- a client's messages */
static void put_head(isthmus_writer *w, uint8_t code, uint64_t x, int bytes) {
  uint8_t head[9] = {code};
  for (int i = 0; i < bytes; i++) head[1 + i] = (uint8_t)(x >> (8 * (bytes - 1 - i)));
  put(w, head, 1 + (size_t)bytes);
}

static void put_whole(isthmus_writer *w, uint64_t x) {
  if (x < 128) put_head(w, (uint8_t)x, 0, 0);
  else if (x <= 0xff) put_head(w, 0xcc, x, 1);
  else if (x <= 0xffff) put_head(w, 0xcd, x, 2);
  else if (x <= 0xffffffff) put_head(w, 0xce, x, 4);
  else put_head(w, 0xcf, x, 8);
}

static void put_bytes(isthmus_writer *w, isthmus_bytes bytes, bool text) {
  if (bytes.at == NULL) {
    put_head(w, 0xc0, 0, 0);
    return;
  }
  if (text && bytes.bytes < 32) put_head(w, (uint8_t)(0xa0 + bytes.bytes), 0, 0);
  else if (bytes.bytes <= 0xff) put_head(w, text ? 0xd9 : 0xc4, bytes.bytes, 1);
  else put_head(w, text ? 0xda : 0xc5, bytes.bytes, 2); /* what is longer makes the message too long */
  put(w, bytes.at, bytes.bytes);
}

static isthmus_writer begin(uint8_t *out, size_t room, unsigned items, unsigned type) {
  isthmus_writer w = {out, room, 0};
  put_head(&w, (uint8_t)(0x90 + items), 0, 0);
  put_whole(&w, type);
  return w;
}

size_t isthmus_put_hello(uint8_t *out, size_t room, const isthmus_hello *hello) {
  if (hello->profile.at == NULL || hello->agent.at == NULL || hello->version_min > hello->version_max) return 0;
  isthmus_writer w = begin(out, room, 9, 1);
  put_whole(&w, hello->version_min);
  put_whole(&w, hello->version_max);
  put_bytes(&w, hello->token, true);
  put_bytes(&w, hello->name, true);
  put_bytes(&w, hello->profile, true);
  put_bytes(&w, hello->resume, false);
  put_bytes(&w, hello->schema_hash, false);
  put_bytes(&w, hello->agent, true);
  return finish(&w);
}

size_t isthmus_put_input(uint8_t *out, size_t room, const isthmus *view, uint32_t seq, uint32_t stamp_ms,
                         const isthmus_command *commands, size_t count) {
  uint8_t packed[64];
  if (count < 1 || count > 8) return 0;
  for (size_t i = 0; i < count; i++) {
    const isthmus_command *command = &commands[i];
    if (command->steps < 1 || command->steps > 30) return 0;
    uint8_t *at = packed + 8 * i;
    at[0] = (uint8_t)command->move_x;
    at[1] = (uint8_t)command->move_z;
    set_le(at + 2, command->yaw, 2);
    at[4] = (uint8_t)command->pitch;
    at[5] = command->buttons;
    at[6] = command->steps;
    at[7] = 0;
  }
  isthmus_writer w = begin(out, room, view->datagrams ? 6 : 5, 2);
  put_whole(&w, seq);
  put_whole(&w, view->frame);
  put_whole(&w, stamp_ms);
  put_bytes(&w, (isthmus_bytes){packed, 8 * count}, false);
  if (view->datagrams) put_whole(&w, view->earlier);
  return finish(&w);
}

size_t isthmus_put_ack(uint8_t *out, size_t room, const isthmus *view, uint32_t stamp_ms) {
  isthmus_writer w = begin(out, room, view->datagrams ? 4 : 3, 3);
  put_whole(&w, view->frame);
  put_whole(&w, stamp_ms);
  if (view->datagrams) put_whole(&w, view->earlier);
  return finish(&w);
}

size_t isthmus_put_chat(uint8_t *out, size_t room, uint32_t scope, isthmus_bytes text, const uint64_t *to) {
  if (text.at == NULL || scope > 2 || (scope == 2) != (to != NULL)) return 0;
  isthmus_writer w = begin(out, room, 4, 4);
  put_whole(&w, scope);
  put_bytes(&w, text, true);
  if (to != NULL) put_whole(&w, *to);
  else put_head(&w, 0xc0, 0, 0);
  return finish(&w);
}

size_t isthmus_put_act(uint8_t *out, size_t room, uint32_t number, isthmus_bytes name, isthmus_bytes payload) {
  isthmus_reader reader = isthmus_read(payload);
  isthmus_next_raw(&reader);
  if (number < 1 || name.at == NULL || name.bytes < 1 || name.bytes > 64) return 0;
  if (reader.bad || reader.at != reader.end || payload.bytes > 3072) return 0; /* one value of msgpack */
  isthmus_writer w = begin(out, room, 4, 5);
  put_whole(&w, number);
  put_bytes(&w, name, true);
  put(&w, payload.at, payload.bytes);
  return finish(&w);
}

size_t isthmus_put_bye(uint8_t *out, size_t room) {
  isthmus_writer w = begin(out, room, 1, 6);
  return finish(&w);
}

size_t isthmus_put_datagrams(uint8_t *out, size_t room) {
  isthmus_writer w = begin(out, room, 2, 10);
  put_whole(&w, 1);
  return finish(&w);
}
