/* Lets a test talk to protocol/c: a line in (a word, then numbers or bytes as hex, "-" for nil), a line of JSON out.
 *
 * All bytes and all memory are given in blocks of exactly their size from malloc, so that the sanitizers see each step
 * beyond an end. Not responsible for: judging anything; the tests do that.
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isthmus.h"

static isthmus view;
static void *view_memory;
static isthmus_inflow inflow;
static uint8_t *inflow_memory;
static isthmus_window window;
static char *rest; /* of the line */

static void die(const char *why) {
  fprintf(stderr, "driver: %s\n", why);
  exit(2);
}

static char *word(void) {
  char *begin = rest + strspn(rest, " \n");
  if (*begin == 0) die("an argument is missing");
  size_t length = strcspn(begin, " \n");
  rest = begin + length + (begin[length] != 0);
  begin[length] = 0;
  return begin;
}

static uint64_t number(void) { return strtoull(word(), NULL, 10); }

#define ARGUMENTS 16
static uint8_t *held[ARGUMENTS];
static int held_count;

static isthmus_bytes hex(void) {
  const char *text = word();
  if (strcmp(text, "-") == 0) return (isthmus_bytes){NULL, 0};
  if (*text == '.') text++; /* so that no bytes at all can be said */
  size_t bytes = strlen(text) / 2;
  uint8_t *at = malloc(bytes > 0 ? bytes : 1);
  if (at == NULL || held_count == ARGUMENTS) die("no memory");
  held[held_count++] = at;
  for (size_t i = 0; i < bytes; i++) {
    char pair[3] = {text[2 * i], text[2 * i + 1], 0};
    at[i] = (uint8_t)strtoul(pair, NULL, 16);
  }
  return (isthmus_bytes){at, bytes};
}

static void say_bytes(const char *key, isthmus_bytes bytes) {
  printf(",\"%s\":", key);
  if (bytes.at == NULL) {
    printf("null");
    return;
  }
  putchar('"');
  for (size_t i = 0; i < bytes.bytes; i++) printf("%02x", bytes.at[i]);
  putchar('"');
}

static void say(const char *key, uint64_t x) { printf(",\"%s\":%" PRIu64, key, x); }

static void say_real(double x) {
  if (isfinite(x)) printf("%.17g", x);
  else printf("null");
}

static void say_vector(const char *key, const int32_t x[3]) {
  printf(",\"%s\":[%" PRId32 ",%" PRId32 ",%" PRId32 "]", key, x[0], x[1], x[2]);
}

static void say_record(const isthmus_record *record) {
  say_vector("p", record->p);
  printf(",\"v\":[%d,%d,%d],\"record_tick\":%" PRId64, record->v[0], record->v[1], record->v[2], record->tick);
  say("yaw", record->yaw);
}

static void say_structure(isthmus_structure structure) {
  isthmus_change change;
  say("tick", (uint64_t)structure.tick);
  say("frame", structure.frame);
  printf(",\"changes\":[[]");
  while (isthmus_next_change(&structure, &change)) {
    printf(",{\"what\":%d", (int)change.what);
    say("number", change.number);
    if (change.what == ISTHMUS_ENTER) {
      say("id", change.id);
      say("kind", change.kind);
      say_record(&change.record);
    }
    say_bytes("blob", change.blob);
    putchar('}');
  }
  putchar(']');
}

static void say_values(const isthmus_values *values) {
  say("stream", values->stream);
  say("frame", values->frame);
  say("tick", (uint64_t)values->tick);
  say("builds_on", values->sseq);
  say("deltas", values->deltas);
  say("fulls", values->fulls);
  if (!values->has_own) return;
  printf(",\"own\":{\"hold_ms\":%u", values->own.hold_ms);
  say("seq", values->own.seq);
  say("stamp_ms", values->own.stamp_ms);
  say("flags", values->own.flags);
  say("steps", values->own.steps);
  say_vector("p", values->own.p);
  printf(",\"v\":[%d,%d,%d]}", values->own.v[0], values->own.v[1], values->own.v[2]);
}

