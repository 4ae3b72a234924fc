// Counting over a window, and what is said of it as JSON.
//
// Delays are told as distances from the least one of the window, since this program does not know the server's clock:
// they are the spread over clients and ticks, and say nothing of the way to the fastest.
#include "swarm.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { BINS = 100000, REASONS = 32 };
static const double BIN_S = 1e-4, BELOW_S = 1; // a histogram begins so much before what came first

struct histogram {
    uint32_t bin[BINS];
    uint64_t count;
    double from_s, most_s;
};
struct histogram delays, trips;

static struct { char text[REASON_BYTES]; int count; } reasons[REASONS];
static double window_s, window_cpu_s;
static uint64_t window_inputs, window_acks, window_late;
static struct datagram_counts window_datagrams;

void note(struct histogram *h, double s) {
    if (!h->count) { h->from_s = s - BELOW_S; h->most_s = s; }
    if (s > h->most_s) h->most_s = s;
    double at = (s - h->from_s) / BIN_S;
    h->bin[at < 0 ? 0 : at >= BINS ? BINS - 1 : (int)at]++;
    h->count++;
}

static void clear(struct histogram *h) {
    memset(h, 0, sizeof *h);
}

// Upper end of the bin in which the quantile falls, seconds; 0 if nothing was noted.
static double quantile(const struct histogram *h, double q) {
    uint64_t wanted = (uint64_t)ceil(q * h->count), seen = 0;
    if (!h->count) return 0;
    if (!wanted) wanted = 1;
    for (int i = 0; i < BINS; i++) if ((seen += h->bin[i]) >= wanted) return h->from_s + (i + 1) * BIN_S;
    return h->most_s;
}

// Whatever a server says goes into JSON: printable ASCII stays, but for what JSON would have to escape.
void tally(const char *reason) {
    char text[REASON_BYTES];
    size_t n = 0;
    for (; reason[n] && n < sizeof text - 1; n++) {
        char x = reason[n];
        text[n] = x < ' ' || x > '~' ? '?' : x == '"' || x == '\\' ? '\'' : x;
    }
    text[n] = 0;
    int i = 0;
    while (i < REASONS - 1 && reasons[i].count && strcmp(reasons[i].text, text)) i++;
    if (!reasons[i].count) memcpy(reasons[i].text, text, sizeof text);
    reasons[i].count++;
}

static void say_reasons(void) {
    printf(",\"reasons\":{");
    for (int i = 0; i < REASONS && reasons[i].count; i++)
        printf("%s\"%s\":%d", i ? "," : "", reasons[i].text, reasons[i].count);
    puts("}}");
}

void say_ready(double t) {
    printf("{\"event\":\"ready\",\"joined\":%d,\"dead\":%d,\"seconds\":%.3f,\"slowest_join_s\":%.3f", joined, dead,
           t - start_s, slowest_join_s);
    say_reasons();
}

