// The clients of a load: tens of thousands of connections in one thread (epoll), over WebSocket or over datagrams.
//
// Modes (--mode): isthmus   clients of the standard; INPUT ten times a second, naming what came; --transport udp: each goes
//                           on over datagrams as soon as it is welcomed
//                 tv        televisions: WATCH, then ACK once a second; no frame may be missing
//                 plain     inputs are binary messages of the same size, to a server of bench/peers
//                 colyseus  a matchmaking POST comes first; inputs are room messages (bytes) of the same size
//                 nengi     inputs are what its client sends for a command (bench/peers/nengi_context.mjs)
// Client i of --first .. --first + --clients - 1 says the i-th record of --hellos, a file of records (u16 little-endian
// length, bytes); without it, it names its index in the path (?i=).
//
// Control: a line on stdin, "begin", "end" or "quit"; one JSON object a line on stdout, with its "event" first.
#include "swarm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 1024, IN_FLIGHT = 128 };
static const double ACKS_PER_S = 4;      // at least so often a client says something (§2)
static const double SILENCE_S = 3;       // over datagrams (§9.3)
static const double JOIN_S = 20;         // a client that is not in by then is lost

struct client *clients;
int count, first, joined, dead, in_flight, epoll_fd;
enum mode mode;
bool over_udp;
const char *host = "127.0.0.1", *port = "", *path = "/", *subprotocol = "", *room = "world";
double start_s, rate_hz = 20, inputs_per_s = 10;
int command_steps = 6, clients_per_socket = 64;
uint64_t inputs_sent, acks_sent, send_short;
double slowest_join_s;

static const char *const state_names[] = {"unborn", "matchmaking", "matchmaking", "connecting", "upgrading", "HELLO said",
                                          "DATAGRAMS asked for", "HELLO said over UDP", "in", "lost"};
static int next_join, announced;
static double joins_per_s = 400;

// Turns of all clients, one after the other, evenly spread over time.
struct pace {
    double per_s; // turns of each client; 0: none
    double from_s;
    uint64_t cursor, late; // turns taken; those left out because this program was too slow
};
static struct pace inputs, acks;

double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

void watch(int fd, uint32_t events, uint32_t who, bool anew) {
    struct epoll_event e = {.events = events, .data.u32 = who};
    epoll_ctl(epoll_fd, anew ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e);
}

// Takes the turns that are due; returns how long none is.
static double keep(struct pace *pace, double t, void (*say)(struct client *, double)) {
    if (pace->per_s <= 0 || count == 0) return 1;
    double slot_s = 1 / (pace->per_s * count);
    uint64_t due = (uint64_t)((t - pace->from_s) / slot_s);
    if (due > pace->cursor + count) {
        pace->late += due - count - pace->cursor;
        pace->cursor = due - count;
    }
    for (; pace->cursor < due; pace->cursor++) {
        struct client *c = &clients[pace->cursor % count];
        if (c->state != JOINED) continue;
        if (c->link && t - c->last_s > SILENCE_S) die(c, "nothing came for %g s", SILENCE_S);
        else say(c, t);
    }
    return pace->from_s + (pace->cursor + 1) * slot_s - t;
}

static double keep_joins(double t) {
    static double looked_s;
    if (in_flight && t - looked_s > 1) {
        looked_s = t;
        for (int i = 0; i < next_join; i++)
            if (clients[i].state < JOINED && t - clients[i].connect_s > JOIN_S)
                die(&clients[i], "not in after %g s, in state %s", JOIN_S, state_names[clients[i].state]);
    }
    while (next_join < count && in_flight < IN_FLIGHT && next_join < (t - start_s) * joins_per_s + 1)
        begin_join(&clients[next_join++], t);
    if (!announced && joined + dead == count) {
        announced = 1;
        say_ready(t);
    }
    return next_join < count ? 0.002 : 0.2;
}

static void on_control(void) {
    static char line[64];
    static int used;
    ssize_t n = read(0, line + used, sizeof line - 1 - used);
    if (n <= 0) exit(0);
    used += n;
    line[used] = 0;
    for (char *end; (end = strchr(line, '\n'));) {
        *end = 0;
        if (!strcmp(line, "begin")) begin_window(inputs.late + acks.late);
        else if (!strcmp(line, "end")) end_window(inputs.late + acks.late);
        else exit(0);
        used -= end + 1 - line;
        memmove(line, end + 1, used + 1);
    }
}

static int mode_of(const char *name) {
    static const char *const names[] = {"isthmus", "tv", "plain", "colyseus", "nengi"};
    for (int i = 0; i < 5; i++) if (!strcmp(name, names[i])) return i;
    fprintf(stderr, "unknown mode %s\n", name);
    exit(2);
}

int main(int argc, char **argv) {
    const char *hello_file = NULL;
    for (int i = 1; i < argc; i += 2) {
        const char *key = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(key, "--host")) host = value;
        else if (!strcmp(key, "--port")) port = value;
        else if (!strcmp(key, "--clients")) count = atoi(value);
        else if (!strcmp(key, "--first")) first = atoi(value);
        else if (!strcmp(key, "--mode")) mode = mode_of(value);
        else if (!strcmp(key, "--transport")) over_udp = !strcmp(value, "udp");
        else if (!strcmp(key, "--path")) path = value;
        else if (!strcmp(key, "--protocol")) subprotocol = value;
        else if (!strcmp(key, "--hellos")) hello_file = value;
        else if (!strcmp(key, "--joins-per-s")) joins_per_s = atof(value);
        else if (!strcmp(key, "--inputs-per-s")) inputs_per_s = atof(value);
        else if (!strcmp(key, "--clients-per-socket")) clients_per_socket = atoi(value);
        else { fprintf(stderr, "unknown option %s\n", key); return 2; }
    }
    if (!*port || count < 1 || clients_per_socket < 1 || (over_udp && !hello_file)) {
        fprintf(stderr, "--port and --clients are needed, and --hellos over UDP\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    setvbuf(stdout, NULL, _IOLBF, 0);
    clients = calloc(count, sizeof *clients);
    if (hello_file) load_hellos(hello_file);
    resolve();
    epoll_fd = epoll_create1(0);
    if (over_udp) prepare_datagrams();
    watch(0, EPOLLIN, (uint32_t)CONTROL, true);
    start_s = now_s();
    inputs = (struct pace){.per_s = mode == TV ? 0 : inputs_per_s, .from_s = start_s};
    acks = (struct pace){.per_s = mode == TV ? 1 : mode == ISTHMUS && inputs_per_s < ACKS_PER_S ? ACKS_PER_S : 0};
    acks.from_s = start_s;
    static struct epoll_event events[EVENTS];
    for (;;) {
        double t = now_s(), wait_s = keep_joins(t);
        double turns_s[] = {keep(&inputs, t, send_input), keep(&acks, t, send_ack), keep_streams(t)};
        flush_datagrams();
        for (int i = 0; i < 3; i++) if (turns_s[i] < wait_s) wait_s = turns_s[i];
        // In groups of a millisecond: a wake-up for each turn would cost more than it.
        int wait_ms = wait_s < 0.001 ? 1 : (int)(wait_s * 1000);
        int n = epoll_wait(epoll_fd, events, EVENTS, wait_ms);
        for (int i = 0; i < n; i++) {
            uint32_t who = events[i].data.u32;
            if (who == (uint32_t)CONTROL) on_control();
            else if (who >= SOCKETS_FROM) on_socket(who - SOCKETS_FROM);
            else if (clients[who].state >= HELLO_SENT) on_stream(&clients[who]);
            else on_joining(&clients[who]);
        }
    }
}