static void say_welcome(const isthmus_welcome *w) {
  say("version", w->version), say("session", w->session), say("generation", w->generation), say("tick", w->tick);
  say("stream", w->stream), say("steps_per_tick", w->steps_per_tick), say("idle_ack_ms", w->idle_ack_ms);
  say("acted", w->acted);
  printf(",\"rate_hz\":"), say_real(w->rate_hz);
  printf(",\"radius_m\":"), say_real(w->radius_m);
  printf(",\"near_radius_m\":"), say_real(w->near_radius_m);
  if (w->has_body) say("body", w->body);
  if (w->has_anchor) {
    printf(",\"anchor\":[");
    for (int i = 0; i < 3; i++) printf(i > 0 ? "," : ""), say_real(w->anchor[i]);
    putchar(']');
  }
  say_bytes("resume", w->resume), say_bytes("world", w->world), say_bytes("profile", w->profile);
  say_bytes("schema", w->schema), say_bytes("schema_hash", w->schema_hash), say_bytes("map", w->map);
  say_bytes("attribution", w->attribution), say_bytes("server", w->server);
}

static void say_message(const isthmus_message *m) {
  say("type", m->type);
  if (m->counted) say("sseq", m->sseq);
  switch (m->type) {
    case ISTHMUS_WELCOME: say_welcome(&m->as.welcome); break;
    case ISTHMUS_STRUCTURE: say_structure(m->as.structure); break;
    case ISTHMUS_FRAME: case ISTHMUS_VALUES: say_values(&m->as.values); break;
    case ISTHMUS_CHAT:
      say("scope", m->as.chat.scope), say("from", m->as.chat.from);
      say_bytes("name", m->as.chat.name), say_bytes("text", m->as.chat.text);
      break;
    case ISTHMUS_PRESENCE:
      say("online", m->as.presence.online);
      say_bytes("joined", m->as.presence.joined), say_bytes("left", m->as.presence.left);
      break;
    case ISTHMUS_NOTICE: say("code", m->as.notice.code), say_bytes("text", m->as.notice.text); break;
    case ISTHMUS_MOVE:
      say_bytes("url", m->as.move.url), say_bytes("ticket", m->as.move.ticket);
      say("within_ms", m->as.move.within_ms);
      break;
    case ISTHMUS_SCHEMA: say_bytes("schema", m->as.schema.schema), say_bytes("hash", m->as.schema.hash); break;
    case ISTHMUS_CLOSE:
      say("code", m->as.close.code), say_bytes("text", m->as.close.text);
      if (m->as.close.has_retry) say("retry_after_ms", m->as.close.retry_after_ms);
      break;
    case ISTHMUS_EVENT:
      if (m->as.event.has_entity) say("entity", m->as.event.entity);
      say_bytes("name", m->as.event.name), say_bytes("payload", m->as.event.payload);
      break;
    case ISTHMUS_ANSWER:
      say("number", m->as.answer.number), say("code", m->as.answer.code);
      say_bytes("value", m->as.answer.value);
      break;
    case ISTHMUS_TOKEN:
      say_bytes("address", m->as.token.address), say("number", m->as.token.number);
      say_bytes("key_up", m->as.token.key_up), say_bytes("key_down", m->as.token.key_down);
      say("within_ms", m->as.token.within_ms), say_bytes("text", m->as.token.text);
      break;
    default: break;
  }
}

static int new_view(void) {
  isthmus_limits limits = {(uint32_t)number(), (uint32_t)number(), 0};
  limits.waiting = (uint32_t)number();
  free(view_memory);
  view_memory = malloc(isthmus_memory_bytes(limits));
  int result = isthmus_init(&view, view_memory, isthmus_memory_bytes(limits), limits);
  view.datagrams = number() != 0;
  return result;
}

