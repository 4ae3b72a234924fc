/* Lets a test talk to protocol/c: a line in (a word, then numbers or bytes as hex, "-" for nil), a line of JSON out.
 * While it makes or reads datagrams it asks back: lines of JSON with "cipher", each answered by a line of hex ("-": no).
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
static isthmus_datagrams link_;
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
  say("deltas", values->columns.count[0]);
  say("fulls", values->columns.count[1]);
  if (!values->has_own) return;
  printf(",\"own\":{\"hold_ms\":%u", values->own.hold_ms);
  say("seq", values->own.seq);
  say("stamp_ms", values->own.stamp_ms);
  say("flags", values->own.flags);
  say("steps", values->own.steps);
  say_vector("p", values->own.p);
  printf(",\"v\":[%d,%d,%d]}", values->own.v[0], values->own.v[1], values->own.v[2]);
}

static void say_maybe(const char *key, isthmus_maybe x) {
  if (x.is) say(key, x.value);
}

static void say_reals(const char *key, const double *x, int count) {
  printf(",\"%s\":[", key);
  for (int i = 0; i < count; i++) printf(i > 0 ? "," : ""), say_real(x[i]);
  putchar(']');
}

static void say_welcome(const isthmus_welcome *w) {
  say("version", w->version), say("session", w->session), say("generation", w->generation);
  say("tick", (uint64_t)w->tick), say("stream", w->stream), say("steps_per_tick", w->steps_per_tick);
  say("idle_ack_ms", w->idle_ack_ms), say("acted", w->acted), say_maybe("body", w->body);
  printf(",\"rate_hz\":"), say_real(w->rate_hz);
  printf(",\"radius_m\":"), say_real(w->radius_m);
  printf(",\"near_radius_m\":"), say_real(w->near_radius_m);
  if (w->has_anchor) say_reals("anchor", w->anchor, 3);
  say_bytes("resume", w->resume), say_bytes("world", w->world), say_bytes("profile", w->profile);
  say_bytes("schema", w->schema), say_bytes("schema_hash", w->schema_hash), say_bytes("map", w->map);
  say_bytes("attribution", w->attribution), say_bytes("server", w->server);
}

static void say_crowd(const isthmus_crowd *crowd) {
  isthmus_cell cell = {0, 0, 0, 0, 0, 0};
  say("stream", crowd->stream), say("tick", (uint64_t)crowd->tick);
  printf(",\"cells\":[");
  for (uint32_t i = 0; isthmus_crowd_cell(crowd, i, &cell); i++)
    printf("%s[%d,%d,%u,%d,%d]", i > 0 ? "," : "", cell.x, cell.z, cell.count, cell.vx, cell.vz);
  putchar(']');
  say("side_m", cell.side_m);
}

static void say_message(const isthmus_message *m) {
  say("type", m->type);
  if (m->counted || m->type == ISTHMUS_KEYFRAME) say("sseq", m->sseq);
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
      say_maybe("retry_after_ms", m->as.close.retry_after_ms);
      break;
    case ISTHMUS_EVENT:
      say_maybe("entity", m->as.event.entity);
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
    case ISTHMUS_CHANNEL:
      say("code", m->as.channel.code), say_bytes("name", m->as.channel.name), say("stream", m->as.channel.stream);
      say_bytes("title", m->as.channel.title), say("behind_ms", m->as.channel.behind_ms);
      printf(",\"rate_hz\":"), say_real(m->as.channel.rate_hz);
      say_bytes("text", m->as.channel.text);
      break;
    case ISTHMUS_KEYFRAME:
      say("stream", m->as.keyframe.stream), say("frame", m->as.keyframe.frame);
      say("tick", (uint64_t)m->as.keyframe.tick), say("parts", m->as.keyframe.parts);
      break;
    case ISTHMUS_CAMERA:
      say("stream", m->as.camera.stream), say("tick", (uint64_t)m->as.camera.tick);
      say("move_ms", m->as.camera.move_ms), say_maybe("entity", m->as.camera.entity);
      say_vector("eye", m->as.camera.eye), say_vector("look", m->as.camera.look);
      say_bytes("text", m->as.camera.text);
      break;
    case ISTHMUS_CROWD: say_crowd(&m->as.crowd); break;
    default: break;
  }
}

static int new_view(void) { /* numbers, whether it goes over datagrams */
  free(view.entities);
  free(view.frames);
  view = (isthmus){.numbers = (uint32_t)number()};
  view.entities = malloc(view.numbers * sizeof *view.entities);
  view.frames = number() != 0 ? malloc(ISTHMUS_FRAMES * sizeof *view.frames) : NULL;
  return ISTHMUS_OK;
}

