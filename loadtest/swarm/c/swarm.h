// What the sources of the swarm share: tens of thousands of clients in one thread, which measure and do not decode.
//
// main.c       options, the loop, the pace of joins and of what clients say, control lines
// join.c       how a client comes in: TCP, upgrade, HELLO, and from there to datagrams if that is wanted
// websocket.c  WebSocket frames out, and the walk over those that come
// parts.c      datagrams as bytes: heads, parts, the stream that comes in
// datagrams.c  sealed datagrams in batches, the reliable stream, what is acknowledged (protocol/STANDARD.md, chapter 9)
// messages.c   what clients say, and what is looked at in what comes
// window.c     counting over a window, and its JSON
//
// Invariants: a client is in one state, and leaves DEAD never; whatever the standard has a client acknowledge is
// acknowledged. Not responsible for: the truth of what comes (records of entities are passed over).
#ifndef SWARM_H
#define SWARM_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parts.h"

enum mode { ISTHMUS, TV, PLAIN, COLYSEUS, NENGI };
// UPGRADE to OPENING: connected and not in yet. ASKED: DATAGRAMS was said. OPENING: HELLO went over UDP.
enum state { UNBORN, MATCH_CONNECT, MATCH_REPLY, CONNECT, UPGRADE, HELLO_SENT, ASKED, OPENING, JOINED, DEAD };
enum {
    HEAD_BYTES = 64,          // of a message are looked at: up to the end of FRAME's `own`
    KEEP_BYTES = 14 + HEAD_BYTES,
    TEXT_BYTES = 8192,        // of an HTTP answer
    INPUT_BYTES = 27,         // as it is said over WebSocket; peers get as many, nengi in its own form
    NENGI_INPUT_BYTES = 22,
    EARLIER_BYTES = 9,        // more of it over datagrams
    REASON_BYTES = 96,
};

// What is over datagrams of one client (chapter 9).
struct link {
    uint32_t number;
    uint8_t key_up[32], key_down[32], context[CONTEXT_BYTES];
    uint64_t sequence;        // the last one sent
    sequences window;
    inflow inflow;
    uint8_t *hello;           // all that the client says reliably, its size in front; NULL: the server has it
    size_t hello_bytes, hello_had;
    double opened_s, hello_s, wait_s; // when it was said first and last, and how long that is waited for
    bool ack_due, queued;     // stream bytes came since the last datagram; keep_streams looks after it
    double ack_at_s;
    int socket;
    uint64_t taken;           // datagrams that opened and were new
    uint64_t newest0, taken0;
};

struct client {
    int fd;                   // -1: closed
    enum state state;
    uint32_t seq, frame;      // last input sent, newest frame seen
    uint64_t earlier;         // bit i: frame - 1 - i came
    uint32_t sseq, stamp_ms;  // last structure message; of the last `own` that was looked at
    uint64_t skip;            // payload bytes of the current message still to be passed over
    uint8_t keep[KEEP_BYTES]; // WebSocket header and first payload bytes of the current message
    int kept;
    uint8_t *whole;           // a message that is kept whole, or the HTTP answer
    size_t whole_bytes, whole_has;
    char path[128];
    uint64_t session;
    struct link *link;        // NULL: over WebSocket
    uint64_t bytes, messages, frames, skipped, keyframes;
    uint64_t bytes0, messages0, frames0, skipped0, keyframes0;
    double last_s, gap_s, connect_s;
};

extern struct client *clients;
extern int count, first, joined, dead, in_flight, epoll_fd;
extern enum mode mode;
extern bool over_udp;
extern const char *host, *port, *path, *subprotocol, *room;
extern double start_s, rate_hz, inputs_per_s;
extern int command_steps, clients_per_socket;
extern uint64_t inputs_sent, acks_sent, send_short;
extern double slowest_join_s;
// epoll's data: below SOCKETS_FROM a client, from there on a UDP socket.
enum { SOCKETS_FROM = 1 << 30, CONTROL = -1 };

// main.c
double now_s(void);
void watch(int fd, uint32_t events, uint32_t who, bool anew);

// join.c
void load_hellos(const char *name);
void resolve(void);
void begin_join(struct client *c, double t);
void on_joining(struct client *c);                // its socket can be read or written, before it is in
void on_welcome(struct client *c, isthmus_bytes message, double t);
void on_token(struct client *c, isthmus_bytes message, double t);
void became_joined(struct client *c, double t);
void die(struct client *c, const char *why, ...) __attribute__((format(printf, 2, 3)));

// websocket.c
void send_text(struct client *c, const void *data, size_t bytes);
void send_frame(struct client *c, int opcode, const uint8_t *payload, size_t bytes);
void walk(struct client *c, const uint8_t *p, size_t bytes, double t);
void on_stream(struct client *c);                 // its TCP socket can be read, and it is upgraded

// datagrams.c
void prepare_datagrams(void);
void open_link(struct client *c, const isthmus_message *token, double t);
void send_datagram(struct client *c, const uint8_t *message, size_t bytes); // bytes 0: only what is due
void flush_datagrams(void);
void on_socket(int socket);
double keep_streams(double t);                    // says again what is due; how long nothing more is
struct datagram_counts { uint64_t out, out_bytes, acks, unread, repeated, hellos_again, refused, calls_in, calls_out; };
extern struct datagram_counts datagrams;

// messages.c
void send_input(struct client *c, double t);
void send_ack(struct client *c, double t);
void take_message(struct client *c, const uint8_t *p, size_t have, double t);

// window.c
struct histogram;
extern struct histogram delays, trips;             // of frames behind the earliest; of inputs there and back
void note(struct histogram *h, double s);
void tally(const char *reason);
void begin_window(uint64_t late);
void end_window(uint64_t late);
void say_ready(double t);

#endif
