// How a client comes in: TCP, (a matchmaking POST,) the upgrade, HELLO, WELCOME; over datagrams then DATAGRAMS, TOKEN,
// and HELLO with the resume ticket in the stream of the new link (protocol/STANDARD.md, §9.1 and §9.3).
//
// A client that is lost stays lost: what is measured is whether that happens, so nothing hides it.
#include "swarm.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STEPS_MAX = 30, CLIENTS_PER_ADDRESS = 20000 }; // steps: of a command (§2)

static const uint8_t **hellos;
static struct sockaddr_storage server;
static socklen_t server_bytes;

void die(struct client *c, const char *why, ...) {
    if (c->state == DEAD) return;
    char reason[REASON_BYTES];
    va_list rest;
    va_start(rest, why);
    vsnprintf(reason, sizeof reason, why, rest);
    va_end(rest);
    tally(reason);
    if (dead < 10) fprintf(stderr, "client %d is lost: %s\n", (int)(c - clients) + first, reason);
    if (c->state == JOINED) joined--;
    else in_flight--;
    dead++;
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    free(c->whole);
    c->whole = NULL;
    c->state = DEAD;
}

void load_hellos(const char *name) {
    FILE *f = fopen(name, "rb");
    if (!f) { perror(name); exit(1); }
    fseek(f, 0, SEEK_END);
    long size = ftell(f), at = 0;
    rewind(f);
    uint8_t *data = malloc(size + 1);
    if (fread(data, 1, size, f) != (size_t)size) { perror(name); exit(1); }
    fclose(f);
    hellos = calloc(first + count + 1, sizeof *hellos);
    for (int i = 0; i < first + count; i++) {
        if (at + 2 > size || at + 2 + (data[at] | data[at + 1] << 8) > size) {
            fprintf(stderr, "%s has only %d hellos\n", name, i);
            exit(1);
        }
        hellos[i] = data + at;
        at += 2 + (data[at] | data[at + 1] << 8);
    }
}

static isthmus_bytes hello_of(const struct client *c) {
    const uint8_t *record = hellos[c - clients + first];
    return (isthmus_bytes){record + 2, record[0] | record[1] << 8};
}

void resolve(void) {
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(host, port, &wanted, &found);
    if (error) { fprintf(stderr, "%s: %s\n", host, gai_strerror(error)); exit(1); }
    memcpy(&server, found->ai_addr, found->ai_addrlen);
    server_bytes = found->ai_addrlen;
    freeaddrinfo(found);
}

// From one address to one port there are some 28,000 connections; on loopback there are more addresses.
static void spread(struct client *c) {
    const struct sockaddr_in *to = (const struct sockaddr_in *)&server;
    uint32_t ours = INADDR_LOOPBACK + (c - clients) / CLIENTS_PER_ADDRESS;
    if (server.ss_family != AF_INET || ntohl(to->sin_addr.s_addr) != INADDR_LOOPBACK || ours == INADDR_LOOPBACK) return;
    const struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(ours)};
    int one = 1;
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (const struct sockaddr *)&from, sizeof from) < 0) perror("bind");
}

static void open_socket(struct client *c, enum state state) {
    int one = 1;
    c->fd = socket(server.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) { perror("socket: raise the limit of open files (ulimit -n)"); exit(1); }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = state;
    free(c->whole);
    c->whole = NULL;
    c->whole_has = 0;
    spread(c);
    if (connect(c->fd, (struct sockaddr *)&server, server_bytes) < 0 && errno != EINPROGRESS) {
        die(c, "connect: %s", strerror(errno));
        return;
    }
    watch(c->fd, EPOLLIN | EPOLLOUT, c - clients, true);
}

void begin_join(struct client *c, double t) {
    in_flight++;
    c->connect_s = t;
    if (hellos) snprintf(c->path, sizeof c->path, "%s", path);
    else snprintf(c->path, sizeof c->path, "%s%si=%d", path, strchr(path, '?') ? "&" : "?", (int)(c - clients) + first);
    open_socket(c, mode == COLYSEUS ? MATCH_CONNECT : CONNECT);
}

static void upgrade(struct client *c) {
    char q[1024], offer[128] = "";
    if (*subprotocol) snprintf(offer, sizeof offer, "Sec-WebSocket-Protocol: %s\r\n", subprotocol);
    int n = snprintf(q, sizeof q, "GET %s HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n", c->path, host,
                     port, offer);
    send_text(c, q, n);
    c->state = UPGRADE;
}

static void ask_for_a_seat(struct client *c) {
    char q[512], body[32];
    int n = snprintf(body, sizeof body, "{\"i\":%d}", (int)(c - clients) + first);
    n = snprintf(q, sizeof q, "POST /matchmake/joinOrCreate/%s HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n"
                 "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", room, host, port, n, body);
    send_text(c, q, n);
    c->state = MATCH_REPLY;
}

static bool field(const char *text, const char *name, char *out, int size) {
    char key[64], format[16];
    snprintf(key, sizeof key, "\"%s\":\"", name);
    snprintf(format, sizeof format, "%%%d[^\"]", size - 1);
    const char *at = strstr(text, key);
    return at && sscanf(at + strlen(key), format, out) == 1;
}

