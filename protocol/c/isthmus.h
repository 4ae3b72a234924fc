/* The Isthmus wire (../STANDARD.md), for an engine that is written in C or can call it.
 *
 * Decides: what bytes from a server mean, where each entity, head and hand is shown, and what a client's own messages
 * and datagrams look like. "§" below are chapters of the standard.
 *
 * Invariants: nothing is allocated, no clock is read, nothing is locked, there is no global state: all memory is the
 * caller's. Work for a message is bounded by its bytes and by `numbers`. Any bytes may be given; what is not a message
 * is answered with ISTHMUS_MALFORMED and changes nothing. One thread at a time for one `isthmus` or
 * `isthmus_datagrams`.
 *
 * Not responsible for: sockets and WebSocket framing; SHA-256 and ChaCha20-Poly1305 (`isthmus_cipher` is the engine's
 * own crypto library); prediction (../WALKING.md); whether texts are UTF-8; what a component or a payload means.
 */
#ifndef ISTHMUS_H
#define ISTHMUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a function answers: 0 or above is fine. After a negative one of isthmus_take or isthmus_datagrams_next end the
 * connection and come back with the resume ticket: the view may be half of two messages. */
enum {
  ISTHMUS_OK = 0,
  ISTHMUS_DROPPED = 1,    /* values of another stream, had before, too old, or no room for them: as if they were lost */
  ISTHMUS_WAITS = 2,      /* values that wait for a structure message; applied by the call that brings it */
  ISTHMUS_MALFORMED = -1, /* no message, or not of the form in the standard */
  ISTHMUS_BROKEN = -2,    /* well-formed, but the server said what it must not say here */
  ISTHMUS_FULL = -3       /* an entity's number is not below `numbers`, or a message longer than `message_room` */
};

/* Bytes inside a message, valid as long as those are. `at` is NULL where the wire says nil. Texts have no zero. */
typedef struct {
  const uint8_t *at;
  size_t bytes;
} isthmus_bytes;

/* ------------------------------------------------------------------------------------------------- §1 msgpack
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

/* --------------------------------------------------------------------------------------- §3 server to client */
enum {
  ISTHMUS_WELCOME = 16, ISTHMUS_STRUCTURE = 17, ISTHMUS_FRAME = 18, ISTHMUS_CHAT = 19, ISTHMUS_PRESENCE = 20,
  ISTHMUS_NOTICE = 21, ISTHMUS_MOVE = 22, ISTHMUS_SCHEMA = 23, ISTHMUS_CLOSE = 24, ISTHMUS_EVENT = 25,
  ISTHMUS_ANSWER = 26, ISTHMUS_TOKEN = 27, ISTHMUS_VALUES = 28, ISTHMUS_CHANNEL = 29, ISTHMUS_KEYFRAME = 30,
  ISTHMUS_CAMERA = 31, ISTHMUS_POSES = 32, ISTHMUS_CROWD = 33
};

/* An integer, or nil. */
typedef struct {
  bool is;
  uint64_t value;
} isthmus_maybe;

typedef struct {
  uint64_t version, session;
  int64_t tick;
  isthmus_maybe body; /* nil: an observer or a television */
  uint32_t generation, stream, steps_per_tick, idle_ack_ms, acted;
  double rate_hz, radius_m, near_radius_m;
  double anchor[3]; /* degrees, degrees, metres; only if has_anchor */
  bool has_anchor;
  isthmus_bytes resume, world, profile, schema_hash, map, attribution, server;
  isthmus_bytes schema; /* msgpack, {NULL} if the hash in HELLO matched */
} isthmus_welcome;

/* A block's columns, checked; to be read by the functions that take the message. */
typedef struct {
  const uint8_t *at[11];
  uint16_t count[4];
  size_t rest; /* bytes behind the last column */
} isthmus_columns;

