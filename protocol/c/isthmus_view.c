/* The view: who is there and where, out of the messages of one connection. See isthmus.h; "§": ../STANDARD.md.
 *
 * Decides: which values count as come, which wait, and which record a delta begins with. It trusts what isthmus_decode
 * checked, and nothing else: numbers, bases and sums are checked here.
 */
#include <stdalign.h>

#include "isthmus_private.h"

/* ---------------------------------------------------------------------------------------------- memory of a view */
static size_t rounded(size_t bytes) {
  return (bytes + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
}

size_t isthmus_memory_bytes(isthmus_limits limits) {
  return rounded(limits.numbers * sizeof(isthmus_entity)) + rounded(limits.records * sizeof(isthmus_kept)) +
         rounded(limits.waiting * sizeof(isthmus_waiting));
}

static void forget_entities(isthmus *view) {
  for (uint32_t i = 0; i < view->limits.numbers; i++) view->entities[i].held = false;
  for (uint32_t i = 0; i < view->limits.records; i++)
    view->kept[i].next = i + 1 < view->limits.records ? i + 1 : ISTHMUS_NONE;
  view->free_first = view->limits.records > 0 ? 0 : ISTHMUS_NONE;
  view->free_count = view->limits.records;
}

int isthmus_init(isthmus *view, void *memory, size_t bytes, isthmus_limits limits) {
  if (limits.numbers > 65536 || limits.records > 1u << 24 || limits.waiting > 1u << 16) return ISTHMUS_MEMORY;
  if (bytes < isthmus_memory_bytes(limits) || (uintptr_t)memory % alignof(max_align_t) != 0) return ISTHMUS_MEMORY;
  uint8_t *at = memory;
  memset(view, 0, sizeof *view);
  memset(memory, 0, isthmus_memory_bytes(limits));
  view->limits = limits;
  view->entities = (isthmus_entity *)(void *)at;
  view->kept = (isthmus_kept *)(void *)(at + rounded(limits.numbers * sizeof(isthmus_entity)));
  view->waits = (isthmus_waiting *)(void *)((uint8_t *)view->kept + rounded(limits.records * sizeof(isthmus_kept)));
  forget_entities(view);
  return ISTHMUS_OK;
}

const isthmus_entity *isthmus_find(const isthmus *view, uint32_t number) {
  return number < view->limits.numbers && view->entities[number].held ? &view->entities[number] : NULL;
}

/* --------------------------------------------------------------------------------------- records by frame (§9.4)
 * An entity has the record that is shown in itself, and others in a list out of one pool. Only VALUES use the pool, and
 * never more of it than one record for each of their values: room is looked for before they count as come. */
static void keep(isthmus *view, isthmus_entity *entity, const isthmus_record *record) {
  uint32_t i = view->free_first;
  if (i == ISTHMUS_NONE) return; /* cannot be: has_room was asked */
  view->free_first = view->kept[i].next;
  view->free_count--;
  view->kept[i].record = *record;
  view->kept[i].next = entity->earlier;
  entity->earlier = i;
}

/* Gives the record that `link` names back to the pool. */
static void release(isthmus *view, uint32_t *link) {
  uint32_t i = *link;
  *link = view->kept[i].next;
  view->kept[i].next = view->free_first;
  view->free_first = i;
  view->free_count++;
}

/* Frees the records of frames before `frame`; they are in no order. */
static void forget_before(isthmus *view, isthmus_entity *entity, uint32_t frame) {
  uint32_t *link = &entity->earlier;
  while (*link != ISTHMUS_NONE) {
    if (after(frame, view->kept[*link].record.frame)) release(view, link);
    else link = &view->kept[*link].next;
  }
}

/* A message named this base, which is held: older ones are named by late values alone, which may be dropped (§9.4). */
static void named(isthmus *view, isthmus_entity *entity, uint32_t base) {
  forget_before(view, entity, base);
  entity->named = base;
}

static void forget_all(isthmus *view, isthmus_entity *entity) {
  while (entity->earlier != ISTHMUS_NONE) release(view, &entity->earlier);
}

static const isthmus_record *record_of(const isthmus *view, const isthmus_entity *entity, uint32_t frame) {
  if (entity->record.valued && entity->record.frame == frame) return &entity->record;
  for (uint32_t i = entity->earlier; i != ISTHMUS_NONE; i = view->kept[i].next)
    if (view->kept[i].record.frame == frame) return &view->kept[i].record;
  return NULL;
}

static void store(isthmus *view, isthmus_entity *entity, const isthmus_record *record, bool based) {
  bool other = based && entity->record.valued && entity->record.frame != record->frame;
  if (other && after(entity->record.frame, record->frame)) {
    keep(view, entity, record); /* came late */
    return;
  }
  if (other) keep(view, entity, &entity->record);
  entity->record = *record;
}

/* -------------------------------------------------------------------------------------------- applying a message */
/* Shift to the right that rounds down, which C leaves open for negative numbers. */
static int64_t floor16(int64_t x) { return x >= 0 ? x / 16 : -((15 - x) / 16); }

/* `base` moved to `tick` and changed by a delta (§4); false if that leaves the numbers of the wire. */
static bool moved(const isthmus_record *base, int64_t tick, const int32_t d[3], const int32_t dv[3],
                  isthmus_record *out) {
  int64_t dt = tick - base->tick;
  if (dt > (int64_t)1 << 40 || dt < -((int64_t)1 << 40)) return false;
  for (int axis = 0; axis < 3; axis++) {
    int64_t p = base->p[axis] + floor16(base->v[axis] * dt + 8) + d[axis], v = base->v[axis] + dv[axis];
    if (p < INT32_MIN || p > INT32_MAX || v < INT16_MIN || v > INT16_MAX) return false;
    out->p[axis] = (int32_t)p;
    out->v[axis] = (int16_t)v;
  }
  out->tick = tick;
  return true;
}

/* Whom a value is for. NULL: nobody, or one who entered later under the same number (§9.4). */
static isthmus_entity *meant(isthmus *view, const isthmus_values *m, uint32_t number) {
  isthmus_entity *entity = number < view->limits.numbers ? &view->entities[number] : NULL;
  bool is_meant = entity != NULL && entity->held && !(m->based && after(entity->entered, m->sseq));
  return is_meant ? entity : NULL;
}

static uint32_t base_frame(const isthmus_values *m, size_t i) {
  return m->frame - m->columns.at[9 * (size_t)m->deltas + 14 * (size_t)m->fulls + i];
}

/* Whether the pool has room for them. When it is short, records go that nothing can name any more: those before the
 * bases that these values name, and those more than 255 frames before one that can be used (64 back, or waiting). */
static bool has_room(isthmus *view, const isthmus_values *m, bool waits) {
  uint32_t records = m->deltas + m->fulls, newest = after(m->frame, view->frame) ? m->frame : view->frame;
  if (view->free_count - view->reserved >= records) return true;
  for (size_t i = 0; i < m->deltas && !waits; i++) {
    isthmus_entity *entity = meant(view, m, get16(m->columns.at + 2 * i));
    uint32_t base = base_frame(m, i);
    if (entity != NULL && record_of(view, entity, base) != NULL) named(view, entity, base);
  }
  uint32_t oldest = newest - 64;
  for (uint32_t i = 0; i < view->limits.waiting; i++)
    if (view->waits[i].bytes > 0 && after(oldest, view->waits[i].frame)) oldest = view->waits[i].frame;
  if (after(oldest - 255, view->forgotten)) view->forgotten = oldest - 255;
  for (uint32_t i = 0; i < view->limits.numbers; i++)
    if (view->entities[i].held) forget_before(view, &view->entities[i], view->forgotten);
  return view->free_count - view->reserved >= records;
}

/* Whether bases of values that will wait may be gone already, for want of room: they cannot be judged before their
 * structure message comes, and by then they count as come. What is forgotten later leaves them theirs. */
static bool may_lack_base(const isthmus *view, const isthmus_values *m) {
  for (size_t i = 0; i < m->deltas; i++)
    if (after(view->forgotten, base_frame(m, i))) return true;
  return false;
}

/* Whether values can be applied, before anything is changed. ISTHMUS_DROPPED: they are late, and refer to a record that
 * was forgotten because a later frame named a newer one, be it one that itself found no room; not being acknowledged
 * they are as good as lost (§9.4). */
static int judge_values(isthmus *view, const isthmus_values *m) {
  for (size_t i = 0; i < (size_t)m->deltas + m->fulls; i++) {
    isthmus_entity *entity = meant(view, m, get16(m->columns.at + 2 * i));
    if (entity == NULL && (!m->based || m->sseq == view->sseq)) return ISTHMUS_BROKEN;
    if (entity == NULL || !m->based || i >= m->deltas) continue;
    uint32_t base = base_frame(m, i);
    if (record_of(view, entity, base) != NULL) continue;
    return after(entity->named, base) || after(view->forgotten, base) ? ISTHMUS_DROPPED : ISTHMUS_BROKEN;
  }
  return ISTHMUS_OK;
}

static int apply_values(isthmus *view, const isthmus_values *m) {
  const uint8_t *columns = m->columns.at;
  size_t d = m->deltas, f = m->fulls, deltas = 2 * d + 14 * f, ages = deltas + (m->based ? 8 : 7) * d;
  for (size_t i = 0; i < d; i++) {
    isthmus_entity *entity = meant(view, m, get16(columns + 2 * i));
    if (entity == NULL) continue;
    const isthmus_record *base = m->based ? record_of(view, entity, base_frame(m, i)) : &entity->record;
    isthmus_record record = {.frame = m->frame, .valued = true, .yaw = columns[deltas + 6 * d + i]};
    int32_t dp[3], dv[3];
    for (size_t axis = 0; axis < 3; axis++) {
      dp[axis] = signed8(columns[deltas + axis * d + i]);
      dv[axis] = signed8(columns[deltas + (3 + axis) * d + i]);
    }
    /* No base although judge_values saw one: the number is in this message twice. */
    if (base == NULL || !moved(base, m->tick, dp, dv, &record)) return ISTHMUS_BROKEN;
    if (m->based) named(view, entity, base_frame(m, i));
    store(view, entity, &record, m->based);
  }
  for (size_t i = 0; i < f; i++) {
    isthmus_entity *entity = meant(view, m, get16(columns + 2 * d + 2 * i));
    if (entity == NULL) continue;
    isthmus_record record = {.frame = m->frame, .valued = true, .tick = m->tick - columns[ages + i]};
    record.yaw = columns[ages + f + i];
    for (size_t axis = 0; axis < 3; axis++) {
      record.p[axis] = m->origin[axis] + signed16(get16(columns + 2 * d + (2 + 2 * axis) * f + 2 * i));
      record.v[axis] = (int16_t)signed16(get16(columns + 2 * d + (8 + 2 * axis) * f + 2 * i));
    }
    store(view, entity, &record, m->based);
  }
  return ISTHMUS_OK;
}

static int apply_structure(isthmus *view, isthmus_structure s, uint32_t sseq) {
  isthmus_change change;
  while (isthmus_next_change(&s, &change)) {
    if (change.number >= view->limits.numbers) return ISTHMUS_FULL;
    isthmus_entity *entity = &view->entities[change.number];
    if (entity->held == (change.what == ISTHMUS_ENTER)) return ISTHMUS_BROKEN;
    if (change.what == ISTHMUS_LEAVE) {
      forget_all(view, entity);
      entity->held = false;
    } else if (change.what == ISTHMUS_ENTER) {
      *entity = (isthmus_entity){.id = change.id, .kind = change.kind, .entered = sseq, .earlier = ISTHMUS_NONE,
                                 .record = change.record, .named = view->forgotten, .held = true};
    }
  }
  return ISTHMUS_OK;
}

static void take_own(isthmus *view, const isthmus_values *m) {
  if (m->has_own && (!view->has_own || !after(view->own_frame, m->frame))) {
    view->has_own = true;
    view->own = m->own;
    view->own_frame = m->frame;
  }
  if (m->frame == view->frame) view->tick = m->tick; /* the newest */
}

/* Notes that a frame came (§9.4); false if it had, or is so old that no acknowledgement could name it. */
static bool came(isthmus *view, uint32_t frame, bool only_ask) {
  uint32_t frame_now = view->frame;
  uint64_t earlier = view->earlier;
  if (frame_now == 0 || after(frame, frame_now)) {
    uint32_t step = frame - frame_now;
    earlier = frame_now == 0 || step > 64 ? 0 : (step < 64 ? earlier << step : 0) | (uint64_t)1 << (step - 1);
    frame_now = frame;
  } else {
    uint32_t age = frame_now - frame;
    if (age == 0 || age > 64 || (earlier >> (age - 1) & 1) != 0) return false;
    earlier |= (uint64_t)1 << (age - 1);
  }
  if (!only_ask) {
    view->frame = frame_now;
    view->earlier = earlier;
    uint32_t long_ago = frame_now - ((uint32_t)1 << 30); /* followed, so that numbers which wrap can be compared */
    if (after(long_ago, view->forgotten)) view->forgotten = long_ago;
  }
  return true;
}

static int take_values(isthmus *view, isthmus_bytes message, const isthmus_values *m) {
  if (!view->welcomed || m->stream != view->stream) return ISTHMUS_DROPPED;
  if (!m->based) { /* FRAME: all came in order, so it builds on the newest structure message (§5) */
    int result = m->sseq == view->sseq ? judge_values(view, m) : ISTHMUS_BROKEN;
    if (result != ISTHMUS_OK) return result;
    view->frame = m->frame;
    take_own(view, m);
    return apply_values(view, m);
  }
  bool waits = after(m->sseq, view->sseq);
  if (!came(view, m->frame, true) || !has_room(view, m, waits)) return ISTHMUS_DROPPED;
  if (waits && may_lack_base(view, m)) return ISTHMUS_DROPPED;
  uint32_t slot = 0;
  while (waits && slot < view->limits.waiting && view->waits[slot].bytes > 0) slot++;
  if (waits && (slot == view->limits.waiting || message.bytes > ISTHMUS_DATAGRAM_BYTES)) return ISTHMUS_DROPPED;
  int result = waits ? ISTHMUS_OK : judge_values(view, m);
  if (result != ISTHMUS_OK) return result;
  came(view, m->frame, false);
  take_own(view, m); /* also of what waits: its stamp counts from now */
  if (!waits) return apply_values(view, m);
  isthmus_waiting *waiting = &view->waits[slot];
  waiting->frame = m->frame;
  waiting->sseq = m->sseq;
  waiting->records = m->deltas + m->fulls;
  waiting->bytes = (uint32_t)message.bytes;
  memcpy(waiting->message, message.at, message.bytes);
  view->reserved += waiting->records;
  return ISTHMUS_WAITS;
}

/* Values whose structure message came, in order of frame. */
static int apply_waiting(isthmus *view) {
  for (;;) {
    isthmus_waiting *first = NULL;
    for (uint32_t i = 0; i < view->limits.waiting; i++) {
      isthmus_waiting *slot = &view->waits[i];
      if (slot->bytes > 0 && !after(slot->sseq, view->sseq) && (first == NULL || after(first->frame, slot->frame)))
        first = slot;
    }
    if (first == NULL) return ISTHMUS_OK;
    isthmus_message message;
    isthmus_decode((isthmus_bytes){first->message, first->bytes}, &message);
    first->bytes = 0;
    view->reserved -= first->records;
    int result = judge_values(view, &message.as.values);
    if (result == ISTHMUS_OK) result = apply_values(view, &message.as.values);
    if (result != ISTHMUS_OK) return ISTHMUS_BROKEN; /* it was acknowledged: the server may build on it */
  }
}

static void begin_stream(isthmus *view, const isthmus_welcome *welcome) {
  forget_entities(view);
  for (uint32_t i = 0; i < view->limits.waiting; i++) view->waits[i].bytes = 0;
  view->reserved = view->sseq = view->frame = view->own_frame = 0;
  view->earlier = 0;
  view->forgotten = 0u - 320; /* no frame that is told begins before the first */
  view->welcomed = true;
  view->has_own = false;
  view->stream = welcome->stream;
  view->tick = (int64_t)welcome->tick;
}

int isthmus_take(isthmus *view, isthmus_bytes message, isthmus_message *out) {
  int result = isthmus_decode(message, out);
  if (result != ISTHMUS_OK) return result;
  if (out->type == ISTHMUS_WELCOME) begin_stream(view, &out->as.welcome);
  if (out->type == ISTHMUS_FRAME || out->type == ISTHMUS_VALUES) return take_values(view, message, &out->as.values);
  if (!out->counted) return ISTHMUS_OK;
  if (!view->welcomed || out->sseq != (uint32_t)(view->sseq + 1)) return ISTHMUS_BROKEN; /* §5: one after the other */
  view->sseq = out->sseq;
  if (out->type == ISTHMUS_SCHEMA) forget_entities(view);
  if (out->type == ISTHMUS_STRUCTURE) result = apply_structure(view, out->as.structure, out->sseq);
  return result == ISTHMUS_OK ? apply_waiting(view) : result;
}

void isthmus_shown(const isthmus_record *record, double tick, double out_m[3]) {
  double dt = tick - (double)record->tick;
  for (int axis = 0; axis < 3; axis++) out_m[axis] = (16.0 * record->p[axis] + record->v[axis] * dt) / 2048.0;
}

double isthmus_yaw_rad(const isthmus_record *record) { return record->yaw * (6.283185307179586 / 256.0); }
