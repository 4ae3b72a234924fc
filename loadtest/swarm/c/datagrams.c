// Datagrams of all clients (protocol/STANDARD.md, chapter 9), in batches: recvmmsg, open, look, and the way back.
//
// Clients share sockets, as many on each as --clients-per-socket says: a server tells them apart by number. Whatever
// comes is opened, counted against replay, acknowledged; stream bytes that nothing is said after are acknowledged by an
// empty datagram within ACK_S. A client says one thing reliably, its HELLO. Errors of the network are not heeded (§9.3).
#include "swarm.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum {
    BATCH = 128,
    ROW_BYTES = ISTHMUS_DATAGRAM_BYTES + 8, // what is longer than allowed shows
    PLAIN_BYTES = ISTHMUS_DATAGRAM_BYTES - SEALED_HEAD_BYTES - TAG_BYTES,
    PIECE_BYTES = PLAIN_BYTES - 11,         // of a stream, in a datagram with nothing else
    // A stream's memory is reserved and touched only where something waits in it; the rest is one message.
    STREAM_ROOM = UNACKNOWLEDGED_BYTES + 4 + (1 << 18),
    BUFFER_BYTES = 4 << 20,
    ADDRESS_BYTES = 272,
};
static const double ACK_S = 0.02, HELLO_WAIT_S = 0.25, HELLO_WAIT_MAX_S = 1, HELLO_PATIENCE_S = 3;

struct rows {
    uint8_t bytes[BATCH][ROW_BYTES];
    struct iovec vector[BATCH];
    struct mmsghdr header[BATCH];
};

struct datagram_counts datagrams;
static struct rows in, out;
static int out_count, out_socket;
static int *sockets; // -1: not open
static char opened_for[ADDRESS_BYTES];
static uint32_t *numbers; // open addressing: the link's number, and who it is
static int *named;
static uint32_t table_mask;
static uint8_t *streams;
static struct client **opening, **queue;
static int opening_count, queue_first, queue_count;
static EVP_CIPHER_CTX *sealing, *unsealing;

static void fill_headers(struct rows *rows) {
    for (int i = 0; i < BATCH; i++) {
        rows->vector[i] = (struct iovec){rows->bytes[i], ROW_BYTES};
        rows->header[i].msg_hdr = (struct msghdr){.msg_iov = &rows->vector[i], .msg_iovlen = 1};
    }
}

