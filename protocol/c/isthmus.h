/* The Isthmus wire (../STANDARD.md), for an engine that is written in C or can call it.
 *
 * Decides: what bytes from a server mean, where each entity is shown, and what a client's own messages look like.
 *
 * Invariants: nothing is allocated, no clock is read, nothing is locked, there is no global state: all memory is the
 * caller's and is given once. Work for a message is bounded by its bytes, by `numbers` and by `records`. Any bytes may
 * be given; what is not a message is answered with ISTHMUS_MALFORMED and changes nothing. One thread at a time for one
 * `isthmus` (or `isthmus_inflow`).
 *
 * Not responsible for: sockets and WebSocket framing; SHA-256 and ChaCha20-Poly1305 (the engine's own crypto library
 * seals and opens, isthmus_datagram_* give it all that it needs); sending the client's reliable stream again;
 * prediction (../WALKING.md); whether texts are UTF-8; what a component or a payload means.
 */
#ifndef ISTHMUS_H
#define ISTHMUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a function answers: 0 or above is fine. After a negative one of isthmus_take or isthmus_inflow_* end the
 * connection and come back with the resume ticket: the view may be half of two messages. */
enum {
  ISTHMUS_OK = 0,
  ISTHMUS_DROPPED = 1,    /* values of another stream, had before, too old, or no room for them: as if they were lost */
  ISTHMUS_WAITS = 2,      /* values that wait for a structure message; applied by the call that brings it */
  ISTHMUS_MALFORMED = -1, /* no message, or not of the form in the standard */
  ISTHMUS_BROKEN = -2,    /* well-formed, but the server said what it must not say here */
  ISTHMUS_FULL = -3,      /* an entity's number is not below `numbers`, or a message longer than inflow's memory */
  ISTHMUS_MEMORY = -4     /* memory that is too small or not aligned */
};

/* Bytes inside a message, valid as long as those are. `at` is NULL where the wire says nil. Texts have no zero. */
typedef struct {
  const uint8_t *at;
  size_t bytes;
} isthmus_bytes;

/* ------------------------------------------------------------------------------------------------------- msgpack
 * For payloads, component blobs, the schema and presence: read one value after another. The items of an array, and
 * the keys and values of a map, follow their header. */
typedef enum {
  ISTHMUS_NIL,
  ISTHMUS_BOOL,  /* whole: 0 or 1 */
  ISTHMUS_UINT,  /* whole */
  ISTHMUS_INT,   /* negative; sign is its value */
  ISTHMUS_FLOAT, /* real */
  ISTHMUS_STR,   /* bytes */
  ISTHMUS_BIN,   /* bytes */
  ISTHMUS_ARRAY, /* whole: how many items follow */
  ISTHMUS_MAP,   /* whole: how many pairs follow */
  ISTHMUS_EXT    /* bytes; not used by the standard, read over */
} isthmus_kind;

typedef struct {
  isthmus_kind kind;
  uint64_t whole;
  int64_t sign;
  double real;
  isthmus_bytes bytes;
} isthmus_value;

typedef struct {
  const uint8_t *at, *end;
  bool bad; /* stays set: read a whole message, then ask once */
} isthmus_reader;

isthmus_reader isthmus_read(isthmus_bytes bytes);
isthmus_value isthmus_next(isthmus_reader *reader);     /* the next value or header; nil when bad */
isthmus_bytes isthmus_next_raw(isthmus_reader *reader); /* the next value with all that is in it, as msgpack */

/* ------------------------------------------------------------------------------------------------------ messages */
enum {
  ISTHMUS_WELCOME = 16, ISTHMUS_STRUCTURE = 17, ISTHMUS_FRAME = 18, ISTHMUS_CHAT = 19, ISTHMUS_PRESENCE = 20,
  ISTHMUS_NOTICE = 21, ISTHMUS_MOVE = 22, ISTHMUS_SCHEMA = 23, ISTHMUS_CLOSE = 24, ISTHMUS_EVENT = 25,
  ISTHMUS_ANSWER = 26, ISTHMUS_TOKEN = 27, ISTHMUS_VALUES = 28
};

