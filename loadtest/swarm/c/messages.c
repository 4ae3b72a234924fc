// What clients say while they are in, and what is looked at in what comes.
//
// Looked at: the type; of FRAME and VALUES stream, frame, tick and the echo in `own`; the numbers of structure messages,
// none of which may be missing; CLOSE. Everything else, records of entities above all, is passed over: that it is true
// is for probes to say. Invariant: whatever frame came is named in the next INPUT (§2, §9.4).
#include "swarm.h"

#include <string.h>

enum { T_KEYFRAME = 30, OWN_BYTES = 32, EARLIER_BITS = 64, AFTER = 0x80000000u };

static void put_u32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = value >> (24 - 8 * i);
}

static void say(struct client *c, uint8_t *message, size_t bytes) {
    if (!c->link) { send_frame(c, 2, message, bytes); return; }
    // Over datagrams there is one more item: which frames before that one came.
    message[0]++;
    message[bytes] = 0xcf;
    put_u32(message + bytes + 1, c->earlier >> 32);
    put_u32(message + bytes + 5, (uint32_t)c->earlier);
    send_datagram(c, message, bytes + EARLIER_BYTES);
}

static uint32_t clock_ms(double t) {
    return (uint32_t)((t - start_s) * 1000);
}

void send_input(struct client *c, double t) {
    uint8_t m[INPUT_BYTES + EARLIER_BYTES] = {0};
    size_t bytes = INPUT_BYTES;
    uint32_t stamp_ms = clock_ms(t), i = c - clients + first;
    c->seq++;
    // A new direction every two seconds, another for each client.
    uint32_t turn = (i * 2654435761u) ^ ((c->seq / 20) * 40503u);
    int8_t move_x = (int8_t)((int)(turn >> 8 & 127) - 63), move_z = (int8_t)((int)(turn >> 16 & 127) - 63);
    const uint8_t command[8] = {(uint8_t)move_x, (uint8_t)move_z, turn, turn >> 8, 0, 0, command_steps, 0};
    if (mode == ISTHMUS) {
        m[0] = 0x95; m[1] = 2; // [2, seq, frame, stamp, commands]
        m[2] = m[7] = m[12] = 0xce;
        put_u32(m + 3, c->seq); put_u32(m + 8, c->frame); put_u32(m + 13, stamp_ms);
        m[17] = 0xc4; m[18] = sizeof command;
        memcpy(m + 19, command, sizeof command);
    } else if (mode == COLYSEUS) {
        m[0] = 17; m[1] = 0xa1; m[2] = 'i'; // room message "i" with bytes
        put_u32(m + 3, c->seq); put_u32(m + 7, stamp_ms);
        memcpy(m + 11, command, sizeof command);
    } else if (mode == NENGI) {
        const uint8_t tick[] = {1, 1, 10}, move[] = {6, 1, 3}; // one message of its engine, and one command
        memcpy(m, tick, 3);
        put_u32(m + 3, c->seq & 0xffff); // an entity's number, which is none, and the tick: u16 each
        memcpy(m + 7, move, 3);
        put_u32(m + 12, c->seq); put_u32(m + 16, stamp_ms);
        m[20] = command[0]; m[21] = command[1];
        bytes = NENGI_INPUT_BYTES;
    } else {
        m[0] = 2;
        put_u32(m + 1, c->seq); put_u32(m + 5, c->frame); put_u32(m + 9, stamp_ms);
        memcpy(m + 13, command, sizeof command);
    }
    say(c, m, bytes);
    inputs_sent++;
}

void send_ack(struct client *c, double t) {
    uint8_t m[12 + EARLIER_BYTES] = {0x93, 3, 0xce, 0, 0, 0, 0, 0xce};
    put_u32(m + 3, c->frame);
    put_u32(m + 8, clock_ms(t));
    say(c, m, 12);
    acks_sent++;
}

// A frame came. False: it had come, or is too old to be acknowledged (§9.4).
static bool note_frame(struct client *c, uint32_t frame) {
    uint32_t ahead = frame - c->frame, behind = c->frame - frame;
    if (ahead == 0) return false;
    if (ahead < AFTER) {
        c->skipped += ahead - 1;
        // Bit 0 is the one that was the newest, unless there was none.
        uint64_t kept = c->frame ? c->earlier << 1 | 1 : 0;
        c->earlier = ahead <= EARLIER_BITS ? kept << (ahead - 1) : 0;
        c->frame = frame;
        return true;
    }
    uint64_t bit = behind <= EARLIER_BITS ? (uint64_t)1 << (behind - 1) : 0;
    if (!bit || c->earlier & bit) return false;
    c->earlier |= bit;
    c->skipped--;
    return true;
}