typedef struct {
  int64_t tick;
  uint32_t frame, next; /* next: the change that isthmus_next_change says next */
  int32_t origin[3];
  isthmus_columns columns;
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
  uint32_t stream, frame, sseq;
  bool has_own, has_origin;
  isthmus_own own;
  int32_t origin[3];
  isthmus_columns columns; /* count: deltas, fulls */
} isthmus_values;

/* Where a television looks from (§10.5), in grid units. */
typedef struct {
  int64_t tick;
  uint32_t stream, move_ms;
  isthmus_maybe entity;
  int32_t eye[3], look[3];
  isthmus_bytes text;
} isthmus_camera;

typedef struct {
  int64_t tick;
  uint32_t stream, sseq;
  uint32_t next, sample, left; /* where isthmus_next_pose is: the row, the sample, how many more of the row before */
  isthmus_columns columns;     /* count: near, mid, samples */
} isthmus_poses;

typedef struct {
  int64_t tick;
  uint32_t stream;
  isthmus_columns columns; /* count: cells, and the side of a cell in metres */
} isthmus_crowd;

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
    struct { uint32_t code; isthmus_maybe retry_after_ms; isthmus_bytes text; } close;
    struct { isthmus_maybe entity; isthmus_bytes name, payload; } event; /* payload is msgpack */
    struct { uint32_t number, code; isthmus_bytes value; } answer;       /* value is msgpack */
    struct { isthmus_bytes address, key_up, key_down, text; uint32_t number, within_ms; } token; /* address NULL: no */
    struct { uint32_t code, stream, behind_ms; double rate_hz; isthmus_bytes name, title, text; } channel;
    struct { int64_t tick; uint32_t stream, frame, parts; } keyframe;
    isthmus_camera camera;
    isthmus_poses poses;
    isthmus_crowd crowd;
  } as;
} isthmus_message;

/* What a message says, by itself. ISTHMUS_OK or ISTHMUS_MALFORMED. `out` points into `message`. */
int isthmus_decode(isthmus_bytes message, isthmus_message *out);

/* --------------------------------------------------------------------------------------- §4 records and blocks
 * Where an entity was at `tick` and how fast it went: grid units of 1/128 m, 1/16 of them per tick, 1/256 turn. */