void prepare_datagrams(void) {
    fill_headers(&in);
    fill_headers(&out);
    int groups = (count - 1) / clients_per_socket + 1;
    sockets = malloc(groups * sizeof *sockets);
    for (int i = 0; i < groups; i++) sockets[i] = -1;
    for (table_mask = 1; table_mask < 4 * (uint32_t)count;) table_mask *= 2;
    numbers = calloc(table_mask, sizeof *numbers);
    named = malloc(table_mask * sizeof *named);
    for (uint32_t i = 0; i < table_mask; i++) named[i] = -1;
    table_mask--;
    opening = calloc(count, sizeof *opening);
    queue = calloc(count, sizeof *queue);
    streams = mmap(NULL, (size_t)count * STREAM_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    sealing = EVP_CIPHER_CTX_new();
    unsealing = EVP_CIPHER_CTX_new();
    if (streams == MAP_FAILED || !EVP_EncryptInit_ex(sealing, EVP_chacha20_poly1305(), NULL, NULL, NULL) ||
        !EVP_DecryptInit_ex(unsealing, EVP_chacha20_poly1305(), NULL, NULL, NULL)) {
        fprintf(stderr, "no memory, or an OpenSSL without ChaCha20-Poly1305\n");
        exit(1);
    }
}

static uint32_t place_of(uint32_t number) {
    uint32_t at = number * 2654435761u & table_mask;
    while (named[at] >= 0 && numbers[at] != number) at = (at + 1) & table_mask;
    return at;
}

// -------------------------------------------------------------------------------------------------------------- out
void flush_datagrams(void) {
    int fd = out_count ? sockets[out_socket] : -1, at = 0;
    for (bool again = true; at < out_count;) {
        int sent = sendmmsg(fd, out.header + at, out_count - at, MSG_DONTWAIT);
        datagrams.calls_out++;
        if (sent > 0) { at += sent; again = true; continue; }
        if (errno == EINTR) continue;
        // An error may tell of a datagram that left before (ECONNREFUSED): this one is tried again, once.
        datagrams.refused++;
        if (!again) at++;
        again = !again;
    }
    out_count = 0;
}

static void seal(const struct link *link, uint64_t sequence, const uint8_t *plain, size_t bytes, uint8_t *row) {
    uint8_t nonce[NONCE_BYTES];
    int n;
    datagram_head(row, link->number, sequence);
    datagram_nonce(nonce, sequence);
    uint8_t *sealed = row + SEALED_HEAD_BYTES;
    EVP_EncryptInit_ex(sealing, NULL, NULL, link->key_up, nonce);
    EVP_EncryptUpdate(sealing, NULL, &n, row, SEALED_HEAD_BYTES);
    EVP_EncryptUpdate(sealing, NULL, &n, link->context, CONTEXT_BYTES);
    EVP_EncryptUpdate(sealing, sealed, &n, plain, bytes);
    EVP_EncryptFinal_ex(sealing, sealed + n, &n);
    EVP_CIPHER_CTX_ctrl(sealing, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, sealed + bytes);
}

static void send_part(struct client *c, const part *part) {
    struct link *link = c->link;
    uint8_t plain[PLAIN_BYTES];
    size_t bytes = plain_begin(plain, sizeof plain, link->inflow.received);
    if (part) bytes = plain_part(plain, sizeof plain, bytes, part);
    if (out_count == BATCH || (out_count && out_socket != link->socket)) flush_datagrams();
    out_socket = link->socket;
    seal(link, ++link->sequence, plain, bytes, out.bytes[out_count]);
    out.vector[out_count++].iov_len = SEALED_HEAD_BYTES + bytes + TAG_BYTES;
    datagrams.out++;
    datagrams.out_bytes += SEALED_HEAD_BYTES + bytes + TAG_BYTES;
    link->ack_due = false;
}

void send_datagram(struct client *c, const uint8_t *message, size_t bytes) {
    const part part = {.kind = PART_MESSAGE, .bytes = {message, bytes}};
    send_part(c, bytes ? &part : NULL);
}

static void say_hello(struct client *c, double t) {
    struct link *link = c->link;
    for (size_t at = link->hello_had; at < link->hello_bytes; at += PIECE_BYTES) {
        size_t left = link->hello_bytes - at;
        send_part(c, &(part){.kind = PART_STREAM, .offset = at,
                                     .bytes = {link->hello + at, left < PIECE_BYTES ? left : PIECE_BYTES}});
    }
    link->hello_s = t;
}

// ------------------------------------------------------------------------------------------------------------- open
static bool open_socket(int which, const char *address) {
    char name[ADDRESS_BYTES];
    struct addrinfo wanted = {.ai_socktype = SOCK_DGRAM}, *found;
    snprintf(name, sizeof name, "%s", address);
    char *colon = strrchr(name, ':'), *begin = name;
    if (!colon) return false;
    *colon = 0;
    if (*begin == '[') { begin++; colon[-1] = 0; }
    if (getaddrinfo(begin, colon + 1, &wanted, &found)) return false;
    int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), buffer = BUFFER_BYTES;
    bool fine = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
    if (!fine) return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    sockets[which] = fd;
    watch(fd, EPOLLIN, SOCKETS_FROM + which, true);
    return true;
}

void open_link(struct client *c, const isthmus_message *token, double t) {
    struct link *link = c->link;
    const isthmus_bytes address = token->as.token.address;
    char text[ADDRESS_BYTES];
    uint8_t context[ISTHMUS_CLIENT_MESSAGE_BYTES], digest[EVP_MAX_MD_SIZE];
    snprintf(text, sizeof text, "%.*s", (int)address.bytes, (const char *)address.at);
    if (!*opened_for) memcpy(opened_for, text, sizeof text);
    if (strcmp(opened_for, text)) { die(c, "tokens name two addresses, %.30s and %.30s", opened_for, text); return; }
    link->socket = (c - clients) / clients_per_socket;
    if (sockets[link->socket] < 0 && !open_socket(link->socket, text)) { die(c, "no UDP socket to %s", text); return; }
    link->number = token->as.token.number;
    memcpy(link->key_up, token->as.token.key_up.at, sizeof link->key_up);
    memcpy(link->key_down, token->as.token.key_down.at, sizeof link->key_down);
    size_t n = datagram_context(context, sizeof context, c->session, link->number, address);
    EVP_Digest(context, n, digest, NULL, EVP_sha256(), NULL);
    memcpy(link->context, digest, sizeof link->context);
    inflow_init(&link->inflow, streams + (size_t)(c - clients) * STREAM_ROOM, STREAM_ROOM);
    uint32_t at = place_of(link->number);
    numbers[at] = link->number;
    named[at] = c - clients;
    link->opened_s = t;
    link->wait_s = HELLO_WAIT_S;
    opening[opening_count++] = c;
    say_hello(c, t);
}