// How long an input took there and back: now, less when its echo was said, less how long the server held it (§4).
static void take_own(struct client *c, isthmus_bytes own, double t) {
    if (own.bytes != OWN_BYTES) return;
    const uint8_t *at = own.at;
    uint32_t stamp_ms = at[4] | at[5] << 8 | at[6] << 16 | (uint32_t)at[7] << 24, hold_ms = at[8] | at[9] << 8;
    if (stamp_ms == c->stamp_ms) return;
    c->stamp_ms = stamp_ms;
    note(&trips, (t - start_s) - (stamp_ms + hold_ms) * 1e-3);
}

static void take_frame(struct client *c, isthmus_reader *items, double t) {
    isthmus_next(items); // the stream: a client has one, or (a television) is told of another before
    uint32_t frame = isthmus_next(items).whole;
    double tick = isthmus_next(items).whole;
    isthmus_next(items);
    if (items->bad) { die(c, "a FRAME that cannot be read"); return; }
    if (mode == TV && frame != c->frame + 1) { die(c, "frame %u came after %u", frame, c->frame); return; }
    if (c->state != JOINED || !note_frame(c, frame)) return;
    c->frames++;
    note(&delays, t - tick / rate_hz);
    isthmus_value own = isthmus_next(items);
    if (!items->bad) take_own(c, own.bytes, t);
}

// `sseq` counts up by one per structure message of a stream (§5).
static void take_structure(struct client *c, isthmus_reader *items) {
    uint32_t sseq = isthmus_next(items).whole;
    if (sseq != c->sseq + 1) die(c, "structure message %u came after %u", sseq, c->sseq);
    c->sseq = sseq;
}

static void take_close(struct client *c, isthmus_reader *items) {
    uint32_t code = isthmus_next(items).whole;
    isthmus_next(items);
    isthmus_bytes text = isthmus_next(items).bytes;
    // A session that goes on over datagrams replaces itself (§9.3).
    if (c->state == OPENING && code == 4303) return;
    if (items->bad) text.bytes = 0;
    die(c, "CLOSE %u: %.*s", code, (int)text.bytes, text.bytes ? (const char *)text.at : "");
}

static void take_of_a_peer(struct client *c, double t) {
    c->frames++;
    if (c->state != HELLO_SENT) return;
    became_joined(c, t);
    if (mode == COLYSEUS) { const uint8_t ok = 10; send_frame(c, 2, &ok, 1); }
}

void take_message(struct client *c, const uint8_t *p, size_t have, double t) {
    c->messages++;
    if (mode != ISTHMUS && mode != TV) { take_of_a_peer(c, t); return; }
    isthmus_bytes message = {p, have};
    isthmus_reader items = isthmus_read(message);
    if (isthmus_next(&items).kind != ISTHMUS_ARRAY) { die(c, "not an Isthmus message"); return; }
    switch (isthmus_next(&items).whole) {
        case ISTHMUS_FRAME: case ISTHMUS_VALUES: take_frame(c, &items, t); break;
        case ISTHMUS_WELCOME: on_welcome(c, message, t); break;
        case ISTHMUS_TOKEN: on_token(c, message, t); break;
        case ISTHMUS_CLOSE: take_close(c, &items); break;
        case ISTHMUS_STRUCTURE: case ISTHMUS_CHAT: case ISTHMUS_PRESENCE: case ISTHMUS_NOTICE: case ISTHMUS_MOVE:
        case ISTHMUS_SCHEMA: case ISTHMUS_EVENT: case ISTHMUS_ANSWER:
            // A television's are of two streams, its own and its channel's (§10.2).
            if (mode == ISTHMUS) take_structure(c, &items);
            break;
        case T_KEYFRAME:
            isthmus_next(&items);
            isthmus_next(&items);
            c->frame = isthmus_next(&items).whole;
            c->keyframes++;
            break;
        default: break;
    }
}