typedef struct {
  uint64_t version, session, tick, body; /* body only if has_body: an observer has none */
  uint32_t generation, stream, steps_per_tick, idle_ack_ms, acted;
  double rate_hz, radius_m, near_radius_m;
  double anchor[3]; /* degrees, degrees, metres; only if has_anchor */
  bool has_body, has_anchor;
  isthmus_bytes resume, world, profile, schema_hash, map, attribution, server;
  isthmus_bytes schema; /* msgpack, {NULL} if the hash in HELLO matched */
} isthmus_welcome;

/* Where an entity was at `tick` and how fast it went: grid units of 1/128 m, 1/16 of them per tick, 1/256 turn. */
typedef struct {
  int64_t tick;
  int32_t p[3];
  uint32_t frame; /* the FRAME or VALUES that brought it */
  int16_t v[3];
  uint8_t yaw;
  bool valued; /* false: an enter brought it; then `frame` says nothing, and over UDP no delta refers to it */
} isthmus_record;

typedef enum { ISTHMUS_LEAVE, ISTHMUS_ENTER, ISTHMUS_STATE } isthmus_change_kind;

typedef struct {
  isthmus_change_kind what;
  uint16_t number;
  uint16_t kind;         /* of an enter, as is id and record */
  uint64_t id;
  isthmus_record record;
  isthmus_bytes blob;    /* of an enter or a state: a map component key -> value, nil removes */
} isthmus_change;

typedef struct {
  int64_t tick;
  uint32_t frame, enters, leaves, states;
  int32_t origin[3];
  isthmus_bytes columns;     /* checked; for isthmus_next_change */
  uint32_t at;               /* the change that comes next */
  size_t blob_at;            /* where its blob begins in `columns` */
} isthmus_structure;

/* The own body, as far as the server has come with our commands. */
typedef struct {
  uint32_t seq, stamp_ms;
  uint16_t hold_ms;
  uint8_t flags, steps; /* flags: ISTHMUS_ON_GROUND, ISTHMUS_MOVED */
  int32_t p[3];
  int16_t v[3];
} isthmus_own;
enum { ISTHMUS_ON_GROUND = 1, ISTHMUS_MOVED = 2 };

typedef struct {
  int64_t tick;
  uint32_t stream, frame, sseq, deltas, fulls;
  bool based;   /* VALUES: each delta names the frame that it refers to */
  bool has_own;
  isthmus_own own;
  int32_t origin[3];
  isthmus_bytes columns; /* checked */
} isthmus_values;

typedef struct {
  uint32_t type; /* ISTHMUS_WELCOME and so on; of other types nothing else is set: ignore them */
  bool counted;  /* a structure message: reliable, and numbered by sseq */
  uint32_t sseq;
  union {
    isthmus_welcome welcome;
    isthmus_structure structure;
    isthmus_values values; /* FRAME and VALUES */
    struct { uint64_t from; uint32_t scope; isthmus_bytes name, text; } chat;
    struct { uint64_t online; isthmus_bytes joined, left; } presence; /* msgpack: [[id, name], ...] and [id, ...] */
    struct { uint64_t code; isthmus_bytes text; } notice;
    struct { isthmus_bytes url, ticket; uint64_t within_ms; } move;
    struct { isthmus_bytes schema, hash; } schema; /* schema is msgpack */
    struct { uint32_t code; bool has_retry; uint64_t retry_after_ms; isthmus_bytes text; } close;
    struct { bool has_entity; uint64_t entity; isthmus_bytes name, payload; } event; /* payload is msgpack */
    struct { uint32_t number, code; isthmus_bytes value; } answer;                   /* value is msgpack */
    struct { isthmus_bytes address, key_up, key_down, text; uint32_t number, within_ms; } token; /* address NULL: no */
  } as;
} isthmus_message;

/* What a message says, by itself. ISTHMUS_OK or ISTHMUS_MALFORMED. `out` points into `message`. */
int isthmus_decode(isthmus_bytes message, isthmus_message *out);

/* Takes the changes of a STRUCTURE in the order in which they are applied; false behind the last one. */
bool isthmus_next_change(isthmus_structure *structure, isthmus_change *out);

/* -------------------------------------------------------------------------------------------------------- a view */
typedef struct {
  uint64_t id;
  uint32_t entered; /* sseq of its enter */
  uint32_t earlier; /* other records of it, in no order: an index, or ISTHMUS_NONE */
  isthmus_record record; /* of the greatest frame: what is shown */
  uint32_t named;        /* the newest base that VALUES named, also of those that found no room: what is older is gone */
  uint16_t kind;
  bool held;
} isthmus_entity;