static int take(void) {
  isthmus_message message;
  int result = isthmus_take(&view, hex(), &message);
  if (result != ISTHMUS_MALFORMED) say_message(&message);
  say("view_frame", view.frame), say("view_earlier", view.earlier), say("view_free", view.free_count);
  return result;
}

/* All that is there, at a tick. */
static void shown(void) {
  double tick = strtod(word(), NULL), at[3];
  printf(",\"shown\":{\"0\":0");
  for (uint32_t i = 0; i < view.limits.numbers; i++) {
    const isthmus_entity *entity = isthmus_find(&view, i);
    if (entity == NULL) continue;
    isthmus_shown(&entity->record, tick, at);
    printf(",\"%" PRIu64 "\":[%.17g,%.17g,%.17g,%d]", entity->id, at[0], at[1], at[2], entity->record.yaw);
  }
  putchar('}');
}

static int flow(void) {
  uint32_t offset = (uint32_t)number();
  isthmus_bytes message;
  int result = isthmus_inflow_put(&inflow, offset, hex()), taken = ISTHMUS_OK;
  printf(",\"messages\":[[]");
  while (taken == ISTHMUS_OK && (taken = isthmus_inflow_take(&inflow, &message)) == ISTHMUS_OK)
    printf(",{\"\":0"), say_bytes("hex", message), putchar('}');
  putchar(']');
  say("received", inflow.received);
  return taken < 0 ? taken : result;
}

static void plain(void) {
  uint32_t received = 0;
  isthmus_reader parts;
  isthmus_part part;
  bool fine = isthmus_plain_open(hex(), &received, &parts);
  say("fine", fine), say("received", received);
  printf(",\"parts\":[[]");
  while (fine && isthmus_plain_next(&parts, &part)) {
    printf(",{\"kind\":%u", part.kind);
    if (part.kind == ISTHMUS_PART_STREAM) say("offset", part.offset);
    say_bytes("bytes", part.bytes);
    putchar('}');
  }
  putchar(']');
}

