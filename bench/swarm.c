// The clients of a benchmark run: thousands of WebSocket connections in one thread (epoll).
//
// Each client connects, upgrades, says its hello, then sends ten inputs a second (evenly spread over time and clients)
// and reads whatever comes. Messages are told apart by their WebSocket header and first bytes; nothing else is decoded:
// the probes do that. Counted are all bytes read from the sockets after the upgrade, WebSocket headers included.
//
// Modes (--mode): isthmus  inputs are INPUT messages of protocol/STANDARD.md, naming the newest FRAME seen
//                 plain    inputs are binary messages of the same size
//                 colyseus a matchmaking POST comes first; inputs are room messages (bytes) of the same size
// Client i of --first .. --first+--clients-1 names its index in the path (?i=), or by the i-th record of --hellos, a file
// of records (u16 little-endian length, bytes), each sent as one binary message.
//
// Control: a line on stdin, "begin", "end" or "quit"; one JSON object a line on stdout, with its "event" first.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum mode { ISTHMUS, PLAIN, COLYSEUS };
enum state { UNBORN, MATCH_CONNECT, MATCH_REPLY, CONNECT, UPGRADE, HELLO_SENT, JOINED, DEAD };
enum { INPUT_BYTES = 27, KEEP_BYTES = 160, TEXT_BYTES = 8192, SCRATCH_BYTES = 1 << 18 };

struct client {
    int fd;
    enum state state;
    uint32_t seq, frame;             // last input sent, newest frame seen
    uint64_t skip;                   // payload bytes of the current message still to be passed over
    uint8_t keep[KEEP_BYTES];        // WebSocket header and first payload bytes of the current message
    int kept;
    char *text;                      // HTTP answer while there is one
    int text_bytes;
    char path[256];
    uint64_t bytes, messages, frames;
    uint64_t bytes0, messages0, frames0;
    double last_s, gap_s;
    double connect_s;
};

static struct client *clients;
static const uint8_t **hellos;
static uint8_t *hello_data;
static int count, first, port, epoll_fd, joined, dead, in_flight, next_join, announced;
static enum mode mode;
static const char *path = "/", *protocol = "", *room = "world";
static double joins_per_s = 400, inputs_per_s = 10, start_s, input_start_s;
static int command_steps = 6;
static uint64_t inputs_sent, inputs_late, input_cursor, send_short;
static double slowest_join_s;
static uint8_t scratch[SCRATCH_BYTES];

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(struct client *c, const char *why) {
    if (c->state == DEAD) return;
    if (dead < 10) fprintf(stderr, "client %d lost in state %d: %s %.200s\n", (int)(c - clients) + first, c->state, why,
                           c->text ? c->text : "");
    if (c->state == JOINED) joined--; else in_flight--;
    dead++;
    close(c->fd);
    c->state = DEAD;
}

static void open_socket(struct client *c, enum state state) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) { perror("socket"); exit(1); }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = state;
    c->text_bytes = 0;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) { perror("connect"); exit(1); }
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.u32 = c - clients};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
}

static void only_reads(struct client *c) {
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = c - clients};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static void write_all(struct client *c, const void *data, int bytes) {
    // These few bytes always fit into an idle socket's buffer; if not, the server has stopped reading.
    if (send(c->fd, data, bytes, MSG_NOSIGNAL) != bytes) send_short++;
}

static void send_message(struct client *c, int opcode, const uint8_t *payload, int bytes) {
    uint8_t out[4200] = {0x80 | opcode};
    int head = 2;
    if (bytes < 126) out[1] = 0x80 | bytes;
    else { out[1] = 0x80 | 126; out[2] = bytes >> 8; out[3] = bytes; head = 4; }
    const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    memcpy(out + head, mask, 4);
    head += 4;
    for (int i = 0; i < bytes; i++) out[head + i] = payload[i] ^ mask[i & 3];
    write_all(c, out, head + bytes);
}

static void put_u32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = value >> (24 - 8 * i);
}

