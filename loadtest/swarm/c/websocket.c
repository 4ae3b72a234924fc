// WebSocket (RFC 6455) as far as a client of ours needs it: frames out, and a walk over those that come.
//
// Of a message its first bytes are looked at and the rest is passed over, but for those that must be read whole before
// a client is in. Not responsible for: what is in them (messages.c).
#include "swarm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SCRATCH_BYTES = 1 << 18, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

void send_text(struct client *c, const void *data, size_t bytes) {
    // These few bytes always fit into an idle socket's buffer; if not, the server has stopped reading.
    if (send(c->fd, data, bytes, MSG_NOSIGNAL) != (ssize_t)bytes) send_short++;
}

void send_frame(struct client *c, int opcode, const uint8_t *payload, size_t bytes) {
    uint8_t out[8 + ISTHMUS_CLIENT_MESSAGE_BYTES] = {0x80 | opcode};
    size_t head = 2;
    if (bytes > ISTHMUS_CLIENT_MESSAGE_BYTES) { die(c, "a message of %zu bytes", bytes); return; }
    if (bytes < 126) out[1] = 0x80 | bytes;
    else { out[1] = 0x80 | 126; out[2] = bytes >> 8; out[3] = bytes; head = 4; }
    const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    memcpy(out + head, mask, 4);
    head += 4;
    for (size_t i = 0; i < bytes; i++) out[head + i] = payload[i] ^ mask[i & 3];
    send_text(c, out, head + bytes);
}

// A client reads its messages whole until it is in: WELCOME and TOKEN say what it needs.
static bool reads_whole(const struct client *c) {
    return c->state < JOINED && (mode == ISTHMUS || mode == TV);
}

static void took_whole(struct client *c, double t) {
    uint8_t *whole = c->whole;
    c->whole = NULL;
    take_message(c, whole, c->whole_bytes, t);
    free(whole);
}

static void control_frame(struct client *c, int opcode, const uint8_t *p, size_t bytes) {
    if (opcode == PING) send_frame(c, PONG, p, bytes);
    else if (opcode == CLOSE && c->state != OPENING)
        die(c, "closed by the server with %d", bytes < 2 ? 0 : p[0] << 8 | p[1]);
}

void walk(struct client *c, const uint8_t *p, size_t bytes, double t) {
    while (bytes > 0 && c->state != DEAD && c->fd >= 0) {
        if (c->whole || c->skip) {
            uint64_t wanted = c->whole ? c->whole_bytes - c->whole_has : c->skip;
            size_t n = wanted < bytes ? wanted : bytes;
            if (c->whole) {
                memcpy(c->whole + c->whole_has, p, n);
                c->whole_has += n;
            } else c->skip -= n;
            p += n;
            bytes -= n;
            if (c->whole && c->whole_has == c->whole_bytes) took_whole(c, t);
            continue;
        }
        c->keep[c->kept++] = *p++;
        bytes--;
        if (c->kept < 2) continue;
        int small = c->keep[1] & 127, head = small == 126 ? 4 : small == 127 ? 10 : 2, opcode = c->keep[0] & 15;
        if (c->kept < head) continue;
        uint64_t size = small;
        if (head > 2) { size = 0; for (int i = 2; i < head; i++) size = size << 8 | c->keep[i]; }
        if (opcode == BINARY && size > 0 && reads_whole(c)) {
            c->kept = 0;
            if (size > ISTHMUS_MESSAGE_BYTES) { die(c, "a message of %llu bytes", (unsigned long long)size); return; }
            c->whole = malloc(size);
            c->whole_bytes = size;
            c->whole_has = 0;
            continue;
        }
        uint64_t wanted = size < HEAD_BYTES ? size : HEAD_BYTES;
        if ((uint64_t)c->kept < head + wanted) continue;
        c->kept = 0;
        c->skip = size - wanted;
        if (opcode == BINARY) take_message(c, c->keep + head, wanted, t);
        else control_frame(c, opcode, c->keep + head, wanted);
    }
}

void on_stream(struct client *c) {
    static uint8_t scratch[SCRATCH_BYTES];
    if (c->state == DEAD || c->fd < 0) return;
    ssize_t n = recv(c->fd, scratch, sizeof scratch, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        // The server ends the connection of a session that has gone on over datagrams.
        if (c->state != OPENING) die(c, "the connection ended");
        else { close(c->fd); c->fd = -1; }
        return;
    }
    double t = now_s();
    if (c->last_s > 0 && t - c->last_s > c->gap_s) c->gap_s = t - c->last_s;
    c->last_s = t;
    c->bytes += n;
    walk(c, scratch, n, t);
}