/* Messages of a client, each written into exactly the room that it needs, after one byte less was refused. */
static size_t write_message(const char *what, uint8_t *out, size_t room) {
  char *begin = rest, *copy = strdup(rest);
  size_t used = 0;
  rest = copy;
  if (strcmp(what, "hello") == 0) {
    isthmus_hello hello = {(uint32_t)number(), 0, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
    hello.version_max = (uint32_t)number();
    hello.token = hex(), hello.name = hex(), hello.profile = hex();
    hello.resume = hex(), hello.schema_hash = hex(), hello.agent = hex();
    used = isthmus_put_hello(out, room, &hello);
  } else if (strcmp(what, "input") == 0) {
    isthmus_command commands[9];
    uint32_t seq = (uint32_t)number(), stamp = (uint32_t)number();
    size_t count = 0;
    while (count < 9 && rest[strspn(rest, " \n")] != 0) {
      isthmus_command *command = &commands[count++];
      command->move_x = (int8_t)strtol(word(), NULL, 10), command->move_z = (int8_t)strtol(word(), NULL, 10);
      command->yaw = (uint16_t)number(), command->pitch = (int8_t)strtol(word(), NULL, 10);
      command->buttons = (uint8_t)number(), command->steps = (uint8_t)number();
    }
    used = isthmus_put_input(out, room, &view, seq, stamp, commands, count);
  } else if (strcmp(what, "ack") == 0) {
    used = isthmus_put_ack(out, room, &view, (uint32_t)number());
  } else if (strcmp(what, "chat") == 0) {
    uint32_t scope = (uint32_t)number();
    isthmus_bytes text = hex();
    const char *to = word();
    uint64_t to_id = strtoull(to, NULL, 10);
    used = isthmus_put_chat(out, room, scope, text, *to == '-' ? NULL : &to_id);
  } else if (strcmp(what, "act") == 0) {
    uint32_t act = (uint32_t)number();
    isthmus_bytes name = hex();
    used = isthmus_put_act(out, room, act, name, hex());
  } else if (strcmp(what, "bye") == 0) {
    used = isthmus_put_bye(out, room);
  } else if (strcmp(what, "datagrams") == 0) {
    used = isthmus_put_datagrams(out, room);
  } else {
    die("no such word");
  }
  free(copy);
  rest = begin;
  return used;
}

static void say_written(const char *what) {
  static uint8_t large[70000];
  size_t used = write_message(what, large, sizeof large);
  if (used > 0) {
    uint8_t *exact = malloc(used);
    if (write_message(what, exact, used - 1) != 0 || write_message(what, exact, used) != used) die("a wrong size");
    say_bytes("hex", (isthmus_bytes){exact, used});
    free(exact);
  } else {
    say_bytes("hex", (isthmus_bytes){NULL, 0});
  }
}

static void sealing(void) { /* session, number, address, sequence */
  uint8_t context[300], head[ISTHMUS_HEAD_BYTES], nonce[ISTHMUS_NONCE_BYTES];
  uint64_t session = number();
  uint32_t token = (uint32_t)number();
  isthmus_bytes address = hex();
  uint64_t sequence = number();
  isthmus_datagram_head(head, token, sequence);
  isthmus_datagram_nonce(nonce, sequence);
  say_bytes("head", (isthmus_bytes){head, sizeof head});
  say_bytes("nonce", (isthmus_bytes){nonce, sizeof nonce});
  size_t bytes = isthmus_datagram_context(context, sizeof context, session, token, address);
  say_bytes("context", (isthmus_bytes){context, bytes});
}

static void datagram(void) {
  uint32_t token = 0;
  uint64_t sequence = 0;
  isthmus_bytes sealed = {NULL, 0};
  say("fine", isthmus_datagram_open(hex(), &token, &sequence, &sealed));
  say("number", token), say("sequence", sequence);
  say_bytes("sealed", sealed);
}

static void put_plain(void) { /* received, then parts: kind, offset, bytes */
  static uint8_t out[ISTHMUS_DATAGRAM_BYTES];
  size_t used = isthmus_plain_begin(out, sizeof out, (uint32_t)number());
  while (used > 0 && rest[strspn(rest, " \n")] != 0) {
    isthmus_part part = {.kind = (uint8_t)number(), .offset = (uint32_t)number()};
    part.bytes = hex();
    used = isthmus_plain_part(out, sizeof out, used, &part);
  }
  say_bytes("hex", used > 0 ? (isthmus_bytes){out, used} : (isthmus_bytes){NULL, 0});
}

int main(void) {
  char *line = NULL;
  size_t room = 0;
  while (getline(&line, &room, stdin) > 0) {
    rest = line;
    const char *what = word();
    int result = ISTHMUS_OK;
    printf("{\"did\":\"%s\"", what);
    if (strcmp(what, "view") == 0) result = new_view();
    else if (strcmp(what, "take") == 0) result = take();
    else if (strcmp(what, "shown") == 0) shown();
    else if (strcmp(what, "window") == 0) result = isthmus_window_take(&window, number());
    else if (strcmp(what, "new") == 0) {
      memset(&window, 0, sizeof window);
      free(inflow_memory);
      size_t bytes = ISTHMUS_UNACKNOWLEDGED + 4 + (size_t)number(); /* of the longest message */
      inflow_memory = malloc(bytes);
      result = isthmus_inflow_init(&inflow, inflow_memory, bytes);
      inflow.received = (uint32_t)number(); /* so that a test need not send 4 GiB to see it wrap */
    }
    else if (strcmp(what, "flow") == 0) result = flow();
    else if (strcmp(what, "plain") == 0) plain();
    else if (strcmp(what, "put_plain") == 0) put_plain();
    else if (strcmp(what, "sealing") == 0) sealing();
    else if (strcmp(what, "datagram") == 0) datagram();
    else say_written(what);
    printf(",\"result\":%d}\n", result);
    fflush(stdout);
    while (held_count > 0) free(held[--held_count]);
  }
  free(line);
  free(view_memory);
  free(inflow_memory);
  return 0;
}