typedef struct {
  int64_t tick;
  int32_t p[3];
  int16_t v[3];
  uint16_t number;
  uint8_t yaw;
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

/* Takes the changes of a STRUCTURE in the order in which they are applied; false behind the last one. */
bool isthmus_next_change(isthmus_structure *structure, isthmus_change *out);

/* Metres from the world's origin at `tick` (with fraction), and radians. */
void isthmus_shown(const isthmus_record *record, double tick, double out_m[3]);
double isthmus_yaw_rad(const isthmus_record *record);

/* ------------------------------------------------------------------------------------------------ §5 a view */
typedef struct {
  uint64_t id;
  int64_t posed;         /* tick of the newest POSES about it; -1: none */
  isthmus_record record; /* of the greatest frame: what is shown */
  uint32_t entered;      /* sseq of its enter */
  uint32_t frame;        /* that brought the record, if it is valued; else its enter did */
  uint16_t kind;
  bool held, valued;
} isthmus_entity;

/* One datagram's VALUES: their records, which later deltas refer to, or the message while it waits (§9.4). */
enum { ISTHMUS_DATAGRAM_BYTES = 1200, ISTHMUS_FRAMES = 512, ISTHMUS_FRAME_RECORDS = 120 };
typedef struct {
  uint32_t frame, sseq;
  uint16_t records, waits; /* waits: bytes of the message */
  union {
    isthmus_record record[ISTHMUS_FRAME_RECORDS];
    uint8_t message[ISTHMUS_DATAGRAM_BYTES];
  } as;
} isthmus_frame;

/* Zero it, set the first four, and give it what the server says; read what you like in the rest. */
typedef struct {
  isthmus_entity *entities; /* [numbers] */
  uint32_t numbers;         /* entities' numbers are below this: 1024, or less to refuse crowds */
  isthmus_frame *frames;    /* [ISTHMUS_FRAMES] (2 MB) if this connection goes over UDP: INPUT and ACK name earlier
                             * frames then. NULL: it does not */
  bool welcomed;
  bool television; /* profile tv: entities and camera are a channel's (§10) */
  bool watching, begun;  /* a channel; and its KEYFRAME has come */
  bool has_own, has_crowd, has_camera, glides;
  uint32_t stream;
  uint32_t sseq;         /* newest structure message of the stream */
  uint32_t session_sseq; /* of a television: that of its own session */
  uint32_t parts;        /* of a KEYFRAME, that are still to come */
  uint32_t frame;        /* newest frame that came; 0: none yet */
  uint64_t earlier;      /* bit i: frame - 1 - i came */
  int64_t tick;          /* of the newest frame; of the welcome or the KEYFRAME before that */
  double rate_hz;
  isthmus_own own;
  uint32_t own_frame;
  uint32_t waiting, oldest; /* VALUES that wait, and the first frame of them */
  int64_t crowd_tick;
  isthmus_camera camera;
  double from_m[2][3];   /* where eye and look were as the camera began to glide */
} isthmus;

/* Decodes a message into `out` and applies it. Call it for each message, in the order in which a WebSocket or
 * isthmus_datagrams_next brought them. A WELCOME begins anew, with no entities. */
int isthmus_take(isthmus *view, isthmus_bytes message, isthmus_message *out);

const isthmus_entity *isthmus_find(const isthmus *view, uint32_t number); /* NULL: there is none */

/* ------------------------------------------------------------------------------ §10 to §12 what else is shown
 * The eye and what it looks at, in metres; false before the first CAMERA and while what it is tied to is not there. */
bool isthmus_camera_at(const isthmus *view, double tick, double eye_m[3], double look_m[3]);

/* One sample of somebody's head and hands (0 head, 1 left, 2 right). Of those told: `more` samples of the same number
 * follow; a first one takes the place of all that were told before of that number; `told` false: no pose any more. */
enum { ISTHMUS_HEAD = 1, ISTHMUS_LEFT = 2, ISTHMUS_RIGHT = 4 };
typedef struct {
  uint16_t number;
  bool told, first;
  uint8_t more, back_ms, tracked, turned; /* turned: whose rotation is known, bits as in tracked */
  double p_m[3][3];           /* from the feet, along the world's axes */
  double q[3][4];             /* x, y, z, w */
  double grip[2], trigger[2]; /* left, right: 0 to 1 */
} isthmus_pose;

/* Takes what is news out of a POSES that isthmus_take has answered with ISTHMUS_OK; false behind the last one. */
bool isthmus_next_pose(isthmus *view, isthmus_poses *poses, isthmus_pose *out);

/* Cell `i` of a CROWD: x and z in sides, velocity as in a record. False behind the last one. */
typedef struct {
  int32_t x, z, vx, vz;
  uint32_t count, side_m;
} isthmus_cell;
bool isthmus_crowd_cell(const isthmus_crowd *crowd, uint32_t i, isthmus_cell *out);

/* --------------------------------------------------------------------------------------- §2 client to server
 * Each writes one message and answers its bytes, or 0 if `room` is too small or an argument is not allowed. */
enum { ISTHMUS_CLIENT_MESSAGE_BYTES = 4096 };
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
size_t isthmus_put_ack(uint8_t *out, size_t room, const isthmus *view, uint32_t stamp_ms); /* the heartbeat */
size_t isthmus_put_chat(uint8_t *out, size_t room, uint32_t scope, isthmus_bytes text, const uint64_t *to);
size_t isthmus_put_act(uint8_t *out, size_t room, uint32_t number, isthmus_bytes name, isthmus_bytes payload);
size_t isthmus_put_bye(uint8_t *out, size_t room);
/* 1 to 3 samples, oldest first; of each back_ms, tracked, p_m, q (of any length but 0), grip and trigger count. */
size_t isthmus_put_pose(uint8_t *out, size_t room, uint32_t stamp_ms, const isthmus_pose *samples, size_t count);
size_t isthmus_put_watch(uint8_t *out, size_t room, isthmus_bytes name, uint32_t behind_s); /* NULL: the first one */
size_t isthmus_put_datagrams(uint8_t *out, size_t room);

/* --------------------------------------------------------------------------------------------- §9 datagrams
 * The engine's crypto library. `engine` is handed through. Additional data, plaintext and sealed bytes lie in memory of
 * their own; `out` has room for 16 bytes more (seal) or less (open) than there are. */
typedef struct {
  void *engine;
  void (*sha256)(void *engine, isthmus_bytes bytes, uint8_t out[32]);
  /* ChaCha20-Poly1305 (RFC 8439), the tag last; open answers false where the tag is wrong. */
  bool (*seal)(void *engine, const uint8_t key[32], const uint8_t nonce[12], isthmus_bytes with, isthmus_bytes plain,
               uint8_t *out);
  bool (*open)(void *engine, const uint8_t key[32], const uint8_t nonce[12], isthmus_bytes with, isthmus_bytes sealed,
               uint8_t *out);
} isthmus_cipher;

enum { ISTHMUS_WINDOW = 65536, ISTHMUS_MESSAGE_BYTES = 1048576 };

/* One connection (200 KB). Zero it, set the first three, then isthmus_datagrams_begin. */
typedef struct {
  isthmus_cipher cipher;
  uint8_t *message;    /* the message that comes in on the reliable stream */
  size_t message_room; /* ISTHMUS_MESSAGE_BYTES takes each that the standard allows */
  uint8_t key_up[32], key_down[32], binding[16];
  uint32_t number;
  uint64_t sequence;              /* of the newest sent */
  uint64_t newest, had[256];      /* of those that came: s at s % 256 */
  isthmus_reader parts;           /* of `plain`, that isthmus_datagrams_next has still to look at */
  uint8_t plain[ISTHMUS_DATAGRAM_BYTES];
  uint32_t received;              /* bytes of the stream that came without a gap, modulo 2^32 */
  size_t message_bytes;           /* of them, that belong to the message that is not whole; 4 of size in front */
  uint8_t size[4];
  uint32_t acked, sent, said;     /* of the stream that goes out: what the server has, what was sent, its end */
  uint32_t acked_ms, patience_ms; /* when the server last had more, and how long to wait before sending again */
  uint8_t out[ISTHMUS_WINDOW];    /* by offset modulo its size */
  uint16_t in[ISTHMUS_WINDOW];    /* the same; 0: it has not come */
} isthmus_datagrams;

/* With a TOKEN whose address is not NULL, and `session` of WELCOME. False: no such token can be used. */
bool isthmus_datagrams_begin(isthmus_datagrams *link, const isthmus_message *token, uint64_t session);
/* A message for the reliable stream: all but INPUT, ACK and POSE; HELLO first. False: no room until more of it came. */
bool isthmus_datagrams_say(isthmus_datagrams *link, isthmus_bytes message);
/* One datagram to be sent: what of the stream is due, and `lossy` (INPUT, ACK or POSE; {NULL}: none). 0: too long. Call
 * it at each tick, and on while isthmus_datagrams_due. `now_ms` is any clock that wraps at 2^32. */
size_t isthmus_datagrams_write(isthmus_datagrams *link, uint8_t out[ISTHMUS_DATAGRAM_BYTES], isthmus_bytes lossy,
                               uint32_t now_ms);
bool isthmus_datagrams_due(const isthmus_datagrams *link); /* more of the stream was never sent */
/* A datagram that came. False: it is dropped, and has changed nothing. True: take all messages with _next. */
bool isthmus_datagrams_read(isthmus_datagrams *link, isthmus_bytes datagram, uint32_t now_ms);
/* ISTHMUS_OK and a message for isthmus_take, valid until the next call; ISTHMUS_DROPPED: no more. */
int isthmus_datagrams_next(isthmus_datagrams *link, isthmus_bytes *message);

#ifdef __cplusplus
}
#endif
#endif
