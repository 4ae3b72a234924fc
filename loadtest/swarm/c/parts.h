// Datagrams as bytes (protocol/STANDARD.md §9.2, §9.3): heads, which sequences came, parts, the stream that comes in.
//
// Lighter than isthmus_datagrams of protocol/c, which keeps for one client what an engine needs: here there are tens of
// thousands, and each acknowledges for itself. Neither seals nor opens. Not responsible for: when something is said.
#ifndef PARTS_H
#define PARTS_H
#include "isthmus.h"

enum { SEALED_HEAD_BYTES = 13, NONCE_BYTES = 12, TAG_BYTES = 16, CONTEXT_BYTES = 16 };

/* The bytes whose SHA-256 begins with the 16 bytes of context; answers how many, 0 if `room` is too small. */
size_t datagram_context(uint8_t *out, size_t room, uint64_t session, uint32_t number, isthmus_bytes address);
void datagram_head(uint8_t out[SEALED_HEAD_BYTES], uint32_t number, uint64_t sequence);
void datagram_nonce(uint8_t out[NONCE_BYTES], uint64_t sequence);
/* False: drop it. Says only what stands in front; nothing is proven before the engine unsealed it. */
bool datagram_open(isthmus_bytes datagram, uint32_t *number, uint64_t *sequence, isthmus_bytes *sealed);

/* Which sequences came. Zeroed at first. */
typedef struct {
  uint64_t newest;
  uint64_t had[4]; /* bit s % 256 */
} sequences;
bool sequences_take(sequences *window, uint64_t sequence); /* false: had, or too old; ask after unsealing */

enum { PART_STREAM = 1, PART_MESSAGE = 2, PART_OPENING = 3 };
typedef struct {
  uint8_t kind;
  uint32_t offset; /* of a stream part */
  isthmus_bytes bytes;
} part;

/* False if it is too short or its parts do not end where it ends: then drop the whole datagram. */
bool plain_open(isthmus_bytes plain, uint32_t *received, isthmus_reader *parts);
bool plain_next(isthmus_reader *parts, part *out); /* false behind the last one */
size_t plain_begin(uint8_t *out, size_t room, uint32_t received);
/* Appends a part to `used` bytes; answers the new `used`, or 0 if there is no room for it. */
size_t plain_part(uint8_t *out, size_t room, size_t used, const part *part);

/* The reliable stream that comes in. Parts may come in any order and twice. */
enum { UNACKNOWLEDGED_BYTES = 65536, ISLANDS = 32 };
#define INFLOW_BYTES ((size_t)ISTHMUS_MESSAGE_BYTES + 4 + UNACKNOWLEDGED_BYTES)

typedef struct {
  uint8_t *memory;
  size_t room, taken, whole; /* memory[taken .. whole) came without a gap and was not taken yet */
  uint32_t received;         /* for plain_begin: what came without a gap, modulo 2^32 */
  uint32_t islands;          /* pieces behind a gap: [from, to) counted from `received` */
  struct { uint32_t from, to; } island[ISLANDS];
} inflow;

/* With INFLOW_BYTES it takes each message that the standard allows; twice as much moves bytes less often. With
 * less it ends with ISTHMUS_FULL at a message that does not fit. INFLOW_MEMORY below 65,540 bytes. */
int inflow_init(inflow *inflow, uint8_t *memory, size_t bytes);
/* A stream part. Take all messages out before the next one. ISTHMUS_DROPPED: not kept, the server sends it again. */
int inflow_put(inflow *inflow, uint32_t offset, isthmus_bytes bytes);
/* The next whole message; valid until the next put. ISTHMUS_DROPPED: there is none yet. */
int inflow_take(inflow *inflow, isthmus_bytes *message);
enum { INFLOW_MEMORY = -100 };
#endif