#define ISTHMUS_NONE UINT32_MAX
enum { ISTHMUS_DATAGRAM_BYTES = 1200, ISTHMUS_CLIENT_MESSAGE_BYTES = 4096 };

typedef struct {
  isthmus_record record;
  uint32_t next;
} isthmus_kept;

typedef struct {
  uint32_t frame, sseq, records; /* records: kept free for it */
  uint32_t bytes;                /* 0: the slot is free */
  uint8_t message[ISTHMUS_DATAGRAM_BYTES];
} isthmus_waiting;

typedef struct {
  uint32_t numbers; /* entities' numbers are below this: 1024, or less to refuse crowds */
  uint32_t records; /* other records that deltas of VALUES may refer to, of all entities together: 8192 is ample, less
                     * than the values of one datagram (118) too little; 0 over WebSocket */
  uint32_t waiting; /* VALUES that wait for a structure message; 0 over WebSocket */
} isthmus_limits;

/* Read what you like in it; write only `datagrams`, before HELLO is sent. */
typedef struct {
  bool datagrams;        /* this connection goes over UDP: INPUT and ACK name earlier frames too */
  bool welcomed;
  bool has_own;
  uint32_t stream;
  uint32_t sseq;         /* newest structure message */
  uint32_t frame;        /* newest frame that came; 0: none yet */
  uint64_t earlier;      /* bit i: frame - 1 - i came */
  int64_t tick;          /* of the newest frame; of the welcome before that */
  uint32_t own_frame;
  isthmus_own own;
  isthmus_limits limits;
  isthmus_entity *entities; /* [numbers] */
  isthmus_kept *kept;       /* [records] */
  isthmus_waiting *waits;   /* [waiting] */
  uint32_t free_first, free_count, reserved;
  uint32_t forgotten; /* records of frames before it may be gone, for want of room */
} isthmus;

size_t isthmus_memory_bytes(isthmus_limits limits);
/* ISTHMUS_OK, or ISTHMUS_MEMORY if memory is less than isthmus_memory_bytes says or not aligned as malloc's is. */
int isthmus_init(isthmus *view, void *memory, size_t bytes, isthmus_limits limits);

/* Decodes a message into `out` and applies it. Call it for each message, in the order in which a WebSocket or an
 * isthmus_inflow brought them (those of datagrams as they come). A WELCOME begins anew, with no entities. */
int isthmus_take(isthmus *view, isthmus_bytes message, isthmus_message *out);

const isthmus_entity *isthmus_find(const isthmus *view, uint32_t number); /* NULL: there is none */
/* Metres from the world's origin at `tick` (with fraction), and radians. */
void isthmus_shown(const isthmus_record *record, double tick, double out_m[3]);
double isthmus_yaw_rad(const isthmus_record *record);

/* ------------------------------------------------------------------------------------------- a client's messages
 * Each writes one message and answers its bytes, or 0 if `room` is too small or an argument is not allowed. */
typedef struct {
  uint32_t version_min, version_max;
  isthmus_bytes token, name, profile, resume, schema_hash, agent; /* {NULL} is nil where the standard allows it */
} isthmus_hello;

typedef struct {
  int8_t move_x, move_z;
  uint16_t yaw;
  int8_t pitch;
  uint8_t buttons, steps;
} isthmus_command;

size_t isthmus_put_hello(uint8_t *out, size_t room, const isthmus_hello *hello);
size_t isthmus_put_input(uint8_t *out, size_t room, const isthmus *view, uint32_t seq, uint32_t stamp_ms,
                         const isthmus_command *commands, size_t count);
size_t isthmus_put_ack(uint8_t *out, size_t room, const isthmus *view, uint32_t stamp_ms);
size_t isthmus_put_chat(uint8_t *out, size_t room, uint32_t scope, isthmus_bytes text, const uint64_t *to);
size_t isthmus_put_act(uint8_t *out, size_t room, uint32_t number, isthmus_bytes name, isthmus_bytes payload);
size_t isthmus_put_bye(uint8_t *out, size_t room);
size_t isthmus_put_datagrams(uint8_t *out, size_t room);

