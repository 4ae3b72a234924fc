/* The Isthmus wire: see isthmus.h. Written from ../STANDARD.md alone, in the order of its chapters ("§").
 *
 * One source file, longer than any other of the project's, on purpose: an engine takes it into its build as it is.
 *
 * How it stays within bounds: isthmus_decode walks once over all msgpack of a message and lays the columns of its block
 * out by a table, so that what reads columns later need not ask again. Numbers of entities, bases and sums are checked
 * where they are used. Integers are put together from bytes: no byte order and no alignment of a message is assumed.
 */
#include "isthmus.h"

#include <math.h>
#include <string.h>

/* ================================================================================================== §1 Ground */
static const uint8_t nothing[1] = {0};
static const isthmus_bytes nil = {NULL, 0};

static uint32_t get16(const uint8_t *at) { return (uint32_t)at[0] | (uint32_t)at[1] << 8; }
static uint32_t get32(const uint8_t *at) { return get16(at) | get16(at + 2) << 16; }
static uint64_t get64(const uint8_t *at) { return (uint64_t)get32(at) | (uint64_t)get32(at + 4) << 32; }

static int32_t signed8(uint32_t x) { return (int32_t)(x ^ 0x80u) - 0x80; }
static int32_t signed16(uint32_t x) { return (int32_t)(x ^ 0x8000u) - 0x8000; }
static int32_t signed32(uint32_t x) { return x < 0x80000000u ? (int32_t)x : -(int32_t)(UINT32_MAX - x) - 1; }

static void set_le(uint8_t *at, uint64_t x, int bytes) {
  for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(x >> (8 * i));
}

/* Serial numbers: whether a comes after b, modulo 2^32. */
static bool after(uint32_t a, uint32_t b) { return a != b && (uint32_t)(a - b) < 0x80000000u; }