// --------------------------------------------------------------------------------------------------------------- in
// The plaintext's bytes, or -1.
static int unseal(const struct link *link, const uint8_t *row, uint64_t sequence, isthmus_bytes sealed, uint8_t *plain) {
    uint8_t nonce[NONCE_BYTES];
    int n, bytes = sealed.bytes - TAG_BYTES;
    datagram_nonce(nonce, sequence);
    EVP_DecryptInit_ex(unsealing, NULL, NULL, link->key_down, nonce);
    EVP_DecryptUpdate(unsealing, NULL, &n, row, SEALED_HEAD_BYTES);
    EVP_DecryptUpdate(unsealing, NULL, &n, link->context, CONTEXT_BYTES);
    EVP_DecryptUpdate(unsealing, plain, &n, sealed.at, bytes);
    EVP_CIPHER_CTX_ctrl(unsealing, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, (void *)(sealed.at + bytes));
    return EVP_DecryptFinal_ex(unsealing, plain + n, &n) == 1 ? bytes : -1;
}

static void take_stream(struct client *c, const part *part, double t) {
    struct link *link = c->link;
    if (!link->ack_due) link->ack_at_s = t + ACK_S;
    link->ack_due = true;
    if (!link->queued) {
        link->queued = true;
        queue[(queue_first + queue_count++) % count] = c;
    }
    if (inflow_put(&link->inflow, part->offset, part->bytes) != ISTHMUS_OK) return; // it is sent again
    isthmus_bytes message;
    int found;
    while ((found = inflow_take(&link->inflow, &message)) == ISTHMUS_OK && c->state != DEAD)
        take_message(c, message.at, message.bytes, t);
    if (found == ISTHMUS_FULL || found == ISTHMUS_BROKEN) die(c, "a message in the stream is too long");
    // Nothing waits: begin at the front again, so that little of the room is touched.
    if (link->inflow.taken == link->inflow.whole && link->inflow.islands == 0)
        link->inflow.taken = link->inflow.whole = 0;
}

static void take_datagram(const uint8_t *row, size_t bytes, double t) {
    uint8_t plain[PLAIN_BYTES];
    uint32_t number, received;
    uint64_t sequence;
    isthmus_bytes sealed;
    isthmus_reader parts;
    part part;
    if (!datagram_open((isthmus_bytes){row, bytes}, &number, &sequence, &sealed)) { datagrams.unread++; return; }
    int who = named[place_of(number)], n;
    if (who < 0) { datagrams.unread++; return; }
    struct client *c = &clients[who];
    struct link *link = c->link;
    if (c->state == DEAD) return;
    if ((n = unseal(link, row, sequence, sealed, plain)) < 0) { datagrams.unread++; return; }
    if (!sequences_take(&link->window, sequence)) { datagrams.repeated++; return; }
    if (!plain_open((isthmus_bytes){plain, n}, &received, &parts)) { datagrams.unread++; return; }
    link->taken++;
    c->bytes += bytes;
    if (c->last_s > 0 && t - c->last_s > c->gap_s) c->gap_s = t - c->last_s;
    c->last_s = t;
    if (link->hello && received <= link->hello_bytes && received > link->hello_had) link->hello_had = received;
    while (c->state != DEAD && plain_next(&parts, &part)) {
        if (part.kind == PART_STREAM) take_stream(c, &part, t);
        else if (part.kind == PART_MESSAGE) take_message(c, part.bytes.at, part.bytes.bytes, t);
    }
}

void on_socket(int socket) {
    for (int got = BATCH; got == BATCH;) {
        got = recvmmsg(sockets[socket], in.header, BATCH, MSG_DONTWAIT, NULL);
        datagrams.calls_in++;
        double t = now_s();
        for (int i = 0; i < got; i++) take_datagram(in.bytes[i], in.header[i].msg_len, t);
    }
}

// ------------------------------------------------------------------------------------------------------------ again
double keep_streams(double t) {
    for (int i = 0; i < opening_count;) {
        struct client *c = opening[i];
        struct link *link = c->link;
        bool had = link->hello_had == link->hello_bytes;
        if (c->state == OPENING && t - link->opened_s > HELLO_PATIENCE_S)
            die(c, "nothing welcomed it over UDP for %g s: does %.40s let it through?", HELLO_PATIENCE_S, opened_for);
        if (c->state == DEAD || (had && c->state == JOINED)) {
            free(link->hello);
            link->hello = NULL;
            opening[i] = opening[--opening_count];
            continue;
        }
        if (!had && t - link->hello_s > link->wait_s) {
            link->wait_s = 2 * link->wait_s < HELLO_WAIT_MAX_S ? 2 * link->wait_s : HELLO_WAIT_MAX_S;
            datagrams.hellos_again++;
            say_hello(c, t);
        }
        i++;
    }
    // All wait equally long, so the first in the queue is the first that is due.
    while (queue_count) {
        struct client *c = queue[queue_first];
        struct link *link = c->link;
        if (link->ack_due && c->state != DEAD && link->ack_at_s > t) return link->ack_at_s - t;
        queue_first = (queue_first + 1) % count;
        queue_count--;
        link->queued = false;
        if (link->ack_due && c->state != DEAD) {
            datagrams.acks++;
            send_datagram(c, NULL, 0);
        }
    }
    return opening_count ? 0.01 : 1;
}