static int take_message(isthmus_bytes bytes) {
  isthmus_message message;
  int result = isthmus_take(&view, bytes, &message);
  if (result != ISTHMUS_MALFORMED) say_message(&message);
  if (result == ISTHMUS_OK && message.type == ISTHMUS_POSES) {
    isthmus_pose pose;
    printf(",\"poses\":[[]");
    while (isthmus_next_pose(&view, &message.as.poses, &pose)) {
      printf(",{\"back_ms\":%d", pose.back_ms);
      say("number", pose.number), say("told", pose.told), say("first", pose.first), say("more", pose.more);
      say("tracked", pose.tracked), say("turned", pose.turned);
      say_reals("grip", pose.grip, 2), say_reals("trigger", pose.trigger, 2);
      for (int part = 0; part < 3; part++) {
        static const char *const names[] = {"p0", "q0", "p1", "q1", "p2", "q2"};
        say_reals(names[2 * part], pose.p_m[part], 3), say_reals(names[2 * part + 1], pose.q[part], 4);
      }
      putchar('}');
    }
    putchar(']');
  }
  say("view_frame", view.frame), say("view_earlier", view.earlier), say("view_waiting", view.waiting);
  return result;
}

/* All that is there, at a tick. */
static void shown(void) {
  double tick = strtod(word(), NULL), at[3];
  printf(",\"shown\":{\"0\":0");
  for (uint32_t i = 0; i < view.numbers; i++) {
    const isthmus_entity *entity = isthmus_find(&view, i);
    if (entity == NULL) continue;
    isthmus_shown(&entity->record, tick, at);
    printf(",\"%" PRIu64 "\":[%.17g,%.17g,%.17g,%d]", entity->id, at[0], at[1], at[2], entity->record.yaw);
  }
  putchar('}');
}

static void camera(void) {
  double tick = strtod(word(), NULL), eye[3], look[3];
  if (isthmus_camera_at(&view, tick, eye, look)) say_reals("eye", eye, 3), say_reals("look", look, 3);
}

/* The engine's crypto library: whoever asks. */
static bool ask(uint8_t *out, size_t room) {
  static char line[5000];
  printf("}\n");
  fflush(stdout);
  if (fgets(line, sizeof line, stdin) == NULL) die("no answer");
  if (line[0] == '-') return false;
  size_t bytes = strcspn(line, "\n") / 2;
  if (bytes != room) die("an answer of another size");
  for (size_t i = 0; i < bytes; i++) {
    char pair[3] = {line[2 * i], line[2 * i + 1], 0};
    out[i] = (uint8_t)strtoul(pair, NULL, 16);
  }
  return true;
}

static void sha256(void *engine, isthmus_bytes bytes, uint8_t out[32]) {
  (void)engine;
  printf("{\"cipher\":\"sha256\""), say_bytes("bytes", bytes);
  ask(out, 32);
}

static bool cipher(const char *what, const uint8_t *key, const uint8_t *nonce, isthmus_bytes with, isthmus_bytes bytes,
                   uint8_t *out, size_t room) {
  printf("{\"cipher\":\"%s\"", what);
  say_bytes("key", (isthmus_bytes){key, 32}), say_bytes("nonce", (isthmus_bytes){nonce, 12});
  say_bytes("with", with), say_bytes("bytes", bytes);
  return ask(out, room);
}

static bool seal(void *engine, const uint8_t key[32], const uint8_t nonce[12], isthmus_bytes with, isthmus_bytes plain,
                 uint8_t *out) {
  (void)engine;
  return cipher("seal", key, nonce, with, plain, out, plain.bytes + 16);
}

static bool open_(void *engine, const uint8_t key[32], const uint8_t nonce[12], isthmus_bytes with,
                  isthmus_bytes sealed, uint8_t *out) {
  (void)engine;
  return cipher("open", key, nonce, with, sealed, out, sealed.bytes - 16);
}

/* session, a TOKEN, room for a message; then, so that a test need not send 2^32 bytes or 2^63 datagrams to see them
 * wrap: how many bytes came, went out, and the sequence of the newest datagram. */