isthmus_reader isthmus_read(isthmus_bytes bytes) {
  isthmus_reader reader = {nothing, nothing, false};
  if (bytes.at != NULL) {
    reader.at = bytes.at;
    reader.end = bytes.at + bytes.bytes;
  }
  return reader;
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

/* What the bytes 0xc0 to 0xdf begin, and how many bytes of a number or of a size follow. */
static const uint8_t KINDS[] = {
  ISTHMUS_NIL, ISTHMUS_NIL, ISTHMUS_BOOL, ISTHMUS_BOOL, ISTHMUS_BIN, ISTHMUS_BIN, ISTHMUS_BIN, ISTHMUS_EXT, ISTHMUS_EXT,
  ISTHMUS_EXT, ISTHMUS_FLOAT, ISTHMUS_FLOAT, ISTHMUS_UINT, ISTHMUS_UINT, ISTHMUS_UINT, ISTHMUS_UINT, ISTHMUS_INT,
  ISTHMUS_INT, ISTHMUS_INT, ISTHMUS_INT, ISTHMUS_EXT, ISTHMUS_EXT, ISTHMUS_EXT, ISTHMUS_EXT, ISTHMUS_EXT, ISTHMUS_STR,
  ISTHMUS_STR, ISTHMUS_STR, ISTHMUS_ARRAY, ISTHMUS_ARRAY, ISTHMUS_MAP, ISTHMUS_MAP,
};
static const uint8_t SIZES[] = {0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8,
                                1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4};

static isthmus_value read_value(isthmus_reader *reader) {
  const uint8_t *at = advance(reader, 1);
  unsigned c = at == NULL ? 0xc1 : *at, bytes = c >= 0xc0 && c < 0xe0 ? SIZES[c - 0xc0] : 0;
  const uint8_t *number = advance(reader, bytes);
  uint64_t x = 0;
  for (unsigned i = 0; i < bytes && number != NULL; i++) x = x << 8 | number[i];
  if (c == 0xc1) reader->bad = true;
  if (c <= 0x7f) return (isthmus_value){.kind = ISTHMUS_UINT, .whole = c};
  if (c <= 0x8f) return (isthmus_value){.kind = ISTHMUS_MAP, .whole = c & 0x0fu};
  if (c <= 0x9f) return (isthmus_value){.kind = ISTHMUS_ARRAY, .whole = c & 0x0fu};
  if (c >= 0xe0) return (isthmus_value){.kind = ISTHMUS_INT, .sign = (int)c - 256};
  isthmus_value value = {.kind = c <= 0xbf ? ISTHMUS_STR : (isthmus_kind)KINDS[c - 0xc0], .whole = x};
  if (value.kind == ISTHMUS_BOOL) value.whole = c & 1u;
  if (value.kind == ISTHMUS_FLOAT && bytes == 8) memcpy(&value.real, &x, sizeof value.real);
  if (value.kind == ISTHMUS_FLOAT && bytes == 4) {
    uint32_t narrow = (uint32_t)x;
    float real;
    memcpy(&real, &narrow, sizeof real);
    value.real = (double)real;
  }
  if (value.kind == ISTHMUS_INT) {
    uint64_t top = (uint64_t)1 << (8 * bytes - 1);
    if (!(x & top)) return (isthmus_value){.kind = ISTHMUS_UINT, .whole = x};
    return (isthmus_value){.kind = ISTHMUS_INT, .sign = -(int64_t)((top - 1) - (x & (top - 1))) - 1};
  }
  if (value.kind == ISTHMUS_STR || value.kind == ISTHMUS_BIN || value.kind == ISTHMUS_EXT) {
    if (c <= 0xbf) x = c & 0x1fu;
    if (value.kind == ISTHMUS_EXT) x = 1 + (bytes > 0 ? x : (uint64_t)1 << (c - 0xd4)); /* with its type */
    value.whole = 0;
    value.bytes.at = advance(reader, x);
    value.bytes.bytes = reader->bad ? 0 : (size_t)x;
  }
  return value;
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
  return reader->bad ? nil : (isthmus_bytes){begin, (size_t)(reader->at - begin)};
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

static void put_le(writer *w, uint64_t x, int bytes) {
  uint8_t le[8];
  set_le(le, x, bytes);
  put(w, le, (size_t)bytes);
}

static void put_head(writer *w, uint8_t code, uint64_t x, int bytes) {
  uint8_t head[9] = {code};
  for (int i = 0; i < bytes; i++) head[1 + i] = (uint8_t)(x >> (8 * (bytes - 1 - i)));
  put(w, head, 1 + (size_t)bytes);
}

static void put_whole(writer *w, uint64_t x) {
  if (x < 128) put_head(w, (uint8_t)x, 0, 0);
  else if (x <= 0xff) put_head(w, 0xcc, x, 1);
  else if (x <= 0xffff) put_head(w, 0xcd, x, 2);
  else if (x <= 0xffffffff) put_head(w, 0xce, x, 4);
  else put_head(w, 0xcf, x, 8);
}

static void put_bytes(writer *w, isthmus_bytes bytes, bool text) {
  if (bytes.at == NULL) {
    put_head(w, 0xc0, 0, 0);
    return;
  }
  if (text && bytes.bytes < 32) put_head(w, (uint8_t)(0xa0 + bytes.bytes), 0, 0);
  else if (bytes.bytes <= 0xff) put_head(w, text ? 0xd9 : 0xc4, bytes.bytes, 1);
  else put_head(w, text ? 0xda : 0xc5, bytes.bytes, 2); /* what is longer makes the message too long */
  put(w, bytes.at, bytes.bytes);
}

/* ======================================================================================== §2 Client to server */
typedef struct {
  enum { WHOLE_ITEM, TEXT_ITEM, BIN_ITEM, RAW_ITEM } how;
  uint64_t whole;
  isthmus_bytes bytes;
} item;
#define WHOLE(x) {WHOLE_ITEM, x, {NULL, 0}}
#define BYTES(how, x) {how, 0, x}

static size_t finish(const writer *w) { return w->used <= w->room ? w->used : 0; }

static size_t put_message(uint8_t *out, size_t room, unsigned type, const item *items, size_t count) {
  writer w = {out, room < ISTHMUS_CLIENT_MESSAGE_BYTES ? room : ISTHMUS_CLIENT_MESSAGE_BYTES, 0};
  put_head(&w, (uint8_t)(0x91 + count), 0, 0);
  put_whole(&w, type);
  for (size_t i = 0; i < count; i++) {
    if (items[i].how == WHOLE_ITEM) put_whole(&w, items[i].whole);
    else if (items[i].how == RAW_ITEM) put(&w, items[i].bytes.at, items[i].bytes.bytes);
    else put_bytes(&w, items[i].bytes, items[i].how == TEXT_ITEM);
  }
  return finish(&w);
}

size_t isthmus_put_hello(uint8_t *out, size_t room, const isthmus_hello *hello) {
  const item items[] = {
    WHOLE(hello->version_min), WHOLE(hello->version_max), BYTES(TEXT_ITEM, hello->token), BYTES(TEXT_ITEM, hello->name),
    BYTES(TEXT_ITEM, hello->profile), BYTES(BIN_ITEM, hello->resume), BYTES(BIN_ITEM, hello->schema_hash),
    BYTES(TEXT_ITEM, hello->agent),
  };
  if (hello->profile.at == NULL || hello->agent.at == NULL || hello->version_min > hello->version_max) return 0;
  return put_message(out, room, 1, items, 8);
}

/* The newest frame applied; over datagrams, that has come (§9.4); of a channel, with its KEYFRAME whole (§10.4). */
static uint32_t frame_of(const isthmus *view) {
  return view->television && (!view->begun || view->parts > 0) ? 0 : view->frame;
}

size_t isthmus_put_input(uint8_t *out, size_t room, const isthmus *view, uint32_t seq, uint32_t stamp_ms,
                         const isthmus_command *commands, size_t count) {
  uint8_t packed[64] = {0};
  if (count < 1 || count > 8) return 0;
  for (size_t i = 0; i < count; i++) {
    const isthmus_command *command = &commands[i];
    uint8_t *at = packed + 8 * i;
    if (command->steps < 1 || command->steps > 30) return 0;
    at[0] = (uint8_t)command->move_x;
    at[1] = (uint8_t)command->move_z;
    set_le(at + 2, command->yaw, 2);
    at[4] = (uint8_t)command->pitch;
    at[5] = command->buttons;
    at[6] = command->steps;
  }
  const item items[] = {WHOLE(seq), WHOLE(frame_of(view)), WHOLE(stamp_ms),
                        BYTES(BIN_ITEM, ((isthmus_bytes){packed, 8 * count})), WHOLE(view->earlier)};
  return put_message(out, room, 2, items, view->frames != NULL ? 5 : 4);
}

size_t isthmus_put_ack(uint8_t *out, size_t room, const isthmus *view, uint32_t stamp_ms) {
  const item items[] = {WHOLE(frame_of(view)), WHOLE(stamp_ms), WHOLE(view->earlier)};
  return put_message(out, room, 3, items, view->frames != NULL ? 3 : 2);
}

size_t isthmus_put_chat(uint8_t *out, size_t room, uint32_t scope, isthmus_bytes text, const uint64_t *to) {
  item items[] = {WHOLE(scope), BYTES(TEXT_ITEM, text), BYTES(BIN_ITEM, nil)};
  if (text.at == NULL || scope > 2 || (scope == 2) != (to != NULL)) return 0;
  if (to != NULL) items[2] = (item)WHOLE(*to);
  return put_message(out, room, 4, items, 3);
}

size_t isthmus_put_act(uint8_t *out, size_t room, uint32_t number, isthmus_bytes name, isthmus_bytes payload) {
  const item items[] = {WHOLE(number), BYTES(TEXT_ITEM, name), BYTES(RAW_ITEM, payload)};
  isthmus_reader reader = isthmus_read(payload);
  isthmus_next_raw(&reader);
  if (number < 1 || name.at == NULL || name.bytes < 1 || name.bytes > 64) return 0;
  if (reader.bad || reader.at != reader.end || payload.bytes > 3072) return 0; /* one value of msgpack (§8) */
  return put_message(out, room, 5, items, 3);
}

size_t isthmus_put_bye(uint8_t *out, size_t room) { return put_message(out, room, 6, NULL, 0); }

size_t isthmus_put_watch(uint8_t *out, size_t room, isthmus_bytes name, uint32_t behind_s) {
  const item items[] = {BYTES(TEXT_ITEM, name), WHOLE(behind_s)};
  return behind_s > 60 ? 0 : put_message(out, room, 9, items, 2);
}

size_t isthmus_put_datagrams(uint8_t *out, size_t room) {
  const item version = WHOLE(1);
  return put_message(out, room, 10, &version, 1);
}

/* ======================================================================================== §3 Server to client
 * Items are read by a table: which item of which message is read how, and where it goes. */
typedef enum {
  U8, U32, U64, TICK, NUMBER, TEXT, BIN, RAW, POINT, ORIGIN, BLOCK,
  MAYBE_U64, MAYBE_TEXT, MAYBE_RAW, MAYBE_ORIGIN, MAYBE_BLOCK, MAYBE_OWN, MAYBE_ANCHOR /* or nil */
} form;

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

static isthmus_bytes take_bytes(isthmus_reader *reader, isthmus_kind kind) {
  isthmus_value value = isthmus_next(reader);
  if (value.kind != kind) reader->bad = true;
  return value.bytes;
}

static double take_number(isthmus_reader *reader) {
  isthmus_value value = isthmus_next(reader);
  if (value.kind == ISTHMUS_UINT) return (double)value.whole;
  if (value.kind == ISTHMUS_INT) return (double)value.sign;
  if (value.kind != ISTHMUS_FLOAT) reader->bad = true;
  return value.real;
}

/* The items of an array of three. */
static isthmus_reader take_three(isthmus_reader *reader) {
  isthmus_reader items = isthmus_read(isthmus_next_raw(reader));
  isthmus_value array = isthmus_next(&items);
  if (array.kind != ISTHMUS_ARRAY || array.whole < 3) items.bad = true;
  return items;
}

/* [x, y, z], each within 32 bits after -margin to margin - 1 is added to it. */
static void take_point(isthmus_reader *reader, int32_t out[3], int64_t margin) {
  isthmus_reader items = take_three(reader);
  for (int axis = 0; axis < 3; axis++) {
    isthmus_value value = isthmus_next(&items);
    bool whole = value.kind == ISTHMUS_INT || (value.kind == ISTHMUS_UINT && value.whole <= INT32_MAX);
    int64_t x = value.kind == ISTHMUS_UINT && whole ? (int64_t)value.whole : value.sign;
    if (!whole || x < INT32_MIN + margin || x > INT32_MAX - margin + 1) items.bad = true;
    out[axis] = items.bad ? 0 : (int32_t)x;
  }
  if (items.bad) reader->bad = true;
}

static void take_own(isthmus_reader *reader, isthmus_own *out);
static void take_block(isthmus_reader *reader, uint32_t type, isthmus_columns *out);
static bool is_sound(const isthmus_message *m);

static void take_item(isthmus_reader *reader, form how, isthmus_message *m, void *to) {
  bool there = how < MAYBE_U64 || !is_nil(reader);
  switch (how) {
    case U8: *(uint32_t *)to = (uint32_t)take_whole(reader, 255); break;
    case U32: *(uint32_t *)to = (uint32_t)take_whole(reader, UINT32_MAX); break;
    case U64: *(uint64_t *)to = take_whole(reader, UINT64_MAX); break;
    case TICK: *(int64_t *)to = (int64_t)take_whole(reader, (uint64_t)1 << 53); break;
    case NUMBER: *(double *)to = take_number(reader); break;
    case TEXT: case MAYBE_TEXT: *(isthmus_bytes *)to = there ? take_bytes(reader, ISTHMUS_STR) : nil; break;
    case BIN: *(isthmus_bytes *)to = take_bytes(reader, ISTHMUS_BIN); break;
    case RAW: case MAYBE_RAW: *(isthmus_bytes *)to = there ? isthmus_next_raw(reader) : nil; break;
    case POINT: take_point(reader, (int32_t *)to, 1); break;
    case MAYBE_ORIGIN: m->as.values.has_origin = there; /* fall through */
    case ORIGIN: if (there) take_point(reader, (int32_t *)to, 32768); break;
    case BLOCK: case MAYBE_BLOCK: if (there) take_block(reader, m->type, (isthmus_columns *)to); break;
    case MAYBE_U64: *(isthmus_maybe *)to = (isthmus_maybe){there, there ? take_whole(reader, UINT64_MAX) : 0}; break;
    case MAYBE_OWN: if ((m->as.values.has_own = there)) take_own(reader, (isthmus_own *)to); break;
    case MAYBE_ANCHOR: {
      isthmus_reader items = there ? take_three(reader) : *reader;
      m->as.welcome.has_anchor = there;
      for (int axis = 0; axis < 3 && there; axis++) m->as.welcome.anchor[axis] = take_number(&items);
      if (items.bad) reader->bad = true;
    }
  }
}

#define AT(member) offsetof(isthmus_message, member)
#define OF(member) offsetof(isthmus_message, as.member)

static const struct {
  uint8_t type, how;
  uint16_t at;
} ITEMS[] = {
  {17, U32, AT(sseq)}, {17, TICK, OF(structure.tick)}, {17, U32, OF(structure.frame)},
  {17, ORIGIN, OF(structure.origin)}, {17, BLOCK, OF(structure.columns)},
  {18, U32, OF(values.stream)}, {18, U32, OF(values.frame)}, {18, TICK, OF(values.tick)}, {18, U32, OF(values.sseq)},
  {18, MAYBE_OWN, OF(values.own)}, {18, MAYBE_ORIGIN, OF(values.origin)}, {18, MAYBE_BLOCK, OF(values.columns)},
  {19, U32, AT(sseq)}, {19, U32, OF(chat.scope)}, {19, U64, OF(chat.from)}, {19, TEXT, OF(chat.name)},
  {19, TEXT, OF(chat.text)},
  {20, U32, AT(sseq)}, {20, U64, OF(presence.online)}, {20, RAW, OF(presence.joined)}, {20, RAW, OF(presence.left)},
  {21, U32, AT(sseq)}, {21, U64, OF(notice.code)}, {21, TEXT, OF(notice.text)},
  {22, U32, AT(sseq)}, {22, TEXT, OF(move.url)}, {22, BIN, OF(move.ticket)}, {22, U64, OF(move.within_ms)},
  {23, U32, AT(sseq)}, {23, RAW, OF(schema.schema)}, {23, BIN, OF(schema.hash)},
  {24, U32, OF(close.code)}, {24, MAYBE_U64, OF(close.retry_after_ms)}, {24, TEXT, OF(close.text)},
  {25, U32, AT(sseq)}, {25, MAYBE_U64, OF(event.entity)}, {25, TEXT, OF(event.name)}, {25, RAW, OF(event.payload)},
  {26, U32, AT(sseq)}, {26, U32, OF(answer.number)}, {26, U8, OF(answer.code)}, {26, RAW, OF(answer.value)},
  {27, MAYBE_TEXT, OF(token.address)}, {27, U32, OF(token.number)}, {27, BIN, OF(token.key_up)},
  {27, BIN, OF(token.key_down)}, {27, U32, OF(token.within_ms)}, {27, TEXT, OF(token.text)},
  {29, U8, OF(channel.code)}, {29, TEXT, OF(channel.name)}, {29, U32, OF(channel.stream)},
  {29, TEXT, OF(channel.title)}, {29, NUMBER, OF(channel.rate_hz)}, {29, U32, OF(channel.behind_ms)},
  {29, TEXT, OF(channel.text)},
  {30, U32, AT(sseq)}, {30, U32, OF(keyframe.stream)}, {30, U32, OF(keyframe.frame)}, {30, TICK, OF(keyframe.tick)},
  {30, U32, OF(keyframe.parts)},
  {31, U32, AT(sseq)}, {31, U32, OF(camera.stream)}, {31, TICK, OF(camera.tick)}, {31, U32, OF(camera.move_ms)},
  {31, MAYBE_U64, OF(camera.entity)}, {31, POINT, OF(camera.eye)}, {31, POINT, OF(camera.look)},
  {31, TEXT, OF(camera.text)},
  {32, U32, OF(poses.stream)}, {32, TICK, OF(poses.tick)}, {32, U32, OF(poses.sseq)}, {32, BLOCK, OF(poses.columns)},
  {33, U32, OF(crowd.stream)}, {33, TICK, OF(crowd.tick)}, {33, BLOCK, OF(crowd.columns)},
};
enum { ITEM_COUNT = sizeof ITEMS / sizeof *ITEMS };

/* WELCOME is a map. Without one of the first ten keys a client cannot go on. */
static const struct {
  char key[16];
  uint8_t how;
  uint16_t at;
} WELCOME[] = {
  {"version", U64, OF(welcome.version)}, {"session", U64, OF(welcome.session)},
  {"generation", U32, OF(welcome.generation)}, {"resume", BIN, OF(welcome.resume)}, {"world", TEXT, OF(welcome.world)},
  {"tick", TICK, OF(welcome.tick)}, {"rate_hz", NUMBER, OF(welcome.rate_hz)},
  {"steps_per_tick", U32, OF(welcome.steps_per_tick)}, {"body", MAYBE_U64, OF(welcome.body)},
  {"stream", U32, OF(welcome.stream)},
  {"profile", TEXT, OF(welcome.profile)}, {"radius_m", NUMBER, OF(welcome.radius_m)},
  {"near_radius_m", NUMBER, OF(welcome.near_radius_m)}, {"schema", MAYBE_RAW, OF(welcome.schema)},
  {"schema_hash", BIN, OF(welcome.schema_hash)}, {"anchor", MAYBE_ANCHOR, OF(welcome.anchor)},
  {"map", MAYBE_TEXT, OF(welcome.map)}, {"attribution", TEXT, OF(welcome.attribution)},
  {"idle_ack_ms", U32, OF(welcome.idle_ack_ms)}, {"server", TEXT, OF(welcome.server)},
  {"acted", U32, OF(welcome.acted)},
};
enum { WELCOME_COUNT = sizeof WELCOME / sizeof *WELCOME, WELCOME_NEEDED = (1 << 10) - 1 };

static void take_welcome(isthmus_reader *reader, isthmus_message *out) {
  isthmus_value map = isthmus_next(reader);
  uint32_t seen = 0;
  if (map.kind != ISTHMUS_MAP) reader->bad = true;
  for (uint64_t pair = 0; pair < map.whole && !reader->bad; pair++) {
    isthmus_bytes key = take_bytes(reader, ISTHMUS_STR);
    unsigned i = 0;
    while (i < WELCOME_COUNT && (key.bytes != strlen(WELCOME[i].key) || memcmp(key.at, WELCOME[i].key, key.bytes) != 0))
      i++;
    if (reader->bad) return;
    if (i == WELCOME_COUNT) isthmus_next_raw(reader); /* a later version's */
    else take_item(reader, (form)WELCOME[i].how, out, (uint8_t *)out + WELCOME[i].at);
    seen |= (uint32_t)1 << i;
  }
  if ((seen & WELCOME_NEEDED) != WELCOME_NEEDED) reader->bad = true;
}

int isthmus_decode(isthmus_bytes message, isthmus_message *out) {
  /* One walk over the whole: it is one array, nothing is cut off, nothing follows. */
  isthmus_reader all = isthmus_read(message), items = all;
  memset(out, 0, sizeof *out);
  isthmus_next_raw(&all);
  if (all.bad || all.at != all.end) return ISTHMUS_MALFORMED;
  /* Items that are missing show as the end of the bytes; items too many are not looked at. */
  if (isthmus_next(&items).kind != ISTHMUS_ARRAY) return ISTHMUS_MALFORMED;
  out->type = (uint32_t)take_whole(&items, UINT32_MAX);
  out->counted = out->type == 17 || (out->type >= 19 && out->type <= 23) || out->type == 25 || out->type == 26 ||
                 out->type == 31; /* §5, §10.2 */
  uint32_t type = out->type == ISTHMUS_VALUES ? ISTHMUS_FRAME : out->type;
  if (type == ISTHMUS_WELCOME && !items.bad) take_welcome(&items, out);
  for (int i = 0; i < ITEM_COUNT && !items.bad; i++)
    if (ITEMS[i].type == type) take_item(&items, (form)ITEMS[i].how, out, (uint8_t *)out + ITEMS[i].at);
  return items.bad || !is_sound(out) ? ISTHMUS_MALFORMED : ISTHMUS_OK;
}

/* ======================================================================================= §4 Records and blocks
 * Columns of each block, in order: bytes of a row, and which count says how many rows. */
enum { S_ID, S_NUMBER, S_KIND, S_PLACE, S_BLOB, S_LEAVE, S_STATE, S_STATE_BLOB, S_AGE, S_YAW, S_BLOBS };
enum { V_DELTA, V_FULL, V_PLACE, V_CHANGE, V_DELTA_YAW, V_BASE, V_AGE, V_YAW };
enum { P_SAMPLE, P_MID_HEAD, P_NEAR, P_MID, P_MID_HANDS, P_SAMPLES, P_BACK, P_TRACKED, P_GRIPS };
enum { COLUMNS = 10 };
static const struct {
  uint8_t type, counts;
  struct { uint8_t bytes, of; } column[COLUMNS];
} BLOCKS[] = {
  {17, 4, {{8, 0}, {2, 0}, {2, 0}, {12, 0}, {2, 0}, {2, 1}, {2, 2}, {2, 2}, {1, 0}, {1, 0}}},
  {18, 2, {{2, 0}, {2, 1}, {12, 1}, {6, 0}, {1, 0}, {0, 0}, {1, 1}, {1, 1}}},
  {28, 2, {{2, 0}, {2, 1}, {12, 1}, {6, 0}, {1, 0}, {1, 0}, {1, 1}, {1, 1}}},
  {32, 4, {{24, 2}, {4, 1}, {2, 0}, {2, 1}, {4, 1}, {1, 0}, {1, 2}, {1, 2}, {2, 2}}},
  {33, 2, {{10, 0}}},
};

static void take_block(isthmus_reader *reader, uint32_t type, isthmus_columns *out) {
  isthmus_bytes bin = take_bytes(reader, ISTHMUS_BIN);
  isthmus_reader block = isthmus_read(bin);
  int b = 0;
  while (BLOCKS[b].type != type) b++; /* those with the form BLOCK in ITEMS */
  const uint8_t *zeros = advance(&block, 1);
  if (zeros != NULL) advance(&block, *zeros);
  const uint8_t *counts = advance(&block, 2u * BLOCKS[b].counts);
  for (int i = 0; i < BLOCKS[b].counts && counts != NULL; i++) out->count[i] = (uint16_t)get16(counts + 2 * i);
  for (int i = 0; i < COLUMNS; i++)
    out->at[i] = advance(&block, (uint64_t)BLOCKS[b].column[i].bytes * out->count[BLOCKS[b].column[i].of]);
  out->at[COLUMNS] = block.at;
  out->rest = (size_t)(block.end - block.at);
  if (block.bad) reader->bad = true;
}

/* Column `axis` of several beside each other, of i16. */
static int32_t axis16(const uint8_t *at, size_t rows, size_t axis, size_t i) {
  return signed16(get16(at + 2 * (axis * rows + i)));
}

/* An enter's record, or a full one. */
static isthmus_record absolute(const int32_t origin[3], const uint8_t *places, size_t rows, size_t i, int64_t tick,
                               uint8_t yaw) {
  isthmus_record record = {.tick = tick, .yaw = yaw};
  for (size_t axis = 0; axis < 3; axis++) {
    record.p[axis] = origin[axis] + axis16(places, rows, axis, i);
    record.v[axis] = (int16_t)axis16(places, rows, 3 + axis, i);
  }
  return record;
}

/* How long the blob of the i-th enter, or behind those of the i-th state, is. */
static size_t blob_bytes(const isthmus_columns *c, size_t i) {
  return i < c->count[0] ? get16(c->at[S_BLOB] + 2 * i) : get16(c->at[S_STATE_BLOB] + 2 * (i - c->count[0]));
}

/* Whether what the tables do not say of a message is true. What is behind the last blob is a later version's. */
static bool is_sound(const isthmus_message *m) {
  if (m->type == ISTHMUS_STRUCTURE) {
    const isthmus_columns *c = &m->as.structure.columns;
    isthmus_reader blobs = {c->at[S_BLOBS], c->at[S_BLOBS] + c->rest, false};
    for (size_t i = 0; i < (size_t)c->count[0] + c->count[2] && !blobs.bad; i++) {
      isthmus_bytes blob = {advance(&blobs, blob_bytes(c, i)), blob_bytes(c, i)};
      isthmus_reader map = isthmus_read(blob), pairs = map;
      isthmus_next_raw(&pairs);
      if (isthmus_next(&map).kind != ISTHMUS_MAP || pairs.bad || pairs.at != pairs.end) return false;
    }
    return !blobs.bad;
  }
  if (m->type == ISTHMUS_FRAME || m->type == ISTHMUS_VALUES) {
    const isthmus_columns *c = &m->as.values.columns;
    for (size_t i = 0; i < c->count[0] && m->type == ISTHMUS_VALUES; i++)
      if (c->at[V_BASE][i] == 0) return false;
    return m->as.values.has_origin || c->count[1] == 0;
  }
  if (m->type == ISTHMUS_POSES) {
    const isthmus_columns *c = &m->as.poses.columns;
    size_t samples = 0;
    for (size_t i = 0; i < c->count[0]; i++) samples += c->at[P_SAMPLES][i];
    for (size_t i = 0; i < c->count[2]; i++)
      if (!(c->at[P_TRACKED][i] & ISTHMUS_HEAD)) return false;
    return samples == c->count[2];
  }
  if (m->type == ISTHMUS_TOKEN && m->as.token.address.at != NULL)
    return m->as.token.key_up.bytes == 32 && m->as.token.key_down.bytes == 32;
  return m->type != ISTHMUS_CROWD || m->as.crowd.columns.count[1] > 0; /* cells have a side */
}

bool isthmus_next_change(isthmus_structure *s, isthmus_change *out) {
  static const uint8_t numbers[] = {S_LEAVE, S_NUMBER, S_STATE}; /* of leaves, enters, states */
  isthmus_columns *c = &s->columns;
  size_t enters = c->count[0], leaves = c->count[1], states = c->count[2], i = s->next;
  memset(out, 0, sizeof *out);
  if (i >= leaves + enters + states) return false;
  s->next++;
  out->what = i < leaves ? ISTHMUS_LEAVE : i < leaves + enters ? ISTHMUS_ENTER : ISTHMUS_STATE;
  size_t row = i - (out->what == ISTHMUS_LEAVE ? 0 : out->what == ISTHMUS_ENTER ? leaves : leaves + enters);
  out->number = (uint16_t)get16(c->at[numbers[out->what]] + 2 * row);
  if (out->what != ISTHMUS_LEAVE) {
    out->blob = (isthmus_bytes){c->at[S_BLOBS], blob_bytes(c, i - leaves)};
    c->at[S_BLOBS] += out->blob.bytes;
  }
  if (out->what == ISTHMUS_ENTER) {
    out->id = get64(c->at[S_ID] + 8 * row);
    out->kind = (uint16_t)get16(c->at[S_KIND] + 2 * row);
    out->record = absolute(s->origin, c->at[S_PLACE], enters, row, s->tick - c->at[S_AGE][row], c->at[S_YAW][row]);
    out->record.number = out->number;
  }
  return true;
}

static void take_own(isthmus_reader *reader, isthmus_own *out) {
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

/* Shift to the right that rounds down, which C leaves open for negative numbers. */
static int64_t floor16(int64_t x) { return x >= 0 ? x / 16 : -((15 - x) / 16); }

/* `record` moved to `tick` and changed by row `i` of deltas; false if that leaves the numbers of the wire. */
static bool move(isthmus_record *record, const isthmus_columns *c, size_t i, int64_t tick) {
  int64_t dt = tick - record->tick;
  if (dt > (int64_t)1 << 40 || dt < -((int64_t)1 << 40)) return false;
  for (size_t axis = 0; axis < 3; axis++) {
    int64_t p = record->p[axis] + floor16(record->v[axis] * dt + 8) + signed8(c->at[V_CHANGE][axis * c->count[0] + i]);
    int32_t v = record->v[axis] + signed8(c->at[V_CHANGE][(3 + axis) * c->count[0] + i]);
    if (p < INT32_MIN || p > INT32_MAX || v < INT16_MIN || v > INT16_MAX) return false;
    record->p[axis] = (int32_t)p;
    record->v[axis] = (int16_t)v;
  }
  record->tick = tick;
  record->yaw = c->at[V_DELTA_YAW][i];
  return true;
}

void isthmus_shown(const isthmus_record *record, double tick, double out_m[3]) {
  double dt = tick - (double)record->tick;
  for (int axis = 0; axis < 3; axis++) out_m[axis] = (16.0 * record->p[axis] + record->v[axis] * dt) / 2048.0;
}

double isthmus_yaw_rad(const isthmus_record *record) { return record->yaw * (6.283185307179586 / 256.0); }

/* ================================================================================================ §5 Delivery */
const isthmus_entity *isthmus_find(const isthmus *view, uint32_t number) {
  return view->welcomed && number < view->numbers && view->entities[number].held ? &view->entities[number] : NULL;
}

static void forget(isthmus *view) {
  for (uint32_t i = 0; i < view->numbers; i++) view->entities[i].held = false;
  view->has_camera = view->glides = false;
}

static void begin_session(isthmus *view, const isthmus_welcome *welcome) {
  isthmus fresh = {.entities = view->entities, .numbers = view->numbers, .frames = view->frames, .welcomed = true};
  static const char tv[] = "tv";
  fresh.television = welcome->profile.bytes == 2 && memcmp(welcome->profile.at, tv, 2) == 0;
  fresh.stream = welcome->stream;
  fresh.tick = welcome->tick;
  fresh.rate_hz = welcome->rate_hz;
  *view = fresh;
  forget(view);
  for (int i = 0; i < ISTHMUS_FRAMES && view->frames != NULL; i++) view->frames[i].records = view->frames[i].waits = 0;
}

static int apply_structure(isthmus *view, isthmus_structure s, uint32_t sseq) {
  isthmus_change change;
  while (isthmus_next_change(&s, &change)) {
    if (change.number >= view->numbers) return ISTHMUS_FULL;
    isthmus_entity *entity = &view->entities[change.number];
    if (entity->held == (change.what == ISTHMUS_ENTER)) return ISTHMUS_BROKEN;
    if (change.what == ISTHMUS_LEAVE) entity->held = false;
    if (change.what == ISTHMUS_ENTER)
      *entity = (isthmus_entity){.id = change.id, .kind = change.kind, .record = change.record, .entered = sseq,
                                 .posed = -1, .held = true};
  }
  return ISTHMUS_OK;
}

/* What every FRAME and VALUES that came says; the newest own state counts. */
static void note_values(isthmus *view, const isthmus_values *m) {
  if (m->has_own && (!view->has_own || !after(view->own_frame, m->frame))) {
    view->has_own = true;
    view->own = m->own;
    view->own_frame = m->frame;
  }
  if (m->frame == view->frame) view->tick = m->tick; /* the newest */
}

/* The record of an entity that came with a frame; NULL: none did. */
static const isthmus_record *record_of(const isthmus *view, const isthmus_entity *entity, uint32_t number,
                                       uint32_t frame) {
  const isthmus_frame *slot = &view->frames[frame % ISTHMUS_FRAMES];
  if (slot->frame != frame || slot->waits > 0 || after(entity->entered, slot->sseq)) return NULL;
  for (int i = 0; i < slot->records; i++)
    if (slot->as.record[i].number == number) return &slot->as.record[i];
  return NULL;
}

/* Changes records; `slot` (NULL of a FRAME) keeps those of VALUES, for deltas that refer to them. */
static int apply_values(isthmus *view, const isthmus_values *m, isthmus_frame *slot) {
  const isthmus_columns *c = &m->columns;
  for (size_t i = 0; i < (size_t)c->count[0] + c->count[1]; i++) {
    bool full = i >= c->count[0];
    size_t row = full ? i - c->count[0] : i;
    uint32_t number = get16(c->at[full ? V_FULL : V_DELTA] + 2 * row);
    isthmus_entity *entity = number < view->numbers ? &view->entities[number] : NULL;
    if (entity == NULL || !entity->held || (slot != NULL && after(entity->entered, m->sseq))) {
      if (slot == NULL || m->sseq == view->sseq) return ISTHMUS_BROKEN;
      continue; /* it is of one who left, or was before the one who is there (§9.4) */
    }
    isthmus_record record;
    if (full) {
      record = absolute(m->origin, c->at[V_PLACE], c->count[1], row, m->tick - c->at[V_AGE][row], c->at[V_YAW][row]);
    } else {
      const isthmus_record *base =
          slot == NULL ? &entity->record : record_of(view, entity, number, m->frame - c->at[V_BASE][row]);
      if (base == NULL) return ISTHMUS_BROKEN;
      record = *base;
      if (!move(&record, c, row, m->tick)) return ISTHMUS_BROKEN;
    }
    record.number = (uint16_t)number;
    if (slot != NULL && slot->records < ISTHMUS_FRAME_RECORDS) slot->as.record[slot->records++] = record;
    if (slot != NULL && entity->valued && after(entity->frame, m->frame)) continue; /* came late */
    entity->record = record;
    entity->frame = m->frame;
    entity->valued = true;
  }
  return ISTHMUS_OK;
}

/* All came in order, so a FRAME builds on the newest structure message. */
static int take_frame(isthmus *view, const isthmus_values *m) {
  if (!view->welcomed || m->stream != view->stream) return ISTHMUS_DROPPED;
  bool gap = !view->begun || view->parts > 0 || m->frame != (uint32_t)(view->frame + 1); /* of a channel (§10.3) */
  if (m->sseq != view->sseq || (view->television ? gap : view->frames != NULL)) return ISTHMUS_BROKEN;
  view->frame = m->frame;
  note_values(view, m);
  return apply_values(view, m, NULL);
}

static int take_values(isthmus *view, isthmus_bytes message, const isthmus_values *m);
static int apply_waiting(isthmus *view);
static int take_channel(isthmus *view, const isthmus_message *m);
static void turn_camera(isthmus *view, const isthmus_camera *camera);

/* A structure message: one after the other. A television has two streams of them (§10.2). */
static int take_structure(isthmus *view, const isthmus_message *m) {
  bool of_channel = view->television && (m->type == ISTHMUS_STRUCTURE || m->type == ISTHMUS_CAMERA);
  uint32_t *sseq = view->television && !of_channel ? &view->session_sseq : &view->sseq;
  if (!view->welcomed || m->sseq != (uint32_t)(*sseq + 1)) return ISTHMUS_BROKEN;
  if (of_channel ? !view->begun : m->type == ISTHMUS_CAMERA) return ISTHMUS_BROKEN;
  *sseq = m->sseq;
  if (m->type == ISTHMUS_SCHEMA && !view->television) forget(view);
  if (m->type == ISTHMUS_CAMERA) turn_camera(view, &m->as.camera);
  int result = m->type == ISTHMUS_STRUCTURE ? apply_structure(view, m->as.structure, m->sseq) : ISTHMUS_OK;
  if (of_channel && view->parts > 0) view->parts--;
  return result == ISTHMUS_OK ? apply_waiting(view) : result;
}

int isthmus_take(isthmus *view, isthmus_bytes message, isthmus_message *out) {
  int result = isthmus_decode(message, out);
  if (result != ISTHMUS_OK) return result;
  switch (out->type) {
    case ISTHMUS_WELCOME: begin_session(view, &out->as.welcome); return ISTHMUS_OK;
    case ISTHMUS_FRAME: return take_frame(view, &out->as.values);
    case ISTHMUS_VALUES: return take_values(view, message, &out->as.values);
    case ISTHMUS_CHANNEL: case ISTHMUS_KEYFRAME: return take_channel(view, out);
    case ISTHMUS_POSES: return view->welcomed && out->as.poses.stream == view->stream ? ISTHMUS_OK : ISTHMUS_DROPPED;
    case ISTHMUS_CROWD:
      if (!view->welcomed || out->as.crowd.stream != view->stream) return ISTHMUS_DROPPED;
      if (view->has_crowd && out->as.crowd.tick <= view->crowd_tick) return ISTHMUS_DROPPED;
      view->has_crowd = true;
      view->crowd_tick = out->as.crowd.tick;
      return ISTHMUS_OK;
    default: return out->counted ? take_structure(view, out) : ISTHMUS_OK;
  }
}

/* =============================================================================================== §9 Datagrams */
enum { VERSION = 0x31, HEAD = 13, TAG = 16, BINDING = 16, PLAIN = ISTHMUS_DATAGRAM_BYTES - HEAD - TAG };
enum { PART_STREAM = 1, PART_MESSAGE = 2, PART_OPENING = 3 };
enum { PATIENCE_MS = 300, PATIENCE_MOST_MS = 2400, CAME = 0x100 };

bool isthmus_datagrams_begin(isthmus_datagrams *link, const isthmus_message *m, uint64_t session) {
  static const char what[] = "isthmus datagrams 1"; /* with the zero byte at its end */
  uint8_t bytes[1200], hash[32];
  writer w = {bytes, sizeof bytes, 0};
  if (m->type != ISTHMUS_TOKEN || m->as.token.address.at == NULL) return false;
  put(&w, (const uint8_t *)what, sizeof what);
  put_le(&w, session, 8);
  put_le(&w, m->as.token.number, 4);
  put(&w, m->as.token.address.at, m->as.token.address.bytes);
  if (finish(&w) == 0) return false;
  link->cipher.sha256(link->cipher.engine, (isthmus_bytes){bytes, w.used}, hash);
  memcpy(link->binding, hash, BINDING);
  memcpy(link->key_up, m->as.token.key_up.at, 32);
  memcpy(link->key_down, m->as.token.key_down.at, 32);
  link->number = m->as.token.number;
  link->patience_ms = PATIENCE_MS;
  return true;
}

/* The additional data of a datagram, whose head is its beginning, and its nonce. */
static void seal_parts(const isthmus_datagrams *link, uint64_t sequence, uint8_t with[HEAD + BINDING],
                       uint8_t nonce[12]) {
  with[0] = VERSION;
  set_le(with + 1, link->number, 4);
  set_le(with + 5, sequence, 8);
  memcpy(with + HEAD, link->binding, BINDING);
  set_le(nonce, 0, 4);
  set_le(nonce + 4, sequence, 8);
}

static void put_part(writer *w, uint8_t kind, isthmus_bytes bytes) {
  put(w, &kind, 1);
  put_le(w, bytes.bytes, 2); /* what is longer does not fit below */
  put(w, bytes.at, bytes.bytes);
}

/* The part that comes next; false behind the last one, or if it does not end within the plaintext. */
static bool next_part(isthmus_reader *parts, uint8_t *kind, isthmus_bytes *bytes) {
  const uint8_t *head = parts->at == parts->end ? NULL : advance(parts, 3);
  if (head == NULL) return false;
  *kind = head[0];
  *bytes = (isthmus_bytes){advance(parts, get16(head + 1)), get16(head + 1)};
  if (*kind == PART_STREAM && bytes->bytes < 4) parts->bad = true; /* no offset */
  return !parts->bad;
}

bool isthmus_datagrams_say(isthmus_datagrams *link, isthmus_bytes message) {
  uint8_t size[4];
  size_t had = (uint32_t)(link->said - link->acked);
  if (message.at == NULL || message.bytes > ISTHMUS_CLIENT_MESSAGE_BYTES) return false;
  if (had + 4 + message.bytes > ISTHMUS_WINDOW) return false;
  set_le(size, message.bytes, 4);
  for (size_t i = 0; i < 4 + message.bytes; i++)
    link->out[link->said++ % ISTHMUS_WINDOW] = i < 4 ? size[i] : message.at[i - 4];
  return true;
}

bool isthmus_datagrams_due(const isthmus_datagrams *link) { return link->sent != link->said; }

/* A part with what comes next of the stream, if there is room. When nothing more was acknowledged for too long, that is
 * all from the first byte that the server lacks. */
static void put_stream(isthmus_datagrams *link, writer *w, uint32_t now_ms) {
  if (link->sent == link->acked) link->acked_ms = now_ms;
  if ((uint32_t)(now_ms - link->acked_ms) >= link->patience_ms) {
    link->sent = link->acked;
    link->acked_ms = now_ms;
    link->patience_ms = link->patience_ms < PATIENCE_MOST_MS ? 2 * link->patience_ms : PATIENCE_MOST_MS;
  }
  size_t count = (uint32_t)(link->said - link->sent), room = w->used + 7 < w->room ? w->room - w->used - 7 : 0;
  uint8_t kind = PART_STREAM;
  if (count > room) count = room;
  if (count == 0) return;
  put(w, &kind, 1);
  put_le(w, 4 + count, 2);
  put_le(w, link->sent, 4);
  for (size_t i = 0; i < count; i++) put(w, &link->out[link->sent++ % ISTHMUS_WINDOW], 1);
}

size_t isthmus_datagrams_write(isthmus_datagrams *link, uint8_t out[ISTHMUS_DATAGRAM_BYTES], isthmus_bytes lossy,
                               uint32_t now_ms) {
  uint8_t plain[PLAIN], with[HEAD + BINDING], nonce[12];
  writer w = {plain, sizeof plain, 0};
  put_le(&w, link->received, 4);
  if (lossy.at != NULL) put_part(&w, PART_MESSAGE, lossy);
  if (finish(&w) == 0 || link->sequence == UINT64_MAX) return 0;
  put_stream(link, &w, now_ms);
  if (w.used == 4 && link->newest == 0) put_part(&w, PART_OPENING, nil);
  seal_parts(link, ++link->sequence, with, nonce);
  memcpy(out, with, HEAD);
  bool sealed = link->cipher.seal(link->cipher.engine, link->key_up, nonce, (isthmus_bytes){with, sizeof with},
                                  (isthmus_bytes){plain, w.used}, out + HEAD);
  return sealed ? HEAD + w.used + TAG : 0;
}

/* Whether a sequence has not come yet and can be told from those that have: 256 are kept. */
static bool take_sequence(isthmus_datagrams *link, uint64_t sequence) {
  uint64_t *had = &link->had[sequence % 256];
  if (sequence <= link->newest && (link->newest - sequence >= 256 || *had == sequence)) return false;
  if (sequence > link->newest) link->newest = sequence;
  *had = sequence;
  return true;
}

bool isthmus_datagrams_read(isthmus_datagrams *link, isthmus_bytes datagram, uint32_t now_ms) {
  uint8_t with[HEAD + BINDING], nonce[12], plain[PLAIN], kind;
  if (datagram.at == NULL || datagram.bytes < HEAD + TAG || datagram.bytes > ISTHMUS_DATAGRAM_BYTES) return false;
  uint64_t sequence = get64(datagram.at + 5);
  seal_parts(link, sequence, with, nonce);
  isthmus_bytes sealed = {datagram.at + HEAD, datagram.bytes - HEAD}, bytes;
  if (sequence == 0 || memcmp(datagram.at, with, HEAD) != 0) return false; /* of another version or number */
  if (!link->cipher.open(link->cipher.engine, link->key_down, nonce, (isthmus_bytes){with, sizeof with}, sealed, plain))
    return false;
  if (!take_sequence(link, sequence)) return false;
  isthmus_reader all = {plain, plain + sealed.bytes - TAG, false};
  const uint8_t *received = advance(&all, 4);
  while (next_part(&all, &kind, &bytes)) {
  }
  if (all.bad) return false; /* nothing of it is used */
  uint32_t more = get32(received) - link->acked;
  if (more > 0 && more <= (uint32_t)(link->said - link->acked)) { /* else it is older than the newest, or nonsense */
    link->acked += more;
    if (after(link->acked, link->sent)) link->sent = link->acked;
    link->acked_ms = now_ms;
    link->patience_ms = PATIENCE_MS;
  }
  memcpy(link->plain, plain, sealed.bytes - TAG);
  link->parts = (isthmus_reader){link->plain + 4, link->plain + sealed.bytes - TAG, false};
  return true;
}

/* Bytes of the stream from `offset` on, if none of them is beyond the window. */
static void take_stream(isthmus_datagrams *link, uint32_t offset, const uint8_t *at, size_t count) {
  uint32_t end = offset + (uint32_t)count - link->received; /* 2^31 and more: it ends with bytes that came before */
  if (end > ISTHMUS_WINDOW) return;
  for (size_t i = 0; i < count; i++, offset++) {
    if ((uint32_t)(offset - link->received) >= ISTHMUS_WINDOW) continue; /* came before */
    link->in[offset % ISTHMUS_WINDOW] = (uint16_t)(CAME | at[i]);
  }
}

/* The next message of the stream, if it is whole; ISTHMUS_DROPPED: it is not. */
static int next_of_stream(isthmus_datagrams *link, isthmus_bytes *message) {
  for (;;) {
    uint32_t bytes = get32(link->size);
    uint16_t *in = &link->in[link->received % ISTHMUS_WINDOW];
    if (link->message_bytes >= 4) {
      if (bytes > ISTHMUS_MESSAGE_BYTES) return ISTHMUS_BROKEN;
      if (bytes > link->message_room) return ISTHMUS_FULL;
      if (link->message_bytes - 4 == bytes) break;
    }
    if (*in == 0) return ISTHMUS_DROPPED;
    uint8_t *to = link->message_bytes < 4 ? &link->size[link->message_bytes] : &link->message[link->message_bytes - 4];
    *to = (uint8_t)*in; /* without CAME */
    *in = 0;
    link->message_bytes++;
    link->received++;
  }
  link->message_bytes = 0;
  *message = (isthmus_bytes){link->message, get32(link->size)};
  return ISTHMUS_OK;
}

int isthmus_datagrams_next(isthmus_datagrams *link, isthmus_bytes *message) {
  isthmus_bytes bytes;
  uint8_t kind;
  for (;;) {
    int result = next_of_stream(link, message);
    if (result != ISTHMUS_DROPPED) return result;
    if (link->parts.at == NULL || !next_part(&link->parts, &kind, &bytes)) return ISTHMUS_DROPPED;
    if (kind == PART_STREAM) take_stream(link, get32(bytes.at), bytes.at + 4, bytes.bytes - 4);
    if (kind == PART_MESSAGE) {
      *message = bytes;
      return ISTHMUS_OK;
    }
  }
}

/* ------------------------------------------------------------------------------------------------- §9.4 Values
 * Frames are kept by their number modulo ISTHMUS_FRAMES = 512. A delta refers at most 255 back, values come at most 64
 * late, and none is taken that is more than 256 ahead of one that waits: so no record is overwritten that a delta may
 * still name. */

/* Notes that a frame came; false if it had, or is so old that no acknowledgement could name it. */
static bool note_frame(isthmus *view, uint32_t frame) {
  uint32_t ahead = frame - view->frame, behind = view->frame - frame;
  if (view->frame == 0 || after(frame, view->frame)) {
    uint64_t earlier = (ahead < 64 ? view->earlier << ahead : 0) | (uint64_t)1 << ((ahead - 1) % 64);
    view->earlier = view->frame == 0 || ahead > 64 ? 0 : earlier;
    view->frame = frame;
    return true;
  }
  if (behind == 0 || behind > 64 || (view->earlier >> (behind - 1) & 1) != 0) return false;
  view->earlier |= (uint64_t)1 << (behind - 1);
  return true;
}

static int take_values(isthmus *view, isthmus_bytes message, const isthmus_values *m) {
  if (!view->welcomed || m->stream != view->stream || view->frames == NULL) return ISTHMUS_DROPPED;
  if (message.bytes > ISTHMUS_DATAGRAM_BYTES || (view->waiting > 0 && after(m->frame, view->oldest + 256)))
    return ISTHMUS_DROPPED;
  if (!note_frame(view, m->frame)) return ISTHMUS_DROPPED;
  note_values(view, m);
  isthmus_frame *slot = &view->frames[m->frame % ISTHMUS_FRAMES];
  slot->frame = m->frame;
  slot->sseq = m->sseq;
  slot->records = slot->waits = 0;
  if (!after(m->sseq, view->sseq)) return apply_values(view, m, slot);
  if (view->waiting++ == 0 || after(view->oldest, m->frame)) view->oldest = m->frame;
  slot->waits = (uint16_t)message.bytes;
  memcpy(slot->as.message, message.at, message.bytes);
  return ISTHMUS_WAITS;
}

/* Values whose structure message came, in order of frame. */
static int apply_waiting(isthmus *view) {
  uint32_t first = view->oldest, left = 0;
  for (uint32_t i = 0; i <= 256 && view->waiting > left; i++) {
    isthmus_frame *slot = &view->frames[(first + i) % ISTHMUS_FRAMES];
    if (slot->waits == 0) continue;
    if (after(slot->sseq, view->sseq)) {
      if (left++ == 0) view->oldest = slot->frame;
      continue;
    }
    uint8_t bytes[ISTHMUS_DATAGRAM_BYTES]; /* its records take its place */
    isthmus_message message;
    memcpy(bytes, slot->as.message, slot->waits);
    isthmus_decode((isthmus_bytes){bytes, slot->waits}, &message);
    slot->waits = 0;
    view->waiting--;
    if (apply_values(view, &message.as.values, slot) != ISTHMUS_OK) return ISTHMUS_BROKEN;
  }
  return ISTHMUS_OK;
}

/* ================================================================================================ §10 Channels */
static int take_channel(isthmus *view, const isthmus_message *m) {
  if (!view->welcomed || !view->television) return ISTHMUS_BROKEN;
  if (m->type == ISTHMUS_CHANNEL) {
    if (m->as.channel.code != 0 && m->as.channel.code != 3) return ISTHMUS_OK; /* what was watched goes on */
    view->watching = m->as.channel.code == 0;
    view->stream = m->as.channel.stream;
    view->begun = false;
    forget(view);
    return ISTHMUS_OK;
  }
  if (!view->watching || m->as.keyframe.stream != view->stream) return ISTHMUS_BROKEN;
  forget(view);
  view->begun = true;
  view->sseq = m->sseq;
  view->frame = m->as.keyframe.frame;
  view->tick = m->as.keyframe.tick;
  view->parts = m->as.keyframe.parts;
  return ISTHMUS_OK;
}

/* How the camera got to where it is counts no more, once it is told where to go from there. */
static void turn_camera(isthmus *view, const isthmus_camera *camera) {
  double from_m[2][3] = {{0.0}};
  view->glides = camera->move_ms > 0 && isthmus_camera_at(view, (double)camera->tick, from_m[0], from_m[1]);
  memcpy(view->from_m, from_m, sizeof from_m);
  view->has_camera = true;
  view->camera = *camera;
  view->camera.text = nil; /* it ends with its message */
}

bool isthmus_camera_at(const isthmus *view, double tick, double eye_m[3], double look_m[3]) {
  const isthmus_camera *camera = &view->camera;
  double base_m[3] = {0.0, 0.0, 0.0}, part = 1.0;
  bool there = !camera->entity.is;
  for (uint32_t i = 0; i < view->numbers && !there; i++) {
    there = view->has_camera && view->entities[i].held && view->entities[i].id == camera->entity.value;
    if (there) isthmus_shown(&view->entities[i].record, tick, base_m);
  }
  if (!view->has_camera || (!there && !view->glides)) return false;
  if (view->glides) part = there ? (tick - (double)camera->tick) * 1000.0 / view->rate_hz / camera->move_ms : 0.0;
  for (int axis = 0; axis < 3; axis++) {
    double eye = base_m[axis] + camera->eye[axis] / 128.0, look = base_m[axis] + camera->look[axis] / 128.0;
    double left = part < 1.0 ? 1.0 - (part > 0.0 ? part : 0.0) : 0.0;
    eye_m[axis] = eye + (left > 0.0 ? (view->from_m[0][axis] - eye) * left : 0.0);
    look_m[axis] = look + (left > 0.0 ? (view->from_m[1][axis] - look) * left : 0.0);
  }
  return true;
}

/* ========================================================================================== §11 Head and hands */
static const double ROOT_2 = 1.4142135623730951;

static void unpack_rotation(uint32_t packed, unsigned bits, int half, double out[4]) {
  unsigned largest = packed >> (3 * bits) & 3u;
  double square = 0.0;
  for (unsigned k = 0, at = 0; k < 4; k++) {
    if (k == largest) continue;
    out[k] = ((int)(packed >> at & ((1u << bits) - 1)) - half) / (half * ROOT_2);
    square += out[k] * out[k];
    at += bits;
  }
  for (unsigned k = 0; k < 4 && square > 1.0; k++)
    if (k != largest) out[k] /= sqrt(square);
  out[largest] = square > 1.0 ? 0.0 : sqrt(1.0 - square);
}

/* Three times `bits` from the lowest, each less half of what fits, in `unit_m`, counted from another place. */
static void unpack_place(uint32_t packed, unsigned bits, double unit_m, const double from_m[3], double out_m[3]) {
  for (unsigned axis = 0; axis < 3; axis++) {
    int value = (int)(packed >> (bits * axis) & ((1u << bits) - 1)) - (1 << (bits - 1));
    out_m[axis] = from_m[axis] + value * unit_m;
  }
}

static const double CHEST_M[3] = {0.0, 1.25, 0.0};

static void near_sample(const isthmus_columns *c, size_t i, isthmus_pose *out) {
  out->back_ms = c->at[P_BACK][i];
  out->tracked = out->turned = c->at[P_TRACKED][i] & (ISTHMUS_HEAD | ISTHMUS_LEFT | ISTHMUS_RIGHT);
  for (size_t part = 0; part < 3; part++) {
    const uint8_t *at = c->at[P_SAMPLE] + 4 * (2 * part * c->count[2] + i);
    if (!(out->tracked >> part & 1)) continue;
    unpack_place(get32(at), 10, 1.0 / 256.0, part == 0 ? CHEST_M : out->p_m[0], out->p_m[part]);
    unpack_rotation(get32(at + 4 * (size_t)c->count[2]), 10, 511, out->q[part]);
  }
  for (size_t hand = 0; hand < 2; hand++) {
    uint8_t pressed = c->at[P_GRIPS][hand * c->count[2] + i];
    out->grip[hand] = (pressed >> 4) / 15.0;
    out->trigger[hand] = (pressed & 15) / 15.0;
  }
}

static void mid_sample(const isthmus_columns *c, size_t i, isthmus_pose *out) {
  uint32_t head = get32(c->at[P_MID_HEAD] + 4 * i);
  out->tracked = out->turned = ISTHMUS_HEAD;
  unpack_rotation(head & 0x1ffff, 5, 15, out->q[0]);
  unpack_place(head >> 17, 5, 1.0 / 16.0, CHEST_M, out->p_m[0]);
  for (size_t hand = 0; hand < 2; hand++) {
    uint32_t packed = get16(c->at[P_MID_HANDS] + 2 * (hand * c->count[1] + i));
    if (packed == 0xffff) continue;
    out->tracked |= (uint8_t)(ISTHMUS_LEFT << hand);
    unpack_place(packed, 5, 1.0 / 16.0, out->p_m[0], out->p_m[1 + hand]);
    out->grip[hand] = packed >> 15;
  }
}

bool isthmus_next_pose(isthmus *view, isthmus_poses *m, isthmus_pose *out) {
  const isthmus_columns *c = &m->columns;
  while (m->left > 0 || m->next < (uint32_t)c->count[0] + c->count[1]) {
    bool first = m->left == 0;
    size_t row = first ? m->next++ : m->next - 1;
    bool is_near = row < c->count[0];
    uint32_t samples = !first ? m->left : is_near ? c->at[P_SAMPLES][row] : 0;
    uint32_t number = get16(is_near ? c->at[P_NEAR] + 2 * row : c->at[P_MID] + 2 * (row - c->count[0]));
    isthmus_entity *entity = number < view->numbers ? &view->entities[number] : NULL;
    bool known = entity != NULL && entity->held && !after(entity->entered, m->sseq);
    m->left = 0;
    if (!known || (first && m->tick <= entity->posed)) {
      m->sample += samples; /* of nobody, of who was there before, or not newer than what is held */
      continue;
    }
    memset(out, 0, sizeof *out);
    entity->posed = m->tick;
    out->number = (uint16_t)number;
    out->first = first;
    out->told = !is_near || samples > 0;
    if (!is_near) mid_sample(c, row - c->count[0], out);
    else if (samples > 0) near_sample(c, m->sample++, out);
    m->left = samples > 0 ? samples - 1 : 0;
    out->more = (uint8_t)m->left;
    return true;
  }
  return false;
}

/* Smallest three; false if there is no rotation. */
static bool pack_rotation(const double q[4], uint8_t out[4]) {
  double length = sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  if (!(length > 0.0 && length <= 1e150)) return false;
  unsigned largest = 0;
  for (unsigned k = 1; k < 4; k++)
    if (fabs(q[k]) > fabs(q[largest])) largest = k;
  uint32_t packed = largest << 30;
  for (unsigned k = 0, at = 0; k < 4; k++) {
    if (k == largest) continue;
    packed |= (uint32_t)(int)(floor(q[k] / (q[largest] > 0.0 ? length : -length) * ROOT_2 * 511.0 + 0.5) + 511.0) << at;
    at += 10;
  }
  set_le(out, packed, 4);
  return true;
}

/* The nearest integer from `least` to `most`; the least of what is no number. */
static int nearest(double x, int least, int most) {
  return x > least ? x < most ? (int)floor(x + 0.5) : most : least;
}

size_t isthmus_put_pose(uint8_t *out, size_t room, uint32_t stamp_ms, const isthmus_pose *samples, size_t count) {
  uint8_t packed[3 * 34] = {0};
  if (count < 1 || count > 3) return 0;
  for (size_t i = 0; i < count; i++) {
    const isthmus_pose *pose = &samples[i];
    uint8_t *at = packed + 34 * i;
    if (!(pose->tracked & ISTHMUS_HEAD) || pose->tracked > 7) return 0;
    at[0] = pose->back_ms;
    at[1] = pose->tracked;
    for (int k = 0; k < 2; k++)
      at[2 + k] = (uint8_t)(16 * nearest(15.0 * pose->grip[k], 0, 15) + nearest(15.0 * pose->trigger[k], 0, 15));
    for (int part = 0; part < 3; part++) {
      if (!(pose->tracked >> part & 1)) continue;
      if (!pack_rotation(pose->q[part], at + 4 + 4 * part)) return 0;
      for (int axis = 0; axis < 3; axis++)
        set_le(at + 16 + 6 * part + 2 * axis, (uint16_t)nearest(1024.0 * pose->p_m[part][axis], -32767, 32767), 2);
    }
  }
  const item items[] = {WHOLE(stamp_ms), BYTES(BIN_ITEM, ((isthmus_bytes){packed, 34 * count}))};
  return put_message(out, room, 8, items, 2);
}

/* ================================================================================================= §12 Crowds */
bool isthmus_crowd_cell(const isthmus_crowd *crowd, uint32_t i, isthmus_cell *out) {
  size_t cells = crowd->columns.count[0];
  if (i >= cells) return false;
  const uint8_t *at = crowd->columns.at[0];
  *out = (isthmus_cell){.x = axis16(at, cells, 0, i), .z = axis16(at, cells, 1, i), .vx = axis16(at, cells, 3, i),
                        .vz = axis16(at, cells, 4, i), .count = get16(at + 2 * (2 * cells + i)),
                        .side_m = crowd->columns.count[1]};
  return true;
}