/* ----------------------------------------------------------------------------------------- datagrams (chapter 9)
 * To send: isthmus_plain_begin and _part, isthmus_datagram_head, isthmus_datagram_nonce; then seal the plaintext with
 * key_up, additional data = head + context, and send head + sealed. To receive: isthmus_datagram_open, unseal with
 * key_down, isthmus_window_take, isthmus_plain_open, isthmus_plain_next. */
enum { ISTHMUS_HEAD_BYTES = 13, ISTHMUS_NONCE_BYTES = 12, ISTHMUS_TAG_BYTES = 16, ISTHMUS_CONTEXT_BYTES = 16 };

/* The bytes whose SHA-256 begins with the 16 bytes of context; answers how many, 0 if `room` is too small. */
size_t isthmus_datagram_context(uint8_t *out, size_t room, uint64_t session, uint32_t number, isthmus_bytes address);
void isthmus_datagram_head(uint8_t out[ISTHMUS_HEAD_BYTES], uint32_t number, uint64_t sequence);
void isthmus_datagram_nonce(uint8_t out[ISTHMUS_NONCE_BYTES], uint64_t sequence);
/* False: drop it. Says only what stands in front; nothing is proven before the engine unsealed it. */
bool isthmus_datagram_open(isthmus_bytes datagram, uint32_t *number, uint64_t *sequence, isthmus_bytes *sealed);

/* Which sequences came. Zeroed at first. */
typedef struct {
  uint64_t newest;
  uint64_t had[4]; /* bit s % 256 */
} isthmus_window;
bool isthmus_window_take(isthmus_window *window, uint64_t sequence); /* false: had, or too old; ask after unsealing */

enum { ISTHMUS_PART_STREAM = 1, ISTHMUS_PART_MESSAGE = 2, ISTHMUS_PART_OPENING = 3 };
typedef struct {
  uint8_t kind;
  uint32_t offset; /* of a stream part */
  isthmus_bytes bytes;
} isthmus_part;

/* False if it is too short or its parts do not end where it ends: then drop the whole datagram. */
bool isthmus_plain_open(isthmus_bytes plain, uint32_t *received, isthmus_reader *parts);
bool isthmus_plain_next(isthmus_reader *parts, isthmus_part *out); /* false behind the last one */
size_t isthmus_plain_begin(uint8_t *out, size_t room, uint32_t received);
/* Appends a part to `used` bytes; answers the new `used`, or 0 if there is no room for it. */
size_t isthmus_plain_part(uint8_t *out, size_t room, size_t used, const isthmus_part *part);

/* The reliable stream that comes in. Parts may come in any order and twice. */
enum { ISTHMUS_UNACKNOWLEDGED = 65536, ISTHMUS_MESSAGE_BYTES = 1048576, ISTHMUS_GAPS = 32 };
#define ISTHMUS_INFLOW_BYTES ((size_t)ISTHMUS_MESSAGE_BYTES + 4 + ISTHMUS_UNACKNOWLEDGED)

typedef struct {
  uint8_t *memory;
  size_t room, taken, whole; /* memory[taken .. whole) came without a gap and was not taken yet */
  uint32_t received;         /* for isthmus_plain_begin: what came without a gap, modulo 2^32 */
  uint32_t islands;          /* pieces behind a gap: [from, to) counted from `received` */
  struct { uint32_t from, to; } island[ISTHMUS_GAPS];
} isthmus_inflow;

/* With ISTHMUS_INFLOW_BYTES it takes each message that the standard allows; twice as much moves bytes less often. With
 * less it ends with ISTHMUS_FULL at a message that does not fit. ISTHMUS_MEMORY below 65,540 bytes. */
int isthmus_inflow_init(isthmus_inflow *inflow, uint8_t *memory, size_t bytes);
/* A stream part. Take all messages out before the next one. ISTHMUS_DROPPED: not kept, the server sends it again. */
int isthmus_inflow_put(isthmus_inflow *inflow, uint32_t offset, isthmus_bytes bytes);
/* The next whole message; valid until the next put. ISTHMUS_DROPPED: there is none yet. */
int isthmus_inflow_take(isthmus_inflow *inflow, isthmus_bytes *message);

#ifdef __cplusplus
}
#endif
#endif