static double cpu_s(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + 1e-6 * (r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

void begin_window(uint64_t late) {
    for (int i = 0; i < count; i++) {
        struct client *c = &clients[i];
        c->bytes0 = c->bytes; c->messages0 = c->messages; c->frames0 = c->frames; c->keyframes0 = c->keyframes;
        c->skipped0 = c->skipped; c->gap_s = 0;
        if (c->link) { c->link->newest0 = c->link->window.newest; c->link->taken0 = c->link->taken; }
    }
    clear(&delays);
    clear(&trips);
    window_s = now_s(); window_cpu_s = cpu_s(); window_inputs = inputs_sent; window_acks = acks_sent; window_late = late;
    window_datagrams = datagrams;
    puts("{\"event\":\"begun\"}");
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void say_datagrams(uint64_t taken, int64_t lost, double used_s) {
    const struct datagram_counts *now = &datagrams, *then = &window_datagrams;
    printf(",\"datagrams\":{\"in\":%llu,\"lost\":%lld,\"repeated\":%llu,\"unread\":%llu,\"out\":%llu,\"out_bytes\":%llu,"
           "\"acks_alone\":%llu,\"hellos_again\":%llu,\"refused\":%llu,\"calls_in\":%llu,\"calls_out\":%llu,"
           "\"cpu_us_each\":%.3f}",
           (unsigned long long)taken, (long long)lost, (unsigned long long)(now->repeated - then->repeated),
           (unsigned long long)(now->unread - then->unread), (unsigned long long)(now->out - then->out),
           (unsigned long long)(now->out_bytes - then->out_bytes), (unsigned long long)(now->acks - then->acks),
           (unsigned long long)now->hellos_again, (unsigned long long)(now->refused - then->refused),
           (unsigned long long)(now->calls_in - then->calls_in), (unsigned long long)(now->calls_out - then->calls_out),
           taken ? used_s * 1e6 / (taken + now->out - then->out) : 0);
}

void end_window(uint64_t late) {
    double seconds = now_s() - window_s, used_s = cpu_s() - window_cpu_s;
    double *rate = calloc(count + 1, sizeof *rate), *gap = calloc(count + 1, sizeof *gap);
    uint64_t bytes = 0, messages = 0, frames = 0, keyframes = 0, taken = 0;
    int64_t skipped = 0, lost = 0;
    int n = 0;
    for (int i = 0; i < count; i++) {
        struct client *c = &clients[i];
        if (c->state != JOINED) continue;
        bytes += c->bytes - c->bytes0; messages += c->messages - c->messages0; frames += c->frames - c->frames0;
        keyframes += c->keyframes - c->keyframes0; skipped += (int64_t)(c->skipped - c->skipped0);
        if (c->link) {
            taken += c->link->taken - c->link->taken0;
            lost += (int64_t)(c->link->window.newest - c->link->newest0) - (int64_t)(c->link->taken - c->link->taken0);
        }
        gap[n] = c->gap_s;
        rate[n++] = (c->frames - c->frames0) / seconds;
    }
    qsort(rate, n, sizeof *rate, ascending);
    qsort(gap, n, sizeof *gap, ascending);
    int most = n ? n - 1 : 0, input_wire = (mode == NENGI ? NENGI_INPUT_BYTES : INPUT_BYTES) + 6;
    if (over_udp)
        input_wire = SEALED_HEAD_BYTES + 4 + 3 + INPUT_BYTES + EARLIER_BYTES + TAG_BYTES;
    double least_s = quantile(&delays, 0);
    printf("{\"event\":\"ended\",\"seconds\":%.4f,\"joined\":%d,\"dead\":%d,\"bytes\":%llu,\"messages\":%llu,\"frames\":%llu,"
           "\"skipped\":%lld,\"keyframes\":%llu,\"frames_per_s_p5\":%.3f,\"frames_per_s_p50\":%.3f,\"gap_p50_s\":%.4f,"
           "\"gap_max_s\":%.4f,\"inputs\":%llu,\"acks\":%llu,\"turns_late\":%llu,\"input_wire_bytes\":%d,\"short_sends\":%llu,"
           "\"delay_p50_s\":%.4f,\"delay_p99_s\":%.4f,\"delay_p999_s\":%.4f,\"delay_max_s\":%.4f,"
           "\"trip_p50_s\":%.4f,\"trip_p99_s\":%.4f,\"trip_p999_s\":%.4f,\"cpu_s\":%.4f",
           seconds, joined, dead, (unsigned long long)bytes, (unsigned long long)messages, (unsigned long long)frames,
           (long long)skipped, (unsigned long long)keyframes, rate[n / 20], rate[n / 2], gap[n / 2], gap[most],
           (unsigned long long)(inputs_sent - window_inputs), (unsigned long long)(acks_sent - window_acks),
           (unsigned long long)(late - window_late), input_wire, (unsigned long long)send_short,
           quantile(&delays, 0.5) - least_s, quantile(&delays, 0.99) - least_s, quantile(&delays, 0.999) - least_s,
           delays.count ? delays.most_s + BIN_S - least_s : 0, quantile(&trips, 0.5), quantile(&trips, 0.99),
           quantile(&trips, 0.999), used_s);
    if (over_udp) say_datagrams(taken, lost, used_s);
    say_reasons();
    free(rate);
    free(gap);
}