static int new_link(void) {
  uint64_t session = number();
  isthmus_message token;
  free(link_.message);
  memset(&link_, 0, sizeof link_);
  if (isthmus_decode(hex(), &token) != ISTHMUS_OK) die("no token");
  link_.cipher = (isthmus_cipher){NULL, sha256, seal, open_};
  link_.message_room = number();
  link_.message = malloc(link_.message_room);
  link_.received = (uint32_t)number();
  link_.said = link_.sent = link_.acked = (uint32_t)number();
  link_.sequence = number();
  bool begun = isthmus_datagrams_begin(&link_, &token, session);
  printf("{\"\":0");
  return begun;
}

static bool is_applied; /* `read`: what comes is given to the view as well */

static int read_datagram(void) { /* datagram, now_ms */
  isthmus_bytes bytes = hex(), message;
  bool read = isthmus_datagrams_read(&link_, bytes, (uint32_t)number());
  int taken = ISTHMUS_OK, result = ISTHMUS_OK;
  printf("{\"read\":%d,\"messages\":[[]", read);
  while (read && taken == ISTHMUS_OK && (taken = isthmus_datagrams_next(&link_, &message)) == ISTHMUS_OK) {
    printf(",{\"\":0"), say_bytes("hex", message);
    if (is_applied && (result = take_message(message)) < 0) taken = result;
    say("result", (uint64_t)(result < 0 ? 99 : result)), putchar('}');
  }
  putchar(']');
  say("received", link_.received), say("acked", link_.acked), say("due", isthmus_datagrams_due(&link_));
  return taken;
}

static int write_datagram(void) { /* message or nil, now_ms */
  isthmus_bytes lossy = hex();
  uint8_t *out = malloc(ISTHMUS_DATAGRAM_BYTES);
  size_t bytes = isthmus_datagrams_write(&link_, out, lossy, (uint32_t)number());
  printf("{\"due\":%d", isthmus_datagrams_due(&link_));
  say_bytes("hex", bytes > 0 ? (isthmus_bytes){out, bytes} : (isthmus_bytes){NULL, 0});
  free(out);
  return ISTHMUS_OK;
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
  } else if (strcmp(what, "watch") == 0) {
    isthmus_bytes name = hex();
    used = isthmus_put_watch(out, room, name, (uint32_t)number());
  } else if (strcmp(what, "pose") == 0) { /* stamp; then back_ms, tracked, grips, triggers, places, rotations */
    isthmus_pose poses[4];
    uint32_t stamp = (uint32_t)number();
    size_t count = 0;
    while (count < 4 && rest[strspn(rest, " \n")] != 0) {
      isthmus_pose *pose = &poses[count++];
      memset(pose, 0, sizeof *pose);
      pose->back_ms = (uint8_t)number(), pose->tracked = (uint8_t)number();
      for (int i = 0; i < 2; i++) pose->grip[i] = strtod(word(), NULL);
      for (int i = 0; i < 2; i++) pose->trigger[i] = strtod(word(), NULL);
      for (int i = 0; i < 9; i++) pose->p_m[i / 3][i % 3] = strtod(word(), NULL);
      for (int i = 0; i < 12; i++) pose->q[i / 4][i % 4] = strtod(word(), NULL);
    }
    used = isthmus_put_pose(out, room, stamp, poses, count);
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

int main(void) {
  char *line = NULL;
  size_t room = 0;
  while (getline(&line, &room, stdin) > 0) {
    rest = line;
    const char *what = word();
    int result = ISTHMUS_OK;
    if (strcmp(what, "link") == 0) result = new_link();
    else if (strcmp(what, "read") == 0) result = read_datagram();
    else if (strcmp(what, "write") == 0) result = write_datagram();
    else {
      printf("{\"did\":\"%s\"", what);
      if (strcmp(what, "view") == 0) result = new_view();
      else if (strcmp(what, "take") == 0) result = take_message(hex());
      else if (strcmp(what, "shown") == 0) shown();
      else if (strcmp(what, "camera") == 0) camera();
      else if (strcmp(what, "apply") == 0) is_applied = number() != 0;
      else if (strcmp(what, "say") == 0) result = isthmus_datagrams_say(&link_, hex());
      else say_written(what);
    }
    printf(",\"result\":%d}\n", result);
    fflush(stdout);
    while (held_count > 0) free(held[--held_count]);
  }
  free(line);
  free(view.entities);
  free(view.frames);
  free(link_.message);
  return 0;
}
