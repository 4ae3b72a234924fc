// Televisions of a benchmark run: thousands of WebSocket connections in one thread (epoll), all on one channel.
//
// Each connects, upgrades, says the i-th record of --hellos (u16 little-endian length, bytes), and WATCH once it is
// welcomed. Then it reads whatever comes and acknowledges once a second. Of each message the first bytes are looked at
// (type, frame, tick); nothing else is decoded. Of each FRAME is kept when it came, less tick / --rate: the delay of its
// tick, but for a constant, which is the same for all.
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

enum state { UNBORN, CONNECTING, UPGRADING, GREETING, WATCHING, DEAD };
enum { KEEP = 64, SCRATCH = 1 << 18, SAMPLES = 4000000 };

struct tv {
    int fd, kept;
    enum state state;
    uint32_t frame;
    uint64_t skip, bytes, frames, keyframes;
    uint8_t keep[KEEP];
    char head[512];
    int head_bytes;
};

static struct tv *tvs;
static const uint8_t **hellos;
static int count, port, epoll_fd, next_join, in_flight, watching, dead, announced, sampling;
static double joins_per_s = 1000, rate_hz = 20, start_s, begun_s, cpu_begun_s;
static uint64_t ack_cursor, acks, bytes_begun, frames_begun, keyframes_begun;
static double *samples;
static int sampled;
static uint8_t scratch[SCRATCH];

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double cpu_s(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + 1e-6 * (r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

static void die(struct tv *c, const char *why) {
    if (c->state == DEAD) return;
    if (dead < 10) fprintf(stderr, "television %d lost in state %d: %s\n", (int)(c - tvs), c->state, why);
    if (c->state == WATCHING) watching--; else in_flight--;
    dead++;
    close(c->fd);
    c->state = DEAD;
}

static void say(struct tv *c, const uint8_t *payload, int bytes) {
    uint8_t out[4200] = {0x82};
    int head = 2;
    if (bytes < 126) out[1] = 0x80 | bytes;
    else { out[1] = 0x80 | 126; out[2] = bytes >> 8; out[3] = bytes; head = 4; }
    const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    memcpy(out + head, mask, 4);
    head += 4;
    for (int i = 0; i < bytes; i++) out[head + i] = payload[i] ^ mask[i & 3];
    if (send(c->fd, out, head + bytes, MSG_NOSIGNAL) != head + bytes) die(c, "its little was not taken");
}

static void put_u32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = value >> (24 - 8 * i);
}

static void acknowledge(struct tv *c) {
    uint8_t m[12] = {0x93, 3, 0xce, 0, 0, 0, 0, 0xce};
    put_u32(m + 3, c->frame);
    say(c, m, sizeof m);
    acks++;
}

static int read_uint(const uint8_t *p, int bytes, int *at, uint64_t *value) {
    if (*at >= bytes) return 0;
    uint8_t b = p[(*at)++];
    if (b < 0x80) { *value = b; return 1; }
    int wide = b == 0xcc ? 1 : b == 0xcd ? 2 : b == 0xce ? 4 : b == 0xcf ? 8 : 0;
    if (!wide || *at + wide > bytes) return 0;
    for (*value = 0; wide--;) *value = *value << 8 | p[(*at)++];
    return 1;
}

static void message(struct tv *c, const uint8_t *p, int bytes, double t) {
    int at = 1;
    uint64_t type, stream, frame, tick, sseq;
    if (bytes < 2 || (p[0] & 0xf0) != 0x90 || !read_uint(p, bytes, &at, &type)) { die(c, "no message"); return; }
    if (type == 16 && c->state == GREETING) {
        const uint8_t watch[] = {0x93, 9, 0xc0, 0};
        c->state = WATCHING;
        watching++;
        in_flight--;
        say(c, watch, sizeof watch);
    } else if (type == 18) {
        if (!read_uint(p, bytes, &at, &stream) || !read_uint(p, bytes, &at, &frame) || !read_uint(p, bytes, &at, &tick)) {
            die(c, "not a FRAME");
            return;
        }
        if ((uint32_t)frame != c->frame + 1) { die(c, "a frame is missing"); return; }
        c->frame = frame;
        c->frames++;
        if (sampling && sampled < SAMPLES) samples[sampled++] = t - tick / rate_hz;
    } else if (type == 30) {
        if (!read_uint(p, bytes, &at, &sseq) || !read_uint(p, bytes, &at, &stream) || !read_uint(p, bytes, &at, &frame)) {
            die(c, "not a KEYFRAME");
            return;
        }
        c->frame = frame;
        c->keyframes++;
    } else if (type == 24) die(c, "closed by the server");
}

// Walks the stream of WebSocket messages: the first bytes of each are collected, the rest is passed over.
static void walk(struct tv *c, const uint8_t *p, int64_t bytes, double t) {
    while (bytes > 0 && c->state != DEAD) {
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
        uint64_t wanted = size < 32 ? size : 32;
        if ((uint64_t)c->kept < head + wanted) continue;
        c->kept = 0;
        c->skip = size - wanted;
        if ((c->keep[0] & 15) == 2) message(c, c->keep + head, wanted, t);
        else die(c, "not a binary message");
    }
}

static void connect_next(double t) {
    while (next_join < count && in_flight < 128 && next_join < (t - start_s) * joins_per_s + 1) {
        struct tv *c = &tvs[next_join++];
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int one = 1;
        in_flight++;
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (c->fd < 0) { perror("socket"); exit(1); }
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->state = CONNECTING;
        if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) { perror("connect"); exit(1); }
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.u32 = c - tvs};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
    }
}