static void send_input(struct client *c, double t) {
    uint8_t m[INPUT_BYTES] = {0};
    uint32_t stamp_ms = (uint32_t)((t - start_s) * 1000), i = c - clients + first;
    c->seq++;
    // A new direction every two seconds, another for each client.
    uint32_t turn = (i * 2654435761u) ^ ((c->seq / 20) * 40503u);
    int8_t move_x = (int8_t)((int)(turn >> 8 & 127) - 63), move_z = (int8_t)((int)(turn >> 16 & 127) - 63);
    const uint8_t command[8] = {(uint8_t)move_x, (uint8_t)move_z, turn, turn >> 8, 0, 0, command_steps, 0};
    if (mode == ISTHMUS) {
        m[0] = 0x95; m[1] = 2;  // [2, seq, frame, stamp, commands]
        m[2] = m[7] = m[12] = 0xce;
        put_u32(m + 3, c->seq); put_u32(m + 8, c->frame); put_u32(m + 13, stamp_ms);
        m[17] = 0xc4; m[18] = sizeof command;
        memcpy(m + 19, command, sizeof command);
    } else if (mode == COLYSEUS) {
        m[0] = 17; m[1] = 0xa1; m[2] = 'i';  // room message "i" with bytes
        put_u32(m + 3, c->seq); put_u32(m + 7, stamp_ms);
        memcpy(m + 11, command, sizeof command);
    } else {
        m[0] = 2;
        put_u32(m + 1, c->seq); put_u32(m + 5, c->frame); put_u32(m + 9, stamp_ms);
        memcpy(m + 13, command, sizeof command);
    }
    send_message(c, 2, m, sizeof m);
    inputs_sent++;
}

