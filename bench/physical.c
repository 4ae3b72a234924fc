// What a server's system calls alone cost here: one send() for each client and frame, one recv() for each input, on
// loopback TCP, with the sizes, pace and number of sockets of a run. The sender is pinned to core 0, the clients to core 1.
// Nothing is computed: no server that writes to each client by itself can take less CPU time. Inputs are found by
// epoll_wait once a tick, 1,024 at a time, which is less than 1 % of the work.
//
// Prints one JSON object: CPU seconds of the sender per second, and what was sent and received.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int clients = 500, frame_bytes = 300, input_bytes = 33;
static double frames_per_s = 20, inputs_per_s = 10, seconds = 3, rate_hz = 20;
static volatile int *stop;

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

static void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set)) { perror("sched_setaffinity"); exit(1); }
}

static void raise_files(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

// The other side: reads all frames, sends inputs evenly spread over time and clients.
static void run_clients(int port) {
    pin(1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int epoll_fd = epoll_create1(0), one = 1, *fd = calloc(clients, sizeof *fd);
    static char in[1 << 18], out[4096];
    struct epoll_event events[512];
    for (int i = 0; i < clients; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(fd[i], (struct sockaddr *)&to, sizeof to)) { perror("connect"); _exit(1); }
        setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd[i]};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd[i], &e);
    }
    double start = now_s();
    uint64_t sent = 0;
    while (!*stop) {
        uint64_t due = (uint64_t)((now_s() - start) * inputs_per_s * clients);
        for (; sent < due; sent++) send(fd[sent % clients], out, input_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        int n = epoll_wait(epoll_fd, events, 512, 1);
        for (int i = 0; i < n; i++) if (recv(events[i].data.fd, in, sizeof in, MSG_DONTWAIT) == 0) _exit(0);
    }
    _exit(0);
}

int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];
        if (!strcmp(key, "--clients")) clients = atoi(value);
        else if (!strcmp(key, "--frame-bytes")) frame_bytes = atoi(value);
        else if (!strcmp(key, "--input-bytes")) input_bytes = atoi(value);
        else if (!strcmp(key, "--frames-per-s")) frames_per_s = atof(value);
        else if (!strcmp(key, "--inputs-per-s")) inputs_per_s = atof(value);
        else if (!strcmp(key, "--rate-hz")) rate_hz = atof(value);
        else if (!strcmp(key, "--seconds")) seconds = atof(value);
        else { fprintf(stderr, "unknown option %s\n", key); return 2; }
    }
    raise_files();
    signal(SIGPIPE, SIG_IGN);
    stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096) ||
        getsockname(listener, (struct sockaddr *)&at, &size)) { perror("listen"); return 1; }
    pid_t child = fork();
    if (child == 0) { close(listener); run_clients(at.sin_port); }
    pin(0);
    int *fd = calloc(clients, sizeof *fd), epoll_fd = epoll_create1(0);
    for (int i = 0; i < clients; i++) {
        fd[i] = accept(listener, NULL, NULL);
        setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd[i]};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd[i], &e);
    }
    char *frame = calloc(1, frame_bytes + 1), input[4096];
    struct epoll_event events[1024];
    double credit = 0, start = 0, cpu0 = 0;
    uint64_t sends = 0, recvs = 0, refused = 0;
    int settle = (int)rate_hz / 2, ticks = (int)(seconds * rate_hz), next = 0;
    double origin = now_s();
    for (int tick = 0; tick < settle + ticks; tick++) {
        if (tick == settle) { start = now_s(); cpu0 = cpu_s(); sends = recvs = 0; }
        // Not every client gets a frame in every tick when fewer than the rate were asked for.
        credit += clients * frames_per_s / rate_hz;
        for (; credit >= 1; credit--) {
            if (send(fd[next], frame, frame_bytes, MSG_DONTWAIT | MSG_NOSIGNAL) == frame_bytes) sends++; else refused++;
            next = (next + 1) % clients;
        }
        for (int n = 1024; n == 1024;) {
            n = epoll_wait(epoll_fd, events, 1024, 0);
            // An input that waits behind another in the same socket is read in the next tick.
            for (int i = 0; i < n; i++)
                if (recv(events[i].data.fd, input, input_bytes, MSG_DONTWAIT) == input_bytes) recvs++;
        }
        double due = origin + (tick + 1) / rate_hz, left;
        while ((left = due - now_s()) > 0) usleep((useconds_t)(left * 1e6) + 1);
    }
    double wall = now_s() - start, cpu = cpu_s() - cpu0;
    *stop = 1;
    waitpid(child, NULL, 0);
    printf("{\"cpu_s_per_s\":%.5f,\"sends_per_s\":%.1f,\"recvs_per_s\":%.1f,\"refused\":%llu,\"us_per_call\":%.3f}\n", cpu / wall,
           sends / wall, recvs / wall, (unsigned long long)refused, cpu * 1e6 / (sends + recvs));
    return refused ? 1 : 0;
}