static void took_seat(struct client *c, const char *text, bool ended) {
    char session[32], room_id[32], process[32];
    if (strchr(text, '}') && field(text, "sessionId", session, 32) && field(text, "roomId", room_id, 32) &&
        field(text, "processId", process, 32)) {
        snprintf(c->path, sizeof c->path, "/%s/%s?sessionId=%s", process, room_id, session);
        close(c->fd);
        open_socket(c, CONNECT);
    } else if (ended) die(c, "no seat reservation");
}

static void on_answer(struct client *c) {
    if (!c->whole) c->whole = malloc(TEXT_BYTES);
    char *text = (char *)c->whole;
    ssize_t n = recv(c->fd, text + c->whole_has, TEXT_BYTES - 1 - c->whole_has, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n > 0) c->whole_has += n;
    text[c->whole_has] = 0;
    char *end = strstr(text, "\r\n\r\n");
    if (c->state == MATCH_REPLY) {
        if (end) took_seat(c, end, n <= 0);
        else if (n <= 0) die(c, "no seat reservation");
        return;
    }
    if (n <= 0) { die(c, "closed during the upgrade"); return; }
    if (!end) return;
    if (strncmp(text, "HTTP/1.1 101", 12)) { die(c, "no upgrade: %.40s", strtok(text, "\r")); return; }
    c->state = HELLO_SENT;
    c->whole = NULL;
    if (hellos) { isthmus_bytes hello = hello_of(c); send_frame(c, 2, hello.at, hello.bytes); }
    size_t rest = c->whole_has - (end + 4 - text);
    c->bytes += rest;
    walk(c, (uint8_t *)end + 4, rest, now_s());
    free(text);
}

void on_joining(struct client *c) {
    if (c->state == MATCH_CONNECT || c->state == CONNECT) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) { die(c, "connect: %s", strerror(error)); return; }
        if (c->state == CONNECT) upgrade(c);
        else ask_for_a_seat(c);
        watch(c->fd, EPOLLIN, c - clients, false);
    } else on_answer(c);
}

void became_joined(struct client *c, double t) {
    double took_s = t - c->connect_s;
    if (took_s > slowest_join_s) slowest_join_s = took_s;
    c->state = JOINED;
    c->last_s = t;
    joined++;
    in_flight--;
}

// HELLO of a link is that of the connection, with the ticket in it (§2).
static bool write_hello(struct client *c, const isthmus_welcome *welcome) {
    uint8_t out[4 + ISTHMUS_CLIENT_MESSAGE_BYTES];
    isthmus_reader items = isthmus_read(hello_of(c));
    isthmus_value item[10]; // the array's header, the type, eight items
    for (int i = 0; i < 10; i++) item[i] = isthmus_next(&items);
    const isthmus_hello hello = {
        .version_min = item[2].whole, .version_max = item[3].whole, .token = item[4].bytes, .name = item[5].bytes,
        .profile = item[6].bytes, .resume = welcome->resume, .schema_hash = welcome->schema_hash, .agent = item[9].bytes,
    };
    size_t n = items.bad ? 0 : isthmus_put_hello(out + 4, sizeof out - 4, &hello);
    if (n == 0) return false;
    for (int i = 0; i < 4; i++) out[i] = n >> (8 * i);
    c->link->hello = malloc(4 + n);
    c->link->hello_bytes = 4 + n;
    memcpy(c->link->hello, out, 4 + n);
    return true;
}

void on_welcome(struct client *c, isthmus_bytes message, double t) {
    isthmus_message welcome;
    if (isthmus_decode(message, &welcome) != ISTHMUS_OK) { die(c, "a WELCOME that cannot be read"); return; }
    rate_hz = welcome.as.welcome.rate_hz;
    // An input lasts until the next one.
    double steps = inputs_per_s > 0 ? rate_hz * welcome.as.welcome.steps_per_tick / inputs_per_s : 1;
    command_steps = steps < 1 ? 1 : steps > STEPS_MAX ? STEPS_MAX : (int)(steps + 0.5);
    c->frame = c->sseq = 0;
    c->earlier = 0;
    if (c->state == OPENING) {
        // It is in over datagrams; the server closes the other connection, too (§9.3).
        if (c->fd >= 0) close(c->fd);
        c->fd = -1;
        became_joined(c, t);
    } else if (c->state == HELLO_SENT && over_udp) {
        uint8_t ask[8];
        c->session = welcome.as.welcome.session;
        c->link = calloc(1, sizeof *c->link);
        if (!write_hello(c, &welcome.as.welcome)) { die(c, "its HELLO cannot be said over datagrams"); return; }
        c->state = ASKED;
        send_frame(c, 2, ask, isthmus_put_datagrams(ask, sizeof ask));
    } else if (c->state == HELLO_SENT) {
        became_joined(c, t);
        if (mode == TV) { const uint8_t first_channel[] = {0x93, 9, 0xc0, 0}; send_frame(c, 2, first_channel, 4); }
    }
}

void on_token(struct client *c, isthmus_bytes message, double t) {
    isthmus_message token;
    if (c->state != ASKED) return;
    if (isthmus_decode(message, &token) != ISTHMUS_OK) { die(c, "a TOKEN that cannot be read"); return; }
    const isthmus_bytes why = token.as.token.text;
    if (!token.as.token.address.at) { die(c, "no datagrams: %.*s", (int)why.bytes, (const char *)why.at); return; }
    c->state = OPENING;
    open_link(c, &token, t);
}