static void on_event(struct tv *c) {
    if (c->state == DEAD) return;
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) { die(c, strerror(error)); return; }
        char q[400];
        int n = snprintf(q, sizeof q, "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Protocol: isthmus.v1\r\n\r\n", port);
        if (send(c->fd, q, n, MSG_NOSIGNAL) != n) { die(c, "no request"); return; }
        c->state = UPGRADING;
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = c - tvs};
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
        return;
    }
    if (c->state == UPGRADING) {
        ssize_t n = recv(c->fd, c->head + c->head_bytes, sizeof c->head - 1 - c->head_bytes, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) { die(c, "closed during the upgrade"); return; }
        c->head_bytes += n;
        c->head[c->head_bytes] = 0;
        char *end = strstr(c->head, "\r\n\r\n");
        if (!end) return;
        if (strncmp(c->head, "HTTP/1.1 101", 12)) { die(c, "no upgrade"); return; }
        const uint8_t *hello = hellos[c - tvs];
        c->state = GREETING;
        say(c, hello + 2, hello[0] | hello[1] << 8);
        return;
    }
    ssize_t n = recv(c->fd, scratch, sizeof scratch, 0);
    if (n <= 0) { if (n == 0 || errno != EAGAIN) die(c, "connection ended"); return; }
    c->bytes += n;
    walk(c, scratch, n, now_s());
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void totals(uint64_t *bytes, uint64_t *frames, uint64_t *keyframes) {
    *bytes = *frames = *keyframes = 0;
    for (int i = 0; i < count; i++) { *bytes += tvs[i].bytes; *frames += tvs[i].frames; *keyframes += tvs[i].keyframes; }
}

static void begin_window(void) {
    totals(&bytes_begun, &frames_begun, &keyframes_begun);
    begun_s = now_s(); cpu_begun_s = cpu_s(); sampled = 0; sampling = 1; acks = 0;
    puts("{\"event\":\"begun\"}");
}

static void end_window(void) {
    double seconds = now_s() - begun_s, used_s = cpu_s() - cpu_begun_s;
    uint64_t bytes, frames, keyframes;
    sampling = 0;
    totals(&bytes, &frames, &keyframes);
    qsort(samples, sampled, sizeof *samples, ascending);
    double least = sampled ? samples[0] : 0;
    int last = sampled ? sampled - 1 : 0;
    printf("{\"event\":\"ended\",\"seconds\":%.4f,\"watching\":%d,\"dead\":%d,\"bytes\":%llu,\"frames\":%llu,\"keyframes\":%llu,"
           "\"acks\":%llu,\"delay_p50_s\":%.4f,\"delay_p99_s\":%.4f,\"delay_p999_s\":%.4f,\"delay_max_s\":%.4f,\"sampled\":%d,"
           "\"cpu_s\":%.4f}\n",
           seconds, watching, dead, (unsigned long long)(bytes - bytes_begun), (unsigned long long)(frames - frames_begun),
           (unsigned long long)(keyframes - keyframes_begun), (unsigned long long)acks, samples[last / 2] - least,
           samples[(int)(last * 0.99)] - least, samples[(int)(last * 0.999)] - least, samples[last] - least, sampled, used_s);
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

static void load_hellos(const char *name) {
    FILE *f = fopen(name, "rb");
    if (!f) { perror(name); exit(1); }
    fseek(f, 0, SEEK_END);
    long size = ftell(f), at = 0;
    rewind(f);
    uint8_t *data = malloc(size);
    if (fread(data, 1, size, f) != (size_t)size) { perror(name); exit(1); }
    fclose(f);
    hellos = calloc(count + 1, sizeof *hellos);
    for (int i = 0; i < count; i++) {
        if (at + 2 > size) { fprintf(stderr, "%s has only %d hellos\n", name, i); exit(1); }
        hellos[i] = data + at;
        at += 2 + (data[at] | data[at + 1] << 8);
    }
}

int main(int argc, char **argv) {
    const char *hello_file = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];
        if (!strcmp(key, "--port")) port = atoi(value);
        else if (!strcmp(key, "--clients")) count = atoi(value);
        else if (!strcmp(key, "--hellos")) hello_file = value;
        else if (!strcmp(key, "--joins-per-s")) joins_per_s = atof(value);
        else if (!strcmp(key, "--rate")) rate_hz = atof(value);
        else { fprintf(stderr, "unknown option %s\n", key); return 2; }
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    setvbuf(stdout, NULL, _IOLBF, 0);
    tvs = calloc(count + 1, sizeof *tvs);
    samples = calloc(SAMPLES, sizeof *samples);
    if (!hello_file) { fprintf(stderr, "--hellos is missing\n"); return 2; }
    load_hellos(hello_file);
    epoll_fd = epoll_create1(0);
    struct epoll_event control = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &control);
    static struct epoll_event events[1024];
    start_s = now_s();
    ack_cursor = 0;
    double acks_from_s = start_s;
    for (;;) {
        double t = now_s();
        connect_next(t);
        if (!announced && watching + dead == count) {
            announced = 1;
            printf("{\"event\":\"ready\",\"watching\":%d,\"dead\":%d,\"seconds\":%.3f}\n", watching, dead, t - start_s);
        }
        // Each acknowledges once a second, evenly spread.
        uint64_t due = (uint64_t)((t - acks_from_s) * count);
        for (; ack_cursor < due; ack_cursor++) {
            struct tv *c = &tvs[ack_cursor % count];
            if (c->state == WATCHING) acknowledge(c);
        }
        int n = epoll_wait(epoll_fd, events, 1024, 2);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 == UINT32_MAX) on_control();
            else on_event(&tvs[events[i].data.u32]);
        }
    }
}