static void upgrade(struct client *c) {
    char q[1024], offer[128] = "";
    if (*protocol) snprintf(offer, sizeof offer, "Sec-WebSocket-Protocol: %s\r\n", protocol);
    int n = snprintf(q, sizeof q, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n", c->path, port, offer);
    write_all(c, q, n);
    c->state = UPGRADE;
    only_reads(c);
}

static void became_joined(struct client *c) {
    double took_s = now_s() - c->connect_s;
    if (took_s > slowest_join_s) slowest_join_s = took_s;
    c->state = JOINED;
    joined++;
    in_flight--;
}

// An unsigned msgpack integer; advances *at. Returns 0 when there is something else.
static int read_uint(const uint8_t *p, int bytes, int *at, uint32_t *value) {
    if (*at >= bytes) return 0;
    uint8_t b = p[(*at)++];
    if (b < 0x80) { *value = b; return 1; }
    int wide = b == 0xcc ? 1 : b == 0xcd ? 2 : b == 0xce ? 4 : 0;
    if (!wide || *at + wide > bytes) return 0;
    for (*value = 0; wide--;) *value = *value << 8 | p[(*at)++];
    return 1;
}

// The start of a data message: `p` holds its first bytes (all of them if it is short).
static void message_started(struct client *c, const uint8_t *p, int bytes) {
    c->messages++;
    if (mode == ISTHMUS) {
        int at = 1;
        uint32_t type = 0, stream, frame;
        if (bytes < 2 || (p[0] & 0xf0) != 0x90 || !read_uint(p, bytes, &at, &type)) { die(c, "not an Isthmus message"); return; }
        if (type == 18 && read_uint(p, bytes, &at, &stream) && read_uint(p, bytes, &at, &frame)) { c->frame = frame; c->frames++; }
        else if (type == 16 && c->state == HELLO_SENT) became_joined(c);
        else if (type == 24) { fprintf(stderr, "CLOSE: %.*s\n", bytes, (const char *)p); die(c, "closed by the server"); }
    } else {
        c->frames++;
        if (c->state == HELLO_SENT) {
            became_joined(c);
            if (mode == COLYSEUS) { const uint8_t ok = 10; send_message(c, 2, &ok, 1); }
        }
    }
}

// Walks the stream of WebSocket messages. A message's first bytes are collected over reads; the rest is passed over.
static void walk(struct client *c, const uint8_t *p, int64_t bytes) {
    while (bytes > 0) {
        if (c->skip) {
            uint64_t n = c->skip < (uint64_t)bytes ? c->skip : (uint64_t)bytes;
            c->skip -= n; p += n; bytes -= n;
            continue;
        }
        c->keep[c->kept++] = *p++;
        bytes--;
        if (c->kept < 2) continue;
        int small = c->keep[1] & 127, head = small == 126 ? 4 : small == 127 ? 10 : 2;
        if (c->kept < head) continue;
        uint64_t size = small;
        if (head > 2) { size = 0; for (int i = 2; i < head; i++) size = size << 8 | c->keep[i]; }
        int opcode = c->keep[0] & 15;
        uint64_t wanted = opcode >= 8 ? 125 : 16;
        if (size < wanted) wanted = size;
        if ((uint64_t)c->kept < head + wanted) continue;
        c->kept = 0;
        c->skip = size - wanted;
        if (opcode == 9) send_message(c, 10, c->keep + head, wanted);
        else if (opcode == 8) { die(c, "WebSocket close"); return; }
        else if (opcode != 10 && opcode != 0) message_started(c, c->keep + head, wanted);
        if (c->state == DEAD) return;
    }
}

static int field(const char *text, const char *name, char *out, int size) {
    char key[64], format[16];
    snprintf(key, sizeof key, "\"%s\":\"", name);
    snprintf(format, sizeof format, "%%%d[^\"]", size - 1);
    const char *at = strstr(text, key);
    return at && sscanf(at + strlen(key), format, out) == 1;
}

static void http_answer(struct client *c) {
    if (!c->text) c->text = malloc(TEXT_BYTES);
    ssize_t n = recv(c->fd, c->text + c->text_bytes, TEXT_BYTES - 1 - c->text_bytes, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n > 0) c->text_bytes += n;
    c->text[c->text_bytes] = 0;
    char *end = strstr(c->text, "\r\n\r\n");
    if (c->state == MATCH_REPLY) {
        char session[64], room_id[64], process[64];
        if (end && strchr(end, '}') && field(end, "sessionId", session, 64) && field(end, "roomId", room_id, 64) &&
            field(end, "processId", process, 64)) {
            snprintf(c->path, sizeof c->path, "/%s/%s?sessionId=%s", process, room_id, session);
            close(c->fd);
            open_socket(c, CONNECT);
        } else if (n <= 0) die(c, "no seat reservation");
        return;
    }
    if (n <= 0) { die(c, "closed during the upgrade"); return; }
    if (!end) return;
    if (strncmp(c->text, "HTTP/1.1 101", 12)) { die(c, "no upgrade"); return; }
    c->state = HELLO_SENT;
    int i = c - clients + first;
    if (hellos) send_message(c, 2, hellos[i] + 2, hellos[i][0] | hellos[i][1] << 8);
    int rest = c->text_bytes - (end + 4 - c->text);
    char *text = c->text;
    c->text = NULL;
    c->bytes += rest;
    walk(c, (uint8_t *)end + 4, rest);
    free(text);
}

static void on_event(struct client *c, uint32_t events) {
    if (c->state == DEAD) return;
    if (c->state == MATCH_CONNECT || c->state == CONNECT) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) { die(c, strerror(error)); return; }
        if (c->state == CONNECT) { upgrade(c); return; }
        char q[512], body[32];
        int n = snprintf(body, sizeof body, "{\"i\":%d}", (int)(c - clients) + first);
        n = snprintf(q, sizeof q, "POST /matchmake/joinOrCreate/%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n"
                     "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", room, port, n, body);
        write_all(c, q, n);
        c->state = MATCH_REPLY;
        only_reads(c);
        return;
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    if (c->state < HELLO_SENT) { http_answer(c); return; }
    ssize_t n = recv(c->fd, scratch, sizeof scratch, 0);
    if (n <= 0) { if (n == 0 || errno != EAGAIN) die(c, "connection ended"); return; }
    double t = now_s();
    if (c->last_s > 0 && t - c->last_s > c->gap_s) c->gap_s = t - c->last_s;
    c->last_s = t;
    c->bytes += n;
    walk(c, scratch, n);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double cpu_s(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + 1e-6 * (r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

static double window_s, window_cpu_s;
static uint64_t window_inputs, window_late;

static void begin_window(void) {
    for (int i = 0; i < count; i++) {
        struct client *c = &clients[i];
        c->bytes0 = c->bytes; c->messages0 = c->messages; c->frames0 = c->frames; c->gap_s = 0;
    }
    window_s = now_s(); window_cpu_s = cpu_s(); window_inputs = inputs_sent; window_late = inputs_late;
    puts("{\"event\":\"begun\"}");
}

static void end_window(void) {
    double seconds = now_s() - window_s, *rate = calloc(count + 1, sizeof *rate), *gap = calloc(count + 1, sizeof *gap);
    uint64_t bytes = 0, messages = 0, frames = 0;
    int n = 0;
    for (int i = 0; i < count; i++) {
        struct client *c = &clients[i];
        if (c->state != JOINED) continue;
        bytes += c->bytes - c->bytes0; messages += c->messages - c->messages0; frames += c->frames - c->frames0;
        gap[n] = c->gap_s;
        rate[n++] = (c->frames - c->frames0) / seconds;
    }
    qsort(rate, n, sizeof *rate, ascending);
    qsort(gap, n, sizeof *gap, ascending);
    int most = n ? n - 1 : 0;
    printf("{\"event\":\"ended\",\"seconds\":%.4f,\"joined\":%d,\"dead\":%d,\"bytes\":%llu,\"messages\":%llu,\"frames\":%llu,"
           "\"frames_per_s_p5\":%.3f,\"frames_per_s_p50\":%.3f,\"gap_p50_s\":%.4f,\"gap_max_s\":%.4f,\"inputs\":%llu,"
           "\"inputs_late\":%llu,\"input_wire_bytes\":%d,\"short_sends\":%llu,\"cpu_s\":%.4f}\n",
           seconds, joined, dead, (unsigned long long)bytes, (unsigned long long)messages, (unsigned long long)frames,
           rate[n / 20], rate[n / 2], gap[n / 2], gap[most], (unsigned long long)(inputs_sent - window_inputs),
           (unsigned long long)(inputs_late - window_late), INPUT_BYTES + 6, (unsigned long long)send_short,
           cpu_s() - window_cpu_s);
    free(rate);
    free(gap);
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
        if (!strcmp(line, "begin")) begin_window();
        else if (!strcmp(line, "end")) end_window();
        else exit(0);
        used -= end + 1 - line;
        memmove(line, end + 1, used + 1);
    }
}

// Starts joins at the given pace and sends the inputs that are due. Returns how long nothing more is due.
static double keep_pace(void) {
    double t = now_s(), wait_s = 0.2;
    while (next_join < count && in_flight < 128 && next_join < (t - start_s) * joins_per_s + 1) {
        struct client *c = &clients[next_join++];
        in_flight++;
        c->connect_s = t;
        snprintf(c->path, sizeof c->path, "%s%si=%d", path, strchr(path, '?') ? "&" : "?", (int)(c - clients) + first);
        if (mode == ISTHMUS) snprintf(c->path, sizeof c->path, "%s", path);
        open_socket(c, mode == COLYSEUS ? MATCH_CONNECT : CONNECT);
    }
    if (next_join < count) wait_s = 0.002;
    if (!announced && joined + dead == count) {
        announced = 1;
        printf("{\"event\":\"ready\",\"joined\":%d,\"dead\":%d,\"seconds\":%.3f,\"slowest_join_s\":%.3f}\n", joined, dead,
               t - start_s, slowest_join_s);
    }
    if (count && inputs_per_s > 0) {
        double slot_s = 1 / (inputs_per_s * count);
        uint64_t due = (uint64_t)((t - input_start_s) / slot_s);
        if (due > input_cursor + count) { inputs_late += due - count - input_cursor; input_cursor = due - count; }
        for (; input_cursor < due; input_cursor++) {
            struct client *c = &clients[input_cursor % count];
            if (c->state == JOINED) send_input(c, t);
        }
        double next_s = input_start_s + (input_cursor + 1) * slot_s - t;
        if (next_s < 0.001) next_s = 0.001;  // groups of a millisecond: a wake-up for each input would cost more than it
        if (next_s < wait_s) wait_s = next_s;
    }
    return wait_s;
}

static void load_hellos(const char *name) {
    FILE *f = fopen(name, "rb");
    if (!f) { perror(name); exit(1); }
    fseek(f, 0, SEEK_END);
    long size = ftell(f), at = 0;
    rewind(f);
    hello_data = malloc(size);
    if (fread(hello_data, 1, size, f) != (size_t)size) { perror(name); exit(1); }
    fclose(f);
    hellos = calloc(first + count + 1, sizeof *hellos);
    for (int i = 0; i < first + count; i++) {
        if (at + 2 > size) { fprintf(stderr, "%s has only %d hellos\n", name, i); exit(1); }
        hellos[i] = hello_data + at;
        at += 2 + (hello_data[at] | hello_data[at + 1] << 8);
    }
}

int main(int argc, char **argv) {
    const char *hello_file = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];
        if (!strcmp(key, "--port")) port = atoi(value);
        else if (!strcmp(key, "--clients")) count = atoi(value);
        else if (!strcmp(key, "--first")) first = atoi(value);
        else if (!strcmp(key, "--mode")) mode = !strcmp(value, "isthmus") ? ISTHMUS : !strcmp(value, "colyseus") ? COLYSEUS : PLAIN;
        else if (!strcmp(key, "--path")) path = value;
        else if (!strcmp(key, "--protocol")) protocol = value;
        else if (!strcmp(key, "--hellos")) hello_file = value;
        else if (!strcmp(key, "--joins-per-s")) joins_per_s = atof(value);
        else if (!strcmp(key, "--inputs-per-s")) inputs_per_s = atof(value);
        else if (!strcmp(key, "--steps")) command_steps = atoi(value);
        else { fprintf(stderr, "unknown option %s\n", key); return 2; }
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    setvbuf(stdout, NULL, _IOLBF, 0);
    clients = calloc(count + 1, sizeof *clients);
    if (hello_file) load_hellos(hello_file);
    epoll_fd = epoll_create1(0);
    struct epoll_event control = {.events = EPOLLIN, .data.u32 = UINT32_MAX}, events[512];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &control);
    start_s = input_start_s = now_s();
    for (;;) {
        double wait_s = keep_pace();
        int n = epoll_wait(epoll_fd, events, 512, (int)(wait_s * 1000));
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 == UINT32_MAX) on_control();
            else on_event(&clients[events[i].data.u32], events[i].events);
        }
    }
}
